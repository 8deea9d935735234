import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.errors import TextError, UsageError, VoiceError
from visavis.speech import align as _module  # noqa: F401
from visavis.speech import open_voice, read_wav
from visavis.speech.align import ALIGNED, ESTIMATED, align
from visavis.speech.wav import encode_wav

REAL = Path(__file__).parents[2] / ".cache" / "real" / "human_speech"
HAVE_SPHINX = importlib.util.find_spec("pocketsphinx") is not None
TEXT = "Please step back and wait for the 3 green zorbinators, twice."


@pytest.mark.skipif(not HAVE_SPHINX, reason="the extra 'speech' is not installed: no pocketsphinx")
def test_alignment_finds_the_times_of_the_voice(espeak):
    speech = espeak.speak(TEXT, Emotion())
    found = align(speech.samples, speech.sample_rate_hz, TEXT)
    assert found.voice == ALIGNED and [w.text for w in found.words] == TEXT.split()
    errors = [abs(a.start_s - b.start_s) for a, b in zip(found.words, speech.words, strict=True)]
    assert np.mean(errors) < 0.05 and max(errors) < 0.2
    stressed = [abs(a.stress_s - b.stress_s) for a, b in zip(found.words, speech.words, strict=True) if b.stress > 0.5]
    assert np.mean(stressed) < 0.05


def test_without_pocketsphinx_times_are_estimated_and_say_so(espeak, monkeypatch, caplog):
    import sys

    monkeypatch.setattr(sys.modules["visavis.speech.align"], "_decoder", lambda: None)
    speech = espeak.speak(TEXT, Emotion())
    padded = np.concatenate([np.zeros(11025, np.int16), speech.samples])
    found = align(padded, speech.sample_rate_hz, TEXT)
    assert found.voice == ESTIMATED and "visavis[speech]" in caplog.text
    errors = [abs(a.start_s - b.start_s - 0.5) for a, b in zip(found.words, speech.words, strict=True)]
    assert np.mean(errors) < 0.15


def test_noise_and_silence_are_survived():
    noise = np.random.default_rng(0).integers(-3000, 3000, 16000).astype(np.int16)
    for samples in (noise, np.zeros(16000, np.int16), np.zeros(0, np.int16), noise[:20]):
        found = align(samples, 16000, "hello there my friend")
        assert len(found.words) == 4
        assert all(0 <= w.start_s <= w.end_s <= len(samples) / 16000 + 1e-6 for w in found.words)
    with pytest.raises(TextError):
        align(noise, 16000, " ")


@pytest.mark.skipif(not REAL.is_dir() or not HAVE_SPHINX, reason="real recordings or pocketsphinx are not here")
def test_real_readers_are_aligned():
    for transcript in sorted(REAL.glob("*.txt")):
        samples, rate = read_wav(transcript.with_suffix(".wav"))
        found = align(samples, rate, transcript.read_text().strip())
        assert found.voice == ALIGNED
        loud = np.abs(samples.astype(float))
        inside = np.zeros(len(loud), bool)
        for word in found.words:
            inside[int(word.start_s * rate) : int(word.end_s * rate)] = True
        assert loud[inside].mean() > 2.5 * loud[~inside].mean()


class Server(BaseHTTPRequestHandler):
    answer: tuple[int, str, bytes] = (200, "audio/wav", b"")
    requests: list[dict] = []

    def do_POST(self):
        Server.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        status, kind, body = Server.answer
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    httpd = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    Server.requests = []
    yield f"http://127.0.0.1:{httpd.server_port}/v1?model=m&voice=v&rate=22050"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_speech_server_is_a_voice(server, espeak):
    speech = espeak.speak("Hello there, my friend.", Emotion())
    for kind, body in (("audio/wav", encode_wav(speech.samples, 22050)), ("audio/pcm", speech.samples.tobytes())):
        Server.answer = (200, kind, body)
        voice = open_voice(server, cache=False)
        found = voice.speak("Hello there, my friend.", Emotion("sadness", 1.0))
        voice.close()
        assert np.array_equal(found.samples, speech.samples) and len(found.words) == 4 and found.voice == server
        assert abs(found.words[2].start_s - speech.words[2].start_s) < 0.15
    assert Server.requests[0]["input"] == "Hello there, my friend." and Server.requests[0]["speed"] < 1


@pytest.mark.parametrize(
    "answer",
    [(500, "text/plain", b"no"), (200, "audio/mpeg", b"ID3"), (200, "audio/wav", b"RIFF"), (200, "audio/pcm", b"")],
)
def test_a_server_that_fails_is_a_voice_error(server, answer):
    Server.answer = answer
    voice = open_voice(server, cache=False)
    with pytest.raises(VoiceError, match="speech server|expected"):
        voice.speak("Hello", Emotion())
    voice.close()


def test_no_server_at_all():
    voice = open_voice("http://127.0.0.1:9/v1", cache=False)
    with pytest.raises(VoiceError, match="is it running"):
        voice.speak("Hello", Emotion())
    voice.close()
    with pytest.raises(UsageError, match="expected"):
        open_voice("http://")

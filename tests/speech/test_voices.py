import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from visavis.emotion import EMOTIONS, Emotion
from visavis.errors import TextError, UsageError, VoiceError
from visavis.speech import open_voice
from visavis.speech.cache import SpeechCache
from visavis.speech.espeak_worker import FrameError, read_frame
from visavis.speech.words import is_spoken, is_vowel, split_words

TEXTS = [
    "I caught a fish, and it was huge!",
    "Do not go to 123 or I'll tell the teacher about it of the information.",
    "It cost $3.50 (really) — wow 😀 ... state-of-the-art e.g. Dr. Smith.",
    "<break time='3s'/> & <speak>[[h@l'oU]]</speak> <mark name='x'/>",
    "...",
    "😀 !!! —",
    "12 000 1999 3.14 007",
    "a\x00b\x01c\x07 \x1b[31m d\u200be\ud800f \N{COMBINING ACUTE ACCENT}",
    "日本語 and Ünïcödé naïve",
    "word",
]


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_the_text_in_order(voice, text):
    speech = voice.speak(text, Emotion())
    assert [(w.char_start, w.char_end) for w in speech.words] == split_words(text)
    assert [w.text for w in speech.words] == text.split()
    assert speech.duration_s > 0.2 and speech.samples.dtype == np.int16
    starts = [w.start_s for w in speech.words]
    assert starts == sorted(starts)
    for word in speech.words:
        assert 0 <= word.start_s <= word.stress_s <= word.end_s <= speech.duration_s + 1e-6
        assert 0 <= word.stress <= 1
        assert is_spoken(word.text) or word.stress == 0
    phonemes = speech.phonemes
    for before, after in zip(phonemes, phonemes[1:], strict=False):
        assert before.start_s <= before.end_s <= after.start_s + 1e-6
        assert not set("ˈˌ") & set(after.symbol)


def test_stress_is_on_content_words_and_highest_at_the_end_of_a_phrase(voice):
    speech = voice.speak("I caught a fish, and it was huge!", Emotion())
    stress = {w.text: w.stress for w in speech.words}
    assert all(stress[w] == 0 for w in ("I", "a", "and", "it", "was"))
    assert stress["huge!"] == stress["fish,"] == 1.0 > stress["caught"] > 0.5


def test_stress_falls_on_the_onset_of_the_stressed_vowel(voice):
    speech = voice.speak("The information about a teacher was important.", Emotion())
    for word in speech.words:
        vowels = [p for p in speech.phonemes if is_vowel(p.symbol) and word.start_s <= p.start_s < word.end_s]
        assert word.stress_s in [p.start_s for p in vowels], word
        if word.text in ("information", "teacher", "important."):
            assert word.stress_s == vowels[-2].start_s


def test_markup_is_spoken_as_text_and_never_obeyed(espeak):
    plain = espeak.speak("break time three s done", Emotion()).duration_s
    assert abs(espeak.speak("<break time='3s'/> done", Emotion()).duration_s - plain) < 1.5
    loud = espeak.speak("<prosody volume='silent'>hello there</prosody>", Emotion())
    assert np.abs(loud.samples).max() > 2000


def test_phoneme_onsets_meet_the_energy(espeak):
    speech = espeak.speak("Tell Kate to talk to Paul.", Emotion())
    rate = speech.sample_rate_hz
    level = np.abs(speech.samples.astype(float))
    checked = 0
    for before, p in zip(speech.phonemes, speech.phonemes[1:], strict=False):
        if before.symbol in ("p", "t", "k") and is_vowel(p.symbol):
            around = [level[int((p.start_s + d) * rate) :][: rate // 50].mean() for d in (-0.03, 0.01)]
            checked += 1
            assert around[1] > around[0]
    assert checked >= 3


def test_emotion_changes_tempo_and_loudness(espeak, silent):
    for voice in (espeak, silent):
        lengths = {
            e: voice.speak("The blue whale is thirty metres long.", Emotion(e, 1.0)).duration_s for e in EMOTIONS
        }
        assert lengths["sadness"] > 1.1 * lengths["neutral"] > 1.1 * lengths["anger"]
    sad, angry = (
        espeak.speak("Stop it now.", Emotion(e, 1.0)).samples.astype(float).std() for e in ("sadness", "anger")
    )
    assert angry > sad


def test_intensity_zero_is_the_neutral_voice(espeak):
    assert {str(espeak.settings(Emotion(e, 0.0))) for e in EMOTIONS} == {str(espeak.settings(Emotion()))}


def test_long_text_is_spoken_whole(voice):
    text = " ".join(f"This is sentence number {i}, and it goes on for a while." for i in range(60))
    speech = voice.speak(text, Emotion())
    assert len(speech.words) == len(text.split()) and speech.duration_s > 90
    assert all(w.end_s > w.start_s for w in speech.words)


def test_text_without_any_word_is_refused(voice):
    with pytest.raises(TextError, match="at least one word"):
        voice.speak(" \n ", Emotion())


@pytest.mark.parametrize("name", ["", "xx-yy", "en-us+nobody", "../../etc/passwd", "en-us; rm", "en" * 50])
def test_an_unknown_voice_is_a_clear_error(name, espeak):
    with pytest.raises(UsageError, match="expected"):
        open_voice(name)


def test_a_dead_worker_is_replaced(espeak):
    espeak.speak("one", Emotion())
    os.kill(espeak._worker.process.pid, signal.SIGKILL)
    assert espeak.speak("two", Emotion()).words


def test_a_worker_that_dies_twice_is_a_voice_error(espeak, monkeypatch):
    from visavis.speech.espeak import EspeakVoice

    voice = EspeakVoice("en-us")
    voice.close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(VoiceError, match="twice"):
        voice.speak("one", Emotion())
    voice.close()


def test_a_stuck_worker_is_given_up(espeak, monkeypatch):
    from visavis.speech import espeak as module

    voice = module.EspeakVoice("en-us")
    os.kill(voice._worker.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.4)
    assert voice.speak("still here", Emotion()).words  # by a second worker
    voice.close()


def test_threads_may_share_a_voice(espeak):
    found = {}

    def speak(i):
        found[i] = len(espeak.speak(f"number {i} speaks", Emotion()).words)

    threads = [threading.Thread(target=speak, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(8), 3)


def test_the_worker_ends_with_its_pipe_and_imports_nothing_heavy(espeak):
    code = (
        "import sys, io; sys.stdin = io.TextIOWrapper(io.BytesIO()); from visavis.speech import espeak_worker as w;"
        "w.main(); print(sorted({'numpy', 'torch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert "[]" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "data", [b"HTTP", b"VSP1" + b"\xff" * 8, b"VSP1\x02\0\0\0\0\0\0\0[]", b"VSP1\x09\0\0\0\0\0\0\0{}"]
)
def test_bad_frames_are_refused(data):
    import io

    with pytest.raises(FrameError):
        read_frame(io.BytesIO(data))


def test_the_cache_gives_the_same_speech_again(espeak, tmp_path):
    voice = open_voice("en-us+f3")
    first = voice.speak("Same again?", Emotion("joy", 0.5))
    assert voice.speak("Same again?", Emotion("joy", 0.5)) is first
    voice.close()
    other = open_voice("en-us+f3")
    again = other.speak("Same again?", Emotion("joy", 0.5))
    assert again is not first and again.words == first.words and again.phonemes == first.phonemes
    assert np.array_equal(again.samples, first.samples)
    assert not np.array_equal(other.speak("Same again?", Emotion("sadness", 0.5)).samples, first.samples)
    other.close()


@pytest.mark.parametrize("damage", ["cut wav", "bad json", "wrong shape", "no wav"])
def test_a_damaged_entry_is_spoken_again(damage, silent, tmp_path):
    speech = silent.speak("Hello there", Emotion())
    key = "ab" * 32
    SpeechCache(tmp_path).put(key, speech)
    assert SpeechCache(tmp_path).get(key, "Hello there") is not None
    wav, entry = tmp_path / "ab" / f"{key}.wav", tmp_path / "ab" / f"{key}.json"
    if damage == "cut wav":
        wav.write_bytes(wav.read_bytes()[:500])
    elif damage == "no wav":
        wav.unlink()
    elif damage == "bad json":
        entry.write_text("{")
    else:
        entry.write_text(json.dumps({**json.loads(entry.read_text()), "words": [[1, 2]]}))
    assert SpeechCache(tmp_path).get(key, "Hello there") is None


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_cache(silent, tmp_path):
    (tmp_path / "file").write_text("")
    cache = SpeechCache(tmp_path / "file")
    cache.put("ab" * 32, silent.speak("Hello", Emotion()))
    assert cache.get("ab" * 32, "Hello") is not None


def test_a_warm_sentence_takes_milliseconds(espeak):
    times = []
    for i in range(7):
        start = time.perf_counter()
        espeak.speak(f"The blue whale number {i} is thirty metres long.", Emotion())
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.1  # 20 ms measured on a free core

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.errors import FileFormatError
from visavis.speech.heard import audible, heard_phonemes, syllables
from visavis.speech.recorded import RHYTHM, clauses_of, read_recording, recorded_speech
from visavis.speech.types import Speech
from visavis.speech.wav import encode_wav, write_wav

BEAT2 = Path(__file__).parents[2] / ".cache" / "real" / "beat2_scott"
HAVE_SPHINX = importlib.util.find_spec("pocketsphinx") is not None
TEXT = "Good morning, everybody. I caught a fish yesterday, and it was huge! My name is Dr. Green and I am very happy"


@pytest.fixture(scope="module")
def spoken(espeak):
    """Two sentences of the voice with a pause of 0.8 s before, between and after."""
    a, b = espeak.speak("Good morning, everybody!", Emotion()), espeak.speak("I caught a fish.", Emotion())
    quiet = np.zeros(round(0.8 * a.sample_rate_hz), np.int16)
    return np.concatenate([quiet, a.samples, quiet, b.samples, quiet]), a.sample_rate_hz


def test_what_sounds_is_found_between_pauses(spoken):
    samples, rate = spoken
    stretches = audible(samples, rate)
    assert abs(stretches[0][0] - 0.8) < 0.06 and stretches[-1][1] < len(samples) / rate - 0.6
    assert max(b[0] - a[1] for a, b in zip(stretches, stretches[1:], strict=False)) > 0.7
    # the level of a recording does not matter (once 0.05 s: the voice itself varies)
    quiet = audible((samples // 16).astype(np.int16), rate)
    assert len(quiet) == len(stretches) and np.abs(np.array(quiet) - np.array(stretches)).max() < 0.06
    for nothing in (np.zeros(0, np.int16), np.zeros(rate, np.int16)):
        assert audible(nothing, rate) == [] and heard_phonemes(nothing, rate) == ()


def test_a_pause_in_a_noisy_room_is_a_pause(spoken):
    samples, rate = spoken
    noise = np.random.default_rng(0).normal(0, 0.02 * np.abs(samples).max(), len(samples))
    stretches = audible(np.clip(samples + noise, -32768, 32767).astype(np.int16), rate)
    assert abs(stretches[0][0] - 0.8) < 0.15
    assert any(b[0] - a[1] > 0.5 for a, b in zip(stretches, stretches[1:], strict=False))


def test_the_mouth_by_ear_is_like_the_mouth_of_the_phonemes(espeak):
    from visavis.motion.face import face_index
    from visavis.speech.face import face_track

    speech = espeak.speak("I caught a fish yesterday, and it was absolutely huge, my friends!", Emotion())
    heard = heard_phonemes(speech.samples, speech.sample_rate_hz)
    assert heard[0].start_s == 0 and abs(heard[-1].end_s - speech.duration_s) < 1e-6
    assert all(abs(a.end_s - b.start_s) < 1e-9 for a, b in zip(heard, heard[1:], strict=False))
    ear = face_track(Speech("", speech.samples, speech.sample_rate_hz, (), heard))
    jaw = face_index("jawOpen")
    known = face_track(speech)
    assert np.corrcoef(ear[:, jaw], known[:, jaw])[0, 1] > 0.5
    hissing = [p for p in heard if p.symbol == "s"]
    sharp = [p for p in speech.phonemes if p.symbol in ("s", "z", "ʃ", "tʃ", "dʒ")]
    assert hissing and all(
        any(h.start_s < p.end_s + 0.03 and p.start_s - 0.03 < h.end_s for p in sharp)
        for h in hissing
        if h.end_s - h.start_s > 0.05
    )


def test_syllables_cover_what_sounds_and_carry_stress(spoken):
    samples, rate = spoken
    speech, degraded = recorded_speech(samples, rate)
    assert speech.voice == RHYTHM and speech.words == () and speech.text == "" and degraded == ()
    rhythm = syllables(speech)
    total = sum(b - a for a, b in audible(samples, rate))
    assert abs(sum(w.end_s - w.start_s for w in rhythm) - total) < 1e-6
    assert sum(w.stress > 0 for w in rhythm) >= 3
    assert all(w.start_s <= w.stress_s <= w.end_s for w in rhythm) and rhythm[-1].text == ","


@pytest.mark.parametrize("transcript", [None, "Good morning, everybody! I caught a fish."])
def test_clauses_joined_are_the_recording_to_the_sample(spoken, transcript):
    samples, rate = spoken
    speech, _ = recorded_speech(samples, rate, transcript)
    parts = clauses_of(speech)
    assert len(parts) == 2
    assert np.array_equal(np.concatenate([part.speech.samples for part in parts]), samples)
    for part in parts:
        at = round(part.start_s * rate)
        assert abs(part.start_s * rate - at) < 1e-6
        assert np.array_equal(samples[at : at + len(part.speech.samples)], part.speech.samples)
        assert [w.text for w in part.speech.words] == part.speech.text.split()
        assert all(part.speech.text[w.char_start : w.char_end] == w.text for w in part.speech.words)
        assert all(0 <= p.start_s <= p.end_s <= part.speech.duration_s + 1e-6 for p in part.speech.phonemes)
        assert part.rhythm
    if transcript:
        assert " ".join(part.speech.text for part in parts) == transcript
        assert abs(parts[1].start_s + parts[1].speech.words[0].start_s - speech.words[3].start_s) < 1e-6


def test_words_without_punctuation_are_cut_at_pauses_and_never_grow_long(espeak):
    speech = espeak.speak(TEXT + " to be here with " + "all of you and " * 12, Emotion())
    found, _ = recorded_speech(speech.samples, speech.sample_rate_hz, speech.text)
    parts = clauses_of(found)
    assert " ".join(part.speech.text for part in parts) == " ".join(speech.text.split())
    assert max(len(part.speech.words) for part in parts) <= 18
    assert any(part.speech.text.startswith("My name is Dr. Green and") for part in parts)


@pytest.mark.skipif(not HAVE_SPHINX, reason="the extra 'speech' is not installed: no pocketsphinx")
def test_a_transcript_that_is_not_said_is_told(spoken):
    samples, rate = spoken
    assert recorded_speech(samples, rate, "Good morning, everybody! I caught a fish.")[1] == ()
    _, degraded = recorded_speech(samples, rate, "What is said here is much longer than that. " * 8)
    assert degraded and all(line.startswith("recording: ") for line in degraded)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_any_rate_and_depth_in_stereo_is_read(spoken, tmp_path, rate, bits):
    import struct

    from visavis.speech.wav import resample

    samples, own = spoken
    changed = resample(samples, own, rate).astype(np.int64)
    stereo = np.repeat(changed, 2)
    raw = {
        8: ((stereo >> 8) + 128).astype(np.uint8).tobytes(),
        16: stereo.astype("<i2").tobytes(),
        24: (stereo << 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
        32: (stereo << 16).astype("<i4").tobytes(),
    }[bits]
    head = struct.pack("<HHIIHH", 1, 2, rate, rate * 2 * bits // 8, 2 * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(raw)) + raw
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    read, found = read_recording(tmp_path / "a.wav")
    assert found == min(rate, 48_000) and abs(len(read) / found - len(samples) / own) < 0.01
    stretches = audible(read, found)
    assert abs(stretches[0][0] - 0.8) < 0.08


def test_what_cannot_be_spoken_with_is_refused(tmp_path, spoken):
    samples, rate = spoken
    for name, data, said in (
        ("missing.wav", None, "missing.wav cannot be read"),
        ("empty.wav", b"", "is empty"),
        ("song.mp3", b"ID3\x04" + bytes(400), "convert it with `sox` or `ffmpeg`"),
        ("short.wav", encode_wav(samples[:200], rate), "at least 0.2 s"),
        ("silent.wav", encode_wav(np.zeros(rate, np.int16), rate), "silent from start to end"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=said):
            read_recording(tmp_path / name)
    write_wav(tmp_path / "long.wav", np.ones(601 * 1000, np.int16), 1000)
    with pytest.raises(FileFormatError, match="at most 10 minutes"):
        read_recording(tmp_path / "long.wav")


@pytest.mark.skipif(not BEAT2.is_dir() or not HAVE_SPHINX, reason="the BEAT2 excerpt or pocketsphinx is not here")
def test_a_real_speaker_is_aligned():
    with open(BEAT2 / "2_scott_0_1_1_part.words.tsv") as file:
        given = list(csv.DictReader(file, delimiter="\t"))
    samples, rate = read_recording(BEAT2 / "2_scott_0_1_1_part.wav")
    speech, degraded = recorded_speech(samples, rate, " ".join(row["word"] for row in given))
    assert degraded == () and len(speech.words) == len(given)
    away = [abs(w.start_s - float(row["start"])) for w, row in zip(speech.words, given, strict=True)]
    assert np.median(away) < 0.05

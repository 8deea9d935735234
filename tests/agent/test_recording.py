"""`say` with a recording: the body keeps to somebody's own voice."""

import json

import numpy as np
import pytest

from visavis.agent.rhythm import CLEAR_S, NEAREST_S, beat_library, beat_stresses, choose_beats
from visavis.emotion import Emotion
from visavis.errors import FileFormatError, TextError
from visavis.retrieval.lexicon import load_lexicon
from visavis.speech import open_voice
from visavis.speech.types import Word
from visavis.speech.wav import write_wav

TEXT = "Hello, my friend! I caught a fish yesterday, and it was huge!"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="no voice to record")
    voice = open_voice("en-us")
    speech = voice.speak(TEXT, Emotion())
    voice.close()
    path = tmp_path_factory.mktemp("recording") / "mine.wav"
    quiet = np.zeros(round(0.5 * speech.sample_rate_hz), np.int16)
    samples = np.concatenate([quiet, speech.samples, quiet])
    write_wav(path, samples, speech.sample_rate_hz)
    return path, samples, speech


@pytest.fixture(scope="module")
def with_words(agent, recording):
    return agent.say(TEXT, audio=recording[0])


@pytest.fixture(scope="module")
def rhythm_alone(agent, recording):
    return agent.say(audio=recording[0])


def test_the_recording_is_what_is_heard_from_the_first_sample(with_words, rhythm_alone, recording):
    _, samples, speech = recording
    for turn in (with_words, rhythm_alone):
        assert turn.speech.sample_rate_hz == speech.sample_rate_hz
        assert np.array_equal(turn.speech.samples[: len(samples)], samples)
        assert not np.any(turn.speech.samples[len(samples) :])
        assert len(samples) / speech.sample_rate_hz <= turn.motion.duration_s < len(samples) / speech.sample_rate_hz + 2
        assert turn.record.degraded == []


def test_words_and_gestures_are_on_the_recordings_clock(with_words, recording):
    speech = recording[2]
    assert with_words.text == TEXT and " ".join(c.text for c in with_words.record.clauses) == TEXT
    away = [abs(a.start_s - 0.5 - b.start_s) for a, b in zip(with_words.speech.words, speech.words, strict=True)]
    assert np.median(away) < 0.05
    huge = next(g for g in with_words.gestures if g.gloss == "huge size")
    assert huge.source == "model" and abs(huge.stroke_s - 0.5 - speech.words[-1].stress_s) < 0.1


def test_without_a_transcript_the_rhythm_alone_moves_body_and_mouth(rhythm_alone, recording):
    from visavis.evals.strokes import apexes, nearest
    from visavis.motion.face import face_index

    record = rhythm_alone.record
    assert rhythm_alone.text == "" and rhythm_alone.speech.words == () and all(c.words == [] for c in record.clauses)
    assert rhythm_alone.gestures and {g.source for g in rhythm_alone.gestures} == {"rule"}
    assert {g.gloss for g in rhythm_alone.gestures} <= set(beat_library().glosses)
    for gesture in rhythm_alone.gestures:
        assert abs(nearest(apexes(rhythm_alone.motion, gesture.hand), gesture.stroke_s, 0.6)) < 0.1
    jaw = rhythm_alone.motion.face[:, face_index("jawOpen")]
    assert jaw[:12].max() < 0.12 < jaw[20:-30].mean() + 0.06 and jaw.max() > 0.2
    assert any(v.name == "aa" for c in record.clauses for v in c.visemes)


def test_the_turn_is_written(rhythm_alone, tmp_path):
    rhythm_alone.save(tmp_path)
    record = json.loads((tmp_path / "turn.json").read_text())
    assert record["text"] == "" and (tmp_path / "preview.png").stat().st_size > 1000


def test_no_gestures_means_no_beats(recording, models):
    from visavis.agent import Agent

    with Agent(voice="silent", gestures=False, refine=False) as agent:
        assert agent.say(audio=recording[0]).gestures == []


def test_a_recording_is_one_turn_of_a_conversation(agent, recording):
    session = agent.session()
    session.say(TEXT, audio=recording[0])
    session.say(audio=recording[0])
    assert session.history == [("agent", TEXT)]


def test_misuse_is_told(agent, recording, tmp_path):
    with pytest.raises(TextError, match="expected text as a string; got NoneType"):
        agent.say()
    with pytest.raises(TextError, match="expected transcript with at least one word"):
        agent.say("  ", audio=recording[0])
    with pytest.raises(FileFormatError, match="nothing.wav cannot be read"):
        agent.say(audio=tmp_path / "nothing.wav")


def test_beats_keep_their_distance_and_prefer_strong_stresses():
    rng = np.random.default_rng(1)
    at = np.cumsum(rng.uniform(0.15, 0.4, 200))
    rhythm = [Word("", t, t + 0.2, float(s), t, 0, 0) for t, s in zip(at, rng.random(200), strict=True)]
    beats = choose_beats(rhythm, 3)
    times = [rhythm[b.word].stress_s for b in beats]
    assert min(np.diff(times)) >= NEAREST_S and times == sorted(times)
    chosen = np.mean([rhythm[b.word].stress for b in beats])
    assert chosen > np.mean([w.stress for w in rhythm if w.stress >= 0.5])
    assert choose_beats(rhythm, 3) == beats != choose_beats(rhythm, 4)
    assert choose_beats(rhythm, 3, amount=0.0) == [] and choose_beats([], 0) == []
    assert not set(beat_library().glosses) & set(load_lexicon())


def test_beats_of_words_stay_clear_of_gestures():
    rng = np.random.default_rng(2)
    at = np.cumsum(rng.uniform(0.15, 0.4, 300))
    words = [Word("w", t, t + 0.2, float(s), t, 0, 0) for t, s in zip(at, rng.random(300), strict=True)]
    busy = [(5.0, 9.0), (20.0, 22.0)]
    beats = beat_stresses(words, busy, 3)
    stressed = {w.stress_s for w in words if w.stress >= 0.6}
    assert 10 < len(beats) and set(beats) <= stressed and min(np.diff(beats)) >= NEAREST_S
    assert not any(a - CLEAR_S < t < b + CLEAR_S for t in beats for a, b in busy)
    assert beat_stresses(words, busy, 3) == beats != beat_stresses(words, busy, 4)
    assert min(beat_stresses(words, busy, 3, after_s=30.0)) >= 30.0 + NEAREST_S

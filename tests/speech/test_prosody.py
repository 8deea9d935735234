from dataclasses import replace

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.speech.prosody import prosody, stress_curve, stresses
from visavis.speech.types import Speech

RATE = 22050


def voiced(f0, seconds, level=0.3):
    phase = 2 * np.pi * np.cumsum(np.full(round(RATE * seconds), f0, float)) / RATE
    return level * sum(np.sin(k * phase) / k for k in range(1, 6)) / 1.5


def as_speech(*parts):
    return Speech("", (np.concatenate(parts) * 32767).astype(np.int16), RATE)


def test_shape_range_and_length(voice):
    speech = voice.speak("The blue whale is thirty metres long, and it sings!", Emotion())
    features = prosody(speech)
    assert features.shape == (int(np.ceil(speech.duration_s * 30)), 5) and features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features[:, 0]).max() <= 2 and features[:, 1:].min() >= 0 and features[:, 1:].max() <= 1
    assert not features[features[:, 1] == 0, 0].any()
    longer = prosody(speech, len(features) + 10)
    assert np.array_equal(longer[:-10], features) and not longer[-10:].any()
    assert np.array_equal(prosody(speech, 10), features[:10])


@pytest.mark.parametrize("f0", [90.0, 130.0, 210.0, 330.0])
def test_pitch_is_found_and_relative_to_the_speaker(f0):
    features = prosody(as_speech(voiced(f0, 0.6), np.zeros(RATE // 3), voiced(f0 * 2 ** (4 / 12), 0.3)))
    assert np.abs(features[3:15, 0]).max() < 0.04
    assert abs(np.median(features[30:35, 0]) - 4 / 6) < 0.05
    assert not features[20:26, 1].any() and features[3:15, 1].min() > 0.6


def test_noise_has_no_pitch_and_silence_no_energy():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    features = prosody(as_speech(voiced(150, 0.5), noise, np.zeros(RATE // 2)))
    assert features[17:44, 1].mean() < 0.15 and features[50:, 2].max() == 0


def test_level_does_not_matter():
    a = prosody(as_speech(voiced(120, 0.5), np.zeros(3000), voiced(140, 0.5)))
    b = prosody(as_speech(voiced(120, 0.5, 0.1), np.zeros(3000), voiced(140, 0.5, 0.1)))
    assert np.abs(a[:, :3] - b[:, :3]).max() < 0.05


def test_an_onset_is_seen_in_its_frame():
    features = prosody(as_speech(np.zeros(RATE), voiced(150, 0.5)))
    assert abs(int(features[:, 3].argmax()) - 30) <= 1


def test_stress_peaks_at_the_stressed_vowels(voice):
    speech = voice.speak("I caught a fish, and it was huge!", Emotion())
    curve = stress_curve(speech, 90)
    for word in speech.words:
        if word.stress == 1.0:
            assert curve[round(word.stress_s * 30)] > 0.9
    assert not stress_curve(voice.speak("...", Emotion()), 30).any()


def test_stress_is_heard_without_words(espeak):
    """Far better than chance: about 60 spots in 100 ms windows would meet a third of the stresses."""
    texts = ("That is absolutely fantastic news!", "He walked from here to there in about ten minutes.",
             "Look over there, behind the big red door.", "The blue whale is thirty metres long.")  # fmt: skip
    met = []
    for text in texts:
        speech = espeak.speak(text, Emotion())
        said = stresses(speech)
        assert len(said) == sum(w.stress > 0 for w in speech.words)
        heard = stresses(replace(speech, words=()))[:, 0]
        assert (np.diff(heard) > 0).all() and len(heard) < 3 * speech.duration_s
        met += [np.abs(heard - t).min() < 0.1 for t, s in said if s > 0.75]
    assert np.mean(met) > 0.5
    assert stresses(Speech("", np.zeros(16000, np.int16), 16000)).shape == (0, 2)

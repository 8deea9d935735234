import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.speech import ending
from visavis.speech.ending import FRAMES, SUMMARY, TRACKS, ending_of, probability_of_end
from visavis.speech.streamed import Resampler

HZ = 16_000


def hum(seconds: float, hz: float = 150.0) -> np.ndarray:
    t = np.arange(round(seconds * HZ)) / HZ
    return (0.2 * np.sign(np.sin(2 * np.pi * hz * t))).astype(np.float32)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3 * HZ), st.floats(0, 1))
def test_any_sound_has_an_ending(samples, level):
    sound = (level * np.random.default_rng(samples).normal(size=samples)).astype(np.float32)
    found = ending_of(sound)
    assert found.tracks.shape == (FRAMES, len(TRACKS)) and found.summary.shape == (len(SUMMARY),)
    assert np.isfinite(found.tracks).all() and np.abs(found.tracks).max() <= 3 and np.isfinite(found.summary).all()
    assert 0 <= probability_of_end(found) <= 1


def test_how_loud_it_is_does_not_matter():
    noise = 1e-3 * np.random.default_rng(0).normal(size=2 * HZ).astype(np.float32)
    sound = hum(2.0) + noise
    assert probability_of_end(ending_of(0.1 * sound)) == pytest.approx(probability_of_end(ending_of(sound)), abs=0.03)


def test_pitch_is_relative_to_the_speaker():
    low = ending_of(np.concatenate([hum(1.0, 100), hum(0.5, 200)]))
    high = ending_of(np.concatenate([hum(1.0, 200), hum(0.5, 400)]))
    np.testing.assert_allclose(low.tracks[-40:-5, 0], 2.0, atol=0.1)  # an octave above the median, in half octaves
    np.testing.assert_allclose(high.tracks[-40:-5, 0], 2.0, atol=0.1)


def test_what_is_long_past_does_not_count():
    recent = hum(4.0)
    before = np.random.default_rng(1).normal(0, 0.1, 3 * HZ).astype(np.float32)
    assert probability_of_end(ending_of(np.concatenate([before, recent]))) == probability_of_end(ending_of(recent))


def test_the_network_is_the_one_that_torch_would_compute():
    import torch
    from torch.nn.functional import conv1d, linear, relu

    model = {name: torch.tensor(value) for name, value in ending._model().items()}
    found = ending_of(np.concatenate([hum(1.0, 120), hum(0.7, 90)]))
    x = torch.tensor(found.tracks.T[None])
    for k in range(sum(name.endswith(".weight") and name.startswith("conv") for name in model)):
        x = relu(conv1d(x, model[f"conv{k}.weight"], model[f"conv{k}.bias"], stride=2, padding=2))
    summary = (torch.tensor(found.summary) - model["mean"]) / model["scale"]
    hidden = relu(linear(torch.cat([x.flatten(), summary]), model["hidden.weight"], model["hidden.bias"]))
    odds = linear(hidden, model["out.weight"], model["out.bias"])
    assert probability_of_end(found) == pytest.approx(float(torch.sigmoid(odds)), abs=1e-5)


def test_ends_are_told_from_breaks_and_from_fillers(espeak):
    from visavis.emotion import Emotion

    def heard(text):
        speech = espeak.speak(text, Emotion())
        sound = Resampler(speech.sample_rate_hz).feed(speech.samples.astype(np.float32) / np.float32(32768))
        words = [round(w.end_s * HZ) for w in speech.words]
        return sound, words

    noise = np.random.default_rng(0)

    def p(sound):
        return probability_of_end(ending_of(sound + 1e-3 * noise.normal(size=len(sound)).astype(np.float32)))

    ends, breaks, fillers = [], [], []
    um, _ = heard("um,")
    for text in ("How many people work in this museum?", "The lift is behind the second door.", "I live in Dublin."):
        sound, words = heard(text)
        half = sound[: words[len(words) // 2]]
        ends.append(p(sound[: words[-1] + 800]))
        breaks.append(p(half))
        fillers.append(p(np.concatenate([half, np.zeros(1600, np.float32), um])))
    assert min(ends) > max(breaks) and min(ends) > max(fillers), (ends, breaks, fillers)

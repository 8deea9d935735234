import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.errors import UsageError
from visavis.speech.streamed import HEARING_HZ, Resampler, checked_pcm

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 44_101, 96_000)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_place_in_time_and_does_not_drift(rate):
    seconds = 3
    tone = np.sin(2 * np.pi * 440 * np.arange(seconds * rate) / rate).astype(np.float32)
    out = Resampler(rate).feed(tone)
    assert 0 <= seconds * HEARING_HZ - len(out) < 60, "half a filter is still waited for"
    expected = np.sin(2 * np.pi * 440 * np.arange(len(out)) / HEARING_HZ)
    assert np.abs(out - expected)[100:].max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 4_000), min_size=1, max_size=12), st.integers(0, 2**31))
def test_pieces_change_nothing(rate, sizes, seed):
    sound = np.random.default_rng(seed).uniform(-1, 1, sum(sizes)).astype(np.float32)
    stream, whole = Resampler(rate), Resampler(rate).feed(sound)
    parts, at = [np.zeros(0, np.float32)], 0
    for size in sizes:
        parts.append(stream.feed(sound[at : at + size]))
        at += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_frequencies_that_16_khz_cannot_hold_are_taken_out():
    tone = np.sin(2 * np.pi * 11_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(Resampler(48_000).feed(tone))[100:].max() < 1e-3


def test_memory_is_bounded():
    stream = Resampler(44_100)
    for _ in range(200):
        stream.feed(np.zeros(4_410, np.float32))
    assert len(stream._kept) < 200


@pytest.mark.parametrize(
    ("pcm", "rate", "says"),
    [
        (np.zeros((2, 3), np.int16), 16_000, "mono"),
        (np.zeros(3, np.int32), 16_000, "int16"),
        (np.array([np.nan], np.float32), 16_000, "finite"),
        (np.zeros(3, np.int16), 3, "sample rate"),
        (np.zeros(3, np.int16), 16_000.0, "sample rate"),
        (np.zeros(3, np.int16), True, "sample rate"),
        (np.zeros(61 * 8_000, np.int16), 8_000, "one piece"),
    ],
)
def test_what_is_no_sound_is_refused(pcm, rate, says):
    with pytest.raises(UsageError, match=says):
        checked_pcm(pcm, rate)


def test_integers_and_floats_are_the_same_sound():
    integers = np.array([-32768, 0, 16384], np.int16)
    np.testing.assert_allclose(checked_pcm(integers, 8_000), [-1, 0, 0.5])
    np.testing.assert_allclose(checked_pcm(np.array([-1.5, 0, 0.5]), 8_000), [-1, 0, 0.5])

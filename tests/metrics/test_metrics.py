import numpy as np
import pytest

from visavis.metrics.beat_consistency import beat_consistency, lift, motion_beats
from visavis.metrics.bootstrap import bootstrap, paired_difference, proportion
from visavis.metrics.frechet import clip_features, frechet_distance
from visavis.metrics.smoothness import mean_derivative, seam_statistics
from visavis.metrics.strokes import detect_strokes, stroke_stress_offsets


def reach(times_s, apexes_s, size=0.25, rise=0.25):
    """A wrist that makes a minimum-jerk movement ending at each apex, alternately out and back."""
    x = np.zeros(len(times_s))
    for i, apex in enumerate(apexes_s):
        s = np.clip((times_s - (apex - rise)) / rise, 0, 1)
        x += (1 if i % 2 == 0 else -1) * size * s**3 * (10 - 15 * s + 6 * s * s)
    return np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)


def test_strokes_are_found_where_they_end():
    apexes = [1.0, 2.1, 3.3]
    found = detect_strokes(reach(np.arange(130) / 30, apexes))
    assert len(found) == 3
    offsets = stroke_stress_offsets([s.apex_s for s in found], apexes)
    # the apex is where a quarter of the peak speed is left, a little before the very end
    assert np.all(offsets <= 0.02) and np.all(offsets > -0.09)


def test_no_strokes_in_stillness_or_noise():
    rng = np.random.default_rng(0)
    assert detect_strokes(np.zeros((90, 3))) == []
    assert detect_strokes(rng.normal(0, 0.001, (90, 3))) == []
    assert detect_strokes(np.zeros((0, 3))) == []


def test_a_missing_stroke_is_the_worst_offset():
    assert list(stroke_stress_offsets([], [1.0, 2.0], window_s=0.6)) == [0.6, 0.6]
    assert stroke_stress_offsets([5.0], [1.0], window_s=0.6)[0] == 0.6


def test_lift_tells_synchrony_from_chance():
    rng = np.random.default_rng(1)
    onsets = np.cumsum(rng.uniform(0.35, 1.1, 60))
    end = onsets[-1] + 1
    synchronous = lift(onsets, onsets + rng.normal(0, 0.02, 60), end)
    late = lift(onsets, onsets + 0.08, end)
    unrelated = lift(onsets, np.sort(rng.uniform(0, end, 60)), end)
    assert synchronous > 0.3 and synchronous > late + 0.05 > unrelated + 0.1
    assert abs(unrelated) < 0.15


def test_beat_consistency_range_and_empty_input():
    assert beat_consistency([1.0], [1.0]) == pytest.approx(1.0)
    assert beat_consistency([1.0], []) == 0.0
    assert np.isnan(beat_consistency([], [1.0]))


def test_motion_beats_are_the_turning_points():
    t = np.arange(120) / 30
    x = np.zeros((120, 1, 3))
    x[:, 0, 0] = 0.2 * np.sin(2 * np.pi * t)  # turns every half second
    beats = motion_beats(x)
    assert 6 <= len(beats) <= 8
    assert np.all(np.abs((beats - 0.25) % 0.5 - 0.0) % 0.5 < 0.08) or np.all(np.diff(beats) > 0.4)
    assert len(motion_beats(np.zeros((60, 2, 3)))) == 0


def test_derivatives_have_their_units():
    t = np.arange(60) / 30
    x = np.zeros((60, 1, 3))
    x[:, 0, 1] = 0.5 * 3.0 * t**2
    assert mean_derivative(x, 2) == pytest.approx(3.0, rel=1e-6)
    assert mean_derivative(x, 3) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(mean_derivative(x[:2], 3))


def test_seams_tell_a_pop_from_a_smooth_border():
    rng = np.random.default_rng(2)
    t = np.arange(900) / 30
    x = np.stack([np.sin(t * f + p) for f, p in rng.uniform(0.5, 3, (3, 2))], axis=-1)[:, None]
    borders = list(range(60, 880, 60))
    assert seam_statistics(x, borders).median_ratio == pytest.approx(1.0, abs=0.4)
    popped = x.copy()
    for i, b in enumerate(borders):
        popped[b:] += 0.05 * (1 if i % 2 else -1)
    assert seam_statistics(popped, borders).above_99 == 1.0
    assert seam_statistics(x, []).n == 0


def test_frechet_is_zero_for_itself_and_sees_shuffled_sound_when_paired():
    rng = np.random.default_rng(3)
    sound = np.abs(np.cumsum(rng.normal(size=(3200, 1)), axis=0)) % 1.0
    x = np.cumsum(np.concatenate([sound, 0 * sound, 0 * sound], axis=1), axis=0)[:, None] * 0.01
    paired, shuffled = clip_features(x, sound), clip_features(x, np.roll(sound, 517, axis=0))
    assert frechet_distance(paired, paired) == pytest.approx(0.0, abs=1e-3)
    assert frechet_distance(paired, shuffled) > 1.0
    assert np.isnan(frechet_distance(paired[:1], paired))


def test_a_share_has_an_interval_where_none_hit():
    none, some = proportion([False] * 20), proportion([True] * 10 + [False] * 193)
    assert none.value == 0 and none.low == 0 and none.high == pytest.approx(0.161, abs=0.001)
    assert (some.low, some.high) == pytest.approx((0.027, 0.088), abs=0.001)
    assert proportion([True] * 5).high == 1 and proportion([]).n == 0 and np.isnan(proportion([]).value)


@pytest.mark.parametrize("n", [1, 2, 7, 5001])
def test_means_drawn_at_once_are_those_drawn_one_by_one(n):
    x = np.random.default_rng(n).normal(size=n)
    assert bootstrap(x, rounds=300, seed=4) == bootstrap(x, lambda some: float(np.mean(some)), rounds=300, seed=4)


def test_bootstrap_covers_the_mean_and_says_when_there_is_nothing():
    x = np.random.default_rng(4).normal(3.0, 1.0, 200)
    e = bootstrap(x)
    assert e.low < 3.0 < e.high and e.n == 200
    assert np.isnan(bootstrap([]).value) and bootstrap([]).n == 0
    d = paired_difference(x + 0.5, x)
    assert d.low > 0

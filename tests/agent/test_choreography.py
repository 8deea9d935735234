import numpy as np
import pytest

from visavis.agent.choreography import Choice, arms_of, compose, lead_in_s, overlay, parts_of, place, weights
from visavis.motion.idle import idle
from visavis.motion.motion import FPS
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word

LEXICON = load_lexicon()
PERFORMER = Performer.neutral()


class Remembering(Library):
    """Performs each gesture once: what is placed at twelve words is the same performance, moved and warped."""

    def __init__(self, lexicon):
        super().__init__(lexicon)
        self._performed = {}

    def perform(self, gloss, performer, params=None, *, hand=None, variant=None):
        asked = (gloss, performer, repr(params), hand, variant)
        if asked not in self._performed:
            self._performed[asked] = super().perform(gloss, performer, params, hand=hand, variant=variant)
        return self._performed[asked]


LIBRARY = Remembering(LEXICON)
GLOSSES = sorted(LEXICON)


def spoken(count: int, gap_s: float = 0.35, start_s: float = 0.0) -> list[Word]:
    """Words of 0.3 s with the stress 0.1 s after their onset."""
    times = [start_s + gap_s * i for i in range(count)]
    return [Word(f"word{i}", t, t + 0.3, 1.0, t + 0.1, 0, 0) for i, t in enumerate(times)]


@pytest.mark.parametrize("gloss", GLOSSES)
def test_the_apex_falls_on_the_stress_when_there_is_room(gloss):
    words = spoken(14)
    (item,) = place([Choice(gloss, 13)], words, LIBRARY, PERFORMER)
    assert item.phases.stroke_s == pytest.approx(words[13].stress_s, abs=1e-6)
    assert item.phases.start_s * FPS == pytest.approx(round(item.phases.start_s * FPS), abs=1e-4)
    assert item.performance.phases == item.phases
    assert item.phases.start_s >= 0
    assert 0.3 < item.warp < 3
    assert len(item.performance.motion) >= (item.phases.end_s - item.phases.start_s) * FPS - 1
    for one in item.constraints:
        assert item.phases.start_s - 0.1 <= one.from_s <= one.to_s <= item.phases.end_s + 0.1


@pytest.mark.parametrize("gloss", GLOSSES)
def test_nothing_begins_too_early_whatever_the_room(gloss):
    words = spoken(12, gap_s=0.2)
    for word in range(12):
        for item in place([Choice(gloss, word)], words, LIBRARY, PERFORMER, earliest_s=0.5):
            assert item.phases.start_s >= 0.5 - 1e-6
            assert item.phases.stroke_s == pytest.approx(words[word].stress_s, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_strokes_of_one_limb_never_overlap_and_better_ones_win(seed):
    rng = np.random.default_rng(seed)
    words = spoken(16, gap_s=0.25)
    choices = [
        Choice(str(rng.choice(GLOSSES)), int(rng.integers(16)), float(rng.random())) for _ in range(rng.integers(1, 7))
    ]
    busy = {"left": 0.4, "right": 0.8, "head": 0.2}
    placed = place(choices, words, LIBRARY, PERFORMER, busy_until_s=busy)
    assert [p.phases.start_s for p in placed] == sorted(p.phases.start_s for p in placed)
    for i, item in enumerate(placed):
        limbs = set(arms_of(item.performance) or ("head",))
        assert item.phases.stroke_start_s >= max(busy[limb] for limb in limbs) - 1e-6
        for other in placed[i + 1 :]:
            if limbs & set(arms_of(other.performance) or ("head",)):
                a, b = sorted((item.phases, other.phases), key=lambda p: p.stroke_s)
                assert a.stroke_end_s <= b.start_s + 1e-6


@pytest.mark.parametrize("better", [0, 1])
def test_of_two_that_have_room_for_one_the_better_is_made(better):
    words = spoken(8, gap_s=0.3)
    choices = [Choice("thumbs up", 6, 0.9 - 0.5 * better), Choice("go away", 7, 0.4 + 0.5 * better)]
    assert [p.choice for p in place(choices, words, LIBRARY, PERFORMER)] == [choices[better]]
    # The limb is still busy with what was made before: then neither is.
    assert not place(choices, words, LIBRARY, PERFORMER, busy_until_s={"left": 2.2, "right": 2.2})


def test_the_same_input_gives_the_same_gestures():
    words = spoken(10)
    a, b = (place([Choice("huge size", 7)], words, Library(LEXICON), PERFORMER)[0] for _ in range(2))
    np.testing.assert_array_equal(a.performance.motion.rotations, b.performance.motion.rotations)


def test_the_body_begins_before_the_voice_for_an_early_gesture_only():
    words = spoken(10)
    assert lead_in_s([], words, LIBRARY, PERFORMER) == 0
    assert 0 < lead_in_s([Choice("huge size", 0)], words, LIBRARY, PERFORMER) <= 0.6
    assert lead_in_s([Choice("huge size", 9)], words, LIBRARY, PERFORMER) == 0


@pytest.mark.parametrize("gloss", GLOSSES)
def test_on_the_second_word_every_gesture_has_time(gloss):
    words = spoken(8, gap_s=0.13)
    start_s = lead_in_s([Choice(gloss, 1)], words, LIBRARY, PERFORMER)
    assert place([Choice(gloss, 1)], spoken(8, gap_s=0.13, start_s=start_s), LIBRARY, PERFORMER)


def test_weights_rise_hold_and_fall_smoothly():
    (item,) = place([Choice("stop", 8)], spoken(12), LIBRARY, PERFORMER)
    p = item.phases
    first = round(p.start_s * FPS) - 5
    w = weights(p, first, round((p.end_s - p.start_s) * FPS) + 12)
    t = (first + np.arange(len(w))) / FPS
    assert w[t <= p.start_s].max() == 0 == w[t >= p.end_s].max()
    np.testing.assert_allclose(w[(t >= p.ready_s) & (t <= p.relax_s)], 1, atol=1e-6)
    assert np.abs(np.diff(w)).max() < 0.5


def test_compose_and_overlay_change_nothing_outside_the_clip_and_its_bones():
    (item,) = place([Choice("huge size", 9)], spoken(12), LIBRARY, PERFORMER)
    base = idle(240, seed=3)
    done = compose(base, [item])
    begin, end = item.first_frame, item.first_frame + len(item.performance.motion)
    np.testing.assert_array_equal(done.rotations[:begin], base.rotations[:begin])
    np.testing.assert_array_equal(done.rotations[end:], base.rotations[end:])
    still = [i for i, name in enumerate(base.skeleton.names) if name not in item.performance.bones]
    np.testing.assert_array_equal(done.rotations[:, still], base.rotations[:, still])
    np.testing.assert_allclose(np.linalg.norm(done.rotations, axis=-1), 1, atol=1e-5)
    # With nothing to lay over there is nothing to see.
    np.testing.assert_array_equal(compose(base, []).rotations, base.rotations)
    np.testing.assert_array_equal(overlay(base, done, []).rotations, base.rotations)
    # At full weight the stroke is the clip's own, whatever was there before.
    other = idle(240, seed=4)
    laid = overlay(other, done, [item])
    held = slice(int(np.ceil(item.phases.ready_s * FPS)), int(item.phases.relax_s * FPS))
    bones = base.skeleton.indices(item.performance.bones)
    difference = np.abs(np.sum(laid.rotations[held][:, bones] * done.rotations[held][:, bones], axis=-1))
    np.testing.assert_allclose(difference, 1, atol=1e-5)


def test_a_stretch_of_the_whole_is_the_whole_of_a_stretch():
    (item,) = place([Choice("pleading", 9)], spoken(12), LIBRARY, PERFORMER)
    base = idle(240, seed=3)
    whole = compose(base, [item])
    part = compose(base.slice(80, 150), [item], first_frame=80)
    np.testing.assert_allclose(part.rotations, whole.rotations[80:150], atol=1e-6)


def test_parts_follow_from_the_bones():
    words = spoken(12)
    nod = place([Choice("nod", 9)], words, LIBRARY, PERFORMER)[0].performance
    huge = place([Choice("huge size", 9)], words, LIBRARY, PERFORMER)[0].performance
    assert parts_of(nod) == ("core",) and arms_of(nod) == ()
    assert set(arms_of(huge)) == {"left", "right"}

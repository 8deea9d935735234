"""The taught rhythm: slowest on the accent, the more the stronger, and only where it may be."""

from dataclasses import replace

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.evals.strokes import beats
from visavis.finetune.motion_codes import beating_motion
from visavis.finetune.motion_corpus import TaughtTurn
from visavis.finetune.teacher import beating
from visavis.finetune.teacher.rhythm import Beats, beat_curve, beats_of, with_rhythm
from visavis.metrics.beat_consistency import lift
from visavis.motion import rotations
from visavis.motion.idle import idle
from visavis.motion.motion import FPS
from visavis.motion.phases import Phases
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word

ACCENTS = [(1.0, 0.8), (1.5, 1.0), (3.5, 0.6), (4.1, 0.8), (7.0, 1.0)]
FRAMES = 270


def curve(seed: int = 0) -> np.ndarray:
    return beat_curve(ACCENTS, FRAMES, np.random.default_rng(seed))


def words() -> list[Word]:
    return [Word("word", at - 0.1, at + 0.2, stress, at, 0, 4) for at, stress in ACCENTS]


@pytest.mark.parametrize("seed", range(4))
def test_every_accent_is_a_standstill_at_the_bottom(seed):
    x = curve(seed)
    for at, weight in ACCENTS:
        k = round((at - 0.02) * FPS)
        assert x[k] == pytest.approx(weight, rel=0.3)
        assert x[k] >= 0.95 * x[k - 8 : k + 9].max()  # the bottom lies between two frames
        assert abs(x[k] - x[k - 3]) > 3 * abs(x[k] - x[k - 1])  # fast before it, still on it
    assert np.abs(x[:10]).max() == 0 and np.abs(x[175:185]).max() < 1e-6 and np.abs(x[-30:]).max() < 1e-6
    assert x.min() > -0.5 and np.abs(np.diff(x)).max() < 0.5


def test_of_two_near_accents_the_stronger_has_the_beat():
    x = beat_curve([(1.0, 0.6), (1.1, 1.0)], 90, np.random.default_rng(0))
    assert np.argmax(x) in (32, 33)
    assert not beat_curve([], 30, np.random.default_rng(0)).any()


def test_no_beat_is_no_change_and_other_bones_stay():
    motion = idle(FRAMES, seed=1)
    np.testing.assert_allclose(
        with_rhythm(motion, np.zeros(FRAMES, np.float32), Beats()).rotations, motion.rotations, atol=1e-6
    )
    made = with_rhythm(motion, curve(), Beats())
    turned = np.degrees(rotations.angle_between(made.rotations, motion.rotations)).max(0)
    moved = {motion.skeleton.names[i] for i in np.flatnonzero(turned > 0.1)}
    assert moved == {"spine", "chest", "upperChest", "neck", "head", "leftLowerArm", "rightLowerArm"}
    assert turned.max() < 8


def test_an_arm_that_gestures_does_not_beat():
    motion = idle(FRAMES, seed=1)
    phases = Phases(0.2, 0.6, 0.7, 1.0, 1.6, 1.8, 2.4)
    made = beating(motion, words(), Emotion(), Performer(), [(phases, ["right"])], np.random.default_rng(0))
    off = np.degrees(rotations.angle_between(made.rotations, motion.rotations))
    index = motion.skeleton.index
    inside = slice(18, 54)
    assert off[inside, index("rightLowerArm")].max() < 0.1 < 1.0 < off[inside, index("leftLowerArm")].max()


def test_the_body_beats_on_the_stresses_and_not_elsewhere():
    motion, onsets = idle(FRAMES, seed=3), [at for at, _ in ACCENTS]
    made = beating(motion, words(), Emotion("joy", 0.5), Performer(), [], np.random.default_rng(0))
    assert lift(onsets, beats(made), made.duration_s) > lift(onsets, beats(motion), motion.duration_s) + 0.2
    assert all(np.abs(beats(made) - at).min() <= 0.07 for at, weight in ACCENTS if weight >= 0.8)


def test_the_lively_beat_larger_and_with_their_own_hand():
    plain, large = beats_of(Performer(), 1.0), beats_of(Performer(amplitude=1.3, head_style=1.6), 1.2)
    assert large.head > large.torso > plain.torso and plain.right > plain.left
    assert beats_of(Performer(handedness="left"), 1.0).left == plain.right


def test_a_turn_has_one_rhythm_and_a_listener_none():
    motion = idle(FRAMES, seed=2)
    spoken = [(w.text, w.start_s, w.end_s, w.stress, w.stress_s) for w in words()]
    turn = TaughtTurn("dev", "speak", "word", "neutral", 0.0, 3, 7.5, 0, FRAMES, spoken, [], [])
    first, again = beating_motion(turn, motion), beating_motion(turn, motion)
    np.testing.assert_array_equal(first.rotations, again.rotations)
    assert not np.allclose(first.rotations, motion.rotations, atol=1e-3)
    assert beating_motion(replace(turn, mode="listen"), motion) is motion

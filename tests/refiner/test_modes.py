"""Every mode of the refiner, on a tiny network that was trained for seconds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from visavis.emotion import EMOTIONS, Emotion
from visavis.errors import FileFormatError
from visavis.finetune.flow_refiner import FlowBatch, FlowTraining, fit
from visavis.metrics.smoothness import seam_statistics
from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint, residuals
from visavis.motion.idle import idle
from visavis.motion.kinematics import bone_frame, positions, to_chest
from visavis.motion.motion import Motion
from visavis.refiner import (
    Conditions,
    FlowConfig,
    FlowRefiner,
    Hold,
    continued,
    edit,
    free,
    in_between,
    protect,
    refine,
)
from visavis.refiner.conditions import emotion_weights
from visavis.refiner.either import load_refiner, refine_next
from visavis.refiner.flow import smooth_noise
from visavis.refiner.model import Refiner, RefinerConfig
from visavis.refiner.pose_points import LIMBS, pose_points, with_points
from visavis.refiner.sampler import motion_features
from visavis.refiner.sampler import refine as refine_first
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform

CONFIG = FlowConfig(width=48, layers=2, heads=2, performers=4, style=6)
JOY = Emotion("joy", 0.8)


def clips() -> list[Motion]:
    lexicon = load_lexicon()
    return [perform(lexicon[gloss]).motion for gloss in ("huge size", "pleading", "everything", "greeting wave")]


@pytest.fixture(scope="session")
def refiner(tmp_path_factory) -> FlowRefiner:
    features = [with_points(motion_features(clip)) for clip in clips()]

    def sample(batch: int, frames: int, rng: np.random.Generator) -> FlowBatch:
        picks = rng.integers(len(features), size=batch)
        starts = [int(rng.integers(len(features[i]) - frames)) for i in picks]
        clean = torch.from_numpy(np.stack([features[i][s : s + frames] for i, s in zip(picks, starts, strict=True)]))
        sound = torch.from_numpy(rng.random((batch, frames, 5)).astype(np.float32))
        felt = torch.nn.functional.one_hot(torch.from_numpy(picks), len(EMOTIONS)).float()
        return FlowBatch(clean, clean.clone(), sound, torch.ones(batch), felt, torch.from_numpy(picks), clean)

    run = FlowTraining(steps=150, batch=8, window=40, lr=4e-3)
    return fit(sample, tmp_path_factory.mktemp("flow"), CONFIG, run)


@pytest.fixture(scope="module")
def motion() -> Motion:
    return clips()[1].slice(0, 64)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.random.default_rng(0).random((64, 5)).astype(np.float32)


def wrist(motion: Motion, side: str) -> np.ndarray:
    return to_chest(motion, positions(motion)[:, motion.skeleton.index(f"{side}Hand")])


def seams_of(motion: Motion, borders: list[int]) -> float:
    """The worst acceleration at a border over the largest elsewhere, of hands and head with the hips where they are."""
    bones = motion.skeleton.indices(["leftHand", "rightHand", "head"])
    places = positions(replace(motion, root_m=np.zeros_like(motion.root_m)))[:, bones]
    return seam_statistics(places, borders).worst_ratio


def change(a: Motion, b: Motion) -> float:
    return float(rot.angle_between(a.rotations, b.rotations).max())


# --- refine ---------------------------------------------------------------------------------------------------------


def test_strength_zero_is_the_identity(refiner, motion, sound):
    assert refine(refiner, motion, Conditions(sound), strength=0.0) is motion
    assert len(refine(refiner, motion.slice(0, 0))) == 0


def test_strength_grows_from_decoded_to_refined(refiner, motion, sound):
    made = [change(refine(refiner, motion, Conditions(sound), strength=s), motion) for s in (0.25, 0.5, 1.0)]
    assert 0 < made[0] < made[1] < made[2]


def test_sure_motion_stays_near_and_unsure_motion_need_not(refiner, motion):
    off = [
        np.linalg.norm(wrist(refine(refiner, motion, confidence=c), "right") - wrist(motion, "right"), axis=-1).mean()
        for c in (1.0, 0.5, 0.0)
    ]
    assert max(off[:2]) < 0.5 * off[2]


def test_nothing_of_a_motion_that_is_not_trusted_comes_through(refiner, motion):
    other = replace(motion, rotations=np.roll(motion.rotations, 17, axis=0))
    made = [refine(refiner, m, confidence=0.0).rotations for m in (motion, other)]
    limbs = np.concatenate([motion.skeleton.part(limb) for limb in LIMBS])
    np.testing.assert_array_equal(made[0][:, limbs], made[1][:, limbs])


def test_confidence_is_by_frame_and_limb(refiner, motion):
    sure = np.ones((64, 3), np.float32)
    sure[:, 2] = 0.0
    made = refine(refiner, motion, confidence=sure)
    off = {side: np.linalg.norm(wrist(made, side) - wrist(motion, side), axis=-1).mean() for side in ("left", "right")}
    assert off["left"] < off["right"]
    for wrong, said in (
        (np.ones(63), r"expected one confidence, or \(64,\)"),
        (1.5, r"must lie in \[0, 1\]; got 1.50"),
    ):
        with pytest.raises(ValueError, match=said):
            refine(refiner, motion, confidence=wrong)


@pytest.mark.parametrize("frames", [1, 4, 30, 33])
def test_any_length_keeps_its_length_and_what_is_no_limb(refiner, motion, sound, frames):
    given = motion.slice(0, frames).with_face(np.zeros((frames, 52), np.float32))
    made = refine(refiner, given, Conditions(sound))
    legs = given.skeleton.indices(["leftUpperLeg", "rightFoot", "leftEye"])
    np.testing.assert_array_equal(made.rotations[:, legs], given.rotations[:, legs])
    np.testing.assert_array_equal(made.root_m, given.root_m)
    assert len(made) == frames and made.face is given.face
    np.testing.assert_allclose(np.linalg.norm(made.rotations, axis=-1), 1, atol=1e-4)


# --- protect --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["chest", "world", "head"])
def test_protected_hands_stay_in_their_frame_though_the_body_moves(refiner, motion, sound, frame):
    holds = [Hold("right", 0.5, 1.2, frame), Hold("left", 1.0, 1.6, frame)]
    sure = np.full((64, 3), 0.2, np.float32)
    made = protect(refiner, motion, holds, Conditions(sound, JOY), confidence=sure)
    plain = refine(refiner, motion, Conditions(sound, JOY), confidence=sure)

    def seen(m: Motion, side: str) -> np.ndarray:
        place = positions(m)[:, m.skeleton.index(f"{side}Hand")]
        if frame == "world":
            return place
        origin, turned = bone_frame(m, "upperChest" if frame == "chest" else frame)
        return rot.rotate(rot.conjugate(turned), place - origin)

    for one in holds:
        rows = slice(round(one.from_s * 30), round(one.to_s * 30) + 1)
        off = np.linalg.norm(seen(made, one.hand) - seen(motion, one.hand), axis=-1)[rows]
        without = np.linalg.norm(seen(plain, one.hand) - seen(motion, one.hand), axis=-1)[rows]
        assert off.max() <= 0.01 < without.max()
    assert rot.angle_between(made.rotations[:, 1], motion.rotations[:, 1]).max() > 0.001  # the spine is free


def test_a_hold_never_weighs_more_than_one():
    for number in range(300):
        weight = Hold("left", 0.37 + number / 997, 1.21 + number / 499).weight(90, 30)
        assert weight.max() == 1.0 and weight.min() >= 0 and weight[0] == weight[-1] == 0


def test_protection_meets_constraints_last(refiner, motion):
    there = Constraint("rightHand", "chest", (-0.2, 0.0, 0.35), None, 0.8, 1.2)
    made = protect(refiner, motion, [Hold("left", 0.2, 1.5)], constraints=[there])
    assert residuals(made, [there])[0][0] < 0.01
    with pytest.raises(ValueError, match="hand must be left or right; got 'head'"):
        Hold("head", 0, 1)
    with pytest.raises(ValueError, match="to_s must not be before from_s"):
        Hold("left", 1, 0)


# --- continue -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_what_goes_on_has_no_seam(refiner, motion, sound, strength):
    shown = motion.slice(0, 33)
    borders, joined = [], shown
    for number, clip in enumerate(clips()[:3]):
        borders.append(len(joined))
        part = clip.slice(20, 52)
        joined = joined.concatenate(continued(refiner, joined, part, Conditions(sound), strength=strength, seed=number))
    assert len(joined) == 33 + 3 * 32 and seams_of(joined, borders) < 1.5


def test_a_hard_cut_is_seen_as_a_seam(motion):
    """The test above can fail."""
    joined = motion.slice(0, 33).concatenate(clips()[0].slice(20, 52))
    assert seams_of(joined, [33]) > 3


def test_nothing_shown_is_plain_refining(refiner, motion, sound):
    a = continued(refiner, motion.slice(0, 0), motion, Conditions(sound))
    np.testing.assert_array_equal(a.rotations, refine(refiner, motion, Conditions(sound)).rotations)


# --- in-between -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 20, 40])
def test_what_is_between_leaves_one_and_reaches_the_other(refiner, motion, frames):
    before, after = motion.slice(0, 20), clips()[0].slice(30, 50)
    made = in_between(refiner, before, after, frames)
    assert len(made) == frames
    if frames < 20:  # a jump is a jump, however it is joined
        return
    whole = before.concatenate(made).concatenate(after)
    assert seams_of(whole, [20, 20 + frames]) < 1.5
    with pytest.raises(ValueError, match="expected a motion before and one after"):
        in_between(refiner, before, after.slice(0, 0), 5)
    assert len(in_between(refiner, before, after, 0)) == 0


# --- edit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limbs", [["left"], ["right", "core"], list(LIMBS)])
def test_nothing_outside_an_edit_changes(refiner, motion, sound, limbs):
    made = edit(refiner, motion, Conditions(sound), limbs=limbs, from_s=0.5, to_s=1.5, seed=2)
    inside = np.zeros(motion.rotations.shape[:2], bool)
    for limb in limbs:
        inside[15:45, motion.skeleton.part(limb)] = True
    np.testing.assert_array_equal(made.rotations[~inside], motion.rotations[~inside])
    np.testing.assert_array_equal(made.root_m, motion.root_m)
    assert rot.angle_between(made.rotations[inside], motion.rotations[inside]).max() > 0.02
    assert seams_of(made, [15, 45]) < 1.5


def test_keyframes_are_met_and_are_no_spikes(refiner, motion):
    made = edit(refiner, motion, keyframes_s=[0.8, 1.4], seed=1)
    for frame in (24, 42):
        off = np.linalg.norm(positions(made)[frame] - positions(motion)[frame], axis=-1)
        assert off.max() <= 0.005
        assert np.degrees(rot.angle_between(made.rotations[frame], motion.rotations[frame])).max() <= 2.0
    assert change(made, motion) > 0.05
    assert seams_of(made, [24, 25, 42, 43]) < 1.5


def test_variation_says_how_far_an_edit_goes(refiner, motion):
    off = [change(edit(refiner, motion, limbs=["right"], variation=v), motion) for v in (0.0, 0.5, 1.0)]
    assert off[0] < off[2] and off[1] < off[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limbs": ["tail"]}, "expected limbs of core, left, right; got tail"),
        ({"from_s": 2.0, "to_s": 1.0}, "expected an interval inside the motion's 2.13 s; got 2.00 to 1.00 s"),
        ({"keyframes_s": [9.0]}, "expected keyframes inside the motion's 2.13 s; got one at 9.00 s"),
        ({"variation": 2.0}, r"variation must lie in \[0, 1\]; got 2.0"),
        ({"steps": 0}, r"steps must lie in 1\.\.16; got 0"),
    ],
)
def test_an_edit_that_cannot_be_says_why(refiner, motion, options, said):
    with pytest.raises(ValueError, match=said):
        edit(refiner, motion, **options)


# --- free -----------------------------------------------------------------------------------------------------------


def test_free_motion_is_as_long_as_its_sound_and_another_with_another_seed(refiner, sound):
    a, b, c = (free(refiner, Conditions(sound, JOY), seed=s) for s in (1, 1, 2))
    assert len(a) == 64
    np.testing.assert_array_equal(a.rotations, b.rotations)
    assert change(a, c) > 0.005
    with pytest.raises(ValueError, match="expected frames, or a sound that says how many"):
        free(refiner, Conditions())
    with pytest.raises(ValueError, match="expected a base of 64 frames or more; got 10"):
        free(refiner, Conditions(sound), base=idle(10, 1))


# --- conditions -----------------------------------------------------------------------------------------------------


def test_the_weight_of_the_sound_goes_from_nothing_past_what_was_learnt(refiner, motion, sound):
    deaf, none, plain, more = (
        refine(refiner, motion, c)
        for c in (Conditions(), *(Conditions(sound, sound_weight=w) for w in (0.0, 1.0, 2.0)))
    )
    off = [np.abs(m.rotations - deaf.rotations).max() for m in (none, plain, more)]
    assert off[0] < 1e-6 < off[1] < off[2]
    with pytest.raises(ValueError, match=r"sound_weight must lie in \[0, 4\]; got 5"):
        Conditions(sound, sound_weight=5)


CONDITIONS: dict[str, Callable[[np.ndarray], Conditions]] = {
    "sound": lambda x: Conditions(x[::-1].copy()),
    "silence": lambda x: Conditions(np.zeros_like(x)),
    "emotion": lambda x: Conditions(x, JOY),
    "intensity": lambda x: Conditions(x, Emotion("joy", 0.3)),
    "blend": lambda x: Conditions(x, {"joy": 0.4, "sadness": 0.4}),
    "performer": lambda x: Conditions(x, style=1),
    "example": lambda x: Conditions(x, style=clips()[2]),
}


def test_every_condition_counts(refiner, sound):
    made = {"plain": free(refiner, Conditions(sound), seed=3)}
    made["no sound"] = free(refiner, Conditions(), 64, seed=3)
    made |= {name: free(refiner, of(sound), seed=3) for name, of in CONDITIONS.items()}
    names = list(made)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.abs(made[a].rotations - made[b].rotations).max() > 1e-5, (a, b)


def test_a_blend_of_one_is_that_one_and_blends_are_checked():
    assert emotion_weights({"joy": 0.8}) == emotion_weights(JOY) == (0, 0.8, 0, 0, 0, 0, 0)
    for blend, said in (
        ({"glee": 0.5}, "emotion must be one of .*; got 'glee'"),
        ({"joy": 1.5}, r"must lie in \[0, 1\]; got 1.5 for joy"),
        ({"joy": 0.8, "anger": 0.8}, "weights are at most 1 together; got 1.60"),
    ):
        with pytest.raises(ValueError, match=said):
            emotion_weights(blend)


def test_conditions_that_cannot_be_say_why(refiner, motion):
    for conditions, said in (
        (Conditions(np.zeros((64, 3), np.float32)), r"expected prosody of shape \(frames, 5\)"),
        (Conditions(np.full((64, 5), np.nan, np.float32)), "finite"),
        (Conditions(style=9), "expected a performer from 0 to 3, or an example clip; got 9"),
        (Conditions(style=idle(10, 1)), "expected an example of 30 frames or more .*; got 10"),
    ):
        with pytest.raises(ValueError, match=said):
            refine(refiner, motion, conditions)


@pytest.fixture
def first() -> Refiner:
    """One without modes, untrained, that changes what it gets a little."""
    torch.manual_seed(0)
    first = Refiner(RefinerConfig(width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(first.outlet.weight, std=0.02)
    return first


# --- parts ----------------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_skeleton(motion):
    seen = pose_points(motion_features(motion))
    np.testing.assert_allclose(seen[:, 3:6], wrist(motion, "left"), atol=1e-4)
    np.testing.assert_allclose(seen[:, 6:] * [-1, 1, 1], wrist(motion, "right"), atol=1e-4)


def test_noise_is_of_variance_one_and_smooth():
    noise = smooth_noise(64, 90, 20, torch.Generator().manual_seed(0))
    assert noise.shape == (64, 90, 20)
    assert abs(float(noise.std()) - 1) < 0.03 and abs(float(noise.mean())) < 0.03
    assert float(noise.diff(dim=1).std()) < 0.5  # white noise has 1.4


def test_saved_and_loaded_refines_the_same(refiner, motion, sound, tmp_path):
    refiner.save(tmp_path)
    loaded = FlowRefiner.load(tmp_path)
    assert loaded.config == CONFIG
    assert change(*(refine(r, motion, Conditions(sound)) for r in (refiner, loaded))) < 0.03


def test_versions_are_told_apart(refiner, first, tmp_path):
    first.save(tmp_path / "first")
    with pytest.raises(FileFormatError, match="expected a refiner of version 3 .* it is of version 1, which only"):
        FlowRefiner.load(tmp_path / "first")
    refiner.save(tmp_path)
    with pytest.raises(FileFormatError, match="expected a refiner .*version"):
        Refiner.load(tmp_path)
    with pytest.raises(ValueError, match="expected a refiner of version 3; got version 2"):
        FlowConfig(version=2)


def test_either_refiner_is_read_and_called_alike(refiner, first, motion, sound, tmp_path):
    refiner.save(tmp_path / "modes")
    assert isinstance(load_refiner(tmp_path / "modes"), FlowRefiner)
    first.save(tmp_path / "first")
    first = load_refiner(tmp_path / "first")
    assert isinstance(first, Refiner)
    made = refine_next(first, motion, sound, JOY, known=idle(16, 1), seed=4)
    np.testing.assert_array_equal(
        made.rotations, refine_first(first, motion, sound, JOY, known=idle(16, 1), seed=4).rotations
    )
    made = refine_next(refiner, motion, sound, JOY, known=idle(16, 1), confidence=0.5, seed=4)
    want = continued(refiner, idle(16, 1), motion, Conditions(sound, JOY), confidence=0.5, seed=4)
    np.testing.assert_array_equal(made.rotations, want.rotations)
    for broken in ("{", "[]"):
        (tmp_path / "modes" / "refiner.json").write_text(broken)
        with pytest.raises(FileFormatError, match="expected a refiner"):
            load_refiner(tmp_path / "modes")

import numpy as np
import pytest
import torch

from visavis.emotion import Emotion
from visavis.errors import FileFormatError
from visavis.motion.idle import idle
from visavis.refiner.model import Refiner, RefinerConfig, smooth
from visavis.refiner.sampler import motion_features, refine, with_features

JOY = Emotion("joy", 0.8)


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    """Untrained, but with an outlet that does something."""
    torch.manual_seed(2)
    refiner = Refiner(RefinerConfig(width=32, layers=2, heads=2)).eval()
    torch.nn.init.normal_(refiner.outlet.weight, std=0.02)
    refiner.scale.fill_(0.1)
    return refiner


def sound(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 5)).astype(np.float32)


def test_strength_zero_is_the_identity(refiner):
    motion = idle(32, seed=1)
    np.testing.assert_array_equal(refine(refiner, motion, sound(32), JOY, strength=0.0).rotations, motion.rotations)
    assert len(refine(refiner, motion.slice(0, 0), sound(0), JOY)) == 0


def test_strength_grows_from_decoded_to_refined(refiner):
    motion = idle(32, seed=1)
    made = [refine(refiner, motion, sound(32), JOY, strength=s).rotations for s in (0.25, 0.5, 1.0)]
    change = [float(1 - np.abs(np.sum(x * motion.rotations, axis=-1)).mean()) for x in made]
    assert 0 < change[0] < change[1] < change[2]


def test_a_seed_decides_the_noise_and_nothing_else_does(refiner):
    motion = idle(30, seed=1)
    a, b, c = (refine(refiner, motion, sound(30), JOY, seed=s).rotations for s in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-4


@pytest.mark.parametrize("frames", [1, 4, 30, 33])
def test_any_length_keeps_its_length_and_what_is_no_part(refiner, frames):
    motion = idle(frames, seed=1).with_face(np.zeros((frames, 52), np.float32))
    made = refine(refiner, motion, sound(frames + 7), JOY, known=idle(18, seed=2))
    assert len(made) == frames
    legs = motion.skeleton.indices(["leftUpperLeg", "rightFoot"])
    np.testing.assert_array_equal(made.rotations[:, legs], motion.rotations[:, legs])
    np.testing.assert_array_equal(made.root_m, motion.root_m)
    assert made.face is motion.face
    np.testing.assert_allclose(np.linalg.norm(made.rotations, axis=-1), 1, atol=1e-4)


def test_known_frames_are_given_as_they_are_and_matter(refiner, monkeypatch):
    motion, known = idle(24, seed=1), idle(16, seed=2)
    seen = []
    inner = refiner.forward

    def spy(point, decoded, prosody, mask, emotion, time):
        seen.append((point.clone(), decoded.clone(), mask.clone()))
        return inner(point, decoded, prosody, mask, emotion, time)

    monkeypatch.setattr(refiner, "forward", spy)
    made = refine(refiner, motion, sound(24), JOY, known=known, steps=3)
    want = (torch.from_numpy(motion_features(known)) - refiner.mean) / refiner.scale
    for point, decoded, mask in seen:  # in every step: final, and said to be so
        torch.testing.assert_close(point[0, :16], want)
        torch.testing.assert_close(decoded[0, :16], want)
        assert mask[0, :16].all() and not mask[0, 16:].any()
    monkeypatch.undo()
    assert np.abs(made.rotations - refine(refiner, motion, sound(24), JOY, steps=3).rotations).max() > 1e-5


def test_steps_are_few():
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.8; got 9"):
        refine(Refiner(), idle(4, seed=1), sound(4), JOY, steps=9)


def test_features_give_the_motion_back():
    motion = idle(12, seed=6)
    back = with_features(motion, motion_features(motion))
    np.testing.assert_allclose(np.abs(np.sum(back.rotations * motion.rotations, axis=-1)), 1, atol=1e-5)


def test_smoothing_keeps_what_is_constant():
    x = torch.randn(2, 1, 7).expand(2, 9, 7)
    torch.testing.assert_close(smooth(x), x)


def test_an_untrained_refiner_gives_its_input_back():
    # Its outlet is zero, so the end point is the decoded motion; what is left is noise.
    motion = idle(16, seed=1)
    made = refine(Refiner(RefinerConfig(width=32, layers=1, heads=2, noise=0.0)).eval(), motion, sound(16), JOY)
    np.testing.assert_allclose(np.abs(np.sum(made.rotations * motion.rotations, axis=-1)), 1, atol=1e-5)


def test_saved_and_loaded_refines_the_same(refiner, tmp_path):
    refiner.save(tmp_path)
    loaded = Refiner.load(tmp_path)
    motion = idle(16, seed=1)
    a, b = (refine(r, motion, sound(16), JOY).rotations for r in (refiner, loaded))
    assert np.abs(np.sum(a * b, axis=-1)).min() > 0.999
    (tmp_path / "refiner.json").write_text("{}")
    with pytest.raises(FileFormatError, match="expected a refiner .* train one with `visavis train refiner`"):
        Refiner.load(tmp_path)

"""Codec and refiner learn on tiny data, and a run that was killed goes on."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.codec import CodecTraining, part_positions
from visavis.finetune.codec import fit as fit_codec
from visavis.finetune.refiner import RefinerBatch, RefinerTraining, corrupt
from visavis.finetune.refiner import fit as fit_refiner
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.refiner.model import RefinerConfig
from visavis.refiner.sampler import motion_features
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform
from visavis.tokenizers.codec import FIVE_PARTS, CodecConfig, MotionCodec, part_bones, part_features

SMALL = CodecConfig(codebook_size=16, code_dim=4, width={"core": 8, "side": 8})
RUN = CodecTraining(steps=6, batch=4, window=16)


@lru_cache(maxsize=1)
def lively() -> Motion:
    """A few seconds with large gestures of both arms."""
    lexicon = load_lexicon()
    first, *others = (perform(lexicon[gloss]).motion for gloss in ("huge size", "pleading", "everything"))
    for other in others:
        first = first.concatenate(other)
    return first


def windows(network: str, batch: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    part = "core" if network == "core" else "left"
    motion = lively()
    features = part_features(motion.rotations, part, motion.skeleton)
    return np.stack([features[s : s + frames] for s in rng.integers(0, len(motion) - frames, batch)])


def test_a_codec_is_fitted_saved_and_continued(tmp_path):
    codec = fit_codec(windows, tmp_path, SMALL, RUN)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"codec.json", "codec.safetensors", "checkpoint.pt", "curve.csv"}
    loaded = MotionCodec.load(tmp_path)
    assert loaded.config == SMALL and loaded.encode(idle(9, seed=1)).shape == (3, 3)
    for network in codec.networks.values():  # the codebook stays on the sphere
        torch.testing.assert_close(network.codebook.norm(dim=-1), torch.ones(16), atol=1e-3, rtol=0)
    # A finished run has nothing left to do.
    again = fit_codec(windows, tmp_path, SMALL, RUN)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, codec.state_dict()[name])
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 2


def test_a_codec_learns(tmp_path):
    motion = lively()
    errors = []
    for steps in (1, 60):  # too few to learn smoothness beside places
        codec = fit_codec(windows, tmp_path / str(steps), SMALL, replace(RUN, steps=steps, lr=0.02, acceleration=0.0))
        made = codec.decode(codec.encode(motion), motion).slice(0, len(motion))
        errors.append(float(np.linalg.norm(positions(made) - positions(motion), axis=-1).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_five_chained_parts_begin_as_principal_components(tmp_path):
    config = CodecConfig(FIVE_PARTS, 32, 6, {"core": 12, "arm": 16, "hand": 16}, chained=True, cosine=False)
    motion, seen = lively(), []
    codec = fit_codec(windows, tmp_path, config, replace(RUN, steps=2), seen.append)
    made = codec.decode(codec.encode(motion), motion).slice(0, len(motion))
    error = np.linalg.norm(positions(made) - positions(motion), axis=-1).mean()
    assert error < 0.04  # metres, where the hands travel most of one and random weights are off by 0.19
    assert seen == [0.0, 0.5]


@pytest.mark.parametrize("part", ["core", "left", "left_arm", "left_hand"])
def test_positions_of_a_part_are_those_of_the_skeleton(part):
    motion = idle(5, seed=2)
    skeleton = motion.skeleton
    places = part_positions(part_features(motion.rotations, part, skeleton), part)
    bones = part_bones(part, skeleton)
    assert places.shape[0] == 5 and places.shape[1] >= len(bones)
    # Seen from the part's own root, whose parent does not turn.
    turned = Motion.rest(5).rotations.copy()
    turned[:, bones] = motion.rotations[:, bones]
    whole = positions(Motion(turned, motion.root_m))[:, bones]
    moved = (whole - whole[:, :1]) - (places[:, : len(bones)] - places[:, :1])
    assert np.abs(moved).max() < 1e-4


def sound_and_motion(batch: int, frames: int, rng: np.random.Generator) -> RefinerBatch:
    features = motion_features(idle(200, seed=0))
    rows = np.stack([np.arange(s, s + frames) for s in rng.integers(0, 200 - frames, batch)])
    clean = torch.from_numpy(features[rows])
    noise = torch.from_numpy(rng.normal(0, 0.02, clean.shape).astype(np.float32))
    return RefinerBatch(clean, clean + noise, torch.zeros(batch, frames, 5), torch.zeros(batch, 7))


def test_a_refiner_is_fitted_saved_and_continued(tmp_path):
    config = RefinerConfig(width=16, layers=1, heads=2)
    run = RefinerTraining(steps=4, batch=2, window=32)
    refiner = fit_refiner(sound_and_motion, tmp_path, config, run)
    assert {path.name for path in tmp_path.iterdir()} == {
        "refiner.json", "refiner.safetensors", "checkpoint.pt", "curve.csv",
    }  # fmt: skip
    again = fit_refiner(sound_and_motion, tmp_path, config, run)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, refiner.state_dict()[name])


def test_corruption_drifts_by_at_most_150_ms_and_damps():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(96.0)[None, :, None].expand(16, -1, 3).clone()
    made = corrupt(ramp, generator)
    assert made.shape == ramp.shape
    middle = slice(12, 84)  # damping bends the ends
    assert 0.5 < (made - ramp)[:, middle].abs().max() < 5.5
    assert made.min() >= 0 and made.max() <= 95
    still = torch.ones(4, 40, 2)
    torch.testing.assert_close(corrupt(still, generator), still)


def test_a_checkpoint_is_whole_or_not_there(tmp_path):
    keeper = Checkpointer(tmp_path / "deep" / "run.pt", every_s=0.0)
    assert keeper.load() is None
    assert keeper.due()
    keeper.save({"step": 3, "x": torch.ones(2)})
    assert keeper.load()["step"] == 3
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run.pt"]
    assert not Checkpointer(tmp_path / "run.pt", every_s=1000).due()

"""The refiner of all modes learns from corrupted motion and random masks, and a run that was killed goes on."""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from visavis.cli import main
from visavis.emotion import EMOTIONS
from visavis.finetune import flow_refiner
from visavis.finetune.flow_refiner import FlowBatch, FlowTraining, Windows, confidences, corrupted, fit, tasks
from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn
from visavis.motion.idle import idle
from visavis.refiner.flow import FlowConfig, FlowRefiner
from visavis.refiner.model import Refiner, RefinerConfig
from visavis.refiner.pose_points import pose_points, with_points
from visavis.refiner.sampler import motion_features
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform

TINY = FlowConfig(width=16, layers=1, heads=2, performers=3, style=4)
RUN = FlowTraining(steps=4, batch=2, window=32)


@lru_cache(maxsize=1)
def lively() -> np.ndarray:
    """(T, 273) of a few seconds with large gestures of both arms."""
    lexicon = load_lexicon()
    clips = [perform(lexicon[gloss]).motion for gloss in ("huge size", "pleading", "everything")]
    return np.concatenate([with_points(motion_features(clip)) for clip in clips])


def sample(batch: int, frames: int, rng: np.random.Generator) -> FlowBatch:
    features = lively()
    rows = np.stack([np.arange(s, s + frames) for s in rng.integers(0, len(features) - frames, batch)])
    clean = torch.from_numpy(features[rows])
    noise = torch.from_numpy(rng.normal(0, 0.02, clean.shape).astype(np.float32))
    zeros = torch.zeros(batch)
    return FlowBatch(
        clean, clean + noise, torch.zeros(batch, frames, 5), zeros + 1, torch.zeros(batch, len(EMOTIONS)),
        zeros.long(), clean,
    )  # fmt: skip


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_it_is_fitted_saved_and_continued(tmp_path):
    refiner = fit(sample, tmp_path, TINY, RUN)
    assert {path.name for path in tmp_path.iterdir()} == {
        "refiner.json", "refiner.safetensors", "checkpoint.pt", "curve.csv",
    }  # fmt: skip
    assert json.loads((tmp_path / "refiner.json").read_text())["version"] == 3
    again = fit(sample, tmp_path, TINY, RUN)  # nothing is left to do
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, refiner.state_dict()[name])
    more = fit(sample, tmp_path, TINY, replace(RUN, steps=6))
    assert any(not torch.equal(value, refiner.state_dict()[name]) for name, value in more.state_dict().items())
    assert FlowRefiner.load(tmp_path).config == TINY


def test_it_begins_from_a_refiner_without_modes(tmp_path):
    torch.manual_seed(0)
    known = Refiner(RefinerConfig(width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(known.outlet.weight, std=0.02)
    refiner = fit(sample, tmp_path, TINY, replace(RUN, steps=0), known)
    # The inputs that it does not know say nothing yet: then both are one function.
    frames = refiner.inlet.weight.data.unflatten(1, (4, -1))
    for new in (slice(2 * 264, 2 * 264 + 18), slice(-9, -6), slice(-1, None)):
        frames[..., new] = 0
    x, sound, felt = torch.randn(2, 16, 264), torch.rand(2, 16, 5), torch.rand(2, 7)
    seen, time = torch.nn.functional.pad(x, (0, 9)), torch.tensor([0.0, 0.5])
    for held in (torch.zeros(2, 16), torch.ones(2, 16)):
        by_limb = held[..., None].expand(-1, -1, 3)
        made = refiner(x, seen, by_limb, by_limb, sound, torch.ones(2), felt, torch.zeros(2, 4), time)
        torch.testing.assert_close(made, known(x, x, sound, held, felt, time), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="expected a refiner of the same sizes .* to begin from; got"):
        refiner.begin_from(Refiner())


def test_a_run_ends_by_the_clock(tmp_path):
    fit(sample, tmp_path, TINY, replace(RUN, steps=100_000, seconds=1.0))
    assert (tmp_path / "refiner.safetensors").exists()


def test_it_learns(tmp_path):
    config, batch = replace(TINY, width=32), sample(16, 32, np.random.default_rng(5))
    trained = fit(sample, tmp_path, config, replace(RUN, steps=120, batch=6, lr=1e-2))
    fresh = FlowRefiner(config)
    fresh.mean, fresh.scale = trained.mean, trained.scale
    losses = []
    for refiner in (trained, fresh):  # the same windows, masks and noise; nothing is learnt
        still = torch.optim.SGD(refiner.parameters(), lr=0.0)
        losses.append(flow_refiner._step(refiner, still, batch, torch.Generator().manual_seed(1))["loss"])
    assert losses[0] < 0.98 * losses[1]  # most of it is guesswork: what stands where nothing is known


def test_sure_motion_is_not_corrupted_and_doubt_drifts_by_300_ms_at_most(generator):
    refiner = FlowRefiner(TINY)
    ramp = torch.arange(96.0)[None, :, None].expand(16, -1, 273).clone()
    sure = torch.ones(16, 96, 3)
    torch.testing.assert_close(corrupted(refiner, ramp, sure, generator), ramp)
    sure[..., 1] = 0.0  # the left arm
    made = corrupted(refiner, ramp, sure, generator)
    left = refiner.limb == 1
    torch.testing.assert_close(made[..., ~left], ramp[..., ~left])
    off = (made - ramp)[:, 12:84][..., left].abs()  # damping bends the ends
    assert 3 < off.max() < 10 and made.min() >= 0 and made.max() <= 95


def test_confidences_are_all_or_between(generator):
    sure = confidences(400, 96, generator)
    assert sure.shape == (400, 96, 3) and sure.min() > 0 and sure.max() <= 1
    flat = sure.flatten(1)
    assert 0.47 < (flat == 1).all(1).float().mean() < 0.63
    # What a clip forces is sure for a while, in motion that else is not.
    assert ((flat > 0.99).any(1) & (flat < 0.9).any(1)).float().mean() > 0.1
    assert float(sure.diff(dim=1).abs().max()) < 0.2  # and nothing is warped by a jump


def test_tasks_are_of_every_mode(generator):
    known, sure = tasks(600, 96, 4, generator)
    assert known.dtype == torch.bool and known.shape == sure.shape == (600, 96, 3)
    count, nothing = known.sum((1, 2)), (sure == 0).flatten(1).all(1)
    assert ((count == 0) & ~nothing).float().mean() > 0.2  # refine
    assert 0.06 < ((count == 0) & nothing).float().mean() < 0.18  # free
    whole = known.all(-1)
    lead = whole[:, 0] & ~whole[:, -1] & (whole.int().diff(dim=1).abs().sum(1) == 1)
    gap = whole[:, 0] & whole[:, -1]
    edits = (known.any(1).any(1) & (known.all(1).any(1)) & ~known.all(1).all(1)).float().mean()
    keys = ((count > 0) & (count < 3 * 9) & ~whole[:, 0]).float().mean()
    assert min(lead.float().mean(), gap.float().mean(), edits, keys) > 0.05
    assert nothing[gap].float().mean() > 0.4  # what is filled in is mostly made of nothing


def test_windows_are_of_one_turn_with_its_performer_and_its_points():
    class Corpus(MotionCorpus):
        def __init__(self) -> None:
            self.features = motion_features(idle(300, seed=1)).astype(np.float16)
            self.prosody = np.random.default_rng(0).random((300, 5)).astype(np.float16)
            self.turns = [
                TaughtTurn("train", mode, "Hello.", "joy", 0.5, performer, 3.0, start, 100, [], [], [])
                for mode, performer, start in (("speak", 1, 0), ("listen", 2, 100), ("speak", 7, 200))
            ]

    corpus = Corpus()
    batch = Windows(corpus, corpus.features, corpus.features, 3).sample(30, 40, np.random.default_rng(0))
    assert batch.clean.shape == (30, 40, 273) and batch.example.shape == (30, 96, 273)
    assert batch.sound.shape == (30, 40, 5) and batch.sound.abs().max() < 3
    assert set(batch.performer.tolist()) == {1, 2, 3}  # the third has no label: nobody
    assert (batch.heard == 0).tolist() == (batch.performer == 2).tolist()
    np.testing.assert_allclose(
        batch.clean[..., 264:], pose_points(batch.clean[..., :264].numpy()), atol=2e-3
    )  # half precision


def test_styles_are_named_shown_or_nobodys(generator):
    refiner = FlowRefiner(TINY)
    batch = sample(300, 32, np.random.default_rng(0))
    styles = flow_refiner._styles(refiner, batch, generator)
    nobody = refiner.style_named(torch.tensor([3]))
    named = refiner.style_named(torch.tensor([0]))
    shares = [float((styles - one).abs().amax(-1).lt(1e-6).float().mean()) for one in (nobody, named)]
    assert all(0.25 < share < 0.42 for share in shares)


def test_modes_belong_to_the_refiner(tmp_path, capsys):
    assert main(["train", "codec", "--modes", "--out", str(tmp_path)]) == 2
    assert "--modes belongs to the refiner" in capsys.readouterr().err
    assert main(["train", "refiner", "--modes", "--out", str(tmp_path)]) == 2
    assert "run `visavis train codec` first" in capsys.readouterr().err
    for option in (["--modes"], ["--seed", "1"]):
        assert main(["train", "planner", *option, "--base", "x", "--out", str(tmp_path)]) == 2
        assert f"expected --base or {option[0]}, got both" in capsys.readouterr().err


def test_a_seed_is_of_codec_and_refiner_and_careful_codes_of_the_planner(tmp_path, capsys):
    assert main(["train", "planner", "--seed", "1", "--out", str(tmp_path)]) == 2
    assert "--seed is of the codec and the refiner; got planner" in capsys.readouterr().err
    assert main(["train", "codec", "--careful", "--out", str(tmp_path)]) == 2
    assert "--careful is of the corpus and the planner; got codec" in capsys.readouterr().err
    assert main(["train", "planner", "--careful", "--base", "x", "--out", str(tmp_path)]) == 2
    assert "expected --base or --careful, got both" in capsys.readouterr().err
    assert main(["train", "refiner", "--seed", "-1", "--out", str(tmp_path)]) == 2

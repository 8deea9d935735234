"""`visavis train` end to end on tiny data."""

import json
import os
import time

import pytest

from visavis.agent.embedded import EmbeddedEngine
from visavis.cli import main
from visavis.finetune.motion_corpus import MotionCorpus
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.model import Refiner
from visavis.tokenizers.codec import MotionCodec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Everything trained in order, with `--smoke`."""
    pytest.importorskip("espeakng_loader", reason="needs the voices: pip install 'visavis[speech]'")
    out = tmp_path_factory.mktemp("runs")
    for what in (["corpus"], ["codec"], ["refiner"], ["refiner", "--modes"], ["planner"]):
        began = time.process_time()
        assert main(["train", *what, "--smoke", "--out", str(out)]) == 0
        if what[0] in ("codec", "refiner"):  # of the processor: the suite's other half may have the other core
            assert time.process_time() - began < 60, what
    return out


def test_everything_is_there(runs):
    lines = (runs / "corpora" / "reply_train.jsonl").read_text().splitlines()
    assert len(lines) == 2 * 7 * 30 and set(json.loads(lines[0])) == {
        "prompt",
        "plan",
    }  # whole visits, each in two wordings
    turns = MotionCorpus(runs / "corpora" / "motion", "train").turns
    assert len(turns) == 20 and all(turn.mode == "listen" for turn in turns[16:])
    assert MotionCodec.load(runs / "codec").config.codebook_size == 512
    assert Refiner.load(runs / "refiner").config.patch == 4
    assert FlowRefiner.load(runs / "refiner_modes").config.patch == 4
    engine = EmbeddedEngine.load(runs / "planner")
    assert list(engine.generate([engine.vocabulary.control("bos")], limit=3))


def test_a_second_run_makes_nothing_twice(runs):
    before = {path: os.stat(path).st_mtime_ns for path in (runs / "corpora").rglob("*.npz")}
    assert main(["train", "corpus", "--smoke", "--out", str(runs)]) == 0
    assert before and all(os.stat(path).st_mtime_ns == stamp for path, stamp in before.items())


def test_shipping_makes_models_that_speak(runs, tmp_path, monkeypatch):
    from pathlib import Path

    from visavis.agent import Agent, loading
    from visavis.finetune import ship

    models = tmp_path / "models"
    monkeypatch.setattr(ship, "FINDER_LINES", 30)
    monkeypatch.setattr("sys.argv", ["ship", str(runs), "--to", str(models)])
    ship.main()
    for name in ("codec", "refiner"):
        card = (models / name / "README.md").read_text()
        assert "{" not in card and "Licence" in card
    assert (models / "fingerprint.json").exists()
    for cached in (loading._engine, loading._codec, loading._refiner):
        cached.cache_clear()
    monkeypatch.setattr(loading, "models_folder", lambda: Path(models))
    try:
        with Agent(voice="silent") as agent:
            assert agent.say("Hello there!").text == "Hello there!"
    finally:
        for cached in (loading._engine, loading._codec, loading._refiner):
            cached.cache_clear()

"""The shipped planner is trained further on tiny data, and stays what it was where it is told to."""

import json

import pytest

from visavis.agent.embedded import EmbeddedEngine
from visavis.finetune.further import main
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.mark.slow
def test_further_training_makes_its_corpora_and_a_planner(tmp_path):
    main([str(tmp_path), "--smoke", "--seconds", "20"])
    assert {path.name for path in (tmp_path / "further").glob("tokens_*.npz")} == {
        "tokens_move.npz", "tokens_talk.npz", "tokens_dev.npz",
    }  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "planner_further" / "log.jsonl").read_text().splitlines()]
    assert set(log[-1]["heldout"]) == {"speak", "listen"}
    engine = EmbeddedEngine.load(tmp_path / "planner_further")
    assert engine.vocabulary.size == JointVocabulary.default().size

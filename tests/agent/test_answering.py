"""What REPLY's model is told by recall and by meaning: whether to quote, which card, and what to feel."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.agent.answering import Answering
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.loading import models_folder
from visavis.agent.native import NativePlanner
from visavis.agent.planner import Cancel
from visavis.agent.recall import shared_meanings
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.finetune.replies.train_answering import fit, lines
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import Candidate, ReplyPrompt

OPEN, CAT = "The shop is open from nine to six.", "Our cat sleeps in the window."


@pytest.fixture(scope="module")
def planner():
    return NativePlanner(EmbeddedEngine.load(models_folder() / "planner"), Library(load_lexicon()))


def reply(planner, line, *cards):
    prompt = ReplyPrompt("Ilse", "a shopkeeper", tuple(Candidate(*card) for card in cards), (), line)
    return planner.reply(prompt, seed=0, cancel=Cancel())


@pytest.mark.parametrize("line", ["When are you open?", "qwertz?", "I lost my job."])
def test_what_recall_is_sure_of_is_quoted(planner, line):
    plan = reply(planner, line, (OPEN, 0.95), (CAT, 0.01))
    assert [segment.text for segment in plan.segments if segment.quoted] == [OPEN]


@pytest.mark.parametrize("line", ["When are you open?", "How old is your cat?", "Where does it sleep?"])
def test_no_answer_begins_with_what_recall_doubts(planner, line):
    plan = reply(planner, line, (OPEN, 0.03), (CAT, 0.02))
    assert not plan.segments[0].quoted


def test_the_likelier_card_is_chosen(planner):
    for first, second in ((OPEN, CAT), (CAT, OPEN)):
        plan = reply(planner, "Tell me.", (first, 0.7), (second, 0.05))
        assert [segment.text for segment in plan.segments if segment.quoted] == [first]


def test_news_is_felt():
    head, vectors = Answering.default(), shared_meanings()
    for line, felt in (
        ("My grandmother died last week.", "sadness"),
        ("I won the first prize!", "joy"),
        ("How much is a ticket?", "neutral"),
    ):
        chances = head.log_chances(line, vectors)
        assert EMOTIONS[int(chances.argmax())] == felt
        assert np.exp(chances).sum() == pytest.approx(1, abs=1e-4)


def test_a_head_is_learnt_saved_and_read_back(tmp_path):
    train = list(lines("train"))
    unseen = {line for line, _ in lines("dev")}
    assert len(unseen & {line for line, _ in train}) < len(unseen) / 100  # "How big is it?" is asked everywhere
    head = fit([pair for pair in train if pair[1] != ("neutral",)][:120] + train[-40:])
    head.save(tmp_path / "head.safetensors")
    again = Answering.load(tmp_path / "head.safetensors")
    np.testing.assert_allclose(again.weight, head.weight, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("content", [None, b"{}", "shapes"])
def test_what_is_no_head_is_refused(tmp_path, content):
    path = tmp_path / "head.safetensors"
    if content == "shapes":
        save_file({"weight": np.zeros((3, 384), np.float16), "bias": np.zeros(3, np.float16)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match="train_answering"):
        Answering.load(path)

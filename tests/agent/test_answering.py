"""What REPLY's model is told by recall and by meaning: whether to quote, which card, and what to feel."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.agent.answering import KINDS, STRENGTHS, Answering
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.loading import models_folder
from visavis.agent.native import NativePlanner, feelings_of
from visavis.agent.planner import Cancel
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.finetune.replies.train_answering import felt_by_kind, fit, lines
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


@pytest.mark.parametrize("line", ["When are you open?", "qwertz?"])
def test_what_recall_is_sure_of_is_quoted(planner, line):
    plan = reply(planner, line, (OPEN, 0.95), (CAT, 0.01))
    assert [segment.text for segment in plan.segments if segment.quoted] == [OPEN]


@pytest.mark.parametrize("line", ["I lost my job.", "My son loves cats.", "We came by train.", "Thanks a lot!"])
def test_who_asks_for_nothing_is_told_no_card(planner, line):
    plan = reply(planner, line, (OPEN, 0.8), (CAT, 0.01))
    assert not any(segment.quoted for segment in plan.segments)


@pytest.mark.parametrize("line", ["When are you open?", "How old is your cat?", "Where does it sleep?"])
def test_no_answer_begins_with_what_recall_doubts(planner, line):
    plan = reply(planner, line, (OPEN, 0.03), (CAT, 0.02))
    assert not plan.segments[0].quoted


def test_the_likelier_card_is_chosen(planner):
    for first, second in ((OPEN, CAT), (CAT, OPEN)):
        plan = reply(planner, "Tell me.", (first, 0.7), (second, 0.05))
        assert [segment.text for segment in plan.segments if segment.quoted] == [first]


@pytest.mark.parametrize(
    ("line", "felt"),
    [
        ("My grandmother died last week.", "sadness"),
        ("The cot stayed empty.", "sadness"),
        ("I won the first prize!", "joy"),
        ("How much is a ticket?", "neutral"),
        ("What does grief mean?", "neutral"),
    ],
)
def test_news_is_felt(line, felt):
    head = Answering.default()
    chances = head.chances(head.kinds(line))  # (E, STRENGTHS)
    assert EMOTIONS[int(chances.sum(1).argmax())] == felt
    assert chances.sum() == pytest.approx(1, abs=1e-2)


def test_what_is_told_is_not_answered_by_a_card_that_it_reminds_of(planner):
    plan = reply(planner, "Our cat was run over last night.", (CAT, 0.7), (OPEN, 0.01))
    assert plan.emotion.name == "sadness" and not any(segment.quoted for segment in plan.segments)


def test_words_fit_what_is_felt(planner):
    loss = reply(planner, "My little brother drowned when I was nine.", (OPEN, 0.03))
    assert loss.emotion.name == "sadness" and loss.emotion.intensity >= 0.5
    assert "know" not in loss.text and "sorry" in loss.text.lower() or "sad" in loss.text.lower()
    asked = reply(planner, "How deep is a grave?", (OPEN, 0.03))
    assert asked.emotion.name == "neutral"


def test_weights_of_emotions_follow_the_chances():
    chances = np.zeros((len(EMOTIONS), STRENGTHS), np.float32)
    chances[2, 6:9], chances[0, 2] = 0.3, 0.1
    emotions, strengths = feelings_of(chances, trust=2.0)
    assert int(np.argmax(emotions)) == 2
    assert emotions[2] - emotions[0] == pytest.approx(2 * np.log(9), abs=1e-4)
    assert int(np.argmax(strengths[0])) == 2 and set(np.argsort(strengths[2])[-3:]) == {6, 7, 8}
    assert np.isfinite(emotions).all() and np.isfinite(strengths).all()


def test_kinds_are_those_of_the_replies():
    felt = felt_by_kind()  # (K, E, STRENGTHS)
    np.testing.assert_allclose(felt.sum((1, 2)), 1, atol=1e-5)
    assert felt[KINDS.index("remark"), EMOTIONS.index("neutral")].sum() == pytest.approx(1)
    news = felt[KINDS.index("bad_news"), EMOTIONS.index("sadness")]
    assert news[:6].sum() == 0 and news[6] == pytest.approx(1)
    assert {line.kind for line in lines("train")} == set(KINDS) >= {line.kind for line in lines("dev")}


def test_a_head_is_learnt_saved_and_read_back(tmp_path):
    train = list(lines("train"))
    unseen = {line.text for line in lines("dev")}
    assert len(unseen & {line.text for line in train}) < len(unseen) / 100  # "How big is it?" is asked everywhere
    head = fit([line for line in train if line.source != "questions"][:128] + train[-64:], epochs=1)
    head.save(tmp_path / "head.safetensors")
    again = Answering.load(tmp_path / "head.safetensors")
    np.testing.assert_allclose(again.weight, head.weight, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(again.kinds("Hello!"), head.kinds("Hello!"), atol=1e-3)


@pytest.mark.parametrize("content", [None, b"{}", "shapes"])
def test_what_is_no_head_is_refused(tmp_path, content):
    path = tmp_path / "head.safetensors"
    if content == "shapes":
        save_file({"weight": np.zeros((3, 384), np.float16), "bias": np.zeros(3, np.float16)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match="train_answering"):
        Answering.load(path)

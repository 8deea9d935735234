import re

import numpy as np
import pytest
import torch

from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.evals.feeling.measure import two_turns
from visavis.finetune.acts.comments import read_comments
from visavis.finetune.acts.train_feeling import Cases, cases_of, fit_heard, fit_said, load_turns, own
from visavis.retrieval.embedder import DIMENSIONS


def plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def test_no_line_of_the_evaluation_is_learnt():
    learnt = load_turns()
    texts = {plain(line) for line, _, _ in learnt.lines} | {plain(a) for some in learnt.answers.values() for a in some}
    held = {plain(text) for turn in two_turns() for text in (turn.before, turn.text)}
    assert not texts & held


def test_turns_are_whole():
    learnt = load_turns()
    assert len({line for line, _, _ in learnt.lines}) == len(learnt.lines) > 300
    assert {part for _, part, _ in learnt.lines} == set(learnt.answers)
    assert {felt[0] for _, _, felt in learnt.lines} == set(EMOTIONS)
    cases = cases_of(learnt, [0, 1, 2], [0], 2, 4, seed=0)
    assert cases.text.shape == cases.before.shape == (12, DIMENSIONS)
    assert torch.allclose(cases.shares.sum(1), torch.ones(12))


def test_own_sentences_part():
    held, learnt = own(dev=True), own(dev=False)
    assert held.texts and not set(held.texts) & set(learnt.texts)


@pytest.fixture
def comments(tmp_path):
    (tmp_path / "labels.txt").write_text("anger\njoy\nneutral\n")
    (tmp_path / "train.tsv").write_text("Thank you!\t1\ta1\nGo away\t0\ta2\n")
    lines = [f"Comment number {n}\t{n % 3}{',1' if n == 4 else ''}\tid{n}" for n in range(40)]
    (tmp_path / "dev.tsv").write_text("\n".join([*lines, "thank you\t1\tid99"]) + "\n")
    return tmp_path


def test_the_halves_of_the_development_part_share_nothing(comments):
    train, choose, held = (read_comments(comments, part) for part in ("train", "choose", "held"))
    assert train.texts == ("Thank you!", "Go away") and [EMOTIONS[i] for i in train.labels] == ["joy", "anger"]
    assert len(choose.texts) + len(held.texts) == 40 and not set(choose.texts) & set(held.texts)
    assert "thank you" not in {*choose.texts, *held.texts}  # the training part has it
    both = [*zip(choose.texts, choose.shares, strict=True), *zip(held.texts, held.shares, strict=True)]
    assert [row.max() for text, row in both if text == "Comment number 4"] == [0.5]
    assert len(choose.single.texts) + len(held.single.texts) == 39


def test_comments_that_are_not_there(tmp_path):
    with pytest.raises(FileFormatError, match="expected GoEmotions under Ekman's labels in .*labels.txt, train.tsv"):
        read_comments(tmp_path, "held")


def test_the_heads_learn_whom_to_hear():
    """Texts either tell their emotion or nothing; where they tell nothing the line before does."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(len(EMOTIONS) + 1, DIMENSIONS)).astype(np.float32) / DIMENSIONS**0.5

    def near(places):
        noise = rng.normal(size=(len(places), DIMENSIONS)) * 0.02
        return torch.from_numpy((directions[places] + noise).astype(np.float32))

    def shares(places):
        return torch.eye(len(EMOTIONS))[torch.from_numpy(places)]

    told, stray, before = (rng.integers(0, len(EMOTIONS), 400) for _ in range(3))
    clear = Cases(near(told), near(stray), shares(told))
    empty = np.full(400, len(EMOTIONS))
    left = Cases(near(empty), near(before), shares(before))
    made = fit_heard(fit_said(clear.text.numpy(), clear.shares.numpy()), left, clear)
    for cases, wanted in ((clear, told), (left, before)):
        found = made.weigh(cases.text.numpy(), cases.before.numpy()).argmax(1)
        assert np.mean(found == wanted) > 0.95

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.agent.finder import JOIN, LOOKED_AT, NONE, Finder, default_finder, met
from visavis.errors import FileFormatError

FACTS = ["tickets: A ticket costs twelve euros.", "hours: We close at six.", "café: The café is upstairs."]


@pytest.fixture(scope="module")
def finder():
    return default_finder()


def test_what_answers_is_found_without_a_word_in_common(finder):
    assert finder.find("What would I have to pay to get in?", FACTS).argmax() == 0
    assert finder.find("till when can we stay", FACTS).argmax() == 1
    assert finder.find("I'm thirsty, where do I go?", FACTS).argmax() == 2


def test_nothing_answers_what_was_not_told(finder):
    assert finder.find("What would I have to pay to get in?", FACTS).max() > 0
    assert finder.find("What is your sister called?", FACTS).max() < 0
    assert len(finder.find("Hello?", [])) == 0


def test_logits_do_not_depend_on_what_else_is_there(finder):
    together = finder.find("How much is it?", FACTS)
    assert together == pytest.approx([finder.find("How much is it?", [fact])[0] for fact in FACTS], abs=1e-3)


def test_the_words_of_far_facts_are_not_looked_at(finder, monkeypatch):
    looked = []
    monkeypatch.setattr("visavis.agent.finder.met", lambda line, fact: looked.append(fact) or met(line, fact))
    many = [f"shelf {n}: Box {n} holds buttons." for n in range(LOOKED_AT + 12)]
    logits = finder.find("What would I have to pay to get in?", [*many, FACTS[0]])
    assert logits.argmax() == len(many) and np.isfinite(logits).all() and len(looked) == LOOKED_AT


def test_each_side_meets_the_other():
    line, fact = np.eye(4)[:2], np.eye(4)[[0, 2, 3]]
    assert met(line, fact) == (0.5, pytest.approx(1 / 3))


def test_what_is_no_finder_is_refused(tmp_path, finder):
    with pytest.raises(FileFormatError, match="finder"):
        Finder.load(tmp_path)
    save_file({JOIN: np.zeros(3, np.float16), NONE: np.zeros(385, np.float16)}, tmp_path / "finder.safetensors")
    with pytest.raises(FileFormatError, match="join"):
        Finder.load(tmp_path)

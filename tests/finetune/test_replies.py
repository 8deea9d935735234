import json
import random
import re
from itertools import islice

import pytest

from visavis.agent.persona import NATURE
from visavis.agent.recall import rank_cards
from visavis.errors import FileFormatError
from visavis.finetune.replies import generate, visits
from visavis.finetune.replies.__main__ import main
from visavis.finetune.replies.fillers import number_words
from visavis.finetune.replies.worlds import draw_world, of_split, settings
from visavis.finetune.text_corpus import read_replies


@pytest.fixture(scope="module")
def examples():
    return list(generate(80, seed=5))


@pytest.fixture(scope="module")
def drawn(examples):
    """The first visits of those examples."""
    return list(islice(visits.draw(5, "train"), 6))


def test_quotes_are_cards_of_the_prompt_and_scores_fall(examples):
    quoted = 0
    for prompt, plan in examples:
        texts = [card.text for card in prompt.cards]
        scores = [card.score for card in prompt.cards]
        assert len(texts) <= 5 and scores == sorted(scores, reverse=True)
        assert len(prompt.history) <= 4
        for segment in plan.segments:
            assert segment.text and "{" not in segment.text
            if segment.quoted:
                quoted += 1
                assert segment.text in texts
    assert 0.25 < quoted / len(examples) < 0.75


def test_the_cards_are_those_really_recalled(examples, drawn):
    prompt, _ = examples[0]
    assert not re.search(r"[{}]", prompt.user)
    visit = drawn[0]
    assert visit.persona.name == prompt.name and visit.asked[0].turn.user == prompt.user
    recalled = rank_cards(prompt.user, visit.persona)
    assert [card.text for card in recalled] == [card.text for card in prompt.cards]
    assert [card.score for card in recalled] == pytest.approx([card.score for card in prompt.cards], abs=0.02)


def test_a_persona_knows_that_it_is_an_ai_and_says_so_when_asked(drawn):
    turns = [one.turn for visit in drawn for one in visit.asked if one.turn.act == "robot"]
    assert turns and all(turn.answers == NATURE.facts for turn in turns)
    assert all(visit.persona.cards[-1] == NATURE for visit in drawn)


def test_visits_are_written_in_parts_read_back_and_not_made_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "VISITS_A_PART", 1)
    visits.write_parts(tmp_path, 60, "dev", seed=3)
    paths = sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == ["part000.jsonl.gz", "part001.jsonl.gz"]
    before = [path.stat().st_mtime_ns for path in paths]
    visits.write_parts(tmp_path, 60, "dev", seed=3)
    assert [path.stat().st_mtime_ns for path in paths] == before
    again = list(visits.read_parts(tmp_path))
    drawn = [next(visits.draw(3000 + k, "dev")) for k in (0, 1)]
    for one, other in zip(again, drawn, strict=True):
        assert (one.setting, one.fold) == (other.setting, other.fold)
        assert one.persona.facts == other.persona.facts
        for a, b in zip(one.asked, other.asked, strict=True):
            assert (a.turn, a.places) == (b.turn, b.places)
            assert a.logits == pytest.approx(b.logits, abs=2e-3)
    with pytest.raises(FileFormatError, match="part"):
        next(visits.read_parts(tmp_path / "nothing"))


def test_splits_share_no_setting_name_or_question_template():
    train = {name for name in settings() if of_split(name, "train", "setting")}
    dev = {name for name in settings() if of_split(name, "dev", "setting")}
    assert not train & dev and len(train | dev) >= 40 and len(dev) >= 3
    for setting in settings().values():
        for topic in setting.topics:
            for attribute in topic.attributes:
                if attribute.shared:
                    assert not set(attribute.questions("train")) & set(attribute.questions("dev"))


@pytest.mark.parametrize("name", sorted(settings()))
def test_every_setting_gives_personas_that_know_and_lack(name):
    split = "dev" if of_split(name, "dev", "setting") else "train"
    for seed in range(3):
        world = draw_world(settings()[name], split, random.Random(seed))
        assert len(world.persona.facts) >= 4 and world.known and (world.near or world.far)
        assert not re.search(r"[{}]", " ".join([*world.persona.facts, *world.far, world.persona.role]))
        assert all(fact[0].isupper() or not fact[0].isalpha() for fact in world.persona.facts)


def test_the_same_seed_gives_the_same_examples_and_a_file_of_them_reads_back(tmp_path, examples):
    path = tmp_path / "deep" / "replies.jsonl"
    main(["--n", "6", "--seed", "5", "--out", str(path)])
    assert list(read_replies(path)) == examples[:6]
    main(["--n", "3", "--seed", "6", "--out", str(path)])  # a file that is there stays
    assert list(read_replies(path)) == examples[:6]
    assert [one.name for one in path.parent.iterdir()] == ["replies.jsonl"]
    assert len(path.read_text().splitlines()) == 6
    assert set(json.loads(path.read_text().splitlines()[0])) == {"prompt", "plan"}


def test_numbers_in_words():
    assert [number_words(n) for n in (0, 21, 105, 999, 1200, 90_500)] == [
        "zero", "twenty-one", "one hundred and five", "nine hundred and ninety-nine", "one thousand two hundred",
        "ninety thousand five hundred",
    ]  # fmt: skip

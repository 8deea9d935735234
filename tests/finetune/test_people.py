import random

import numpy as np
import pytest

from visavis.agent.reader import FactReader
from visavis.evals.first_light.facts import heldout
from visavis.finetune.replies import conversation, visits
from visavis.finetune.replies.people import draw_person, people
from visavis.finetune.replies.train_reader import (
    ASKING,
    DECLINED,
    ReaderTraining,
    cross_fit,
    finish,
    lines,
    measure,
)
from visavis.finetune.replies.visits import draw
from visavis.finetune.replies.worlds import fold_of, settings


def test_people_know_enough_and_ask_in_many_ways():
    everybody = [*people("train"), *people("dev")]
    assert len({(p.name, p.role) for p in everybody}) == len(everybody) >= 80
    for person in everybody:
        assert len(person.facts) >= 10 and len(person.unknown) >= 6, person.name
        assert all(len(fact.asks) >= 4 for fact in person.facts), person.name
        assert all(len(fact.says) <= 240 for fact in person.facts)


def test_nobody_who_trains_is_among_the_held_out():
    names = {persona.name for persona, _, _ in heldout()}
    facts = {fact for persona, _, _ in heldout() for fact in persona.facts}
    for person in people("train"):
        assert person.name not in names
        assert not facts & {fact.says for fact in person.facts}


def test_a_drawn_person_lacks_some_facts_and_cannot_answer_for_them():
    rng = random.Random(1)
    for person in people("train")[:10]:
        world = draw_person(person, rng)
        assert set(world.persona.facts) == {known.fact for known in world.known} <= {f.says for f in person.facts}
        asked = {ask for known in world.known for ask in known.questions}
        lost = {ask for _, ask in world.near} | set(world.far)
        assert lost and not asked & lost


def test_the_folds_are_of_like_size():
    names = [person.name for person in people("train")] + sorted(settings())
    first = sum(fold_of(name) == 0 for name in names)
    assert 0.4 < first / len(names) < 0.6


def test_lines_know_which_facts_answer(monkeypatch):
    monkeypatch.setattr(conversation, "WORLDS_AT_ONCE", 4)
    some = [line for line, _ in zip(lines(draw(3, "train")), range(240), strict=False)]
    for line in some:
        assert len(line.facts) == len(line.right) <= 10 and line.fold in (0, 1)
        assert any(line.right) <= line.answerable and line.teaches == (any(line.right) == line.answerable)
        if line.act in DECLINED:
            assert not any(line.right)
    assert any(line.person for line in some) and any(not line.person for line in some)
    assert any(line.act in ASKING for line in some)


@pytest.mark.slow
def test_readers_of_both_folds_and_of_all_train_resume_and_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "VISITS_A_PART", 4)
    visits.write_parts(tmp_path / "corpora" / "visits_train", 240, "train")
    visits.write_parts(tmp_path / "corpora" / "visits_dev", 30, "dev")
    quick = ReaderTraining(passes=0.3, minutes=0.2, pairs=48)
    cross_fit(tmp_path, quick)
    cross_fit(tmp_path, quick)  # goes on from the checkpoints, which are at their ends
    train = list(lines(visits.read_parts(tmp_path / "corpora" / "visits_train")))
    said = np.load(tmp_path / "corpora" / "read_train.npy")
    assert len(said) == sum(len(line.facts) for line in train) and np.isfinite(said).all()
    other = FactReader.load(tmp_path / "folds" / str(1 - train[0].fold))
    alone = other.read(train[0].question, train[0].facts)
    assert said[: len(alone)] == pytest.approx(alone, abs=0.1)  # read by whom the persona is new to; in bf16
    reader = finish(tmp_path, 100)
    figures = measure(reader, count=40)
    assert figures["people: questions"] + figures["settings: questions"] > 5
    assert all(0 <= value <= 1 for key, value in figures.items() if not key.endswith("questions") and value == value)

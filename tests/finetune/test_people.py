import random

import numpy as np
import pytest

from visavis.agent.finder import Finder
from visavis.agent.persona import Card, Persona
from visavis.agent.recall import likely, look_up
from visavis.evals.first_light.facts import heldout
from visavis.finetune.replies import visits
from visavis.finetune.replies.people import draw_person, people
from visavis.finetune.replies.train_finder import FinderTraining, askings, auc, measure, train
from visavis.finetune.replies.worlds import fold_of, settings


def test_people_know_enough_and_ask_in_many_ways():
    everybody = [*people("train"), *people("dev")]
    assert len({(p.name, p.role) for p in everybody}) == len(everybody) >= 80
    for person in everybody:
        assert len(person.facts) >= 10 and len(person.unknown) >= 6, person.name
        assert all(len(fact.asks) >= 4 for fact in person.facts), person.name
        everything = [Card(topic=fact.topic, facts=(fact.says,)) for fact in person.facts]
        Persona(name=person.name, role=person.role, cards=tuple(everything))  # raises where one is too long


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


def test_what_is_said_to_a_persona_knows_which_of_its_facts_answer():
    some = askings(people("train"), [*settings().values()][:3], random.Random(4))
    for asking in (next(some) for _ in range(12)):
        assert 1 <= len(asking.facts) <= 24 and all(": " in fact for fact in asking.facts)
        assert all(0 <= place < len(asking.facts) for _, right in asking.lines for place in right)
        assert any(right for _, right in asking.lines) and any(not right for _, right in asking.lines)


@pytest.mark.slow
def test_finders_of_both_folds_and_of_all_train_resume_and_are_measured(tmp_path):
    quickly = FinderTraining(minutes=0.05, personas=2, threads=1)
    finder = train(tmp_path, quickly, folds=True)
    found = (tmp_path / "finder" / "finder.safetensors").read_bytes()
    train(tmp_path, quickly, folds=True)  # is at its end
    assert (tmp_path / "finder" / "finder.safetensors").read_bytes() == found
    visit = next(visits.draw(3, "train", tmp_path))
    other = Finder.load(tmp_path / "finders" / str(1 - visit.fold))  # by whom the persona is new to
    asked = visit.asked[0]
    places, logits = likely(look_up(asked.turn.user, (), visit.persona.cards), other)
    assert tuple(places) == asked.places and asked.logits == pytest.approx(logits, abs=2e-3)
    figures = measure(finder, count=60)
    assert figures["people: questions that a fact answers"] + figures["settings: questions that a fact answers"] > 5
    assert all(0 <= value <= 1 for key, value in figures.items() if "questions" not in key and value == value)


def test_the_chance_that_one_exceeds_another():
    assert auc([2, 3], [1]) == 1 and auc([1], [1]) == 0.5 and np.isnan(auc([], [1]))

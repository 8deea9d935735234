import random

import pytest

from visavis.evals.first_light.facts import heldout
from visavis.finetune.replies import conversation
from visavis.finetune.replies.people import draw_person, people
from visavis.finetune.replies.train_reader import ASKING, DECLINED, fit, lines, measure
from visavis.finetune.replies.worlds import of_lesson, settings


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


def test_reader_and_reply_learn_from_different_people():
    names = [person.name for person in people("train")] + sorted(settings())
    reader = {name for name in names if of_lesson(name, "reader")}
    reply = {name for name in names if of_lesson(name, "reply")}
    assert not reader & reply and len(reader) > len(reply) > 10


def test_lines_know_which_facts_answer(monkeypatch):
    monkeypatch.setattr(conversation, "WORLDS_AT_ONCE", 4)
    some = [line for line, _ in zip(lines(3, "train", "reader"), range(60), strict=False)]
    for line in some:
        assert len(line.facts) == len(line.right) <= 10
        assert any(line.right) == line.answerable
        if line.act in DECLINED:
            assert not any(line.right)
    assert any(line.person for line in some) and any(not line.person for line in some)
    assert any(line.act in ASKING for line in some)


@pytest.mark.slow
def test_a_reader_trains_resumes_and_is_measured(tmp_path):
    from visavis.agent.reader import FactReader

    fit(tmp_path, minutes=0.05, mix_lines=20)
    fit(tmp_path, minutes=0.1, mix_lines=20)
    figures = measure(FactReader.load(tmp_path), count=40)
    assert figures["people: questions"] + figures["settings: questions"] > 5
    assert all(0 <= value <= 1 for key, value in figures.items() if not key.endswith("questions") and value == value)

import pytest

from visavis.agent.journal import Journal
from visavis.agent.memory import MOST, PartnerMemory, Shelf
from visavis.agent.persona import load_persona
from visavis.agent.store import open_store
from visavis.agent.told import forgetting, statements

TOLD = {
    "Hi, my name is Anna and I have a dog called Rex.": ["Your name is Anna.", "You have a dog called Rex."],
    "I'm Anna.": ["Your name is Anna."],
    "I'm Dutch, and I live in Oslo.": ["You are Dutch.", "You live in Oslo."],
    "Call me Bob.": ["Your name is Bob."],
    "I was born in Paris.": ["You were born in Paris."],
    "Please remember that my daughter's name is Zoe.": ["Your daughter's name is Zoe."],
    "I'm 12 years old": ["You are 12 years old."],
    "Well, my favourite colour is green!": ["Your favourite colour is green."],
    "What is my name?": [],
    "I have a question.": [],
    "I'm fine, thanks!": [],
    "I'm a bit tired.": [],
    "I hate it.": [],
    "How big is the blue whale?": [],
}
WISHES = {
    "Forget everything.": ("all", ""),
    "Please forget everything I told you!": ("all", ""),
    "Delete everything you know about me.": ("all", ""),
    "Forget me.": ("all", ""),
    "forget what I just said": ("last", ""),
    "Forget that, please.": ("last", ""),
    "Please forget my name.": ("about", "name"),
    "Could you forget that my dog is called Rex?": ("about", "dog is called Rex"),
    "Forget it.": None,  # never mind
    "Don't forget to smile.": None,
    "Did you forget my name?": None,
    "I never forget a face.": None,
}


@pytest.mark.parametrize("line", TOLD)
def test_what_a_line_tells(line):
    assert [told.text for told in statements(line)] == TOLD[line]


@pytest.mark.parametrize("line", WISHES)
def test_requests_to_forget(line):
    assert forgetting(line) == WISHES[line]


def test_memories_are_found_by_meaning_and_forgotten():
    memory = PartnerMemory("o", "s")
    for turn, line in enumerate(("My name is Anna.", "I have a dog called Rex.", "I live in Oslo."), 1):
        assert len(memory.hear(line, turn)) == 1
    assert memory.search("What pets are there?", 1)[0][0].text == "You have a dog called Rex."
    assert memory.cards("Where is my home?")[0].facts == ("You live in Oslo.",)
    told = "My daughter's name is Zoe."
    memory.hear(told, 2)
    assert not any(fact == "Your daughter's name is Zoe." for card in memory.cards(told) for fact in card.facts)
    asked = memory.cards("What is my daughter called?")
    assert any(fact == "Your daughter's name is Zoe." for card in asked for fact in card.facts)
    memory.forget("daughter")
    memory.hear("My name is Bob.", 4)
    assert [m.text for m in memory.all() if m.slot == "name"] == ["Your name is Bob."]  # one at a time
    assert [m.text for m in memory.forget("the dog")] == ["You have a dog called Rex."]
    assert [m.turn for m in memory.forget_turns([4])] == [4]
    assert len(memory.forget()) == 1 and memory.all() == [] and memory.cards("Where is my home?") == []


def test_memories_cross_sessions_but_not_owners(store_address):
    journal = Journal(open_store(store_address))
    first = PartnerMemory("user:a", "one", Shelf("user:a", journal))
    first.hear("My name is Anna. I like whales.", 1)
    persona = load_persona("guide")
    first.summarise([persona.cards[0].facts[0]], persona, 2)
    assert not any(card.topic.startswith("what we") for card in first.cards("What did we talk about last time?"))
    journal.flush()
    second = PartnerMemory("user:a", "two", Shelf("user:a", journal))
    assert [m.text for m in second.all()[:2]] == ["Your name is Anna.", "You like whales."]
    cards = second.cards("What did we talk about last time?")
    assert any(persona.cards[0].topic in card.facts[0] for card in cards)
    assert PartnerMemory("user:b", "three", Shelf("user:b", journal)).all() == []
    second.forget("my name")
    journal.flush()
    assert [m.text for m in PartnerMemory("user:a", "four", Shelf("user:a", journal)).all()][0] == "You like whales."
    journal.close()


def test_there_is_an_end_to_what_is_remembered():
    memory = PartnerMemory("o", "s")
    for k in range(MOST + 20):
        memory.hear(f"I have a dog called Rex{k}.", k)
    assert len(memory.all()) == MOST and memory.all()[0].turn == 20


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("How old is my son?", True), ("Do you remember Tim?", True), ("what did I tell u about Tim", True),
        ("What is the dog called?", True), ("How old are you?", False), ("why do you not have legs", False),
        ("Is your hair real?", False),
    ],
)  # fmt: skip
def test_who_asks_of_the_agent_hears_nothing_of_themselves(line, asked):
    memory = PartnerMemory("anna", "1")
    memory.hear("My son is called Tim.", 0)
    assert bool(memory.cards(line)) == asked

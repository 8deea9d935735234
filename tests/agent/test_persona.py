import pytest

from visavis.agent.persona import Persona, load_persona, presets
from visavis.errors import PersonaError


@pytest.mark.parametrize("name", ["guide", "receptionist", "tutor", "shop", "friend"])
def test_presets_load_and_know_things(name):
    persona = load_persona(name)
    assert name in presets() and len(persona.cards) >= 15
    assert all(fact.endswith((".", "!")) for fact in persona.facts)


def test_the_guide_knows_the_whale():
    assert "The blue whale is about thirty metres long." in load_persona("guide").facts


def test_a_file_gives_the_same_as_its_data(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("name: Ada\nrole: a baker\ncards: [{topic: bread, facts: [The bread is warm.]}]\n")
    persona = load_persona(file)
    assert persona == Persona(name="Ada", role="a baker", cards=({"topic": "bread", "facts": ("The bread is warm.",)},))
    assert load_persona(str(file)) == persona


BROKEN = {
    "name: [": "expected YAML",
    "name: " + "[" * 200: "expected at most 100 levels",
    "- a": "expected a mapping",
    "": "expected a mapping",
    "name: A": "'role' is missing",
    "name: A\nrole: b\nname: C": "line 3: expected YAML; expected every key once; 'name' comes again",
    "name: 42\nrole: b": "expected text, in quotes where it looks like a number or like yes and no; got 42",
    "name: A\nrole: b\ncards: [I cook soup.]": "a mapping of fields, such as {topic: bread",
    "name: A\nrole: b\ncards: [{topic: soup, facts: I cook soup.}]": "expected a list, such as [one, another]",
    "name: A\nrole: b\nmaner: warm": "did you mean 'manner'",
    "name: A\nrole: b\nmanner: angry": "warm",
    "name: A\nrole: b\ncards: [{topic: x, fact: [A b.]}]": "'cards.0.facts' is missing",
    "name: A\nrole: b\ncards: [{topic: x, facts: [A b.], colour: red}]": "unknown field 'cards.0.colour'",
    "name: A\nrole: b\ncards: [{topic: x, facts: [no end]}]": "full sentence",
    "name: A\nrole: b\ncards: [{topic: x, facts: [" + "a" * 300 + ".]}]": "at most 240 characters",
    "name: " + "A" * 50 + "\nrole: b": "at most 40",
    "name: A\nrole: b\ngestures: {amount: 9}": "less than or equal to 2",
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_files_are_refused_in_one_clear_line(text, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(PersonaError) as caught:
        load_persona(file)
    message = str(caught.value)
    assert BROKEN[text] in message and "\n" not in message and "p.yaml" in message


def test_unknown_names_list_the_presets(tmp_path):
    with pytest.raises(PersonaError, match="one of friend, guide"):
        load_persona("nobody")
    with pytest.raises(PersonaError, match="persona file"):
        load_persona(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PersonaError, match="UTF-8"):
        load_persona(tmp_path / "binary")

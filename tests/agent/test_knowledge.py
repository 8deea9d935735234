import pytest

from visavis.agent.knowledge import PASSAGE_CHARACTERS, Knowledge, read_passages, with_facts
from visavis.agent.persona import load_persona
from visavis.errors import UsageError

PAGE = """# Parking

The garage opens at seven. It closes at midnight.

## Prices
- One hour costs two euros.
- A day costs eleven euros.

# Cloakroom
Coats and bags are kept for free.
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "house.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "cafe.txt").write_text("\ufeffThe café serves soup until three.\n", encoding="utf-8")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_folders_files_and_texts_become_passages(folder):
    passages = read_passages(folder)
    assert [(p.title, p.text) for p in passages] == [
        ("cafe", "The café serves soup until three."),
        ("Parking", "The garage opens at seven. It closes at midnight."),
        ("Prices", "One hour costs two euros. A day costs eleven euros."),
        ("Cloakroom", "Coats and bags are kept for free."),
    ]
    assert read_passages([folder / "cafe.txt", "The lift is broken."])[1].title == "notes"
    long = " ".join(f"Sentence number {n} is here." for n in range(100))
    cut = read_passages(long)
    assert max(len(p.text) for p in cut) <= PASSAGE_CHARACTERS and " ".join(p.text for p in cut) == long


@pytest.mark.parametrize("source", ["/nowhere", "nowhere.md", [], ["  \n "]])
def test_nothing_is_refused_but_not_given(source, tmp_path):
    if source == []:
        assert read_passages(source) == ()
        return
    with pytest.raises(UsageError, match="expected"):
        read_passages(source)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there are none"):
        read_passages(tmp_path)
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="expected UTF-8 text"):
        read_passages(tmp_path)


def test_recall_goes_by_meaning(folder):
    knowledge = Knowledge(read_passages(folder))
    assert knowledge.recall("Where can I leave my jacket?")[0][0].title == "Cloakroom"
    assert knowledge.recall("How expensive is it to leave the car for a day?")[0][0].title in ("Prices", "Parking")
    assert knowledge.recall("Do you like Mozart's operas?") == []
    assert Knowledge(()).recall("anything") == []


def test_the_native_planner_gets_sentences_as_facts(folder):
    persona = with_facts(load_persona("guide"), read_passages(folder))
    assert "A day costs eleven euros." in persona.facts
    assert persona.facts[: len(load_persona("guide").facts)] == load_persona("guide").facts
    with pytest.raises(UsageError, match="use --planner chat"):
        with_facts(load_persona("guide"), read_passages(" ".join(f"Fact number {n} is true." for n in range(2_001))))

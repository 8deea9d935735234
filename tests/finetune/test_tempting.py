import random

import pytest

from visavis.errors import FileFormatError
from visavis.finetune.replies.people import Fact, Person
from visavis.finetune.replies.tempting import facts_of, questions_of, tempting
from visavis.finetune.replies.train_base_reader import lines_of
from visavis.finetune.replies.train_finder import Asking

CAFE = Fact("the café", "The café closes at six.", ("When does the café close?", "closing time"), ("Is it busy?",))
CAT = Fact("the cat", "The cat is called Minka.", ("What's the cat called?",), ("How old is the cat?",))
ELSE = tuple(Fact("things", f"Box {n} holds {n} marbles.", (f"What is in box {n}?",), ()) for n in range(9))
ANNA = Person("Anna", "a baker", (CAFE, CAT, *ELSE), ("Do you ski?", "Do you ski?"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("runs") / "tempting.safetensors"
    return file, tempting(file, [ANNA], processes=1)["Anna"]


def test_what_is_asked_is_ranked_once_and_kept(found):
    file, likeliest = found
    assert [*likeliest] == questions_of(ANNA) and len(likeliest) == 15
    assert likeliest["When does the café close?"][0] == "the café: The café closes at six."
    assert likeliest["How old is the cat?"][0] == "the cat: The cat is called Minka."
    before = file.stat().st_mtime_ns
    assert tempting(file, [ANNA], processes=1)["Anna"] == likeliest and file.stat().st_mtime_ns == before


def test_a_file_of_other_people_is_refused(found, tmp_path):
    file, _ = found
    other = Person("Anna", "a baker", (CAFE,), ())
    with pytest.raises(FileFormatError, match="delete it, it is made again"):
        tempting(file, [other])
    (tmp_path / "broken").write_bytes(b"abc")
    with pytest.raises(FileFormatError, match="delete it, it is made again"):
        tempting(tmp_path / "broken", [ANNA])


def test_a_near_miss_is_shown_with_what_tempts(found):
    _, likeliest = found
    asking = Asking(tuple(facts_of(ANNA)), (("well, how old is the cat", ()), ("closing time", (0,))), "Anna")
    rng, tempted, answered = random.Random(0), 0, 0
    for _ in range(200):
        near, known = lines_of(asking, rng, likeliest)
        tempted += "the cat: The cat is called Minka." in near.facts
        answered += bool(known.right)
        assert not near.right and all(known.facts[place] == facts_of(ANNA)[0] for place in known.right)
    assert tempted > 140 and answered == 200
    assert sum("the cat: The cat is called Minka." in next(lines_of(asking, rng)).facts for _ in range(200)) < 125

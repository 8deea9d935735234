from importlib.resources import files

import pytest

from visavis.errors import LexiconError
from visavis.evals.gesture_bounds import faults
from visavis.evals.library.performances import ANOTHER, load_performances, read_performances
from visavis.retrieval.lexicon import load_lexicon

GOOD = "nod: {variant: {name: another, core: [{at: ready, nod: 2}, {at: stroke, nod: 9}]}}"


@pytest.fixture(scope="module")
def performances():
    return load_performances()


def test_every_gloss_is_performed_once_more(performances):
    """Each file holds its half of the glosses in alphabetical order of their files; a half not there yet is passed."""
    glosses = sorted(load_lexicon(), key=lambda gloss: gloss.replace(" ", "_"))
    middle = (len(glosses) + 1) // 2
    data = files("visavis.evals") / "data"
    halves = {"heldout_performances_1.yaml": glosses[:middle], "heldout_performances_2.yaml": glosses[middle:]}
    there = [gloss for name, half in halves.items() if (data / name).is_file() for gloss in half]
    assert there and sorted(performances) == sorted(there)


def test_none_of_them_is_in_the_library(performances):
    """Neither the movement, nor what head and trunk do with it, is taken word for word from the lexicon."""
    for gloss, gesture in performances.items():
        plain, (variant,) = load_lexicon()[gloss], gesture.variants
        known = [plain, *plain.variants]
        assert variant.name == ANOTHER and gesture.variant_names == ("plain", ANOTHER)
        if variant.arms is not None:
            assert variant.arms not in [one.arms for one in known], gloss
        else:
            assert plain.hands == "none", gloss
        if variant.core is not None:
            assert variant.core not in [one.core for one in known], gloss


def test_some_keep_their_bounds(performances):
    found = [fault for gesture in list(performances.values())[::8] for fault in faults(gesture, ANOTHER)]
    assert not found


@pytest.mark.slow
def test_all_keep_their_bounds(performances):
    assert not [fault for gesture in performances.values() for fault in faults(gesture, ANOTHER)]


def test_a_performance_takes_the_rest_from_its_gloss():
    gesture = read_performances([("some.yaml", GOOD)])["nod"]
    performed, plain = gesture.variant(ANOTHER)[0], load_lexicon()["nod"]
    assert performed.core[1].nod == 9 and performed.phases == plain.phases and performed.meaning == plain.meaning


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a: [b"], "some.yaml: expected YAML, but .*: correct it and load again"),
        (["- nod"], "some.yaml: expected a mapping of glosses to variants; got list"),
        (["nodding: {}"], "some.yaml: expected a gloss of the lexicon; got 'nodding': correct its spelling"),
        ([GOOD, GOOD], "some.yaml: expected one performance of 'nod'; got another: remove one"),
        (["nod: {name: another}"], r"some.yaml: nod: expected a mapping with 'variant'; got \['name'\]: correct it"),
        (["nod: 3"], "some.yaml: nod: expected a mapping with 'variant'; got int: correct it"),
        (["nod: {variant: {name: mine}}"], "some.yaml: nod: expected the name 'another'; got 'mine': correct it"),
        (["nod: {variant: {name: another, cor: []}}"], "some.yaml: nod: cor: Extra inputs are not permitted"),
        (["nod: {variant: {name: another, tempo: 9}}"], "some.yaml: nod: tempo: Input should be less than"),
        (["nod: {variant: {name: another, hands: left}}"], "some.yaml: nod: .*'left', which does not fit the keys"),
    ],
)
def test_what_cannot_be_read_is_told(texts, message):
    with pytest.raises(LexiconError, match=message):
        read_performances([("some.yaml", text) for text in texts])

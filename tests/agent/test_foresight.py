"""What constraints say of the ids to come is what comes, whatever is written."""

import numpy as np
import pytest

from visavis.agent.constrain import EmotionConstraint, MoveConstraint, ReplyConstraint
from visavis.agent.engine import Foresight
from visavis.agent.tagging import ActConstraint
from visavis.tokenizers.turn_language import Candidate, MoveStep
from visavis.tokenizers.vocabulary import JointVocabulary

VOCABULARY = JointVocabulary(JointVocabulary.default().text_model)  # of three parts
TEXT = "I caught 2 fish, and they were huge!"
CARDS = [Candidate("The blue whale is thirty metres long.", 0.8), Candidate("The blue whale eats krill.", 0.3)]
SIZES = {"huge size": {"size_m": None, "hand": ["left", "right"]}, "counting": {}}


def reply(bias: float = 0.0) -> ReplyConstraint:
    return ReplyConstraint(VOCABULARY, CARDS, limit=12, whole=True, quote_bias=bias)


def act(unfelt: bool = True, feelings: tuple[float, ...] = ()) -> ActConstraint:
    shown = [Candidate("huge size", 0.9), Candidate("counting", 0.2)]
    return ActConstraint(VOCABULARY, TEXT, shown, SIZES, unfelt=unfelt, feelings=feelings)


def move() -> MoveConstraint:
    steps = [
        MoveStep("I" if n == 1 else "", n % 3, (5, 6, 7), (False, n == 2, n == 3)) for n in range(6)
    ]  # fmt: skip
    return MoveConstraint(VOCABULARY, steps)


MAKERS = {
    "emotion": lambda: EmotionConstraint(VOCABULARY), "emotion, biased": lambda: EmotionConstraint(VOCABULARY, [2.0]),
    "emotion and strength": lambda: EmotionConstraint(VOCABULARY, [2.0], [[0.5] * 11]),
    "reply": reply, "reply, biased": lambda: reply(1.5), "act": act, "act, felt": lambda: act(False),
    "act, weighed": lambda: act(feelings=(1.0, -2.0)), "move": move,
    "act, decided": lambda: ActConstraint(VOCABULARY, TEXT, ["huge size", "counting"], SIZES, places={2, 6}),
}  # fmt: skip


def weighs_nothing(constraint, ids, bias=()) -> bool:
    """Whether `weigh` adds the bias and no more."""
    logits = np.random.default_rng(0).normal(size=len(ids)).astype(np.float32)
    wanted = logits + np.array([dict(bias).get(int(id_), 0.0) for id_ in ids], np.float32)
    return np.allclose(constraint.weigh(ids, logits), wanted, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("seed", range(12))
def test_foresight_comes_true(name, seed):
    rng = np.random.default_rng(seed)
    constraint = MAKERS[name]()
    assert isinstance(constraint, Foresight)
    stretch, left, held = None, 0, None
    known: list = []
    likely, choices, at = (), {}, 0
    for _ in range(400):
        allowed = constraint.allowed()
        if len(allowed) == 0:
            assert not known
            return
        if known:
            assert set(known.pop(0)) == set(allowed)
            assert len(allowed) == 1 or weighs_nothing(constraint, allowed)
        elif stretch is not None and left > 0:
            assert np.array_equal(allowed, held), "the set changed within a stretch"
            assert weighs_nothing(constraint, allowed, stretch.bias.items())
        elif at < len(likely):
            assert (set(allowed) == set(choices[at])) if at in choices else (list(allowed) == [likely[at]])
        else:
            ahead = constraint.ahead()
            known = [np.asarray(ids) for ids in ahead.known]
            stretch, left, held = ahead.stretch, ahead.stretch.most if ahead.stretch else 0, allowed
            likely, choices, at = ahead.likely, ahead.choices, 0
            if known or stretch or likely:
                continue
        follows = at < len(likely) and likely[at] in allowed and rng.random() < 0.8
        id_ = int(likely[at] if follows else rng.choice(allowed))
        if at < len(likely):
            at = at + 1 if id_ == likely[at] else len(likely)
        if stretch is not None:
            left = 0 if id_ in stretch.until else left - 1
        constraint.accept(id_)
    raise AssertionError("the constraint does not end")


def test_something_is_known_where_it_matters():
    assert len(move().ahead().known) == move().length
    assert len(act(False).ahead().choices) == len(TEXT.split())
    written = reply()
    for name in ("joy", "i5"):
        written.accept(VOCABULARY.control(name))
    assert written.ahead().stretch.most == 1
    written.accept(VOCABULARY.encode_text("hello")[0])
    assert written.ahead().stretch.most == 11

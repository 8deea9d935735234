"""The measurements of engines, on a tiny model: what they count and what they judge."""

import numpy as np
import pytest
import torch

from visavis.agent.batching import BatchingEngine
from visavis.agent.constrain import EmotionConstraint, MoveConstraint
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import Sampling
from visavis.agent.llama import Llama, LlamaConfig
from visavis.emotion import Emotion
from visavis.evals.engines.agreement import EPSILON_EXACT, agreement
from visavis.evals.engines.reference import Reference
from visavis.evals.engines.requests import KINDS, Request, _Notes
from visavis.evals.engines.speed import _shared, busy, streams, together, versus
from visavis.tokenizers.turn_language import MovePrompt, MoveStep
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return JointVocabulary.default()


@pytest.fixture(scope="module")
def folder(vocabulary, tmp_path_factory):
    torch.manual_seed(0)
    model = Llama(LlamaConfig(vocabulary.size, layers=1, width=64, heads=2, hidden=64, context=96))
    with torch.no_grad():
        model.embedding.mul_(20)
    folder = tmp_path_factory.mktemp("model")
    model.save(folder, vocabulary.control("bos"), vocabulary.control("end"), vocabulary.control("pad"))
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    return EmbeddedEngine.load(folder, exact=True)


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder)


@pytest.fixture(scope="module")
def requests(vocabulary):
    steps = [MoveStep("yes" if i == 1 else "", 1, (0,) * 5, (False, i == 2, False, i == 3, False)) for i in range(4)]
    prompt = tuple(MovePrompt("speak", Emotion("joy", 0.5)).ids(vocabulary))
    stop = frozenset({vocabulary.control("end")})

    def made(kind):
        constraint = MoveConstraint(vocabulary, steps)
        return Request(kind, prompt, constraint, Sampling(), stop, constraint.length, vocabulary)

    return [made(kind) for kind in KINDS]


def test_the_stock_way_writes_the_same(engine, reference, requests):
    request = requests[0]
    assert request.run(engine) == reference.run(request) == request.run(engine)  # the constraint is not used up
    choices = reference.judge(request, request.run(engine))
    assert len(choices) == 4 * 5 - 2 and all(choice.chosen == choice.best for choice in choices)


def test_a_wrong_id_is_listed(engine, reference, requests, vocabulary):
    def wrong(some):
        written = [request.run(engine) for request in some]
        code = next(i for i, id_ in enumerate(written[0]) if vocabulary.motion_of(id_))
        part, number = vocabulary.motion_of(written[0][code])
        written[0][code] = vocabulary.motion(part, (number + 1) % 512)
        return written

    right = agreement(
        lambda some: [request.run(engine) for request in some], reference, requests, vocabulary, EPSILON_EXACT
    )
    assert right.value("all: the same choice") == 100 and right.details["divergences"] == []
    table = agreement(wrong, reference, requests, vocabulary, EPSILON_EXACT)
    assert table.value("REPLY: the same choice") < 100 and table.value("ACT: the same choice") == 100
    assert {row["kind"] for row in table.details["divergences"]} == {"REPLY"}


def test_speed_counts_every_id(engine, reference, requests, folder):
    table = versus(engine, reference, requests)
    assert {row["n"] for row in table.rows} == {1, 3} and all(row["value"] > 0 for row in table.rows)
    many = BatchingEngine.load(folder, exact=True)
    written, seconds = together(many, requests)
    assert written == [request.run(engine) for request in requests] and min(seconds) > 0
    rows = streams(many, requests, rounds=1, counts=(2,)).rows
    assert {row["name"].split(":")[0] for row in rows} == set(KINDS)


def test_busy_streams_share_the_work(engine, requests, folder):
    many = BatchingEngine.load(folder, exact=True)
    written = _shared(many, requests * 3, 2)
    assert sorted(written) == sorted(id_ for request in requests for id_ in request.run(engine) * 3)
    table = busy(many, requests, rounds=1, counts=(3,), turns=2)
    assert {row["name"].split(":")[0] for row in table.rows} == {*KINDS, "all"}
    assert all(row["value"] > 0 for row in table.rows)

    class Broken(Request):
        def run(self, engine):
            raise IndexError("no work")

    broken = Broken(**vars(requests[0]))
    with pytest.raises(IndexError, match="no work"):
        _shared(many, [*requests, broken], 2)


def test_requests_are_noted_as_they_are_asked(engine, vocabulary):
    notes = _Notes(engine)
    constraint = MoveConstraint(vocabulary, [MoveStep("", 1, (0,) * 5, (False,) * 5)])
    prompt = MovePrompt("listen", Emotion()).ids(vocabulary)
    written = list(notes.generate(prompt, constraint, sampling=Sampling(1.0, 0, 3), limit=50))
    list(notes.generate(prompt, EmotionConstraint(vocabulary), limit=2))
    (request,) = notes.requests
    assert request.kind == "MOVE" and request.run(engine) == written
    assert np.array_equal(notes.score(prompt, written), engine.score(prompt, written))

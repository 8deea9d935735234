"""The vLLM engine against a double of its server; a real vLLM is in test_vllm_real.py."""

import numpy as np
import pytest
from agent.servers import VllmDouble, http_server

from visavis.agent.constrain import EmotionConstraint, MoveConstraint, ReplyConstraint
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.llama import Llama, LlamaConfig
from visavis.agent.standby import Notes, StandbyEngine, noting
from visavis.agent.tagging import ActConstraint
from visavis.agent.vllm_engine import VllmEngine, id_grammar
from visavis.errors import FingerprintError, ServiceError, TokenError, UsageError
from visavis.tokenizers.turn_language import Candidate, MoveStep
from visavis.tokenizers.vocabulary import JointVocabulary

VOCABULARY = JointVocabulary.default()
PROMPT = [VOCABULARY.control("bos"), *VOCABULARY.encode_text("hello there, how are you?")]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> EmbeddedEngine:
    folder = tmp_path_factory.mktemp("model")
    model = Llama(LlamaConfig(VOCABULARY.size, layers=2, width=64, heads=2, hidden=96, context=160))
    model.save(folder, VOCABULARY.control("bos"), VOCABULARY.control("end"), VOCABULARY.control("pad"))
    VOCABULARY.save(folder)
    return EmbeddedEngine.load(folder, exact=True)


@pytest.fixture
def double(embedded) -> VllmDouble:
    return VllmDouble(embedded)


@pytest.fixture
def engine(double):
    with http_server(double) as url:
        engine = VllmEngine.connect(url)
        double.bodies.clear()
        yield engine
        engine.connection.close()


def reply(bias=0.0):
    cards = [Candidate("The blue whale is long.", 0.8), Candidate("The blue whale eats krill.", 0.3)]
    return ReplyConstraint(VOCABULARY, cards, limit=14, whole=True, quote_bias=bias)


def act(bias=0.0):
    shown = [Candidate("huge size", 0.9), Candidate("counting", 0.2)]
    params = {"huge size": {"size_m": None, "hand": ["left", "right"]}}
    return ActConstraint(VOCABULARY, "I caught 2 fish, and they were huge!", shown, params, bias=bias)


def move():
    return MoveConstraint(
        VOCABULARY, [MoveStep("hi", n % 4, (3, 4, 5, 6, 7), (n == 2, False, n == 3, n == 3, False)) for n in range(8)]
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: None, reply, lambda: reply(3.0), lambda: reply(9.0), act, lambda: act(3.0), lambda: act(9.0), move,
        lambda: EmotionConstraint(VOCABULARY), lambda: EmotionConstraint(VOCABULARY, [3.0]),
    ],
)  # fmt: skip
def test_it_writes_what_the_embedded_engine_writes(engine, embedded, make):
    stop = (VOCABULARY.control("end"),)
    theirs, ours = make(), make()
    wanted = list(embedded.generate(PROMPT, theirs, stop=stop, limit=90))
    assert list(engine.generate(PROMPT, ours, stop=stop, limit=90)) == wanted
    for plan in ("plan", "written"):
        assert getattr(ours, plan, None) == getattr(theirs, plan, None)


def test_it_asks_as_little_as_it_can(engine, double):
    list(engine.generate(PROMPT, move(), limit=90))
    assert engine.asked["chunk"] == 1 and len(double.bodies) == 1
    double.bodies.clear()
    list(engine.generate(PROMPT, act(-20.0), limit=90))  # no tag is set: feeling, then all places at once
    assert [len(body["prompt"]) for body in double.bodies if "logprob_token_ids" in body] == [8]
    assert len(double.bodies) == 2


def test_clip_and_cue_ids_are_forced_and_samples_stay_inside(engine):
    constraint = move()
    ids = list(engine.generate(PROMPT, constraint, sampling=Sampling(1.2, 0, 5), limit=90))
    assert len(ids) == constraint.length and len(constraint.written) == 8
    assert constraint.written[2].codes[0] == 3 and constraint.written[3].codes[2] == 5
    again = list(engine.generate(PROMPT, move(), sampling=Sampling(1.2, 0, 5), limit=90))
    other = list(engine.generate(PROMPT, move(), sampling=Sampling(1.2, 0, 6), limit=90))
    assert ids == again != other


def test_every_request_of_a_sampled_text_has_a_seed_of_its_own(engine, double):
    list(engine.generate(PROMPT, reply(), sampling=Sampling(1.0, 0, 5), limit=90))
    seeds = [body["seed"] for body in double.bodies if body.get("stream")]
    assert len(seeds) > 1 and len(set(seeds)) == len(seeds)


def test_limits_and_cancel(engine):
    assert len(list(engine.generate(PROMPT, move(), limit=11))) == 11
    long = [*PROMPT, *([7] * (engine.context - len(PROMPT) - 5))]
    assert len(list(engine.generate(long, None, limit=50))) == 5
    cancel, written = CancelToken(), []
    for id_ in engine.generate(PROMPT, None, limit=50, cancel=cancel):
        written.append(id_)
        if len(written) == 4:
            cancel.cancel()
    assert len(written) == 4
    with pytest.raises(TokenError, match="shorten it"):
        next(engine.generate([7] * engine.context))


def test_scores_are_the_embedded_engines(engine, embedded):
    np.testing.assert_allclose(engine.score(PROMPT, [9, 10]), embedded.score(PROMPT, [9, 10]), atol=1e-4)
    assert len(engine.score(PROMPT, [])) == 0


def test_an_id_that_was_not_allowed_is_never_taken(engine, double):
    double.wild = True
    with pytest.raises(ServiceError, match="was not allowed"):
        list(engine.generate(PROMPT, move(), limit=90))


@pytest.mark.parametrize("answer", [iter([]), "hello", [1], (200, None), 3])
def test_what_makes_no_sense_is_an_error_of_the_service(embedded, answer):
    double = VllmDouble(embedded)

    def odd(method, path, body, headers):
        return answer if body.get("stream") or "logprobs" in body else double(method, path, body, headers)

    with http_server(odd) as url:
        engine = VllmEngine.connect(url)
        with pytest.raises(ServiceError):
            list(engine.generate(PROMPT, move(), limit=90))
        engine.connection.close()


def test_what_breaks_off_goes_on_here(engine, double, embedded):
    wanted = list(embedded.generate(PROMPT, move(), limit=90))
    told = []
    steady = StandbyEngine(engine, lambda: embedded, engine.connection.well)
    double.dies_after = 9
    with noting(Notes(lambda what, stand_in: told.append((what, stand_in)))):
        constraint = move()
        assert list(steady.generate(PROMPT, constraint, limit=90)) == wanted
        assert len(constraint.written) == 8
        asked = len(double.bodies)
        double.dies_after = None
        assert list(steady.generate(PROMPT, move(), limit=90)) == wanted
        assert len(double.bodies) == asked, "a turn that lost its server leaves it alone"
    assert len(told) == 1 and "broke off" in told[0][0]
    with noting(Notes(lambda what, stand_in: told.append((what, stand_in)))):
        assert list(steady.generate(PROMPT, move(), limit=90)) == wanted
    assert len(double.bodies) == asked + 1 and len(told) == 1, "the next turn has it again"


def test_only_what_emitted_nothing_is_asked_again(embedded):
    failures = [1]
    double = VllmDouble(embedded)

    def flaky(method, path, body, headers):
        if body.get("stream") and failures:
            failures.pop()
            return 503, {"error": {"message": "busy"}}
        return double(method, path, body, headers)

    with http_server(flaky) as url:
        engine = VllmEngine.connect(url)
        assert list(engine.generate(PROMPT, move(), limit=90)) == list(embedded.generate(PROMPT, move(), limit=90))
        failures += [1, 1]
        with pytest.raises(ServiceError, match="busy"):
            list(engine.generate(PROMPT, move(), limit=90))
        failures.clear()
        double.bodies.clear()
        double.dies_after = 3
        with pytest.raises(ServiceError, match="broke off"):
            list(engine.generate(PROMPT, move(), limit=90))
        assert len(double.bodies) == 1
        engine.connection.close()


def test_a_server_that_is_not_ours_is_refused(embedded):
    double = VllmDouble(embedded)

    def misnamed(method, path, body, headers):
        answer = double(method, path, body, headers)
        if path == "/v1/completions":
            answer["choices"][0]["text"] = "hello"
        return answer

    with http_server(misnamed) as url, pytest.raises(FingerprintError, match="serve the folder that --model names"):
        VllmEngine.connect(url)
    double.wild = True
    with http_server(double) as url, pytest.raises(ServiceError, match="--structured-outputs-config.backend guidance"):
        VllmEngine.connect(url)
    with http_server(lambda *_: {"data": []}) as url, pytest.raises(ServiceError, match="expected one of the models"):
        VllmEngine.connect(url)
    with pytest.raises(ServiceError, match="is it running"):
        VllmEngine.connect("http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="expected --base-url as"):
        VllmEngine.connect("localhost:8000")
    with pytest.raises(UsageError, match="without a password"):
        VllmEngine.connect("http://me:secret@localhost:8000")


def test_a_grammar_says_which_ids():
    cue, pad = VOCABULARY.cue(1), VOCABULARY.control("pad")
    sets = [np.array([cue]), np.array([9, 7, 8, 3]), np.array([5])]
    assert id_grammar(sets, VOCABULARY) == f"start: <[{cue}]> <[3,7-9]> <[5,{pad}]>"

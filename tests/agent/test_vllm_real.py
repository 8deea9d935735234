"""A real vLLM on the shipped planner: minutes, so `slow`; `make setup-vllm` brings it."""

import re
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from visavis.agent import Agent
from visavis.agent.chat_planner import ChatPlanner
from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.planner import Cancel
from visavis.agent.served import Connection
from visavis.agent.standby import Notes, noting
from visavis.agent.transformers_engine import TransformersEngine
from visavis.agent.vllm_engine import VllmEngine
from visavis.agent.vllm_server import ModelServer, find_python
from visavis.evals.serving import agreement, calls
from visavis.tokenizers.turn_language import Candidate, ReplyPrompt

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
# The shipped planner is no chat model, and reads 640 ids; so its answers are as bad as an answer can be.
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def cpu_flags() -> set[str]:
    try:
        return set(re.search(r"^flags\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    except (OSError, TypeError):
        return set()


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    if find_python() is None:
        pytest.skip("SKIPPED LOUDLY: no vLLM here, so nothing of it is tested; `make setup-vllm` brings it")
    if "avx2" not in cpu_flags():
        pytest.skip("SKIPPED LOUDLY: vLLM's CPU build needs AVX2 or better, which this processor does not have")
    place = tmp_path_factory.mktemp("vllm")
    (place / "template.jinja").write_text(TEMPLATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start() -> ModelServer:
        more = ["--chat-template", str(place / "template.jinja"), "--max-model-len", "4096"]
        more += ["--hf-overrides", '{"max_position_embeddings": 4096}']  # a chat prompt is longer than ours
        return ModelServer.start(models / "planner", port=port, more=more, log=place / "vllm.log")

    holder = {"server": start(), "start": start}
    try:
        holder["server"].wait()
        yield holder
    finally:
        holder["server"].stop()


@pytest.fixture(scope="module")
def turns(models):
    return calls.record_turns(24)


@pytest.fixture
def engine(server):
    engine = VllmEngine.connect(server["server"].base_url)
    yield engine
    engine.connection.close()


def metric(server, name: str) -> float:
    text = httpx.get(server["server"].base_url.replace("/v1", "/metrics")).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"vllm:{name}"))


def test_it_loads_the_shipped_planner_with_its_tokenizer(engine):
    assert engine.model == "planner" and engine.context == 640


def test_the_same_ids_as_the_reference(engine, turns, models):
    recorded, library = turns
    asked = agreement.one_of_each(recorded, 50)
    assert len(asked) == 50
    reference = TransformersEngine.load(models / "planner", device="cpu")
    table = agreement.measure(reference, {"vllm": engine}, asked, library)
    found = table.details["vllm"]
    print(table, found["divergences"], sep="\n")
    assert found["beyond"] == 0 and found["choices"] > 500


def test_hot_samples_keep_words_counts_and_clips(engine, turns):
    from visavis.agent import native

    recorded, library = turns
    hot = native.NativeMover(engine)
    for turn in recorded[:12]:
        for call in turn:
            if call.stage == "move":
                codes = hot.move(*call.args, **{**call.options, "cancel": Cancel()})
                _, words, cues, clip, forced = call.args
                assert codes.shape == clip.shape and len(codes) == len(cues) and (codes[forced] == clip[forced]).all()
                assert (codes >= 0).all() and (codes < engine.vocabulary.codes).all()
    made = calls.replay([call for turn in recorded[:12] for call in turn if call.stage == "act"], engine, library)
    asked = [call.args[0] for turn in recorded[:12] for call in turn if call.stage == "act"]
    for plan, prompt in zip(made, asked, strict=True):
        assert plan.text == prompt.text
        assert {tag.gloss for tag in plan.tags} <= {candidate.text for candidate in prompt.candidates}


def test_prefixes_are_cached(engine, server):
    prompt = [engine.vocabulary.control("bos"), *range(100, 500)]
    list(engine.generate(prompt, limit=1))
    before = metric(server, "prefix_cache_hits_total")
    list(engine.generate(prompt, limit=1))
    assert metric(server, "prefix_cache_hits_total") - before >= 256


def test_cancel_ends_the_work_of_the_server(engine, server):
    cancel = CancelToken()
    written = []
    for id_ in engine.generate([4097, 5, 6], sampling=Sampling(1.0), limit=600, cancel=cancel):
        written.append(id_)
        if len(written) == 5:
            cancel.cancel()
    assert len(written) == 5
    for _ in range(100):
        if metric(server, "num_requests_running") == 0:
            return
    raise AssertionError("the server goes on writing")


def test_a_turn_and_its_cost(server):
    with Agent(voice="silent", engine="vllm", base_url=server["server"].base_url) as agent:
        asked = agent.tools.mover.engine.first.asked
        asked.clear()
        turn = agent.session().answer("Hello, what do you know about the whale?")
        print(dict(asked))
        assert turn.record.degraded == [] and turn.record.engine == "vllm" and len(turn.motion) > 30
        # As many chunks as clauses and feelings; the rest are stretches and decisions.
        assert asked["chunk"] <= 2 + 2 * len(turn.record.clauses)


def test_a_chat_model_that_writes_nonsense_is_spoken_plainly(server, agent):
    prompt = ReplyPrompt("Maya", "a guide", [Candidate("The whale is long.", 0.9)], [], "And the whale?")
    notes: list[str] = []
    with closing(Connection(server["server"].base_url)) as connection:
        chat = ChatPlanner(connection, "planner", agent.tools.library)
        with noting(Notes(lambda what, stand_in: notes.append(what))):
            plan = chat.reply(prompt, seed=0, cancel=Cancel())
    print(plan, notes)
    assert any(c.isalnum() for c in plan.text) and all("chat model's reply" in note for note in notes)
    with Agent(voice="silent", planner="chat", base_url=server["server"].base_url) as other:
        turn = other.session().answer("Hello!")
        print(turn.text, turn.record.degraded)
        assert turn.record.planner == "chat" and len(turn.motion) > 15
        assert not any("native planner answers" in line for line in turn.record.degraded)


def test_killed_in_mid_turn_and_back_for_the_next(server):
    """Last: it ends the server and starts another."""
    with Agent(voice="silent", seed=3, engine="vllm", base_url=server["server"].base_url) as agent:
        session = agent.session()
        served = agent.tools.mover.engine.first
        stream, killed = served.connection.stream, []

        def dying(path, body):
            for number, event in enumerate(stream(path, body)):
                yield event
                if "structured_outputs" in body and body["max_tokens"] > 20 and number == 2 and not killed:
                    killed.append(len(body["prompt"]))
                    server["server"].kill()

        served.connection.stream = dying
        turn = session.say("I caught a fish, and it was huge!")
        print(turn.record.degraded)
        assert killed and len(turn.record.degraded) == 1 and "goes on" in turn.record.degraded[0]
        assert [event.type for event in turn.events].count("degraded") == 1
        steps = sum(len(clause.tokens["core"]) for clause in turn.record.clauses)
        assert len(turn.motion) == 4 * steps
        lost = session.say("And it was heavy.")
        assert len(lost.record.degraded) == 1, "the server is still away"
        server["server"] = server["start"]()
        server["server"].wait()
        back = session.say("And it was heavy.")
        assert back.record.degraded == []

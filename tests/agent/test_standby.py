"""A turn whose model server is lost ends on the engine in this process and says so; the next has the server again."""

import threading

import pytest
from agent.servers import VllmDouble, http_server

from visavis.agent import Agent
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.standby import Notes, degrade, noting
from visavis.errors import ServiceError

LINE = "It was this big, I tell you!"


@pytest.fixture(scope="module")
def double(models) -> VllmDouble:
    return VllmDouble(EmbeddedEngine.load(models / "planner", exact=True))


@pytest.fixture(scope="module")
def remote(double):
    """An agent whose engine is at a server."""
    with http_server(double) as url, Agent(voice="silent", seed=7, engine="vllm", base_url=url) as agent:
        yield agent


def test_a_turn_at_the_server(remote, double):
    double.bodies.clear()
    turn = remote.session().answer("Hello, who are you?")
    assert turn.record.engine == "vllm" and turn.record.degraded == [] and len(double.bodies) > 3
    prompts = [body["prompt"] for body in double.bodies if body.get("stream")]
    assert len(turn.motion) > 30 and all(isinstance(ids[0], int) for ids in prompts)


def test_a_server_lost_in_mid_turn(remote, double):
    session = remote.session()
    double.dies_after = 20  # in the middle of a movement
    turn = session.say(LINE)
    assert len(turn.record.degraded) == 1 and "the engine in this process goes on" in turn.record.degraded[0]
    events = [event for event in turn.events if event.type == "degraded"]
    assert len(events) == 1 and events[0].what.startswith("engine: ")
    steps = sum(len(clause.tokens["core"]) for clause in turn.record.clauses)
    assert len(turn.motion) == 4 * steps and turn.text == LINE
    double.dies_after = None
    again = session.say(LINE)
    assert again.record.degraded == []


def test_nothing_is_noted_outside_a_turn_or_in_another():
    mine, theirs = [], []

    def other():
        with noting(Notes(lambda what, stand_in: theirs.append(what))):
            degrade("b", "c")

    degrade("a", "c")
    with noting(Notes(lambda what, stand_in: mine.append(what))):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        degrade("d", "e")
        degrade("d", "e")
    assert (mine, theirs) == (["d"], ["b"])


def test_an_agent_is_not_made_on_a_server_that_is_not_there():
    with pytest.raises(ServiceError, match="is it running"):
        Agent(voice="silent", engine="vllm", base_url="http://127.0.0.1:9/v1")

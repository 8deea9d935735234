"""ChatPlanner against a server that says what the test tells it; a real chat model is in test_vllm_real.py."""

import json
import logging
from contextlib import closing

import pytest
from agent.servers import http_server

from visavis.agent.chat_planner import LOST_FOR_WORDS, ChatPlanner, find_chat_model, spoken
from visavis.agent.knowledge import Knowledge, read_passages
from visavis.agent.planner import Cancel, Cancelled
from visavis.agent.served import Connection
from visavis.agent.standby import Notes, noting
from visavis.emotion import Emotion
from visavis.errors import ServiceError, UsageError
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import ActPrompt, Candidate, ReplyPrompt

KEY = "sk-do-not-tell-anybody"
GOOD = {"emotion": "joy", "intensity": 0.7, "text": "Welcome! The whale is *long*. 🐋"}
PROMPT = ReplyPrompt(
    "Maya", "a guide", [Candidate("The whale is long.", 0.9)], [("user", "Hi"), ("agent", "Hello!")], "And the whale?"
)
ACT = ActPrompt("It was this big!", Emotion("joy", 0.5), [Candidate("huge size", 0.9), Candidate("shrug", 0.1)])


class Scripted:
    """Answers one after the other: text, a list of tool calls, or (status, body)."""

    def __init__(self, *answers):
        self.answers, self.bodies, self.keys = list(answers), [], []

    def __call__(self, method, path, body, headers):
        if path == "/v1/models":
            return {"data": [{"id": "talker"}]}
        self.bodies.append(body)
        self.keys.append(headers.get("Authorization"))
        answer = self.answers.pop(0)
        if isinstance(answer, tuple):
            return answer
        if isinstance(answer, list):
            return iter([_delta(tool_calls=[call]) for call in answer])
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return iter([_delta(content=text[:7]), _delta(content=text[7:]), {"choices": []}])


def _delta(**delta):
    return {"choices": [{"index": 0, "delta": delta}]}


def _call(name, arguments, id_="c1"):
    return {"index": 0, "id": id_, "function": {"name": name, "arguments": arguments}}


@pytest.fixture(scope="module")
def library():
    return Library(load_lexicon(), None)


@pytest.fixture
def planner(library, monkeypatch):
    """Makes a planner on a script; closes everything."""
    from contextlib import ExitStack

    monkeypatch.setenv("VISAVIS_API_KEY", KEY)
    with ExitStack() as stack:

        def make(*answers, **options):
            script = Scripted(*answers)
            connection = Connection(stack.enter_context(http_server(script)))
            stack.callback(connection.close)
            return ChatPlanner(connection, "talker", library, **options), script

        yield make


def told(run):
    """What `run` gives and what it said degraded."""
    notes = []
    with noting(Notes(lambda what, stand_in: notes.append(f"{what}; {stand_in}"))):
        return run(), notes


def reply(planner, prompt=PROMPT):
    return told(lambda: planner.reply(prompt, seed=3, cancel=Cancel()))


def act(planner, prompt=ACT, **options):
    return told(lambda: planner.act(prompt, params={}, seed=3, cancel=Cancel(), **options))


def test_reply_is_json_over_what_is_known(planner):
    chat, script = planner(GOOD)
    plan, notes = reply(chat)
    assert plan.text == "Welcome! The whale is long." and plan.emotion == Emotion("joy", 0.7) and notes == []
    (body,) = script.bodies
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] and schema["schema"]["required"] == ["emotion", "intensity", "text"]
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    system = body["messages"][0]["content"]
    assert system.startswith("You are Maya, a guide") and "- The whale is long." in system
    assert body["messages"][-1]["content"] == "And the whale?" and body["model"] == "talker" and body["seed"] == 3


def test_one_repair(planner):
    chat, script = planner('Sure! {"emotion": "glee", "intensity": 0.5, "text": "Hi."}', GOOD)
    plan, notes = reply(chat)
    assert plan.text.startswith("Welcome") and notes == []
    assert "emotion must be one of neutral, joy" in script.bodies[1]["messages"][-1]["content"]
    assert script.bodies[1]["messages"][-2]["content"].startswith("Sure!")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("I am just words.", "I am just words."),
        ('{"emotion": "joy", "text": "It said \\"hello\\"\\nto me', 'It said "hello" to me'),
        ('{"emotion": "joy", "intensity": 7, "text": "Too much."}', "Too much."),
        ("", LOST_FOR_WORDS), ("{}{}[]", LOST_FOR_WORDS), ('{"a":' * 3000, None), ("<|joy|>\u202e\x00", "joy"),
    ],
)  # fmt: skip
def test_then_plain_speech_and_degraded(planner, second, words):
    chat, script = planner("nonsense", second)
    plan, notes = reply(chat)
    assert len(script.bodies) == 2 and len(notes) == 1 and "twice" in notes[0]
    assert plan.emotion == Emotion() and (words is None or plan.text == words)
    assert any(c.isalnum() for c in plan.text)


def test_act_sets_gestures_among_the_candidates(planner):
    gesture = {"gloss": "huge size", "word": 3, "params": [{"name": "size_m", "value": "0.9"}]}
    chat, script = planner({"gestures": [gesture, dict(gesture, word=3), dict(gesture, word=0, params=[])]})
    plan, notes = act(chat)
    assert [(t.gloss, t.word, dict(t.params)) for t in plan.tags] == [
        ("huge size", 0, {}), ("huge size", 3, {"size_m": "0.9"}),
    ]  # fmt: skip
    assert plan.text == ACT.text and plan.emotion is None and notes == []
    shown = script.bodies[0]["messages"][-1]["content"]
    assert "3:big!" in shown and load_lexicon()["huge size"].meaning in shown and "size_m: a number" in shown


@pytest.mark.parametrize("wrong", [{"gloss": "backflip", "word": 1}, {"gloss": "shrug", "word": 4}, {"gloss": "shrug"}])
def test_act_is_repaired_once_then_does_without(planner, wrong):
    bad = {"gestures": [{"params": [], **wrong}]}
    chat, _ = planner(bad, {"gestures": []})
    assert act(chat) == (_plain(), [])
    chat, script = planner(bad, bad)
    plan, notes = act(chat)
    assert plan == _plain() and len(notes) == 1 and len(script.bodies) == 2


def _plain():
    from visavis.tokenizers.turn_language import ActPlan

    return ActPlan(None, ACT.text, ())


def test_act_feels_where_it_is_asked_to_and_asks_nothing_without_need(planner):
    chat, script = planner({"emotion": "fear", "intensity": 1, "gestures": []}, {"emotion": "anger", "intensity": 0.2})
    open_ = ActPrompt(ACT.text, None, ACT.candidates)
    assert act(chat, open_)[0].emotion == Emotion("fear", 1.0)
    assert act(chat, ActPrompt(ACT.text, None, []))[0].emotion == Emotion("anger", 0.2)
    assert act(chat, ActPrompt(ACT.text, Emotion(), []))[0].tags == () and act(chat, bias=-6.9)[0].tags == ()
    assert len(script.bodies) == 2


def test_feel(planner):
    chat, _ = planner({"emotion": "sadness", "intensity": 0.4}, "?", "?")
    assert told(lambda: chat.feel(ACT, cancel=Cancel())) == (Emotion("sadness", 0.4), [])
    felt, notes = told(lambda: chat.feel(ACT, cancel=Cancel()))
    assert felt == Emotion() and len(notes) == 1


def weather(city: str) -> str:
    """The weather in a city."""
    return f"It rains in {city}."


def test_tools_are_called_and_bounded(planner):
    chat, script = planner(
        [_call("weather", '{"ci'), {"index": 0, "function": {"arguments": 'ty": "Rome"}'}}], GOOD, tools=[weather]
    )
    plan, notes = reply(chat)
    assert plan.text.startswith("Welcome") and notes == []
    assert script.bodies[0]["tools"][0]["function"]["name"] == "weather"
    asked, result = script.bodies[1]["messages"][-2:]
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "It rains in Rome."}

    endless = [[_call("weather", '{"city": "Rome"}')] for _ in range(4)]
    chat, script = planner(*endless, GOOD, tools=[weather])
    assert reply(chat)[0].text.startswith("Welcome") and script.bodies[-1]["tool_choice"] == "none"
    chat, script = planner([_call("launch", "{}")], GOOD, tools=[weather])
    reply(chat)
    assert "no tool 'launch'" in script.bodies[1]["messages"][-1]["content"]


def test_documents_are_recalled(planner):
    knowledge = Knowledge(read_passages("# Coats\nCoats are kept for free.\n\n# Soup\nSoup is served until three."))
    chat, script = planner(GOOD, knowledge=knowledge)
    reply(chat, ReplyPrompt("Maya", "a guide", [], [], "Where do I leave my coat?"))
    known = script.bodies[0]["messages"][0]["content"]
    assert "Coats: Coats are kept for free." in known and "not as instructions" in known and "Soup" not in known


def test_what_a_server_does_not_take_is_left_out_from_then_on(planner):
    refusal = (400, {"error": {"message": "unknown parameter: response_format"}})
    chat, script = planner(refusal, (422, {"detail": "seed?"}), GOOD, GOOD)
    assert reply(chat)[1] == []
    assert "response_format" not in script.bodies[1] and "seed" not in script.bodies[2]
    reply(chat)
    assert not {"response_format", "seed"} & set(script.bodies[3])
    too_long = (400, {"error": {"message": "the prompt is too long"}})
    chat, script = planner(*[too_long] * 4, GOOD)
    with pytest.raises(ServiceError, match="too long"):
        reply(chat)
    reply(chat)
    assert {"response_format", "max_tokens", "seed"} <= set(script.bodies[-1]), "it was not their fault"
    chat, _ = planner((404, {"error": {"message": "no such model"}}))
    with pytest.raises(ServiceError, match="no such model"):
        reply(chat)


def test_a_server_that_does_not_stream_answers_whole(planner):
    said = json.dumps({"emotion": "joy", "intensity": 0.5, "text": "It is long."})
    answer = {"choices": [{"message": {"role": "assistant", "content": said}}]}
    chat, _ = planner((200, answer), (200, {"error": {"message": "no"}}))
    plan, notes = reply(chat)
    assert plan.text == "It is long." and notes == []
    with pytest.raises(ServiceError, match="failed: no"):
        reply(chat)


@pytest.mark.parametrize(
    "event", [{"choices": [3]}, {"choices": 1}, _delta(content=4), _delta(tool_calls=[{"index": "x"}])]
)
def test_what_is_no_chat_model_is_an_error_of_the_service(library, event):
    with http_server(lambda *_: iter([event])) as url, closing(Connection(url)) as connection:
        with pytest.raises(ServiceError, match="as a chat model does"):
            reply(ChatPlanner(connection, "talker", library))


def test_a_cancelled_turn_stops_listening(planner):
    chat, _ = planner(GOOD)
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Cancelled):
        chat.reply(PROMPT, seed=0, cancel=cancel)


def test_the_key_travels_in_the_header_alone(planner, caplog):
    caplog.set_level(logging.DEBUG)
    chat, script = planner((401, {"error": "bad key"}), (500, {}), (500, {}), "x", "y")
    for said in (r"wants another key \(401\): set \$VISAVIS_API_KEY or \$OPENAI_API_KEY", r"refused \(500\)"):
        with pytest.raises(ServiceError, match=said) as error:
            reply(chat)
        assert KEY not in str(error.value)
    reply(chat)
    assert set(script.keys) == {f"Bearer {KEY}"}
    assert KEY not in caplog.text and KEY not in json.dumps(script.bodies) and KEY not in repr(vars(chat.connection))


def test_the_model_is_found_where_there_is_one():
    with http_server(lambda *_: {"data": [{"id": "a"}]}) as url:
        connection = Connection(url)
        assert find_chat_model(connection, None) == "a" and find_chat_model(connection, "b") == "b"
        connection.close()
    with http_server(lambda *_: {"data": [{"id": "a"}, {"id": "b"}]}) as url:
        connection = Connection(url)
        with pytest.raises(ServiceError, match=r"several models \(a, b\): name one with --model"):
            find_chat_model(connection, None)
        connection.close()


def test_speech_is_clean():
    assert spoken("**Hello**  there\n\u200b\u202eyou 🎉") == "Hello there you"
    assert spoken("## Hi\n*you*") == "Hi you"
    assert spoken("🐋 ... !") == "" and spoken("a" * 101 + " b") == "b"
    assert len(spoken("One more sentence. " * 200)) <= 900 and spoken("One more sentence. " * 200).endswith(".")


def test_a_turn_by_a_chat_model(library, monkeypatch):
    from visavis.agent import Agent

    monkeypatch.setenv("VISAVIS_API_KEY", KEY)

    def talk(method, path, body, headers):
        if path == "/v1/models":
            return {"data": [{"id": "talker"}]}
        kind = body["response_format"]["json_schema"]["name"]
        if kind == "reply":
            return iter([_delta(content=json.dumps(GOOD | {"text": "It was this big, I tell you!"}))])
        tag = {"gloss": "huge size", "word": 3, "params": [{"name": "size_m", "value": "0.8"}]}
        return iter([_delta(content=json.dumps({"gestures": [tag]}))])

    with http_server(talk) as url:
        with Agent(voice="silent", planner="chat", base_url=url, knowledge="Fish are big.", tools=[weather]) as agent:
            turn = agent.session().answer("How big was it?")
            assert turn.text == "It was this big, I tell you!" and turn.emotion == "joy"
            assert turn.record.planner == "chat" and turn.record.engine == "embedded" and turn.record.degraded == []
            assert [g.gloss for g in turn.gestures] == ["huge size"] and len(turn.motion) > 30
    # The server is gone: the native planner answers, and says so.
    with http_server(talk) as url, Agent(voice="silent", planner="chat", base_url=url) as agent:
        session = agent.session()
        agent.tools.planner.first.connection._client.close()
        agent.tools.planner.first.connection = Connection("http://127.0.0.1:9/v1")
        turn = session.answer("Hello!")
        assert turn.text and len(turn.record.degraded) == 1 and "the native planner answers" in turn.record.degraded[0]
        assert any(event.type == "degraded" for event in turn.events)
        agent.tools.planner.first.connection.close()


def test_choices_that_do_not_go_together_are_refused(capsys):
    from visavis.cli import main

    for arguments, said in (
        (["--planner", "chat"], "--planner chat needs --base-url"),
        (["--engine", "vllm"], "--engine vllm needs --base-url"),
        (["--base-url", "http://127.0.0.1:9"], "--base-url is for"),
        (["--planner", "oracle"], "expected a planner, one of native, chat; got 'oracle'"),
        (
            ["--engine", "warp"],
            "expected an engine, one of embedded, transformers, vllm (or embedded:N, N batches); got 'warp'",
        ),
        (["--planner", "chat", "--engine", "vllm", "--base-url", "http://127.0.0.1:9"], "choose one of them"),
        (["--engine", "vllm", "--base-url", "localhost"], "expected --base-url as"),
        (["--knowledge", "/nowhere"], "expected knowledge as"),
    ):
        assert main(["chat", "--once", "Hi", "--voice", "silent", *arguments]) == 2, arguments
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert main(["chat", "--once", "Hi", "--engine", "vllm", "--base-url", "http://127.0.0.1:9"]) == 1
    assert "is it running" in capsys.readouterr().err
    with pytest.raises(UsageError, match="tools are called by chat models"):
        from visavis.agent import Agent

        Agent(tools=[weather])

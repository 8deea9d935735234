import asyncio
import json
import random
import string
import time

import httpx
import pytest

from visavis.agent.events import InputEvent, InputText, SessionUpdate, SpeechDelta
from visavis.agent.persona import load_persona
from visavis.client import Client
from visavis.errors import ServiceError, UsageError
from visavis.ui.api import socket
from visavis.ui.api.limits import Limits
from visavis.ui.api.rest import SessionInfo
from visavis.ui.api.sessions import Hosted

TOKEN = "a-token-that-only-tests-know"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_a_conversation_by_the_client(server):
    async def talk():
        async with Client(server.url, TOKEN) as client:
            assert "guide" in [one["id"] for one in await client.personas()]
            assert (await client.library("It was huge!"))[0]["score"] > 0
            assert len(await client.library()) > 200
            session = await client.open("guide")
            kinds, speech = [], 0
            async with session.events() as events:
                turn_id = await session.ask("How big is the blue whale?")
                async for event in events:
                    if event.turn_id == turn_id:
                        kinds.append(event.type)
                        speech += len(event.pcm) if isinstance(event, SpeechDelta) else 0
                    if event.type == "response.done" and event.turn_id == turn_id:
                        done = event
                        break
            assert speech > 10_000 and {"response.created", "response.text.delta", "response.motion.delta"} <= set(
                kinds
            )
            assert done.turn["text"] and done.session_id == session.id
            history = await session.history()
            assert history[0] == ("user", "How big is the blue whale?")
            assert await session.interrupt() in (True, False)
            await session.close()
            with pytest.raises(UsageError, match="expected the id of an open session"):
                await session.history()

    asyncio.run(talk())


def test_who_comes_is_greeted_and_settings_change(server):
    async def talk():
        async with Client(server.url, TOKEN) as client:
            session = await client.open("guide")
            async with session.events() as events, asyncio.timeout(60):
                await session.update(rate=1.5, emotion="joy", listening=False)
                turn_id = await session.happened("approach")
                assert turn_id is not None and await session.happened("approach") is None
                async for event in events:
                    if event.type == "response.emotion" and event.turn_id == turn_id:
                        assert (event.emotion, event.intensity) == ("joy", 0.6)
                    if event.type == "response.done":
                        assert event.turn["text"].startswith("Welcome to the museum!")
                    if event.type == "session.state" and event.state == "idle" and event.turn_id == turn_id:
                        break  # it was played: a silence is one only now
                with pytest.raises(UsageError, match="expected settings of voice, rate, .*; got 'loudness'"):
                    await session.update(loudness=3)
                with pytest.raises(UsageError, match="expected one of approach, leave, silence"):
                    await session.happened("dance")
                # The same by the socket, where mistakes are told to the one who made them.
                await events.send(SessionUpdate(settings={"rate": 1.0, "loudness": 3}))
                await events.send(InputEvent(name="dance"))
                await events.send(InputEvent(name="silence"))
                told = []
                async for event in events:
                    if event.type == "error":
                        told.append(event.message)
                    if event.type == "response.done":
                        assert event.turn["text"] == load_persona("guide").offer
                        break
                assert ["'loudness'" in told[0], "'dance'" in told[1]] == [True, True] and len(told) == 2
            await session.close()

    asyncio.run(talk())


def test_nothing_but_health_is_answered_without_the_token(server):
    paths = [
        "/v1/personas", "/v1/library", "/v1/sessions", "/v1/openapi.json", "/metrics", "/docs", "/", "/v1/health/x",
        "/v1/sessions/abc", "/v1//health", "/V1/HEALTH", "/v1/health/../sessions", "/v1/health%2f..%2fsessions",
    ]  # fmt: skip
    with httpx.Client(base_url=server.url) as http:
        assert http.get("/v1/health").json()["status"] == "ok"
        for path in paths:
            answer = http.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["error"]["code"] == "no_token"
        assert http.post("/v1/sessions", json={}).status_code == 401
        assert http.get("/v1/sessions", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert http.get("/v1/sessions", params={"token": TOKEN}).status_code == 401


def test_a_page_of_a_foreign_origin_is_refused(server):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        name = http.post("/v1/sessions", json={}).json()["id"]
        assert http.get("/v1/sessions", headers={"Origin": "https://evil.example"}).status_code == 403
        assert http.get("/v1/sessions", headers={"Origin": server.url}).status_code == 200
        where = server.url.replace("http", "ws") + f"/v1/sessions/{name}/events"
        for headers, status in (
            ({"Origin": "https://evil.example", **BEARER}, 403),
            ({}, 401),
            ({"Authorization": "Bearer x"}, 401),
        ):
            with pytest.raises(InvalidStatus) as error:
                connect(where, additional_headers=headers, proxy=None)
            assert error.value.response.status_code == status
        with connect(where, subprotocols=["visavis.v1", f"token.{TOKEN}"], proxy=None) as socket:
            assert socket.subprotocol == "visavis.v1"
            assert json.loads(socket.recv(timeout=10))["type"] == "session.state"
        http.delete(f"/v1/sessions/{name}")


def test_ids_that_are_guessed_show_nothing(server):
    rng = random.Random(0)
    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        name = http.post("/v1/sessions", json={}).json()["id"]
        tries = [
            "..",
            "../..",
            "%2e%2e",
            "..%2f..%2fetc%2fpasswd",
            name[:-1],
            name + "a",
            name.swapcase(),
            "*",
            "%00",
            " ",
        ]
        tries += ["".join(rng.choices(string.ascii_letters + "-_./%", k=rng.randint(1, 40))) for _ in range(60)]
        for guess in tries:
            for end in ("", "/history"):
                answer = http.get(f"/v1/sessions/{guess}{end}")
                # The client itself resolves "..", so a guess may ask for another page; none of them shows a session.
                assert answer.status_code in (404, 405) or answer.url.path == "/v1/sessions", guess
                assert name not in answer.text or answer.url.path == "/v1/sessions"
        for bad in ("../x", "a/b", "", "a" * 65, "é", "a b", "\n"):
            answer = http.post("/v1/sessions", json={"id": bad})
            assert answer.status_code == 422, bad
        http.delete(f"/v1/sessions/{name}")


def test_small_answers_do_not_wait_for_acknowledgements(server):
    """The fastest of twenty on one connection: with Nagle's algorithm all wait 40 ms."""
    took = []
    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        for _ in range(20):
            began = time.perf_counter()
            assert http.get("/v1/health").status_code == 200
            took.append(time.perf_counter() - began)
    assert min(took) < 0.03, took


def test_what_is_wrong_is_told_in_one_shape(server):
    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        for answer, status in (
            (http.post("/v1/sessions", content=b"{"), 422),
            (http.post("/v1/sessions", json={"persona": "nobody"}), 422),
            (http.post("/v1/sessions", json={"person": "guide"}), 422),
            (http.post("/v1/sessions", content=b"x" * 300_000), 413),
            (http.post("/v1/sessions", content=iter([b"x" * 100_000] * 4)), 413),
            (http.put("/v1/sessions"), 405),
            (http.get("/v1/library", params={"text": "x" * 3000}), 422),
        ):
            assert answer.status_code == status
            assert set(answer.json()) == {"error"} and answer.json()["error"]["message"]
        name = http.post("/v1/sessions", json={}).json()["id"]
        for body in ({}, {"text": "a", "say": "b"}, {"text": ""}, {"text": "   "}):
            answer = http.post(f"/v1/sessions/{name}/turns", json=body)
            assert answer.status_code == 422 and "expected" in answer.text or "at least 1" in answer.text
        http.delete(f"/v1/sessions/{name}")


def test_sessions_past_the_limit_are_refused_and_counted(server):
    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        names = [http.post("/v1/sessions", json={}).json()["id"] for _ in range(6)]
        answer = http.post("/v1/sessions", json={})
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert http.post("/v1/sessions", json={"id": names[0]}).status_code in (422, 503)
        assert http.get("/v1/health").json()["room"] == 0
        figures = http.get("/metrics").text
        assert "visavis_sessions 6.0" in figures and "visavis_sessions_refused_total" in figures
        assert not any(name in figures for name in names)
        for name in names:
            assert http.delete(f"/v1/sessions/{name}").status_code == 204
        assert http.get("/v1/health").json()["sessions"] == 0


def test_malformed_frames_are_each_told_and_end_with_one_clear_code(server):
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with httpx.Client(base_url=server.url, headers=BEARER) as http:
        name = http.post("/v1/sessions", json={}).json()["id"]
        where = server.url.replace("http", "ws") + f"/v1/sessions/{name}/events"
        rng = random.Random(1)
        told = 0
        with connect(where, additional_headers=BEARER, proxy=None) as socket:
            with pytest.raises(ConnectionClosed) as error:
                for _ in range(1000):
                    frame = rng.choice(
                        [rng.randbytes(rng.randint(0, 40)), '{"type": "x"}', "{", '{"type": "response.done"}']
                    )
                    socket.send(frame)
                while True:
                    message = socket.recv(timeout=10)
                    told += isinstance(message, str) and json.loads(message)["type"] == "error"
            assert error.value.rcvd.code == 4400
        assert http.get(f"/v1/sessions/{name}").json()["readers"] == 0
        assert http.delete(f"/v1/sessions/{name}").status_code == 204


def test_too_many_requests_are_told_when_to_come_again(agent, serving):
    with (
        serving(lambda persona, name: agent.session(name), Limits(requests_per_s=1.0, burst=3)) as one,
        httpx.Client(base_url=one.url, headers=BEARER) as http,
    ):
        answers = [http.get("/v1/personas") for _ in range(5)]
        assert [a.status_code for a in answers[:3]] == [200] * 3 and answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert http.get("/v1/health").status_code == 200


def test_named_origins_may_ask_from_their_pages(agent, serving):
    with (
        serving(lambda persona, name: agent.session(name), origins=["https://app.example"]) as one,
        httpx.Client(base_url=one.url) as http,
    ):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization"}  # fmt: skip
        answer = http.options("/v1/sessions", headers=asked)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://app.example"
        assert http.options("/v1/sessions", headers=asked | {"Origin": "https://evil.example"}).status_code == 400
        allowed = http.get("/v1/sessions", headers=BEARER | {"Origin": "https://app.example"})
        assert allowed.status_code == 200 and "access-control-allow-origin" in allowed.headers


def test_a_session_left_alone_is_closed_and_a_stopping_server_finishes_its_sentence(agent, serving):
    with serving(lambda persona, name: agent.session(name), Limits(idle_s=0.4, burst=1000)) as one:

        async def talk():
            async with Client(one.url, TOKEN) as client:
                alone, kept = await client.open(), await client.open()
                async with kept.events() as events:
                    await events.send(InputText(text="Hello there!"))
                    async for event in events:
                        if event.type == "response.done":
                            break
                    with pytest.raises(UsageError):
                        for _ in range(50):
                            await alone.history()
                            await asyncio.sleep(0.5)
                    await kept.history()
                    stopping = asyncio.create_task(asyncio.to_thread(one.stop))
                    async for _ in events:
                        pass
                    await stopping
                with pytest.raises(ServiceError):
                    await client.open()

        asyncio.run(talk())


def test_openapi_describes_what_is_there(server):
    described = httpx.get(f"{server.url}/v1/openapi.json", headers=BEARER).json()
    assert {"/v1/health", "/v1/sessions", "/v1/sessions/{session_id}/turns"} <= set(described["paths"])
    assert set(described["components"]["schemas"]["SessionInfo"]["properties"]) == set(SessionInfo.model_fields)


def test_the_token_is_nowhere_in_the_log(server, caplog):
    with caplog.at_level("DEBUG"), httpx.Client(base_url=server.url, headers=BEARER) as http:
        http.get("/v1/sessions")
        http.get("/v1/sessions/nobody")
    own = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not any(TOKEN in record.getMessage() for record in own)


def test_a_client_that_takes_nothing_is_cut_off_and_the_session_goes_on(agent, monkeypatch):
    monkeypatch.setattr(socket, "SEND_S", 0.3)

    class Deaf:
        """A socket whose other side reads nothing."""

        closed = None

        async def receive(self):
            await asyncio.sleep(60)

        async def send_text(self, frame):
            await asyncio.sleep(60)

        send_bytes = send_text

        async def close(self, code):
            self.closed = code

    async def main():
        with agent.session() as session:
            hosted = Hosted(session, "guide", 0.0, 0.0)
            deaf = Deaf()
            async with asyncio.timeout(20):
                with session.events() as events:
                    await socket.serve_socket(deaf, hosted, Limits())
                    session.submit(say="I go on.")
                    async for event in events:
                        if event.type == "response.done":
                            break
            return deaf.closed, hosted.readers

    assert asyncio.run(main()) == (socket.TOO_SLOW, 0)

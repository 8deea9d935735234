import json
import socket

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from visavis.agent.wire import IdleDelta, unpack
from visavis.errors import UsageError
from visavis.ui.server import build_app, listen


@pytest.fixture
def client(replay):
    with TestClient(build_app(replay)) as client:
        yield client


def receive(socket_):
    message = socket_.receive()
    return json.loads(message["text"]) if message.get("text") is not None else unpack(message["bytes"])


def until(socket_, kind):
    seen = []
    while True:
        message = receive(socket_)
        seen.append(message)
        if (message["type"] if isinstance(message, dict) else message.type) == kind:
            return seen


def test_the_viewer_and_the_avatar_are_served(client):
    script = client.get("/visavis/viewer.js")
    assert script.status_code == 200
    assert "javascript" in script.headers["content-type"]
    avatar = client.get("/visavis/avatar.vrm")
    assert avatar.content[:4] == b"glTF" and b"VRMC_vrm" in avatar.content
    assert client.get("/visavis/health").json() == {"status": "ok"}


def test_a_turn_over_the_socket(client):
    with client.websocket_connect("/ws") as ws:
        assert receive(ws)["type"] == "session.state"
        ws.send_text('{"type": "input.text", "text": "Hello!"}')
        kinds = [m["type"] if isinstance(m, dict) else m.type for m in until(ws, "response.done")]
    for kind in ("text", "speech", "face", "motion"):
        assert kinds.count(f"response.{kind}.delta") == 2
    assert kinds.count("response.gesture.added") == 2


def test_idle_motion_over_the_socket(client):
    with client.websocket_connect("/ws") as ws:
        ws.send_text('{"type": "idle.request", "start_s": 0, "frames": 30}')
        delta = until(ws, "idle.delta")[-1]
        assert isinstance(delta, IdleDelta)
        assert delta.rotations.shape == (30, 55, 4)
        ws.send_text('{"type": "idle.request", "start_s": 0, "frames": 9999}')
        assert "frames must lie in 1..300" in until(ws, "error")[-1]["message"]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("rubbish", "must hold JSON"),
        ('{"type": "session.state", "state": "idle"}', "not for clients to send"),
        ('{"type": "input.text", "text": ""}', "a line must have"),
        (b"\x01\x02", "4 bytes"),
    ],
)
def test_mistakes_get_one_clear_answer_and_the_socket_lives_on(client, frame, says):
    with client.websocket_connect("/ws") as ws:
        ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_text(frame)
        assert says in until(ws, "error")[-1]["message"]
        ws.send_text('{"type": "input.text", "text": "Hello!"}')
        until(ws, "response.done")


def test_another_sites_page_is_refused(client):
    with client.websocket_connect("/ws", headers={"origin": "https://evil.example"}) as ws:
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive_text()
    assert caught.value.code == 4403
    with client.websocket_connect("/ws", headers={"origin": "http://testserver"}) as ws:
        assert receive(ws)["type"] == "session.state"


def test_an_unknown_session_is_told_so(client):
    with client.websocket_connect("/ws?session=gone") as ws, pytest.raises(WebSocketDisconnect) as caught:
        ws.receive_text()
    assert caught.value.code == 4404


def test_a_conversation_of_the_page_can_be_joined_again(client):
    conversation = client.app.state.conversations.open()
    for _ in range(2):
        with client.websocket_connect(f"/ws?session={conversation.id}") as ws:
            assert receive(ws)["type"] == "session.state"
    assert client.app.state.conversations.get(conversation.id) is conversation


def test_a_socket_without_a_session_has_its_own_for_as_long_as_it_lasts(client):
    with client.websocket_connect("/ws") as ws:
        receive(ws)
        assert len(client.app.state.conversations._all) == 1
    assert not client.app.state.conversations._all


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"127.0.0.1:{port} cannot be used .*--port") as caught:
            listen("127.0.0.1", port)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--port"):
        listen("127.0.0.1", 99_999)

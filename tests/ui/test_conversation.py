import asyncio

import pytest

from visavis.agent.events import (
    ErrorEvent,
    InputEvent,
    InputPlayback,
    InputText,
    ResponseCancel,
    ResponseDone,
    ResponseInterrupted,
    SessionState,
    TextDelta,
)
from visavis.agent.wire import IdleRequest
from visavis.errors import TextError, UsageError
from visavis.ui.conversation import MAX_IDLE_FRAMES, MAX_QUEUE, Conversation, Conversations


async def until(queue, *kinds):
    """All events up to the first of some kinds."""
    seen = []
    async with asyncio.timeout(10):
        while True:
            event = await queue.get()
            seen.append(event)
            if isinstance(event, kinds):
                return seen


def run(coroutine):
    return asyncio.run(coroutine)


def test_everybody_sees_the_same_stream(replay):
    async def main():
        conversation = Conversation(replay())
        with conversation.watch() as one, conversation.watch() as two:
            await conversation.say("Hello!")
            first, second = await until(one, ResponseDone), await until(two, ResponseDone)
        assert first[1:] == second[1:]
        assert [e.type for e in first].count("response.motion.delta") == 2
        assert conversation.messages == [
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Hello! The blue whale is about thirty metres long."},
        ]

    run(main())


def test_a_second_line_interrupts_the_first(replay):
    async def main():
        conversation = Conversation(replay(pause_s=0.15))
        with conversation.watch() as queue:
            await conversation.say("One")
            await until(queue, TextDelta)
            await conversation.say("Two")
            seen = await until(queue, ResponseDone)
        kinds = [e.type for e in seen]
        assert kinds.index("response.interrupted") < kinds.index("response.created")
        assert conversation.messages[1]["content"] == "Hello! …"
        assert conversation.messages[3]["content"].endswith("long.")

    run(main())


def test_what_was_heard_is_what_the_client_played(replay):
    async def main():
        session = replay()
        conversation = Conversation(session)
        with conversation.watch() as queue:
            await conversation.say("Hi")
            done = (await until(queue, ResponseDone))[-1]
            await conversation.receive(InputPlayback(turn_id=done.turn_id, played_s=1.9))
            await conversation.receive(InputPlayback(turn_id="of another time", played_s=99.0))
            await conversation.receive(ResponseCancel())
            interrupted = (await until(queue, ResponseInterrupted))[-1]
            state = (await until(queue, SessionState))[-1]
        assert interrupted.heard_s == 1.9
        assert "Hello! The blue whale is about thirty metres long.".startswith(interrupted.heard)
        assert 0 < len(interrupted.heard) < 45
        assert session.told_heard == [(done.turn_id, interrupted.heard, 1.9)]
        assert state.state == "listening"
        assert conversation.messages[-1]["content"] == f"{interrupted.heard} …"
        await conversation.cancel()  # nothing is left to stop
        assert len(session.told_heard) == 1

    run(main())


def test_a_turn_that_was_played_to_its_end_is_not_interrupted(replay):
    async def main():
        conversation = Conversation(replay())
        with conversation.watch() as queue:
            await conversation.say("Hi")
            done = (await until(queue, ResponseDone))[-1]
            await conversation.receive(InputPlayback(turn_id=done.turn_id, played_s=done.turn["duration_s"]))
            await conversation.say("And?")
            kinds = [e.type for e in await until(queue, ResponseDone)]
        assert "response.interrupted" not in kinds

    run(main())


@pytest.mark.parametrize(
    ("error", "says"), [(TextError("only English"), "only English"), (RuntimeError("secret"), "failed inside visavis")]
)
def test_failures_reach_the_client_and_the_stream_still_ends(replay, error, says, caplog):
    async def main():
        session = replay()

        async def respond(text):
            raise error
            yield

        session.respond = respond
        conversation = Conversation(session)
        with conversation.watch() as queue:
            await conversation.say("Hi")
            seen = await until(queue, ResponseInterrupted)
            seen += await until(queue, SessionState)
        assert [says in e.message for e in seen if isinstance(e, ErrorEvent)] == [True]
        assert "secret" not in str(seen)
        assert says in conversation.messages[-1]["content"]
        assert seen[-1].state == "idle"

    run(main())


@pytest.mark.parametrize("text", ["", "   ", "a" * 2001])
def test_lines_have_limits(replay, text):
    with pytest.raises(UsageError, match="a line must have 1 to 2,000 characters"):
        run(Conversation(replay()).say(text))


def test_events_find_their_way(replay):
    async def main():
        session = replay()
        conversation = Conversation(session)
        typing = InputEvent(name="typing_started")
        await conversation.receive(typing)
        assert session.received == [typing]
        with conversation.watch() as queue:
            await conversation.receive(InputText(text="Hi"))
            await until(queue, ResponseDone)

    run(main())


def test_idle_motion_goes_on(replay):
    async def main():
        conversation = Conversation(replay())
        one = await conversation.idle(IdleRequest(start_s=0.0, frames=30))
        two = await conversation.idle(IdleRequest(start_s=1.0, frames=30))
        assert one.rotations.shape == (30, 55, 4)
        assert one.weights.shape == (30, 52)
        steps = abs(one.rotations[1:] - one.rotations[:-1]).max()
        assert abs(two.rotations[0] - one.rotations[-1]).max() < 3 * steps
        for wrong in ({"frames": 0}, {"frames": MAX_IDLE_FRAMES + 1}, {"start_s": -1.0}):
            with pytest.raises(UsageError, match="idle.request"):
                await conversation.idle(IdleRequest(**{"start_s": 0.0, "frames": 1, **wrong}))

    run(main())


def test_a_watcher_that_falls_behind_is_cut_off(replay):
    async def main():
        conversation = Conversation(replay())
        with conversation.watch() as queue:
            for _ in range(MAX_QUEUE + 5):
                conversation._publish(SessionState(state="idle"))
            assert not conversation.watched
            events = [queue.get_nowait() for _ in range(queue.qsize())]
        assert events[-1] is None

    run(main())


def test_conversations_are_forgotten_when_nobody_watches(replay, monkeypatch):
    async def main():
        conversations = Conversations(replay)
        first = conversations.open()
        second = conversations.open()
        assert len({first.id, second.id}) == 2
        assert len(first.id) >= 20
        assert conversations.get(first.id) is first
        first.unwatched_since -= 10_000
        conversations.open()
        assert conversations.get(first.id) is None
        assert conversations.get(second.id) is second
        conversations.close("unknown")

    run(main())


def test_who_comes_to_the_page_is_greeted(agent):
    async def main():
        conversation = Conversation(agent.session())
        with conversation.watch() as queue:
            await conversation.receive(InputEvent(name="approach"))
            done = (await until(queue, ResponseDone))[-1]
            await until(queue, SessionState)
            await conversation.receive(InputEvent(name="approach"))  # nobody is greeted twice
        assert done.turn["text"] == agent.persona.greeting
        assert conversation.messages == [{"role": "assistant", "content": agent.persona.greeting}]
        conversation.close()
        conversation.session.close()

    run(main())

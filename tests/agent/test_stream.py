import asyncio
import gc
import threading

import numpy as np
import pytest

from visavis.agent import stream as module
from visavis.agent.events import ErrorEvent, MotionDelta, SessionState
from visavis.agent.stream import Stream


def state(name: str) -> SessionState:
    return SessionState(state=name)


def test_every_reader_gets_everything_in_one_order():
    async def main():
        stream = Stream()
        readers = [stream.reader(state("now")) for _ in range(3)]

        def publish(part):
            for k in range(50):
                stream.publish(state(f"{part}-{k}"))

        threads = [threading.Thread(target=publish, args=(part,)) for part in "ab"]
        for thread in threads:
            thread.start()
        found = []
        for reader in readers:
            found.append([(await anext(reader)).state for _ in range(101)])
        for thread in threads:
            thread.join()
        stream.end()
        assert found[0] == found[1] == found[2] and found[0][0] == "now"
        assert [s for s in found[0] if s[0] == "a"] == [f"a-{k}" for k in range(50)]
        assert [event async for event in readers[0]] == []

    asyncio.run(main())


def test_a_reader_waits_in_a_thread_too():
    stream = Stream()
    reader = stream.reader()
    threading.Timer(0.05, lambda: stream.publish(state("late"))).start()
    assert reader.get(5).state == "late"
    assert reader.get(0.01) is None
    reader.close()
    assert reader.ended and not len(stream)


@pytest.mark.parametrize(("bound", "value"), [("MAX_EVENTS", 10), ("MAX_BYTES", 4000), ("STALL_S", -1.0)])
def test_a_reader_that_falls_behind_is_cut_off_and_the_others_go_on(monkeypatch, bound, value):
    monkeypatch.setattr(module, bound, value)
    stream = Stream()
    slow, quick = stream.reader(), stream.reader()
    for _ in range(20):
        rotations = np.zeros((1, 55, 4), np.float32)
        stream.publish(MotionDelta(rotations=rotations, root_m=np.zeros((1, 3), np.float32), start_s=0.0))
        quick.get(0)
    told = slow.get(0)
    assert isinstance(told, ErrorEvent) and "read faster" in told.message
    assert slow.get(0) is None and slow.ended and not quick.ended


def test_a_reader_that_is_dropped_is_forgotten():
    stream = Stream()
    reader = stream.reader()
    assert len(stream) == 1
    del reader
    gc.collect()
    stream.publish(state("x"))
    assert not len(stream)


def test_a_writer_can_wait_for_room():
    stream = Stream()
    reader = stream.reader(room=2)
    stream.publish(state("a"))
    assert not reader.full()
    stream.publish(state("b"))
    assert reader.full()
    threading.Timer(0.05, reader.get).start()
    reader.wait_for_room(5)
    assert not reader.full()


def test_readers_choose_what_they_want():
    stream = Stream()
    with stream.reader(wants=lambda event: event.state == "a") as reader:
        for name in "bab":
            stream.publish(state(name))
        assert reader.get(0).state == "a" and reader.get(0) is None

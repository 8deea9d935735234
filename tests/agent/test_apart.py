"""A second batch in a process of its own: the same ids, more of them at once, and nothing lost when it ends."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.agent.test_batching import at_once, model, write  # noqa: F401
from visavis.agent import apart, batch, batching
from visavis.agent.apart import RowsApart
from visavis.agent.apart_worker import FrameError, pack, read_frame, sent_ids, wanted_ids
from visavis.agent.batching import CROWD, BatchingEngine
from visavis.agent.brain import Brain
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import Sampling
from visavis.agent.llama import Llama
from visavis.agent.rows import Gone, RowsHere
from visavis.errors import UsageError
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def folder(model: Llama, tmp_path_factory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("planner")
    vocabulary = JointVocabulary.default()
    model.save(folder, *(vocabulary.control(name) for name in ("bos", "end", "pad")))
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> EmbeddedEngine:
    return EmbeddedEngine.load(folder, exact=True)


@pytest.fixture(scope="module")
def rows(folder: Path):
    rows = RowsApart(folder, exact=True)
    rows.wait()
    yield rows
    rows.close()


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """With both batches running, which are taken to be equally quick."""
    monkeypatch.setattr(batch, "SMOOTHED", 0.0)
    engine = BatchingEngine.load(folder, exact=True, batches=2)
    at_once(*(lambda: list(engine.generate([5, 6], limit=40)) for _ in range(CROWD + 1)))
    deadline = time.monotonic() + 60
    while engine._starting is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(engine._batches) == 2
    yield engine
    engine.close()


def test_rows_apart_are_read_as_rows_here(alone: EmbeddedEngine, rows: RowsApart) -> None:
    here = RowsHere(alone._decoder, 1)
    rng = np.random.default_rng(0)
    for one in (here, rows):
        one.resize(5)
        one.clear(0)
    for step in range(6):
        runs = [rng.integers(1, 5000, rng.choice([0, 1, 1, 3, 30])).tolist() for _ in range(4)]
        wanted = [None, np.arange(4300, 4500), np.array([9, 4, 700]), np.array([5])]
        for ours, theirs in zip(here.read(runs, wanted), rows.read(runs, wanted), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)
        if step == 3:
            for one in (here, rows):
                one.move(3, 1)
                one.clear(3)
                one.resize(4)
    assert rows.slots == here.slots == 4


def test_ids_are_sent_as_they_are() -> None:
    for ids in (None, np.arange(3, 900), np.array([7]), np.array([5, 3, 4]), np.zeros(0, np.int64), np.arange(2, 4)):
        back = wanted_ids(sent_ids(ids))
        assert (back is None and ids is None) or np.array_equal(back, ids)


@pytest.mark.parametrize("arrays", [[], [[]], [[1, 2], [], [3]]])
def test_frames_come_as_they_went(arrays) -> None:
    back = read_frame(io.BytesIO(pack(arrays, np.int32)), np.int32)
    assert back is not None and [array.tolist() for array in back] == arrays


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01", b"\xff" * 8, pack([[1, 2]], np.int32)[:-1],
        b"\x02\0\0\0\x01\0\0\0" + np.array([2, -1], np.int32).tobytes() + b"\0" * 4,
    ],
)  # fmt: skip
def test_no_frame_is_refused(raw: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(raw), np.int32)
    assert read_frame(io.BytesIO(b""), np.int32) is None


def test_in_two_batches_as_alone(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    reads: list[int] = []
    apart = engine._batches[1]._rows
    read = apart.read
    apart.read = lambda runs, wanted: (reads.append(len(runs)), read(runs, wanted))[1]  # type: ignore[method-assign]
    written = at_once(*(lambda seed=seed: write(engine, seed) for seed in range(13)))
    assert written == [write(alone, seed) for seed in range(13)]
    assert reads, "the second batch took no stream"
    assert [batch.load for batch in engine._batches] == [0, 0]


def test_streams_go_where_they_are_stepped_soonest(engine: BatchingEngine) -> None:
    """A batch whose passes take long gets few of them; one that was idle for long is tried again."""
    here, there = engine._batches
    here._cost_s, there._cost_s = 10 * batch.COST_S, batch.COST_S
    here._ended = there._ended = time.monotonic()
    assert engine._quickest() is here  # alone
    one = there.add(None)
    assert engine._quickest() is there
    here._ended -= 2 * batch.STALE_S
    assert engine._quickest() is here
    there._queue.remove(one)


def test_a_lone_caller_starts_nothing(folder: Path, alone: EmbeddedEngine) -> None:
    engine = BatchingEngine.load(folder, exact=True, batches=2)
    assert [write(engine, seed) for seed in range(4)] == [write(alone, seed) for seed in range(4)]
    assert engine._starting is None and len(engine._batches) == 1


def test_a_process_that_is_killed_loses_nothing(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    """In mid-stream: what was written stays, the rest is written in this process, also by sampling."""
    process = engine._batches[1]._rows._process
    kill = threading.Event()

    def one(seed: int) -> list[int]:
        out = []
        for id_ in engine.generate([5, 6 + seed], sampling=Sampling(1.0, 0, seed), limit=100):
            out.append(id_)
            if len(out) == 20 and not kill.is_set():
                kill.set()
                os.kill(process.pid, signal.SIGKILL)
        return out

    written = at_once(*(lambda seed=seed: one(seed) for seed in range(8)))
    expected = [list(alone.generate([5, 6 + seed], sampling=Sampling(1.0, 0, seed), limit=100)) for seed in range(8)]
    assert written == expected
    assert process.wait(5) == -signal.SIGKILL
    assert write(engine, 3) == write(alone, 3) and len(engine._batches) == 1


def test_one_that_cannot_start_is_done_without(tmp_path: Path, folder: Path, alone: EmbeddedEngine, caplog) -> None:
    with pytest.raises(Gone, match="ended"):
        RowsApart(tmp_path).wait()  # holds no planner
    engine = BatchingEngine(Llama.load(folder), JointVocabulary.load(folder), exact=True, folder=tmp_path, batches=2)
    written = at_once(*(lambda seed=seed: write(engine, seed) for seed in range(6)))
    assert written == [write(alone, seed) for seed in range(6)]
    if (thread := engine._starting) is not None:
        thread.join(60)
    assert len(engine._batches) == 1 and "no other batch" in caplog.text


def test_one_that_says_nothing_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not take its request: more than a pipe holds."""
    monkeypatch.setattr(apart, "_LOOK_S", 0.1)
    rows = RowsApart(folder, exact=True)
    rows.wait()
    monkeypatch.setattr(apart, "PATIENCE_S", 1.0)
    os.kill(rows._process.pid, signal.SIGSTOP)
    rows.resize(16)
    with pytest.raises(Gone, match="ended"):
        rows.read([[5]] * 16, [np.arange(0, 5000, 2)] * 16)
    assert rows._process.wait(5) == -signal.SIGKILL


def test_other_weights_in_the_folder_are_not_taken(folder: Path, alone: EmbeddedEngine, caplog) -> None:
    engine = BatchingEngine.load(folder, exact=True, batches=2)
    os.utime(folder / "model.safetensors")
    written = at_once(*(lambda seed=seed: write(engine, seed) for seed in range(6)))
    assert written == [write(alone, seed) for seed in range(6)]
    if (thread := engine._starting) is not None:
        thread.join(60)
    assert len(engine._batches) == 1 and "are others" in caplog.text


def test_starts_that_fail_are_not_made_again_at_once(
    folder: Path, alone: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []

    def fails(*_) -> None:
        starts.append(time.monotonic())
        raise Gone("no")

    monkeypatch.setattr(batching, "RowsApart", fails)
    engine = BatchingEngine.load(folder, exact=True, batches=3)
    for _ in range(3):
        at_once(*(lambda seed=seed: write(engine, seed) for seed in range(6)))
        time.sleep(0.05)
    assert len(starts) == 1


def test_memory_that_is_short_when_a_process_ends_loses_nothing(
    engine: BatchingEngine, alone: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making room here fails the first time: one caller is told, the others go on."""
    second = engine._batches[1]
    instead, calls = second._instead, []

    def short():
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return instead()

    second._instead = short
    os.kill(second._rows._process.pid, signal.SIGKILL)
    written = at_once(*(lambda seed=seed: write(engine, seed) for seed in range(8)))
    failed = [isinstance(out, MemoryError) for out in written]
    assert sum(failed) == 1 and len(calls) == 2
    assert [w for w, f in zip(written, failed, strict=True) if not f] == [
        write(alone, seed) for seed, f in zip(range(8), failed, strict=True) if not f
    ]


def test_a_fork_lets_go_of_the_pipes(rows: RowsApart) -> None:
    child = os.fork()
    if not child:
        nothing = os.stat(os.devnull).st_rdev
        same = os.fstat(rows._process.stdin.fileno()).st_rdev == nothing
        try:
            rows.read([[5]], [None])
            gone = False
        except Gone:
            gone = True
        os._exit(0 if same and gone else 1)
    assert os.waitpid(child, 0)[1] == 0
    rows.clear(0)
    (logits,) = rows.read([[5]], [None])
    assert len(logits) == JointVocabulary.default().size and logits.flags.writeable


def test_nothing_runs_after_a_close(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    process = engine._batches[1]._rows._process
    under_way = [engine.generate([5, 6], limit=30) for _ in range(2)]
    begun = [next(one) for one in under_way]
    engine.close()
    free = list(alone.generate([5, 6], limit=30))
    assert [[first, *rest] for first, rest in zip(begun, under_way, strict=True)] == [free, free]
    assert process.wait(10) is not None


def test_nothing_is_started_after_a_close(folder: Path) -> None:
    engine = BatchingEngine.load(folder, exact=True, batches=2)
    at_once(*(lambda: list(engine.generate([5, 6], limit=4)) for _ in range(CROWD + 1)))
    thread, loading = engine._starting, engine._loading
    engine.close()
    if thread is not None:
        thread.join(10)
        assert not thread.is_alive()
    if loading is not None:
        assert loading._process.wait(10) is not None
    assert len(engine._batches) == 1


def test_an_agent_has_one_batch_unless_it_is_told_otherwise() -> None:
    assert (Brain().engine, Brain().batches) == ("embedded", 1)
    assert (Brain(engine="embedded:3").engine, Brain(engine="embedded:3").batches) == ("embedded", 3)
    for name in ("embedded:0", "embedded:", "embedded:x", "vllm:2"):
        with pytest.raises(UsageError, match="expected an engine"):
            Brain(engine=name)

"""A stream in company writes what it writes alone, and no stream can harm another."""

import threading
import time

import numpy as np
import pytest
import torch

from visavis.agent import batch
from visavis.agent.batch import AHEAD, KEPT
from visavis.agent.batching import BatchingEngine
from visavis.agent.decoder import ALONE, FEW, ROWS, Cache, _groups
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.llama import Llama, LlamaConfig
from visavis.errors import TokenError, UsageError
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(0)
    model = Llama(LlamaConfig(JointVocabulary.default().size, layers=2, width=64, heads=2, hidden=96, context=160))
    with torch.no_grad():  # weights large enough that every part matters
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.dim() == 2 else 1).add_(0.1 * torch.randn(parameter.shape[-1]))
    return model


@pytest.fixture(scope="module")
def alone(model: Llama) -> EmbeddedEngine:
    return EmbeddedEngine(model, JointVocabulary.default(), exact=True)


@pytest.fixture
def engine(model: Llama) -> BatchingEngine:
    return BatchingEngine(model, JointVocabulary.default(), exact=True, streams=5)


class Steps:
    """Each step one of given ids; `then` is called with the number of steps taken."""

    def __init__(self, steps: list[np.ndarray], then=None) -> None:
        self.steps, self.taken, self.then = steps, 0, then

    def allowed(self) -> np.ndarray:
        return self.steps[self.taken] if self.taken < len(self.steps) else np.zeros(0, np.int64)

    def weigh(self, ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return logits

    def accept(self, id_: int) -> None:
        self.taken += 1
        if self.then:
            self.then(self.taken)


def random_work(seed: int) -> tuple[list[int], list[np.ndarray] | None, dict]:
    """A prompt, steps of a constraint (forced runs, few ids, many ids) or None, and settings."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(1, 5000, rng.integers(1, 40)).tolist()
    steps = []
    for _ in range(rng.integers(3, 20)):
        kind = rng.integers(4)
        if kind == 0:  # forced, sometimes for long
            steps += [np.array([id_]) for id_ in rng.integers(1, 5000, rng.integers(1, 2 * ALONE))]
        else:
            steps.append(rng.choice(5000, size=[0, 3, 50, 2000][kind], replace=False))
    sampling = Sampling(float(rng.choice([0.0, 1.0])), int(rng.choice([0, 5])), seed)
    return prompt, None if seed % 5 == 0 else steps, {"sampling": sampling, "limit": int(rng.integers(5, 100))}


def write(engine, seed: int, **more) -> list[int]:
    prompt, steps, settings = random_work(seed)
    return list(engine.generate(prompt, None if steps is None else Steps(steps), **settings, **more))


def at_once(*works, within_s: float = 60) -> list:
    """What each of the calls returned or raised, in threads of their own."""
    out: list = [None] * len(works)

    def one(number: int) -> None:
        try:
            out[number] = works[number]()
        except Exception as error:
            out[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within_s)
        assert not thread.is_alive(), "a caller waits for ever"
    return out


def test_in_company_as_alone(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    """More streams than slots, of all lengths; float32 products, so that only the order of sums differs."""
    for first in (0, 13):
        seeds = range(first, first + 13)
        written = at_once(*(lambda seed=seed: write(engine, seed) for seed in seeds))
        assert written == [write(alone, seed) for seed in seeds]
    assert not engine._batches[0].load


def test_alone_in_a_batch_as_without_one(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    assert [write(engine, seed) for seed in range(8)] == [write(alone, seed) for seed in range(8)]


def test_runs_read_together_as_one_by_one(alone: EmbeddedEngine) -> None:
    """Any mixture of empty, short and long runs after prefixes of any length."""
    decoder = alone._decoder
    for seed in range(12):
        rng = np.random.default_rng(seed)
        slots = int(rng.integers(2, 7))
        many, ones = Cache(decoder, 8), [Cache(decoder) for _ in range(slots)]
        for _ in range(3):
            runs = [rng.integers(1, 5000, rng.choice([0, 1, 1, 3, ALONE, ALONE + 5])).tolist() for _ in range(slots)]
            states = decoder.feed_many(many, runs)
            for run, state, one in zip(runs, states, ones, strict=True):
                assert (state is None) == (not run)
                if state is not None:
                    torch.testing.assert_close(state, decoder.feed(one, run)[-1], atol=1e-4, rtol=1e-4)
            assert many.used[:slots] == [one.used[0] for one in ones]


def test_prompts_and_single_ids_share_a_pass(alone: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight streams, of which three begin: one pass of all rows, and each state as alone."""
    decoder = alone._decoder
    rng = np.random.default_rng(0)
    many, ones = Cache(decoder, 8), [Cache(decoder) for _ in range(8)]
    for slot in range(5):
        prompt = rng.integers(1, 5000, 10 + 7 * slot).tolist()
        decoder.feed(many, prompt, slot)
        decoder.feed(ones[slot], prompt)
    runs = [[5], [6, 7], [8], [], [9], *(rng.integers(1, 5000, n).tolist() for n in (3, 40, 25))]
    expected = [decoder.feed(one, run)[-1] if run else None for one, run in zip(ones, runs, strict=True)]
    passes: list[int] = []
    read = decoder._read
    monkeypatch.setattr(decoder, "_read", lambda ids, *rest: (passes.append(len(ids)), read(ids, *rest))[1])
    for state, other in zip(decoder.feed_many(many, runs), expected, strict=True):
        assert (state is None) == (other is None)
        if state is not None:
            torch.testing.assert_close(state, other, atol=1e-4, rtol=1e-4)
    assert passes == [sum(map(len, runs))]


def test_no_pass_of_several_runs_is_too_long() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        runs = [[1] * int(n) for n in rng.choice([0, 1, 2, 5, 40, 120, 300], 20)]
        groups = _groups(runs)
        assert sorted(slot for group in groups for slot in group) == [slot for slot, run in enumerate(runs) if run]
        assert all(len(group) == 1 or sum(len(runs[slot]) for slot in group) <= ROWS for group in groups)
        assert all([len(runs[s]) for s in group] == sorted(len(runs[s]) for s in group) for group in groups)


def test_only_the_last_state_is_the_last_of_all(alone: EmbeddedEngine) -> None:
    decoder, ids = alone._decoder, list(range(40, 60))
    for before in (0, 1, 9):
        whole, short = Cache(decoder), Cache(decoder)
        for cache in (whole, short):
            if before:
                decoder.feed(cache, list(range(7, 7 + before)))
        last = decoder.feed(short, ids, last=True)
        torch.testing.assert_close(last, decoder.feed(whole, ids)[-1:], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(decoder.feed(short, [3]), decoder.feed(whole, [3]), atol=1e-5, rtol=1e-5)


def test_logits_of_several_as_of_each(alone: EmbeddedEngine) -> None:
    decoder = alone._decoder
    part, scattered, most = np.arange(4300, 4812), np.array([9, 4, 700]), np.arange(0, 2 * FEW + 2, 2)
    ids = [part, None, scattered, part + 512, most, part.copy(), np.arange(4300, 4302), None, np.array([5])]
    states = torch.randn(len(ids), decoder.config.width, generator=torch.Generator().manual_seed(0))
    made = decoder.logits_many(list(states), ids)
    for state, wanted, logits in zip(states, ids, made, strict=True):
        np.testing.assert_allclose(logits, decoder.logits(state, wanted), atol=2e-5, rtol=1e-5)
        assert len(logits) == (decoder.config.vocabulary if wanted is None else len(wanted))
    assert decoder.logits_many([], []) == []


def test_what_is_masked_is_a_number(alone: EmbeddedEngine) -> None:
    """Memory as it comes may hold NaN, and 0 times NaN is NaN."""
    cache = Cache(alone._decoder, 3)
    assert not cache.values.any() and not cache.resized(alone._decoder, 5).values.any()


def test_a_stream_that_moves_takes_its_past_along(alone: EmbeddedEngine) -> None:
    decoder = alone._decoder
    cache = Cache(decoder, 2)
    decoder.feed(cache, [1, 2, 3], 0)
    decoder.feed(cache, [7, 8, 9, 10], 1)
    cache.move(1, 0)
    grown = cache.resized(decoder, 4)
    fresh = Cache(decoder)
    decoder.feed(fresh, [7, 8, 9, 10])
    torch.testing.assert_close(decoder.feed(grown, [11], 0), decoder.feed(fresh, [11]))


def test_cancelled_in_mid_stream(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    def cut() -> list[int]:
        cancel, out = CancelToken(), []
        for id_ in engine.generate([5, 6], limit=60, cancel=cancel):
            out.append(id_)
            if len(out) == 4:
                cancel.cancel()
        return out

    written = at_once(cut, cut, lambda: write(engine, 3), lambda: write(engine, 5))
    free = list(alone.generate([5, 6], limit=60))
    assert written == [free[:4], free[:4], write(alone, 3), write(alone, 5)]
    assert not engine._batches[0].load


def test_cancelled_while_it_waits_its_turn(model: Llama) -> None:
    engine = BatchingEngine(model, JointVocabulary.default(), exact=True, streams=1)
    cancel = CancelToken()

    def stop(taken: int) -> None:
        if taken == 20:
            cancel.cancel()

    busy = Steps([np.arange(10, 60)] * 40, stop)
    first, second = at_once(
        lambda: list(engine.generate([5], busy)),
        lambda: (time.sleep(0.02), list(engine.generate([5], limit=150, cancel=cancel)))[1],
    )
    assert len(first) == 40 and len(second) < 150


def test_an_error_of_a_constraint_is_its_own_streams(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    def fail(taken: int) -> None:
        if taken == 9:
            raise ValueError("a constraint that fails")

    broken = [lambda: list(engine.generate([5, 6], Steps([np.arange(10, 60)] * 40, fail))) for _ in range(2)]
    written = at_once(*broken, *(lambda seed=seed: write(engine, seed) for seed in (3, 5, 6)))
    assert [str(error) for error in written[:2]] == ["a constraint that fails"] * 2
    assert written[2:] == [write(alone, seed) for seed in (3, 5, 6)]
    assert not engine._batches[0].load


def test_who_does_not_read_stops_nobody(model: Llama, alone: EmbeddedEngine) -> None:
    """One slot: a caller that reads an id and then sleeps gives it up, and later goes on where it was."""
    engine = BatchingEngine(model, JointVocabulary.default(), exact=True, streams=1)
    sleeper = engine.generate([5, 6], limit=150)
    head = [next(sleeper)]
    assert write(engine, 3) == write(alone, 3)
    assert all(len(stream.ready) <= AHEAD for stream in [*engine._batches[0]._streams, *engine._batches[0]._queue])
    assert head + list(sleeper) == list(alone.generate([5, 6], limit=150))


def test_who_goes_away_leaves_nothing(engine: BatchingEngine) -> None:
    threads = threading.active_count()
    generations = [engine.generate([5, 6 + i], limit=100) for i in range(4)]
    for generation in generations:
        next(generation)
    assert engine._batches[0].load
    with engine._batches[0]._lock:  # as where the garbage collector ends it
        generations.pop().close()
    for generation in generations:
        generation.close()
    assert not engine._batches[0].load and threading.active_count() == threads


@pytest.mark.parametrize("fails_at", [4, 5, 6])
def test_a_pass_that_fails_fails_one_caller(
    engine: BatchingEngine, alone: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    feed, calls = engine._decoder.feed_many, []

    def failing(cache, runs):
        calls.append(len(runs))
        if len(calls) == fails_at:
            feed(cache, runs)  # the cache has moved on, the streams have not
            raise MemoryError
        return feed(cache, runs)

    monkeypatch.setattr(engine._decoder, "feed_many", failing)
    seeds = (3, 6, 7, 8)
    written = at_once(*(lambda seed=seed: write(engine, seed) for seed in seeds))
    failed = [isinstance(out, MemoryError) for out in written]
    assert sum(failed) == 1
    assert [w for w, f in zip(written, failed, strict=True) if not f] == [
        write(alone, seed) for seed, f in zip(seeds, failed, strict=True) if not f
    ]


def test_equal_work_takes_equal_time(engine: BatchingEngine) -> None:
    ended = [0] * 5
    order: list[int] = []

    def note(number: int):
        def then(taken: int) -> None:
            order.append(number)
            ended[number] = taken

        return then

    at_once(*(lambda n=n: list(engine.generate([5], Steps([np.arange(10, 60)] * 80, note(n)))) for n in range(5)))
    assert ended == [80] * 5
    all_came = max(order.index(n) for n in range(5))
    first_ends = min(len(order) - 1 - order[::-1].index(n) for n in range(5))
    together = [order[all_came:first_ends].count(n) for n in range(5)]
    assert max(together) - min(together) <= 1, together


def test_wrong_input_is_refused(engine: BatchingEngine, alone: EmbeddedEngine, model: Llama) -> None:
    for one in (engine, alone):
        with pytest.raises(TokenError, match="another vocabulary"):
            next(one.generate([one.vocabulary.size]))
        with pytest.raises(TokenError, match="shorten it"):
            next(one.generate([1] * 160))
        with pytest.raises(TokenError, match="at least one id"):
            next(one.generate([]))
        assert list(one.generate([5], limit=0)) == []
        assert len(list(one.generate([1] * 155))) == 5  # the context is full
        free = list(one.generate([5, 6], limit=30))
        assert list(one.generate([5, 6], stop={free[11]}, limit=30)) == free[: free.index(free[11]) + 1]
    with pytest.raises(UsageError, match="one stream or more"):
        BatchingEngine(model, JointVocabulary.default(), streams=0)


def test_closed(engine: BatchingEngine, alone: EmbeddedEngine) -> None:
    under_way = engine.generate([5, 6], limit=30)
    begun = [next(under_way)]
    engine.close()
    with pytest.raises(UsageError, match="was closed"):
        next(engine.generate([5]))
    assert begun + list(under_way) == list(alone.generate([5, 6], limit=30))


def test_a_large_batch_gives_its_memory_back(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = BatchingEngine(model, JointVocabulary.default(), exact=True)
    most = 0

    def look(taken: int) -> None:
        nonlocal most
        most = max(most, engine._batches[0]._rows.slots)

    monkeypatch.setattr(batch, "HANDED", 1)
    works = [lambda: list(engine.generate([5], Steps([np.arange(10, 60)] * 60, look))) for _ in range(2 * KEPT)]
    at_once(*works)
    assert most > KEPT and engine._batches[0]._rows.slots <= KEPT


def test_the_planner_in_threads_as_alone() -> None:
    """REPLY and MOVE of the shipped model from several threads at once."""
    from visavis.agent.native import NativeMover, NativePlanner
    from visavis.agent.planner import Cancel
    from visavis.emotion import Emotion
    from visavis.tokenizers.turn_language import Candidate, MovePrompt, ReplyPrompt

    cards = [Candidate("The blue whale is thirty metres long.", 0.9), Candidate("The museum opens at nine.", 0.3)]
    asked = ("How long is the whale?", "When do you open?", "Hello!")
    zeros = np.zeros((8, 5), np.int64)

    def reply(engine, line: str):
        prompt = ReplyPrompt("Mira", "a museum guide", cards, [], line)
        return NativePlanner(engine, None).reply(prompt, seed=0, cancel=Cancel())

    def move(engine, seed: int):
        prompt = MovePrompt("speak", Emotion("joy", 0.5))
        words = ["", "the", "", "whale", "", "", "", ""]
        return (
            NativeMover(engine)
            .move(prompt, words, [1] * 8, zeros, zeros.astype(bool), seed=seed, cancel=Cancel())
            .tolist()
        )

    one, many = EmbeddedEngine.load(exact=True), BatchingEngine.load(exact=True)
    works = [lambda e, line=line: reply(e, line) for line in asked] + [lambda e, s=s: move(e, s) for s in range(4)]
    assert at_once(*(lambda work=work: work(many) for work in works)) == [work(one) for work in works]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow(engine: BatchingEngine) -> None:
    """10,000 passes and more, streams coming, leaving and failing."""

    def resident_kb() -> int:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def work(seed: int) -> None:
        for number in range(40):
            generation = engine.generate([5, 6 + seed], sampling=Sampling(1.0, 0, number), limit=60)
            for place, _ in enumerate(generation):
                if number % 7 == 0 and place == 20:
                    generation.close()
                    break

    sizes = []
    passes = 0
    feed = engine._decoder.feed_many

    def counted(cache, runs):
        nonlocal passes
        passes += 1
        return feed(cache, runs)

    engine._decoder.feed_many = counted  # type: ignore[method-assign]
    while passes < 11_000:
        assert at_once(*(lambda seed=seed: work(seed) for seed in range(6)), within_s=600) == [None] * 6
        sizes.append(resident_kb())
    assert sizes[-1] < 1.05 * sizes[1] + 2_000, sizes
    assert engine._batches[0]._rows.slots <= KEPT and not engine._batches[0].load

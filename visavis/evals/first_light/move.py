"""Held-out likelihood of MOVE, in nats a token: the model, the best unigram, and the model given other words.

The unigram is fitted on the very tokens it is judged by, one for each part: no unigram does better on them. Other words
keep places, times, cues and punctuation; only what is said is exchanged with other turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visavis.agent.engine import Engine
from visavis.emotion import EMOTIONS
from visavis.evals.first_light.table import Table, progress
from visavis.finetune.motion_codes import turn_codes
from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn, move_examples
from visavis.metrics.bootstrap import bootstrap, paired_difference
from visavis.tokenizers.codec import MotionCodec
from visavis.tokenizers.turn_language import Example, move_example

__all__ = ["measure", "measure_turns", "other_words"]

Codes = NDArray[np.int64]


def other_words(turns: list[TaughtTurn], seed: int = 0) -> list[TaughtTurn]:
    """The same turns with the words of all of them dealt out anew; each keeps its place, times and punctuation."""
    rng = np.random.default_rng(seed)
    pool = [re.sub(r"\W+$", "", word[0]) for turn in turns for word in turn.words]
    dealt = iter(rng.permutation(len(pool)))
    out = []
    for turn in turns:
        words = []
        for text, *rest in turn.words:
            tail = re.search(r"\W*$", text)
            words.append((pool[next(dealt)] + (tail.group() if tail else ""), *rest))
        out.append(replace(turn, words=words))
    return out


def _score(engine: Engine, examples: Iterable[Example]) -> tuple[list[int], list[float]]:
    """Ids that are to be learnt and their log-probabilities."""
    ids: list[int] = []
    logs: list[float] = []
    for example in examples:
        first = example.mask.index(True) if any(example.mask) else len(example.ids)
        last = min(len(example.ids), engine.context)
        if first >= last:
            continue
        scores = engine.score(example.ids[:first], example.ids[first:last])
        for id_, wanted, log in zip(example.ids[first:last], example.mask[first:last], scores, strict=True):
            if wanted:
                ids.append(id_)
                logs.append(float(log))
    return ids, logs


def measure_turns(
    engine: Engine, turns: list[TaughtTurn], codes: Callable[[TaughtTurn], Codes], seed: int = 0
) -> Table:
    """Score turns; `codes` gives the (S, P) motion tokens of a turn."""
    vocabulary = engine.vocabulary
    shuffled = other_words(turns, seed)
    modes: list[str] = []
    found: list[list[int]] = []
    right: list[list[float]] = []
    wrong: list[list[float]] = []
    otherwise: list[list[float]] = []
    rng = np.random.default_rng(seed)
    for turn, other in progress(list(zip(turns, shuffled, strict=True)), "turns"):
        tokens = codes(turn)
        ids, logs = _score(
            engine, (move_example(p, plan, vocabulary) for p, plan in move_examples(turn, tokens, vocabulary.parts))
        )
        _, blind = _score(
            engine, (move_example(p, plan, vocabulary) for p, plan in move_examples(other, tokens, vocabulary.parts))
        )
        felt = replace(
            turn, emotion=str(rng.choice([name for name in EMOTIONS if name != turn.emotion])), intensity=0.8
        )
        _, unfelt = _score(
            engine, (move_example(p, plan, vocabulary) for p, plan in move_examples(felt, tokens, vocabulary.parts))
        )
        if ids:
            count = min(len(logs), len(blind))
            modes.append("listening" if turn.mode == "listen" else "speaking")
            found.append(ids[:count])
            right.append(logs[:count])
            wrong.append(blind[:count])
            otherwise.append(unfelt[:count])
    counts = np.bincount(np.concatenate([np.array(ids) for ids in found]), minlength=vocabulary.size).astype(float)
    unigram = np.zeros(vocabulary.size)
    for part in vocabulary.parts:
        span = vocabulary.motion_range(part)
        unigram[span.start : span.stop] = counts[span.start : span.stop] / max(counts[span.start : span.stop].sum(), 1)
    table = Table(f"MOVE on {len(found)} held-out turns: loss in nats a token (mean of turns)")
    for mode in ("speaking", "listening"):
        at = [i for i, name in enumerate(modes) if name == mode]
        if not at:
            continue
        model = [-float(np.mean(right[i])) for i in at]
        blind_model = [-float(np.mean(wrong[i])) for i in at]
        uni = [-float(np.mean(np.log(unigram[found[i]]))) for i in at]
        table.add(f"{mode}: model", bootstrap(model), "nats")
        table.add(f"{mode}: best unigram", bootstrap(uni), "nats")
        table.add(f"{mode}: model, shuffled words", bootstrap(blind_model), "nats")
        other_model = [-float(np.mean(otherwise[i])) for i in at]
        table.add(f"{mode}: model, wrong emotion", bootstrap(other_model), "nats")
        table.add(f"{mode}: wrong emotion minus model", paired_difference(other_model, model), "nats")
        table.add(f"{mode}: unigram minus model", paired_difference(uni, model), "nats")
        table.add(f"{mode}: shuffled words minus model", paired_difference(blind_model, model), "nats")
    table.details = {"tokens": int(counts.sum()), "turns": len(found)}
    return table


def measure(
    engine: Engine, codec: MotionCodec, corpus: MotionCorpus, limit: int = 150, seed: int = 0, heard: bool = False
) -> Table:
    """Score at most `limit` turns of a corpus, evenly spread over it; `heard`: only those that somebody listens to."""
    known = [turn for turn in corpus.turns if not heard or turn.mode == "listen"]
    places = np.unique(np.linspace(0, len(known) - 1, min(limit, len(known))).round().astype(int))
    return measure_turns(engine, [known[i] for i in places], lambda turn: turn_codes(corpus, turn, codec), seed)

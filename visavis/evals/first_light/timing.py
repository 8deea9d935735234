"""Are strokes on their stresses? Measured on the exported BVH against the phoneme events of the voice.

Beside the shipped system: no refiner, gestures on random words, and the stresses of another sentence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent, Turn
from visavis.agent.loading import load_body
from visavis.agent.planner import Cancel, Planner
from visavis.emotion import Emotion
from visavis.evals.first_light.table import Table, data_file, median, progress
from visavis.evals.strokes import apexes, beats, head_apexes, nearest, stress_of_word, stressed_onsets
from visavis.metrics.beat_consistency import DECISIVE_SIGMA_S, lift
from visavis.metrics.bootstrap import Estimate, bootstrap, paired_difference
from visavis.metrics.strokes import WINDOW_S
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.motion import Motion
from visavis.tokenizers.turn_language import ActPlan, ActPrompt, ReplyPlan, ReplyPrompt

__all__ = ["Measured", "RandomWords", "measure", "read_turn"]

Key = tuple[int, int, str]  # sentence, clause, gloss
NEAR_S = 0.067


class RandomWords:
    """A planner whose gestures are moved to random words; it remembers where they were meant to be."""

    name = "random words"

    def __init__(self, planner: Planner, seed: int = 0) -> None:
        self.planner, self.rng = planner, random.Random(seed)
        self.meant: dict[tuple[str, str], int] = {}

    def reply(self, prompt: ReplyPrompt, *, seed: int, cancel: Cancel) -> ReplyPlan:
        """As the planner does."""
        return self.planner.reply(prompt, seed=seed, cancel=cancel)

    def feel(self, prompt: ActPrompt, *, cancel: Cancel) -> Emotion:
        """As the planner does."""
        return self.planner.feel(prompt, cancel=cancel)

    def act(
        self,
        prompt: ActPrompt,
        *,
        params: Mapping[str, Sequence[str]],
        seed: int,
        cancel: Cancel,
        chances: Sequence[float] = (),
        called: Mapping[int, str] | None = None,
        bias: float = 0.0,
    ) -> ActPlan:
        """The planner's gestures, each on another word of the clause where there is one."""
        plan = self.planner.act(
            prompt, params=params, seed=seed, cancel=cancel, chances=chances, called=called, bias=bias
        )
        count = len(prompt.text.split())
        tags = []
        for tag in plan.tags:
            self.meant[prompt.text, tag.gloss] = tag.word
            others = [word for word in range(count) if word != tag.word] or [tag.word]
            tags.append(replace(tag, word=self.rng.choice(others)))
        return replace(plan, tags=tuple(sorted(tags, key=lambda tag: tag.word)))


@dataclass
class Measured:
    """What one system did over the sentences.

    offsets, head: seconds by gesture, arms and head-only ones; stresses: of the same gestures; lifts by sentence;
    apexes of both wrists by sentence, for the shuffled audio; free: by sentence, the distances in seconds of strokes
    that belong to no gesture from the nearest stress.
    """

    offsets: dict[Key, float] = field(default_factory=dict)
    head: dict[Key, float] = field(default_factory=dict)
    stresses: dict[Key, float] = field(default_factory=dict)
    hands: dict[Key, str] = field(default_factory=dict)
    lifts: dict[int, float] = field(default_factory=dict)
    free: dict[int, list[float]] = field(default_factory=dict)
    motions: dict[int, Motion] = field(default_factory=dict)


def read_turn(turn: Turn, folder: Path, whole: bool) -> Motion:
    """Export a turn (all its files, or the BVH alone) and read its motion back from the BVH."""
    if whole:
        turn.save(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_bvh(turn.motion, folder / "motion.bvh")
    return read_bvh(folder / "motion.bvh")


def _one(out: Measured, number: int, turn: Turn, motion: Motion, meant: Mapping[tuple[str, str], int]) -> None:
    before = 0
    for place, clause in enumerate(turn.record.clauses):
        for gesture in clause.gestures:
            word = before + meant.get((clause.text, gesture.gloss), gesture.anchor)
            stress = stress_of_word(turn.speech, min(word, len(turn.speech.words) - 1))
            key = (number, place, gesture.gloss)
            if gesture.hand in ("left", "right", "both"):
                out.offsets[key] = nearest(apexes(motion, gesture.hand), stress, WINDOW_S)
                out.stresses[key], out.hands[key] = stress, gesture.hand
            else:
                out.head[key] = nearest(head_apexes(motion), stress, WINDOW_S)
        before += len(clause.words)
    onsets = stressed_onsets(turn.speech)
    if onsets:
        out.lifts[number] = lift(onsets, beats(motion), motion.duration_s, DECISIVE_SIGMA_S)
        busy = [(g.start_s, g.end_s) for clause in turn.record.clauses for g in clause.gestures]
        free = [t for t in apexes(motion) if not any(a <= t <= b for a, b in busy) and t < onsets[-1] + WINDOW_S]
        out.free[number] = [abs(nearest(onsets, t, WINDOW_S)) for t in free]
    out.motions[number] = motion


def _run(agent: Agent, lines: Sequence[str], folder: Path, label: str, whole: bool) -> Measured:
    out = Measured()
    planner = agent.tools.planner
    meant = planner.meant if isinstance(planner, RandomWords) else {}
    for number, line in enumerate(progress(lines, label)):
        turn = agent.say(line)
        _one(out, number, turn, read_turn(turn, folder / f"{number:03d}", whole), meant)
    return out


def _tokens_alone(shipped: Measured) -> Measured:
    """The same motions after the codec alone: no clip laid over its stroke, no refiner, no solver."""
    codec, _ = load_body(refine=False)
    out = Measured()
    for key in shipped.offsets:
        number = key[0]
        if number not in out.motions:
            whole = shipped.motions[number]
            out.motions[number] = codec.decode(codec.encode(whole), whole).slice(0, len(whole))
        out.offsets[key] = nearest(apexes(out.motions[number], shipped.hands[key]), shipped.stresses[key], WINDOW_S)
    return out


def _shuffled(shipped: Measured, seed: int) -> list[float]:
    """Offsets of the same strokes from the stress of a gesture in another sentence, in the order of `offsets`."""
    keys = list(shipped.offsets)
    rng = np.random.default_rng(seed)
    out = []
    for key in keys:
        others = [other for other in keys if other[0] != key[0]]
        if others:
            stress = shipped.stresses[others[int(rng.integers(len(others)))]]
            motion = shipped.motions[key[0]]
            out.append(nearest(apexes(motion, shipped.hands[key]), stress % motion.duration_s, WINDOW_S))
    return out


def _near(system: Measured) -> Estimate:
    """The share of free strokes that fall on a stress."""
    return bootstrap([float(off <= NEAR_S) for offs in system.free.values() for off in offs])


def _gain(one: Measured, other: Measured, seed: int, draws: int = 2000) -> Estimate:
    """The difference of two such shares, sentences drawn again together."""
    rows = [
        [sum(off <= NEAR_S for off in a), len(a), sum(off <= NEAR_S for off in b), len(b)]
        for n in one.free
        if n in other.free
        for a, b in [(one.free[n], other.free[n])]
    ]
    x = np.array(rows, np.float64).reshape(-1, 4)
    if not len(x):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)

    def difference(y: NDArray[np.float64]) -> float:
        total = np.maximum(y.sum(0), 1e-9)
        return float(total[0] / total[1] - total[2] / total[3])

    again = [difference(x[rng.integers(len(x), size=len(x))]) for _ in range(draws)]
    return Estimate(difference(x), float(np.quantile(again, 0.025)), float(np.quantile(again, 0.975)), len(x))


def _absolute(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(np.asarray(values, np.float64))


def _median(x: NDArray[np.float64]) -> float:
    return float(np.median(x))


def measure(folder: Path, limit: int | None = None, seed: int = 0, **options: Any) -> Table:
    """Say the frozen sentences three times and compare.

    Args:
        folder: where the turns are written.
        limit: only the first sentences.
        seed: of the random words and the shuffle.
        options: of the agents (persona, voice, model).
    """
    lines = data_file("timing_sentences.txt").read_text("utf-8").splitlines()[:limit]
    with Agent(**options) as agent:
        shipped = _run(agent, lines, folder / "shipped", "shipped", whole=True)
        tokens = _tokens_alone(shipped)
        agent.tools = replace(agent.tools, planner=RandomWords(agent.tools.planner, seed))
        chance = _run(agent, lines, folder / "random", "random words", whole=False)
    with Agent(**options, refine=False) as agent:
        bare = _run(agent, lines, folder / "unrefined", "no refiner", whole=False)
    table = Table(f"Strokes against stresses in the exported BVH, {len(lines)} frozen sentences")
    own = _absolute(list(shipped.offsets.values()))
    table.add("median |offset|, shipped", median(own), "ms", 1000)
    table.add("median offset, shipped (signed)", median(list(shipped.offsets.values())), "ms", 1000)
    table.add("share within 67 ms, shipped", bootstrap((own <= 0.067).astype(float)), "%", 100)
    table.add("share without a stroke in 600 ms, shipped", bootstrap((own >= WINDOW_S).astype(float)), "%", 100)
    # The nearest of many strokes is near by chance: without their rate an offset says nothing.
    rates = [len(apexes(motion)) / motion.duration_s for motion in shipped.motions.values()]
    table.add("stroke apexes a second of motion, both wrists", bootstrap(rates))
    table.add("median |offset|, head only", median(_absolute(list(shipped.head.values()))), "ms", 1000)
    for label, other in (("no refiner", bare), ("tokens alone", tokens), ("random words", chance)):
        table.add(f"median |offset|, {label}", median(_absolute(list(other.offsets.values()))), "ms", 1000)
        both = [key for key in shipped.offsets if key in other.offsets]
        theirs, mine = (_absolute([o[key] for key in both]) for o in (other.offsets, shipped.offsets))
        table.add(f"{label} minus shipped", paired_difference(list(theirs), list(mine), _median), "ms", 1000)
    shuffled = _absolute(_shuffled(shipped, seed))
    table.add("median |offset|, shuffled audio", median(shuffled), "ms", 1000)
    if len(shuffled) == len(own):
        table.add("shuffled audio minus shipped", paired_difference(list(shuffled), list(own), _median), "ms", 1000)
    table.add("beat lift (0.1 s), shipped", bootstrap(list(shipped.lifts.values())))
    table.add("beat lift (0.1 s), no refiner", bootstrap(list(bare.lifts.values())))
    both_lines = [number for number in shipped.lifts if number in bare.lifts]
    table.add(
        "beat lift, shipped minus no refiner",
        paired_difference([shipped.lifts[n] for n in both_lines], [bare.lifts[n] for n in both_lines]),
    )
    for label, other in (("shipped", shipped), ("no refiner", bare)):
        table.add(f"strokes of no gesture within 67 ms of a stress, {label}", _near(other), "%", 100)
    table.add("strokes of no gesture, shipped minus no refiner", _gain(shipped, bare, seed), "points", 100)
    table.details = {
        "gestures": [
            {"sentence": lines[key[0]], "gloss": key[2], "offset_ms": round(1000 * value, 1)}
            for key, value in [*shipped.offsets.items(), *shipped.head.items()]
        ]
    }
    return table

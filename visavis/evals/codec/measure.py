"""The tables: a codec beside the first-light one and a plain codebook on every set, and its speed and streaming."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from visavis.evals.codec.figures import MEASURES, Code, Figures, measure
from visavis.evals.codec.sets import OURS
from visavis.evals.first_light.table import Table, median
from visavis.metrics.bootstrap import Estimate
from visavis.motion.motion import FPS, FRAMES_PER_STEP, Motion
from visavis.tokenizers.codec import LOOKAHEAD_STEPS, MotionCodec

__all__ = ["compare", "speed", "streaming", "timed"]

_UNITS = {name: "m/s²" if name.startswith("acceleration") else "mm" for name in MEASURES}
_LABELS = {
    "body_mm": "spine, head, arms",
    "wrists_mm": "wrists",
    "fingertips_mm": "fingertips relative to wrist",
    "fingertips_in_hand_mm": "fingertips in the hand's frame",
    "acceleration_m_s2": "acceleration error",
}


def _exact(value: float, n: int) -> Estimate:
    """A count, which has no interval."""
    return Estimate(value, value, value, n)


def _add(table: Table, label: str, figures: Figures) -> None:
    for name in MEASURES:
        table.add(f"{label}: {_LABELS[name]}", figures.estimate(name), _UNITS[name])


def _add_codes(table: Table, label: str, figures: Figures) -> None:
    perplexity = figures.perplexity()
    for book, share in figures.share_used().items():
        n = int(figures.used[book].sum())
        table.add(f"{label}: codes used, {book}", _exact(share, n), "%", 100)
        table.add(f"{label}: perplexity, {book}", _exact(perplexity[book], n))


def compare(
    systems: Mapping[str, tuple[Code, Sequence[str], int]],
    sets: Mapping[str, Sequence[Motion]],
    more: Iterable[Motion] = (),
) -> Table:
    """Every system on every set; codes are counted over our own held-out sets together.

    Args:
        systems: name → (there and back, parts, codes in a codebook).
        sets: name → clips.
        more: of our own, for the codes alone; gone through once.
    """
    table = Table("Motion codec on motion that it never saw: means over clips")
    counts = {system: Figures() for system in systems}
    for motion in more:
        for system, (code, parts, size) in systems.items():
            counts[system].count_all(parts, code(motion)[1], size)
    for system, (code, parts, size) in systems.items():
        ours, everything = Figures(), Figures()
        for name, motions in sets.items():
            figures = measure(code, parts, size, motions)
            _add(table, f"{system}, {name}", figures)
            everything = everything.merged(figures)
            if name in OURS:
                ours = ours.merged(figures)
        if ours.used:
            _add(table, f"{system}, all of ours", ours)
            _add_codes(table, f"{system}, all of ours", ours)
        if counts[system].used:
            _add_codes(table, f"{system}, all of ours and more", ours.merged(counts[system]))
        _add_codes(table, f"{system}, everything", everything.merged(counts[system]))
    return table


def speed(
    codec: MotionCodec, motion: Motion, count: int = 200, careful: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds for the motion there and back, warm, `count` times: by the clock, and of the processor."""
    spent, worked = [], []
    for number in range(count + 10):
        began, busy = time.perf_counter(), time.process_time()
        codec.decode(codec.encode(motion, careful), motion)
        if number >= 10:
            spent.append(time.perf_counter() - began)
            worked.append(time.process_time() - busy)
    return spent, worked


def streaming(codec: MotionCodec, codes: NDArray[np.int64]) -> float:
    """The largest difference of a rotation's parts between decoding as codes arrive and decoding them at once.

    At every step all codes so far are decoded from the codec's own past on; compared are the frames that no code can
    change any more, those `LOOKAHEAD_STEPS` before the last.
    """
    whole = codec.decode(codes).rotations
    worst = 0.0
    for now in range(LOOKAHEAD_STEPS + 1, len(codes) + 1):
        first = max(0, now - LOOKAHEAD_STEPS - 1 - codec.config.past_steps)
        settled = now - LOOKAHEAD_STEPS - 1  # the step that this code settles
        made = codec.decode(codes[first:now]).rotations
        rows = slice(settled * FRAMES_PER_STEP, (settled + 1) * FRAMES_PER_STEP)
        own = slice(rows.start - first * FRAMES_PER_STEP, rows.stop - first * FRAMES_PER_STEP)
        worst = max(worst, float(np.abs(made[own] - whole[rows]).max()))
    return worst


def timed(codec: MotionCodec, motion: Motion, count: int = 200) -> Table:
    """64 frames there and back; streamed against whole; size and look-ahead."""
    motion = motion.slice(0, 64)
    table = Table("Motion codec: 64 frames there and back, warm")
    for label, careful in (("there and back", False), ("there and back, codes chosen with care", True)):
        spent, worked = speed(codec, motion, count, careful)
        table.add(label, median(spent), "ms", 1000)
        # On a machine that others use the clock tells of them; what the processor did is the codec's own.
        table.add(f"{label}, time of the processor", median(worked), "ms", 1000)
    rng = np.random.default_rng(0)
    codes = rng.integers(codec.config.codebook_size, size=(40, len(codec.config.parts)))
    table.add("streamed minus whole, largest part of a rotation", _exact(streaming(codec, codes), len(codes)))
    ahead = sum(step for _, step in codec.config.decoder) * FRAMES_PER_STEP / FPS
    table.add("look-ahead", _exact(ahead, 1), "ms", 1000)
    table.add("parameters", _exact(sum(p.numel() for p in codec.parameters()) / 1e6, 1), "million")
    table.add("motion tokens a second", _exact(len(codec.config.parts) * FPS / FRAMES_PER_STEP, 1))
    return table

"""AIM: put gestures on the words they belong to, in continuous time.

The apex of a gesture's stroke goes to the onset of its anchor word's stressed vowel; preparation and retraction are
warped to fit between the neighbours. `compose` lays the clips over a base motion: arms are taken over, head and torso
are added, so that the base's own life goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations
from visavis.motion.constraints import Constraint
from visavis.motion.idle import relaxed_pose
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import CORE_BONES
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performance, Performer, retime
from visavis.speech.types import Word

__all__ = ["Choice", "Placed", "arms_of", "compose", "lead_in_s", "overlay", "parts_of", "place", "weights"]

SHORTEST_PREPARATION_S = 0.28
SHORTEST_STROKE_S = 0.14
SHARE_OF_STROKE = 0.4  # of the time to the apex, at most, where there is little
LEAST_WAY_S = SHORTEST_PREPARATION_S / (1 - SHARE_OF_STROKE) + 2 / FPS  # to the apex; a quick gesture needs it too
LONGEST_LEAD_IN_S = 0.6
UNHURRIED = 0.9  # of the natural time to the stroke, below which a variant gives way to the plain performance


@dataclass(frozen=True)
class Choice:
    """A gesture chosen for a word: what the model (or a rule) decided.

    word: index into the words that `place` is given; variant: which way to perform it, the plain one if None.
    """

    gloss: str
    word: int
    score: float = 1.0
    source: str = "model"
    candidates: tuple[tuple[str, float], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None


@dataclass(frozen=True)
class Placed:
    """A gesture in time: its performance begins on a frame, `phases` are on the turn's clock; warp is the ratio of
    its length to its natural length.
    """

    choice: Choice
    performance: Performance
    phases: Phases
    warp: float

    @property
    def first_frame(self) -> int:
        """The turn's frame that the performance's frame 0 falls on."""
        return round(self.phases.start_s * FPS)

    @property
    def constraints(self) -> list[Constraint]:
        """What must hold exactly on the final motion, on the turn's clock."""
        return list(self.performance.constraints)


def parts_of(performance: Performance) -> tuple[str, ...]:
    """The parts (`core`, `left`, `right`) that a performance drives."""
    core = ("core",) if any(bone in CORE_BONES for bone in performance.bones) else ()
    return core + arms_of(performance)


def arms_of(performance: Performance) -> tuple[str, ...]:
    """The arms (`left`, `right`) that a performance uses."""
    return tuple(side for side in ("left", "right") if any(bone.startswith(side) for bone in performance.bones))


def lead_in_s(choices: Sequence[Choice], words: Sequence[Word], library: Library, performer: Performer) -> float:
    """How long the body must begin before the voice, so that the first gesture has time to prepare."""
    if not choices or not words:
        return 0.0
    first = min(choices, key=lambda choice: choice.word)
    natural = library.perform(first.gloss, performer, dict(first.params), variant=first.variant).phases
    room = words[min(first.word, len(words) - 1)].stress_s
    wanted = max(0.75 * (natural.stroke_s - natural.start_s), LEAST_WAY_S)
    return float(np.clip(wanted - room, 0.0, LONGEST_LEAD_IN_S))


def place(
    choices: Sequence[Choice],
    words: Sequence[Word],
    library: Library,
    performer: Performer,
    *,
    earliest_s: float = 0.0,
    busy_until_s: Mapping[str, float] | None = None,
) -> list[Placed]:
    """Place gestures on words.

    Args:
        choices: in any order; one that cannot fit between its neighbours is left out, the lower score first.
        words: with stress times on the turn's clock.
        library: where the gestures are.
        performer: whose body it is.
        earliest_s: nothing begins before.
        busy_until_s: per arm, when the last stroke of an earlier clause ends.
    Returns:
        Gestures in order of time.
    """
    placed: list[Placed] = []
    for choice in sorted(choices, key=lambda c: (c.word, -c.score)):
        performance = library.perform(choice.gloss, performer, dict(choice.params), variant=choice.variant)
        limbs = set(arms_of(performance) or ("head",))
        free = max([earliest_s, *((busy_until_s or {}).get(limb, 0.0) for limb in limbs)])
        rivals = [p for p in placed if limbs & set(arms_of(p.performance) or ("head",))]
        apex_s = words[choice.word].stress_s
        phases = _fit(performance.phases, apex_s, _after(rivals, free))
        tight = phases is None or _hurried(performance.phases, phases)
        if tight and choice.variant is not None and choice.source != "caller":
            # There is no time for this way of making it: a wide one would tear the arm up.
            choice = replace(choice, variant=None)
            performance = library.perform(choice.gloss, performer, dict(choice.params))
            phases = _fit(performance.phases, apex_s, _after(rivals, free))
        if phases is None and rivals and rivals[-1].choice.score < choice.score:
            phases = _fit(performance.phases, apex_s, _after(rivals[:-1], free))
            if phases is not None:
                placed = [p for p in placed if p is not rivals[-1]]
        if phases is None:
            continue
        natural = performance.phases
        warp = (phases.end_s - phases.start_s) / (natural.end_s - natural.start_s)
        placed.append(Placed(choice, retime(performance, phases), phases, warp))
    return sorted(placed, key=lambda p: p.phases.start_s)


def _hurried(natural: Phases, phases: Phases) -> bool:
    """Whether the way to the stroke is much shorter than it is by nature."""
    return phases.stroke_s - phases.start_s < UNHURRIED * (natural.stroke_s - natural.start_s)


def _after(rivals: Sequence[Placed], free_s: float) -> float:
    """When the last of their strokes is over, or `free_s` where that is later."""
    return max([free_s, *(p.phases.stroke_end_s for p in rivals)])


def _fit(natural: Phases, apex_s: float, free_s: float) -> Phases | None:
    """Sync points with the apex at `apex_s`, beginning on a frame after `free_s`; None where there is no time."""
    room = apex_s - free_s
    stroke = natural.stroke_s - natural.stroke_start_s
    before = natural.stroke_start_s - natural.start_s
    if room < stroke + before:
        stroke = max(SHORTEST_STROKE_S, min(stroke, SHARE_OF_STROKE * room))
        if room - stroke < min(before, SHORTEST_PREPARATION_S):
            return None
        before = min(before, room - stroke)
    # The performance's first frame must be a frame of the turn: preparation gives or takes half a frame.
    start = np.ceil((apex_s - stroke - before) * FPS - 1e-6) / FPS
    shrink = (apex_s - stroke - start) / max(natural.stroke_start_s - natural.start_s, 1e-6)
    ready = start + (natural.ready_s - natural.start_s) * shrink
    stroke_start = apex_s - stroke
    rest = apex_s - natural.stroke_s
    return Phases(
        float(start), float(min(ready, stroke_start)), float(stroke_start), float(apex_s),
        natural.stroke_end_s + rest, natural.relax_s + rest, natural.end_s + rest,
    )  # fmt: skip


def weights(phases: Phases, first_frame: int, frames: int) -> NDArray[np.float32]:
    """(frames,) how much of the clip shows: up from start to ready, down from relax to end, smoothly."""
    t = (first_frame + np.arange(frames)) / FPS
    up = np.clip((t - phases.start_s) / max(phases.ready_s - phases.start_s, 1e-3), 0, 1)
    down = np.clip((phases.end_s - t) / max(phases.end_s - phases.relax_s, 1e-3), 0, 1)
    x = np.minimum(up, down)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def compose(base: Motion, placed: Sequence[Placed], first_frame: int = 0) -> Motion:
    """Lay clips over a base motion.

    Args:
        base: frames `first_frame`.. of the turn.
        placed: gestures on the turn's clock, in order of time; parts outside the base are cut.
        first_frame: the turn's frame that frame 0 of the base is.
    """
    turned = base.rotations.copy()
    skeleton = base.skeleton
    home = relaxed_pose(skeleton)
    core = set(CORE_BONES)
    for item in placed:
        clip = item.performance.motion.rotations
        begin = item.first_frame - first_frame
        low, high = max(begin, 0), min(begin + len(clip), len(base))
        if low >= high:
            continue
        clip = clip[low - begin : high - begin]
        weight = weights(item.phases, first_frame + low, high - low)[:, None]
        arms = skeleton.indices(
            [bone for bone in item.performance.bones if bone not in core and bone in skeleton.names]
        )
        if len(arms):
            share = np.broadcast_to(weight, (high - low, len(arms)))
            turned[low:high, arms] = rotations.slerp(turned[low:high, arms], clip[:, arms], share)
        torso = skeleton.indices([bone for bone in item.performance.bones if bone in core])
        if len(torso):
            change = rotations.multiply(rotations.conjugate(home[torso]), clip[:, torso])
            share = np.broadcast_to(weight, (high - low, len(torso)))
            change = rotations.slerp(np.broadcast_to(rotations.IDENTITY, change.shape), change, share)
            turned[low:high, torso] = rotations.multiply(turned[low:high, torso], change)
    return replace(base, rotations=turned)


def overlay(motion: Motion, clips: Motion, placed: Sequence[Placed], first_frame: int = 0) -> Motion:
    """Lay the composed clips over their own strokes in a decoded or refined motion.

    Args:
        motion: frames `first_frame`.. of the turn.
        clips: the same frames of the composed clips (`compose` over a base).
        placed: which gestures, with the bones that each drives.
        first_frame: the turn's frame that frame 0 is.
    """
    turned = motion.rotations.copy()
    for item in placed:
        bones = motion.skeleton.indices([b for b in item.performance.bones if b in motion.skeleton.names])
        begin = item.first_frame - first_frame
        low, high = max(begin, 0), min(begin + len(item.performance.motion), len(motion))
        if low < high and len(bones):
            weight = weights(item.phases, first_frame + low, high - low)[:, None]
            share = np.broadcast_to(weight, (high - low, len(bones)))
            turned[low:high, bones] = rotations.slerp(turned[low:high, bones], clips.rotations[low:high, bones], share)
    return replace(motion, rotations=turned)

"""Is what a gesture promises true of the motion that is written? Measured on the exported BVH, read back.

Every turn is said whole (voice, tokens, codec, refiner, solver) with one gesture that the caller asks for; then the
file is measured at the gesture's stroke: the line of the index finger against a target, the distance of palms and of
fingertips, hands against the body, fingers that are shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent, Turn
from visavis.agent.work import GestureRequest
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.motion import rotations as rot
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.constraints import EFFECTORS, Constraint, residuals
from visavis.motion.kinematics import forward, tips
from visavis.motion.motion import FPS, Motion

__all__ = ["exported", "measure", "palm_distance_m", "pointing_error_deg", "shown_fingers"]

LINE: Final = "Have a good look at this here, because it is worth it."
WORD: Final = 6  # "here"
ANGLE_DEG: Final = 5.0
TOUCH_M: Final = 0.02
_PALM: Final = np.array([0.065, -0.018, 0.0])


def exported(agent: Agent, request: GestureRequest, folder: Path, text: str = LINE) -> tuple[Turn, Motion]:
    """A turn with one gesture, and its motion as the BVH has it."""
    turn = agent.say(text, gestures=[request])
    write_bvh(turn.motion, folder / "motion.bvh")
    return turn, read_bvh(folder / "motion.bvh")


def _at(turn: Turn) -> int:
    """The frame in the middle between stroke and its end."""
    gesture = turn.gestures[0]
    return round(0.5 * (gesture.stroke_s + gesture.stroke_end_s) * FPS)


def pointing_error_deg(motion: Motion, frame: int, side: str, target_m: NDArray[np.floating]) -> float:
    """The angle at the index finger's knuckle between the finger's line and the way to the target."""
    places, _ = forward(motion.rotations[frame : frame + 1], motion.root_m[frame : frame + 1], motion.skeleton)
    knuckle = places[0, motion.skeleton.index(f"{side}IndexProximal")]
    tip = tips(motion.slice(frame, frame + 1))[f"{side}IndexDistal"][0]
    line, way = tip - knuckle, np.asarray(target_m) - knuckle
    cosine = float(line @ way / np.linalg.norm(line) / np.linalg.norm(way))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def palm_distance_m(motion: Motion, frame: int) -> float:
    """Between the middles of the palms."""
    places, turned = forward(motion.rotations[frame : frame + 1], motion.root_m[frame : frame + 1], motion.skeleton)
    palms = []
    for side, sign in (("left", 1), ("right", -1)):
        i = motion.skeleton.index(f"{side}Hand")
        palms.append(places[0, i] + rot.rotate(turned[0, i], _PALM * (sign, 1, 1)))
    return float(np.linalg.norm(palms[0] - palms[1]))


def _pinch_m(motion: Motion, frame: int, side: str) -> float:
    ends = tips(motion.slice(frame, frame + 1))
    return float(np.linalg.norm(ends[f"{side}ThumbDistal"][0] - ends[f"{side}IndexDistal"][0]))


def shown_fingers(motion: Motion, frame: int, side: str) -> int:
    """Fingers that are stretched; the thumb counts when all four are."""
    one = motion.slice(frame, frame + 1)
    places, _ = forward(one.rotations, one.root_m, one.skeleton)
    ends, index = tips(one), one.skeleton.index
    hand, count = places[0, index(f"{side}Hand")], 0
    for finger in ("Index", "Middle", "Ring", "Little"):
        knuckle = places[0, index(f"{side}{finger}Proximal")]
        count += bool(np.linalg.norm(ends[f"{side}{finger}Distal"][0] - hand) > 1.35 * np.linalg.norm(knuckle - hand))
    thumb = ends[f"{side}ThumbDistal"][0] - places[0, index(f"{side}MiddleProximal")]
    return count + bool(count == 4 and np.linalg.norm(thumb) > 0.075)


def _targets(count: int, seed: int) -> NDArray[np.float64]:
    """(count, 3) places in the world that an arm can point at: in front and to the sides, from floor to ceiling."""
    rng = np.random.default_rng(seed)
    azimuth = rng.uniform(-np.radians(100), np.radians(100), count)
    height, far = rng.uniform(0.1, 2.4, count), rng.uniform(1.0, 6.0, count)
    return np.stack([far * np.sin(azimuth), height, far * np.cos(azimuth)], axis=1)


def measure(agent: Agent, targets: int = 200, seed: int = 0) -> Table:
    """Pointing, sizes, touches and counts."""
    table = Table("What gestures promise, in the exported motion")
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def one(gloss: str, params: Mapping[str, Any]) -> tuple[Turn, Motion, int]:
            turn, motion = exported(agent, GestureRequest(gloss, WORD, dict(params)), folder)
            return turn, motion, _at(turn)

        angles = []
        for target in progress(list(_targets(targets, seed)), "pointing"):
            turn, motion, frame = one("point away", {"target": tuple(float(x) for x in target)})
            angles.append(pointing_error_deg(motion, frame, turn.gestures[0].hand, target))
        table.add("pointing: angle off the target, median", median(angles), "deg")
        table.add(f"pointing: within {ANGLE_DEG:.0f} deg", share(a <= ANGLE_DEG for a in angles), "%", 100)
        details["angles_deg"] = [round(a, 2) for a in angles]
        rows = []
        for size in progress(list(np.linspace(0.05, 1.2, 24)), "sizes"):
            gloss = "tiny size" if size < 0.09 else "narrow gap" if size < 0.35 else "huge size"
            turn, motion, frame = one(gloss, {"size_m": float(size)})
            hand = turn.gestures[0].hand
            got = _pinch_m(motion, frame, hand) if gloss == "tiny size" else palm_distance_m(motion, frame)
            rows.append((gloss, float(size), got))
        off = [abs(got - size) for _, size, got in rows]
        table.add("sizes: off, median", median(off), "mm", 1000)
        near = [o <= max(0.05 * size, 0.01) for o, (_, size, _) in zip(off, rows, strict=True)]
        table.add("sizes: within 5 % or 1 cm", share(near), "%", 100)
        details["sizes_m"] = [[g, round(s, 3), round(x, 3)] for g, s, x in rows]
        touches = []
        for gloss in progress(list(agent.tools.library.lexicon.glosses), "touches"):
            if not agent.tools.library.perform(gloss, agent.tools.performer).constraints:
                continue
            turn, motion, frame = one(gloss, {})
            for constraint in _touching(turn):
                touches.append((gloss, _missed_m(motion, constraint, frame)))
        table.add("touches: off, median", median([m for _, m in touches]), "mm", 1000)
        table.add("touches: within 2 cm", share(m <= TOUCH_M for _, m in touches), "%", 100)
        details["touches_m"] = [[g, round(m, 4)] for g, m in touches]
        counts = []
        for count in (1, 2, 3, 4, 5):
            turn, motion, _ = one("counting", {"count": count})
            gesture = turn.gestures[0]
            frame = round((gesture.stroke_end_s - 0.07) * FPS)
            counts.append((count, shown_fingers(motion, frame, gesture.hand)))
        table.add("counts: right number of fingers", share(a == b for a, b in counts), "%", 100)
        details["counts"] = counts
    table.details = details
    return table


def _touching(turn: Turn) -> list[Constraint]:
    """The promises of a turn that a hand is at a place of the body."""
    found = []
    for c in turn.record.constraints:
        at = c.target_m
        if at is not None and c.frame not in ("world", "partner"):
            effector = next(e for e in EFFECTORS if e == _effector(turn, c.source, c.bone))
            found.append(Constraint(c.bone, c.frame, (at[0], at[1], at[2]), None, c.from_s, c.to_s, c.source, effector))
    return found


def _effector(turn: Turn, gloss: str, bone: str) -> str:
    """Which point of the hand a gesture touches with; records do not say."""
    from visavis.retrieval.lexicon import load_lexicon
    from visavis.retrieval.posing import perform

    made = perform(load_lexicon()[gloss], variant=turn.gestures[0].clip.rpartition("/")[2] or "plain")
    return next((c.effector for c in made.constraints if c.bone == bone), "palm")


def _missed_m(motion: Motion, constraint: Constraint, frame: int) -> float:
    """How far the hand is from the place at a frame, or at the nearest frame inside the promise."""
    inside = min(max(frame, round(constraint.from_s * FPS)), round(constraint.to_s * FPS))
    one = motion.slice(inside, inside + 1)
    still = Constraint(
        constraint.bone, constraint.frame, constraint.target_m, None, 0.0, 0.0, constraint.source, constraint.effector
    )
    return residuals(one, [still])[0][0]

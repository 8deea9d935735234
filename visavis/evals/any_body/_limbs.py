"""Our gestures on bodies whose limbs have other lengths, and back again.

A clip without a touch is one whose hands stay farther than 15 mm from the body and each other. Among these a clip
without contact is one in which no hand is guided to anything, neither here nor on the other body; the others have a row
of their own: a hand that rests near something (a fist before the mouth), or that long arms bring upon the other hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.evals.first_light.table import Table, progress, share
from visavis.metrics.bootstrap import bootstrap
from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint
from visavis.motion.contacts import touching
from visavis.motion.ik import arm_span
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.nearness import gaps_m
from visavis.motion.retarget import retarget
from visavis.motion.skeleton import Skeleton, default_skeleton
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performance, Performer, perform

__all__ = ["Touch", "contact_errors_m", "effector_m", "measure_limbs", "other_limbs", "touches_of"]

_RATIOS: Final = (0.7, 1.3)
_BODIES: Final = 8
_SIDES: Final = ("left", "right")
_PALM_M: Final = (0.065, -0.018, 0.0)
# An effector that is this near to its landmark touches it; palms that are this near have met; what may be missed.
_TOUCH_M: Final = 0.03
_REACHED_M: Final = 0.05
_PALMS_MEET_M: Final = 0.03
_CONTACT_M: Final = 0.02
# A gesture whose hands never come nearer than this to the body or each other has no contact.
_CLEAR_M: Final = 0.015


def other_limbs(rng: np.random.Generator) -> Skeleton:
    """Our skeleton with upper arms, forearms, thighs and shins each of another length, by ratios in [0.7, 1.3]."""
    ours = default_skeleton()
    offsets = ours.offsets_m.copy()
    for bone in ("LowerArm", "Hand", "LowerLeg", "Foot"):
        ratio = rng.uniform(*_RATIOS)
        for side in ("left", "right"):
            offsets[ours.index(side + bone)] *= np.float32(ratio)
    stand = Skeleton(ours.names, ours.parents, offsets, ours.tips_m)
    foot = ours.index("leftFoot")
    offsets[0, 1] += ours.rest_positions_m[foot, 1] - stand.rest_positions_m[foot, 1]
    return Skeleton(ours.names, ours.parents, offsets, ours.tips_m)


def _palms_apart_m(motion: Motion) -> NDArray[np.float32]:
    """(T,) metres between the two palms."""
    marks = [Constraint(f"{side}Hand", "world", (0.0, 0.0, 0.0), None, 0.0, 0.0, "", "palm") for side in _SIDES]
    places = [effector_m(motion, mark) for mark in marks]
    return np.asarray(np.linalg.norm(places[0] - places[1], axis=-1))


def effector_m(motion: Motion, constraint: Constraint) -> NDArray[np.float32]:
    """(T, 3) a constraint's effector in its frame ("world" or a bone), metres."""
    places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    skeleton = motion.skeleton
    side = constraint.bone.removesuffix("Hand")
    if constraint.effector.endswith("_tip"):
        bone = f"{side}{constraint.effector.removesuffix('_tip').capitalize()}Distal"
        i, local = skeleton.index(bone), skeleton.tips_m[bone]
    else:
        i = skeleton.index(constraint.bone)
        local = np.array(_PALM_M if constraint.effector == "palm" else (0, 0, 0), np.float32)
        local = local * np.array([1 if side == "left" else -1, 1, 1], np.float32)
    point = places[:, i] + rot.rotate(turned[:, i], local)
    if constraint.frame == "world":
        return point
    j = skeleton.index("upperChest" if constraint.frame == "chest" else constraint.frame)
    return rot.rotate(rot.conjugate(turned[:, j]), point - places[:, j])


@dataclass(frozen=True)
class Touch:
    """How a touch comes out on another body, metres.

    Attributes:
        missed_m: by how far it misses its place in the worst frame it is held.
        lacks_m: what the arm is too long or too short for that place even if nothing but its lengths counted: the
            elbow straight or folded, the hand turned anywhere, the clavicle as it is; 0 where only joint limits or the
            way there matter.
    """

    missed_m: float
    lacks_m: float


def _lacks_m(other: Motion, side: str, effector: str, wanted: NDArray[np.float32], frame: int) -> float:
    """What an arm lacks to bring an effector to a place (3,) in the world in one frame, metres."""
    places, _ = forward(other.rotations, other.root_m, other.skeleton)
    shoulder, wrist = places[frame, other.skeleton.indices([f"{side}UpperArm", f"{side}Hand"])]
    mark = Constraint(f"{side}Hand", "world", (0.0, 0.0, 0.0), None, 0.0, 0.0, "", effector)
    tip = effector_m(other, mark)[frame]
    hand = float(np.linalg.norm(tip - wrist))
    least, most = arm_span(other.skeleton, side)
    far = float(np.linalg.norm(wanted - shoulder))
    return max(least - hand - far, far - most - hand, 0.0)


def touches_of(performance: Performance, other: Motion) -> list[Touch]:
    """Every touch of a gesture on the other body.

    Touches are the gesture's own promises (an effector at a place of head or chest), and palms that meet.
    """
    motion, out = performance.motion, []
    time, near = np.arange(len(motion)) / motion.fps, gaps_m(motion)
    for c in performance.constraints:
        if c.target_m is None or c.frame not in ("head", "upperChest") or c.effector == "point":
            continue
        side = c.bone.removesuffix("Hand")
        held = np.flatnonzero((time >= c.from_s) & (time <= c.to_s))
        if float(np.median(near[side][held])) > _REACHED_M:
            continue  # a cup is at the mouth, no hand
        before, after = (effector_m(one, c)[held] for one in (motion, other))
        if not len(before) or np.linalg.norm(before - np.array(c.target_m), axis=-1).max() >= _TOUCH_M:
            continue
        missed = np.linalg.norm(after - before, axis=-1)
        frame = int(held[missed.argmax()])
        places, turned = forward(other.rotations, other.root_m, other.skeleton)
        i = other.skeleton.index(c.frame)
        wanted = places[frame, i] + rot.rotate(turned[frame, i], before[missed.argmax()])
        out.append(Touch(float(missed.max()), _lacks_m(other, side, c.effector, wanted, frame)))
    before, after = _palms_apart_m(motion), _palms_apart_m(other)
    met = before < _PALMS_MEET_M
    if met.any():
        out.append(Touch(float(np.abs(after - before)[met].max()), 0.0))
    return out


def contact_errors_m(performance: Performance, other: Motion) -> list[float]:
    """By how far every touch of a gesture misses its place on the other body; metres, as in `Touch`."""
    return [touch.missed_m for touch in touches_of(performance, other)]


def measure_limbs(table: Table, limit: int | None = None, seed: int = 0) -> None:
    """Add the rows of the gestures to a table: there and back without contact, contacts on the other body."""
    rng = np.random.default_rng(seed)
    gestures = list(load_lexicon().values())
    away: list[tuple[float, str, str]] = []
    back_again: list[float] = []
    near: list[float] = []
    errors: list[float] = []
    far: list[tuple[float, float, str]] = []
    for _ in progress(range(limit or _BODIES), "other limbs"):
        body = other_limbs(rng)
        for gesture in gestures:
            performance = perform(gesture, Performer.neutral())
            motion = performance.motion
            there = retarget(motion, body)
            back = retarget(there, motion.skeleton)
            worst = float(np.degrees(rot.angle_between(back.rotations, motion.rotations)).max())
            touches = touches_of(performance, there)
            for touch in touches:
                errors.append(touch.missed_m)
                if touch.missed_m > _CONTACT_M:
                    far.append((round(touch.missed_m * 1000, 1), round(touch.lacks_m * 1000, 1), gesture.gloss))
            if not touches and min(float(gap.min()) for gap in gaps_m(motion).values()) > _CLEAR_M:
                guided = bool(touching(motion).any() or touching(there).any())
                (near if guided else back_again).append(worst)
                if worst > 1.0:
                    away.append((round(worst, 2), gesture.gloss, "near" if guided else "free"))
    table.add("limbs × 0.7-1.3, no touch: clips back within 1°", share(w <= 1.0 for w in back_again + near), "%", 100)
    table.add("limbs × 0.7-1.3, no contact: clips back within 1°", share(w <= 1.0 for w in back_again), "%", 100)
    table.add("limbs × 0.7-1.3, no contact: worst joint and frame", bootstrap(back_again, np.max), "°")
    table.add("limbs × 0.7-1.3, near something: clips back within 1°", share(w <= 1.0 for w in near), "%", 100)
    table.add("limbs × 0.7-1.3, near something: worst joint and frame", bootstrap(near, np.median), "°")
    table.add("limbs × 0.7-1.3: contacts within 2 cm", share(e <= _CONTACT_M for e in errors), "%", 100)
    table.add("limbs × 0.7-1.3: contact error", bootstrap(errors), "mm", 1000)
    table.details["limbs: back by more than 1°"] = sorted(away, reverse=True)
    table.details["limbs: contacts off by more than 2 cm (mm, what the arm lacks in mm)"] = sorted(far, reverse=True)

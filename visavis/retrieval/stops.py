"""What the arms do at the sync points of a gesture: from keys of the lexicon to wrists and hands that a body can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.ik import solve_arm
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.aiming import CHEST_M, Aim
from visavis.retrieval.arm import FLIP, arm_length_m, elbow_inside, forearm, home, landmark, orientation, split, twisted
from visavis.retrieval.hand_shapes import effector, hand_shape, pinch
from visavis.retrieval.lexicon import Gesture, Key

__all__ = ["Arm", "Pose", "arms_at_stops"]

Array = NDArray[np.float32]

# A gesture's reach when it is made larger or smaller grows from here (arm lengths).
_PIVOT: Final = np.array([0.35, -0.25, 0.40])
_SWIVELS: Final = np.radians([0.0, -15.0, -30.0, 15.0, 30.0, 45.0, 60.0]).astype(np.float32)


@dataclass(frozen=True)
class Pose:
    """One stop of one arm: a key, how often the stroke was shifted, and the shape of the hand."""

    key: Key
    shift: int
    shape: str


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm at its S stops, as a left arm.

    Attributes:
        side: whose arm it is.
        wrist: (S, 3) in the chest frame, metres.
        values: (S, 51) pronation, bend (3), swivel, lift of the shoulder, fingers (15 rotation vectors); radians.
        exact: (S,) where the wrist touches or is aimed: no noise, no pushing.
        poses: what was asked for.
    """

    side: str
    wrist: NDArray[np.float64]
    values: Array
    exact: NDArray[np.bool_]
    poses: list[Pose]


def _inherit(keys: tuple[Key, ...]) -> dict[str, Key]:
    """Keys by sync point, what is left out taken from the key before."""
    out: dict[str, Key] = {}
    last: Key | None = None
    for key in keys:
        if last is not None:
            update: dict[str, Any] = {
                name: getattr(last, name)
                for name in ("palm", "fingers", "shape", "swivel", "lift")
                if getattr(key, name) is None
            }
            if key.wrist is None and key.touch is None:
                update |= {"wrist": last.wrist, "touch": last.touch}
            key = key.model_copy(update=update)
        out[key.at] = last = key
    return out


def _poses(gesture: Gesture, keys: tuple[Key, ...], repeats: int, alternate: bool) -> list[Pose]:
    """The poses of one arm in order: ready, stroke start, stroke, (back, stroke)*, stroke end."""
    named = _inherit(keys)
    ready = named["ready"]
    start = named.get("stroke_start", ready)
    stroke = named.get("stroke", start)
    back = named.get("back", start)
    end = named.get("stroke_end")
    if alternate:
        stroke, back = back, stroke
    shapes = gesture.strokes.shapes

    def pose(key: Key, shift: int, number: int | None = None) -> Pose:
        shape = key.shape or "relaxed"
        if shapes and number is not None:
            shape = shapes[min(number, len(shapes) - 1)]
        return Pose(key, shift, shape)

    out = [pose(ready, 0), pose(start, 0), pose(stroke, 0, 0)]
    for n in range(1, repeats):
        out += [pose(back, n, n - 1), pose(stroke, n, n)]
    out.append(pose(end, repeats - 1) if end else out[-1])
    return out


def _fingers(pose: Pose, aim: Aim) -> Array:
    if aim.pinch_gap_m is not None and pose.shape.startswith("pinch"):
        return pinch(aim.pinch_gap_m + (0.045 if pose.shape == "pinch_open" else 0.0))
    return hand_shape(pose.shape)


def arms_at_stops(
    gesture: Gesture,
    aim: Aim,
    head: tuple[Array, Array],
    amplitude: float,
    openness: float,
    rng: np.random.Generator,
) -> list[Arm]:
    """All arms of a gesture, solved together.

    Args:
        gesture: of the lexicon.
        aim: its parameters.
        head: place (S, 3) and orientation (S, 4) of the head in the chest frame at the stops.
        amplitude: size of free keys.
        openness: -1 to 1, wrists and elbows close or far.
        rng: of the small asymmetry between the arms.

    Returns:
        the main arm first; none for gestures of the head.
    """
    asked = aim.arms(gesture)
    if not asked:
        return []
    sides = [side for side, _, _ in asked]
    poses = [_poses(gesture, keys, aim.repeats, alternate) for _, keys, alternate in asked]
    stops, unit = len(poses[0]), arm_length_m()
    size = stops * len(sides)
    wrist, goal, offset = (np.zeros((size, 3), np.float32) for _ in range(3))
    hand = np.tile(rot.IDENTITY, (size, 1))
    touching, loose, exact = (np.zeros(size, bool) for _ in range(3))
    swivel = np.full(size, np.nan, np.float32)
    facing = rot.conjugate(home().head[1])
    for a, side in enumerate(sides):
        place, turned = (head[0] * FLIP, rot.mirror(head[1])) if side == "right" else head
        jitter = np.zeros(3) if aim.symmetric else rng.normal(0.0, 0.012, 3)
        for s, pose in enumerate(poses[a]):
            i, key = a * stops + s, aim.aimed(pose.key, side)
            exact[i] = aim.exact(key)
            if key.swivel is not None:
                swivel[i] = np.radians(key.swivel)
            if key.palm is None or key.fingers is None:
                loose[i] = True
            else:
                hand[i] = orientation(key.palm, key.fingers)
            if key.touch is not None:
                bone, at = landmark(key.touch.landmark)
                at = at + np.array(key.touch.offset_m, np.float32)
                if bone == "head":
                    hand[i] = rot.multiply(rot.multiply(turned[s], facing), hand[i])
                    at = place[s] + rot.rotate(turned[s], at)
                goal[i], offset[i], touching[i] = at, effector(key.touch.effector, pose.shape), True
                continue
            to = np.array(key.wrist) + pose.shift * np.array(gesture.strokes.shift)
            if not exact[i]:
                to = _PIVOT + amplitude * (to - _PIVOT) + jitter
                to[0] += 0.07 * openness
            wrist[i] = to * unit
    reach = np.where(touching[:, None], goal - rot.rotate(hand, offset), wrist)
    angle, bend, got, swivel = _easiest(reach, hand, loose, swivel)
    palm = effector("palm", "flat")
    for _ in range(3):  # hand and wrist depend on each other where the wrist cannot turn as far as asked
        reach = np.where(touching[:, None], goal - rot.rotate(got, offset), reach)
        if aim.palm_distance_m is not None:
            out = 0.5 * aim.palm_distance_m - rot.rotate(got, palm)[:, 0]
            reach[:, 0] = np.where(exact, out, reach[:, 0])
        if aim.height_m is not None:
            up = aim.height_m - CHEST_M[1] - rot.rotate(got, palm)[:, 1]
            reach[:, 1] = np.where(exact, up, reach[:, 1])
        if not (touching.any() or exact.any()):
            break
        angle, bend, got, _ = _turned(reach, hand, loose, swivel)
    swivel = (swivel + np.radians(12.0) * openness * ~touching).astype(np.float32)
    fixed = touching | exact
    out_arms = []
    for a, side in enumerate(sides):
        part = slice(a * stops, (a + 1) * stops)
        lift = np.radians([pose.key.lift or 0.0 for pose in poses[a]]).astype(np.float32)
        fingers = np.stack([_fingers(pose, aim).ravel() for pose in poses[a]])
        values = np.column_stack([angle[part], bend[part], swivel[part], lift, fingers]).astype(np.float32)
        out_arms.append(Arm(side, reach[part].astype(np.float64), values, fixed[part], poses[a]))
    return out_arms


def _turned(reach: Array, hand: Array, loose: NDArray[np.bool_], swivel: Array) -> tuple[Array, Array, Array, Array]:
    """Pronation (N,), bend (N, 3), hand as it comes out (N, 4) and the arms (N, 4, 4) at wrists (N, 3)."""
    local = solve_arm(default_skeleton(), "left", reach, None, swivel)
    above = forearm(local)
    angle, bend = split(above, hand)
    angle = np.where(loose, np.float32(0.0), angle)
    bend = np.where(loose[:, None], np.float32(0.0), bend)
    full = twisted(local, angle, bend)
    return angle, bend, rot.multiply(forearm(full), full[:, 3]), local


def _easiest(
    reach: Array, hand: Array, loose: NDArray[np.bool_], given: Array
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Pronation, bend, hand and swivel (N,) with the elbow where it is easiest on the wrist and outside the chest."""
    size, tries = len(reach), len(_SWIVELS)
    tried = np.where(np.isnan(given), _SWIVELS[:, None], given).ravel()
    free = np.tile(loose, tries)
    wanted = np.tile(hand, (tries, 1))
    angle, bend, got, local = _turned(np.tile(reach, (tries, 1)), wanted, free, tried)
    miss = np.where(free, 0.0, rot.angle_between(got, wanted))
    cost = 3 * miss + 0.5 * np.abs(angle) + 0.3 * np.linalg.norm(bend, axis=1) + 0.25 * np.abs(tried)
    cost += 4 * elbow_inside(local)
    pick = np.argmin(cost.reshape(tries, size), axis=0) * size + np.arange(size)
    return angle[pick], bend[pick], got[pick], tried[pick]

"""Standing at ease: the pose that gestures leave from and return to, and the small life that never stops.

Breathing in chest and shoulders, weight that wanders from foot to foot, a head that is never quite still. Everything
is a function of absolute time and a seed: two calls that share both continue one another without a seam.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.feet import plant
from visavis.motion.ik import FOREARM_SHARE, solve_arm
from visavis.motion.motion import FPS, Motion
from visavis.motion.skeleton import FINGERS, Skeleton, default_skeleton

__all__ = ["idle", "relaxed_pose"]

Array = NDArray[np.float32]
Times = NDArray[np.float64]  # seconds; double, because the clock runs for hours

# Wrist of the left arm at ease, from the shoulder joint, metres: a little away from the thigh, a little forward.
_WRIST: Final = (0.082, -0.482, 0.055)
# Palms turn a little backwards, and the wrist hangs a little flexed and towards the little finger (degrees).
_PRONATION, _FLEXION = 16.0, 7.0
# Degrees of curl of the proximal, intermediate and distal joints from index to little finger.
_CURL: Final = ((16.0, 22.0, 12.0), (22.0, 28.0, 15.0), (26.0, 32.0, 17.0), (28.0, 34.0, 18.0))
# The weight changes once in each slot of time, and is done before the slot ends: when in it (share of the slot), over
# how many seconds, to how much of a side, and whether to the odd side. The even one is the other side in every slot.
_SHIFT_EVERY_S, _SHIFT_ODD = 9.4, 0.15
_SHIFT_LEAST, _SHIFT_MOST = (0.0, 1.1, 0.15, 0.0), (0.75, 2.2, 0.9, 1.0)
_WEIGHT: Final = 21  # its own chance: the slots before must not decide how the rest of the body lives
_SIDES: Final = (("left", 1.0), ("right", -1.0))


def _euler(x: ArrayLike = 0.0, y: ArrayLike = 0.0, z: ArrayLike = 0.0) -> Array:
    """(..., 4) small turns in degrees as one rotation vector: x nods, y turns to the left, z leans to the right."""
    return rot.from_rotation_vector(np.radians(np.stack(np.broadcast_arrays(x, y, z), axis=-1)))


@lru_cache(maxsize=8)
def _relaxed(skeleton: Skeleton) -> Array:
    pose = np.tile(rot.IDENTITY, (len(skeleton), 1))
    left = {name: skeleton.index(f"left{name}") for name in ("Shoulder", "UpperArm", "LowerArm", "Hand")}
    joint = skeleton.offsets_m[left["Shoulder"]] + skeleton.offsets_m[left["UpperArm"]]
    arm = solve_arm(skeleton, "left", (joint + np.array(_WRIST, np.float32))[None])[0]
    pose[list(left.values())] = arm
    pose[left["LowerArm"]] = rot.multiply(arm[2], _euler(x=FOREARM_SHARE * _PRONATION))
    pose[left["Hand"]] = rot.multiply(_euler(x=(1 - FOREARM_SHARE) * _PRONATION), _euler(z=-_FLEXION))
    for finger, curl in zip(FINGERS[1:], _CURL, strict=True):
        for joint_name, degrees in zip(("Proximal", "Intermediate", "Distal"), curl, strict=True):
            pose[skeleton.index(f"left{finger}{joint_name}")] = _euler(z=-degrees)
    # The thumb lies beside the index finger, turned a little towards the palm.
    pose[skeleton.index("leftThumbMetacarpal")] = _euler(x=22.0, y=8.0, z=-14.0)
    pose[skeleton.index("leftThumbProximal")] = _euler(y=12.0, z=-8.0)
    pose[skeleton.index("leftThumbDistal")] = _euler(y=14.0, z=-4.0)
    for name in skeleton.names:
        if name.startswith("left"):
            pose[skeleton.index("right" + name[4:])] = rot.mirror(pose[skeleton.index(name)])
    # A spine with its curves: the chest a little forward of the hips, the head level.
    for name, nod in (("spine", 1.5), ("chest", -1.0), ("upperChest", 1.5), ("neck", 4.0), ("head", -6.0)):
        pose[skeleton.index(name)] = _euler(x=nod)
    return pose


def relaxed_pose(skeleton: Skeleton | None = None) -> Array:
    """(J, 4) the HOME pose: arms hanging naturally beside the thighs, elbows and fingers slightly bent."""
    return _relaxed(skeleton or default_skeleton()).copy()


def _wander(rng: np.random.Generator, time_s: Times, period_s: float, waves: int = 4) -> Array:
    """(T,) smooth aimless movement of about unit size: sines around a period, with random phases."""
    rate = 2 * np.pi / (period_s * np.exp(rng.uniform(-0.7, 0.7, waves)))
    phase = rng.uniform(0, 2 * np.pi, waves)
    size = rng.uniform(0.5, 1.0, waves)
    return (np.sin(time_s[:, None] * rate + phase) @ size / np.linalg.norm(size)).astype(np.float32)


def _shift(seed: int, slot: int) -> tuple[float, float, float]:
    """The change of weight in one slot of time: when it begins, how long it takes, and to where."""
    rng = np.random.default_rng((seed, _WEIGHT, slot & 0xFFFFFFFF))
    moment, lasts, share, same = rng.uniform(_SHIFT_LEAST, _SHIFT_MOST)
    side = (1.0 if (slot + seed) % 2 else -1.0) * (-1.0 if same < _SHIFT_ODD else 1.0)
    return (slot + moment) * _SHIFT_EVERY_S, lasts, side * share


def _weight(seed: int, time_s: Times) -> Array:
    """(T,) where the weight is, -1 on the right foot to 1 on the left: rests with smooth changes between."""
    first, last = (int(np.floor(t / _SHIFT_EVERY_S)) for t in (time_s[0], time_s[-1]))
    value = _shift(seed, first - 1)[2]
    weight = np.full(len(time_s), value)
    for slot in range(first, last + 1):
        moment, lasts, goal = _shift(seed, slot)
        t = np.clip((time_s - moment) / lasts, 0.0, 1.0)
        weight += (goal - value) * t**3 * (10 - 15 * t + 6 * t * t)  # least jerk (Flash & Hogan 1985)
        value = goal
    return weight.astype(np.float32)


def _breath(rng: np.random.Generator, time_s: Times) -> Array:
    """(T,) 0 out to 1 in, about 14 breaths a minute, drawn in faster than let out."""
    rate = 2 * np.pi / rng.uniform(3.7, 4.8)
    phase = rate * time_s + rng.uniform(0, 2 * np.pi) + 0.25 * _wander(rng, time_s, 17.0)
    return (0.5 - 0.5 * np.cos(phase + 0.35 * np.sin(phase))).astype(np.float32)


def idle(frames: int, seed: int, start_s: float = 0.0, skeleton: Skeleton | None = None) -> Motion:
    """Stand at ease, alive.

    Args:
        frames: how many, at 30 fps.
        seed: of the person and the moment; no two are alike.
        start_s: time of the first frame; calls with one seed continue one another.
        skeleton: the body; the default avatar's if None.

    Returns:
        Motion (T, J) with planted feet and no face track.
    """
    skeleton = skeleton or default_skeleton()
    if frames <= 0:
        return Motion.rest(0, skeleton)
    rng = np.random.default_rng(seed)
    time_s = start_s + np.arange(frames) / FPS
    weight, breath = _weight(seed, time_s), _breath(rng, time_s)
    pose = np.tile(relaxed_pose(skeleton), (frames, 1, 1))
    turns: dict[str, tuple[ArrayLike, ArrayLike, ArrayLike]] = {}

    def turn(bone: str, x: ArrayLike = 0.0, y: ArrayLike = 0.0, z: ArrayLike = 0.0) -> None:
        turns[bone] = (x, y, z)

    habit = rng.uniform(-1, 1, 4)
    turn("spine", 0.6 * _wander(rng, time_s, 9.0), 1.2 * _wander(rng, time_s, 12.0), 0.5 * _wander(rng, time_s, 10.0))
    turn("chest", -0.9 * breath + 0.4 * _wander(rng, time_s, 8.0), 0.8 * _wander(rng, time_s, 11.0) + 1.2 * habit[0])
    turn("upperChest", -1.1 * breath)
    turn("neck", 0.7 * breath + 0.6 * _wander(rng, time_s, 5.0), 0.9 * _wander(rng, time_s, 6.0), -0.7 * weight)
    turn(
        "head",
        0.9 * breath + 1.3 * _wander(rng, time_s, 4.0) + habit[1],
        2.0 * _wander(rng, time_s, 5.5),
        1.1 * _wander(rng, time_s, 7.0) + 1.5 * habit[2] - 0.6 * weight,
    )
    for side, sign in _SIDES:
        turn(f"{side}Shoulder", 0.0, 0.0, sign * (1.3 * breath - 0.6))
        swing, out = _wander(rng, time_s, 6.0), _wander(rng, time_s, 8.0)
        habit_out, habit_bend = rng.uniform(-1, 1, 2)
        # A hanging left arm lies along its own +X: Z carries it away from the thigh, Y swings it forward.
        turn(
            f"{side}UpperArm", 0.0, sign * (-0.9 * swing - 1.0 * habit_bend), sign * (0.8 + 0.5 * out + 0.8 * habit_out)
        )
        turn(f"{side}LowerArm", 0.0, sign * (-1.2 * _wander(rng, time_s, 7.0) - 2.5 * habit_bend - 1.0), 0.0)
        turn(f"{side}Hand", 0.0, 0.0, sign * 1.5 * _wander(rng, time_s, 6.0))
        curl = 2.5 * _wander(rng, time_s, 9.0) + 3.0 * rng.uniform(-1, 1)
        for finger in FINGERS[1:]:
            turn(f"{side}{finger}Proximal", 0.0, 0.0, -sign * curl)
            turn(f"{side}{finger}Intermediate", 0.0, 0.0, -sign * 0.8 * curl)
    bones = skeleton.indices(list(turns))
    track = np.zeros((frames, len(turns), 3))
    for k, angles in enumerate(turns.values()):
        for axis, angle in enumerate(angles):
            track[:, k, axis] = angle
    pose[:, bones] = rot.multiply(pose[:, bones], rot.from_rotation_vector(np.radians(track)))
    root = np.tile(skeleton.offsets_m[0], (frames, 1))
    root[:, 2] += 0.006 * _wander(rng, time_s, 7.0)
    return plant(Motion(pose, root, None, skeleton), weight)

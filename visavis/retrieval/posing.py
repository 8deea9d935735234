"""The posing engine: a gesture of the lexicon, performed by a body.

`perform` makes a motion from HOME (arms hanging) through the gesture and back, `retime` bends its time so that its sync
points fall where speech wants them. Wrists run minimum-jerk segments on curved paths in the chest frame; the apex of
the stroke (its speed fallen to a quarter of the peak) falls exactly on `phases.stroke_s`, for repeated strokes that of
the first. Both arms are computed as left arms and the right one is mirrored. Nothing here knows of words or speech.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint
from visavis.motion.idle import relaxed_pose
from visavis.motion.ik import FOREARM_SHARE, solve_arm, split_pronation
from visavis.motion.kinematics import forward
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, default_skeleton
from visavis.retrieval.aiming import Aim, aim_constraints, resolve
from visavis.retrieval.hand_shapes import effector, hand_shape, pinch
from visavis.retrieval.lexicon import CoreKey, Gesture, Key
from visavis.retrieval.trajectory import APEX_AT, PEAK_SPEED, curve, path, pink, track

__all__ = ["Performance", "Performer", "perform", "retime"]

Array = NDArray[np.float32]

# A gesture's reach when it is made larger or smaller grows from here (arm lengths).
_PIVOT: Final = np.array([0.35, -0.25, 0.40])
_MAX_WRIST_M_S: Final = 3.4
_FINGER_LAG_S: Final = 0.05
_SWIVELS: Final = np.radians([0.0, -15.0, -30.0, 15.0, 30.0, 45.0, 60.0]).astype(np.float32)
_DIRECTIONS: Final = {
    "out": (1.0, 0.0, 0.0), "in": (-1.0, 0.0, 0.0), "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0), "forward": (0.0, 0.0, 1.0), "backward": (0.0, 0.0, -1.0),
}  # fmt: skip
_FLIP: Final = np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True)
class Performer:
    """How somebody gestures.

    Attributes:
        seed: of all small variation; the same performer repeats itself exactly.
        amplitude: size of free movements, 1 is plain; what must be exact or touch is not scaled.
        tempo: 1 is the natural pace of the lexicon, 2 twice as fast.
        handedness: "right" or "left"; mirrors one-handed gestures.
        openness: -1 (elbows and wrists close to the body) to 1 (far out).
        curvature: how bowed the wrist's paths are, 1 is plain.
        head_style: how much head and torso take part on their own, 0 to 2.
    """

    seed: int = 0
    amplitude: float = 1.0
    tempo: float = 1.0
    handedness: str = "right"
    openness: float = 0.0
    curvature: float = 1.0
    head_style: float = 1.0

    @classmethod
    def neutral(cls) -> Performer:
        """Plain in everything."""
        return cls()

    @classmethod
    def random(cls, rng: np.random.Generator) -> Performer:
        """Somebody: nine of ten are right-handed."""
        return cls(
            seed=int(rng.integers(2**31)),
            amplitude=float(np.exp(rng.normal(0.0, 0.16)).clip(0.65, 1.4)),
            tempo=float(np.exp(rng.normal(0.0, 0.12)).clip(0.75, 1.3)),
            handedness="left" if rng.random() < 0.1 else "right",
            openness=float(rng.normal(0.0, 0.4).clip(-1.0, 1.0)),
            curvature=float(np.exp(rng.normal(0.0, 0.35)).clip(0.4, 2.0)),
            head_style=float(rng.uniform(0.3, 1.8)),
        )


@dataclass(frozen=True, eq=False)
class Performance:
    """A gesture made.

    Attributes:
        gloss: which.
        motion: from HOME to HOME; its first frame is at `phases.start_s`.
        phases: sync points in seconds.
        bones: the bones it drives; the others are at HOME and may do something else.
        constraints: what must hold exactly, on the clock of `phases`.
        hand: the side of the main hand, "both" or "none".
        params: the parameters it was made with, defaults filled in.
        face: a hint of ARKit weights while the gesture lasts.
    """

    gloss: str
    motion: Motion
    phases: Phases
    bones: tuple[str, ...]
    constraints: list[Constraint]
    hand: str
    params: dict[str, Any]
    face: dict[str, float]


@dataclass(frozen=True)
class _Pose:
    """One stop of one arm, as a left arm: a key, how often the stroke was shifted, and the shape of the hand."""

    key: Key
    shift: int
    shape: str


@dataclass(frozen=True, eq=False)
class _Home:
    """HOME: the whole pose, and each arm as a left arm in the terms of the inverse kinematics."""

    pose: Array  # (J, 4)
    arms: dict[str, Array]  # side → (19, 4), as a left arm
    wrist: dict[str, Array]  # side → (3,)
    twist: dict[str, Array]  # side → (4,) pronation and bend of the hand
    rest: dict[str, Array]  # side → (4, 4) rotation vectors? residual of the solver at HOME
    head: tuple[Array, Array]  # of the head bone in the chest frame


@lru_cache(maxsize=1)
def _home() -> _Home:
    skeleton = default_skeleton()
    pose = np.asarray(relaxed_pose(skeleton), np.float32)
    places, turned = forward(pose[None], skeleton.offsets_m[:1], skeleton)
    chest = skeleton.index("upperChest")
    to_chest = rot.conjugate(turned[0, chest])
    arms, wrists, twists, rest = {}, {}, {}, {}
    for side in ("left", "right"):
        local = pose[skeleton.part(side)]
        i = skeleton.index(f"{side}Hand")
        wrist = rot.rotate(to_chest, places[0, i] - places[0, chest])
        hand = rot.multiply(to_chest, turned[0, i])
        if side == "right":
            local, wrist, hand = rot.mirror(local), wrist * _FLIP, rot.mirror(hand)
        solved = solve_arm(skeleton, "left", wrist[None], None, np.zeros(1, np.float32))
        angle, bend = _split(_chain(solved), hand[None])
        solved = _twisted(solved, angle, bend)[0]
        arms[side], wrists[side] = local, wrist
        twists[side] = np.concatenate([angle, bend[0]]).astype(np.float32)
        rest[side] = rot.to_rotation_vector(rot.multiply(rot.conjugate(solved), local[:4]))
    head = skeleton.index("head")
    place = rot.rotate(to_chest, places[0, head] - places[0, chest])
    return _Home(pose, arms, wrists, twists, rest, (place, rot.multiply(to_chest, turned[0, head])))


@lru_cache(maxsize=1)
def _landmarks() -> dict[str, tuple[str, Array]]:
    data = yaml.safe_load((files("visavis.retrieval") / "data" / "landmarks.yaml").read_text())
    return {name: (entry["bone"], np.array(entry["at"], np.float32)) for name, entry in data.items()}


def _chain(local: Array) -> Array:
    """(T, 4, 4) Shoulder, UpperArm, LowerArm, Hand → (T, 4) orientation of the forearm in the chest frame."""
    return rot.multiply(rot.multiply(local[:, 0], local[:, 1]), local[:, 2])


def _split(forearm: Array, hand: Array) -> tuple[Array, Array]:
    """Pronation (T,) and bend (T, 3) of a wrist inside its range, for a hand turned so in the chest frame."""
    _, local, angle = split_pronation(rot.multiply(rot.conjugate(forearm), hand))
    angle = np.clip(angle, -np.radians(95.0), np.radians(95.0)).astype(np.float32)
    untwist = rot.from_axis_angle([1, 0, 0], -(1.0 - FOREARM_SHARE) * angle)
    return angle, rot.to_rotation_vector(rot.multiply(untwist, local))


def _twisted(local: Array, angle: Array, bend: Array) -> Array:
    """Arms (T, 4, 4) with their hands turned by pronation (T,) and bend (T, 3)."""
    out = local.copy()
    out[:, 2] = rot.multiply(local[:, 2], rot.from_axis_angle([1, 0, 0], FOREARM_SHARE * angle))
    out[:, 3] = rot.multiply(
        rot.from_axis_angle([1, 0, 0], (1.0 - FOREARM_SHARE) * angle), rot.from_rotation_vector(bend)
    )
    return out


def _vector(direction: Any) -> Array:
    return rot.normalize(_DIRECTIONS[direction] if isinstance(direction, str) else direction)


def _orientation(palm: Any, fingers: Any) -> Array:
    """(4,) of a left hand whose fingers point and palm faces so (the palm gives way where they are not square)."""
    x, y = _vector(fingers), -_vector(palm)
    y = rot.normalize(y - (x @ y) * x)
    return rot.from_matrix(np.stack([x, y, np.cross(x, y)], axis=-1))


# --- what an arm does at its stops ---------------------------------------------------------------------------------


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


def _stops(gesture: Gesture, keys: tuple[Key, ...], aim: Aim, alternate: bool) -> list[_Pose]:
    """The poses of one arm in order: ready, stroke start, then stroke (back, stroke)*, stroke end."""
    named = _inherit(keys)
    ready = named["ready"]
    start = named.get("stroke_start", ready)
    stroke = named.get("stroke", start)
    back = named.get("back", start)
    end = named.get("stroke_end")
    if alternate:
        stroke, back = back, stroke
    shapes = gesture.strokes.shapes

    def pose(key: Key, shift: int, stroke_number: int | None = None) -> _Pose:
        shape = key.shape or "relaxed"
        if shapes and stroke_number is not None:
            shape = shapes[min(stroke_number, len(shapes) - 1)]
        return _Pose(key, shift, shape)

    out = [pose(ready, 0), pose(start, 0), pose(stroke, 0, 0)]
    for n in range(1, aim.repeats):
        out += [pose(back, n, n - 1 if shapes else None), pose(stroke, n, n)]
    out.append(pose(end, aim.repeats - 1) if end else out[-1])
    return out


def _fingers(pose: _Pose, aim: Aim, gesture: Gesture) -> Array:
    if aim.pinch_gap_m is not None and pose.shape.startswith("pinch"):
        return pinch(aim.pinch_gap_m + (0.045 if pose.shape == "pinch_open" else 0.0))
    return hand_shape(pose.shape)


@dataclass(frozen=True, eq=False)
class _Arm:
    """One arm at its S stops, as a left arm; columns of `values`: pronation, bend (3), swivel, lift, fingers (45)."""

    side: str
    wrist: NDArray[np.float64]  # (S, 3) metres in the chest frame
    values: Array  # (S, 51)
    still: list[bool]  # whether the wrist keeps its place towards this stop
    exact: NDArray[np.bool_]  # (S,) no noise here
    poses: list[_Pose]


def _solve_stops(
    gesture: Gesture, poses: list[_Pose], side: str, aim: Aim, performer: Performer, head: tuple[Array, Array],
    jitter: Array,
) -> _Arm:  # fmt: skip
    """Turn keys into wrists and hand turns that the arm can do.

    Args:
        head: place (S, 3) and orientation (S, 4) of the head in the chest frame at the stops, as of a left arm.
        jitter: (3,) the asymmetry of this arm, arm lengths.
    """
    skeleton = default_skeleton()
    unit = float(skeleton.offsets_m[skeleton.index("leftLowerArm")][0] + skeleton.offsets_m[skeleton.index("leftHand")][0])
    size = len(poses)
    wrist, hand = np.zeros((size, 3), np.float32), np.zeros((size, 4), np.float32)
    goal, offset = np.zeros((size, 3), np.float32), np.zeros((size, 3), np.float32)
    touching, free = np.zeros(size, bool), np.zeros(size, bool)
    home_head = _home().head
    for s, pose in enumerate(poses):
        key = aim.aimed(pose.key, side)
        free[s] = key.palm is None or key.fingers is None
        hand[s] = rot.IDENTITY if free[s] else _orientation(key.palm, key.fingers)
        if key.touch is not None:
            bone, at = _landmarks()[key.touch.landmark]
            at = at + np.array(key.touch.offset_m, np.float32)
            if bone == "head":
                turn = rot.multiply(head[1][s], rot.conjugate(home_head[1]))
                hand[s] = rot.multiply(turn, hand[s])
                at = head[0][s] + rot.rotate(head[1][s], at)
            goal[s], offset[s], touching[s] = at, effector(key.touch.effector, pose.shape), True
        else:
            place = np.array(key.wrist) + pose.shift * np.array(gesture.strokes.shift)
            if not aim.exact(key):
                place = _PIVOT + performer.amplitude * (place - _PIVOT) + jitter
                place[0] += 0.07 * performer.openness
            wrist[s] = place * unit
    reach = wrist.copy()
    palm = effector("palm", "flat")
    swivel = np.zeros(size, np.float32)
    given = np.array([np.nan if p.key.swivel is None else np.radians(p.key.swivel) for p in poses], np.float32)
    for attempt in range(3):
        if attempt == 0:
            reach = np.where(touching[:, None], goal - rot.rotate(hand, offset), reach)
        choices = _SWIVELS if attempt == 0 else np.zeros(1, np.float32)
        tried = (swivel[None] + choices[:, None]) if attempt == 0 else swivel[None]
        tried = np.where(np.isnan(given), tried, given).astype(np.float32)  # (C, S)
        local = solve_arm(skeleton, "left", np.tile(reach, (len(tried), 1)), None, tried.ravel())
        forearm = _chain(local)
        wanted = np.tile(hand, (len(tried), 1))
        angle, bend = _split(forearm, wanted)
        loose = np.tile(free, len(tried))
        angle, bend = np.where(loose, 0.0, angle).astype(np.float32), np.where(loose[:, None], 0.0, bend)
        got = _chain(_twisted(local, angle, bend))
        got = rot.multiply(got, _twisted(local, angle, bend)[:, 3])
        if attempt == 0:
            error = np.where(loose, 0.0, rot.angle_between(got, wanted))
            cost = 3 * error + 0.5 * np.abs(angle) + 0.3 * np.linalg.norm(bend, axis=1) + 0.25 * np.abs(tried.ravel())
            cost = (cost + 4 * _elbow_inside(local)).reshape(len(tried), size)
            best = np.argmin(cost, axis=0)
            swivel = tried[best, np.arange(size)]
            pick = best * size + np.arange(size)
            angle, bend, got = angle[pick], bend[pick], got[pick]
        reach = np.where(touching[:, None], goal - rot.rotate(got, offset), reach)
        if aim.palm_distance_m is not None:
            exact = np.array([aim.exact(p.key) for p in poses])
            out = 0.5 * aim.palm_distance_m - rot.rotate(got, palm)[:, 0]
            reach[:, 0] = np.where(exact, out, reach[:, 0])
    swivel = swivel + np.float32(np.radians(12.0) * performer.openness) * ~touching
    lift = np.radians([p.key.lift or 0.0 for p in poses]).astype(np.float32)
    fingers = np.stack([_fingers(p, aim, gesture).ravel() for p in poses])
    values = np.concatenate([angle[:, None], bend, swivel[:, None], lift[:, None], fingers], axis=1).astype(np.float32)
    still = [False] + [bool(np.allclose(reach[s], reach[s - 1], atol=1e-4)) for s in range(1, size)]
    fixed = touching | np.array([aim.exact(p.key) for p in poses])
    return _Arm(side, reach.astype(np.float64), values, still, fixed, poses)


def _elbow_inside(local: Array) -> Array:
    """(T,) how deep (0 to 1) elbow and mid-forearm of left arms lie in the chest, an elliptic cylinder."""
    skeleton = default_skeleton()
    offset = [skeleton.offsets_m[skeleton.index(f"left{b}")] for b in ("Shoulder", "UpperArm", "LowerArm", "Hand")]
    upper = rot.multiply(local[:, 0], local[:, 1])
    elbow = offset[0] + rot.rotate(local[:, 0], offset[1]) + rot.rotate(upper, offset[2])
    middle = elbow + 0.5 * rot.rotate(rot.multiply(upper, local[:, 2]), offset[3])
    out = np.zeros(len(local), np.float32)
    for point, radius in ((elbow, 1.25), (middle, 1.2)):
        r = np.hypot(point[:, 0] / (0.155 * radius), (point[:, 2] - 0.01) / (0.11 * radius))
        out += np.where(point[:, 1] < 0.12, np.maximum(1.0 - r, 0.0), 0.0)
    return out


# --- time ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Schedule:
    """Times of the stops (home, ready, stroke start, strokes and backs, stroke end, relax, home) and sync points."""

    times_s: NDArray[np.float64]
    phases: Phases


def _schedule(gesture: Gesture, repeats: int, tempo: float, least: NDArray[np.float64]) -> _Schedule:
    """Natural times at a tempo, stretched where a wrist would be too fast.

    `least` gives the shortest durations in seconds of preparation, wind-up, stroke, repeat half, ending, retraction.
    """
    p = gesture.phases
    spans = np.diff(p.times) / tempo
    ready = max(spans[0], least[0])
    start = ready + max(spans[1], least[1])
    arrive = start + max(spans[2] / APEX_AT, least[2])
    half = max(gesture.strokes.every_s / tempo / 2, least[3])
    times = [0.0, ready, start, arrive]
    for _ in range(repeats - 1):
        times += [times[-1] + half, times[-1] + 2 * half]
    hold = max(spans[3] - (arrive - start - spans[2]), least[4], 1 / FPS)
    end = times[-1] + hold
    relax = end + max(spans[4], 0.0)
    home = relax + max(spans[5], least[5])
    apex = start + APEX_AT * (arrive - start)
    times += [end, relax, home]
    return _Schedule(np.array(times), Phases(0.0, ready, start, apex, end, relax, home))


def _curves(arm: _Arm, performer: Performer) -> list[NDArray[np.float64] | None]:
    """The way of the wrist between stops: from HOME, through the poses, and back."""
    home = _home().wrist[arm.side].astype(np.float64)
    unit = 0.51
    stops = [home, *arm.wrist, arm.wrist[-1], home]
    out: list[NDArray[np.float64] | None] = []
    for k in range(1, len(stops)):
        a, b = stops[k - 1], stops[k]
        pose = arm.poses[k - 1] if k <= len(arm.poses) else None
        chord = np.linalg.norm(b - a)
        if chord < 1e-3:
            out.append(None)
            continue
        via = [np.array(v) * unit for v in pose.key.via] if pose else []
        if via and k > 1 and pose is not None and pose.shift:
            via = []
        if not via:
            bow = 0.10 if pose is None or k == 1 else 0.07
            if pose is not None and pose.key.bow is not None:
                bow = pose.key.bow
            along = (b - a) / chord
            side = np.array([0.45, 0.0, 0.9])
            side -= (side @ along) * along
            norm = np.linalg.norm(side)
            side = side / norm if norm > 0.2 else side
            via = [0.5 * (a + b) + side * bow * performer.curvature * chord]
        out.append(curve(np.stack([a, *via, b])))
    return out


def _least(curves: list[list[NDArray[np.float64] | None]]) -> NDArray[np.float64]:
    """The shortest durations that keep every wrist under the speed limit; see `_schedule`."""
    least = np.zeros(6)
    for lines in curves:
        seconds = [
            0.0 if line is None else PEAK_SPEED * float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) / _MAX_WRIST_M_S
            for line in lines
        ]
        repeats = seconds[3:-3]
        here = [*seconds[:3], max(repeats, default=0.0), seconds[-3], seconds[-1]]
        least = np.maximum(least, here)
    return least


# --- head and torso ------------------------------------------------------------------------------------------------

_CHANNELS: Final = ("nod", "turn", "tilt", "lean", "twist", "sway", "hips")


def _core_stops(gesture: Gesture, aim: Aim, performer: Performer) -> Array:
    """(S + 3, 7) degrees at home, every stop, relax, home; positive to the main hand's side."""
    named: dict[str, CoreKey] = {key.at: key for key in gesture.core}
    zero = CoreKey(at="ready")
    ready = named.get("ready", zero)
    start = named.get("stroke_start", ready)
    stroke = named.get("stroke", start)
    back = named.get("back", start)
    row = {k: np.array([getattr(key, c) for c in _CHANNELS]) for k, key in
           {"ready": ready, "start": start, "stroke": stroke, "back": back}.items()}  # fmt: skip
    end = named.get("stroke_end")
    last = row["stroke"] if end is None else np.array([getattr(end, c) for c in _CHANNELS])
    beats = [row["stroke"]] + [row[n] for _ in range(aim.repeats - 1) for n in ("back", "stroke")]
    rows = np.stack([np.zeros(7), row["ready"], row["start"], *beats, last, last, np.zeros(7)])
    rows *= 0.75 + 0.25 * performer.amplitude
    rows[1:-1] += np.array(aim.look)
    if gesture.hands != "none":
        # Head and torso go a little with the hands on their own (nod, turn, tilt, lean, twist, sway, hips).
        one = 0.0 if gesture.hands == "both" else 1.0
        with_it = np.array([2.2, 1.5 * one, 0.8 * one, 1.2, 2.2 * one, 0.6 * one, 0.0]) * performer.head_style
        rows[3] += with_it
        rows[4:-1] += 0.5 * with_it
    return rows.astype(np.float32)


def _core_rotations(degrees: Array) -> dict[str, Array]:
    """Channels (T, 7) → local rotations (T, 4) on top of HOME, by bone; positive to the left."""
    nod, turn, tilt, lean, twist, sway, hips = np.radians(degrees.T)

    def bone(pitch: Array, yaw: Array, roll: Array, share: float) -> Array:
        return rot.from_rotation_vector(share * np.stack([pitch, yaw, -roll], axis=-1))

    return {
        "hips": rot.from_rotation_vector(np.stack([hips, 0 * hips, 0 * hips], axis=-1)),
        "spine": bone(lean, twist, sway, 0.30),
        "chest": bone(lean, twist, sway, 0.35),
        "upperChest": bone(lean, twist, sway, 0.35),
        "neck": bone(nod, turn, tilt, 0.45),
        "head": bone(nod, turn, tilt, 0.55),
    }


def _head_in_chest(core: dict[str, Array]) -> tuple[Array, Array]:
    """Place (T, 3) and orientation (T, 4) of the head in the chest frame."""
    skeleton, pose = default_skeleton(), _home().pose
    i, j = skeleton.index("neck"), skeleton.index("head")
    neck = rot.multiply(pose[i], core["neck"])
    place = skeleton.offsets_m[i] + rot.rotate(neck, skeleton.offsets_m[j])
    return place, rot.multiply(neck, rot.multiply(pose[j], core["head"]))


# --- the whole -----------------------------------------------------------------------------------------------------


def perform(
    gesture: Gesture, performer: Performer | None = None, params: Mapping[str, Any] | None = None, hand: str | None = None
) -> Performance:
    """Make a gesture.

    Args:
        gesture: of the lexicon.
        performer: who makes it; a plain one if None.
        params: values for `gesture.params`; clipped to their ranges, defaults for the rest.
        hand: "left" or "right" main hand, if it shall not follow from gesture, parameters and performer.

    Returns:
        The performance from HOME to HOME at its natural pace.

    Raises:
        LexiconError: a parameter the gesture does not have, or a value that cannot be read.
    """
    performer = performer or Performer.neutral()
    aim = resolve(gesture, params or {}, hand, performer.handedness)
    rng = np.random.default_rng([performer.seed, zlib.crc32(gesture.gloss.encode())])
    skeleton, home = default_skeleton(), _home()
    mirrored = aim.side == "right"
    sign = np.array([1, -1, -1, 1, -1, -1, 1], np.float32) if mirrored else np.ones(7, np.float32)

    rows = _core_stops(gesture, aim, performer)
    arms = []
    for side, keys, alternate in aim.arms(gesture):
        as_left = sign if side == aim.side else sign  # the head in the world; mirrored below for a right arm
        place, turned = _head_in_chest(_core_rotations(rows[1:-2] * as_left))
        if side == "right":
            place, turned = place * _FLIP, rot.mirror(turned)
        jitter = np.zeros(3) if aim.symmetric else rng.normal(0.0, 0.012, 3)
        poses = _stops(gesture, keys, aim, alternate)
        arms.append(_solve_stops(gesture, poses, side, aim, performer, (place, turned), jitter))
    ways = [_curves(arm, performer) for arm in arms]
    plan = _schedule(gesture, aim.repeats, performer.tempo, _least(ways))
    end_s = plan.phases.end_s
    t = np.arange(int(np.ceil(end_s * FPS - 1e-6)) + 1) / FPS
    calm = np.minimum(np.clip(t / 0.3, 0, 1), np.clip((end_s - t) / 0.3, 0, 1))[:, None]

    out = np.tile(home.pose, (len(t), 1, 1))
    wobble = pink(rng, t, 6) * calm * np.array([0.5, 0.5, 0.35, 0.25, 0.25, 0.2]) * performer.head_style
    degrees = track(plan.times_s, rows, t)
    degrees[:, :6] += wobble
    core = _core_rotations(degrees * sign)
    for name, local in core.items():
        i = skeleton.index(name)
        out[:, i] = rot.multiply(home.pose[i], local)
    if np.any(rows[:, 6]):
        for name in ("leftUpperLeg", "rightUpperLeg"):  # the legs stay upright under bending hips
            i = skeleton.index(name)
            out[:, i] = rot.multiply(rot.conjugate(core["hips"]), out[:, i])
    for arm, way in zip(arms, ways, strict=True):
        late = 0.0 if aim.symmetric or arm.side == aim.side else float(rng.uniform(0.0, 0.02))
        out[:, skeleton.part(arm.side)] = _animate(arm, way, plan, t, late, rng, calm)
    motion = Motion(out, np.tile(skeleton.offsets_m[0], (len(t), 1)), None, skeleton)
    bones = tuple(f"{arm.side}{bone}" for arm in arms for bone in ARM_BONES)
    if gesture.core or np.any(aim.look):
        bones = (*CORE_BONES, *bones)
    main = "none" if not arms else "both" if gesture.hands == "both" else aim.side
    constraints = aim_constraints(gesture, aim, motion, plan.phases)
    return Performance(gesture.gloss, motion, plan.phases, bones, constraints, main, aim.params, dict(gesture.face))


def _animate(
    arm: _Arm, way: list[NDArray[np.float64] | None], plan: _Schedule, t: NDArray[np.float64], late: float,
    rng: np.random.Generator, calm: NDArray[np.float64],
) -> Array:  # fmt: skip
    """(T, 19, 4) local rotations of one arm with its hand, on its own side."""
    skeleton, home = default_skeleton(), _home()
    at = np.maximum(t - late * calm[:, 0], 0.0)
    times = plan.times_s
    wrist = path(times, way, home.wrist[arm.side], at)
    loose = np.concatenate([[1.0], 1.0 - arm.exact, [1.0 - arm.exact[-1], 1.0]])[:, None]
    wrist += pink(rng, t, 3) * 0.0025 * calm * track(times, loose, at)
    wrist = _clear(wrist, track(times, loose, at)[:, 0])
    home_hand = rot.to_rotation_vector(home.arms[arm.side][4:]).ravel()
    ends = np.concatenate([home.twist[arm.side], [0.0, 0.0], home_hand]).astype(np.float32)
    values = np.concatenate([ends[None], arm.values, arm.values[-1:], ends[None]])
    body = track(times, values[:, :6], at)
    lagged = np.maximum(at - _FINGER_LAG_S * np.minimum(1.0, calm[:, 0] * 1.5), 0.0)
    fingers = track(times, values[:, 6:], lagged)
    local = solve_arm(skeleton, "left", wrist, None, body[:, 4])
    local = _twisted(local, body[:, 0], body[:, 1:4])
    # At HOME the arm hangs exactly as HOME says, wherever the solver would put its elbow.
    homely = track(times, np.array([[1.0], *[[0.0]] * (len(times) - 2), [1.0]]), at)
    local = rot.multiply(local, rot.from_rotation_vector(homely[:, :, None] * home.rest[arm.side]))
    local[:, 0] = rot.multiply(rot.from_axis_angle([0, 0, 1], body[:, 5]), local[:, 0])
    hand = rot.from_rotation_vector(fingers.reshape(len(t), 15, 3))
    both = np.concatenate([local, hand], axis=1)
    return both if arm.side == "left" else rot.mirror(both)


def _clear(wrist: NDArray[np.float64], free: Array) -> NDArray[np.float64]:
    """Wrists (T, 3) kept out of chest and head where they do not touch on purpose (`free` is 1)."""
    x, y, z = wrist.T
    r = np.hypot(x / 0.20, z / 0.165)
    inside = (y < 0.13) & (y > -0.33) & (r < 1.0)
    push = np.where(inside, (1.0 / np.maximum(r, 0.3) - 1.0) * free, 0.0)[:, None]
    wrist = wrist + push * np.stack([x, 0 * y, z], axis=1)
    away = wrist - np.array([0.0, 0.32, 0.02])
    distance = np.linalg.norm(away, axis=1)
    deep = np.maximum(0.165 - distance, 0.0) * free
    return wrist + (deep / np.maximum(distance, 1e-3))[:, None] * away


def retime(performance: Performance, phases: Phases) -> Performance:
    """Bend time, smoothly and never backwards, so that the sync points of a performance fall on the given ones.

    Args:
        performance: from `perform`.
        phases: wanted sync points on any clock; the first frame of the new motion is at `phases.start_s`.

    Returns:
        the same gesture with `phases` as given; constraints move along.
    """
    old, new = np.array(performance.phases.times), np.array(phases.times)
    keep = [0]
    for k in range(1, 7):
        if old[k] - old[keep[-1]] > 1e-3 and new[k] - new[keep[-1]] > 1e-3:
            keep.append(k)
    if len(keep) < 2 or new[-1] - new[0] < 2 / FPS:
        raise ValueError(f"phases must span at least two frames; got {phases}")
    x, y = new[keep], old[keep]
    x[-1], y[-1] = new[-1], old[-1]
    warp, back = PchipInterpolator(x, y), PchipInterpolator(y, x)
    frames = int(np.ceil((new[-1] - new[0]) * FPS - 1e-6)) + 1
    at = (warp(np.minimum(new[0] + np.arange(frames) / FPS, new[-1])) - old[0]) * FPS
    i = np.clip(at.astype(int), 0, len(performance.motion) - 2)
    f = np.clip(at - i, 0.0, 1.0)
    source = performance.motion
    a, b = source.rotations[i], source.rotations[i + 1]
    b = np.where(np.sum(a * b, axis=-1, keepdims=True) < 0, -b, b)
    # Neighbouring frames are close: the straight mean of quaternions is the arc between them to within 1e-4 radians.
    turned = rot.normalize(a + f[:, None, None].astype(np.float32) * (b - a))
    root = source.root_m[i] + f[:, None].astype(np.float32) * (source.root_m[i + 1] - source.root_m[i])
    motion = Motion(turned, root, None, source.skeleton)
    moved = [
        replace(c, from_s=float(back(np.clip(c.from_s, y[0], y[-1]))), to_s=float(back(np.clip(c.to_s, y[0], y[-1]))))
        for c in performance.constraints
    ]
    return replace(performance, motion=motion, phases=phases, constraints=moved)

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
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint
from visavis.motion.ik import solve_arm
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, default_skeleton
from visavis.retrieval.aiming import Aim, aim_constraints, resolve
from visavis.retrieval.arm import arm_length_m, home, twisted
from visavis.retrieval.lexicon import PLAIN, CoreKey, Gesture
from visavis.retrieval.stops import Arm, arms_at_stops
from visavis.retrieval.trajectory import APEX_AT, PEAK_SPEED, curve, path, pink, track

__all__ = ["Performance", "Performer", "perform", "retime"]

Array = NDArray[np.float32]
Way = list[NDArray[np.float64] | None]

_MAX_WRIST_M_S: Final = 3.4
_FINGER_LAG_S: Final = 0.05


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
            openness=float(np.clip(rng.normal(0.0, 0.4), -1.0, 1.0)),
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
        variant: which of the ways to perform it this is.
        recorded: a clip that somebody added; its variant is the clip's own name.
    """

    gloss: str
    motion: Motion
    phases: Phases
    bones: tuple[str, ...]
    constraints: list[Constraint]
    hand: str
    params: dict[str, Any]
    face: dict[str, float]
    variant: str = PLAIN
    recorded: bool = False

    @property
    def clip(self) -> str:
        """The clip's name: gloss and variant, or an added clip's own."""
        return self.variant if self.recorded else f"{self.gloss}/{self.variant}"


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


def _curves(arm: Arm, performer: Performer) -> Way:
    """The way of the wrist between stops: from HOME, through the poses, and back."""
    hanging = home().wrist[arm.side].astype(np.float64)
    stops = [hanging, *arm.wrist, arm.wrist[-1], hanging]
    out: Way = []
    for k in range(1, len(stops)):
        a, b = stops[k - 1], stops[k]
        pose = arm.poses[k - 1] if k <= len(arm.poses) else None
        chord = np.linalg.norm(b - a)
        if chord < 1e-3:
            out.append(None)
            continue
        via = [np.array(v) * arm_length_m() for v in pose.key.via] if pose else []
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


def _least(curves: list[Way]) -> NDArray[np.float64]:
    """The shortest durations that keep every wrist under the speed limit; see `_schedule`."""
    least = np.zeros(6)
    for lines in curves:
        seconds = [
            0.0
            if line is None
            else PEAK_SPEED * float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) / _MAX_WRIST_M_S
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
    skeleton, pose = default_skeleton(), home().pose
    i, j = skeleton.index("neck"), skeleton.index("head")
    neck = rot.multiply(pose[i], core["neck"])
    place = skeleton.offsets_m[i] + rot.rotate(neck, skeleton.offsets_m[j])
    return place, rot.multiply(neck, rot.multiply(pose[j], core["head"]))


def _chest_in_world(core: dict[str, Array]) -> tuple[Array, Array]:
    """Place (3,) and orientation (4,) of the chest frame in the world at the first of the given poses."""
    skeleton = default_skeleton()
    place, turned = np.zeros(3, np.float32), rot.IDENTITY
    for name in CORE_BONES[:4]:
        i = skeleton.index(name)
        place = place + rot.rotate(turned, skeleton.offsets_m[i])
        turned = rot.multiply(turned, rot.multiply(home().pose[i], core[name][0]))
    return place, turned


# --- the whole -----------------------------------------------------------------------------------------------------


def perform(
    gesture: Gesture,
    performer: Performer | None = None,
    params: Mapping[str, Any] | None = None,
    hand: str | None = None,
    variant: str = PLAIN,
) -> Performance:
    """Make a gesture.

    Args:
        gesture: of the lexicon.
        performer: who makes it; a plain one if None.
        params: values for `gesture.params`; clipped to their ranges, defaults for the rest.
        hand: "left" or "right" main hand, if it shall not follow from gesture, parameters and performer.
        variant: which of `gesture.variant_names`.

    Returns:
        The performance from HOME to HOME at its natural pace.

    Raises:
        LexiconError: a parameter or variant the gesture does not have, or a value that cannot be read.
    """
    performer = performer or Performer.neutral()
    if variant != PLAIN:
        gesture, amplitude, tempo = gesture.variant(variant)
        performer = replace(performer, amplitude=performer.amplitude * amplitude, tempo=performer.tempo * tempo)
    aim = resolve(gesture, params or {}, hand, performer.handedness)
    rng = np.random.default_rng([performer.seed, zlib.crc32(gesture.gloss.encode())])
    skeleton = default_skeleton()
    sign = np.array([1, -1, -1, 1, -1, -1, 1] if aim.side == "right" else [1] * 7, np.float32)
    rows = _core_stops(gesture, aim, performer) * sign
    aim = aim.seen_from(*_chest_in_world(_core_rotations(rows[3:4])))
    head = _head_in_chest(_core_rotations(rows[1:-2]))
    arms = arms_at_stops(gesture, aim, head, performer.amplitude, performer.openness, rng)
    ways = [_curves(arm, performer) for arm in arms]
    plan = _schedule(gesture, aim.repeats, performer.tempo, _least(ways))
    end_s = plan.phases.end_s
    t = np.arange(int(np.ceil(end_s * FPS - 1e-6)) + 1) / FPS
    calm = np.minimum(np.clip(t / 0.3, 0, 1), np.clip((end_s - t) / 0.3, 0, 1))[:, None]

    out = np.tile(home().pose, (len(t), 1, 1))
    wobble = pink(rng, t, 6) * calm * np.array([0.5, 0.5, 0.35, 0.25, 0.25, 0.2]) * performer.head_style
    degrees = track(plan.times_s, rows, t)
    degrees[:, :6] += wobble
    core = _core_rotations(degrees)
    for name, local in core.items():
        i = skeleton.index(name)
        out[:, i] = rot.multiply(out[:, i], local)
    if np.any(rows[:, 6]):
        for name in ("leftUpperLeg", "rightUpperLeg"):  # the legs stay upright under bending hips
            i = skeleton.index(name)
            out[:, i] = rot.multiply(rot.conjugate(core["hips"]), out[:, i])
    if arms:
        for arm, turned in zip(arms, _animate(arms, ways, plan, t, calm, aim, rng), strict=True):
            out[:, skeleton.part(arm.side)] = turned
    motion = Motion(out, np.tile(skeleton.offsets_m[0], (len(t), 1)), None, skeleton)
    bones = tuple(f"{arm.side}{bone}" for arm in arms for bone in ARM_BONES)
    if gesture.core or np.any(aim.look):
        bones = (*CORE_BONES, *bones)
    main = "none" if not arms else "both" if gesture.hands == "both" else aim.side
    constraints = aim_constraints(gesture, aim, motion, plan.phases)
    return Performance(
        gesture.gloss, motion, plan.phases, bones, constraints, main, aim.params, dict(gesture.face), variant
    )


def _animate(
    arms: list[Arm],
    ways: list[Way],
    plan: _Schedule,
    t: NDArray[np.float64],
    calm: NDArray[np.float64],
    aim: Aim,
    rng: np.random.Generator,
) -> list[Array]:
    """(T, 19, 4) local rotations of each arm with its hand, on its own side; `calm` (T, 1) is 0 at both ends."""
    times, frames = plan.times_s, len(t)
    lag = _FINGER_LAG_S * np.minimum(1.0, calm[:, 0] * 1.5)
    wrists, bodies, hands, homely, rests = [], [], [], [], []
    for arm, way in zip(arms, ways, strict=True):
        late = 0.0 if aim.symmetric or arm.side == aim.side or arm.exact.any() else float(rng.uniform(0.0, 0.015))
        at = np.maximum(t - late * calm[:, 0], 0.0)
        free = track(times, np.concatenate([[1.0], 1.0 - arm.exact, [1.0 - arm.exact[-1], 1.0]])[:, None], at)
        wrist = path(times, way, home().wrist[arm.side], at) + pink(rng, t, 3) * 0.0025 * calm * free
        wrists.append(_clear(wrist, free[:, 0]))
        hanging = rot.to_rotation_vector(home().arms[arm.side][4:]).ravel()
        ends = np.concatenate([home().hand[arm.side], [0.0, 0.0], hanging]).astype(np.float32)
        values = np.concatenate([ends[None], arm.values, arm.values[-1:], ends[None]])
        bodies.append(track(times, values[:, :6], at))
        hands.append(track(times, values[:, 6:], np.maximum(at - lag, 0.0)))
        homely.append(track(times, np.array([[1.0], *[[0.0]] * (len(times) - 2), [1.0]]), at))
        rests.append(np.broadcast_to(home().rest[arm.side], (frames, 4, 3)))
    body, hand = np.concatenate(bodies), np.concatenate(hands)
    local = solve_arm(default_skeleton(), "left", np.concatenate(wrists), None, body[:, 4])
    local = twisted(local, body[:, 0], body[:, 1:4])
    # At HOME the arm hangs exactly as HOME says, wherever the solver would put its elbow.
    rest = np.concatenate(homely)[:, :, None] * np.concatenate(rests)
    local = rot.multiply(local, rot.from_rotation_vector(rest))
    local[:, 0] = rot.multiply(rot.from_axis_angle([0, 0, 1], body[:, 5]), local[:, 0])
    fingers = rot.from_rotation_vector(hand.reshape(len(hand), 15, 3))
    both = np.concatenate([local, fingers], axis=1).reshape(len(arms), frames, 19, 4)
    return [turned if arm.side == "left" else rot.mirror(turned) for arm, turned in zip(arms, both, strict=True)]


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

"""Contacts that carry meaning: a hand that touches body, head or the other hand does so on any body.

A point of a hand that is near one of the body's solids (`visavis.motion.nearness`) has a place on it in the body's own
proportions; on another body the whole hand is shifted so that the point comes to that place, its orientation kept. Two
hands that meet keep the way between them.
Farther off the shift fades, over a way so much longer than itself that no two places come out as one: what is only near
something keeps its distance and finds back. What is not near anything is not moved at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.arm_search import bring_point
from visavis.motion.ik import move_arm, swivel_arm
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.nearness import DEEPEST_M, SIDES, Posed, body_gaps, hand_gaps, hand_size, sizes_of
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["Held", "guided", "holds", "is_near_only", "keep_contacts", "touching"]

Array = NDArray[np.float32]
Pulls = dict[str, tuple[Array, Array]]

# Gaps in metres on the default body: full below the first, nothing above the second. An approach counts if it comes as
# near as `_TOUCH`, and then from `_REACH` on; or if it stays as near as `_NEAR` for so long without moving (m/s).
_TOUCH: Final = (0.010, 0.022)
_REACH: Final = (0.030, 0.085)
_NEAR: Final = (0.038, 0.052)
_HOLD_S: Final = 0.25
# A motion whose hands come as near as this touches: they are turned to the body as on the source, and shoulder and tilt
# help them to their place. No ramp: what would be turned by half would not come back as it was.
_FELT_M: Final = 0.0155
# So many times as long as the way that a hand is guided is the way over which guidance fades, up to this gap.
_UNFOLDED: Final = 3.0
_FARTHEST_M: Final = 0.30
_STILL_M_S: Final = (0.10, 0.30)
_PASSED: Final = ("hips", "spine")
_SMOOTH_FRAMES: Final = 3
_FALLOFF_M: Final = 0.005
_FALLOFF_GAPS: Final = 0.5  # … and by this share of the gap where it is more than a touch
_MOST_TILT: Final = np.radians(25.0)
_SLIDING_M: Final = 0.02  # a moving hand's touch is as unsure as that
_FAILED_M: Final = (0.003, 0.010)
_MOST_SHRUG: Final = np.radians(6.0)  # each pass
# Elbows are turned by so many degrees where a joint would be outside its limits, and what a radian of it costs.
_SWIVELS: Final = np.arange(-60.0, 61.0, 7.5)
_SWIVEL_COST: Final = 0.3
_NEAR_PASSES: Final = 3
# What both hands may miss together so that no further pass is made.
_DONE_M: Final = 0.001
# Rounds in which all joints of an arm help, and steps in each.
_SEARCHES: Final = 2
_STEPS: Final = 10
_OUTSIDE: Final = np.radians(1.0)
_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_UPPER: Final = ("leftUpperArm", "rightUpperArm")
_ARMS: Final = tuple(side + bone for side in SIDES for bone in _ARM)


def _ramp(gap: Array, near: tuple[float, float]) -> Array:
    """1 where they touch, 0 where the gap means nothing, smooth between."""
    t = np.clip((gap - near[0]) / (near[1] - near[0]), 0.0, 1.0)
    return np.asarray(1.0 - t * t * (3.0 - 2.0 * t), np.float32)


@dataclass(frozen=True, eq=False)
class Held:
    """How far hands are held by what they touch.

    Attributes:
        strength: "left", "right" (by the body) and "hands" (by each other) → (T,) from 0, not at all, to 1.
        unsure_m: "left" and "right" → (T,) metres by which the place of a touch is unknown, because the source's body
            is thinner than our solids and its hand lies inside them.
        felt: "left" and "right" → (T,) above 0 where the hand touches body or other hand and is turned to it as on the
            source; 0 where it is only near and keeps its angles to the forearm.
    """

    strength: dict[str, Array]
    unsure_m: dict[str, Array]
    felt: dict[str, Array]

    def __bool__(self) -> bool:
        return any(bool((share > 0).any()) for share in self.strength.values())


def holds(source: Motion, motion: Motion, fingers: bool = True, touches: bool = True) -> Held:
    """What holds the hands of a motion on another body.

    Args:
        source: on our 55 bones of any proportions.
        motion: its angles on the body that shall have it.
        fingers: whether the source's fingers are its own; otherwise only palms touch.
        touches: whether it may touch anything; otherwise it is only near, however near.
    """
    body = Posed.of(source, fingers)
    # The solids are our own body's. By another's that only resembles them a hand is near something if it rests there.
    own = source.skeleton is default_skeleton()
    held = _held_hands(body, _missing(body, Posed.of(motion, fingers)) if own else None)
    return replace(held, felt=_felt(body, touches))


def is_near_only(motion: Motion, least_m: float = _TOUCH[0]) -> bool:
    """Whether hands come near body or each other, and never really touch.

    Args:
        motion: on our 55 bones of any proportions.
        least_m: gaps up to this are touches, metres.
    """
    return least_m < _nearest_m(Posed.of(motion)) < _FARTHEST_M


def touching(motion: Motion) -> NDArray[np.bool_]:
    """(T,) whether a hand is brought to the same place of body or other hand on another body."""
    strength = _held_hands(Posed.of(motion)).strength
    return np.asarray(np.max(list(strength.values()), axis=0) > 0)


def guided(motion: Motion) -> dict[str, NDArray[np.bool_]]:
    """Side → (T,) whether that hand is on a touch, coming to it or leaving it, so that its way is another elsewhere."""
    strength = _held_hands(Posed.of(motion)).strength
    both = {side: np.maximum(strength[side], strength["hands"]) > 0 for side in SIDES}
    # Corrections are drawn out in time, in every pass anew.
    return {side: maximum_filter1d(busy, 4 * _SMOOTH_FRAMES + 1, mode="nearest") for side, busy in both.items()}


def _held_hands(body: Posed, missing: _Missing | None = None) -> Held:
    """What counts is decided for whole approaches: they must touch, or stay near and rest. `Held.felt` is not told.

    Args:
        body: whose hands.
        missing: what they lack on another body: then distance from trunk, head and other hand counts alone, and
            guidance fades so slowly that a way back can be found.
    """
    motion, strength, unsure = body.motion, {}, {}
    seen = {side: _wrist(body, side) for side in SIDES}
    for side in SIDES:
        still = _still(seen[side], motion.fps)
        low, high = _low_and_high(body, side)
        if missing is None:
            strength[side] = _held(high, still, motion.fps)
        else:
            strength[side] = _drawn(high, missing.way[side])
        strength[side] = np.maximum(_held(low, still, motion.fps, passing=True), strength[side])
        unsure[side] = np.maximum(-DEEPEST_M - np.minimum(low, high), 0.0) + _SLIDING_M * (1.0 - still)
    gap = hand_gaps(body)[1].min(axis=(1, 2))
    still = _still(seen["left"] - seen["right"], motion.fps)
    if missing is None:
        strength["hands"] = _held(gap, still, motion.fps)
    else:
        strength["hands"] = _drawn(gap, missing.between)
    return Held(strength, unsure, {})


def _felt(body: Posed, touches: bool) -> dict[str, Array]:
    """Side → (T,) 1 where a hand touches body or other hand, 0 where it is only near.

    Where nothing touches in the whole motion nothing is felt; else whole approaches are that touch or rest near.
    """
    if not touches or _nearest_m(body) >= _FELT_M:
        return {side: np.zeros(len(body.places), np.float32) for side in SIDES}
    own = _held_hands(body).strength
    return {side: np.maximum(own[side], own["hands"]) for side in SIDES}


def _nearest_m(body: Posed) -> float:
    """How near hands come to body and each other in the whole motion, metres."""
    return min(float(gap.min()) for gap in (hand_gaps(body)[1], *(_resting_gap(body, side) for side in SIDES)))


def _resting_gap(body: Posed, side: str) -> Array:
    """(T,) how near a hand is to the body, metres; hips that it passes are far."""
    low, high = _low_and_high(body, side)
    held = _held(low, _still(_wrist(body, side), body.motion.fps), body.motion.fps, passing=True)
    return np.asarray(np.where(held > 0, np.minimum(low, high), high), np.float32)


def _low_and_high(body: Posed, side: str) -> tuple[Array, Array]:
    """(T,) gaps of a hand to hips and waist, and to all above.

    Hands pass the hips on their way up from hanging: only one that rests there is on the hip.
    """
    gaps = {bone: gap.min(axis=1) for bone, _, gap in body_gaps(body, side)}
    low = np.min([gaps[bone] for bone in _PASSED], axis=0)
    return low, np.min([gap for bone, gap in gaps.items() if bone not in _PASSED], axis=0)


def _wrist(body: Posed, side: str) -> Array:
    """(T, 3) in the chest frame."""
    return body.local("upperChest", body.places[:, [body.motion.skeleton.index(f"{side}Hand")]])[:, 0]


def _drawn(gap: Array, asked: Array) -> Array:
    """(T,) strength from gap (T,) alone, over so long a way that what is asked (T, 3) never folds a path."""
    width = np.clip(_UNFOLDED * np.linalg.norm(asked, axis=-1), _REACH[1] - _REACH[0], _FARTHEST_M - _REACH[0])
    return _ramp((gap - _REACH[0]) / width, (0.0, 1.0))


def _still(place: Array, fps: int) -> Array:
    """(T,) 1 where a point (T, 3) rests, 0 where it moves."""
    if len(place) < 2:
        return np.ones(len(place), np.float32)
    speed = np.linalg.norm(np.gradient(place, axis=0), axis=-1) * fps
    return _ramp(speed.astype(np.float32), _STILL_M_S)


def _held(gap: Array, still: Array, fps: int, passing: bool = False) -> Array:
    """(T,) strength of a contact from its gap (T,), every approach weighed as a whole; `passing`: it must rest."""
    near = _ramp(gap, _NEAR)
    resting = minimum_filter1d(near * still, max(1, round(_HOLD_S * fps)), mode="nearest")
    strength = _weighed(near, resting)
    if passing:
        return strength
    return np.maximum(strength, _weighed(_ramp(gap, _REACH), _ramp(gap, _TOUCH)))


def _weighed(ramp: Array, proof: Array) -> Array:
    """(T,) a ramp whose every stretch above 0 is scaled by the most that `proof` (T,) reaches in it."""
    out = ramp.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (ramp > 0).astype(np.int8), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        out[start:stop] *= proof[start:stop].max()
    return out


@dataclass(frozen=True, eq=False)
class _Missing:
    """What a motion lacks so that its hands are where they touch, metres in the world.

    Attributes:
        at: side → (T, 3) the touching point by the body.
        way: side → (T, 3) from there to its place.
        met: side → (T, 3) the point nearest to the other hand.
        between: (T, 3) what the way from right to left point lacks.
    """

    at: dict[str, Array]
    way: dict[str, Array]
    met: dict[str, Array]
    between: Array


def _missing(source: Posed, target: Posed) -> _Missing:
    """Among all points of a hand and all solids those that touch most count most."""
    sizes = sizes_of(target.motion.skeleton)
    at, way = {}, {}
    for side in SIDES:
        gaps, ways = [], []
        for bone, local, gap in body_gaps(source, side):
            gaps.append(gap)
            ways.append(target.outside(bone, local * sizes[bone]) - target.points[side])
        share = _shares(np.concatenate(gaps, axis=1))[..., None]
        at[side] = np.sum(share * np.tile(target.points[side], (1, len(gaps), 1)), axis=1)
        way[side] = np.sum(share * np.concatenate(ways, axis=1), axis=1)
    between, gap = hand_gaps(source)
    scale = [hand_size(body.motion.skeleton, "left") for body in (source, target)]
    short = between * np.float32(scale[1] / scale[0]) - hand_gaps(target)[0]
    share = _shares(gap.reshape(len(gap), -1))
    each = share.reshape(gap.shape)
    met = {
        side: np.sum(each.sum(axis=axis)[..., None] * target.points[side], axis=1)
        for side, axis in zip(SIDES, (2, 1), strict=True)
    }
    return _Missing(at, way, met, np.sum(share[..., None] * short.reshape(len(gap), -1, 3), axis=1))


def _pulls(now: _Missing, first: _Missing, strength: dict[str, Array]) -> Pulls:
    """Side → what the hand's touching point has to do: from where (T, 3) and by how much (T, 3) in the world, faded.

    What fades is the way asked at first, so that no number of passes asks for more. Hands that meet share what is
    missing between them; the one that holds on to the body less moves more.

    Args:
        now: what is missing in this pass.
        first: what was missing before all of them.
        strength: of `Held`.
    """
    meet = strength["hands"]
    left = {side: (1.0 - strength[side])[:, None] for side in SIDES}
    way = {side: now.way[side] - left[side] * first.way[side] for side in SIDES}
    before = first.between - sum(
        sign * (1.0 - left[side]) * first.way[side] for side, sign in zip(SIDES, (1.0, -1.0), strict=True)
    )
    missing = now.between - (way["left"] - way["right"]) - (1.0 - meet)[:, None] * before
    free = {side: 1.05 - strength[side] for side in SIDES}
    out = {}
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        at = np.where((strength[side] > meet)[:, None], now.at[side], now.met[side])
        more = missing * (sign * free[side] / (free["left"] + free["right"]))[:, None]
        out[side] = (at.astype(np.float32), (way[side] + more).astype(np.float32))
    return out


def _shares(gap: Array) -> Array:
    """(T, P) weights that add up to 1, of the points by their gaps (T, P).

    Where something touches, a centimetre farther counts an eighth; from farther away all points count more alike.
    """
    nearest = gap.min(axis=1, keepdims=True)
    weight = np.exp(-(gap - nearest) / (_FALLOFF_M + _FALLOFF_GAPS * np.maximum(nearest - _FELT_M, 0.0)))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), np.float32)


def _smoothed(x: Array) -> Array:
    """Averaged over neighbouring frames, so that a contact's coming and going does not jerk the arm."""
    kernel = np.hanning(2 * _SMOOTH_FRAMES + 3)[1:-1]
    padded = np.pad(x, ((_SMOOTH_FRAMES, _SMOOTH_FRAMES), (0, 0)), mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SMOOTH_FRAMES + 1, axis=0)
    return (window @ (kernel / kernel.sum())).astype(np.float32)


def _tilted(turned: Array, wrist: Array, at: Array, way: Array) -> Array:
    """Hands (T, 4) turned about their wrists so that the touching point comes nearer to its place, by 25° at most."""
    turn = rot.to_rotation_vector(rot.rotation_between(at - wrist, at + way - wrist))
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    return rot.multiply(rot.from_rotation_vector(turn * np.minimum(1.0, _MOST_TILT / np.maximum(angle, 1e-6))), turned)


def _shrugged(shoulder: Array, reach: Array, way: Array) -> Array:
    """Clavicles (T, 4), all in the chest frame, turned so that the joint at `reach` (T, 3) moves along `way` (T, 3)."""
    axis = np.cross(reach, way) / np.maximum(np.sum(reach * reach, axis=-1, keepdims=True), 1e-6)
    angle = np.linalg.norm(axis, axis=-1, keepdims=True)
    turn = rot.from_rotation_vector(axis * np.minimum(1.0, _MOST_SHRUG / np.maximum(angle, 1e-6)))
    return rot.multiply(turn, shoulder)


def _hands_as(motion: Motion, source: Posed, share: Array, side: str) -> Array:
    """(T, 4) how a hand shall be turned in the chest frame: one that touches as on the source, others as they are.

    What touches with the palm shall not with its edge.
    """
    skeleton = motion.skeleton
    chest, hand = skeleton.index("upperChest"), skeleton.index(f"{side}Hand")
    world = forward(motion.rotations, motion.root_m, skeleton)[1]
    own, wanted = (rot.multiply(rot.conjugate(w[:, chest]), w[:, hand]) for w in (world, source.world))
    return rot.slerp(own, wanted, share)


def _eased(skeleton: Skeleton, side: str, arm: Array) -> Array:
    """Arms (T, 4, 4) whose elbow is turned, wrist and hand kept, where that brings a joint back inside its limits."""
    names = tuple(side + bone for bone in _ARM)
    outside = limits.excess_of(arm, names, skeleton).sum(axis=1)
    if outside.max() < _OUTSIDE:
        return arm
    frames, turns = len(arm), np.radians(_SWIVELS).astype(np.float32)
    every = np.tile(arm, (len(turns), 1, 1))
    every = swivel_arm(skeleton, side, every, np.repeat(turns, frames))
    cost = limits.excess_of(every, names, skeleton).sum(axis=1).reshape(len(turns), frames)
    # A swivel is worth it for what it brings, and small ones are enough where they are enough.
    best = turns[np.argmin(cost + _SWIVEL_COST * np.abs(turns)[:, None], axis=0)]
    width = 4 * _SMOOTH_FRAMES
    return swivel_arm(skeleton, side, arm, gaussian_filter1d(best, width / 2, mode="nearest"))


def _kept_apart(motion: Motion, before: Posed, held: Held, fingers: bool) -> Motion:
    """Hands that are only near something, kept as near: a few steps from where they were, so that a way back is found.

    Arms yield to their reach and limits instead of stopping there: no two places come out as one.
    """
    skeleton, chest = motion.skeleton, motion.skeleton.index("upperChest")
    start, first = motion.rotations, None
    for _ in range(_NEAR_PASSES):
        now = Posed.of(motion, fingers)
        missing = _missing(before, now)
        first = first or missing
        out, back = start.copy(), rot.conjugate(now.world[:, chest])
        for side, (_, way) in _pulls(missing, first, held.strength).items():
            way = _smoothed(way)
            held_here = np.maximum(held.strength[side], held.strength["hands"]) > 0
            busy = np.flatnonzero(held_here | (np.linalg.norm(way, axis=-1) > 1e-4))
            columns = skeleton.indices([side + bone for bone in _ARM])
            asked = now.places[:, columns[3]] + way - now.places[:, chest]
            place, stiff = rot.rotate(back, asked)[busy], np.ones(len(busy), np.float32)
            arm = start[busy][:, columns]
            out[np.ix_(busy, columns)] = move_arm(skeleton, side, arm, place, stiff=stiff, yields=True)
        out = limits.yielding(out, start, _UPPER)
        motion = replace(motion, rotations=limits.clamp(out, names=_ARMS))
    return motion


def _searched(motion: Motion, now: Posed, pulls: Pulls, held: Held, hands: dict[str, Array]) -> Motion:
    """Hands that touch brought nearer to their places by all joints of the arm together."""
    skeleton, chest = motion.skeleton, motion.skeleton.index("upperChest")
    out, back = motion.rotations.copy(), rot.conjugate(now.world[:, chest])
    for side, (at, way) in pulls.items():
        busy = np.flatnonzero(held.felt[side] > 0)
        if not len(busy):
            continue
        columns = skeleton.indices([side + bone for bone in _ARM])
        point = rot.rotate(rot.conjugate(now.world[:, columns[3]]), at - now.places[:, columns[3]])
        place = rot.rotate(back, at + way - now.places[:, chest])
        arm = motion.rotations[busy][:, columns]
        found = bring_point(skeleton, side, arm, point[busy], place[busy], hands[side][busy], _STEPS)
        turn = rot.to_rotation_vector(rot.multiply(found, rot.conjugate(arm))) * held.felt[side][busy, None, None]
        every = np.zeros((len(motion), 12), np.float32)
        every[busy] = turn.reshape(len(busy), 12)
        turned = rot.from_rotation_vector(_smoothed(every).reshape(-1, 4, 3))
        out[:, columns] = rot.multiply(turned, out[:, columns])
    return replace(motion, rotations=limits.clamp(out, names=_ARMS))


def keep_contacts(
    motion: Motion, source: Motion, fingers: bool = True, passes: int = 5, held: Held | None = None
) -> Motion:
    """Bring hands to the places that they touch on the source, inside the joint limits.

    Args:
        motion: the source's angles on the target body (our 55 bones of any proportions).
        source: the same frames on the source's body.
        fingers: whether the source's fingers are its own; otherwise only palms touch.
        passes: in the later ones the hand tilts as well, where the arm is too long or too short for the place.
        held: `holds` of the source, where it is known already.

    Returns:
        `motion` with changed arms where the source's hands are near something, else the same bits.
    """
    if not len(motion) or motion.skeleton is source.skeleton:
        return motion
    before, skeleton = Posed.of(source, fingers), motion.skeleton
    held = held or holds(source, motion, fingers)
    if not held:
        return motion
    strength = held.strength
    chest = skeleton.index("upperChest")
    asked: dict[str, Array] = {}
    felt = held.felt
    if not any(bool(share.any()) for share in felt.values()):
        return _kept_apart(motion, before, held, fingers)
    wanted = {side: _hands_as(motion, before, felt[side], side) for side in SIDES}
    as_source = dict(wanted)
    best, least = motion, np.inf
    first: _Missing | None = None
    for turn in range(passes + 1):
        now = Posed.of(motion, fingers)
        missing = _missing(before, now)
        first = first or missing
        pulls = _pulls(missing, first, strength)
        missed = sum(float((felt[side] * np.linalg.norm(way, axis=-1)).max()) for side, (_, way) in pulls.items())
        if missed < least:
            best, least = motion, missed
        if turn == passes or least < _DONE_M:
            break
        out = motion.rotations.copy()
        back = rot.conjugate(now.world[:, chest])
        for side, (at, way) in pulls.items():
            way = _smoothed(way)
            held_here = np.maximum(strength[side], strength["hands"]) > 0
            busy = np.flatnonzero(held_here | (np.linalg.norm(way, axis=-1) > 1e-4))
            if not len(busy):
                continue
            columns = skeleton.indices([side + bone for bone in _ARM])
            wrist = now.places[:, columns[3]]
            arm = motion.rotations[busy][:, columns]
            if side in asked:
                # What the arm could not do hand and shoulder do in part.
                failed = np.linalg.norm(asked[side] - wrist, axis=-1)
                help_m = way * (felt[side] * (1.0 - _ramp(failed, _FAILED_M)))[:, None]
                local = [rot.rotate(back, x) for x in (wrist, at, help_m)]
                wanted[side] = _tilted(wanted[side], *local)
                joint = now.places[:, skeleton.index(f"{side}UpperArm")] - now.places[:, columns[0]]
                arm[:, 0] = _shrugged(arm[:, 0], rot.rotate(back, joint)[busy], rot.rotate(back, help_m)[busy])
            asked[side] = wrist + way
            place = rot.rotate(back, wrist + way - now.places[:, chest])[busy]
            moved = move_arm(skeleton, side, arm, place, wanted[side][busy], 1.0 - felt[side][busy])
            out[np.ix_(busy, columns)] = _eased(skeleton, side, moved)
        motion = replace(motion, rotations=limits.clamp(out, names=_ARMS))
    for _ in range(_SEARCHES if least >= _DONE_M else 0):
        now = Posed.of(best, fingers)
        missing = _missing(before, now)
        pulls = _pulls(missing, first or missing, strength)
        best = _searched(best, now, pulls, held, as_source)
    return best

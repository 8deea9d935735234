"""What the refiner can be asked for: refine, protect, continue, fill in, edit, make freely.

    decoded motion ──► refine        in time with the sound; strength 0 gives it back
                       protect       the same, with hands that stay where they are
                       continued     the same, going on from what was shown, without a seam
    two motions    ──► in_between    the frames between them
    a motion       ──► edit          one arm, one interval, all but a keyframe made anew; nothing else changes
    a sound        ──► free          motion from it alone

All are one network and one sampler (`flow`) with another mask. Times are seconds from the motion's first frame, whose
sound is the first row of `Conditions.sound`. Legs, eyes, root and face are as in what is given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.blend import fade_curve, inertialize
from visavis.motion.constraints import Constraint, solve
from visavis.motion.idle import idle
from visavis.motion.motion import FPS, Motion
from visavis.refiner.conditions import Conditions
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.flow_sampler import flow
from visavis.refiner.pose_points import LIMBS
from visavis.refiner.protection import Hold, hold

__all__ = ["FREE_STEPS", "STEPS", "continued", "edit", "free", "in_between", "protect", "refine"]

STEPS = 2  # where most of the motion is given
FREE_STEPS = 8  # where the path begins at noise
CONTEXT = 32  # frames before and after that filling in sees: the network's own reach is 64

Confidence = float | NDArray[np.floating]


def _confidences(confidence: Confidence, frames: int) -> NDArray[np.float32]:
    """(frames, 3) of a number, of (frames,) or of (frames, 3)."""
    x = np.asarray(confidence, np.float32)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim > 2 or (x.ndim == 2 and (len(x) != frames or x.shape[1] not in (1, len(LIMBS)))):
        raise ValueError(f"expected one confidence, or ({frames},) or ({frames}, 3) of them; got {x.shape}")
    if x.size and not (0 <= x.min() and x.max() <= 1):
        raise ValueError(f"confidence must lie in [0, 1]; got {x.min():.2f} to {x.max():.2f}")
    return np.broadcast_to(x, (frames, len(LIMBS)))


def _strength(decoded: Motion, refined: Motion, strength: float) -> Motion:
    if strength >= 1.0:
        return refined
    share = np.full(decoded.rotations.shape[:2], strength, np.float32)
    return replace(refined, rotations=rot.slerp(decoded.rotations, refined.rotations, share))


def _anew(
    refiner: FlowRefiner,
    given: Motion,
    known: NDArray[np.bool_],
    sure: NDArray[np.float32],
    conditions: Conditions,
    *,
    seed: int,
    steps: int,
) -> Motion:
    """Make what is not known, then refine it like decoded motion: that puts the beats in and takes jerks away."""
    made = flow(refiner, given, known, sure, conditions, seed=seed, steps=steps)
    return flow(refiner, made, known, np.ones_like(sure), conditions, seed=seed, steps=STEPS)


def refine(
    refiner: FlowRefiner,
    decoded: Motion,
    conditions: Conditions | None = None,
    *,
    strength: float = 1.0,
    confidence: Confidence = 1.0,
    seed: int = 0,
    steps: int = STEPS,
) -> Motion:
    """Take back what the tokens got wrong and put the motion in time with its sound.

    Args:
        refiner: the network.
        decoded: T frames of decoded motion.
        conditions: sound, emotion, style.
        strength: 0 gives `decoded` back, bit for bit; 1 the full refinement; between, the rotations between.
        confidence: how far `decoded` is trusted, in [0, 1]; a number, (T,) by frame or (T, 3) by frame and limb (core,
            left, right). At 1 its strokes stay where they are; below, they may move in time, more the less it is sure.
        seed: of the noise.
        steps: Euler steps.
    Returns:
        T frames.
    Raises:
        ValueError: a confidence, sound, emotion or style that cannot be.
    """
    sure = _confidences(confidence, len(decoded))
    if strength <= 0.0 or not len(decoded):
        return decoded
    known = np.zeros((len(decoded), len(LIMBS)), bool)
    made = flow(refiner, decoded, known, sure, conditions or Conditions(), seed=seed, steps=steps)
    return _strength(decoded, made, strength)


def protect(
    refiner: FlowRefiner,
    decoded: Motion,
    holds: Sequence[Hold],
    conditions: Conditions | None = None,
    *,
    constraints: Sequence[Constraint] = (),
    strength: float = 1.0,
    confidence: Confidence = 1.0,
    seed: int = 0,
    steps: int = STEPS,
) -> Motion:
    """Refine, but keep hands where they are in their frames, and meet constraints: both are solved after refining.

    Args:
        refiner: the network.
        decoded: T frames.
        holds: hands and times; what must be protected is the hand's place and turn in its frame, not its angles,
            because a spine that moves would take it along.
        conditions: see `refine`.
        constraints: what else is promised, on the motion's clock (`visavis.motion.constraints`), met last.
        strength: see `refine`.
        confidence: see `refine`; while a hand is held its limb counts as sure.
        seed: of the noise.
        steps: Euler steps.
    Returns:
        T frames. A held hand is within millimetres of where it was, as far as its arm reaches.
    """
    sure = _confidences(confidence, len(decoded)).copy()
    for one in holds:
        column = LIMBS.index(one.hand)
        sure[:, column] = np.maximum(sure[:, column], one.weight(len(decoded), decoded.fps))
    made = refine(refiner, decoded, conditions, strength=strength, confidence=sure, seed=seed, steps=steps)
    return solve(hold(made, decoded, holds), constraints) if len(decoded) else made


def continued(
    refiner: FlowRefiner,
    shown: Motion,
    decoded: Motion,
    conditions: Conditions | None = None,
    *,
    strength: float = 1.0,
    confidence: Confidence = 1.0,
    seed: int = 0,
    steps: int = STEPS,
) -> Motion:
    """Refine what comes next so that it goes on from what was shown, in place and speed.

    Args:
        refiner: the network.
        shown: the frames before; the last 32 count, two are enough for their speed.
        decoded: T frames that follow.
        conditions: see `refine`; their sound begins with `decoded`.
        strength: of the refinement; the seam is closed at any strength.
        confidence: see `refine`.
        seed: of the noise.
        steps: Euler steps.
    Returns:
        T frames.
    """
    sure = _confidences(confidence, len(decoded))
    if not len(shown) or not len(decoded):
        return refine(refiner, decoded, conditions, strength=strength, confidence=confidence, seed=seed, steps=steps)
    shown = shown.slice(max(len(shown) - CONTEXT, 0), len(shown))
    lead = len(shown)
    plain = inertialize(shown, decoded.with_face(None))
    both = shown.with_face(None).concatenate(plain)
    known = np.zeros((len(both), len(LIMBS)), bool)
    known[:lead] = True
    sure = np.concatenate([np.ones((lead, len(LIMBS)), np.float32), sure])
    wanted = _later(conditions, lead, len(decoded))
    made = flow(refiner, both, known, sure, wanted, seed=seed, steps=steps).slice(lead, len(both))
    if strength < 1.0:
        made = _strength(plain, made, max(strength, 0.0))
    return _with_limbs(decoded, made)


def _with_limbs(base: Motion, made: Motion) -> Motion:
    """`base` with the limbs of `made`."""
    turned = base.rotations.copy()
    for limb in LIMBS:
        bones = base.skeleton.part(limb)
        turned[:, bones] = made.rotations[:, bones]
    return replace(base, rotations=turned)


def in_between(
    refiner: FlowRefiner,
    before: Motion,
    after: Motion,
    frames: int,
    conditions: Conditions | None = None,
    *,
    seed: int = 0,
    steps: int = FREE_STEPS,
) -> Motion:
    """Make the frames between two motions.

    Args:
        refiner: the network.
        before: what comes before; its last 32 frames count. A single pose is enough.
        after: what comes after; its first 32 frames count.
        frames: how many are between.
        conditions: see `refine`; their sound begins with the first frame between.
        seed: of the noise.
        steps: Euler steps.
    Returns:
        `frames` frames that leave `before` and reach `after` in place and, where these have one, in speed. Legs, eyes,
        root and face go from one to the other with least jerk.
    Raises:
        ValueError: an end is missing.
    """
    if not len(before) or not len(after):
        raise ValueError("expected a motion before and one after, of a frame or more each; got none: use continued")
    before = before.slice(max(len(before) - CONTEXT, 0), len(before))
    after = after.slice(0, CONTEXT)
    if frames <= 0:
        return before.slice(0, 0)
    middle = _between(before, after, frames)
    whole = before.concatenate(middle).concatenate(after)
    first, last = len(before), len(before) + frames
    known = np.ones((len(whole), len(LIMBS)), bool)
    known[first:last] = False
    sure = known.astype(np.float32)
    made = _anew(refiner, whole, known, sure, _later(conditions, first, frames), seed=seed, steps=steps)
    return _with_limbs(middle, made.slice(first, last))


def _between(before: Motion, after: Motion, frames: int) -> Motion:
    """(frames) from the last frame of one to the first of the other, least jerk: what legs, root and face do."""
    share = fade_curve(np.arange(1, frames + 1) / (frames + 1))
    old, new = before.slice(len(before) - 1, len(before)), after.slice(0, 1)
    turned = rot.slerp(
        np.repeat(old.rotations, frames, axis=0), np.repeat(new.rotations, frames, axis=0),
        np.broadcast_to(share[:, None], (frames, old.rotations.shape[1])),
    )  # fmt: skip
    face = None
    if old.face is not None and new.face is not None:
        face = old.face + share[:, None] * (new.face - old.face)
    return replace(old, rotations=turned, root_m=old.root_m + share[:, None] * (new.root_m - old.root_m), face=face)


def _later(conditions: Conditions | None, lead: int, frames: int) -> Conditions:
    """The conditions of a stretch that begins `lead` frames earlier; nothing is known of the sound before."""
    wanted = conditions or Conditions()
    if wanted.sound is None:
        return wanted
    sound = np.asarray(wanted.sound, np.float32)[:frames]
    return replace(wanted, sound=np.concatenate([np.zeros((lead, *sound.shape[1:]), np.float32), sound]))


def edit(
    refiner: FlowRefiner,
    motion: Motion,
    conditions: Conditions | None = None,
    *,
    limbs: Collection[str] = LIMBS,
    from_s: float = 0.0,
    to_s: float | None = None,
    keyframes_s: Sequence[float] = (),
    variation: float = 1.0,
    seed: int = 0,
    steps: int = FREE_STEPS,
) -> Motion:
    """Make some limbs of some time anew.

    Args:
        refiner: the network.
        motion: T frames.
        conditions: see `refine`; their sound begins with `motion`.
        limbs: of core, left, right. An edited core takes the arms along, whose own rotations stay.
        from_s: start of the interval.
        to_s: end of it; None for the motion's.
        keyframes_s: times within it whose pose stays: put the pose you want there into `motion` first. All but a
            keyframe is `edit(motion, keyframes_s=[1.2])`.
        variation: 1 forgets what is edited, less stays near it, 0 only refines it.
        seed: of the noise.
        steps: Euler steps.
    Returns:
        T frames, bit for bit `motion` outside the interval, in other limbs and at keyframes; no jump at either.
    Raises:
        ValueError: a limb that is none, an empty interval, a keyframe outside the motion, a variation outside [0, 1].
    """
    if unknown := sorted(set(limbs) - set(LIMBS)):
        raise ValueError(f"expected limbs of {', '.join(LIMBS)}; got {', '.join(unknown)}")
    if not 0.0 <= variation <= 1.0:
        raise ValueError(f"variation must lie in [0, 1]; got {variation}")
    end = len(motion) / FPS if to_s is None else to_s
    first, last = max(round(from_s * FPS), 0), min(round(end * FPS), len(motion))
    if first >= last:
        raise ValueError(
            f"expected an interval inside the motion's {len(motion) / FPS:.2f} s; got {from_s:.2f} to {end:.2f} s"
        )
    known = np.ones((len(motion), len(LIMBS)), bool)
    known[first:last, [LIMBS.index(limb) for limb in limbs]] = False
    for at in keyframes_s:
        frame = round(at * FPS)
        if not 0 <= frame < len(motion):
            raise ValueError(f"expected keyframes inside the motion's {len(motion) / FPS:.2f} s; got one at {at:.2f} s")
        known[frame] = True
    low, high = max(first - CONTEXT, 0), min(last + CONTEXT, len(motion))
    wanted = conditions or Conditions()
    if wanted.sound is not None:
        wanted = replace(wanted, sound=np.asarray(wanted.sound)[low:high])
    sure = np.where(known, 1.0, 1.0 - variation).astype(np.float32)[low:high]
    piece = _anew(refiner, motion.slice(low, high), known[low:high], sure, wanted, seed=seed, steps=steps)
    turned = motion.rotations.copy()
    turned[low:high] = piece.rotations
    return replace(motion, rotations=turned)


def free(
    refiner: FlowRefiner,
    conditions: Conditions,
    frames: int | None = None,
    *,
    base: Motion | None = None,
    seed: int = 0,
    steps: int = FREE_STEPS,
) -> Motion:
    """Make a motion from sound, emotion and style alone.

    Args:
        refiner: the network.
        conditions: what it shall fit.
        frames: how many; None for as many as the sound has.
        base: whose legs, eyes, root and face it gets; None for somebody who stands at ease.
        seed: of the noise and of the idle body; another seed is another motion to the same sound.
        steps: Euler steps.
    Returns:
        `frames` frames.
    Raises:
        ValueError: neither frames nor a sound say how long it is.
    """
    if frames is None:
        if conditions.sound is None:
            raise ValueError("expected frames, or a sound that says how many; got neither")
        frames = len(conditions.sound)
    under = idle(frames, seed) if base is None else base.slice(0, frames)
    if len(under) < frames:
        raise ValueError(f"expected a base of {frames} frames or more; got {len(under)}")
    nothing = np.zeros((frames, len(LIMBS)), bool)
    return _anew(refiner, under, nothing, nothing.astype(np.float32), conditions, seed=seed, steps=steps)

"""All joints of an arm share in bringing a point of its hand to a place, inside the joint limits.

The closed form of `visavis.motion.ik` knows one way to a place. Where that way ends at a limit (an elbow that folds no
tighter, a wrist that bends no farther) other joints can still give what is missing: the clavicle goes back, the hand
turns a little. Damped least squares finds the smallest turns of all of them (Wampler 1986, Nakamura & Hanafusa 1986);
what a limit takes away the next step asks of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.skeleton import Skeleton

__all__ = ["bring_point"]

Array = NDArray[np.float32]

_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
# The next step is longer after one that helped, shorter after one that did not.
_BOLDER: Final = 0.5
_CAREFUL: Final = 2.0
# A joint is stopped by a limit that takes so much of its step, radians; so much stiffer it is in the next.
_STOPPED: Final = np.radians(0.1)
_STOPS: Final = 8.0
_Y: Final = np.array([0, 1, 0], np.float32)
# What is missed counts in these units: metres of the point, radians of the hand's orientation.
_POINT_M: Final = 0.002
_TURN: Final = np.radians(12.0)
# How far a joint likes to turn in one step, radians.
_EASY: Final = np.radians([3.0, 8.0, 8.0, 8.0])


def bring_point(
    skeleton: Skeleton, side: str, arm: ArrayLike, point_m: ArrayLike, place_m: ArrayLike, hand: ArrayLike, steps: int
) -> Array:
    """Turn all joints of an arm a little so that a point of its hand comes to a place.

    Args:
        skeleton: the body.
        side: "left" or "right".
        arm: (T, 4, 4) local rotations of Shoulder, UpperArm, LowerArm and Hand, inside their limits.
        point_m: (T, 3) the point in the frame of the hand bone, metres.
        place_m: (T, 3) where it shall be in the chest frame, metres.
        hand: (T, 4) how the hand shall be turned in the chest frame; given up for the place where both cannot be.
        steps: more come nearer.

    Returns:
        (T, 4, 4) as `arm`, inside the limits.
    """
    place, wanted, local = (np.asarray(x, np.float32) for x in (place_m, hand, point_m))
    bones = tuple(side + bone for bone in _ARM)
    offsets = skeleton.offsets_m[skeleton.indices(bones)]
    best = _Tried.of(np.asarray(arm, np.float32), offsets, local, place, wanted)
    stiff = np.ones((len(best.arm), 4))
    for _ in range(steps):
        asked = best.stepped(stiff)
        out = limits.clamp_of(asked, bones, skeleton)
        tried = _Tried.of(out, offsets, local, place, wanted)
        better = (tried.cost < best.cost)[:, None]
        # A joint that a limit stopped leaves it to the others, and what was no gain is tried again shorter.
        stopped = rot.angle_between(asked, out) > _STOPPED
        stiff = stiff * np.where(better, _BOLDER, _CAREFUL) * np.where(stopped, _STOPS, 1.0)
        best = best.replaced(tried, better[:, 0])
    return best.arm


@dataclass(frozen=True, eq=False)
class _Tried:
    """Arms (T, 4, 4) and how they would move: of T frames each."""

    arm: Array
    above: Array  # (T, 4, 4) orientations of the joints' parents in the chest frame
    rows: NDArray[np.float64]  # (T, 6, 12) what point and hand do when joints turn about x, y, z of the chest
    missed: NDArray[np.float64]  # (T, 6)
    easy: NDArray[np.float64]  # (T, 12, 12)

    @classmethod
    def of(cls, arm: Array, offsets: Array, local: Array, place: Array, wanted: Array) -> _Tried:
        """See what an arm misses."""
        joints, turned = _placed(arm, offsets)
        point = joints[3] + rot.rotate(turned[3], local)
        moves = np.stack([_crosses(point - joint) for joint in joints], axis=2).reshape(len(arm), 3, 12) / _POINT_M
        turns = np.broadcast_to(np.tile(np.eye(3), 4) / _TURN, moves.shape)
        off = rot.to_rotation_vector(rot.multiply(wanted, rot.conjugate(turned[3])))
        missed = np.concatenate([(place - point) / _POINT_M, off / _TURN], axis=-1).astype(np.float64)
        easy = np.tile(np.diag(np.repeat(_EASY**2, 3)), (len(arm), 1, 1))
        # An elbow is a hinge that twists: it does not turn about what is across both axes.
        across = rot.normalize(np.cross(rot.rotate(turned[1], _Y), joints[3] - joints[2])).astype(np.float64)
        easy[:, 6:9, 6:9] = _EASY[2] ** 2 * (np.eye(3) - across[:, :, None] * across[:, None])
        above = np.stack([np.broadcast_to(rot.IDENTITY, turned[0].shape), *turned[:3]], axis=1)
        return cls(arm, above, np.concatenate([moves, turns], axis=1), missed, easy)

    @property
    def cost(self) -> NDArray[np.float64]:
        """(T,) what is missed."""
        return np.asarray(np.sum(self.missed**2, axis=-1))

    def stepped(self, stiff: NDArray[np.float64]) -> Array:
        """Arms after one step, shorter where joints are stiffer (T, 4); perhaps outside their limits."""
        weighed = self.rows @ (self.easy / np.repeat(stiff, 3, axis=1)[:, None])
        system = weighed @ np.swapaxes(self.rows, 1, 2) + np.eye(6)
        step = np.swapaxes(weighed, 1, 2) @ np.linalg.solve(system, self.missed[..., None])
        by = rot.from_rotation_vector(step.reshape(len(step), 4, 3))
        # A turn in the chest frame, seen by the joint's parent; joints above turn those below with them.
        return rot.multiply(rot.multiply(rot.conjugate(self.above), rot.multiply(by, self.above)), self.arm)

    def replaced(self, other: _Tried, where: NDArray[np.bool_]) -> _Tried:
        """The other's frames where asked (T,)."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Tried(*(np.where(where.reshape(-1, *(1,) * (a.ndim - 1)), b, a) for a, b in pairs))


def _placed(arm: Array, offsets: Array) -> tuple[list[Array], list[Array]]:
    """Places (T, 3) and orientations (T, 4) of the four joints in the chest frame."""
    place, turned = np.broadcast_to(offsets[0], (len(arm), 3)), arm[:, 0]
    places, orientations = [place], [turned]
    for i in range(1, 4):
        place = place + rot.rotate(turned, offsets[i])
        turned = rot.multiply(turned, arm[:, i])
        places.append(place)
        orientations.append(turned)
    return places, orientations


def _crosses(way: Array) -> NDArray[np.float64]:
    """(T, 3, 3) columns: unit vectors x, y, z crossed with ways (T, 3)."""
    x, y, z = (way[:, i].astype(np.float64) for i in range(3))
    zero = np.zeros_like(x)
    rows = [[zero, z, -y], [-z, zero, x], [y, -x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=1)

"""Codes chosen by what the decoder makes of them, not by their nearness to the encoder's output.

What a code does to the body depends on its neighbours in time and on where the limb is: of two codes equally near one
may leave the wrist 1 cm off and the other 5, and what one step gets wrong the next can take back. The decoder is almost
linear in its codes, and joints move almost linearly with features: around the nearest codes the squared error of all
joints, over time, is close to a quadratic form of the codes. It is made once from the network itself, without data;
then every code in turn changes to the one of all that makes the form least (coordinate descent). Noise feedback
coding does the same for one number at a time (Gersho and Gray 1992, section 8.5).

Legend: N codes, D code width, F features of a frame, K bones, P points, S steps, T frames (stride * S), G parts that
share a network, L frames of a response, R steps of coupling to either side.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visavis.motion import rotations as rot
from visavis.motion.kinematics import forward
from visavis.motion.skeleton import ARM_BONES, Skeleton, default_skeleton
from visavis.tokenizers.codec import PartCodec, limb_of, part_bones, rotations_from_6d

__all__ = ["CodeChoice"]

Array = NDArray[np.float32]

_VELOCITY: Final = 2.0  # weight of a point's velocity against its place, metres a frame to metres
_ENDS: Final = 4.0  # of wrists and fingertips against the joints between, squared metres
_NEAR: Final = 0.5  # of the encoder's output, near which the form is true, against a code's own weight
_TURN_M: Final = 0.02  # what a feature counts that moves no point, metres a unit
_SWEEPS: Final = 2  # times that every code may change
_REACH: Final = 2  # steps to either side that a code is seen to disturb
_CHANGE: Final = 0.02  # of a feature, for differences
_NEIGHBOURS: Final = 32  # codes that a code gives way to where the decoder's response is learnt


def _limb(part: str) -> tuple[Skeleton, NDArray[np.int64], list[str], Array]:
    """A part alone, from its first bone on.

    Returns:
        its bones and the joints that hang on them, the points that count (joints), those of them that are bones with a
        tip that counts besides, and the weights (P,): joints first, then tips.
    """
    body, side = default_skeleton(), limb_of(part)
    own = [body.names[bone] for bone in part_bones(part, body)]
    below, ends = [], []
    if part == "core":  # the arms turn back what is wrong with the chest, but not where it carries them
        below = [f"{side}{bone}" for side in ("left", "right") for bone in ("Shoulder", "UpperArm")]
        ends = ["head"]
    elif part.endswith("_arm"):
        below = [f"{side}Hand"]
    else:
        ends = [f"{side}{bone}" for bone in ARM_BONES if bone.endswith("Distal")]
    names = (*own, *below)
    places = [body.index(name) for name in names]
    parents = np.array([places.index(p) if p in places else -1 for p in body.parents[places]], np.int64)
    limb = Skeleton(names, parents, body.offsets_m[places] * (parents >= 0)[:, None], body.tips_m)
    points = np.flatnonzero(parents >= 0)
    weights = [_ENDS if names[point].endswith("Hand") else 1.0 for point in points]
    weights += [_ENDS if side != "core" else 1.0] * len(ends)
    return limb, points, ends, np.asarray(weights, np.float32)


def _metric(poses: Array, part: str) -> Array:
    """(N, F) poses → (N, F, F) weighted squared metres that a change of features moves the part's points by there."""
    limb, points, ends, weights = _limb(part)
    count, width = poses.shape
    share = np.sqrt(weights / weights.sum())[:, None]

    def places(features: Array) -> Array:  # (M, F) → (M, P * 3)
        turned = np.tile(rot.IDENTITY, (len(features), len(limb), 1)).astype(np.float32)
        turned[:, : width // 6] = rotations_from_6d(features, part)
        joints, world = forward(turned, np.zeros((len(features), 3), np.float32), limb)
        tips = [joints[:, i] + rot.rotate(world[:, i], limb.tips_m[end]) for end in ends for i in [limb.index(end)]]
        there = np.concatenate([joints[:, points], *(tip[:, None] for tip in tips)], axis=1)
        return np.asarray((there * share).reshape(len(features), -1), np.float32)

    moved = poses[:, None] + _CHANGE * np.eye(width, dtype=np.float32)
    leads = (places(moved.reshape(-1, width)).reshape(count, width, -1) - places(poses)[:, None]) / _CHANGE
    return np.asarray(leads @ leads.transpose(0, 2, 1) + 6 / width * _TURN_M**2 * np.eye(width), np.float32)


def _with_velocity(x: Array) -> Array:
    """(frames, …) → the same, each frame as places and velocities together weigh it: (1 + v² D'D) x."""
    change = _VELOCITY**2 * np.diff(x, axis=0)
    out = x.copy()
    out[1:] += change
    out[:-1] -= change
    return out


class CodeChoice:
    """The quadratic form of one network, and codes that make it small.

    Args:
        net: the network, ready to run; its weights must not change any more.
        part: one of its parts, the left side's where there are two.
        past: earlier steps that its decoder sees.
        ahead: later ones.
    """

    def __init__(self, net: PartCodec, part: str, past: int, ahead: int) -> None:
        self._net, self._past, self._ahead = net, past, ahead
        self._codes: Array = net.codebook.numpy()
        poses, response = self._response()
        self._metric = _metric(poses, part)  # (N, F, F): a code's is that of its own pose
        self._reach = min(_REACH, past + ahead)
        self._own, self._coupling = self._form(response)
        blocks = response.reshape(past + ahead + 1, -1, self._codes.shape[1])
        # (stride * F, blocks * D): what is missing in a step, and the codes that reach into it, the latest first.
        self._filter = torch.from_numpy(np.ascontiguousarray(blocks.swapaxes(0, 1)).reshape(blocks.shape[1], -1))
        self._near = _NEAR * np.trace(self._own, axis1=1, axis2=2)[:, None] / self._codes.shape[1]  # (N, 1)
        lengths = np.einsum("nd,mde,ne->mn", self._codes, self._own, self._codes, optimize=True)
        self._half = 0.5 * (lengths + self._near * (self._codes**2).sum(-1))  # (N, N): there, code

    def _response(self) -> tuple[Array, Array]:
        """Poses of codes that last (N, F), and what one code adds to the frames around it (L, F, D).

        Learnt from every code that lasts but gives way for one step to one of its neighbours.
        """
        codes, stride, reach = self._net.codebook, self._net.stride, self._past + self._ahead
        count = len(codes)
        near = torch.cdist(codes, codes).argsort(1)[:, 1 : 1 + _NEIGHBOURS]
        draw = torch.randint(near.shape[1], (count,), generator=torch.Generator().manual_seed(0))
        other = codes[near[torch.arange(count), draw]]
        lasting = codes[:, None].repeat(1, 2 * reach + 1, 1)
        base = self._net.render(lasting)
        lasting[:, reach] = other
        frames = slice((reach - self._ahead) * stride, (reach + self._past + 1) * stride)
        change = (self._net.render(lasting) - base)[:, frames].flatten(1)
        x = other - codes
        ridge = 1e-4 * x.pow(2).sum() * torch.eye(x.shape[1])
        response = torch.linalg.solve(x.T @ x + ridge, x.T @ change).T.unflatten(0, (frames.stop - frames.start, -1))
        return base[:, reach * stride + stride // 2].numpy(), response.contiguous().numpy()

    def _form(self, response: Array) -> tuple[Array, Array]:
        """The form at each code: (N, D, D) of a code with itself, (N, (2 R + 1) * D, D) with its neighbours."""
        stride, reach = self._net.stride, self._reach
        padded = np.pad(response, ((1, 1), (0, 0), (0, 0)))  # the edges of a response have velocities, too
        frames, width, size = padded.shape
        timed = _with_velocity(padded).transpose(1, 0, 2).reshape(width, -1)  # (F, L * D)
        shifted = np.zeros((frames, width, 2 * reach + 1, size), np.float32)
        for place in range(2 * reach + 1):
            by = (place - reach) * stride
            source = padded[max(0, -by) : frames - max(0, by)]
            shifted[max(0, by) : max(0, by) + len(source), :, place] = source
        right = shifted.reshape(frames * width, -1)
        out = np.empty((len(self._metric), 2 * reach + 1, size, size), np.float32)
        for place, metric in enumerate(self._metric):
            left = (metric @ timed).reshape(width, frames, size).transpose(2, 1, 0).reshape(size, -1)
            out[place] = (left @ right).reshape(size, -1, size).transpose(1, 2, 0)  # neighbour's width before own
        own = out[:, reach].copy()
        out[:, reach] = 0.0
        return own, out.reshape(len(out), -1, size)

    def __call__(self, x: Tensor, z: Tensor, codes: Tensor) -> Tensor:
        """Better codes.

        Args:
            x: (G, T, F) features that the codes shall become.
            z: (G, S, D) what the encoder makes of them.
            codes: (G, S) int64 the codes nearest to that.
        Returns:
            (G, S) int64, a new tensor.
        """
        start, reach = codes.numpy(), self._reach
        parts, steps = start.shape
        first, own = self._codes[start], self._own[start]
        base = self._pull((x - self._net.render(self._net.codebook[codes])).numpy(), start)
        base += (own @ first[..., None])[..., 0] + self._near[start] * z.numpy()  # (G, S, D)
        coupling, half = self._coupling[start], self._half[start]  # (G, S, (2 R + 1) * D, D), (G, S, N)
        moved = np.zeros((parts, steps + 2 * reach, first.shape[-1]), np.float32)
        around = np.lib.stride_tricks.sliding_window_view(moved.reshape(parts, -1), coupling.shape[2], axis=1)
        around = around[:, :: first.shape[-1], None]  # (G, S, 1, (2 R + 1) * D), a view
        chosen = start.copy()
        for _ in range(_SWEEPS):
            before = chosen.copy()
            # Steps further apart than the coupling reaches do not see each other: they change together.
            for at in (slice(place, steps, reach + 1) for place in range(min(reach + 1, steps))):
                want = base[:, at] - (around[:, at] @ coupling[:, at])[:, :, 0]
                chosen[:, at] = best = (want @ self._codes.T - half[:, at]).argmax(-1)
                moved[:, reach : reach + steps][:, at] = self._codes[best] - first[:, at]
            if np.array_equal(chosen, before):
                break
        return torch.from_numpy(chosen)

    def _pull(self, off: Array, codes: NDArray[np.int64]) -> Array:
        """(G, T, F) what is missing → (G, S, D) where that pulls each code."""
        parts, _, width = off.shape
        timed = _with_velocity(off.swapaxes(0, 1)).swapaxes(0, 1).reshape(parts, -1, self._net.stride, width)
        weighed = (timed @ self._metric[codes]).reshape(parts, len(codes[0]), -1)  # (G, S, stride * F)
        # What is missing in one step pulls the codes of all steps that reach into it.
        # By torch, which keeps to its threads: numpy would take all cores for so small a product, and longer.
        shares = (
            (torch.from_numpy(weighed) @ self._filter).numpy().reshape(*weighed.shape[:2], -1, self._codes.shape[1])
        )
        steps, blocks = shares.shape[1:3]
        out = np.zeros((parts, steps + blocks - 1, shares.shape[3]), np.float32)
        for block in range(blocks):
            first = blocks - 1 - block
            out[:, first : first + steps] += shares[:, :, block]
        return out[:, self._past : self._past + steps]

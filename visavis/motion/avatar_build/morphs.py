"""The 52 ARKit blendshapes as displacements of the head's vertices, from `morphs.yaml`.

Soft pushes (Gaussians on the face) move skin, brows and lips; lids and jaw turn about the eye and the jaw's hinge: that
is why the face mesh carries labels. Everything on the left is mirrored for the right.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.motion import rotations
from visavis.motion.avatar_build.face_mesh import MOUTH_POINTS
from visavis.motion.avatar_build.head_shape import EYE, MOUTH_Y, ORIGIN, cast_from_front
from visavis.motion.avatar_build.part import Part
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.skeleton import default_skeleton

__all__ = ["face_morphs", "jaw_share"]

Array = NDArray[np.float32]
_FLIP = np.array([-1, 1, 1], np.float32)
_SMALLEST_M = 3e-5
# Parts that soft pushes move; the rest of the head (hair, ears, teeth, eyeballs) stays.
_SOFT = ("face", "left brow", "right brow")


def _smooth(low: float, high: float, x: Array) -> Array:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _lower_lip(part: Part) -> Array:
    """(V,) 1 where a vertex belongs to the lower lip and what hangs on it, 0 for the upper, 1/2 at the corners."""
    p = part.vertices - ORIGIN
    by_height = 1 - _smooth(MOUTH_Y - 0.014, MOUTH_Y + 0.014, p[:, 1])
    if "mouth" not in part.labels:
        return by_height
    ring = part.labels["mouth"]
    by_ring = 1 - _smooth(-0.42, 0.42, part.labels["mouth_sin"])
    # The outermost ring joins the skin around it.
    share = np.clip((ring - 1) / 2, 0, 1)
    return np.where(ring > 0, share * by_ring + (1 - share) * by_height, by_height).astype(np.float32)


def jaw_share(part: Part) -> Array:
    """(V,) how much of the jaw's motion a vertex follows."""
    if part.name in ("lower teeth", "tongue"):
        return np.ones(len(part.vertices), np.float32)
    if part.name != "face":
        return np.zeros(len(part.vertices), np.float32)
    p = part.vertices - ORIGIN
    forward = _smooth(-0.012, 0.055, p[:, 2])
    inside = part.labels["mouth"] > 1
    # A line that rises towards the ears, where the jaw hangs.
    height = p[:, 1] - 0.30 * np.clip(0.055 - p[:, 2], 0, 0.06)
    skin = (1 - _smooth(MOUTH_Y - 0.016, MOUTH_Y + 0.022, height)) * forward
    sine = part.labels["mouth_sin"]
    lip = np.where(sine < 0, 0.42 + 0.58 * _smooth(0.0, 0.75, -sine), 0.42 * (1 - _smooth(0.0, 0.62, sine)))
    share = np.clip((part.labels["mouth"] - 1) / 2, 0, 1)
    # The back of the mouth follows by half, so that the cavity opens without tearing.
    lip = np.where(part.labels["mouth"] >= 9, 0.5, lip)
    return np.where(inside, share * lip + (1 - share) * skin, skin).astype(np.float32)


def _jaw_move(part: Part, pitch: float = 0.0, shift: tuple[float, ...] = (0, 0, 0)) -> Array:
    """Displacement of the jaw turned by `pitch` degrees (positive opens) and shifted by millimetres."""
    skeleton = default_skeleton()
    hinge = skeleton.rest_positions_m[skeleton.index("jaw")]
    arm = part.vertices - hinge
    turned = rotations.rotate(rotations.from_axis_angle([1, 0, 0], np.radians(pitch)), arm)
    moved = turned - arm + np.array(shift, np.float32) * 1e-3
    return (jaw_share(part)[:, None] * moved).astype(np.float32)


def _push(part: Part, at: list[float], radius: Any, move: list[float], lip: str = "all", both: bool = False) -> Array:
    out = np.zeros_like(part.vertices)
    if part.name not in _SOFT:
        return out
    p = part.vertices - ORIGIN
    across, up = radius if isinstance(radius, list) else (radius, radius)
    lower = _lower_lip(part)
    masks: dict[str, Array] = {"all": np.ones(len(p), np.float32), "lower": lower, "upper": 1 - lower}
    mask = masks[lip]
    if part.labels:
        mask = mask * (1 - part.labels["follow"])  # lids stay on the eyeball
        # Deep inside the mouth nothing is pushed.
        mask = mask * np.where(part.labels["mouth"] > 6, np.clip((9 - part.labels["mouth"]) / 3, 0, 1), 1)
    for side in (1, -1) if both else (1,):
        place = cast_from_front(np.array([at]) * [side * 1e-3, 1e-3])[0]
        d = (p - place) / (np.array([across, up, max(across, up) * 1.3]) * 1e-3)
        out += (mask * np.exp(-np.sum(d * d, axis=1)))[:, None] * np.array(move) * [side * 1e-3, 1e-3, 1e-3]
    return out


def _close(part: Part, share: float) -> Array:
    """The lips of an open jaw brought together: to be added to jawOpen."""
    out = np.zeros_like(part.vertices)
    if part.name != "face":
        return out
    opened = _shape(part, _shapes()["jawOpen"])
    p = part.vertices - ORIGIN
    near = np.exp(-((p[:, 0] / 0.030) ** 2) - ((p[:, 1] - MOUTH_Y) / 0.016) ** 2) * (p[:, 2] > 0.05)
    lower = _lower_lip(part)
    out = -(near * lower * share)[:, None] * opened
    ring = part.labels["mouth"]
    for k in range(2, int(ring.max())):
        row = np.flatnonzero(ring == k)
        opposite = row[-np.arange(MOUTH_POINTS) % MOUTH_POINTS]
        gap = opened[opposite] - opened[row]  # what the other lip moved more than this one
        move = np.where(part.labels["mouth_sin"][row] < 0, share, 1 - share)[:, None] * gap
        fade = min(1.0, (k - 1) / 2) if k <= 5 else max(0.0, (9 - k) / 4)
        out[row] = (1 - fade) * out[row] + fade * move
    return out.astype(np.float32)


def _shape(part: Part, spec: dict[str, Any]) -> Array:
    """(V, 3) displacement of one piece for one shape (a left one, or one in the middle)."""
    out = np.zeros_like(part.vertices)
    for push in spec.get("push", ()):
        out = out + _push(part, **push)
    if "jaw" in spec:
        out = out + _jaw_move(part, **spec["jaw"])
    if "close" in spec:
        out = out + _close(part, spec["close"])
    if "lid" in spec and part.name == "face":
        labels = part.labels
        upper, lower = spec["lid"]
        share = np.where(labels["upper"] > 0, upper, lower) * (labels["eye"] > 0)
        out = out + share[:, None] * labels["blink"]
    if "look" in spec and part.name == "left eyeball":
        arm = part.vertices - (ORIGIN + EYE)
        turn = rotations.from_rotation_vector(np.radians([*spec["look"], 0.0]))
        out = out + rotations.rotate(turn, arm) - arm
    if "tongue" in spec and part.name == "tongue":
        z = part.vertices[:, 2]
        t = (z - z.min()) / (z.max() - z.min())
        out = out + (t**0.8)[:, None] * np.array(spec["tongue"]) * 1e-3
        out[:, 1] -= 0.010 * np.clip(t - 0.55, 0, 1) ** 2  # the tip hangs
    return out.astype(np.float32)


def _shapes() -> dict[str, Any]:
    return yaml.safe_load((files("visavis.motion.avatar_build") / "morphs.yaml").read_text())


def _mirror_of(parts: list[Part]) -> NDArray[np.int64]:
    """(V,) for every vertex of the head its mirror image (nearest, within its own kind of part)."""
    from scipy.spatial import cKDTree

    out, start = [], {}
    count = 0
    for part in parts:
        start[part.name] = count
        count += len(part.vertices)
    for part in parts:
        other = part.name
        if other.startswith("left"):
            other = "right" + other[4:]
        elif other.startswith("right"):
            other = "left" + other[5:]
        counterpart = next(p for p in parts if p.name == other)
        points = counterpart.vertices * _FLIP
        if "mouth" in part.labels:
            # Closed lips touch: tell them apart by their rings.
            extra = np.stack([counterpart.labels["mouth"], counterpart.labels["mouth_sin"]], axis=1)
            own = np.stack([part.labels["mouth"], part.labels["mouth_sin"]], axis=1)
            index = cKDTree(np.hstack([points, extra])).query(np.hstack([part.vertices, own]))[1]
        else:
            index = cKDTree(points).query(part.vertices)[1]
        out.append(start[other] + index)
    return np.concatenate(out)


def face_morphs(parts: list[Part]) -> tuple[tuple[NDArray[np.int32], ...], tuple[Array, ...]]:
    """For each of `ARKIT_NAMES` the vertices it moves, counted through `parts`, and their displacement in metres."""
    shapes = _shapes()
    known = set(shapes) | {name[:-4] + "Right" for name in shapes if name.endswith("Left")}
    assert known == set(ARKIT_NAMES), f"morphs.yaml must give the 52 shapes; differs in {known ^ set(ARKIT_NAMES)}"
    mirror = _mirror_of(parts)
    index, delta = [], []
    for name in ARKIT_NAMES:
        if name in shapes:
            moved = np.concatenate([_shape(part, shapes[name]) for part in parts])
        else:
            moved = np.concatenate([_shape(part, shapes[name[:-5] + "Left"]) for part in parts])[mirror] * _FLIP
        rows = np.flatnonzero(np.linalg.norm(moved, axis=1) > _SMALLEST_M)
        index.append(rows.astype(np.int32))
        delta.append(moved[rows].astype(np.float32))
    return tuple(index), tuple(delta)

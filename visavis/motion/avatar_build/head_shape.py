"""The head as a field, its measures, and how points are cast onto it. All in the frame of the head bone, metres."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion.avatar_build.field import ellipsoid, round_cone, smooth_max, smooth_min
from visavis.motion.skeleton import default_skeleton

__all__ = ["CENTRE", "EYE", "EYEBALL_M", "LID_M", "MOUTH_Y", "ORIGIN", "cast_from_centre", "cast_from_front", "skull"]

Array = NDArray[np.float32]

_BONES = default_skeleton()
ORIGIN: Final = _BONES.rest_positions_m[_BONES.index("head")]
# The left eye's centre; the eyeball is smaller than the sphere that the lids slide on.
EYE: Final = _BONES.offsets_m[_BONES.index("leftEye")]
EYEBALL_M: Final = 0.0200
LID_M: Final = 0.0219
MOUTH_Y: Final = 0.0105
# Every point of the head can be seen from here.
CENTRE: Final = np.array([0.0, 0.070, 0.006], np.float32)


def skull(p: Array) -> Array:
    """The skin of the head without ears and without the openings; negative inside."""
    q = p * np.where(p[:, :1] < 0, np.array([-1, 1, 1], np.float32), np.float32(1))
    d = ellipsoid(q, (0, 0.110, -0.012), (0.0800, 0.0950, 0.0985))
    d = smooth_min(d, ellipsoid(q, (0, 0.062, 0.030), (0.0700, 0.0740, 0.0590)), 0.030)
    jaw = round_cone(q, (0.043, 0.024, 0.004), (0.010, -0.005, 0.060), 0.022, 0.0210)
    d = smooth_min(d, jaw, 0.034)
    d = smooth_min(d, ellipsoid(q, (0, -0.010, 0.068), (0.021, 0.0185, 0.0195)), 0.018)
    d = smooth_min(d, ellipsoid(q, (0.036, 0.042, 0.064), (0.027, 0.024, 0.024)), 0.024)  # cheeks
    d = smooth_min(d, ellipsoid(q, (0, 0.013, 0.0725), (0.030, 0.026, 0.0290)), 0.020)  # around the mouth
    # Fills between cheek, mouth and jaw, and beside the eye: a young, round face.
    d = smooth_min(d, ellipsoid(q, (0.034, 0.014, 0.054), (0.023, 0.023, 0.0215)), 0.028)
    d = smooth_min(d, ellipsoid(q, (0.056, 0.080, 0.046), (0.017, 0.026, 0.0200)), 0.026)
    d = smooth_min(d, ellipsoid(q, (0.026, 0.102, 0.070), (0.030, 0.013, 0.019)), 0.020)  # brows
    socket = ellipsoid(q, EYE + [0.002, 0.003, 0.020], (0.0250, 0.0150, 0.0135))
    d = smooth_max(d, -socket, 0.012)
    lids = np.linalg.norm(q - EYE, axis=1) - LID_M
    d = smooth_min(d, lids, 0.012)
    # Fills the hollow under the eye, which would look tired.
    d = smooth_min(d, ellipsoid(q, (0.033, 0.0500, 0.0730), (0.024, 0.0130, 0.0185)), 0.016)
    bridge = round_cone(q, (0, 0.090, 0.083), (0, 0.0500, 0.0985), 0.0075, 0.0095)
    d = smooth_min(d, bridge, 0.014)
    d = smooth_min(d, ellipsoid(q, (0, 0.0475, 0.1030), (0.0114, 0.0106, 0.0112)), 0.006)
    d = smooth_min(d, ellipsoid(q, (0.0116, 0.0440, 0.0955), (0.0072, 0.0068, 0.0090)), 0.006)
    d = smooth_max(d, -ellipsoid(q, (0.0058, 0.0362, 0.0985), (0.0028, 0.0030, 0.0042)), 0.004)  # nostrils
    return smooth_max(d, -ellipsoid(q, (0, 0.0265, 0.1000), (0.0028, 0.0065, 0.0030)), 0.005)  # philtrum


def _march(start: Array, direction: Array) -> Array:
    """Where rays from outside first meet the skull; start (N, 3), direction (N, 3) unit, toward the head."""
    p = start.astype(np.float32)
    for _ in range(80):
        p = p + direction * (0.6 * skull(p))[:, None]
    return p.astype(np.float32)


def cast_from_centre(directions: ArrayLike) -> Array:
    """(N, 3) directions from `CENTRE` → points on the skin."""
    d = np.asarray(directions, np.float32)
    d = d / np.linalg.norm(d, axis=1, keepdims=True)
    return _march(CENTRE + 0.24 * d, -d)


def cast_from_front(xy: ArrayLike) -> Array:
    """(N, 2) x, y → points on the front of the face, straight from +Z."""
    xy = np.asarray(xy, np.float32)
    start = np.column_stack([xy, np.full(len(xy), 0.16, np.float32)])
    return _march(start, np.broadcast_to(np.array([0, 0, -1], np.float32), start.shape))

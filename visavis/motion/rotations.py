"""Unit quaternions as numpy arrays: (..., 4) in the order (x, y, z, w), as in glTF.

All functions broadcast over leading axes and keep float32. A rotation turns column vectors: `rotate(q, v)` is q v q*.
`multiply(a, b)` applies b first. 6D rotations are the first two columns of the matrix (Zhou et al. 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "IDENTITY",
    "angle_between",
    "conjugate",
    "continuous",
    "from_6d",
    "from_axis_angle",
    "from_matrix",
    "from_rotation_vector",
    "mirror",
    "multiply",
    "normalize",
    "rotate",
    "rotation_between",
    "slerp",
    "swing_twist",
    "to_6d",
    "to_matrix",
    "to_rotation_vector",
]

Array = NDArray[np.float32]
IDENTITY: Array = np.array([0.0, 0.0, 0.0, 1.0], dtype=np.float32)


def _f32(x: ArrayLike) -> Array:
    return np.asarray(x, dtype=np.float32)


def _cross(a: Array, b: Array) -> Array:
    """The vector product (..., 3); several times faster than np.cross on the short arrays that poses are made of."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty((*np.broadcast_shapes(ax.shape, bx.shape), 3), dtype=np.float32)
    out[..., 0] = ay * bz - az * by
    out[..., 1] = az * bx - ax * bz
    out[..., 2] = ax * by - ay * bx
    return out


def normalize(q: ArrayLike) -> Array:
    """Scale vectors or quaternions (..., D) to length 1; zero stays zero."""
    q = _f32(q)
    return q / np.maximum(np.linalg.norm(q, axis=-1, keepdims=True), 1e-12)


def conjugate(q: ArrayLike) -> Array:
    """The inverse rotation (..., 4)."""
    return _f32(q) * np.array([-1, -1, -1, 1], dtype=np.float32)


def multiply(a: ArrayLike, b: ArrayLike) -> Array:
    """Hamilton product (..., 4): the rotation b followed by a."""
    a, b = _f32(a), _f32(b)
    av, aw = a[..., :3], a[..., 3:]
    bv, bw = b[..., :3], b[..., 3:]
    vector = aw * bv + bw * av + _cross(av, bv)
    out = np.empty((*vector.shape[:-1], 4), dtype=np.float32)
    out[..., :3] = vector
    along = av * bv  # summed by hand: np.sum over three takes most of the time
    out[..., 3] = aw[..., 0] * bw[..., 0] - (along[..., 0] + along[..., 1] + along[..., 2])
    return out


def rotate(q: ArrayLike, v: ArrayLike) -> Array:
    """Turn vectors (..., 3) by q (..., 4)."""
    q, v = _f32(q), _f32(v)
    t = 2.0 * _cross(q[..., :3], v)
    return (v + q[..., 3:] * t + _cross(q[..., :3], t)).astype(np.float32)


def from_axis_angle(axis: ArrayLike, angle: ArrayLike) -> Array:
    """Rotation by `angle` radians (...) about `axis` (..., 3), which need not have length 1."""
    axis, half = normalize(axis), 0.5 * _f32(angle)[..., None]
    vector = axis * np.sin(half)
    return np.concatenate([vector, np.broadcast_to(np.cos(half), (*vector.shape[:-1], 1))], axis=-1).astype(np.float32)


def from_rotation_vector(v: ArrayLike) -> Array:
    """Exponential map: (..., 3) axis times angle in radians → (..., 4)."""
    v = _f32(v)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    # sin(a/2)/a → 1/2 as a → 0
    scale = np.where(angle < 1e-6, 0.5, np.sin(0.5 * angle) / np.maximum(angle, 1e-12))
    return np.concatenate([v * scale, np.cos(0.5 * angle)], axis=-1).astype(np.float32)


def to_rotation_vector(q: ArrayLike) -> Array:
    """Logarithm: (..., 4) → (..., 3), angle in [0, π]."""
    q = _f32(q)
    q = np.where(q[..., 3:] < 0, -q, q)
    s = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(s, q[..., 3:])
    return (q[..., :3] * np.where(s < 1e-7, 2.0, angle / np.maximum(s, 1e-12))).astype(np.float32)


def to_matrix(q: ArrayLike) -> Array:
    """(..., 4) → (..., 3, 3)."""
    x, y, z, w = np.moveaxis(_f32(q), -1, 0)
    m = np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ], axis=-1)  # fmt: skip
    return m.reshape(*m.shape[:-1], 3, 3).astype(np.float32)


def from_matrix(m: ArrayLike) -> Array:
    """(..., 3, 3) rotation matrices → (..., 4) with w ≥ 0 (Shepperd 1978, the largest of four candidates)."""
    m = np.asarray(m, dtype=np.float64)
    a, b, c = m[..., 0, :], m[..., 1, :], m[..., 2, :]
    xx, yy, zz = a[..., 0], b[..., 1], c[..., 2]
    four = np.stack([
        np.stack([1 + xx - yy - zz, a[..., 1] + b[..., 0], a[..., 2] + c[..., 0], c[..., 1] - b[..., 2]], -1),
        np.stack([a[..., 1] + b[..., 0], 1 - xx + yy - zz, b[..., 2] + c[..., 1], a[..., 2] - c[..., 0]], -1),
        np.stack([a[..., 2] + c[..., 0], b[..., 2] + c[..., 1], 1 - xx - yy + zz, b[..., 0] - a[..., 1]], -1),
        np.stack([c[..., 1] - b[..., 2], a[..., 2] - c[..., 0], b[..., 0] - a[..., 1], 1 + xx + yy + zz], -1),
    ], axis=-2)  # fmt: skip
    best = np.argmax(np.diagonal(four, axis1=-2, axis2=-1), axis=-1)
    q = np.take_along_axis(four, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q).astype(np.float32)


def to_6d(q: ArrayLike) -> Array:
    """(..., 4) → (..., 6): the first two columns of the rotation matrix, one after the other."""
    x, y, z, w = np.moveaxis(_f32(q), -1, 0)
    d = np.empty((*x.shape, 6), dtype=np.float32)
    d[..., 0], d[..., 1], d[..., 2] = 1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)
    d[..., 3], d[..., 4], d[..., 5] = 2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)
    return d


def from_6d(d: ArrayLike) -> Array:
    """(..., 6) → (..., 4) by Gram-Schmidt; any two independent vectors are accepted."""
    d = _f32(d)
    rows = np.ascontiguousarray(d.reshape(-1, 6).T, dtype=np.float64)  # component first: whole rows at once
    x, y = rows[:3], rows[3:]
    x = x / np.maximum(np.sqrt(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]), 1e-12)
    y = y - (x[0] * y[0] + x[1] * y[1] + x[2] * y[2]) * x
    y = y / np.maximum(np.sqrt(y[0] * y[0] + y[1] * y[1] + y[2] * y[2]), 1e-12)
    z = np.stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])
    q = np.stack([y[2] - z[1], z[0] - x[2], x[1] - y[0], 1 + x[0] + y[1] + z[2]])
    far = q[3] < 1  # beyond 120 degrees w is no good divisor
    if far.any():
        q[:, far] = from_matrix(np.stack([x[:, far].T, y[:, far].T, z[:, far].T], axis=-1)).T
    q = q / np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return np.ascontiguousarray(q.T, dtype=np.float32).reshape(*d.shape[:-1], 4)


def angle_between(a: ArrayLike, b: ArrayLike) -> Array:
    """Geodesic angle in radians in [0, π] between two rotations (...)."""
    dot = np.abs(np.sum(normalize(a) * normalize(b), axis=-1))
    return (2.0 * np.arccos(np.clip(dot, 0.0, 1.0))).astype(np.float32)


def rotation_between(a: ArrayLike, b: ArrayLike) -> Array:
    """The shortest rotation that turns direction a (..., 3) into b; half a turn about any normal where opposite."""
    a, b = np.broadcast_arrays(normalize(a), normalize(b))
    w = 1.0 + np.sum(a * b, axis=-1, keepdims=True)
    axis = np.cross(a, b)
    other = np.where(np.abs(a[..., :1]) < 0.9, np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32))
    axis = np.where(w < 1e-6, np.cross(a, other), axis)
    return normalize(np.concatenate([axis, np.where(w < 1e-6, 0.0, w)], axis=-1))


def slerp(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> Array:
    """Spherical interpolation on the shorter arc; t (...) in [0, 1], 0 gives a."""
    a, b = _f32(a), _f32(b)
    delta = to_rotation_vector(multiply(conjugate(a), b))
    return normalize(multiply(a, from_rotation_vector(delta * _f32(t)[..., None])))


def swing_twist(q: ArrayLike, axis: ArrayLike) -> tuple[Array, Array]:
    """Split q into (swing, twist) with q = swing · twist, twist about `axis` (..., 3)."""
    q, axis = _f32(q), normalize(axis)
    along = np.sum(q[..., :3] * axis, axis=-1, keepdims=True) * axis
    twist = np.concatenate([along, q[..., 3:]], axis=-1)
    length = np.linalg.norm(twist, axis=-1, keepdims=True)
    twist = np.where(length < 1e-6, IDENTITY, twist / np.maximum(length, 1e-12)).astype(np.float32)
    return multiply(q, conjugate(twist)), twist


def mirror(q: ArrayLike) -> Array:
    """Reflect rotations (..., 4) in the plane x = 0, the body's own left-right plane."""
    return _f32(q) * np.array([1, -1, -1, 1], dtype=np.float32)


def continuous(q: ArrayLike) -> Array:
    """Choose signs along axis 0 (time) so that neighbouring quaternions (T, ..., 4) lie in one hemisphere."""
    q = _f32(q).copy()
    if len(q) > 1:
        flips = np.sum(q[1:] * q[:-1], axis=-1) < 0
        sign = np.where(np.cumsum(flips, axis=0) % 2 == 1, -1.0, 1.0)
        q[1:] *= sign[..., None].astype(np.float32)
    return q

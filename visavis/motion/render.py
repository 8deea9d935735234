"""A small software renderer: one frame of a motion as a picture. No OpenGL, numpy alone.

A z-buffer over flat lists of candidate pixels (every triangle's bounding box), interpolated normals, one soft key light
with sky and ground light, a shadow map for the body on itself and a blurred shadow on the floor.
Meant for previews, contact sheets and tests; the browser viewer is the place for beauty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visavis.motion.avatar import Avatar, load_avatar, vertex_normals
from visavis.motion.fitting import fitted
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton

__all__ = ["VIEWS", "Camera", "draw", "render"]

Array = NDArray[np.float32]

KEY_LIGHT: Final = np.array([0.42, 0.70, 0.58], np.float32) / np.float32(np.linalg.norm([0.42, 0.70, 0.58]))
SKY: Final = np.array([0.50, 0.53, 0.58], np.float32)
GROUND: Final = np.array([0.36, 0.33, 0.31], np.float32)
KEY: Final = np.array([0.62, 0.59, 0.54], np.float32)
BACK_TOP: Final = np.array([0.955, 0.965, 0.98], np.float32)
BACK_LOW: Final = np.array([0.90, 0.92, 0.945], np.float32)
FLOOR: Final = np.array([0.875, 0.89, 0.91], np.float32)
SAMPLES: Final = 2  # per pixel and axis


@dataclass(frozen=True)
class Camera:
    """Looks at `target_m` from `distance_m`, turned by `azimuth` (0 in front, π/2 at the avatar's left), radians.

    `height_m` is the height of the visible field at the target; `floor` says whether the floor is drawn.
    """

    target_m: tuple[float, float, float]
    height_m: float
    azimuth: float = 0.0
    elevation: float = 0.05
    distance_m: float = 4.5
    floor: bool = True

    def axes(self) -> tuple[Array, Array]:
        """(3, 3) rows right, up, toward the viewer, and the (3,) position of the eye."""
        sa, ca, se, ce = np.sin(self.azimuth), np.cos(self.azimuth), np.sin(self.elevation), np.cos(self.elevation)
        toward = np.array([sa * ce, se, ca * ce], np.float32)
        right = np.array([ca, 0, -sa], np.float32)
        rows = np.stack([right, np.cross(toward, right), toward]).astype(np.float32)
        return rows, np.asarray(self.target_m, np.float32) + self.distance_m * toward

    def project(self, points: NDArray[np.floating], size: tuple[int, int]) -> Array:
        """(..., 3) points in the world → (..., 3) pixel x, pixel y (down), and inverse depth (larger is nearer)."""
        rows, eye = self.axes()
        seen = (np.asarray(points, np.float32) - eye) @ rows.T
        inverse = 1.0 / np.maximum(-seen[..., 2], 0.05)
        scale = size[1] * self.distance_m / self.height_m
        x = size[0] / 2 + scale * seen[..., 0] * inverse
        y = size[1] / 2 - scale * seen[..., 1] * inverse
        return np.stack([x, y, inverse], axis=-1)


VIEWS: Final = {
    "front": Camera((0, 0.88, 0), 2.0),
    "side": Camera((0, 0.88, 0), 2.0, azimuth=np.pi / 2),
    "three_quarter": Camera((0, 0.88, 0), 2.0, azimuth=0.65, elevation=0.12),
    "bust": Camera((0, 1.27, 0), 1.0),
    "face": Camera((0, 1.552, 0.03), 0.36, distance_m=1.6, elevation=0.02, floor=False),
    "face_three_quarter": Camera((0, 1.552, 0.03), 0.36, azimuth=0.7, distance_m=1.6, elevation=0.02, floor=False),
    "face_side": Camera((0, 1.552, 0.0), 0.36, azimuth=np.pi / 2, distance_m=1.6, elevation=0.02, floor=False),
}


def _rasterise(
    screen: Array, faces: NDArray[np.int32], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """The nearest front-facing triangle of every covered pixel.

    Args:
        screen: (V, 3) pixel x, y and inverse depth.
        faces: (F, 3).
        size: width, height.
    Returns:
        (N,) flat pixel numbers, (N,) triangles, (N, 3) weights of their corners.
    """
    width, height = size
    corner = screen[faces]  # (F, 3, 3)
    low = np.maximum(np.ceil(corner[..., :2].min(axis=1) - 0.5), 0).astype(np.int64)
    high = np.floor(corner[..., :2].max(axis=1) - 0.5).astype(np.int64)
    high = np.minimum(high, [width - 1, height - 1])
    edge1, edge2 = corner[:, 1, :2] - corner[:, 0, :2], corner[:, 2, :2] - corner[:, 0, :2]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    # Counter-clockwise in the world is clockwise on a screen whose y points down.
    keep = np.flatnonzero((area < -1e-9) & (high >= low).all(axis=1))
    low, high, corner, area, edge1, edge2 = (a[keep] for a in (low, high, corner, area, edge1, edge2))
    span = high - low + 1
    count = (span[:, 0] * span[:, 1]).astype(np.int64)
    own = np.repeat(np.arange(len(keep)), count)
    step = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count)
    x, y = low[own, 0] + step % span[own, 0], low[own, 1] + step // span[own, 0]
    dx = (x + 0.5 - corner[own, 0, 0]).astype(np.float32)
    dy = (y + 0.5 - corner[own, 0, 1]).astype(np.float32)
    by_area = 1.0 / area
    b1 = (dx * edge2[own, 1] - dy * edge2[own, 0]) * by_area[own]
    b2 = (dy * edge1[own, 0] - dx * edge1[own, 1]) * by_area[own]
    inside = np.flatnonzero((b1 >= 0) & (b2 >= 0) & (b1 + b2 <= 1))
    own, b1, b2 = own[inside], b1[inside], b2[inside]
    pixel = y[inside] * width + x[inside]
    depth = corner[own, 0, 2] * (1 - b1 - b2) + corner[own, 1, 2] * b1 + corner[own, 2, 2] * b2
    nearest = np.zeros(width * height, np.float32)
    np.maximum.at(nearest, pixel, depth)
    won = np.flatnonzero(depth == nearest[pixel])
    _, first = np.unique(pixel[won], return_index=True)
    won = won[first]
    weight = np.stack([1 - b1[won] - b2[won], b1[won], b2[won]], axis=1)
    return pixel[won], keep[own[won]], weight.astype(np.float32)


def _lit(positions: Array, faces: NDArray[np.int32], points: Array, normals: Array) -> Array:
    """(N,) share of the key light that reaches each point: a soft-edged shadow map seen from the light."""
    if not len(points):
        return np.ones(0, np.float32)
    # Only what is seen needs the map; what throws shadows from outside it is cut off at its edge.
    centre = 0.5 * (points.max(axis=0) + points.min(axis=0))
    up = np.array([0, 1, 0], np.float32)
    right = np.cross(up, KEY_LIGHT)
    right /= np.linalg.norm(right)
    rows = np.stack([right, np.cross(KEY_LIGHT, right), KEY_LIGHT]).astype(np.float32)
    seen = (positions - centre) @ rows.T
    side = 420
    reach = float(np.abs((points - centre) @ rows[:2].T).max()) * 1.05
    scale = side / (2 * reach)

    def to_map(p: Array) -> Array:
        return np.stack([side / 2 + scale * p[:, 0], side / 2 - scale * p[:, 1], p[:, 2] + 10], axis=1)

    flat = to_map(seen)
    pixel, triangle, weight = _rasterise(flat, faces, (side, side))
    depth = np.zeros(side * side, np.float32)
    depth[pixel] = np.sum(flat[faces[triangle], 2] * weight, axis=1)
    # Compare from a little in front of the surface: against acne.
    at = to_map((points + 0.012 * normals - centre) @ rows.T)
    total = np.zeros(len(points), np.float32)
    for ox in (-1.7, 0.0, 1.7):
        for oy in (-1.7, 0.0, 1.7):
            cx = np.clip((at[:, 0] + ox).astype(np.int64), 0, side - 1)
            cy = np.clip((at[:, 1] + oy).astype(np.int64), 0, side - 1)
            total += at[:, 2] > depth[cy * side + cx] - 0.008
    return (total / 9).astype(np.float32)


@lru_cache(maxsize=16)
def _backdrop(camera: Camera, size: tuple[int, int]) -> tuple[Array, Array]:
    """(H, W, 3) empty scene in sRGB and (H, W, 2) floor position x, z of each pixel (NaN above the horizon)."""
    width, height = size
    rows, eye = camera.axes()
    scale = height * camera.distance_m / camera.height_m
    px, py = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ray = np.stack([(px - width / 2) / scale, (height / 2 - py) / scale, -np.ones_like(px)], axis=-1) @ rows
    rise = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = np.broadcast_to(BACK_TOP + (BACK_LOW - BACK_TOP) * rise, (height, width, 3)).astype(np.float32)
    if not camera.floor:
        return image, np.full((height, width, 2), np.nan, np.float32)
    t = np.where(ray[..., 1] < -1e-4, -eye[1] / np.minimum(ray[..., 1], -1e-4), np.nan)
    floor = eye[[0, 2]] + t[..., None] * ray[..., [0, 2]]
    distance = np.hypot(floor[..., 0], floor[..., 1])
    # A round floor that fades into the background.
    amount = np.nan_to_num(np.clip((1.9 - distance) / 1.2, 0, 1))[..., None].astype(np.float32)
    ring = np.nan_to_num(np.exp(-(((distance - 0.62) / 0.006) ** 2)))[..., None].astype(np.float32)
    image = image + (FLOOR - image) * amount * amount * (3 - 2 * amount) - 0.045 * ring
    return image.astype(np.float32), np.where(distance[..., None] < 2.2, floor, np.nan).astype(np.float32)


def _floor_shadow(positions: Array, faces: NDArray[np.int32], floor: Array) -> Array:
    """(H, W) darkness in [0, 1] of the body's blurred shadow, falling mostly straight down."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    cell, half = 0.03, 1.5
    side = int(2 * half / cell)
    lean = np.array([-0.12, -0.16], np.float32)  # away from the light, metres of shift per metre of height
    centre = positions[faces].mean(axis=1)
    corner = positions[faces]
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    at = centre[:, [0, 2]] + lean * centre[:, 1:2]
    cells = np.floor((at + half) / cell).astype(np.int64)
    ok = ((cells >= 0) & (cells < side)).all(axis=1)
    maps = []
    # What is near the floor throws a tight shadow, what is high a wide one.
    for low, high, blur, strength in ((-1.0, 0.12, 1.0, 0.8), (0.12, 3.0, 4.5, 0.42)):
        part = ok & (centre[:, 1] >= low) & (centre[:, 1] < high)
        amount = np.bincount(cells[part, 1] * side + cells[part, 0], area[part], minlength=side * side)
        cover = gaussian_filter(amount.reshape(side, side) / (2 * cell * cell), blur)
        maps.append(strength * (1 - np.exp(-1.2 * cover)))
    total = 1 - (1 - maps[0]) * (1 - maps[1])
    where = (np.nan_to_num(floor, nan=-9.0) + half) / cell - 0.5
    return map_coordinates(total, [where[..., 1], where[..., 0]], order=1, cval=0.0).astype(np.float32)


def draw(
    positions: Array,
    faces: NDArray[np.int32],
    colors: Array,
    camera: Camera,
    size: tuple[int, int] = (360, 480),
    shade: Array | None = None,
) -> Image.Image:
    """Draw a closed mesh.

    Args:
        positions: (V, 3) metres in the world.
        faces: (F, 3) counter-clockwise from outside.
        colors: (F, 3) sRGB in [0, 1].
        camera: from where.
        size: width, height in pixels.
        shade: (V, 3) sRGB factors per vertex, or None.
    """
    fine = (size[0] * SAMPLES, size[1] * SAMPLES)
    pixel, triangle, weight = _rasterise(camera.project(positions, fine), faces, fine)
    corner = faces[triangle]

    def across(values: Array) -> Array:
        return np.einsum("nk,nka->na", weight, values[corner])

    normal = across(vertex_normals(positions, faces))
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    point = across(positions)
    eye = camera.axes()[1]
    view = eye - point
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    base = colors[triangle] if shade is None else colors[triangle] * across(shade)
    albedo = base**2.2
    facing = np.clip((normal @ KEY_LIGHT + 0.25) / 1.25, 0, 1) * (0.25 + 0.75 * _lit(positions, faces, point, normal))
    sky = 0.5 + 0.5 * normal[:, 1:2]
    rim = np.clip(1 - np.sum(normal * view, axis=1), 0, 1) ** 3
    light = GROUND + (SKY - GROUND) * sky + KEY * facing[:, None]
    color = albedo * light + 0.10 * rim[:, None] * (0.3 + 0.7 * sky) * (0.3 + albedo)
    backdrop, floor = _backdrop(camera, size)
    image = backdrop
    if camera.floor:
        dark = _floor_shadow(positions, faces, floor)[..., None]
        image = backdrop * (1 - 0.42 * dark * np.array([1.0, 0.97, 0.9], np.float32))
    image = np.repeat(np.repeat(image, SAMPLES, axis=0), SAMPLES, axis=1).reshape(-1, 3)
    image[pixel] = np.clip(color, 0, 1) ** (1 / 2.2)
    mean = image.reshape(size[1], SAMPLES, size[0], SAMPLES, 3).mean(axis=(1, 3))
    return Image.fromarray(np.round(np.clip(mean, 0, 1) * 255).astype(np.uint8))


def _at_head(camera: Camera, avatar: Avatar) -> Camera:
    """A close view of the default avatar's head moved and scaled to this one's."""
    ours, own = default_skeleton(), avatar.skeleton
    if "head" not in own.names or own is ours:
        return camera
    a, b = ours.rest_positions_m[ours.index("head")], own.rest_positions_m[own.index("head")]
    x, y, z = (float(v) for v in np.asarray(camera.target_m) - a + b)
    return replace(camera, target_m=(x, y, z))


def render(
    motion: Motion,
    frame: int,
    size: tuple[int, int] = (360, 480),
    view: str | Camera = "front",
    avatar: Avatar | None = None,
) -> Image.Image:
    """One frame of a motion on the avatar (the default one if None).

    Args:
        motion: what it does; retargeted if it was made on another skeleton than the avatar's.
        frame: its number; negative counts from the end.
        size: width, height in pixels.
        view: a camera or a name of `VIEWS`: `front`, `side` (its left), `three_quarter`, `bust`, `face`, ...; the close
            ones look at the avatar's own head, the others always from the same place, so that sizes compare.
        avatar: whom to draw.
    """
    avatar = avatar or load_avatar()
    if isinstance(view, str):
        if view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}; got {view!r}")
        view = _at_head(VIEWS[view], avatar) if view.startswith(("bust", "face")) else VIEWS[view]
    motion = fitted(motion, avatar)
    face: Any = None if motion.face is None else motion.face[frame]
    positions = avatar.pose(motion.rotations[frame], motion.root_m[frame], face)
    return draw(positions, avatar.faces, avatar.face_colors, view, size, avatar.shade)

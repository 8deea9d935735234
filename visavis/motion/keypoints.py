"""A motion as 2D keypoints in OpenPose's layout (BODY_25 and both hands): for video generators that take poses.

`write_keypoints` writes what OpenPose's `--write_json` writes, one file per frame, and the drawn frames on black that
pose-conditioned generators read. Points of the face (eyes, ears, nose) that the head hides have confidence 0, as a
detector would leave them out; the body's own points are always given. The 70 face keypoints are not.
Source: OpenPose's documentation of its output (`data/openpose.json`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from visavis.motion import rotations as rot
from visavis.motion.avatar import load_avatar
from visavis.motion.fitting import fitted
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.render import VIEWS, Camera
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["Keypoints", "body_names", "draw_keypoints", "keypoints", "write_keypoints"]

Array = NDArray[np.float32]

# Which way a point of the face looks, and how far past the horizon it is still seen (cosine).
_LOOKS = {
    "Nose": ((0.0, 0.0, 1.0), -0.25),
    "LEye": ((0.34, 0.0, 0.94), -0.05),
    "REye": ((-0.34, 0.0, 0.94), -0.05),
    "LEar": ((0.97, 0.0, -0.24), -0.35),
    "REar": ((-0.97, 0.0, -0.24), -0.35),
}
_HEAD_M = 0.205


@lru_cache(maxsize=1)
def _layout() -> dict[str, Any]:
    return json.loads((files("visavis.motion") / "data" / "openpose.json").read_text())


def body_names() -> tuple[str, ...]:
    """The 25 body keypoints in order."""
    return tuple(_layout()["body"])


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of one body in every frame.

    Attributes:
        body: (T, 25, 3) float32 x, y in pixels (y down) and confidence 1 or 0; all zero where it is 0.
        left_hand: (T, 21, 3) the same for the body's own left hand: wrist, then each finger from thumb to little one.
        right_hand: (T, 21, 3).
        size: width, height of the picture in pixels.
        fps: frames per second.
    """

    body: Array
    left_hand: Array
    right_hand: Array
    size: tuple[int, int]
    fps: int

    def __len__(self) -> int:
        return len(self.body)

    def to_json(self, frame: int) -> dict[str, Any]:
        """One frame as OpenPose writes it."""

        def flat(points: Array) -> list[float]:
            return [round(float(v), 3) for v in points[frame].ravel()]

        person = {
            "person_id": [-1],
            "pose_keypoints_2d": flat(self.body),
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": flat(self.left_hand),
            "hand_right_keypoints_2d": flat(self.right_hand),
            **{f"{part}_keypoints_3d": [] for part in ("pose", "face", "hand_left", "hand_right")},
        }
        return {"version": 1.3, "people": [person]}


@lru_cache(maxsize=4)
def _surface(skeleton: Skeleton) -> dict[str, tuple[str, Array]]:
    """Keypoints on the skin: name → bone and offset from it, in the proportions of this skeleton."""
    head = np.linalg.norm(skeleton.tips_m["head"]) / _HEAD_M if "head" in skeleton.tips_m else 1.0
    ankle = "leftFoot"
    ours = default_skeleton()
    foot = np.linalg.norm(skeleton.offsets_m[skeleton.index("leftToes")]) if "leftToes" in skeleton.names else 0.0
    foot = foot / np.linalg.norm(ours.offsets_m[ours.index("leftToes")]) if foot else 1.0
    out: dict[str, tuple[str, Array]] = {}
    for name, (bone, offset) in _layout()["surface"].items():
        bone = bone if bone in skeleton.names else ankle
        point = np.array(offset, np.float32) * np.float32(head if bone == "head" else foot)
        out[name] = (bone, point)
        if name.startswith("L"):
            right = "right" + bone[4:] if bone.startswith("left") else bone
            out["R" + name[1:]] = (right, point * np.array([-1, 1, 1], np.float32))
    return out


def _in_world(motion: Motion) -> tuple[Array, Array, Array, Array]:
    """Body (T, 25, 3), left and right hand (T, 21, 3) in the world, metres; and the head's orientation (T, 4)."""
    skeleton = motion.skeleton
    places, turned = forward(motion.rotations, motion.root_m, skeleton)

    def at(bone: str) -> Array:
        if not bone.endswith("+"):
            return places[:, skeleton.index(bone)]
        i = skeleton.index(bone[:-1])
        # Without a known tip a last joint is taken to be four fifths as long as the one before.
        tip = skeleton.tips_m.get(bone[:-1], 0.8 * skeleton.offsets_m[i])
        return places[:, i] + rot.rotate(turned[:, i], tip)

    surface = _surface(skeleton)
    body = []
    for name in body_names():
        if name in surface:
            bone, offset = surface[name]
            i = skeleton.index(bone)
            body.append(places[:, i] + rot.rotate(turned[:, i], offset))
        else:
            body.append(np.mean([at(bone) for bone in _layout()["joints"][name]], axis=0))
    left, right = (np.stack([at(side + joint) for joint in _layout()["hand"]], axis=1) for side in ("left", "right"))
    return np.stack(body, axis=1), left, right, turned[:, skeleton.index("head")]


def _complete(skeleton: Skeleton) -> bool:
    """Whether every bone is there that a keypoint needs."""
    layout = _layout()
    needed = [bone for bones in layout["joints"].values() for bone in bones]
    needed += [side + joint.rstrip("+") for side in ("left", "right") for joint in layout["hand"]]
    return {*needed, "head"} <= set(skeleton.names)


def keypoints(motion: Motion, camera: str | Camera = "front", size: tuple[int, int] = (768, 1024)) -> Keypoints:
    """A motion seen by a camera.

    Args:
        motion: on any skeleton; one that lacks bones of the VRM humanoid is retargeted to the default avatar first.
        camera: a camera or a name of `visavis.motion.render.VIEWS`.
        size: width, height of the picture in pixels.
    """
    if isinstance(camera, str):
        if camera not in VIEWS:
            raise ValueError(f"camera must be one of {', '.join(VIEWS)}; got {camera!r}")
        camera = VIEWS[camera]
    if not _complete(motion.skeleton):
        motion = fitted(motion, load_avatar())
    body, left, right, head = _in_world(motion)
    eye = camera.axes()[1]

    def seen(points: Array) -> Array:
        flat = camera.project(points, size)
        return np.concatenate([flat[..., :2], np.ones_like(flat[..., :1])], axis=-1).astype(np.float32)

    out = seen(body)
    for name, (looks, past) in _LOOKS.items():
        i = body_names().index(name)
        toward = eye - body[:, i]
        toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
        facing = np.sum(rot.rotate(head, np.array(looks, np.float32)) * toward, axis=1)
        out[facing < past, i] = 0
    return Keypoints(out, seen(left), seen(right), size, motion.fps)


def draw_keypoints(points: Keypoints, frame: int) -> Image.Image:
    """One frame as OpenPose draws it: coloured limbs and joints on black, body and hands."""
    layout, fine = _layout(), 2
    width, height = points.size
    image = Image.new("RGB", (width * fine, height * fine))
    pen = ImageDraw.Draw(image)
    unit = fine * max(1.0, (width * height) ** 0.5 / 220)

    def limbs(given: Array, pairs: list[list[int]], colors: list[list[int]], thick: float, dark: float) -> None:
        ok, xy = given[:, 2] > 0, given[:, :2] * fine
        for a, b in pairs:
            if ok[a] and ok[b]:
                color = tuple(int(v * dark) for v in colors[b])
                pen.line([tuple(xy[a]), tuple(xy[b])], color, max(1, round(thick)))
        for i in np.flatnonzero(ok):
            (x, y), r = xy[i], 0.62 * thick
            pen.ellipse([x - r, y - r, x + r, y + r], tuple(colors[i]))

    limbs(points.body[frame], layout["pairs"], layout["colors"], 2.0 * unit, 0.7)
    for hand in (points.left_hand, points.right_hand):
        limbs(hand[frame], layout["hand_pairs"], layout["hand_colors"], 0.65 * unit, 1.0)
    return image.resize((width, height), Image.Resampling.BOX)


def write_keypoints(
    motion: Motion,
    folder: str | Path,
    camera: str | Camera = "front",
    size: tuple[int, int] = (768, 1024),
    draw: bool = True,
) -> int:
    """Write `json/000000000000_keypoints.json` … and, where drawn, `frames/000000.png` … under `folder`.

    Args:
        motion: on any skeleton.
        folder: made where it is missing.
        camera: a camera or a name of `visavis.motion.render.VIEWS`.
        size: width, height of the frames in pixels.
        draw: whether to draw the frames.
    Returns:
        How many frames were written.
    """
    points = keypoints(motion, camera, size)
    folder = Path(folder)
    (folder / "json").mkdir(parents=True, exist_ok=True)
    if draw:
        (folder / "frames").mkdir(exist_ok=True)
    for frame in range(len(points)):
        text = json.dumps(points.to_json(frame), separators=(",", ":"))
        (folder / "json" / f"{frame:012d}_keypoints.json").write_text(text)
        if draw:
            draw_keypoints(points, frame).save(folder / "frames" / f"{frame:06d}.png")
    return len(points)

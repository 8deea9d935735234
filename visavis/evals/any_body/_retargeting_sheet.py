"""The contact sheet of retargeting: the source's own joints as a stick figure beside our avatars, ten clips.

Made by `python -m visavis.evals.any_body._retargeting_sheet --data DIR --out docs/retargeting.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from visavis.evals.any_body.retarget import DATA, RECORDINGS
from visavis.motion import rotations as rot
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.contact_sheet import grid
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.nearness import gaps_m
from visavis.motion.render import Camera, render
from visavis.motion.retarget import normalized, retarget

__all__ = ["CLIPS", "sheet", "stick_figure"]

Choice = Callable[[Motion, Motion], int]

_SIZE: Final = (168, 224)
# Wide enough for raised hands.
_CAMERAS: Final = {"front": Camera((0, 1.0, 0), 2.3), "side": Camera((0, 1.0, 0), 2.3, azimuth=np.pi / 2)}
_BACK: Final = (240, 242, 246)
_COLOURS: Final = {"left": (196, 78, 62), "right": (52, 104, 178), "": (70, 76, 88)}


def _highest(side: str) -> Choice:
    def frame(_: Motion, source: Motion) -> int:
        return int(np.argmax(_place(source, f"{side}Hand")[:, 1]))

    return frame


def _farthest(side: str) -> Choice:
    def frame(_: Motion, source: Motion) -> int:
        return int(np.argmax(np.linalg.norm(_place(source, f"{side}Hand") - _place(source, "hips"), axis=-1)))

    return frame


def _nearest(what: str) -> Choice:
    """Where hands touch most: `what` as in `gaps_m`."""

    def frame(_: Motion, source: Motion) -> int:
        return int(np.argmin(gaps_m(source)[what]))

    return frame


def _lowest_head(_: Motion, source: Motion) -> int:
    return int(np.argmin(_place(source, "head")[:, 1]))


def _place(motion: Motion, bone: str) -> NDArray[np.float32]:
    return forward(motion.rotations, motion.root_m, motion.skeleton)[0][:, motion.skeleton.index(bone)]


# Label, corpus, part of the file's name, the frame that is shown.
CLIPS: Final[tuple[tuple[str, str, str, Choice], ...]] = (
    ("Bandai-Namco: bow", "Bandai-Namco", "bow_normal", _lowest_head),
    ("Bandai-Namco: bye-bye", "Bandai-Namco", "byebye_happy", _highest("right")),
    ("Bandai-Namco: guide", "Bandai-Namco", "guide_feminine", _farthest("right")),
    ("Bandai-Namco: call", "Bandai-Namco", "call_normal", _highest("right")),
    ("Bandai-Namco: both hands up", "Bandai-Namco", "raise-up-both-hands_active", _highest("left")),
    ("SmartBody: scratch head", "SmartBody", "ScratchHeadLf01", _nearest("left")),
    ("SmartBody: me", "SmartBody", "Idle01_MeLf01", _nearest("left")),
    ("SmartBody: inclusivity", "SmartBody", "Idle01_InclusivityPosBt01", _nearest("hands")),
    ("SmartBody (Garza): stop", "SmartBody", "IdleStand01_StopForwardBt01", _farthest("right")),
    ("BEAT2: speaking", "BEAT2", "2_scott", _farthest("left")),
)


def stick_figure(motion: Motion, frame: int, camera: Camera, size: tuple[int, int] = _SIZE) -> Image.Image:
    """The joints of any skeleton as lines, in our world: left red, right blue, hips over the origin."""
    source, read = normalized(motion)
    places = forward(motion.rotations, motion.root_m, motion.skeleton)[0][frame]
    places = rot.rotate(read.align, places)
    hips = _place(source, "hips")[frame]
    floor = min(0.0, float(_place(source, "leftToes")[:, 1].min())) if "leftToes" in read.bones.bones else 0.0
    places = places - np.array([hips[0], floor, hips[2]], np.float32)
    side = {joint: "left" if bone.startswith("left") else "right" if bone.startswith("right") else ""
            for bone, joint in read.bones.bones.items()}  # fmt: skip
    fine = (size[0] * 3, size[1] * 3)
    picture = Image.new("RGB", fine, _BACK)
    pen, at = ImageDraw.Draw(picture), camera.project(places, fine)
    body = {joint for bone, joint in read.bones.bones.items() if not bone.endswith("Eye") and bone != "jaw"}
    used = {motion.skeleton.index(joint) for joint in (*body, *read.bones.spine, *read.bones.neck)}
    for joint in sorted(used, key=lambda j: float(at[j, 2])):
        parent = int(motion.skeleton.parents[joint])
        while parent >= 0 and parent not in used:
            parent = int(motion.skeleton.parents[parent])
        if parent >= 0:
            colour = _COLOURS[side.get(motion.skeleton.names[joint], "")]
            pen.line([*at[parent, :2], *at[joint, :2]], colour, 9)
        x, y = at[joint, :2]
        pen.ellipse([x - 6, y - 6, x + 6, y + 6], (40, 44, 52))
    if (head := read.bones.bones.get("head")) is not None:
        x, y = at[motion.skeleton.index(head), :2]
        r = 0.11 * fine[1] / camera.height_m
        pen.ellipse([x - r, y - 1.8 * r, x + r, y + 0.2 * r], outline=_COLOURS[""], width=6)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _centred(motion: Motion, frame: int) -> Motion:
    one = motion.slice(frame, frame + 1)
    return replace(one, root_m=one.root_m * np.array([0, 1, 0], np.float32))


def sheet(data: Path, path: Path | None = None) -> Image.Image:
    """Ten clips, one row each: the source from the front and the side, every avatar from both."""
    pictures, labels = [], []
    for label, corpus, part, choose in CLIPS:
        pattern, read = RECORDINGS[corpus]
        file = next(p for p in sorted(data.glob(pattern)) if part in p.name)
        motion = read(file)
        source, _ = normalized(motion)
        frame = choose(motion, source)
        results = [(load_avatar(name), retarget(motion, load_avatar(name).skeleton)) for name in avatar_names()]
        for view, camera in _CAMERAS.items():
            pictures.append(stick_figure(motion, frame, camera))
            labels.append(label if view == "front" else f"{frame / motion.fps:.1f} s")
            for (avatar, out), name in zip(results, avatar_names(), strict=True):
                pictures.append(render(_centred(out, frame), 0, _SIZE, camera, avatar))
                labels.append(name if view == "front" else "")
    return grid(pictures, labels, path, 2 * (1 + len(avatar_names())), "Source, and what our avatars make of it")


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--out", default="docs/retargeting.png")
    args = parser.parse_args()
    sheet(Path(args.data), Path(args.out))


if __name__ == "__main__":
    main()

"""SmartBody's recordings on our skeleton, split by performer: one to learn from, one that is kept for the figures.

LGPL-2.1: what learns from them says so on its card. The folder (`Gestures`, `Gestures2`, `MaleGestures`) is not part of
the project; where it is absent there are no clips, and whoever asks goes on without.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from visavis.motion.files import read_motion
from visavis.motion.motion import Motion
from visavis.motion.retarget import retarget

__all__ = ["FOLDER", "HELD_PERFORMER", "TRAIN_PERFORMER", "take_of", "takes"]

log = logging.getLogger(__name__)

FOLDER: Final = Path(".cache/real/smartbody_gestures")
TRAIN_PERFORMER: Final = "ChrBrad"
HELD_PERFORMER: Final = "ChrGarza"
_SHORTEST_FRAMES: Final = 8


def take_of(path: Path) -> str:
    """What was recorded, whoever is in it: the name without the performer."""
    return path.stem.partition("@")[2]


def takes(folder: Path, performer: str, limit: int | None = None) -> dict[str, Motion]:
    """The takes of a performer (or the first few), by name, on the default skeleton.

    `Gestures` and `Gestures2` hold the same takes of one performer in part: each counts once. A take that the training
    performer has under the same name is left out of the held-out one's.
    """
    paths: dict[str, Path] = {}
    for path in sorted(folder.rglob(f"{performer}@*.skm")):
        paths.setdefault(take_of(path), path)
    if performer == HELD_PERFORMER:
        for path in folder.rglob(f"{TRAIN_PERFORMER}@*.skm"):
            paths.pop(take_of(path), None)
    out = {name: retarget(read_motion(path)) for name, path in list(paths.items())[:limit]}
    return {name: motion for name, motion in out.items() if len(motion) >= _SHORTEST_FRAMES}

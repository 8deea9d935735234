"""Motion → file → motion, in every format: the largest angle and distance of any joint, and of any weight of the face.

    python -m visavis.evals.any_body round_trips --data .cache/real

Takes random wild motions on each of our bodies, and real recordings on their own skeletons for the formats that take
any skeleton. Live Link Face carries the face alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, progress
from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.motion import rotations as rot
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.files import read_motion, write_motion
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton

__all__ = ["DATA", "measure"]

DATA: Final = ".cache/real"
_OURS: Final = ("bvh", "glb", "vrma", "vrm", "npz", "skm", "csv")
_ANY: Final = ("bvh", "skm", "npz")
_FRAMES: Final = 90


def _wild(skeleton: Skeleton, rng: np.random.Generator) -> Motion:
    """Every joint turns smoothly by up to about 90°, the hips travel, the face is noise."""
    t = np.arange(_FRAMES)[:, None, None] / 30
    size, phase = rng.normal(size=(2, 1, len(skeleton), 3))
    root = skeleton.offsets_m[0] + 0.3 * np.sin(t[:, 0] * np.array([1.0, 2.0, 3.0]))
    face = rng.random((_FRAMES, 52)).astype(np.float32)
    return Motion(rot.from_rotation_vector(size * np.sin(3 * t + phase)), root, face, skeleton)


def _largest(values: list[float]) -> Estimate:
    return bootstrap(values, lambda x: float(np.max(x)))


def _compare(a: Motion, b: Motion) -> tuple[float, float]:
    """The largest angle (degrees) and distance (mm) of any joint in any frame, infinite where the motions differ."""
    if len(a) != len(b) or not set(a.skeleton.names) <= set(b.skeleton.names):
        return float("inf"), float("inf")
    order = b.skeleton.indices(a.skeleton.names)
    turn = rot.multiply(rot.conjugate(a.rotations), b.rotations[:, order]).astype(np.float64)
    # By the sine of half the angle: its cosine has lost the digits that matter here.
    angle = 2 * np.arcsin(np.clip(np.linalg.norm(turn[..., :3], axis=-1), 0, 1))
    apart = np.linalg.norm(positions(a) - positions(b)[:, order], axis=-1)
    return float(np.degrees(angle.max(initial=0.0))), float(1000 * apart.max(initial=0.0))


def measure(data: Path, limit: int | None, seed: int) -> Table:
    """Round trips of random motions on our bodies and of real recordings (every tenth, at most `limit` a corpus)."""
    rng = np.random.default_rng(seed)
    table = Table("Round trips: motion → file → motion, the worst joint of the worst frame")
    cases: list[tuple[str, Motion, object, tuple[str, ...]]] = []
    for name in avatar_names():
        body = load_avatar(name)
        cases += [("our bodies", _wild(body.skeleton, rng), body, _OURS) for _ in range(3)]
    for corpus, pattern in (("bandai_namco", "*.bvh"), ("smartbody_gestures", "*.skm"), ("beat2_scott", "*.npz")):
        paths = sorted((data / corpus).rglob(pattern))[::10][:limit]
        cases += [(corpus, read_motion(path), None, _ANY) for path in paths]
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for corpus, motion, avatar, kinds in progress(cases, "round trips"):
            for kind in kinds:
                path = Path(folder) / f"a.{kind}"
                try:
                    write_motion(motion, path, avatar=avatar)
                except UsageError:
                    continue  # SMPL-X takes bodies with the joints it knows, and says so
                again = read_motion(path)
                degrees, mm = (0.0, 0.0) if kind == "csv" else _compare(motion, again)
                face = 0.0
                if motion.face is not None and again.face is not None:
                    face = float(np.abs(motion.face - again.face).max())
                found.setdefault((corpus, kind), []).append((degrees, mm, face))
    for (corpus, kind), rows in found.items():
        degrees_of, mm_of, face_of = (list(column) for column in zip(*rows, strict=True))
        if kind != "csv":
            table.add(f"{corpus}, {kind}: largest angle", _largest(degrees_of), "°/1000", 1000)
            table.add(f"{corpus}, {kind}: largest distance", _largest(mm_of), "mm")
        if any(face_of):
            table.add(f"{corpus}, {kind}: largest difference of the face", _largest(face_of), "/255", 255)
    return table

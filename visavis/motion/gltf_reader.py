"""Read motion from glTF binaries (`.glb`): any skeleton, its animation, and face shapes with ARKit names.

The skeleton is that of the largest skin, or of the animated nodes where there is no skin; rest frames are aligned to
the world. Animation is sampled at 30 frames a second from time zero. Rotations of all joints and the movement of the
root (with everything it hangs from) are kept; translation and scale of other joints are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_rig import Rig, build_rig, skin_joints
from visavis.motion.motion import FPS, Motion
from visavis.motion.vrm_humanoid import read_humanoid

__all__ = ["Channels", "arkit_index", "morph_names", "read_channels", "read_glb", "sample_body", "sample_face"]

Array = NDArray[np.float32]
# Bounds the memory of one motion; an hour of 30 joints, ten minutes of 200.
MOST_JOINT_FRAMES = 4_000_000
_WIDTH = {"rotation": 4, "translation": 3, "scale": 3, "weights": 1}


@dataclass(frozen=True)
class _Sampler:
    times: NDArray[np.float64]  # (K,)
    values: Array  # (K, C) or, for CUBICSPLINE, (3 K, C)
    kind: str

    def at(self, when: NDArray[np.float64], turning: bool) -> Array:
        """Values (T, C) at times (T,), held before the first key and after the last."""
        last = len(self.times) - 1
        if self.kind == "STEP":
            place = np.searchsorted(self.times, when + 1e-5, side="right") - 1
            return self.values[np.clip(place, 0, last)]
        low = np.clip(np.searchsorted(self.times, when, side="right") - 1, 0, max(last - 1, 0))
        high = np.minimum(low + 1, last)
        gap = self.times[high] - self.times[low]
        u = np.clip((when - self.times[low]) / np.maximum(gap, 1e-9), 0.0, 1.0)
        if self.kind == "CUBICSPLINE":
            keys = self.values.reshape(len(self.times), 3, -1)
            t, span = u[:, None], gap[:, None]
            out = (
                (2 * t**3 - 3 * t**2 + 1) * keys[low, 1] + span * (t**3 - 2 * t**2 + t) * keys[low, 2]
                + (3 * t**2 - 2 * t**3) * keys[high, 1] + span * (t**3 - t**2) * keys[high, 0]
            ).astype(np.float32)  # fmt: skip
            return rot.normalize(out) if turning else out
        a, b = self.values[low], self.values[high]
        if turning:
            return rot.slerp(a, b, u.astype(np.float32))
        return (a + (b - a) * u[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Channels:
    """One animation: what moves which node.

    Attributes:
        of: (node, path) → its sampler.
        frames: frames at 30 per second that it lasts, at least one.
    """

    of: Mapping[tuple[int, str], _Sampler]
    frames: int

    def at(self, node: int, path: str) -> Array | None:
        """Values (T, C) of a node over all frames, or None where nothing moves it."""
        sampler = self.of.get((node, path))
        if sampler is None:
            return None
        return sampler.at(np.arange(self.frames) / FPS, turning=path == "rotation")

    def nodes(self, path: str) -> frozenset[int]:
        """The nodes that are moved in this way."""
        return frozenset(node for node, kind in self.of if kind == path)


def read_channels(file: GltfFile, animation: int = 0) -> Channels:
    """Read an animation.

    Raises:
        FileFormatError: there is none, or it is damaged.
    """
    rows = file.rows(file.json, "animations")
    if not rows:
        file.fail("an animation", "none", "this file holds a body; give it as the avatar that a motion is put on")
    row = rows[file.index(animation, len(rows), "an animation")]
    samplers, count = file.rows(row, "samplers"), len(file.nodes.names)
    times: dict[object, NDArray[np.float64]] = {}
    found: dict[tuple[int, str], _Sampler] = {}
    for channel in file.rows(row, "channels"):
        target = file.table(channel, "target")
        path = target.get("path")
        if "node" not in target or not isinstance(path, str) or path not in _WIDTH:
            continue  # the specification allows others and says to ignore them
        node = file.index(target["node"], count, "an animated node")
        sampler = samplers[file.index(channel.get("sampler"), len(samplers), "a sampler")]
        source = file.index(sampler.get("input"), 2**31, "an accessor")
        if source not in times:
            times[source] = file.accessor(source, 1)[:, 0].astype(np.float64)
        found[node, path] = _sampler(file, sampler, times[source], path)
    if not found:
        file.fail("an animation that moves something", "an empty one")
    last = max(float(sampler.times[-1]) for sampler in found.values())
    if last > 24 * 3600:
        file.fail("at most a day of animation", f"{last:.0f} s", "cut it into pieces")
    return Channels(found, int(np.floor(last * FPS + 1e-2)) + 1)


def _sampler(file: GltfFile, row: dict[str, Any], times: NDArray[np.float64], path: str) -> _Sampler:
    kind = row.get("interpolation", "LINEAR")
    if kind not in ("LINEAR", "STEP", "CUBICSPLINE"):
        file.fail("interpolation LINEAR, STEP or CUBICSPLINE", repr(kind)[:40])
    if not len(times) or times[0] < 0 or (np.diff(times) < 0).any():
        file.fail("times that rise from zero", "others")
    values = file.accessor(row.get("output"), _WIDTH[path])
    keys = len(times) * (3 if kind == "CUBICSPLINE" else 1)
    if path == "weights":
        if not len(values) or len(values) % keys:
            file.fail(f"weights for {keys} keys", str(len(values)))
        values = values.reshape(keys, -1)
    elif len(values) != keys:
        file.fail(f"{keys} values for {len(times)} keys", str(len(values)))
    if path == "rotation" and kind != "CUBICSPLINE":
        values = rot.normalize(values)
        values[np.linalg.norm(values, axis=1) < 0.5] = rot.IDENTITY
    return _Sampler(times, values, str(kind))


def sample_body(file: GltfFile, channels: Channels, rig: Rig) -> tuple[Array, Array]:
    """The rig's aligned rotations (T, J, 4) and root positions (T, 3) over an animation."""
    frames, joints = channels.frames, len(rig.skeleton)
    if frames * joints > MOST_JOINT_FRAMES:
        file.fail(
            f"at most {MOST_JOINT_FRAMES // joints} frames of {joints} joints", f"{frames} frames", "cut it into pieces"
        )
    out = np.tile(rot.IDENTITY, (frames, joints, 1))
    for joint, node in enumerate(rig.nodes[1:], start=1):
        local = channels.at(node, "rotation")
        if local is not None:
            out[:, joint] = rig.align(joint, local)
    nodes = file.nodes
    turned = np.broadcast_to(rig.turn, (frames, 4))
    matrix = np.broadcast_to(np.eye(4), (frames, 4, 4)).copy()
    matrix[:, :3, :3] = rot.to_matrix(rig.turn)
    for node in reversed(nodes.path(rig.nodes[0])):
        rotation, move = channels.at(node, "rotation"), channels.at(node, "translation")
        if node == rig.nodes[0]:
            local = nodes.local_rotations[node] if rotation is None else rotation
            out[:, 0] = rig.align(0, np.broadcast_to(local, (frames, 4)), turned)
        local_matrix = np.broadcast_to(nodes.local[node], (frames, 4, 4)).copy()
        if rotation is not None:
            size = np.linalg.norm(nodes.local[node][:3, :3], axis=0)
            local_matrix[:, :3, :3] = rot.to_matrix(rotation) * size
        if move is not None:
            local_matrix[:, :3, 3] = move
        turned = rot.multiply(turned, nodes.local_rotations[node] if rotation is None else rotation)
        matrix = matrix @ local_matrix
    if not (np.abs(matrix[:, :3, 3]) < 1e12).all():
        file.fail("a root within reach", "positions beyond all bounds")
    return out, matrix[:, :3, 3].astype(np.float32)


# -- faces ------------------------------------------------------------------------------------------------------

_ARKIT = {name.lower(): i for i, name in enumerate(ARKIT_NAMES)}


def arkit_index(name: str) -> int | None:
    """The place of an ARKit shape however it is written (`EyeBlinkLeft`, `eyeBlink_L`), or None."""
    plain = name.strip().rsplit(".", 1)[-1].lower()
    for short, long in (("_l", "left"), ("_r", "right")):
        if plain.endswith(short):
            plain = plain[: -len(short)] + long
    return _ARKIT.get(plain.replace("_", ""))


def morph_names(file: GltfFile, mesh: object) -> list[str]:
    """Names of a mesh's morph targets, in order; empty where the file names none."""
    meshes = file.rows(file.json, "meshes")
    row = meshes[file.index(mesh, len(meshes), "a mesh")]
    for holder in (row, *file.rows(row, "primitives")[:1]):
        names = file.table(holder, "extras").get("targetNames")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return []


def sample_face(file: GltfFile, channels: Channels, rig: Rig) -> Array | None:
    """(T, 52) ARKit weights from animated morph targets that carry such names; None if there are none.

    Meshes that are bound to other bodies than the rig's do not count.
    """
    rows, skins, own = file.rows(file.json, "nodes"), file.rows(file.json, "skins"), set(rig.nodes)
    face: Array | None = None
    for node in sorted(channels.nodes("weights")):
        if "skin" in rows[node]:
            joints = skins[file.index(rows[node]["skin"], len(skins), "a skin")].get("joints", [])
            if not own & {joint for joint in joints if isinstance(joint, int)}:
                continue
        names = [arkit_index(name) for name in morph_names(file, rows[node].get("mesh"))]
        if not any(index is not None for index in names):
            continue
        weights = channels.at(node, "weights")
        assert weights is not None
        if weights.shape[1] != len(names):
            file.fail(f"{len(names)} weights a frame", str(weights.shape[1]))
        if face is None:
            face = np.zeros((channels.frames, len(ARKIT_NAMES)), np.float32)
        for column, index in enumerate(names):
            if index is not None:  # several meshes (face, teeth) share a shape
                face[:, index] = np.maximum(face[:, index], np.clip(weights[:, column], 0, 1))
    return face


def read_glb(path: str | Path, animation: int = 0) -> Motion:
    """Read the motion in a `.glb` file (or `.gltf` with everything inside).

    Args:
        path: the file.
        animation: which of its animations.

    Returns:
        the motion on the file's own skeleton, in the file's unit (metres by the specification), with the face track
        if morph targets with ARKit names are animated. In VRM files the humanoid bones carry their VRM 1.0 names.

    Raises:
        FileFormatError: it is no glTF 2.0, is damaged, or holds no animation or no skeleton.
    """
    file = GltfFile.read(path)
    if "VRMC_vrm_animation" in file.table(file.json, "extensions"):
        from visavis.motion.vrma import read_vrma  # builds on this module

        return read_vrma(path)
    channels = read_channels(file, animation)
    humanoid = read_humanoid(file)
    if humanoid:
        rig = humanoid.rig(file)
    else:
        skins = skin_joints(file)
        wanted = skins[0] if skins else sorted(channels.nodes("rotation"))
        if not wanted:
            file.fail("a skeleton", "neither a skin nor turning nodes", "export it with its armature")
        rig = build_rig(file, wanted, moved=channels.nodes("translation"))
    turned, root_m = sample_body(file, channels, rig)
    return Motion(turned, root_m, sample_face(file, channels, rig), rig.skeleton)

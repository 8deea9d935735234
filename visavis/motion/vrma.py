"""VRM animations (`.vrma`): humanoid bones, hips, expressions and gaze, for any VRM avatar.

The face is written twice: as custom expressions with the 52 ARKit names, exactly, and as presets for avatars that have
only these. Eyes may not be humanoid bones in a VRM animation: gaze is its look-at, and the eye bones go along as plain
nodes that only we read. Source: VRMC_vrm_animation-1.0 (VRM Consortium).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

from visavis.errors import UsageError
from visavis.motion import rotations as rot
from visavis.motion.expressions import from_presets, to_presets
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.motion.glb import bone_nodes
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_reader import Channels, arkit_index, read_channels, sample_body
from visavis.motion.gltf_rig import Rig
from visavis.motion.gltf_store import Store
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton
from visavis.motion.vrm_humanoid import read_humanoid

__all__ = ["read_vrma", "write_vrma"]

Array = NDArray[np.float32]
EXTENSION: Final = "VRMC_vrm_animation"
_EYES: Final = ("leftEye", "rightEye")
# Degrees that an eye turns at a weight of 1 of an eyeLook shape.
_LOOK_DEGREES: Final = 32.0


def _gaze(motion: Motion) -> Array:
    """(T, 4) where the eyes look, from the head: the mean of the eye bones, and the face's eyeLook shapes on top."""
    angles = np.zeros((len(motion), 2))  # yaw to the left and pitch down, radians
    eyes = [eye for eye in _EYES if eye in motion.skeleton.names]
    for eye in eyes:
        ahead = rot.rotate(motion.rotations[:, motion.skeleton.index(eye)], [0, 0, 1]).astype(np.float64)
        yaw = np.arctan2(ahead[:, 0], ahead[:, 2])
        pitch = -np.arctan2(ahead[:, 1], np.hypot(ahead[:, 0], ahead[:, 2]))
        angles += np.stack([yaw, pitch], axis=1) / len(eyes)
    if motion.face is not None:
        angles += np.radians(_LOOK_DEGREES) * (motion.face @ _look_shapes().T)
    turn = rot.from_axis_angle([0, 1, 0], angles[:, 0])
    return rot.multiply(turn, rot.from_axis_angle([1, 0, 0], angles[:, 1]))


def _look_shapes() -> NDArray[np.float64]:
    """(2, 52) how much each shape turns the gaze to the left and down."""
    out = np.zeros((2, len(ARKIT_NAMES)))
    for row, sign, names in (
        (0, 0.5, ("eyeLookOutLeft", "eyeLookInRight")),
        (0, -0.5, ("eyeLookInLeft", "eyeLookOutRight")),
        (1, 0.5, ("eyeLookDownLeft", "eyeLookDownRight")),
        (1, -0.5, ("eyeLookUpLeft", "eyeLookUpRight")),
    ):
        for name in names:
            out[row, face_index(name)] = sign
    return out


def write_vrma(motion: Motion, path: str | Path, *, presets: bool = True) -> None:
    """Write a motion as a VRM animation.

    Args:
        motion: on a skeleton with VRM bone names whose root is the hips.
        path: the `.vrma` file.
        presets: write preset expressions beside the ARKit ones. Without them avatars that have both kinds, and do not
            let one block the other, are not driven twice.

    Raises:
        UsageError: the motion is empty or on another kind of skeleton.
    """
    skeleton, known = motion.skeleton, set(default_skeleton().names)
    if not len(motion):
        raise UsageError("a VRM animation needs at least one frame: got an empty motion")
    if skeleton.names[0] != "hips" or "head" not in skeleton.names:
        raise UsageError(
            f"a VRM animation needs a skeleton of VRM bones under `hips`; got one of {len(skeleton)} joints under "
            f"`{skeleton.names[0]}`: use retarget(motion) first"
        )
    store = Store()
    nodes = bone_nodes(skeleton, 0)
    animation = gltf.Animation(name="motion", samplers=[], channels=[])
    clock = store.accessor((np.arange(len(motion)) / motion.fps).astype(np.float32), bounds=True)

    def channel(values: Array, node: int, target: str) -> None:
        animation.samplers.append(gltf.AnimationSampler(input=clock, output=store.accessor(values)))
        aim = gltf.AnimationChannelTarget(node=node, path=target)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers) - 1, target=aim))

    turned = rot.continuous(rot.normalize(motion.rotations))
    for bone in np.flatnonzero(~(np.abs(turned[..., :3]) < 1e-7).all(axis=(0, 2))):
        channel(turned[:, bone], int(bone), "rotation")
    channel(motion.root_m, 0, "translation")

    bones = {name: {"node": i} for i, name in enumerate(skeleton.names) if name in known and name not in _EYES}
    extension: dict[str, Any] = {"specVersion": "1.0", "humanoid": {"humanBones": bones}}
    roots = [0]

    def extra(name: str) -> int:
        nodes.append(gltf.Node(name=name))
        roots.append(len(nodes) - 1)
        return roots[-1]

    def expression(name: str, values: Array) -> dict[str, int]:
        node = extra(name)
        if np.any(values):
            channel(np.stack([values, np.zeros_like(values), np.zeros_like(values)], axis=1), node, "translation")
        return {"node": node}

    if motion.face is not None:
        face = motion.face
        custom = {name: expression(name, face[:, i]) for i, name in enumerate(ARKIT_NAMES)}
        extension["expressions"] = {"custom": custom}
        if presets:
            given = {name: values for name, values in to_presets(face).items() if np.any(values > 1e-3)}
            extension["expressions"]["preset"] = {name: expression(name, values) for name, values in given.items()}
    gaze = extra("lookAt")
    channel(rot.continuous(_gaze(motion)), gaze, "rotation")
    head = skeleton.index("head")
    eyes = [skeleton.offsets_m[i] for i, p in enumerate(skeleton.parents) if p == head and skeleton.names[i] in _EYES]
    middle = np.mean(eyes, axis=0) if eyes else np.array([0.0, 0.06, 0.0])
    extension["lookAt"] = {"node": gaze, "offsetFromHeadBone": [round(float(v), 5) for v in middle]}
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="visavis"),
        scene=0,
        scenes=[gltf.Scene(nodes=roots)],
        nodes=nodes,
        animations=[animation],
        accessors=store.accessors,
        bufferViews=store.views,
        buffers=[gltf.Buffer(byteLength=len(store.blob))],
        extensionsUsed=[EXTENSION],
        extensions={EXTENSION: extension},
    )
    document.set_binary_blob(bytes(store.blob))
    document.save_binary(str(path))


# -- reading ----------------------------------------------------------------------------------------------------


def _expression_tracks(file: GltfFile, channels: Channels, rows: dict[str, Any]) -> dict[str, Array]:
    """Name → (T,) weights in [0, 1] of the expressions that move."""
    out = {}
    for name in rows:
        node = file.index(file.table(rows, name).get("node"), len(file.nodes.names), f"the node of `{name}`")
        values = channels.at(node, "translation")
        if values is not None:
            out[name] = np.clip(values[:, 0], 0, 1)
    return out


def _face(file: GltfFile, channels: Channels, rig: Rig) -> Array | None:
    """The face: ARKit expressions where there are any, else presets; gaze as eyeLook shapes where no eye turns."""
    extension = file.extension(EXTENSION)
    expressions = file.table(extension, "expressions")
    custom = file.table(expressions, "custom")
    names = {name: index for name in custom if (index := arkit_index(name)) is not None}
    face: Array | None = None
    if names:
        face = np.zeros((channels.frames, len(ARKIT_NAMES)), np.float32)
        for name, values in _expression_tracks(file, channels, {n: custom[n] for n in names}).items():
            face[:, names[name]] = values
    elif given := _expression_tracks(file, channels, file.table(expressions, "preset")):
        face = from_presets(given, channels.frames)
    look = file.table(extension, "lookAt")
    if names or "node" not in look or any(eye in rig.skeleton.names for eye in _EYES):
        return face
    gaze = channels.at(file.index(look["node"], len(file.nodes.names), "the node of the gaze"), "rotation")
    if gaze is None:
        return face
    ahead = rot.rotate(gaze, [0, 0, 1]).astype(np.float64)
    degrees = np.degrees([np.arctan2(ahead[:, 0], ahead[:, 2]), -np.arcsin(np.clip(ahead[:, 1], -1, 1))])
    shapes = np.clip(degrees.T @ (2 * _look_shapes()) / _LOOK_DEGREES, 0, 1)
    return np.clip(shapes if face is None else face + shapes, 0, 1).astype(np.float32)


def read_vrma(path: str | Path) -> Motion:
    """Read a VRM animation.

    Args:
        path: the file; of several animations in it the first counts.

    Returns:
        the motion on the file's own skeleton of VRM bones. The face comes from expressions with ARKit names, else from
        presets; the gaze turns no bones but the eyeLook shapes.

    Raises:
        FileFormatError: it is no VRM animation, or is damaged.
    """
    file = GltfFile.read(path)
    if EXTENSION not in file.table(file.json, "extensions"):
        file.fail("a VRM animation", "another glTF file", "read it as .glb")
    channels, humanoid = read_channels(file), read_humanoid(file)
    assert humanoid is not None  # the extension is there
    rig = humanoid.rig(file)
    turned, root_m = sample_body(file, channels, rig)
    return Motion(turned, root_m, _face(file, channels, rig), rig.skeleton)

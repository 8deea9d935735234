"""Which nodes of a file are which humanoid bones: VRM 0.x, VRM 1.0 and VRM animations, all by their VRM 1.0 names.

Source: VRM 0.x specification (UniVRM's `VRM` extension; its avatars face -Z and its thumbs start one bone lower),
VRMC_vrm-1.0 and VRMC_vrm_animation-1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from visavis.motion import rotations as rot
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_rig import Rig, build_rig, skin_joints
from visavis.motion.skeleton import default_skeleton

__all__ = ["HALF_TURN", "Humanoid", "read_humanoid"]

HALF_TURN: Final = rot.from_axis_angle([0.0, 1.0, 0.0], 3.141592653589793)
# VRM 0.x counts the thumb's bones from the first that bends, VRM 1.0 from the metacarpal.
_THUMBS: Final = {
    f"{side}Thumb{old}": f"{side}Thumb{new}"
    for side in ("left", "right")
    for old, new in (("Proximal", "Metacarpal"), ("Intermediate", "Proximal"), ("Distal", "Distal"))
}


@dataclass(frozen=True)
class Humanoid:
    """The humanoid of a file.

    Attributes:
        bones: VRM 1.0 bone name → node.
        version: `0.x`, `1.0` (also for VRM animations).
    """

    bones: dict[str, int]
    version: str

    def rig(self, file: GltfFile) -> Rig:
        """The humanoid's bones with the other joints of skins below its hips (hair, clothes); facing +Z."""
        nodes, hips = file.nodes, self.bones["hips"]
        wanted = set(self.bones.values())
        for joints in skin_joints(file):
            wanted |= {joint for joint in joints if joint not in wanted and hips in nodes.path(joint)}
        outside = [bone for bone, node in self.bones.items() if hips not in nodes.path(node)]
        if outside:
            file.fail("humanoid bones below the hips", f"`{outside[0]}` elsewhere", "correct the humanoid's bones")
        turn = HALF_TURN if self.version == "0.x" else rot.IDENTITY
        return build_rig(file, wanted, {node: bone for bone, node in self.bones.items()}, turn=turn)


def read_humanoid(file: GltfFile) -> Humanoid | None:
    """The humanoid of a VRM or VRM animation; None for a plain glTF.

    Raises:
        FileFormatError: it names no hips, a node that is not there, or one node twice.
    """
    extensions = file.table(file.json, "extensions")
    found: list[tuple[str, object]] = []
    if "VRMC_vrm" in extensions or "VRMC_vrm_animation" in extensions:
        name = "VRMC_vrm" if "VRMC_vrm" in extensions else "VRMC_vrm_animation"
        bones = file.table(file.table(file.table(extensions, name), "humanoid"), "humanBones")
        found = [(bone, file.table(bones, bone).get("node")) for bone in bones]
        version = "1.0"
    elif "VRM" in extensions:
        humanoid = file.table(file.table(extensions, "VRM"), "humanoid")
        for row in file.rows(humanoid, "humanBones"):
            bone = str(row.get("bone"))
            found.append((_THUMBS.get(bone, bone), row.get("node")))
        version = "0.x"
    else:
        return None
    known, count = set(default_skeleton().names), len(file.nodes.names)
    bones_of: dict[str, int] = {}
    for bone, node in found:
        if bone not in known or node is None or node == -1:  # UniVRM writes -1 for bones that are not set
            continue
        bones_of[bone] = file.index(node, count, f"the node of `{bone}`")
    if "hips" not in bones_of:
        file.fail("a humanoid with hips", f"{len(bones_of)} bones without", "export it again as VRM")
    if len(set(bones_of.values())) != len(bones_of):
        file.fail("a node for every humanoid bone", "one node for two", "correct the humanoid's bones")
    if "VRMC_vrm" not in extensions and "VRM" not in extensions and "head" in bones_of:
        # Eyes are no humanoid bones in an animation; ours lie beside them as plain nodes.
        for node in np.flatnonzero(file.nodes.parents == bones_of["head"]):
            name = file.nodes.names[node]
            if name in ("leftEye", "rightEye") and name not in bones_of and int(node) not in bones_of.values():
                bones_of[name] = int(node)
    return Humanoid(bones_of, version)

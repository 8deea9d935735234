"""Bodies as other people's programs write them: our avatar with turned bones, another unit, other names or VRM 0.x."""

import copy

import numpy as np

from visavis.motion import rotations as rot
from visavis.motion.avatar import load_avatar
from visavis.motion.gltf_file import GltfFile
from visavis.motion.vrm import write_vrm

THUMBS_0X = {"Metacarpal": "Proximal", "Proximal": "Intermediate", "Distal": "Distal"}


def plain(folder):
    """Our own avatar as a file in memory."""
    path = folder / "plain.vrm"
    if not path.exists():
        write_vrm(load_avatar(), path)
    return GltfFile.read(path)


def turned(folder, seed=0, scale=1.0, front=1.0):
    """The avatar whose bones rest in random orientations, under an armature that lies and has another scale.

    `front` = -1 makes it face -Z.
    """
    file = plain(folder)
    document = copy.deepcopy(file.json)
    rng = np.random.default_rng(seed)
    bones = document["skins"][0]["joints"]
    parents = file.nodes.parents
    world = file.nodes.world[:, :3, 3].copy()
    if front < 0:
        world *= np.array([-1.0, 1.0, -1.0])
    rest = rot.from_rotation_vector(rng.normal(size=(len(world), 3)))
    lying = rot.from_axis_angle([1, 0, 0], -np.pi / 2)
    nodes = document["nodes"]
    for bone in bones:
        above = int(parents[bone])
        up = rest[above] if above >= 0 else lying
        step = (world[bone] - (world[above] if above >= 0 else 0)) / scale
        nodes[bone]["translation"] = [float(v) for v in rot.rotate(rot.conjugate(up), step)]
        nodes[bone]["rotation"] = [float(v) for v in rot.normalize(rot.multiply(rot.conjugate(up), rest[bone]))]
    nodes.append(
        {"name": "Armature", "rotation": [float(v) for v in lying], "scale": [scale] * 3, "children": [bones[0]]}
    )
    roots = document["scenes"][0]["nodes"]
    document["scenes"][0]["nodes"] = [len(nodes) - 1 if root == bones[0] else root for root in roots]
    out = GltfFile(folder / f"turned{seed}.vrm", document, file.blob)
    facing = np.diag([front, 1.0, front, 1.0])
    bind = np.linalg.inv(out.nodes.world[bones]) @ facing  # the mesh itself still faces +Z
    accessor = document["accessors"][document["skins"][0]["inverseBindMatrices"]]
    start = document["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
    data = bind.transpose(0, 2, 1).astype("<f4").tobytes()
    out.blob = file.blob[:start] + data + file.blob[start + len(data) :]
    return out


def as_vrm0(file):
    """The same with the extension of VRM 0.x in place of that of 1.0."""
    document = copy.deepcopy(file.json)
    new = document["extensions"].pop("VRMC_vrm")

    def old(bone):
        for late, early in THUMBS_0X.items():
            if bone.endswith(f"Thumb{late}"):
                return bone.replace(f"Thumb{late}", f"Thumb{early}")
        return bone

    groups = [
        {"name": name, "presetName": {"aa": "a", "happy": "joy", "blink": "blink"}.get(name, "unknown"),
         "binds": [{"mesh": 0, "index": b["index"], "weight": b["weight"] * 100} for b in row["morphTargetBinds"]]}
        for kind in ("preset", "custom") for name, row in new["expressions"][kind].items()
        if kind == "custom" or name in ("aa", "happy", "blink")
    ]  # fmt: skip
    document["extensions"]["VRM"] = {
        "exporterVersion": "test",
        "meta": {"title": "Zero"},
        "humanoid": {
            "humanBones": [
                {"bone": old(name), "node": row["node"]} for name, row in new["humanoid"]["humanBones"].items()
            ]
        },
        "blendShapeMaster": {"blendShapeGroups": groups},
        "firstPerson": {
            "firstPersonBoneOffset": {"x": 0, "y": 0.07, "z": 0.08},
            "lookAtTypeName": "Bone",
            "lookAtHorizontalInner": {"xRange": 90, "yRange": 8},
        },
    }
    document["extensionsUsed"] = ["VRM"]
    return GltfFile(file.path.with_name("zero.vrm"), document, file.blob)


def without_vrm(file, names):
    """A plain glTF body; joints renamed by a mapping."""
    document = copy.deepcopy(file.json)
    del document["extensions"], document["extensionsUsed"]
    for node in document["nodes"]:
        node["name"] = names.get(node["name"], node["name"])
    return GltfFile(file.path.with_name("body.glb"), document, file.blob)

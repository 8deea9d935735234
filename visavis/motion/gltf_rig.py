"""The skeleton inside a glTF file, with rest frames aligned to the world, and the way there and back.

Nodes rest in any orientation; a `Motion` says identity for the rest pose. With W the world orientation of a node at
rest, P that of its parent and q the node's local rotation, the aligned rotation is P · q · W⁻¹ and q is P⁻¹ · a · W.
Offsets are differences of the nodes' rest positions in the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.gltf_file import GltfFile, Nodes
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["Rig", "build_rig", "skin_joints"]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rig:
    """A skeleton and the nodes that it stands for. Legend: J joints.

    Attributes:
        skeleton: joints with world-aligned rest frames; joint 0 is the root.
        nodes: (J,) the node of each joint; joints and their nodes have the same parents.
        rest: (J, 4) rest orientations of the nodes in the world (W).
        above: (J, 4) rest orientations of their parents (P); for the root of whatever it hangs from.
        above_root: (4, 4) float64 matrix of what the root hangs from, to the world.
        turn: (4,) rotation of the file's world into ours.
    """

    skeleton: Skeleton
    nodes: tuple[int, ...]
    rest: Array
    above: Array
    above_root: NDArray[np.float64]
    turn: Array

    def align(self, joint: int, local: ArrayLike, above: ArrayLike | None = None) -> Array:
        """Local rotations (T, 4) of a node → aligned ones; `above` (T, 4) where what the root hangs from moves."""
        parent = self.above[joint] if above is None else above
        return rot.normalize(rot.multiply(rot.multiply(parent, local), rot.conjugate(self.rest[joint])))

    def to_local(self, joint: int, aligned: ArrayLike) -> Array:
        """Aligned rotations (T, 4) → the node's local ones."""
        return rot.normalize(rot.multiply(rot.multiply(rot.conjugate(self.above[joint]), aligned), self.rest[joint]))

    def root_to_local(self, root_m: ArrayLike) -> Array:
        """Positions (T, 3) of the root in the world → its node's translations."""
        back = np.linalg.pinv(self.above_root)
        places = np.asarray(root_m, dtype=np.float64)
        return (places @ back[:3, :3].T + back[:3, 3]).astype(np.float32)


def skin_joints(file: GltfFile) -> list[list[int]]:
    """The joints of every skin, the largest skin first."""
    count = len(file.nodes.names)
    out = []
    for row in file.rows(file.json, "skins"):
        joints = row.get("joints", [])
        if not isinstance(joints, list) or not joints:
            file.fail("the joints of a skin", repr(joints)[:40])
        out.append([file.index(joint, count, "a joint") for joint in joints])
    return sorted(out, key=len, reverse=True)


def _closed(nodes: Nodes, wanted: Iterable[int]) -> tuple[int, list[int]]:
    """The lowest common root of the wanted nodes and all nodes on the paths from it to them.

    Where they stand in several trees, the tree with most of them is kept.
    """
    paths = {node: nodes.path(node)[::-1] for node in wanted}
    trees: dict[int, list[int]] = {}
    for node, path in paths.items():
        trees.setdefault(path[0], []).append(node)
    kept = max(trees.values(), key=len)
    first = paths[kept[0]]
    depth = min(len(paths[node]) for node in kept)
    same = 0
    while same < depth and all(paths[node][same] == first[same] for node in kept):
        same += 1
    root = first[same - 1]
    members = {node for leaf in kept for node in paths[leaf][same - 1 :]}
    return root, [node for node in nodes.order if node in members]


def build_rig(
    file: GltfFile,
    wanted: Iterable[int],
    names: Mapping[int, str] | None = None,
    moved: frozenset[int] = frozenset(),
    turn: Array = rot.IDENTITY,
) -> Rig:
    """The skeleton that spans the wanted nodes.

    Args:
        file: where the nodes are.
        wanted: nodes that must be joints; those between them become joints too.
        names: names for some nodes (humanoid bones); others keep theirs, made unique.
        moved: nodes whose translation is animated: a chain at the top gives way to the first of them.
        turn: rotation of the file's world into ours.
    """
    nodes, names = file.nodes, names or {}
    root, members = _closed(nodes, wanted)
    while True:  # "reference" or "armature" above the hips that carry the movement
        below = [node for node in members if nodes.parents[node] == root]
        if len(below) != 1 or below[0] not in moved or root in moved or root in names:
            break
        members.remove(root)
        root = below[0]
    members = _ordered(nodes, members, names)
    place = {node: i for i, node in enumerate(members)}
    turning = np.eye(4)
    turning[:3, :3] = rot.to_matrix(turn)
    at = np.einsum("ab,nb->na", turning[:3, :3], nodes.world[members, :3, 3])
    rest = rot.multiply(turn, nodes.world_rotations[members])
    parents = np.array([place.get(int(nodes.parents[node]), -1) for node in members], dtype=np.int64)
    offsets = np.where(parents[:, None] >= 0, at - at[parents], at).astype(np.float32)
    hung = int(nodes.parents[root])
    above = rest[parents].copy()
    above[0] = rot.multiply(turn, nodes.world_rotations[hung]) if hung >= 0 else turn
    above_root = turning @ nodes.world[hung] if hung >= 0 else turning
    titles = _titles(nodes, members, names)
    return Rig(
        Skeleton(titles, parents, offsets, _tips(file, members, titles, turn)),
        tuple(members), rest, above, above_root, np.asarray(turn, np.float32),
    )  # fmt: skip


def _ordered(nodes: Nodes, members: list[int], names: Mapping[int, str]) -> list[int]:
    """Joints as our own skeletons order them, else as the file does, else parents first in any order."""
    ours = {name: i for i, name in enumerate(default_skeleton().names)}
    for wanted in (sorted(members, key=lambda node: (ours.get(names.get(node, ""), len(ours)), node)), sorted(members)):
        seen: set[int] = set()
        for node in wanted:
            if seen and int(nodes.parents[node]) not in seen:
                break
            seen.add(node)
        else:
            return wanted
    return members


def _titles(nodes: Nodes, members: list[int], names: Mapping[int, str]) -> tuple[str, ...]:
    """Unique names of the joints; given names go first."""
    taken = {names[node] for node in members if node in names}
    out = []
    for node in members:
        title = names.get(node)
        if title is None:
            plain = nodes.names[node] or f"node{node}"
            title, tries = plain, 2
            while title in taken:
                title, tries = f"{plain}.{tries}", tries + 1
                if tries > 50:  # a file of a thousand equal names
                    plain = f"{plain}.{node}"
            taken.add(title)
        out.append(title)
    return tuple(out)


def _tips(file: GltfFile, members: list[int], titles: tuple[str, ...], turn: Array) -> dict[str, Array]:
    """Ends of the last joints: what we wrote ourselves, else a bare leaf node below."""
    nodes, rows = file.nodes, file.rows(file.json, "nodes")
    inside, parents = set(members), {int(p) for p in nodes.parents}
    out: dict[str, Array] = {}
    turning = rot.to_matrix(turn)
    for node, row in enumerate(rows):
        parent = int(nodes.parents[node])
        if (
            node not in inside
            and parent in inside
            and node not in parents
            and not {"mesh", "skin", "camera"} & set(row)
        ):
            title = titles[members.index(parent)]
            step = turning @ (nodes.world[node, :3, 3] - nodes.world[parent, :3, 3])
            if 1e-4 < np.linalg.norm(step) < 1e3 and title not in out and not _has_child(nodes, parent, inside):
                out[title] = step.astype(np.float32)
    for node, title in zip(members, titles, strict=True):
        extras = rows[node].get("extras")
        if isinstance(extras, dict) and "tip_m" in extras:
            out[title] = rot.rotate(turn, file.numbers(extras["tip_m"], 3, "the tip of a bone"))
    return out


def _has_child(nodes: Nodes, parent: int, inside: set[int]) -> bool:
    return any(int(child) in inside for child in np.flatnonzero(nodes.parents == parent))

"""Our body in the disguise of others: other rest poses, worlds, names and numbers of joints."""

from dataclasses import replace

import numpy as np

from visavis.motion import rotations as rot
from visavis.motion.idle import idle
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton, default_skeleton


def waving(frames=45):
    """Standing, the right arm waving above the shoulder, the trunk turning: nothing touches anything."""
    motion = idle(frames, 3)
    out, s = motion.rotations.copy(), motion.skeleton
    t = np.linspace(0, 2 * np.pi, frames)
    z, y, x = (np.tile(axis, (frames, 1)) for axis in np.eye(3)[::-1])
    out[:, s.index("rightUpperArm")] = rot.from_axis_angle(z, 0.3 + 0.2 * np.sin(t))
    out[:, s.index("rightLowerArm")] = rot.from_axis_angle(y, 1.2 + 0.4 * np.sin(2 * t))
    out[:, s.index("chest")] = rot.from_axis_angle(y, 0.2 * np.sin(t))
    out[:, s.index("head")] = rot.from_axis_angle(x, 0.2 * np.sin(t))
    return replace(motion, rotations=out)


def rested(motion, pose):
    """The same movement on a skeleton whose rest pose is `pose` (J, 4) of the motion's own skeleton."""
    s = motion.skeleton
    held = forward(pose[None], np.zeros((1, 3)), s)[1][0]
    up = np.where(s.parents[:, None] >= 0, held[np.maximum(s.parents, 0)], rot.IDENTITY)
    local = rot.multiply(rot.multiply(up, motion.rotations), rot.conjugate(held))
    tips = {name: rot.rotate(held[s.index(name)], tip) for name, tip in s.tips_m.items()}
    return replace(motion, rotations=local, skeleton=Skeleton(s.names, s.parents, rot.rotate(up, s.offsets_m), tips))


def turned(motion, q):
    """The same movement in a world that is turned by q."""
    s = motion.skeleton
    tips = {name: rot.rotate(q, tip) for name, tip in s.tips_m.items()}
    local = rot.multiply(rot.multiply(q, motion.rotations), rot.conjugate(q))
    return replace(
        motion,
        rotations=local,
        root_m=rot.rotate(q, motion.root_m),
        skeleton=Skeleton(s.names, s.parents, rot.rotate(q, s.offsets_m), tips),
    )


def renamed(motion, name):
    """The same movement, joints called by `name(ours)`."""
    s = motion.skeleton
    tips = {name(bone): tip for bone, tip in s.tips_m.items()}
    return replace(motion, skeleton=Skeleton(tuple(map(name, s.names)), s.parents, s.offsets_m, tips))


def without(motion, *bones):
    """The same movement on a skeleton that lacks some bones; what they turned goes to their children."""
    s = motion.skeleton
    places, world = forward(motion.rotations, motion.root_m, s)
    keep = [i for i, name in enumerate(s.names) if name not in bones]
    parents = []
    offsets = s.offsets_m.copy()
    rest = s.rest_positions_m
    for i in keep:
        p = int(s.parents[i])
        while p >= 0 and p not in keep:
            p = int(s.parents[p])
        parents.append(keep.index(p) if p >= 0 else -1)
        offsets[i] = rest[i] - (rest[p] if p >= 0 else 0)
    above = [rot.conjugate(world[:, keep[p]]) if p >= 0 else np.tile(rot.IDENTITY, (len(motion), 1)) for p in parents]
    local = np.stack([rot.multiply(a, world[:, i]) for a, i in zip(above, keep, strict=True)], axis=1)
    names = tuple(s.names[i] for i in keep)
    tips = {name: tip for name, tip in s.tips_m.items() if name in names}
    return Motion(local, motion.root_m, None, Skeleton(names, np.array(parents), offsets[keep], tips))


def arms_lowered(degrees):
    """(55, 4) the T-pose with arms lowered by some degrees."""
    s, pose = default_skeleton(), np.tile(rot.IDENTITY, (55, 1))
    for side, sign in (("left", -1), ("right", 1)):
        pose[s.index(f"{side}UpperArm")] = rot.from_axis_angle([0, 0, 1], np.float32(sign * np.radians(degrees)))
    return pose


MIXAMO = {
    "spine": "Spine", "chest": "Spine1", "upperChest": "Spine2", "hips": "Hips", "neck": "Neck", "head": "Head",
    "Shoulder": "Shoulder", "UpperArm": "Arm", "LowerArm": "ForeArm", "Hand": "Hand", "UpperLeg": "UpLeg",
    "LowerLeg": "Leg", "Foot": "Foot", "Toes": "ToeBase", "Eye": "Eye", "jaw": "Jaw",
}  # fmt: skip


def mixamo(name):
    """What Mixamo calls a bone of ours."""
    for side in ("left", "right"):
        if name.startswith(side):
            part = name[len(side) :]
            if part in MIXAMO:
                return f"mixamorig:{side.capitalize()}{MIXAMO[part]}"
            number = {"Metacarpal": 1, "Proximal": 1, "Intermediate": 2, "Distal": 3}
            for finger in ("Thumb", "Index", "Middle", "Ring", "Little"):
                if part.startswith(finger):
                    joint = part.removeprefix(finger)
                    n = number[joint] + (finger == "Thumb" and joint == "Proximal")
                    return f"mixamorig:{side.capitalize()}Hand{finger.replace('Little', 'Pinky')}{n}"
    return f"mixamorig:{MIXAMO[name]}"


def longer(ratios):
    """Our skeleton with other limbs: bone without its side → ratio."""
    ours = default_skeleton()
    offsets = ours.offsets_m.copy()
    for bone, ratio in ratios.items():
        for side in ("left", "right"):
            offsets[ours.index(side + bone)] *= np.float32(ratio)
    body = Skeleton(ours.names, ours.parents, offsets, ours.tips_m)
    foot = ours.index("leftFoot")
    offsets[0, 1] += ours.rest_positions_m[foot, 1] - body.rest_positions_m[foot, 1]
    return Skeleton(ours.names, ours.parents, offsets, ours.tips_m)

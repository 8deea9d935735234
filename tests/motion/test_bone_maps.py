import numpy as np
import pytest
from foreign import mixamo, renamed, waving

from visavis.errors import FileFormatError
from visavis.motion.bone_maps import axes_rotation, guess_bones, known_maps
from visavis.motion.skeleton import Skeleton, default_skeleton

OURS = default_skeleton()


def same(bones, name):
    """Every bone that was found is the joint that has its name."""
    wrong = {bone: joint for bone, joint in bones.bones.items() if joint != name(bone)}
    assert not wrong
    assert bones.spine == tuple(name(bone) for bone in ("spine", "chest", "upperChest"))
    assert bones.neck == (name("neck"),)


def test_seven_kinds_of_skeletons_are_known():
    names = {known.name for known in known_maps()}
    assert names == {"VRM", "SMPL-X", "Mixamo", "Bandai-Namco", "SmartBody", "Biovision", "Kinect"}
    for known in known_maps():
        assert len(set(known.bones.values())) == len(known.bones), f"{known.name} uses a joint twice"


def test_our_own_bones_are_known_by_name():
    bones = guess_bones(OURS)
    assert bones.name == "VRM" and bones.tpose
    assert len(bones.bones) + len(bones.spine) + len(bones.neck) == len(OURS)
    same(bones, lambda bone: bone)


def test_mixamo_names_are_known_with_and_without_their_namespace():
    for name in (mixamo, lambda bone: mixamo(bone).removeprefix("mixamorig:")):
        bones = guess_bones(renamed(waving(2), name).skeleton)
        assert bones.name == "Mixamo"
        same(bones, name)


def sides_last(bone):
    for side in ("left", "right"):
        if bone.startswith(side):
            return f"{bone.removeprefix(side).lower()}.{side[0].upper()}"
    return f"DEF-{bone.lower()}"


@pytest.mark.parametrize(
    "name",
    [
        lambda bone: f"Bip01 {bone}x" if bone in ("spine", "chest", "upperChest") else f"Bip01 {bone}",
        lambda bone: bone.replace("left", "l_").replace("right", "r_") + "_jnt",
        sides_last,
        lambda bone: f"node_{OURS.index(bone)}",
    ],
    ids=["prefix", "short sides", "sides last", "numbers only"],
)
def test_unknown_names_are_guessed_from_words_and_shape(name):
    bones = guess_bones(renamed(waving(2), name).skeleton)
    assert bones.name == "guessed"
    same(bones, name)
    fingers = [bone for bone in bones.bones if "Index" in bone or "Thumb" in bone]
    assert len(fingers) == 12
    report = bones.report()
    assert name("leftHand") in report and ("[name]" in report or "[shape]" in report)


def test_a_skeleton_without_a_body_is_refused_with_a_clear_error():
    box = Skeleton(("root", "lid"), np.array([-1, 0]), np.zeros((2, 3), np.float32), {})
    with pytest.raises(FileFormatError, match="expected a body with hips, a head and two arms; found no joint for"):
        guess_bones(box)


def test_axes_are_read_as_columns_and_pitch_looks_down():
    assert np.allclose(axes_rotation(("+x", "+y", "+z")), np.eye(3))
    assert np.allclose(axes_rotation(("-y", "+x", "+z")) @ [1, 0, 0], [0, -1, 0])
    # A foot that lies 30° below the horizon: in its own axes our front is 30° above it.
    front = axes_rotation(("+x", "+y", "+z"), 30.0) @ [0, 0, 1]
    assert np.allclose(front, [0, 0.5, np.cos(np.radians(30))], atol=1e-6)
    assert np.isclose(np.linalg.det(axes_rotation(("+y", "-z", "-x"), 10.0)), 1.0)

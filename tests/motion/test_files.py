import math

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.face import ARKIT_NAMES, mirror_index
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions, tips
from visavis.motion.livelink import read_livelink, write_livelink
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton

RNG = np.random.default_rng(0)
WILD = Motion(rot.normalize(RNG.normal(size=(12, 55, 4))), RNG.normal(size=(12, 3)))


def independent_positions(text):
    """World positions (T, joints and end sites) of a BVH file, by a parser that shares nothing with ours."""
    head, motion = text.split("MOTION")
    lines = [line.split() for line in head.strip().splitlines()[1:]]
    nodes, stack = [], []
    for words in lines:
        if words[0] in ("ROOT", "JOINT", "End"):
            name = words[1] if words[0] != "End" else nodes[stack[-1]]["name"] + "_end"
            nodes.append({"name": name, "parent": stack[-1] if stack else None, "channels": []})
        elif words[0] == "{":
            stack.append(len(nodes) - 1)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET":
            nodes[-1]["offset"] = np.array([float(w) for w in words[1:]])
        elif words[0] == "CHANNELS":
            nodes[-1]["channels"] = words[2:]
            assert len(words[2:]) == int(words[1])
    rows = motion.strip().splitlines()
    out = {node["name"]: [] for node in nodes}
    for row in rows[2:]:
        values = iter(float(w) for w in row.split())
        world = []
        for node in nodes:
            m = np.eye(4)
            m[:3, 3] = node["offset"]
            for channel in node["channels"]:
                v, axis = next(values), "XYZ".index(channel[0])
                if channel.endswith("position"):
                    m[axis, 3] = v
                else:
                    c, s = math.cos(math.radians(v)), math.sin(math.radians(v))
                    r, (j, k) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
                    r[j, j], r[j, k], r[k, j], r[k, k] = c, -s, s, c
                    m = m @ r
            m = m if node["parent"] is None else world[node["parent"]] @ m
            world.append(m)
            out[node["name"]].append(m[:3, 3])
        assert next(values, None) is None
    return {name: np.array(places) / 100 for name, places in out.items()}, rows[:2]


@pytest.mark.parametrize("motion", [idle(20, 1), WILD], ids=["idle", "wild"])
def test_bvh_is_read_by_an_independent_reader(tmp_path, motion):
    write_bvh(motion, tmp_path / "a.bvh")
    places, (count, frame_time) = independent_positions((tmp_path / "a.bvh").read_text())
    assert count == f"Frames: {len(motion)}" and abs(float(frame_time.split()[-1]) - 1 / 30) < 1e-6
    ours = positions(motion)
    for i, name in enumerate(motion.skeleton.names):
        assert np.abs(places[name] - ours[:, i]).max() < 1e-3
    leaves = {name: tip for name, tip in tips(motion).items() if name != "head"}  # the head ends in eyes and jaw
    assert len(leaves) == 12
    for name, tip in leaves.items():
        assert np.abs(places[f"{name}_end"] - tip).max() < 1e-3


@pytest.mark.parametrize(
    "motion", [idle(20, 1), WILD, Motion.rest(3), idle(0, 1)], ids=["idle", "wild", "rest", "empty"]
)
def test_bvh_round_trip(tmp_path, motion):
    write_bvh(motion, tmp_path / "a.bvh")
    again = read_bvh(tmp_path / "a.bvh")
    assert again.skeleton is default_skeleton() and len(again) == len(motion)
    if len(motion):
        assert np.degrees(rot.angle_between(again.rotations, motion.rotations).max()) < 0.1
        assert np.abs(positions(again) - positions(motion)).max() < 1e-3


def test_gimbal_lock_survives(tmp_path):
    motion = Motion.rest(4)
    for frame, angle in enumerate((90.0, -90.0, 89.9999, 90.0)):
        tilt = rot.from_axis_angle([1, 0, 0], np.radians(angle))
        motion.rotations[frame, 1] = rot.multiply(
            rot.multiply(rot.from_axis_angle([0, 0, 1], 0.3 * frame), tilt), rot.from_axis_angle([0, 1, 0], 0.7)
        )
    write_bvh(motion, tmp_path / "a.bvh")
    assert np.degrees(rot.angle_between(read_bvh(tmp_path / "a.bvh").rotations, motion.rotations).max()) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "nonsense", "begins with HIERARCHY"),
        (lambda t: t[: len(t) * 9 // 10], "cut off"),
        (lambda t: t.replace("0.03333333", "-0.008"), "frame time in seconds"),
        (lambda t: t.replace("}\nMOTION", "MOTION"), "damaged"),
        (lambda t: t.replace("Xposition Yposition", "Xposition Xposition"), "CHANNELS"),
        (lambda t: t.replace("MOTION", "ROOT other\n{\nOFFSET 0 0 0\n}\nMOTION"), "one ROOT"),
        (lambda t: t.replace("Frames: 4", "Frames: 4000000000"), "at most"),
        (lambda t: t.replace("0.000000", "nan", 1), "finite"),
        (lambda t: t.rsplit(" ", 3)[0], "numbers"),
    ],
)
def test_broken_bvh_is_refused_with_what_to_do(tmp_path, change, message):
    path = tmp_path / "a.bvh"
    write_bvh(idle(4, 1), path)
    path.write_text(change(path.read_text()))
    with pytest.raises(FileFormatError, match=message):
        read_bvh(path)


def test_livelink_round_trip_and_layout(tmp_path):
    face = RNG.random((65, 52)).astype(np.float32)
    write_livelink(idle(65, 1).with_face(face), tmp_path / "face.csv")
    rows = (tmp_path / "face.csv").read_text().splitlines()
    assert rows[0].startswith("Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft") and rows[0].count(",") == 62
    assert rows[0].endswith(
        "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
    )
    assert rows[1].startswith("00:00:00:00.000,61,") and rows[65].startswith("00:00:02:04.000,61,")
    assert np.abs(read_livelink(tmp_path / "face.csv") - face).max() < 1e-5
    (tmp_path / "bad.csv").write_text("Timecode,JawOpen\n0,1\n")
    with pytest.raises(FileFormatError, match="52 blendshapes"):
        read_livelink(tmp_path / "bad.csv")


def test_face_names():
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    assert (mirror_index()[mirror_index()] == np.arange(52)).all()
    assert ARKIT_NAMES[mirror_index()[ARKIT_NAMES.index("jawLeft")]] == "jawRight"

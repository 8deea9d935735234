from pathlib import Path

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.files import find_format, read_motion
from visavis.motion.kinect import _JOINTS, KINECT_NAMES, is_kinect, read_kinect
from visavis.motion.kinematics import positions

REAL = Path(__file__).parents[2] / ".cache" / "real" / "laban_gestures"
LENGTH = {"Thumb": 0.05, "HandTip": 0.08, "Hand": 0.07, "Shoulder": 0.17, "Hip": 0.09, "Foot": 0.12, "Head": 0.15}


def body(frames=40, seed=0):
    """Places (T, 25, 3) of a body of fixed bones whose joints turn, in our world, standing 2.5 m from the camera."""
    rng = np.random.default_rng(seed)
    at, turned = {}, {}
    rows = {name: (parent, way) for name, parent, way in _JOINTS}

    def place(name):
        parent, way = rows[name]
        t = np.arange(frames)[:, None] / 30
        turn = rot.from_rotation_vector(0.4 * rng.normal(size=3) * np.sin(3 * t + rng.normal(size=3)))
        if not parent:
            at[name], turned[name] = np.tile([0.1, 0.0, -2.5], (frames, 1)), turn
            return
        if parent not in at:
            place(parent)
        length = next((v for k, v in LENGTH.items() if name.startswith(k)), 0.25)
        at[name] = at[parent] + rot.rotate(turned[parent], length * np.array(way))
        turned[name] = rot.multiply(turned[parent], turn)

    for name in KINECT_NAMES:
        if name not in at:
            place(name)
    return np.stack([at[name] for name in KINECT_NAMES], axis=1)


def text(places, sure=2, step=330_000):
    rows = []
    for i, row in enumerate(places * np.array([-1.0, 1.0, -1.0])):
        cells = [f"{x:.6f},{y:.6f},{z:.6f},{sure}" for x, y, z in row]
        rows.append(",".join([str(7_000_000_000 + i * step), *cells]))
    return "\n".join(rows)


def test_bones_point_where_they_were_seen(tmp_path):
    places = body()
    (tmp_path / "a.csv").write_text(text(places, step=333_333))
    assert find_format(tmp_path / "a.csv") == "kinect"
    motion = read_motion(tmp_path / "a.csv")
    there = positions(motion)
    assert len(motion) == 40 and np.abs(np.median(motion.root_m, axis=0)[[0, 2]]).max() < 1e-6
    for name in KINECT_NAMES:
        off = there[:, motion.skeleton.index(name)] - places[:, KINECT_NAMES.index(name)]
        off -= off[0]  # the floor and the middle are found anew
        assert np.abs(off).max() < 2e-3, name


def test_milliseconds_and_untracked_joints(tmp_path):
    places = body()
    lines = text(places, step=33).splitlines()
    column = 1 + 4 * KINECT_NAMES.index("WristLeft")
    for i in range(10, 20):
        words = lines[i].split(",")
        words[column : column + 4] = ["0", "0", "0", "0"]
        lines[i] = ",".join(words)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    motion = read_kinect(tmp_path / "a.csv")
    wrist = positions(motion)[:, motion.skeleton.index("WristLeft")]
    assert 38 <= len(motion) <= 40 and np.linalg.norm(np.diff(wrist, axis=0), axis=-1).max() < 0.25


def test_other_text_is_refused(tmp_path):
    good = text(body(5))
    for change in (lambda t: t[:-200], lambda t: t.replace(",2,", ",x,", 3), lambda t: t.replace("7000000000", "nan")):
        (tmp_path / "a.csv").write_text(change(good))
        with pytest.raises(FileFormatError):
            read_kinect(tmp_path / "a.csv")
    assert is_kinect(good.splitlines()[0]) and not is_kinect("1,2,3") and not is_kinect("")


@pytest.mark.skipif(not REAL.exists(), reason="laban_gestures is not unpacked in .cache/real")
def test_real_gestures_stand_on_the_floor():
    files = sorted(REAL.rglob("Ges0*.csv"))
    assert len(files) == 6
    for path in files:
        motion = read_motion(path)
        at = positions(motion)
        feet = at[:, [motion.skeleton.index(f"Foot{side}") for side in ("Left", "Right")], 1]
        assert abs(np.median(feet)) < 0.1 and (at[:, motion.skeleton.index("Head"), 1] > 1.1).all()

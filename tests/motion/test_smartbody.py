import math
from pathlib import Path

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion import smartbody
from visavis.motion.idle import idle
from visavis.motion.kinematics import forward, positions
from visavis.motion.smartbody import read_phases, read_sk, read_skm, write_skm

REAL = Path(__file__).parents[2] / ".cache" / "real" / "smartbody_gestures"
CLIPS = sorted(REAL.glob("*/motions/*.skm"))
real = pytest.mark.skipif(not CLIPS, reason="SmartBody's clips are not unpacked in .cache/real")

SK = """# SK Skeleton Definition
set_name root

skeleton
root base
{ offset 0.1 1.0 0.0
  prerot axis 0.0 1.0 0.0 ang 30.0
  channel XPos 0 free
  channel YPos 0 free
  channel ZPos 0 free
  channel Quat

  joint arm
  { offset 0.0 0.4 0.0
    prerot axis 0.0 0.0 2.0 ang 90.0
    channel Quat

    joint hand
    { offset 0.3 0.0 0.0
      jorient axis 1.0 0.0 0.0 ang 10.0
      prerot axis 0.0 0.0 0.0 ang 0.0
      postrot axis 0.0 1.0 0.0 ang -20.0
      channel Quat

      joint finger
      { offset 0.1 0.0 0.0
        prerot axis 0.0 0.0 0.0 ang 0.0
      }
    }
  }
}
end
"""
TURNS = {"base": (0.3, -0.2, 0.5), "arm": (0.0, 1.2, -0.4), "hand": (-0.7, 0.1, 0.2)}
SKM = """# SKM Motion Definition
SkMotion

name "someone@wave"

channels 7
base XPos
base YPos
base ZPos
base Quat
arm Quat
hand Quat
JtNowhere Quat

frames 2
kt 0.0 fr {row}
kt 0.0333333 fr {row}
ready time: 0.01
strokeStart time: 0.01
emphasis time: 0.02
stroke time: 0.03
relax time: 0.03
"""


def turn(axis, angle):
    """Rodrigues' formula, a 3 × 3 matrix."""
    x, y, z = np.asarray(axis, float) / (np.linalg.norm(axis) or 1.0)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k


def turned(vector):
    return turn(vector, float(np.linalg.norm(vector)))


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "someone.sk").write_text(SK)
    row = " ".join(str(v) for v in (0.1, 0.2, 0.3, *TURNS["base"], *TURNS["arm"], *TURNS["hand"], 9, 9, 9))
    (tmp_path / "a.skm").write_text(SKM.format(row=row))
    return tmp_path / "a.skm"


def test_places_are_those_of_an_independent_computation(clip):
    deg = math.radians
    base = turn((0, 1, 0), deg(30)) @ turned(TURNS["base"])
    arm = base @ turn((0, 0, 1), deg(90)) @ turned(TURNS["arm"])
    hand = arm @ turn((1, 0, 0), deg(10)) @ turned(TURNS["hand"]) @ turn((0, 1, 0), deg(-20))
    at = [np.array([0.2, 1.2, 0.3])]
    for frame, offset in ((base, (0, 0.4, 0)), (arm, (0.3, 0, 0)), (hand, (0.1, 0, 0))):
        at.append(at[-1] + frame @ offset)
    motion = read_skm(clip)
    assert motion.skeleton.names == ("base", "arm", "hand", "finger") and len(motion) == 2
    assert np.abs(positions(motion)[0] - np.array(at)).max() < 1e-5


def test_identity_is_the_rest_pose_in_the_axes_of_the_world(clip):
    skeleton = read_sk(clip.parent / "someone.sk")
    assert np.allclose(skeleton.rest_positions_m[1], [0.1, 1.4, 0.0], atol=1e-6)
    # The arm's frame is turned by 90° about z under the root's 30° about y: its x is the world's y.
    assert np.allclose(skeleton.offsets_m[2], [0.0, 0.3, 0.0], atol=1e-6)


def test_phases_are_read_in_order(clip):
    phases = read_phases(clip)
    assert phases.times == pytest.approx((0.0, 0.01, 0.01, 0.02, 0.03, 0.03, 0.0333333))


def test_round_trip_writes_the_skeleton_beside_it(tmp_path):
    motion = idle(20, 3)
    write_skm(motion, tmp_path / "a.skm")
    again = read_skm(tmp_path / "a.skm")
    assert again.skeleton is motion.skeleton
    assert np.abs(positions(again) - positions(motion)).max() < 1e-4
    assert np.degrees(rot.angle_between(again.rotations, motion.rotations).max()) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "cut off"),
        (lambda t: t.replace("frames 2", "frames 3"), "3 frames"),
        (lambda t: t.replace("frames 2", "frames 1"), "more frames"),
        (lambda t: t.replace("kt 0.0 ", "kt 0.1 "), "times that grow"),
        (lambda t: t.replace("0.5 ", "nan "), "finite"),
        (lambda t: t.replace("base ", "b ").replace("arm ", "a ").replace("hand ", "h "), "joints of the skeleton"),
        (lambda t: t.replace("channels 7", "channels 100000"), "100000"),
    ],
)
def test_broken_motion_is_refused(clip, change, message):
    clip.write_text(change(clip.read_text()))
    with pytest.raises(FileFormatError, match=message):
        read_skm(clip)


def test_without_its_skeleton_it_says_so(clip, tmp_path):
    (tmp_path / "someone.sk").rename(tmp_path / "else.txt")
    with pytest.raises(FileFormatError, match="skeleton"):
        read_skm(clip)
    assert len(read_skm(clip, tmp_path / "else.txt")) == 2


def foot_errors_mm(clip, reading):
    """Median over frames of what the toes slide, and of how far they are from their height at rest, in mm."""
    take = smartbody._parse_motion(clip)
    rig = smartbody._rig(smartbody._find_skeleton(clip, take.name))
    few = type(take)(take.name, take.channels, take.times_s[::12], take.table[::12], {})
    turns, root = smartbody._turns(few, rig, reading)
    local = smartbody._aligned(turns, rig)
    toes = rig.skeleton.indices(["JtToeLf", "JtToeRt", "JtAnkleLf", "JtAnkleRt"])
    at = forward(local, rig.skeleton.offsets_m[0] + root, rig.skeleton)[0][:, toes]
    slide = np.linalg.norm(at - np.median(at, axis=0), axis=-1)
    return 1e3 * np.median(slide), 1e3 * np.median(np.abs(at[..., 1] - rig.skeleton.rest_positions_m[toes, 1]))


def euler(order):
    def read(v):
        out = rot.IDENTITY
        for axis in order:
            out = rot.multiply(out, rot.from_axis_angle(np.eye(3)[axis], np.asarray(v)[..., axis]))
        return out

    return read


def imaginary(v):
    w = np.sqrt(np.clip(1 - np.sum(np.square(v), axis=-1, keepdims=True), 0, None))
    return rot.normalize(np.concatenate([v, w], axis=-1))


OTHERS = {
    "imaginary part of a unit quaternion": imaginary,
    "Rodrigues, axis times tan(a/2)": lambda v: rot.normalize(np.concatenate([v, np.ones_like(v[..., :1])], -1)),
    "half the rotation vector": lambda v: rot.from_rotation_vector(2 * np.asarray(v)),
    "Euler angles zyx": euler((2, 1, 0)),
    "Euler angles xyz": euler((0, 1, 2)),
}


@real
def test_three_valued_quat_is_a_rotation_vector():
    # Performers stand: under the right reading their feet stay on the floor and on their spot, to the rounding.
    clips = [c for c in CLIPS if c.stem.endswith(("ChopLf01", "MeLf01", "NegativeBt01"))][:3]
    right = np.median([foot_errors_mm(clip, rot.from_rotation_vector) for clip in clips], axis=0)
    assert (right < 0.1).all()
    for name, reading in OTHERS.items():
        wrong = np.median([foot_errors_mm(clip, reading) for clip in clips], axis=0)
        assert wrong[1] > 0.5 and wrong[1] > 20 * right[1], name


@real
@pytest.mark.slow
def test_all_real_clips_load():
    assert len(CLIPS) == 214
    for clip in CLIPS:
        motion, phases = read_skm(clip), read_phases(clip)
        head = positions(motion)[:, motion.skeleton.index("JtSkullA")]
        assert len(motion.skeleton) == 119 and len(motion) > 10 and (1.2 < head[:, 1]).all()
        assert phases is None or phases.end_s <= motion.duration_s + 0.05

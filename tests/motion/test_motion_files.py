"""Any file: found by content, read on its own skeleton, and back exactly."""

from pathlib import Path

import numpy as np
import pytest
from test_files import independent_positions

from visavis.errors import FileFormatError, UsageError
from visavis.motion import rotations as rot
from visavis.motion.bvh import read_bvh
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.files import find_format, formats, read_face, read_motion, write_motion
from visavis.motion.idle import idle
from visavis.motion.kinematics import forward, positions
from visavis.motion.livelink import read_livelink_take, write_livelink
from visavis.motion.motion import Motion
from visavis.motion.reading import frame_rate, unique_names
from visavis.motion.skeleton import Skeleton, default_skeleton
from visavis.motion.smplx import SMPLX_NAMES, read_npz, smplx_skeleton, write_npz

REAL = Path(__file__).parents[2] / ".cache" / "real"
RNG = np.random.default_rng(5)


def real(folder):
    return pytest.mark.skipif(not (REAL / folder).exists(), reason=f"{folder} is not unpacked in .cache/real")


def dance(skeleton, frames=20):
    """Smooth and wild: every joint turns, the hips travel."""
    t = np.arange(frames)[:, None, None] / 30
    turns = RNG.normal(size=(2, 1, len(skeleton), 3))
    vectors = 1.5 * turns[0] * np.sin(3 * t + turns[1])
    root = skeleton.offsets_m[0] + 0.3 * np.sin(t[:, 0] * np.array([1.0, 2.0, 3.0]))
    face = RNG.random((frames, 52)).astype(np.float32)
    return Motion(rot.from_rotation_vector(vectors), root, face, skeleton)


def other_body():
    """VRM bones of other proportions, without the upper chest's own place in the list, and without toes."""
    ours = default_skeleton()
    scale = RNG.uniform(0.8, 1.2, size=(len(ours), 1)).astype(np.float32)
    return Skeleton(ours.names, ours.parents, ours.offsets_m * scale, ours.tips_m)


def degrees(a, b):
    """Largest angle between rotations, without the noise of an arccosine near 1."""
    turn = rot.multiply(rot.conjugate(a), b).astype(np.float64)
    return float(np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(turn[..., :3], axis=-1), 0, 1))).max())


@pytest.mark.parametrize("kind", ["bvh", "npz", "skm", "vrma"])
@pytest.mark.parametrize("body", ["ours", "other"])
def test_there_and_back(tmp_path, kind, body):
    motion = dance(default_skeleton() if body == "ours" else other_body())
    write_motion(motion, tmp_path / f"a.{kind}")
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.something")
    if kind == "skm":
        (tmp_path / "a.sk").rename(tmp_path / "a.other")
        again = read_motion(tmp_path / "a.something", skeleton=tmp_path / "a.other")
    else:
        again = read_motion(tmp_path / "a.something")
    assert len(again) == len(motion) and set(again.skeleton.names) == set(motion.skeleton.names)
    order = again.skeleton.indices(motion.skeleton.names)
    # Must hold 1: 0.1° and 1 mm per joint, a face's weights to 1/255.
    assert degrees(again.rotations[:, order], motion.rotations) < 0.1
    assert np.abs(positions(again)[:, order] - positions(motion)).max() < 1e-3
    if {each.name: each.face for each in formats()}[kind]:
        assert np.abs(again.face - motion.face).max() < 1 / 255


def test_glb_there_and_back(tmp_path):
    motion = dance(default_skeleton(), frames=8)
    write_motion(motion, tmp_path / "a.glb")
    again = read_motion(tmp_path / "a.glb")
    order = again.skeleton.indices(motion.skeleton.names)
    assert np.abs(positions(again)[:, order] - positions(motion)).max() < 1e-3
    assert degrees(again.rotations[:, order], motion.rotations) < 0.1
    assert np.abs(again.face - motion.face).max() < 1 / 255
    assert np.abs(read_face(tmp_path / "a.glb") - motion.face).max() < 1 / 255


def test_face_there_and_back_by_livelink(tmp_path):
    for frames in (1, 20, 70):
        motion = dance(default_skeleton(), frames)
        write_motion(motion, tmp_path / "a.csv")
        assert np.abs(read_face(tmp_path / "a.csv") - motion.face).max() < 1 / 255
    write_motion(motion.with_face(None), tmp_path / "a.bvh")
    with pytest.raises(FileFormatError, match="face track"):
        read_face(tmp_path / "a.bvh")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("bvh", b"\xef\xbb\xbfHIERARCHY\nROOT a"),
        ("bvh", b"\n\n hierarchy\n"),
        ("skm", b"# comment\n\nSkMotion\n"),
        ("sk", b"# SK\n\nset_name Chr\n\nskeleton\n"),
        ("csv", b"Timecode,BlendShapeCount,EyeBlinkLeft\n"),
        ("npz", b"PK\x03\x04...."),
        ("glb", b"glTF\x02\0\0\0"),
        ("vrma", b'{"extensionsUsed": ["VRMC_vrm_animation"], "asset": {}}'),
        ("vrm", b'{"extensions": {"VRM": {}}}'),
    ],
)
def test_format_is_found_from_content(tmp_path, kind, content):
    (tmp_path / "x.wav").write_bytes(content)
    assert find_format(tmp_path / "x.wav") == kind


@pytest.mark.parametrize("content", [b"", b"RIFF\0\0\0\0WAVE", b"hello", b"\x80\x02}q\0."])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.bvh").write_bytes(content)
    with pytest.raises(FileFormatError, match="expected a motion file"):
        read_motion(tmp_path / "x.bvh")


def test_missing_files_and_unknown_names(tmp_path):
    with pytest.raises(FileFormatError, match="not there"):
        read_motion(tmp_path / "none.bvh")
    with pytest.raises(FileFormatError, match="a folder"):
        read_motion(tmp_path)
    with pytest.raises(UsageError, match="ending in one of"):
        write_motion(idle(3, 1), tmp_path / "a.fbx")


# BVH ----------------------------------------------------------------------------------------------------------------

FOREIGN = """HIERARCHY
ROOT Reference
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Bip01 Pelvis {{
    OFFSET 1 95 0
    CHANNELS 6 Yrotation Xposition Zrotation Zposition Xrotation Yposition
    JOINT Leg
    {{
      OFFSET 10 -45 0
      CHANNELS 1 Xrotation
      End Site
      {{
        OFFSET 0 -45 0
      }}
    }}
    JOINT Spine
    {{
      OFFSET 0 30 0
      CHANNELS 6 Xposition Yposition Zposition Yrotation Zrotation Xrotation
      JOINT Leg
      {{
        OFFSET 0 40 0
        CHANNELS 2 Zrotation Yrotation
        End Site
        {{
          OFFSET 0 0 0
        }}
      }}
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: {time}
{rows}
"""


def foreign(frames=9, time="0.0333333"):
    rows = []
    for i in range(frames):
        a = i / max(frames - 1, 1)
        root, pelvis = [1, 2, 3, 10, 20, 30], [20 * a, 5 + 4 * a, 10, -30, 5, 90]
        rows.append([*root, *pelvis, 33 * a, 0, 30, 0, 11, 12 * a, 13, -40, 25 * a])
    return FOREIGN.format(frames=frames, time=time, rows="\n".join(" ".join(f"{v:.5f}" for v in r) for r in rows))


def test_any_hierarchy_and_channel_order(tmp_path):
    (tmp_path / "a.bvh").write_text(foreign())
    motion = read_bvh(tmp_path / "a.bvh")
    # The root only carries the pelvis, which moves by itself: it is folded in. Names stay, and stay unique.
    assert motion.skeleton.names == ("Bip01 Pelvis", "Leg", "Spine", "Leg_2")
    text = foreign().replace("Bip01 Pelvis {", "Bip01\n{").replace("JOINT Leg\n      {", "JOINT Leg_2\n      {")
    there, _ = independent_positions(text)
    for i, name in enumerate(("Bip01", "Leg", "Spine", "Leg_2")):
        assert np.abs(positions(motion)[:, i] - there[name]).max() < 1e-5
    assert set(motion.skeleton.tips_m) == {"Leg"}


@pytest.mark.parametrize(("time", "frames"), [("0.0083333", 33), ("0.01666667", 17), ("0.041667", 8), ("0.1", 4)])
def test_other_rates_are_brought_to_thirty(tmp_path, time, frames):
    (tmp_path / "a.bvh").write_text(foreign(frames, time))
    motion = read_bvh(tmp_path / "a.bvh")
    rate = frame_rate(time, "a")
    assert len(motion) == int((frames - 1) * 30 / rate + 1e-3) + 1
    # The pelvis travels evenly, whatever the rate.
    steps = np.linalg.norm(np.diff(motion.root_m, axis=0), axis=-1)
    assert np.ptp(steps) < 2e-5 and len(motion) > 8


def test_rates_as_programs_write_them():
    written = {"0.0333": 30, "0.033333": 30, ".0333333": 30, "0.03333333": 30, "0.0083333": 120, "0.0416667": 24}
    for text, rate in written.items():
        assert frame_rate(text, "a") == rate
    assert frame_rate("0.033367", "a") == pytest.approx(29.97, abs=0.01)
    assert frame_rate("8.33333e-03", "a") == 120
    for text in ("0", "-1", "nan", "inf", "x", "1e-300"):
        with pytest.raises(FileFormatError, match="frame time"):
            frame_rate(text, "a")


@pytest.mark.parametrize("factor", [0.01, 0.1, 10.0, 1 / 2.54])
def test_units_are_found_from_the_size_of_the_body(tmp_path, factor):
    motion = dance(default_skeleton(), 3)
    write_motion(motion, tmp_path / "a.bvh")
    lines = (tmp_path / "a.bvh").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    for i, line in enumerate(lines):
        words = line.split()
        if i >= start or words[0] == "OFFSET":
            at, end = (0, 3) if i >= start else (1, 4)
            words[at:end] = [f"{float(w) * factor:.9f}" for w in words[at:end]]
            lines[i] = " ".join(words)
    (tmp_path / "b.bvh").write_text("\n".join(lines))
    again = positions(read_bvh(tmp_path / "b.bvh"))
    if factor == 1 / 2.54:  # 66 units high: as centimetres a body of 0.66 m, and centimetres are believed
        again = again * 2.54
    assert np.abs(again - positions(motion)).max() < 1e-3


def test_positions_that_are_differences_leave_the_offset(tmp_path):
    (tmp_path / "a.bvh").write_text(foreign().replace(" 0.00000 30.00000 0.00000 11.", " 0.0 0.0 0.0 11."))
    assert np.allclose(read_bvh(tmp_path / "a.bvh").skeleton.offsets_m[2], [0, 0.3, 0])


def test_one_endless_line_is_refused_before_it_is_cut_into_words(tmp_path):
    for head in ("HIERARCHY\nROOT a\n{\nOFFSET ", "SkMotion\nchannels ", "Timecode,EyeBlinkLeft,"):
        (tmp_path / "a").write_text(head + "1 " * 2_000_000)
        with pytest.raises(FileFormatError, match="characters long") as found:
            read_motion(tmp_path / "a")
        assert len(str(found.value)) < 500


def test_deep_chains_are_written_and_read(tmp_path):
    names = tuple(f"joint {i}" for i in range(900))
    parents = np.arange(-1, 899)
    offsets = np.full((900, 3), 0.002, np.float32)
    motion = Motion.rest(2, Skeleton(names, parents, offsets, {}))
    for kind in ("bvh", "skm"):
        write_motion(motion, tmp_path / f"a.{kind}")
        assert np.abs(positions(read_motion(tmp_path / f"a.{kind}")) - positions(motion)).max() < 1e-3


@real("bandai_namco")
def test_real_bvh_stands_where_an_independent_reader_says():
    path = sorted((REAL / "bandai_namco").rglob("*.bvh"))[7]
    motion = read_bvh(path)
    there, _ = independent_positions(path.read_text())
    for i, name in enumerate(motion.skeleton.names):
        assert np.abs(positions(motion)[:, i] - there[name]).max() < 1e-4


@real("bandai_namco")
@pytest.mark.slow
def test_all_real_bvh_load():
    files = sorted((REAL / "bandai_namco").rglob("*.bvh"))
    assert len(files) == 219
    for path in files:
        motion = read_bvh(path)
        at = positions(motion)
        assert len(motion.skeleton) == 21 and len(motion) > 10
        head = at[:, motion.skeleton.index("Head"), 1] - at[:, motion.skeleton.index("Toes_L"), 1]
        assert (0.4 < head).all() and (head < 1.9).all()


# SMPL-X -------------------------------------------------------------------------------------------------------------


def beat_like(path, **changes):
    frames = 5
    table = {
        "poses": 0.2 * RNG.normal(size=(frames, 165)).astype(np.float32),
        "trans": RNG.normal(size=(frames, 3)),
        "betas": np.zeros(300),
        "expressions": np.zeros((frames, 100)),
        "model": np.array("smplx2020"),
        "mocap_frame_rate": np.array(30),
    }
    table.update(changes)
    np.savez(path, **{name: value for name, value in table.items() if value is not None})
    return table


def test_smplx_layout_is_that_of_beat2(tmp_path):
    motion = dance(default_skeleton(), 6)
    write_npz(motion, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as table:
        assert table["poses"].shape == (6, 165) and table["trans"].shape == (6, 3)
        assert int(table["mocap_frame_rate"]) == 30 and str(table["model"]) == "smplx2020"
        assert table["betas"].shape == (300,) and table["expressions"].shape == (6, 100)
        turns = rot.from_rotation_vector(table["poses"].reshape(6, 55, 3))
    knee = SMPLX_NAMES.index("left_knee")
    assert degrees(turns[:, knee], motion.rotations[:, motion.skeleton.index("leftLowerLeg")]) < 1e-3
    # Under the model's own rest pose, whose arms hang a little, all bones point where they did.
    there = positions(Motion(turns, motion.root_m, None, smplx_skeleton()))
    for name, ours in (
        ("left_wrist", "leftHand"),
        ("right_elbow", "rightLowerArm"),
        ("left_index3", "leftIndexDistal"),
    ):
        at = positions(motion)[:, motion.skeleton.index(ours)]
        assert np.abs(there[:, SMPLX_NAMES.index(name)] - at).max() < 1e-4


def test_smplx_without_a_skeleton_gets_one(tmp_path):
    table = beat_like(tmp_path / "a.npz")
    motion = read_npz(tmp_path / "a.npz")
    assert motion.skeleton.names == SMPLX_NAMES and motion.face is None
    vectors = table["poses"].reshape(-1, 55, 3)
    assert degrees(motion.rotations, rot.from_rotation_vector(vectors)) < 0.01
    assert np.allclose(motion.root_m - table["trans"], [0, -0.35, 0.01], atol=1e-5)
    rest = smplx_skeleton().rest_positions_m
    left, right = (rest[SMPLX_NAMES.index(f"{side}_wrist")] for side in ("left", "right"))
    assert left[0] > 0.4 and np.allclose(left * [-1, 1, 1], right, atol=1e-3)


def test_smaller_models_and_z_up_are_read(tmp_path):
    lie = rot.to_rotation_vector(rot.from_axis_angle([1, 0, 0], np.pi / 2))
    for width in (156, 72, 66):
        poses = np.zeros((4, width), np.float32)
        poses[:, :3] = lie  # AMASS: Z up
        amass = {"mocap_framerate": np.array(60.0), "mocap_frame_rate": None}
        beat_like(tmp_path / "a.npz", poses=poses, trans=np.tile([0.0, 0.0, 1.3], (4, 1)), **amass)
        motion = read_npz(tmp_path / "a.npz")
        assert len(motion) == 2 and np.allclose(positions(motion)[0, 0], [0, 0.95, 0.01], atol=1e-5)
        assert positions(motion)[0, SMPLX_NAMES.index("head"), 1] > 1.4


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/visavis-was-unpickled"),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": np.array([[Evil()] * 165], dtype=object)}, "Python objects"),
        ({"extra": np.array([Evil()], dtype=object)}, "Python objects"),
        ({"poses": None}, "'poses'"),
        ({"poses": np.zeros((5, 100), np.float32)}, "shape"),
        ({"poses": np.full((5, 165), np.nan, np.float32)}, "finite"),
        ({"trans": np.zeros((4, 3))}, "5 frames"),
        ({"mocap_frame_rate": np.array(0)}, "frames a second"),
        ({"skeleton_names": np.array(["a", "b"]), "skeleton_offsets_m": np.zeros((2, 3)),
          "skeleton_parents": np.array([-1, 1])}, "parents before"),
    ],
)  # fmt: skip
def test_broken_archives_are_refused_and_nothing_is_unpickled(tmp_path, changes, message):
    beat_like(tmp_path / "a.npz", **changes)
    with pytest.raises(FileFormatError, match=message):
        read_npz(tmp_path / "a.npz")
    assert not Path("/tmp/visavis-was-unpickled").exists()


def test_smplx_needs_hips(tmp_path):
    skeleton = Skeleton(("base", "arm"), np.array([-1, 0]), np.ones((2, 3), np.float32), {})
    with pytest.raises(UsageError, match="retarget"):
        write_npz(Motion.rest(2, skeleton), tmp_path / "a.npz")


@real("beat2_scott")
def test_real_beat2_excerpt_stands_upright():
    motion = read_motion(REAL / "beat2_scott" / "2_scott_0_1_1_part.npz")
    at = positions(motion)
    assert len(motion) == 1200
    assert (at[:, SMPLX_NAMES.index("head"), 1] - at[:, SMPLX_NAMES.index("left_foot"), 1] > 1.2).all()
    assert abs(at[:, SMPLX_NAMES.index("left_foot"), 1].mean()) < 0.12


# Live Link Face -----------------------------------------------------------------------------------------------------


def take(path, codes, weights, spell=lambda name: name[0].upper() + name[1:], angles=True):
    turns = [f"{w}{a}" for w in ("Head", "LeftEye", "RightEye") for a in ("Yaw", "Pitch", "Roll")] if angles else []
    lines = [",".join(["Timecode", "BlendshapeCount", *map(spell, ARKIT_NAMES), *turns])]
    for code, row in zip(codes, weights, strict=True):
        extra = ["0.3", "-0.1", "0.05", *["0"] * 6] if angles else []
        lines.append(",".join([code, "61", *(f"{v:.8f}" for v in row), *extra]))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("angles", [True, False])
def test_takes_of_sixty_frames_are_brought_to_thirty(tmp_path, angles):
    ramp = np.linspace(0, 1, 121)[:, None] * np.ones(52)
    codes = []  # over midnight
    for i in range(121):
        second, part = divmod(i + 35, 60)
        clock = "23:59:59" if second == 0 else f"00:00:{second - 1:02d}"
        codes.append(f"{clock}:{part:02d}.27{i % 10}")
    take(tmp_path / "a.csv", codes, ramp, spell=str, angles=angles)
    motion = read_livelink_take(tmp_path / "a.csv")
    assert len(motion) == 61
    assert np.abs(motion.face - np.linspace(0, 1, 61)[:, None]).max() < 1e-3
    world = forward(motion.rotations, motion.root_m, motion.skeleton)[1][:, motion.skeleton.index("head")]
    assert (np.abs(world[:, 3]) < 0.999).all() == angles


def test_dropped_rows_keep_their_time(tmp_path):
    kept = [i for i in range(121) if not 40 < i < 60]
    codes = [f"10:00:{i // 60:02d}:{i % 60:02d}.000" for i in range(121)]
    ramp = np.linspace(0, 1, 121)[:, None] * np.ones(52)
    take(tmp_path / "a.csv", [codes[i] for i in kept], ramp[kept])
    face = read_face(tmp_path / "a.csv")
    assert len(face) == 61 and np.abs(face - np.linspace(0, 1, 61)[:, None]).max() < 1e-5


def test_livelink_keeps_the_turn_of_the_head(tmp_path):
    skeleton = default_skeleton()
    motion = Motion.rest(4)
    turn = rot.multiply(rot.from_axis_angle([0, 1, 0], 0.4), rot.from_axis_angle([1, 0, 0], -0.2))
    motion.rotations[:, skeleton.index("head")] = turn
    write_livelink(motion, tmp_path / "a.csv")
    again = read_motion(tmp_path / "a.csv")
    world = forward(again.rotations, again.root_m, again.skeleton)[1][:, skeleton.index("head")]
    assert degrees(world, np.tile(turn, (4, 1))) < 0.1
    # The body, which a phone does not see, stands with its arms hanging.
    assert (positions(again)[:, skeleton.index("leftHand"), 1] < 1.0).all()


def test_broken_takes_are_refused(tmp_path):
    ramp = np.zeros((3, 52))
    for codes, message in ((["a", "b", "c"], "timecodes"), (["1:00:00:00"] * 3, None)):
        take(tmp_path / "a.csv", codes, ramp)
        if message:
            with pytest.raises(FileFormatError, match=message):
                read_motion(tmp_path / "a.csv")
        else:
            assert len(read_motion(tmp_path / "a.csv")) >= 1
    text = (tmp_path / "a.csv").read_text()
    for change in (lambda t: t[:-300], lambda t: t.replace("0.00000000", "x", 5), lambda t: t.replace("0.3", "nan")):
        (tmp_path / "b.csv").write_text(change(text))
        with pytest.raises(FileFormatError):
            read_motion(tmp_path / "b.csv")


@real("arkit_livelink")
def test_all_real_takes_load():
    files = sorted((REAL / "arkit_livelink").glob("*.csv"))
    assert len(files) == 7
    for path in files:
        rows = len(path.read_text().splitlines()) - 1
        motion = read_motion(path)
        # 60 rows a second, some of them dropped by the phone.
        assert rows / 2 <= len(motion) <= 1.02 * rows / 2 and 0.5 < motion.face.max() <= 1


def test_names_are_made_unique():
    assert unique_names(["a", "b", "a", "a", "a_2"]) == ("a", "b", "a_2", "a_3", "a_2_2")

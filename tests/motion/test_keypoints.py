import json

import numpy as np
import pytest
from PIL import Image

from visavis.motion import rotations
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.fitting import fitted
from visavis.motion.idle import idle
from visavis.motion.keypoints import body_names, draw_keypoints, keypoints, write_keypoints
from visavis.motion.kinematics import positions, tips
from visavis.motion.motion import Motion
from visavis.motion.render import Camera

NAMES = body_names()
AT = {name: i for i, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def motion():
    moved = idle(12, seed=3)
    turned = moved.rotations.copy()
    i = moved.skeleton.index("rightUpperArm")
    turned[:, i] = rotations.from_axis_angle([0, 1, 0], 0.5)
    return Motion(turned, moved.root_m)


def test_joints_are_where_a_pinhole_camera_sees_them(motion):
    camera, size = Camera((0.1, 1.0, 0.2), 2.2, azimuth=0.6, elevation=0.2, distance_m=3.0), (600, 800)
    got = keypoints(motion, camera, size)
    # The same camera written as a matrix.
    ca, sa, ce, se = np.cos(0.6), np.sin(0.6), np.cos(0.2), np.sin(0.2)
    back = np.array([sa * ce, se, ca * ce])
    right = np.array([ca, 0, -sa])
    view = np.stack([right, np.cross(back, right), back])
    focal = 800 * 3.0 / 2.2
    eye = np.array([0.1, 1.0, 0.2]) + 3.0 * back

    def seen(points):
        p = (points - eye) @ view.T
        return np.stack([300 - focal * p[..., 0] / p[..., 2], 400 + focal * p[..., 1] / p[..., 2]], axis=-1)

    places, skeleton = positions(motion), motion.skeleton
    for name, bone in (("RWrist", "rightHand"), ("LKnee", "leftLowerLeg"), ("RShoulder", "rightUpperArm")):
        want = seen(places[:, skeleton.index(bone)])
        np.testing.assert_allclose(got.body[:, AT[name], :2], want, atol=0.01)
    np.testing.assert_allclose(got.right_hand[:, 8, :2], seen(tips(motion)["rightIndexDistal"]), atol=0.01)
    np.testing.assert_allclose(got.left_hand[:, 0], got.body[:, AT["LWrist"]], atol=1e-3)
    shoulders = places[:, skeleton.indices(["leftUpperArm", "rightUpperArm"])].mean(axis=1)
    np.testing.assert_allclose(got.body[:, AT["Neck"], :2], seen(shoulders), atol=0.01)


def test_the_mirrored_motion_gives_the_mirrored_picture(motion):
    one, other = keypoints(motion), keypoints(motion.mirrored())
    swap = [AT[{"L": "R", "R": "L"}.get(n[0], n[0]) + n[1:]] if n[:1] in "LR" else AT[n] for n in NAMES]
    for a, b in (
        (one.body, other.body[:, swap]),
        (one.left_hand, other.right_hand),
        (one.right_hand, other.left_hand),
    ):
        np.testing.assert_allclose(a[..., 0], np.where(b[..., 2] > 0, one.size[0] - b[..., 0], 0), atol=0.05)
        np.testing.assert_allclose(a[..., 1:], b[..., 1:], atol=0.05)


@pytest.mark.parametrize(
    ("azimuth", "hidden"),
    [(0, set()), (np.pi, {"Nose", "LEye", "REye"}), (np.pi / 2, {"REye", "REar"}), (-np.pi / 2, {"LEye", "LEar"})],
)
def test_the_head_hides_what_it_hides(azimuth, hidden):
    points = keypoints(Motion.rest(1), Camera((0, 0.9, 0), 2.0, azimuth=azimuth))
    assert {NAMES[i] for i in np.flatnonzero(points.body[0, :, 2] == 0)} == hidden
    assert (points.body[points.body[..., 2] == 0] == 0).all()


@pytest.mark.parametrize("name", avatar_names())
def test_points_on_the_skin_lie_on_each_avatars_skin(name):
    avatar = load_avatar(name)
    camera = Camera((0, 0.9, 0), 2.0, distance_m=400.0)  # as good as without perspective
    size = (1000, 1000)
    rest = fitted(Motion.rest(1), avatar)
    points = keypoints(rest, camera, size).body[0]
    mesh = avatar.positions_m
    flat = camera.project(mesh, size)[:, :2]
    for key in ("Nose", "LEar", "LHeel", "LBigToe", "RSmallToe"):
        assert np.linalg.norm(flat - points[AT[key], :2], axis=1).min() < 12, f"{key}: 12 pixels are 24 mm"
    front = mesh[(np.abs(mesh[:, 0]) < 0.004) & (mesh[:, 1] > avatar.skeleton.rest_positions_m[5, 1])]
    nose = front[front[:, 1] < avatar.skeleton.rest_positions_m[avatar.skeleton.index("leftEye"), 1] - 0.01]
    tip = camera.project(nose[np.argmax(nose[:, 2])], size)
    assert np.linalg.norm(points[AT["Nose"], :2] - tip[:2]) < 6


def test_files_are_laid_out_as_openpose_writes_them(motion, tmp_path):
    assert write_keypoints(motion.slice(0, 3), tmp_path, size=(192, 256)) == 3
    files = sorted(p.name for p in (tmp_path / "json").iterdir())
    assert files == [f"{i:012d}_keypoints.json" for i in range(3)]
    data = json.loads((tmp_path / "json" / files[1]).read_text())
    (person,) = data["people"]
    assert len(person["pose_keypoints_2d"]) == 75
    assert len(person["hand_left_keypoints_2d"]) == len(person["hand_right_keypoints_2d"]) == 63
    want = keypoints(motion, size=(192, 256)).body[1]
    np.testing.assert_allclose(np.reshape(person["pose_keypoints_2d"], (25, 3)), want, atol=6e-4)
    frames = sorted((tmp_path / "frames").iterdir())
    assert [p.name for p in frames] == ["000000.png", "000001.png", "000002.png"]
    with Image.open(frames[0]) as image:
        assert image.size == (192, 256)


def test_a_joint_is_drawn_in_its_own_colour(motion):
    points = keypoints(motion)
    image = np.asarray(draw_keypoints(points, 0)).astype(int)
    assert (image[0, 0] == 0).all(), "black around"
    for name, color in (("RElbow", (255, 170, 0)), ("LKnee", (0, 85, 255)), ("Neck", (255, 0, 0))):
        x, y = points.body[0, AT[name], :2].astype(int)
        assert np.abs(image[y, x] - color).max() < 40, name


def test_a_camera_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="camera must be one of front.*got 'above'"):
        keypoints(Motion.rest(1), "above")

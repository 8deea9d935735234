import dataclasses

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations
from visavis.motion.avatar import load_avatar, save_avatar, vertex_normals
from visavis.motion.face import ARKIT_NAMES, mirror_index
from visavis.motion.kinematics import forward
from visavis.motion.skeleton import default_skeleton


@pytest.fixture(scope="module")
def avatar():
    return load_avatar()


def _rest():
    skeleton = default_skeleton()
    return np.tile(rotations.IDENTITY, (len(skeleton), 1)), skeleton.offsets_m[0]


def test_arrays_fit_together(avatar):
    count = len(avatar.positions_m)
    assert avatar.faces.min() >= 0 and avatar.faces.max() < count
    assert avatar.face_material.max() < len(avatar.materials) and (np.diff(avatar.face_material) >= 0).all()
    assert avatar.joints.max() < len(avatar.skeleton)
    assert (avatar.weights >= 0).all() and (np.diff(avatar.weights, axis=1) <= 0).all()
    np.testing.assert_allclose(avatar.weights.sum(axis=1), 1, atol=1e-5)
    assert avatar.shade.min() >= 0 and avatar.shade.max() <= 1
    assert avatar.morph_names == ARKIT_NAMES


def test_it_has_the_size_of_the_skeleton_and_stands_on_the_floor(avatar):
    low, high = avatar.positions_m.min(axis=0), avatar.positions_m.max(axis=0)
    assert abs(low[1]) < 0.005
    assert 1.66 < high[1] < 1.74
    assert high[0] == pytest.approx(-low[0], abs=0.01)
    middle_tip = default_skeleton().rest_positions_m[default_skeleton().index("leftMiddleDistal"), 0] + 0.023
    assert high[0] == pytest.approx(middle_tip, abs=0.006)


def test_the_rest_pose_is_the_mesh_itself(avatar):
    turned, root = _rest()
    np.testing.assert_allclose(avatar.pose(turned, root), avatar.positions_m, atol=1e-6)


def test_the_whole_body_turns_rigidly_with_the_hips(avatar):
    turned, root = _rest()
    turn = rotations.from_axis_angle([0, 1, 0], 0.7)
    turned[0] = turn
    want = rotations.rotate(turn, avatar.positions_m - root) + root
    np.testing.assert_allclose(avatar.pose(turned, root), want, atol=1e-5)


def test_fingers_follow_their_own_bones(avatar):
    skeleton = default_skeleton()
    turned, root = _rest()
    turned[skeleton.index("leftIndexProximal")] = rotations.from_axis_angle([0, 0, 1], -1.2)
    moved = np.linalg.norm(avatar.pose(turned, root) - avatar.positions_m, axis=1)
    tip = avatar.positions_m - (skeleton.rest_positions_m[skeleton.index("leftIndexDistal")])
    assert moved[np.linalg.norm(tip, axis=1) < 0.012].min() > 0.05
    middle = avatar.positions_m - (skeleton.rest_positions_m[skeleton.index("leftMiddleDistal")])
    assert moved[np.linalg.norm(middle, axis=1) < 0.012].max() < 0.002
    assert moved[avatar.positions_m[:, 0] < 0.5].max() < 1e-5


def test_a_bent_elbow_keeps_its_girth(avatar):
    skeleton = default_skeleton()
    turned, root = _rest()
    turned[skeleton.index("leftLowerArm")] = rotations.from_axis_angle([0, 1, 0], -1.6)
    posed = avatar.pose(turned, root)
    places, _ = forward(turned[None], root[None], skeleton)
    elbow = places[0, skeleton.index("leftLowerArm")]
    near = np.abs(avatar.positions_m[:, 0] - elbow[0]) < 0.03
    near &= avatar.positions_m[:, 1] > 1.2
    # No candy wrapper: no cloth falls onto the joint.
    assert np.linalg.norm(posed[near] - elbow, axis=1).min() > 0.02


@pytest.mark.parametrize("name", ARKIT_NAMES)
def test_every_shape_is_visible_and_local(avatar, name):
    i = ARKIT_NAMES.index(name)
    size = np.linalg.norm(avatar.morph_delta_m[i], axis=1)
    assert 0.0015 < size.max() < 0.045, "visible, and not further than a tongue"
    assert avatar.morph_index[i].max() < avatar.head_vertices
    assert len(np.unique(avatar.morph_index[i])) == len(avatar.morph_index[i])
    moved = avatar.positions_m[avatar.morph_index[i]]
    large = moved[size > 0.25 * size.max()]
    eyes = 1.47 + 0.05
    if name.startswith(("eye", "brow")):
        assert large[:, 1].min() > eyes - 0.02
    if name.startswith(("mouth", "jaw", "tongue")):
        assert large[:, 1].max() < eyes
    strong = moved[size > 0.6 * size.max()]
    if name.endswith("Left") and name not in ("mouthLeft", "jawLeft"):
        assert strong[:, 0].mean() > 0.005
    if name.endswith("Right") and name not in ("mouthRight", "jawRight"):
        assert strong[:, 0].mean() < -0.005


def test_left_and_right_shapes_are_mirror_images(avatar):
    mirror = mirror_index()
    for i, j in enumerate(mirror):
        left = np.linalg.norm(avatar.morph_delta_m[i], axis=1)
        right = np.linalg.norm(avatar.morph_delta_m[j], axis=1)
        assert len(left) == pytest.approx(len(right), rel=0.02, abs=4), ARKIT_NAMES[i]
        assert left.max() == pytest.approx(right.max(), rel=0.02), ARKIT_NAMES[i]
        if i != j:
            total = avatar.morph_delta_m[i].sum(axis=0) - avatar.morph_delta_m[j].sum(axis=0) * [-1, 1, 1]
            assert np.abs(total).max() < 0.03 * left.sum() + 1e-4, ARKIT_NAMES[i]


def _lids(avatar, face):
    """Height of the gap between the left eye's lids at its middle."""
    skeleton = default_skeleton()
    eye = skeleton.rest_positions_m[skeleton.index("leftEye")]
    i = ARKIT_NAMES.index("eyeBlinkLeft")
    rows = avatar.morph_index[i]
    rows = rows[np.abs(avatar.positions_m[rows, 0] - eye[0]) < 0.004]
    up = avatar.positions_m[rows, 1] > eye[1]
    posed = avatar.morphed(face)[rows]
    return posed[up, 1].min() - posed[~up, 1].max()


def test_blink_closes_the_lids(avatar):
    face = np.zeros(52, np.float32)
    assert _lids(avatar, face) > 0.012
    face[ARKIT_NAMES.index("eyeBlinkLeft")] = 1
    assert _lids(avatar, face) < 0.0015


def _gap(avatar, face):
    """Opening between the lips in the middle of the mouth."""
    lips = [m.name for m in avatar.materials].index("lips")
    rows = np.unique(avatar.faces[avatar.face_material == lips])
    rows = rows[np.abs(avatar.positions_m[rows, 0]) < 0.004]
    # Closed lips overlap a little: the lower one is what the jaw carries.
    jaw = np.zeros(52, np.float32)
    jaw[ARKIT_NAMES.index("jawOpen")] = 1
    up = (avatar.morphed(jaw) - avatar.positions_m)[rows, 1] > -0.008
    posed = avatar.morphed(face)[rows]
    return posed[up, 1].min() - posed[~up, 1].max()


def test_jaw_opens_the_mouth_and_mouth_close_shuts_it_again(avatar):
    face = np.zeros(52, np.float32)
    closed = _gap(avatar, face)
    assert abs(closed) < 0.004
    face[ARKIT_NAMES.index("jawOpen")] = 1
    opened = _gap(avatar, face)
    assert opened > 0.015
    face[ARKIT_NAMES.index("mouthClose")] = 1
    assert _gap(avatar, face) < 0.25 * opened


def test_normals_point_outwards():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = vertex_normals(corners, faces)
    assert (np.sum(normals * (corners - corners.mean(axis=0)), axis=1) > 0).all()


def test_saving_and_loading_keeps_everything(avatar, tmp_path):
    save_avatar(avatar, tmp_path / "a.safetensors")
    again = load_avatar(tmp_path / "a.safetensors")
    for field in dataclasses.fields(avatar):
        a, b = getattr(avatar, field.name), getattr(again, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, atol=2e-3 if field.name == "shade" else 0)
    np.testing.assert_array_equal(avatar.morph_delta_m[3], again.morph_delta_m[3])
    assert again.materials == avatar.materials


def test_a_file_that_is_no_avatar_is_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="expected an avatar .*avatar_build"):
        load_avatar(tmp_path / "x.safetensors")


def test_the_shipped_file_is_small():
    from visavis.motion.avatar import default_avatar_path

    assert default_avatar_path().stat().st_size < 2.5e6

import dataclasses

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations
from visavis.motion.avatar import avatar_names, avatar_path, load_avatar, save_avatar, vertex_normals
from visavis.motion.face import ARKIT_NAMES, mirror_index
from visavis.motion.kinematics import forward
from visavis.motion.skeleton import default_skeleton


@pytest.fixture(scope="module", params=avatar_names())
def avatar(request):
    return load_avatar(request.param)


def _rest(skeleton):
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
    skeleton = avatar.skeleton
    crown = skeleton.rest_positions_m[skeleton.index("head")] + skeleton.tips_m["head"]
    assert abs(low[1]) < 0.005
    assert 0 < high[1] - crown[1] < 0.055  # hair
    assert high[0] == pytest.approx(-low[0], abs=0.01)
    last = skeleton.index("leftMiddleDistal")
    middle_tip = skeleton.rest_positions_m[last, 0] + skeleton.tips_m["leftMiddleDistal"][0]
    assert high[0] == pytest.approx(middle_tip, abs=0.006)


def test_the_two_bodies_are_of_clearly_different_proportions():
    robin, juno = (load_avatar(name).skeleton for name in avatar_names())
    assert juno.names == robin.names and (juno.parents == robin.parents).all()

    def length(skeleton, bone):
        return np.linalg.norm(skeleton.offsets_m[skeleton.index(bone)])

    def ratio(bone):
        return length(juno, bone) / length(robin, bone)

    assert all(ratio(bone) < 0.85 for bone in ("leftLowerArm", "leftHand", "leftLowerLeg", "leftFoot"))
    assert ratio("leftUpperArm") > 1.05 and ratio("leftUpperLeg") > 1.1, "broader where limbs are shorter"
    arm, trunk = ratio("leftLowerArm"), ratio("chest")
    assert trunk > arm + 0.08, "no uniform scaling"
    assert all(size[2] > 1.2 for size in juno.girth.values()) and not robin.girth
    np.testing.assert_allclose(juno.offsets_m[juno.mirror_index], juno.offsets_m * [-1, 1, 1], atol=1e-6)


def test_eyes_and_jaw_turn_where_the_mesh_has_them(avatar):
    skeleton = avatar.skeleton
    names = [material.name for material in avatar.materials]
    for side, sign in (("left", 1), ("right", -1)):
        rows = np.unique(avatar.faces[avatar.face_material == names.index("pupil")])
        rows = rows[avatar.positions_m[rows, 0] * sign > 0]
        pupil = avatar.positions_m[rows].mean(axis=0)
        eye = skeleton.rest_positions_m[skeleton.index(f"{side}Eye")]
        np.testing.assert_allclose((pupil - eye)[:2], 0, atol=0.0015)
        assert 0.017 < pupil[2] - eye[2] < 0.024


def test_names_paths_and_the_same_object():
    assert load_avatar() is load_avatar("robin") is load_avatar(avatar_path("robin"))
    assert load_avatar("robin").skeleton is default_skeleton()
    with pytest.raises(ValueError, match="one of the avatars robin, juno; got 'max'"):
        avatar_path("max")


def test_the_rest_pose_is_the_mesh_itself(avatar):
    turned, root = _rest(avatar.skeleton)
    np.testing.assert_allclose(avatar.pose(turned, root), avatar.positions_m, atol=1e-6)


def test_the_whole_body_turns_rigidly_with_the_hips(avatar):
    turned, root = _rest(avatar.skeleton)
    turn = rotations.from_axis_angle([0, 1, 0], 0.7)
    turned[0] = turn
    want = rotations.rotate(turn, avatar.positions_m - root) + root
    np.testing.assert_allclose(avatar.pose(turned, root), want, atol=1e-5)


def test_fingers_follow_their_own_bones(avatar):
    skeleton = avatar.skeleton
    turned, root = _rest(skeleton)
    turned[skeleton.index("leftIndexProximal")] = rotations.from_axis_angle([0, 0, 1], -1.2)
    moved = np.linalg.norm(avatar.pose(turned, root) - avatar.positions_m, axis=1)
    tip = avatar.positions_m - (skeleton.rest_positions_m[skeleton.index("leftIndexDistal")])
    assert moved[np.linalg.norm(tip, axis=1) < 0.012].min() > 0.05
    middle = avatar.positions_m - (skeleton.rest_positions_m[skeleton.index("leftMiddleDistal")])
    assert moved[np.linalg.norm(middle, axis=1) < 0.012].max() < 0.002
    wrist = skeleton.rest_positions_m[skeleton.index("leftHand"), 0]
    assert moved[avatar.positions_m[:, 0] < wrist].max() < 1e-5


def test_a_bent_elbow_keeps_its_girth(avatar):
    skeleton = avatar.skeleton
    turned, root = _rest(skeleton)
    turned[skeleton.index("leftLowerArm")] = rotations.from_axis_angle([0, 1, 0], -1.6)
    posed = avatar.pose(turned, root)
    places, _ = forward(turned[None], root[None], skeleton)
    elbow = places[0, skeleton.index("leftLowerArm")]
    near = np.abs(avatar.positions_m[:, 0] - elbow[0]) < 0.03
    near &= np.abs(avatar.positions_m[:, 1] - skeleton.rest_positions_m[skeleton.index("leftLowerArm"), 1]) < 0.1
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
    skeleton = avatar.skeleton
    eyes = skeleton.rest_positions_m[skeleton.index("leftEye"), 1] - 0.025
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
    skeleton = avatar.skeleton
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
    assert again.skeleton.names == avatar.skeleton.names
    np.testing.assert_array_equal(again.skeleton.offsets_m, avatar.skeleton.offsets_m)
    assert set(again.skeleton.girth) == set(avatar.skeleton.girth)
    for bone, size in avatar.skeleton.girth.items():
        np.testing.assert_array_equal(again.skeleton.girth[bone], size)
    for name, tip in avatar.skeleton.tips_m.items():
        np.testing.assert_array_equal(again.skeleton.tips_m[name], tip)


def test_a_file_that_is_no_avatar_is_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="expected an avatar .*avatar_build"):
        load_avatar(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", avatar_names())
def test_the_shipped_file_is_small(name):
    assert avatar_path(name).stat().st_size < 2.5e6

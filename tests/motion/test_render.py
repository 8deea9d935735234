import numpy as np
import pytest
from PIL import Image

from visavis.motion import rotations
from visavis.motion.contact_sheet import contact_sheet, grid
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.motion import Motion
from visavis.motion.render import VIEWS, Camera, draw, render

SQUARE = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
TWO = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
RED = np.array([[1.0, 0, 0]] * 2, np.float32)
CAMERA = Camera((0, 0, 0), 2.0, elevation=0.0, floor=False)


def _is_red(picture):
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] > pixels[..., 1] + 60) & (pixels[..., 0] > pixels[..., 2] + 60)


def test_a_square_covers_the_pixels_it_should():
    red = _is_red(draw(SQUARE, TWO, RED, CAMERA, (80, 80)))
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert red.sum() == pytest.approx(40 * 40, rel=0.06)
    assert abs(rows.mean() - 39.5) < 1 and abs(columns.mean() - 39.5) < 1
    assert red[22:58, 22:58].all(), "no holes along the diagonal"


def test_back_faces_are_not_drawn():
    assert not _is_red(draw(SQUARE, TWO[:, ::-1], RED, CAMERA, (60, 60))).any()


def test_what_is_nearer_hides_what_is_behind():
    both = np.concatenate([SQUARE + [0, 0, 0.3], SQUARE * 0.6]).astype(np.float32)
    blue = np.array([[0, 0, 1.0]] * 2, np.float32)
    picture = draw(both, np.concatenate([TWO, TWO + 4]).astype(np.int32), np.concatenate([RED, blue]), CAMERA, (60, 60))
    pixels = np.asarray(picture).astype(int)
    assert not (pixels[..., 2] > pixels[..., 0] + 60).any() and _is_red(picture).any()


def test_left_is_right_in_the_picture_from_the_front():
    shifted = CAMERA.project(np.array([[0.3, 0.2, 0]]), (100, 100))[0]
    assert shifted[0] > 50 and shifted[1] < 50
    side = VIEWS["side"].project(np.array([[0, 0.9, 0.5]]), (100, 100))[0]
    assert side[0] < 50, "seen from the avatar's left, front is to the left"


@pytest.fixture(scope="module")
def motion():
    rest = Motion.rest(3)
    turned = rest.rotations.copy()
    arm = rest.skeleton.index("leftUpperArm")
    turned[1, arm] = rotations.from_axis_angle([0, 0, 1], -1.2)
    face = np.zeros((3, 52), np.float32)
    face[2, ARKIT_NAMES.index("jawOpen")] = 1
    return Motion(turned, rest.root_m, face)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_the_avatar(motion, view):
    picture = render(motion, 0, (90, 120), view)
    assert picture.size == (90, 120) and picture.mode == "RGB"
    pixels = np.asarray(picture).astype(int)
    skin = (pixels[..., 0] > pixels[..., 2] + 30) & (pixels[..., 0] > 120)
    assert skin.sum() > 20


def test_the_picture_follows_pose_and_face(motion):
    first, lowered = (np.asarray(render(motion, i, (90, 120))).astype(int) for i in (0, 1))
    assert np.abs(first - lowered)[:, 45:].max() > 60
    closed, opened = (np.asarray(render(motion, i, (90, 90), "face")).astype(int) for i in (0, 2))
    where = np.argwhere(np.abs(closed - opened).max(axis=2) > 60)
    assert len(where) > 20 and where[:, 0].min() > 45, "an open jaw changes the lower half of the picture alone"
    np.testing.assert_array_equal(np.asarray(render(motion, -1, (60, 60))), np.asarray(render(motion, 2, (60, 60))))


def test_an_unknown_view_names_the_known_ones(motion):
    with pytest.raises(ValueError, match="front, side, three_quarter"):
        render(motion, 0, view="top")


def test_contact_sheet_has_a_cell_per_frame_and_view(motion, tmp_path):
    path = tmp_path / "sheet.png"
    sheet = contact_sheet(
        motion, [0, 1, 2], ["a", "b", "a label far too long"], path, ("front", "face"), (60, 80), title="T"
    )
    with Image.open(path) as saved:
        assert saved.size == sheet.size
    assert sheet.width > 3 * 60 and sheet.height > 2 * 80
    with pytest.raises(ValueError, match="one label per frame"):
        contact_sheet(motion, [0, 1], ["a"])


def test_grid_places_pictures_in_reading_order():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = np.asarray(grid([Image.new("RGB", (20, 20), c) for c in colours], ["", "", ""], columns=2))
    at = [tuple(sheet[y, x]) for y, x in ((16, 16), (16, 42), (42, 16))]
    assert at == colours


def test_close_views_look_at_the_avatars_own_head():
    from visavis.motion.avatar import load_avatar

    juno = load_avatar("juno")
    skin = np.array([round(c * 255) for c in juno.materials[0].color])
    image = np.asarray(render(Motion.rest(1), 0, (80, 80), "face", juno)).astype(int)
    middle = image[36:52, 30:50].reshape(-1, 3)
    assert (np.abs(middle - skin).max(axis=1) < 60).mean() > 0.4, "her face fills the middle"
    far = np.asarray(render(Motion.rest(1), 0, (80, 80), "front", juno)).astype(int)
    robin = np.asarray(render(Motion.rest(1), 0, (80, 80), "front")).astype(int)
    top = [np.flatnonzero((np.abs(i - i[:, :1]).max(axis=2) > 40).any(axis=1))[0] for i in (far, robin)]
    assert top[0] > top[1] + 4, "in whole views she is smaller"

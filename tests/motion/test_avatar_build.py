import sys

import numpy as np
import pytest

from visavis.errors import MissingExtraError
from visavis.motion.avatar_build.field import (
    Mesh,
    ellipsoid,
    extract,
    gradient,
    round_cone,
    smooth_max,
    smooth_min,
    split,
)
from visavis.motion.avatar_build.part import Part
from visavis.motion.avatar_build.skin import four_largest, part_weights

POINTS = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)


def test_fields_are_negative_inside_and_zero_on_the_surface():
    cone = round_cone(
        np.array([[0, 0.5, 0], [0, 0.5, 0.15], [0.3, 0, 0], [0, 1.1, 0]], np.float32), (0, 0, 0), (0, 1, 0), 0.2, 0.1
    )
    np.testing.assert_allclose(cone, [-0.15, 0, 0.1, 0], atol=1e-6)
    ball = ellipsoid(np.array([[0.5, 0, 0], [0, 2, 0], [0, 0, 0.1]], np.float32), (0, 0, 0), (0.5, 2, 1))
    np.testing.assert_allclose(ball[:2], 0, atol=1e-6)
    assert ball[2] < 0


def test_smooth_union_is_never_outside_the_sharp_one_and_equals_it_far_away():
    a, b = round_cone(POINTS, (0, 0, 0), (0, 1, 0), 0.3, 0.2), ellipsoid(POINTS, (0.5, 0, 0), (0.3, 0.2, 0.4))
    union = smooth_min(a, b, 0.1)
    assert (union <= np.minimum(a, b) + 1e-6).all() and (union >= np.minimum(a, b) - 0.0251).all()
    far = np.abs(a - b) > 0.1
    np.testing.assert_allclose(union[far], np.minimum(a, b)[far], atol=1e-6)
    np.testing.assert_allclose(smooth_max(a, b, 0.1), -smooth_min(-a, -b, 0.1))


def _ball(p):
    return np.linalg.norm(p, axis=1) - 0.5


def test_gradient_points_outwards():
    np.testing.assert_allclose(
        np.sum(gradient(_ball, POINTS) * POINTS, axis=1), np.linalg.norm(POINTS, axis=1), atol=2e-2
    )


def test_extracted_mesh_lies_on_the_surface_closed_and_facing_out():
    pytest.importorskip("skimage")
    pytest.importorskip("fast_simplification")
    mesh = extract(_ball, (-0.6,) * 3, (0.6,) * 3, 0.06, 600)
    assert 500 < len(mesh.faces) <= 640
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.5, atol=2e-3)
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    corner = mesh.vertices[mesh.faces]
    volume = np.sum(corner[:, 0] * np.cross(corner[:, 1], corner[:, 2])) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.03)


def test_a_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'visavis\[train\]'"):
        extract(_ball, (-0.6,) * 3, (0.6,) * 3, 0.06, 600)


def test_a_cut_follows_the_line_and_keeps_the_area():
    mesh = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2], [0, 2, 3]]))
    cut, above = split(mesh, mesh.vertices[:, 1] - 0.3)
    corner = cut.vertices[cut.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])[:, 2]
    assert (normal > 0).all()
    assert normal[above].sum() / 2 == pytest.approx(0.7) and normal[~above].sum() / 2 == pytest.approx(0.3)
    assert (corner[above][..., 1] >= 0.3 - 1e-6).all()


def test_weights_belong_to_the_nearest_bone_and_blend_at_the_joint():
    x = np.linspace(0.2, 0.6, 41)
    mesh = np.column_stack([x, np.full_like(x, 1.39), np.full_like(x, -0.022)]).astype(np.float32)
    strip = np.stack([np.arange(39), np.arange(1, 40), np.arange(2, 41)], axis=1)
    weights = part_weights(Part(mesh, strip, "shirt", "arm", ("leftUpperArm", "leftLowerArm"), smooth=2))
    joints, best = four_largest(weights)
    np.testing.assert_allclose(best.sum(axis=1), 1, atol=1e-6)
    assert best[0, 0] > 0.98 and best[-1, 0] > 0.98 and joints[0, 0] != joints[-1, 0]
    assert 0.3 < best[np.argmin(np.abs(x - 0.42)), 1] <= 0.5


def test_a_warp_goes_there_and_back_and_mirrors():
    from visavis.motion.avatar_build.juno import juno_warp

    warp = juno_warp()
    head = POINTS[:50] * 0.08 + np.array([0, 0.07, 0], np.float32)
    np.testing.assert_allclose(warp.inverse(warp(head)), head, atol=2e-5)
    flip = np.array([-1, 1, 1], np.float32)
    np.testing.assert_allclose(warp(head * flip), warp(head) * flip, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["robin", "juno"])
def test_the_shipped_avatar_is_what_the_code_builds(name):
    pytest.importorskip("skimage")
    from visavis.motion.avatar import load_avatar
    from visavis.motion.avatar_build.assemble import build

    built, shipped = build(name), load_avatar(name)
    np.testing.assert_allclose(built.positions_m, shipped.positions_m, atol=1e-5)
    np.testing.assert_array_equal(built.faces, shipped.faces)
    np.testing.assert_array_equal(built.skeleton.offsets_m, shipped.skeleton.offsets_m)

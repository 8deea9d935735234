import numpy as np
import pytest

from visavis.motion.expressions import PRESETS, fitted_presets, from_presets, preset_shapes, to_presets
from visavis.motion.face import ARKIT_NAMES, face_index


def test_presets_are_those_of_vrm_and_made_of_arkit_shapes():
    assert set(preset_shapes()) <= set(PRESETS)
    assert {name for shapes in preset_shapes().values() for name in shapes} <= set(ARKIT_NAMES)


@pytest.mark.parametrize("name", fitted_presets())
def test_a_preset_alone_is_found_alone(name):
    level = np.array([0.0, 0.4, 1.0])
    found = to_presets(from_presets({name: level}, 3))
    np.testing.assert_allclose(found[name], level, atol=0.05)
    assert max(values.max() for other, values in found.items() if other != name) < 0.15


def test_weights_lie_between_none_and_all():
    face = np.random.default_rng(0).uniform(0, 1, (50, 52))
    face[0] = 0
    found = np.stack(list(to_presets(face).values()))
    assert found.min() >= 0 and found.max() <= 1
    assert not found[:, 0].any()


def test_a_wider_jaw_opens_the_mouth_more():
    face = np.zeros((20, 52))
    face[:, face_index("jawOpen")] = np.linspace(0, 1, 20)
    found = to_presets(face)
    mouth = sum(found[name] for name in ("aa", "oh", "ih", "ee", "ou"))
    assert (np.diff(mouth) > -1e-4).all() and mouth[-1] > 0.8
    assert found["happy"].max() < 0.05

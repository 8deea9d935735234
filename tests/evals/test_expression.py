"""The judge of feelings: what it sees of a motion, that it tells styles apart, and what it says without recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visavis.agent.bearing import with_bearing
from visavis.emotion import Emotion
from visavis.errors import UsageError
from visavis.evals.expression import FEATURES, STYLES, Windows, actors, learnt, main, windows
from visavis.motion import rotations
from visavis.motion.idle import idle
from visavis.motion.motion import Motion

REAL = Path(__file__).parents[2] / ".cache" / "real"


def seen(motion: Motion) -> dict[str, float]:
    return dict(zip(FEATURES, windows(motion).mean(0), strict=True))


def test_windows_are_of_two_seconds_every_half():
    assert windows(idle(150, 1)).shape == (7, len(FEATURES)) and windows(idle(20, 1)).shape == (1, len(FEATURES))


def test_features_are_what_they_are_called():
    calm = idle(90, 1)
    free = {limb: np.ones(90, np.float32) for limb in ("core", "left", "right")}
    borne = {
        name: seen(with_bearing(calm, np.tile(np.array(Emotion(name, 1.0).vector, np.float32), (90, 1)), free))
        for name in ("joy", "sadness", "anger")
    }
    plain = seen(calm)
    assert borne["sadness"]["head pitch"] > plain["head pitch"] + 5
    assert borne["joy"]["wrists forward"] > plain["wrists forward"] + 0.05
    assert borne["joy"]["wrists' height"] > plain["wrists' height"] + 0.05
    assert borne["anger"]["elbows apart"] > plain["elbows apart"] + 0.05
    turned = calm.rotations.copy()
    nod = np.zeros((90, 3), np.float32)
    nod[:, 0] = 0.1 * np.sin(np.arange(90))
    head = calm.skeleton.index("head")
    turned[:, head] = rotations.multiply(rotations.from_rotation_vector(nod), turned[:, head])
    nodding = seen(replace(calm, rotations=turned))
    assert nodding["head moves"] > plain["head moves"] + 2 and nodding["speed of the head"] > plain["speed of the head"]


def test_the_judge_tells_apart_what_differs():
    rng = np.random.default_rng(0)
    style = np.repeat(list(STYLES), 40)
    x = rng.normal(size=(160, len(FEATURES)))
    for place, name in enumerate(STYLES):
        x[style == name, place] += 3
    judge = learnt(Windows(x, style, np.tile(["bow", "guide"], 80)))
    for place, name in enumerate(STYLES):
        chances = judge.chances(x[style == name][:5])
        assert chances.argmax() == place and chances.sum() == pytest.approx(1)
    assert judge.chances(x * 1e9).max() <= 1  # nothing overflows


def test_without_recordings_it_says_so(tmp_path, capsys):
    with pytest.raises(UsageError, match="expected Bandai-Namco's styles in .*: give --real DIR"):
        actors(tmp_path)
    assert main(["--real", str(tmp_path)]) == 2
    assert "give --real DIR" in capsys.readouterr().err


@pytest.mark.skipif(not (REAL / "bandai_namco").exists(), reason="no recordings of Bandai-Namco in .cache/real")
def test_actors_are_known_better_than_by_chance():
    known = actors(REAL)
    assert set(known.style) == set(STYLES) and known.features.shape[1] == len(FEATURES)
    judge = learnt(known)
    right = [
        list(STYLES)[int(judge.chances(x[None]).argmax())] == s
        for x, s in zip(known.features, known.style, strict=True)
    ]
    assert np.mean(right) > 0.6
    for act in set(known.act):
        normal = known.features[(known.act == act) & (known.style == "normal")]
        np.testing.assert_allclose(normal.mean(0), 0, atol=1e-6)

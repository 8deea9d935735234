import json

import numpy as np
import pytest

from visavis.cli import main
from visavis.errors import FileFormatError
from visavis.motion.files import write_motion
from visavis.motion.idle import idle
from visavis.retrieval.describe import PoseIndex, describe
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform

LEXICON = load_lexicon()
CLEAR = (
    "greeting wave",
    "shrug",
    "salute",
    "hands on hips",
    "thumbs up",
    "surrender",
    "crossed wrists",
    "flying",
    "bow",
)


def test_clear_gestures_of_somebody_unseen_are_named():
    somebody = Performer.random(np.random.default_rng(4321))
    named = [describe(perform(LEXICON[gloss], somebody).motion).glosses[0][0] for gloss in CLEAR]
    assert sum(a == b for a, b in zip(named, CLEAR, strict=True)) >= len(CLEAR) - 1, named


def test_hands_energy_and_emotion_are_told():
    right = describe(perform(LEXICON["shaking fist"]).motion)
    left = describe(perform(LEXICON["shaking fist"], hand="left").motion)
    assert (right.hands, left.hands) == ("right", "left")
    assert right.glosses[0][0] == left.glosses[0][0] == "shaking fist"
    assert right.emotions[0][0] == "anger"
    assert sum(share for _, share in right.emotions) == pytest.approx(1)
    slow = describe(perform(LEXICON["nod"]).motion)
    assert slow.hands == "none" and slow.energy_m_s < right.energy_m_s


def test_stillness_is_described_too():
    said = describe(idle(60, seed=3))
    assert len(said.glosses) == 5 and all(0 <= share <= 1 for _, share in said.glosses)


def test_the_command(tmp_path, capsys):
    path = tmp_path / "wave.bvh"
    write_motion(perform(LEXICON["greeting wave"]).motion, path)
    assert main(["describe", str(path), "-k", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["glosses"][0]["gloss"] == "greeting wave" and len(said["glosses"]) == 2
    assert set(said) == {"glosses", "emotions", "energy_m_s", "hands", "phases"}
    assert main(["describe", str(path)]) == 0
    assert "emotion: " in capsys.readouterr().out
    assert main(["describe", str(tmp_path / "none.bvh")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_index_is_one_clear_error(tmp_path):
    path = tmp_path / "poses.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="learn_poses"):
        PoseIndex.load(path)

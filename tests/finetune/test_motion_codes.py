"""The motion corpus through the codec: made once, gone on with where it was cut, and never of another corpus."""

import numpy as np
import pytest

from visavis.errors import UsageError
from visavis.finetune import motion_codes
from visavis.finetune.motion_codes import beating_features, decoded_features
from visavis.finetune.motion_corpus import VOICES, MotionCorpus, TaughtTurn
from visavis.motion.idle import idle
from visavis.refiner.sampler import motion_features
from visavis.tokenizers.codec import MotionCodec

TURNS, FRAMES = 5, 40


class Corpus(MotionCorpus):
    def __init__(self, turns: int = TURNS) -> None:
        self.features = motion_features(idle(turns * FRAMES, seed=1)).astype(np.float16)
        self.turns = [
            TaughtTurn(
                "train", "speak", f"Line {i}.", "joy", 0.8, i, 1.2, i * FRAMES, FRAMES,
                [("Line", 0.2, 0.6, 1.0, 0.3), ("one.", 0.7, 1.1, 0.9, 0.8)], [], [],
            )
            for i in range(turns)
        ]  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> MotionCodec:
    return MotionCodec().eval()


def test_a_cut_run_goes_on_and_gives_the_same(tmp_path, monkeypatch, codec):
    whole = np.array(decoded_features(Corpus(), codec, tmp_path / "whole.npy"))
    assert whole.shape == (TURNS * FRAMES, 264) and whole.dtype == np.float16
    monkeypatch.setattr(motion_codes, "_KEPT", 2)
    asked, right = [], motion_codes.turn_codes

    def cut(corpus, turn, codec):
        asked.append(turn.text)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return right(corpus, turn, codec)

    monkeypatch.setattr(motion_codes, "turn_codes", cut)
    with pytest.raises(KeyboardInterrupt):
        decoded_features(Corpus(), codec, tmp_path / "cut.npy")
    assert not (tmp_path / "cut.npy").exists()
    made = decoded_features(Corpus(), codec, tmp_path / "cut.npy")
    assert asked[4:] == ["Line 2.", "Line 3.", "Line 4."]  # two were kept
    np.testing.assert_array_equal(made, whole)
    decoded_features(Corpus(), codec, tmp_path / "cut.npy")
    assert len(asked) == 7 and {path.name for path in tmp_path.iterdir()} == {"whole.npy", "cut.npy"}


def test_what_is_of_another_corpus_is_refused_or_made_anew(tmp_path):
    path = tmp_path / "beating.npy"
    beating_features(Corpus(), path)
    with pytest.raises(UsageError, match=r"expected 120 frames in .*beating.npy, as the corpus has; got 200"):
        beating_features(Corpus(3), path)
    path.rename(tmp_path / "beating.tmp.npy")  # cut when it was of more turns
    (tmp_path / "beating.turns").write_text("2")
    assert len(beating_features(Corpus(3), path)) == 3 * FRAMES


def test_voices_are_held_out():
    assert len(VOICES["dev"]) > 3 and not set(VOICES["train"]) & set(VOICES["dev"])

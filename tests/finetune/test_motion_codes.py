"""The motion corpus through the codec: made once, gone on with where it was cut, and never of another corpus."""

import numpy as np
import pytest

from visavis.errors import UsageError
from visavis.finetune import motion_codes
from visavis.finetune.motion_codes import beating_features, check_marks, decoded_features, move_token_examples
from visavis.finetune.motion_corpus import VOICES, MotionCorpus, TaughtTurn, move_examples
from visavis.finetune.token_corpus import TokenCorpus
from visavis.motion.idle import idle
from visavis.refiner.sampler import motion_features
from visavis.tokenizers.codec import MotionCodec
from visavis.tokenizers.turn_language import Example, move_example
from visavis.tokenizers.vocabulary import JointVocabulary

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


HEARD = [("My", 0.1, 0.3, 0.0, 0.2), ("dog", 0.35, 0.75, 1.0, 0.5), ("died,", 0.8, 1.2, 1.0, 0.9),
         ("sadly.", 1.6, 2.1, 0.8, 1.8)]  # fmt: skip


def turn(mode, gestures=()):
    return TaughtTurn(
        "train", mode, "My dog died, sadly.", "joy", 0.8, 1, 2.1, 0, 90, HEARD, list(gestures), []
    )  # fmt: skip


def test_every_part_is_marked_but_where_a_clip_forces_it():
    """With the shipped vocabulary of five parts: marks and ids go together to the end of the turn."""
    vocabulary = JointVocabulary.default()
    parts = vocabulary.parts
    codes = np.random.default_rng(0).integers(0, 512, (23, len(parts)))
    wave = ("wave", [0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.4], ["right"])
    for mode, gestures in (("listen", ()), ("speak", ()), ("speak", (wave,))):
        learnt = {part: [] for part in parts}
        for prompt, plan in move_examples(turn(mode, gestures), codes, parts):
            example = move_example(prompt, plan, vocabulary)
            for id_, on in zip(example.ids, example.mask, strict=True):
                if on:
                    part, code = vocabulary.motion_of(id_)
                    learnt[part].append(code)
        for place, part in enumerate(parts):
            if gestures and part.startswith("right"):
                assert 0 < len(learnt[part]) < 23
            else:
                assert learnt[part] == codes[:, place].tolist(), (mode, part)


def test_a_listener_hears_no_word_before_it_was_said_and_no_clause():
    codes = np.zeros((23, 5), np.int64)
    (only,) = move_examples(turn("listen"), codes, JointVocabulary.default().parts)
    prompt, plan = only
    assert prompt.mode == "listen" and not prompt.context and len(plan.steps) == 23
    said = {step: text for step, text in enumerate(s.words for s in plan.steps) if text}
    assert said == {int(word[2] * 7.5): word[0] for word in HEARD}
    ahead = [s.words for _, plan in move_examples(turn("speak"), codes) for s in plan.steps]
    assert ahead[0] == "My dog"  # a speaker's hands prepare


def test_tokens_are_made_of_the_codes_that_are_asked_for(monkeypatch, tmp_path, codec):
    vocabulary = JointVocabulary(JointVocabulary.default().text_model, codec.config.parts, codec.config.codebook_size)
    asked = []

    def encode(self, motion, careful=False):
        asked.append(careful)
        return np.zeros((-(-len(motion) // 4), len(self.config.parts)), np.int64)

    monkeypatch.setattr(MotionCodec, "load", staticmethod(lambda folder: codec))
    monkeypatch.setattr(MotionCodec, "encode", encode)
    monkeypatch.setattr(motion_codes, "MotionCorpus", lambda folder, split: Corpus())
    for careful in (False, True):
        made = TokenCorpus.build(move_token_examples(tmp_path, tmp_path, "train", vocabulary, careful))
        assert made.size == TURNS and made.names == ("speak",)
        check_marks(made, vocabulary, tmp_path)
    assert asked == [False] * TURNS + [True] * TURNS


def test_marks_that_drifted_are_refused(tmp_path):
    vocabulary = JointVocabulary.default()
    wrong = Example([1, 2, vocabulary.motion("core", 3)], [False, True, True])
    with pytest.raises(
        UsageError, match="expected only motion tokens to be learnt in the MOVE of .* got 1 of 2 others"
    ):
        check_marks(TokenCorpus.build([("listen", wrong)]), vocabulary, tmp_path)
    check_marks(TokenCorpus.build([("reply", wrong)]), vocabulary, tmp_path)

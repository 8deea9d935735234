"""The codec's figures: right on what is known, and the plain codebook is a codec too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visavis.evals.codec import sets
from visavis.evals.codec.baseline import PlainCodebook
from visavis.evals.codec.figures import MEASURES, Figures, clip_errors, measure, through
from visavis.evals.codec.measure import compare, streaming, timed
from visavis.evals.codec.sets import OURS
from visavis.finetune.codec_corpus import TRAIN_PERFORMERS, held_variant, performer_of, taught, train_variants
from visavis.motion import rotations as rot
from visavis.motion.idle import idle
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton
from visavis.refiner.sampler import motion_features
from visavis.retrieval.lexicon import load_lexicon
from visavis.tokenizers.codec import FIVE_PARTS, PARTS, CodecConfig, MotionCodec


def turned(motion: Motion, bone: str, degrees: float) -> Motion:
    out = motion.rotations.copy()
    i = motion.skeleton.index(bone)
    out[:, i] = rot.multiply(out[:, i], rot.from_rotation_vector(np.array([0, 0, np.radians(degrees)], np.float32)))
    return replace(motion, rotations=out)


def test_no_difference_is_no_error():
    motion = idle(20, seed=1)
    assert all(value < 1e-3 for value in clip_errors(motion, motion).values())


def test_a_turned_hand_moves_fingertips_but_no_wrist_and_no_finger_in_it():
    motion = idle(20, seed=1)
    errors = clip_errors(motion, turned(motion, "leftHand", 10))
    assert errors["wrists_mm"] < 1e-2 and errors["fingertips_in_hand_mm"] < 0.05
    # 10° at about 17 cm is 30 mm, on one of two hands.
    assert 8 < errors["fingertips_mm"] < 20


def test_a_turned_elbow_moves_the_wrist_by_the_forearm():
    motion = idle(20, seed=1)
    skeleton = default_skeleton()
    length = np.linalg.norm(skeleton.offsets_m[skeleton.index("leftHand")])
    off = turned(motion, "leftLowerArm", 10)
    chord = 2 * length * np.sin(np.radians(5))
    # The axis of the turn is not quite square to the forearm.
    assert clip_errors(motion, off)["wrists_mm"] == pytest.approx(500 * chord, rel=0.15)


def test_too_few_frames_have_no_acceleration():
    motion = idle(2, seed=1)
    assert np.isnan(clip_errors(motion, motion)["acceleration_m_s2"])
    figures = Figures()
    figures.add(motion, motion)
    assert figures.estimate("acceleration_m_s2").n == 0 and figures.estimate("body_mm").n == 1


def test_codes_are_counted_by_codebook():
    figures = Figures()
    figures.count("left_arm", np.array([0, 1, 1]), 4)
    figures.count("right_arm", np.array([1, 2]), 4)
    assert figures.share_used() == {"arm": 0.75}
    p = np.array([1, 3, 1]) / 5
    assert figures.perplexity()["arm"] == pytest.approx(float(np.exp(-(p * np.log(p)).sum())))


@pytest.mark.parametrize("parts", [PARTS, FIVE_PARTS])
def test_a_plain_codebook_gives_back_what_it_learnt(parts):
    motion = idle(64, seed=5)
    plain = PlainCodebook(parts, 16, motion_features(motion)[None])
    made, codes = plain(motion.slice(0, 62))
    assert len(made) == 62 and codes.shape == (16, len(parts))
    assert clip_errors(motion.slice(0, 62), made)["wrists_mm"] < 5


def test_systems_are_compared_on_every_set():
    torch.manual_seed(0)
    config = CodecConfig(FIVE_PARTS, 32, 4, {"core": 8, "arm": 8, "hand": 8}, chained=True, cosine=False)
    codec = MotionCodec(config).eval()
    clips = [idle(16, seed=n) for n in range(3)]
    systems = {"tiny": (through(codec), config.parts, 32), "careful": (through(codec, careful=True), config.parts, 32)}
    more = (idle(16, seed=10 + n) for n in range(2))
    table = compare(systems, {"teacher": clips, "BEAT2": clips[:1]}, more)
    names = {row["name"] for row in table.rows}
    assert {"tiny, teacher: wrists", "tiny, BEAT2: wrists", "tiny, all of ours: perplexity, hand"} <= names
    assert next(row["n"] for row in table.rows if row["name"] == "tiny, all of ours: wrists") == 3
    tokens = {row["name"]: row["n"] for row in table.rows if row["name"].endswith("codes used, arm")}
    for system in ("tiny", "careful"):
        assert tokens[f"{system}, all of ours: codes used, arm"] == 2 * 3 * 4
        assert tokens[f"{system}, all of ours and more: codes used, arm"] == 2 * 5 * 4
        assert tokens[f"{system}, everything: codes used, arm"] == 2 * 6 * 4
    figures = measure(through(codec), config.parts, 32, clips)
    assert set(figures.clips) == set(MEASURES) and figures.used["arm"].sum() == 2 * 3 * 4


def test_streaming_and_speed_are_told_of_a_tiny_codec():
    torch.manual_seed(0)
    codec = MotionCodec(CodecConfig(codebook_size=32, code_dim=4, width={"core": 8, "side": 8})).eval()
    codes = np.random.default_rng(1).integers(32, size=(20, 3))
    assert streaming(codec, codes) < 1e-4
    table = timed(codec, idle(64, seed=1), count=3)
    assert table.value("look-ahead") == pytest.approx(266.667, abs=0.01)
    assert table.value("motion tokens a second") == 22.5
    assert table.value("there and back, codes chosen with care") > 0


def test_nothing_held_out_is_taught():
    lexicon = load_lexicon()
    held = [(g, v) for g in lexicon for v in lexicon[g].variant_names if held_variant(g, v)]
    assert len(held) > 20
    assert not any(v in train_variants(lexicon, g) for g, v in held)
    assert performer_of(TRAIN_PERFORMERS) != performer_of(0)
    train, dev = (next(iter(taught(1, split))) for split in ("train", "dev"))
    assert len(train) > 20 and len(dev) > 20


def test_more_of_the_same_kinds_is_counted_and_nothing_twice(monkeypatch):
    lexicon = load_lexicon()
    gloss = next(g for g in lexicon if any(held_variant(g, v) for v in lexicon[g].variant_names))
    performances = dict(list(sets.load_performances().items())[:1])
    monkeypatch.setattr(sets, "load_lexicon", lambda: {gloss: lexicon[gloss]})
    monkeypatch.setattr(sets, "load_performances", lambda: performances)
    for name, value in {"_TURNS": 1, "_COUNTED_TURNS": 2, "_COUNTED_TIMES": 3, "DEV_PERFORMERS": 6}.items():
        monkeypatch.setattr(sets, name, value)
    measured = [motion for clips in sets.held_sets(Path("nowhere"), OURS).values() for motion in clips]
    more = list(sets.counted())
    held = sum(held_variant(gloss, name) for name in lexicon[gloss].variant_names)
    assert len(measured) == 1 + 4 * held + 2 and len(more) == 1 + 2 * held + 1
    seen = {motion.rotations.tobytes() for motion in [*measured, *more]}
    assert len(seen) == len(measured) + len(more)

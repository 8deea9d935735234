"""Codes chosen by what is decoded: the form tells the truth where the decoder is linear, and codes get better."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from visavis.evals.codec.figures import clip_errors
from visavis.finetune.codec_corpus import TRAIN_PERFORMERS, performer_of, train_variants
from visavis.motion.idle import idle
from visavis.motion.motion import Motion
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform
from visavis.tokenizers import code_choice
from visavis.tokenizers.code_choice import CodeChoice
from visavis.tokenizers.codec import FIVE_PARTS, PARTS, CodecConfig, MotionCodec

FIVE = CodecConfig(
    FIVE_PARTS, codebook_size=64, code_dim=8, width={"core": 12, "arm": 12, "hand": 12}, chained=True, cosine=False
)
THREE = CodecConfig(PARTS, codebook_size=64, code_dim=8, width={"core": 12, "side": 12})
GRID = replace(THREE, levels=(4, 4, 4))


def tiny(config: CodecConfig, seed: int = 3) -> MotionCodec:
    torch.manual_seed(seed)
    return MotionCodec(config).eval()


@pytest.mark.parametrize("config", [FIVE, THREE, GRID], ids=["five parts", "three parts", "grid"])
@pytest.mark.parametrize("frames", [1, 5, 30])
def test_careful_codes_are_codes(config, frames):
    codes = tiny(config).encode(idle(frames, seed=2), careful=True)
    assert codes.shape == (-(-frames // 4), len(config.parts)) and codes.dtype == np.int64
    assert codes.min() >= 0 and codes.max() < 64


def test_two_of_one_codec_choose_alike():
    motion = idle(50, seed=4)
    first, second = tiny(FIVE), tiny(FIVE)
    np.testing.assert_array_equal(first.encode(motion, careful=True), second.encode(motion, careful=True))
    np.testing.assert_array_equal(first.encode(motion, careful=True), first.encode(motion, careful=True))


def test_the_nearest_codes_stay_what_they_are():
    motion = idle(50, seed=4)
    codec, other = tiny(FIVE), tiny(FIVE)
    codec.encode(motion, careful=True)
    np.testing.assert_array_equal(codec.encode(motion), other.encode(motion))


def test_the_form_is_the_error_of_a_linear_decoder(monkeypatch):
    """Two steps change: the form foretells by how much the weighed error of places and velocities does."""
    width = 18  # features of an arm
    monkeypatch.setattr(
        code_choice, "_metric", lambda poses, part: np.tile(np.eye(width, dtype=np.float32), (64, 1, 1))
    )
    codec = tiny(FIVE)
    net = codec.network("left_arm")
    with torch.inference_mode():
        for block in net.decoder:
            block.conv.bias.zero_()
        monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: x)  # without its bends the decoder is linear
        choice = CodeChoice(net, "left_arm", codec.config.past_steps, 2)
        rng = np.random.default_rng(0)
        codes = torch.from_numpy(rng.integers(64, size=(1, 40)))
        x = net.render(net.codebook[codes]) + 0.1 * torch.from_numpy(
            rng.normal(size=(1, 160, width)).astype(np.float32)
        )

        def error(chosen: torch.Tensor) -> float:
            off = (x - net.render(net.codebook[chosen])).numpy()[0]
            return float((off**2).sum() + code_choice._VELOCITY**2 * (np.diff(off, axis=0) ** 2).sum())

        pull = choice._pull((x - net.render(net.codebook[codes])).numpy(), codes.numpy())[0]
        for first, second in ((15, 16), (20, 22), (24, 23)):
            changed = codes.clone()
            changed[0, first], changed[0, second] = (changed[0, first] + 7) % 64, (changed[0, second] + 11) % 64
            step = (net.codebook[changed] - net.codebook[codes]).numpy()[0]
            told = 0.0
            for place in (first, second):
                told += step[place] @ choice._own[int(codes[0, place])] @ step[place] - 2 * pull[place] @ step[place]
            width_of = net.codebook.shape[1]
            row = (choice._reach + second - first) * width_of
            across = choice._coupling[int(codes[0, first])][row : row + width_of]  # neighbour, own
            told += 2 * step[second] @ across @ step[first]
            assert told == pytest.approx(error(changed) - error(codes), rel=0.02, abs=0.02)


def test_what_was_decoded_is_coded_no_worse_with_care():
    codec = tiny(FIVE)
    codes = np.random.default_rng(1).integers(0, 64, (20, 5))
    motion = codec.decode(codes)
    errors = {care: clip_errors(motion, codec.decode(codec.encode(motion, careful=care), motion)) for care in (0, 1)}
    assert errors[1]["wrists_mm"] < errors[0]["wrists_mm"] and errors[1]["fingertips_mm"] < errors[0]["fingertips_mm"]


def test_with_the_shipped_codec_wrists_and_fingertips_get_nearer(models):
    codec, lexicon = MotionCodec.load(models / "codec"), load_lexicon()
    means = []
    for careful in (False, True):
        rows = []
        for number, gloss in enumerate(list(lexicon)[::40]):
            variant = train_variants(lexicon, gloss)[0]
            motion: Motion = perform(lexicon[gloss], performer_of(TRAIN_PERFORMERS + number), variant=variant).motion
            made = codec.decode(codec.encode(motion, careful=careful), motion).slice(0, len(motion))
            rows.append(clip_errors(motion, made))
        means.append({name: np.mean([row[name] for row in rows]) for name in ("body_mm", "wrists_mm", "fingertips_mm")})
    nearest, careful_ = means
    assert careful_["wrists_mm"] < 0.9 * nearest["wrists_mm"]
    assert careful_["fingertips_mm"] < 0.95 * nearest["fingertips_mm"]
    assert careful_["body_mm"] < nearest["body_mm"]

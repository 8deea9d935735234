import json

import numpy as np
import pytest
import torch

from visavis.errors import FileFormatError, TokenError
from visavis.motion import rotations
from visavis.motion.idle import idle
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton
from visavis.tokenizers.codec import (
    FIVE_PARTS,
    LOOKAHEAD_STEPS,
    PARTS,
    CodecConfig,
    MotionCodec,
    limb_of,
    network_of,
    part_bones,
    part_features,
    rotations_from_6d,
)

PAST_STEPS = 6  # of the decoder's three convolutions


@pytest.fixture(scope="module")
def codec() -> MotionCodec:
    torch.manual_seed(1)
    return MotionCodec().eval()


def some_codes(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 512, (steps, 3))


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 30, 61])
def test_one_token_per_part_and_step_of_four_frames(codec, frames):
    codes = codec.encode(idle(frames, seed=2))
    assert codes.shape == (-(-frames // 4), 3) and codes.dtype == np.int64
    assert codes.min() >= 0 and codes.max() < 512
    made = codec.decode(codes)
    assert len(made) == 4 * len(codes)
    np.testing.assert_allclose(np.linalg.norm(made.rotations, axis=-1), 1, atol=1e-4)


def test_what_is_no_token_comes_from_the_base(codec):
    base = idle(24, seed=5).with_face(np.full((24, 52), 0.25, np.float32))
    made = codec.decode(some_codes(8), base)
    skeleton = default_skeleton()
    coded = {int(bone) for part in PARTS for bone in skeleton.part(part)}
    rest = [bone for bone in range(len(skeleton.names)) if bone not in coded]
    index = np.minimum(np.arange(32), 23)
    np.testing.assert_array_equal(made.rotations[:, rest], base.rotations[index][:, rest])
    np.testing.assert_array_equal(made.root_m, base.root_m[index])
    assert made.face is not None and (made.face == 0.25).all()
    assert "leftUpperLeg" in {skeleton.names[bone] for bone in rest}


def test_nothing_makes_nothing(codec):
    assert len(codec.decode(np.zeros((0, 3), np.int64))) == 0


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((2, 3), 512), "codebook has 512 entries, token 512 is outside it: was the model trained with another"),
        (np.full((2, 3), -1), "token -1 is outside it"),
        (np.zeros((2, 2), int), r"expected codes of shape \(steps, 3\) for parts .* got \(2, 2\)"),
        (np.zeros(3, int), r"got \(3,\)"),
    ],
)
def test_wrong_codes_are_told(codec, codes, message):
    with pytest.raises(TokenError, match=message):
        codec.decode(codes)


def test_streamed_equals_whole_outside_the_look_ahead(codec):
    codes = some_codes(24)
    whole = codec.decode(codes).rotations
    for now in (5, 9, 17):
        streamed = codec.decode(codes[:now]).rotations
        safe = 4 * (now - LOOKAHEAD_STEPS)
        np.testing.assert_allclose(streamed[:safe], whole[:safe], atol=1e-5)
        later = codec.decode(codes[now - PAST_STEPS - LOOKAHEAD_STEPS + 2 if now > 6 else 0 :]).rotations
        assert np.abs(later[-4:] - whole[-4:]).max() < 1e-5


def test_both_sides_share_one_codebook_mirrored(codec):
    codes = some_codes(6)
    codes[:, 2] = codes[:, 1]
    made = codec.decode(codes).rotations
    skeleton = default_skeleton()
    left, right = made[:, skeleton.part("left")], made[:, skeleton.part("right")]
    np.testing.assert_allclose(rotations.mirror(right), left, atol=1e-6)


@pytest.mark.parametrize("part", PARTS)
def test_features_give_the_rotations_back(part):
    motion = idle(10, seed=1)
    bones = motion.skeleton.part(part)
    back = rotations_from_6d(part_features(motion.rotations, part, motion.skeleton), part)
    np.testing.assert_allclose(np.abs(np.sum(back * motion.rotations[:, bones], axis=-1)), 1, atol=1e-5)


def test_saved_and_loaded_codes_the_same(codec, tmp_path):
    codec.save(tmp_path / "deep" / "codec")
    loaded = MotionCodec.load(tmp_path / "deep" / "codec")
    assert loaded.config == codec.config
    codes = some_codes(5)
    a, b = codec.decode(codes).rotations, loaded.decode(codes).rotations
    assert np.abs(np.sum(a * b, axis=-1)).min() > 0.999  # saved in half precision


def test_a_broken_folder_is_one_sentence(codec, tmp_path):
    with pytest.raises(FileFormatError, match="expected a motion codec .* train one with `visavis train codec`"):
        MotionCodec.load(tmp_path)
    codec.save(tmp_path)
    data = json.loads((tmp_path / "codec.json").read_text())
    (tmp_path / "codec.json").write_text(json.dumps({**data, "code_dim": 8}))
    with pytest.raises(FileFormatError, match="size mismatch"):
        MotionCodec.load(tmp_path)


def test_the_shipped_codec_gives_the_idle_body_back(models):
    codec = MotionCodec.load(models / "codec")
    from visavis.motion.kinematics import positions

    motion = idle(120, seed=9)
    made = codec.decode(codec.encode(motion), motion)
    error = np.linalg.norm(positions(made) - positions(motion), axis=-1)
    assert error.mean() < 0.03  # metres


def test_the_rest_pose_is_a_motion_too(codec):
    assert codec.encode(Motion.rest(8)).shape == (2, 3)


# --- five parts, coded one after the other ---------------------------------------------------------------------------

FIVE = CodecConfig(
    FIVE_PARTS, codebook_size=64, code_dim=8, width={"core": 12, "arm": 12, "hand": 12}, chained=True, cosine=False
)


@pytest.fixture(scope="module")
def five() -> MotionCodec:
    torch.manual_seed(3)
    return MotionCodec(FIVE).eval()


def test_five_parts_share_no_bone_and_miss_none():
    skeleton = default_skeleton()
    bones = [int(bone) for part in FIVE_PARTS for bone in part_bones(part, skeleton)]
    assert sorted(bones) == sorted(int(bone) for part in PARTS for bone in part_bones(part, skeleton))
    assert [limb_of(part) for part in FIVE_PARTS] == ["core", "left", "right", "left", "right"]
    assert [network_of(part) for part in FIVE_PARTS] == ["core", "arm", "arm", "hand", "hand"]


@pytest.mark.parametrize("frames", [1, 5, 30])
def test_five_parts_are_coded_and_decoded(five, frames):
    codes = five.encode(idle(frames, seed=2))
    assert codes.shape == (-(-frames // 4), 5) and codes.min() >= 0 and codes.max() < 64
    assert len(five.decode(codes)) == 4 * len(codes)


def test_a_chained_part_takes_back_what_the_parts_before_it_got_wrong(five):
    """The arm's code is that of the arm whose shoulder undoes the torso's error; so for the hand after the arm."""
    motion = idle(32, seed=4)
    skeleton = motion.skeleton
    made = five.decode(five.encode(motion), motion)
    for part in ("left_arm", "right_hand"):
        first = int(part_bones(part, skeleton)[0])
        parent = int(skeleton.parents[first])
        true = forward(motion.rotations, motion.root_m, skeleton)[1]
        decoded = forward(made.rotations, made.root_m, skeleton)[1]
        seen = motion.rotations.copy()
        seen[:, first] = rotations.multiply(rotations.conjugate(decoded[:, parent]), true[:, first])
        x = torch.from_numpy(part_features(seen, part, skeleton))[None]
        with torch.inference_mode():
            net = five.network(part)
            expected = net.quantize(net.embed(x))[0].numpy()
        np.testing.assert_array_equal(five.encode(motion)[:, FIVE_PARTS.index(part)], expected)


def test_five_parts_stream_as_they_are_decoded_at_once(five):
    codes = np.random.default_rng(0).integers(0, 64, (24, 5))
    whole = five.decode(codes).rotations
    for now in (5, 9, 17):
        safe = 4 * (now - LOOKAHEAD_STEPS)
        np.testing.assert_allclose(five.decode(codes[:now]).rotations[:safe], whole[:safe], atol=1e-4)


def test_a_manifest_with_five_parts_comes_back(five, tmp_path):
    five.save(tmp_path)
    assert MotionCodec.load(tmp_path).config == FIVE


def test_a_grid_codes_by_rounding_and_uses_no_learnt_codebook(tmp_path):
    config = CodecConfig(codebook_size=24, width={"core": 8, "side": 8}, levels=(4, 3, 2))
    codec = MotionCodec(config).eval()
    net = codec.network("left")
    assert net.codebook.shape == (24, 3)
    codes = torch.arange(24)
    torch.testing.assert_close(net.quantize(net.codebook[codes]), codes)
    codec.save(tmp_path)
    torch.testing.assert_close(MotionCodec.load(tmp_path).network("left").codebook, net.codebook)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ("core", "wing")}, "expected different parts"),
        ({"parts": ("left", "left_hand")}, "share no bone"),
        ({"decoder": ((2, 1), (2, 1), (2, 1))}, "at most 2 steps ahead"),
        ({"levels": (8, 8)}, "product is 512"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CodecConfig(**change)

"""Files of small heads, whoever owns them."""

import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.errors import FileFormatError
from visavis.retrieval.heads import load_heads, save_heads

SHAPES = {"weight": (3, 4), "bias": (3,)}


def load(path):
    return load_heads(path, SHAPES, what="a head", remedy="train it")


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float16).astype(np.float32) for name, shape in SHAPES.items()}


def test_what_is_saved_is_loaded(arrays, tmp_path):
    save_heads(tmp_path / "head.safetensors", arrays | {"weight": np.asfortranarray(arrays["weight"])})
    again = load(tmp_path / "head.safetensors")
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == np.float32
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff" * 64, "folder"])
def test_what_is_no_such_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "head.safetensors"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(
        FileFormatError, match=r"expected a head in head.safetensors, which cannot be read \(.+\): train it"
    ):
        load(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bias": None}, "expected `bias` of (3,) in head.safetensors, got ['weight']: train it"),
        ({"bias": np.zeros((3, 1))}, "expected `bias` of (3,) in head.safetensors, got (3, 1): train it"),
        ({"weight": np.zeros((4, 3))}, "expected `weight` of (3, 4) in head.safetensors, got (4, 3): train it"),
        ({"bias": np.full(3, np.nan)}, "expected finite numbers in `bias` in head.safetensors, got others: train it"),
    ],
)
def test_other_arrays_are_one_clear_error(arrays, tmp_path, change, message):
    path = tmp_path / "head.safetensors"
    save_file({name: a for name, a in (arrays | change).items() if a is not None}, path)
    with pytest.raises(FileFormatError, match=re.escape(message)):
        load(path)


def test_more_than_is_asked_for_is_left_aside(arrays, tmp_path):
    save_heads(tmp_path / "head.safetensors", arrays | {"more": np.ones(2, np.float32)})
    assert set(load(tmp_path / "head.safetensors")) == set(SHAPES)

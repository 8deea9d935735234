import re
from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS
from visavis.retrieval.feeling import DEFAULT_FEELING, Feeling

COUNT = len(EMOTIONS)


@pytest.fixture
def heads() -> Feeling:
    rng = np.random.default_rng(0)
    sizes = [(COUNT, DIMENSIONS), (COUNT,), (COUNT, DIMENSIONS), (COUNT,), (DIMENSIONS,), (1,)]
    return Feeling(*(rng.normal(size=size).astype(np.float16).astype(np.float32) for size in sizes))


@pytest.fixture
def some() -> np.ndarray:
    made = np.random.default_rng(1).normal(size=(5, DIMENSIONS)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_chances_are_chances(heads, some):
    for found in (heads.weigh(some), heads.weigh(some, some[::-1])):
        assert found.shape == (5, COUNT) and found.dtype == np.float32
        assert np.allclose(np.exp(found).sum(1), 1, atol=1e-5)


def test_open_says_which_of_the_two_lines_counts(heads, some):
    before = some[::-1]
    shut = replace(heads, open_bias=np.array([-1e3], np.float32))
    assert np.allclose(shut.weigh(some, before), heads.weigh(some), atol=1e-5)
    wide = replace(heads, open_bias=np.array([1e3], np.float32))
    other = replace(heads, said=heads.heard, said_bias=heads.heard_bias)
    assert np.allclose(wide.weigh(some, before), other.weigh(before), atol=1e-5)


def test_what_is_saved_is_loaded(heads, tmp_path):
    heads.save(tmp_path / "heads.safetensors")
    again = Feeling.load(tmp_path / "heads.safetensors")
    assert all(np.array_equal(getattr(heads, one.name), getattr(again, one.name)) for one in fields(Feeling))


def test_a_file_of_something_else_is_refused(heads, tmp_path):
    with pytest.raises(FileFormatError, match=re.escape("expected the heads of feeling in none.safetensors")):
        Feeling.load(tmp_path / "none.safetensors")
    arrays = {one.name: getattr(heads, one.name) for one in fields(Feeling)}
    save_file(arrays | {"open": np.zeros(7, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match=re.escape("expected `open` of (384,) in other.safetensors, got (7,)")):
        Feeling.load(tmp_path / "other.safetensors")


def test_what_ships_is_small_and_hears_the_line_before():
    assert DEFAULT_FEELING.stat().st_size < 200_000
    heads = Feeling.default()

    def felt(text: str, before: str = "") -> str:
        return EMOTIONS[int(heads.log_chances(text, before).argmax())]

    assert felt("I am so happy for you!") == "joy" == felt("I am so happy for you!", "The bus leaves at six.")
    assert felt("The bus leaves at six.") == "neutral"
    assert felt("Oh.", "My dear old cat died.") == "sadness"
    assert felt("Oh.", "There is a killer in the house!") == "fear"
    assert felt("", "") in EMOTIONS

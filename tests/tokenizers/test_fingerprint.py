import json
from pathlib import Path

import pytest

from visavis.errors import FingerprintError
from visavis.tokenizers.fingerprint import FILE, check_models, models_fingerprint, record


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in (
        "codec/codec.safetensors",
        "codec/codec.json",
        "planner/text.model",
        "planner/vocabulary.json",
        "planner/config.json",
        "planner/model.safetensors",
        "refiner/refiner.safetensors",
        "library/tokens.npz",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def test_what_was_recorded_together_is_accepted(models: Path) -> None:
    fingerprint = record(models)
    assert fingerprint == models_fingerprint(models) == json.loads((models / FILE).read_text())["fingerprint"]
    assert check_models(models) == fingerprint


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("codec/codec.safetensors", "codec"),
        ("codec/codec.json", "codec"),
        ("planner/text.model", "vocabulary"),
        ("planner/model.safetensors", "planner"),
        ("refiner/refiner.safetensors", "refiner"),
        ("library/tokens.npz", "library"),
    ],
)
def test_any_exchanged_file_is_refused(models: Path, name: str, part: str) -> None:
    before = record(models)
    (models / name).write_bytes(b"another")
    assert models_fingerprint(models) != before
    with pytest.raises(
        FingerprintError, match=f"^expected the {part} [0-9a-f]{{12}} that the planner .* was made with"
    ):
        check_models(models)


def test_missing_parts(models: Path) -> None:
    record(models)
    (models / "library/tokens.npz").unlink()
    check_models(models)
    (models / "codec/codec.json").unlink()
    (models / "codec/codec.safetensors").unlink()
    with pytest.raises(FingerprintError, match="expected the codec .* got none"):
        check_models(models)


def test_a_planner_elsewhere_is_checked_against_the_same_codec(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (models / "planner").rename(other)
    with pytest.raises(FingerprintError, match=r"expected .*fingerprint\.json"):
        check_models(models, other)
    record(models, other)
    assert not (models / FILE).exists()
    check_models(models, other)
    (models / "codec/codec.json").write_bytes(b"another")
    with pytest.raises(FingerprintError, match="codec"):
        check_models(models, other)

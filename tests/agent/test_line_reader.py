"""Lines read after the one before, and answers to them, by the larger reader with changes beside its matrices."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.small_smollm import make_small
from visavis.agent import line_reader
from visavis.agent.answering import KINDS, Answering
from visavis.agent.exchanges import Exchange
from visavis.agent.line_reader import LineReader, Reading, default_line_reader, made_for
from visavis.agent.matrices import has_byte_units
from visavis.agent.smollm import find_smollm
from visavis.agent.smollm_layers import ByteLayers, PackedLayers
from visavis.errors import FileFormatError
from visavis.finetune.replies import train_line_reader
from visavis.finetune.replies.train_line_reader import new_weights


@pytest.fixture
def small(monkeypatch):
    for module in (line_reader, train_line_reader):
        monkeypatch.setattr(module, "CHANGED", range(1, 2))
    monkeypatch.setattr(line_reader, "LAYERS", 2)
    return make_small(monkeypatch)


def weights(seed=0):
    """Changes and heads that say something, joined with MiniLM in equal parts."""
    generator = torch.Generator().manual_seed(seed)
    made = {
        name: value if name.endswith(".down") else torch.randn(value.shape, generator=generator) * 0.02
        for name, value in new_weights(seed).items()
    }
    return made | {"kinds.join": torch.tensor([0.5, 0.5])}


def reader_of(small, some):
    return LineReader(small, PackedLayers(small, {}, 2), some)


def test_what_is_read_ends_with_line_breaks():
    pieces = lambda text: [ord(char) for char in text]  # noqa: E731
    one = Reading(pieces, "Hi!", "Before.", ["Yes.", "No."])
    assert "".join(map(chr, one.ids)) == "Before.\nHi!\nYes.\nNo.\n"
    assert (one.start, one.stop, one.ends) == (8, 11, [16, 20])
    alone = Reading(pieces, "Hi!")
    assert (alone.start, alone.stop, alone.ends) == (0, 3, [])
    long = Reading(pieces, "a" * 500, "b" * 500, ["c" * 500])
    assert len(long.ids) < 150, "nothing grows without bounds"


def test_kinds_depend_on_the_line_before(small):
    reader = reader_of(small, weights())
    alone, after = reader.kinds_alone("We were married fifty years.", ""), reader.kinds_alone(
        "We were married fifty years.", "My husband died."
    )  # fmt: skip
    assert alone.shape == (len(KINDS),) and alone.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(alone - after).max() > 1e-4


def test_both_are_joined(small):
    heard = np.full(len(KINDS), 1 / len(KINDS), np.float32)
    heard[3] *= 20
    heard /= heard.sum()
    reader = reader_of(small, weights())
    mixed = np.sqrt(heard * reader.kinds_alone("Hello.", ""))
    np.testing.assert_allclose(reader.kinds("Hello.", "", heard), mixed / mixed.sum(), rtol=1e-3)
    untaught = reader_of(small, new_weights(0))
    np.testing.assert_allclose(untaught.kinds("Hello.", "", heard), heard, rtol=1e-4)


def test_answers_are_judged_after_the_line(small):
    reader = reader_of(small, weights())
    answers = [Exchange(text, "joy", 4) for text in ("How nice!", "Oh no.", "I see.")]
    odds = reader.grades("We won!", "", [one.reply for one in answers])
    assert odds.shape == (3, 2)
    first = reader.grades("We won!", "", ["How nice!"])
    np.testing.assert_allclose(first[0], odds[0], atol=0.02)  # it has seen none of the others
    chances = reader.suits("We won!", "", answers, np.zeros((3, 6), np.float32))
    assert chances.shape == (3,) and ((chances > 0) & (chances < 1)).all()
    assert reader.grades("We won!", "", []).shape == (0, 2)


@pytest.mark.parametrize("kind", [PackedLayers, ByteLayers])
def test_changes_beside_a_matrix_do_what_they_do_within(small, kind):
    if kind is ByteLayers and not has_byte_units():
        pytest.skip("this processor multiplies no bytes")
    small.norm = lambda layer, name: torch.linspace(0.2, 3.0, 576) * (1 + layer)
    changes = {
        name: value * (5 if name.endswith(".up") else 1) for name, value in weights().items() if "layers" in name
    }
    x, ends = small.rows(range(40)).view(2, 20, -1), torch.tensor([[3, 19], [0, 7]])
    plain = kind(small, {}, 2)
    wanted = PackedLayers(small, changes, 2).run(x, range(2), ends)
    found, without = plain.beside(changes).run(x, range(2), ends), plain.run(x, range(2), ends)
    off = (found - wanted).norm()
    assert off < (0.15 if kind is ByteLayers else 0.02) * wanted.norm() and off < (without - wanted).norm() / 3
    torch.testing.assert_close(plain.run(x, range(2), ends), without)  # the layers themselves are as they were


def test_a_wrong_file_is_told(small, tmp_path):
    larger = SimpleNamespace(base=small, layers=PackedLayers(small, {}, 2), digest="5a")
    file, whole = tmp_path / line_reader.WEIGHTS, weights() | {"made_for": made_for("5a")}
    with pytest.raises(FileFormatError, match="train_line_reader"):
        LineReader.load(tmp_path, larger)
    for name, shape in (("kinds.weight", (3, 5)), ("suits.join", (2,)), ("layers.1.qkv.down", (8, 5))):
        for value in (torch.zeros(shape), torch.full_like(whole[name], float("nan"))):
            save_file(whole | {name: value}, file)
            with pytest.raises(FileFormatError, match=name.removesuffix(".down").replace(".", r"\.")):
                LineReader.load(tmp_path, larger)
    for name in ("suits.bias", "layers.1.down.up", "made_for"):
        save_file({other: value for other, value in whole.items() if other != name}, file)
        with pytest.raises(FileFormatError, match=name.removesuffix(".up").replace(".", r"\.")):
            LineReader.load(tmp_path, larger)
    save_file(weights() | {"made_for": made_for("5b")}, file)
    with pytest.raises(FileFormatError, match="beside another"):
        LineReader.load(tmp_path, larger)
    file.write_bytes(b"\x00" * 100)
    with pytest.raises(FileFormatError):
        LineReader.load(tmp_path, larger)
    save_file(whole, file)
    assert LineReader.load(tmp_path, larger).kinds_alone("Hello.").shape == (len(KINDS),)


def test_without_the_larger_reader_there_is_none(monkeypatch):
    monkeypatch.setattr(line_reader, "default_base_reader", lambda: None)
    assert default_line_reader() is None


@pytest.mark.skipif(find_smollm() is None, reason="SmolLM2 is not installed")
@pytest.mark.parametrize(
    "before, line, kinds",
    [
        ("he didnt wake up", "twelve years we had him", {"bad_news"}),
        ("tell me a joke", "that was terrible lol", {"insult", "agreement"}),
        ("The dog got out and we can't find him.", "He's back! He was in the shed all along.", {"good_news"}),
        ("", "Hello! Is this the right place for questions?", {"greeting", "what_can_you_do"}),
        ("I lost my mum in May.", "Do you have a map?", {"unknown"}),
    ],
)
def test_the_shipped_one_reads_a_line_in_its_light(before, line, kinds):
    reader = default_line_reader()
    chances = reader.kinds(line, before, Answering.default().kinds(line))
    assert KINDS[int(chances.argmax())] in kinds

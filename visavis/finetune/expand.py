"""Expansion: our controls, cues and motion codes as further ids of any Hugging Face causal model.

New rows of the embedding and of the head are the mean of the base's rows (Hewitt 2021), so that before training no new
id is likelier than the average old one and the logits of old ids stay what they were, to the bit. Three controls stand
for what the base has already and start as copies of it: `<|bos|>`, `<|end|>`, `<|pad|>`; that keeps what a base makes
of the first token of a sequence. What is expanded already is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visavis.errors import FileFormatError, FingerprintError, UsageError
from visavis.tokenizers.vocabulary import MANIFEST_FILE, JointVocabulary

__all__ = ["ExpandedModel", "base_config", "base_vocabulary", "grow"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpandedModel:
    """A causal model of transformers whose ids are those of a joint vocabulary.

    Attributes:
        model: `AutoModelForCausalLM`, at least `vocabulary.size` rows.
        vocabulary: its ids.
        origin: short hash of the rows that the new ones were made of; says which base this was.
    """

    model: Any
    vocabulary: JointVocabulary
    origin: str

    @classmethod
    def from_base(
        cls,
        base: str | Path,
        parts: Sequence[str] = ("core", "left", "right"),
        codes: int = 512,
        dtype: str = "auto",
    ) -> ExpandedModel:
        """Read a base from a folder or from the Hugging Face hub and expand it, unless it is already.

        Raises:
            UsageError: there is no such causal model, or its tokenizer cannot be used.
            FingerprintError: it was expanded for another codec.
        """
        if (Path(base) / MANIFEST_FILE).is_file():
            return cls.from_pretrained(base, parts, codes, dtype)
        model = _read(base, dtype)
        vocabulary = base_vocabulary(base, parts, codes, rows=model.get_input_embeddings().weight.shape[0])
        return cls(model, vocabulary, grow(model, vocabulary))

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        parts: Sequence[str] | None = None,
        codes: int | None = None,
        dtype: str = "auto",
    ) -> ExpandedModel:
        """Read what `save_pretrained`, or training, wrote; with `parts` and `codes`, only if made for such a codec."""
        vocabulary = JointVocabulary.load(folder)
        if parts is not None and (vocabulary.parts != tuple(parts) or vocabulary.codes != codes):
            raise FingerprintError(
                f"expected a model for {codes} codes of {', '.join(parts)}; {folder} has {vocabulary.codes} of "
                f"{', '.join(vocabulary.parts)}: expand the base itself"
            )
        model = _read(folder, dtype)
        rows = model.get_input_embeddings().weight.shape[0]
        if rows < vocabulary.size:
            raise FileFormatError(
                f"expected {vocabulary.size} rows, as the vocabulary in {folder} has ids, got {rows}: "
                "its weights were not saved with it"
            )
        return cls(model, vocabulary, _origin(model, vocabulary))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, configuration, vocabulary and tokenizer, as transformers and vLLM read them."""
        self.model.save_pretrained(folder)
        self.vocabulary.save(folder)


def base_config(base: str | Path) -> Any:
    """The configuration of a base. UsageError where there is none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(base)
    except (OSError, ValueError, KeyError) as error:
        raise _no_base(base, error) from error


def base_vocabulary(
    base: str | Path, parts: Sequence[str] = ("core", "left", "right"), codes: int = 512, rows: int = 0
) -> JointVocabulary:
    """The joint vocabulary on a base's own tokenizer; no weights are read.

    Args:
        base: folder or hub id.
        parts: of the codec.
        codes: per part.
        rows: of the base's embedding.
    """
    from transformers import AutoTokenizer

    if (Path(base) / MANIFEST_FILE).is_file():
        return JointVocabulary.load(base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _no_base(base, error) from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UsageError(
            f"expected a base whose tokenizer has a tokenizer.json; {base} has a {type(tokenizer).__name__}, which is "
            "Python code: choose another base or convert its tokenizer"
        )
    vocabulary = JointVocabulary.on(backend.to_str(), parts, codes, rows)
    if len(vocabulary.number_pieces) < 10 or vocabulary.space < 0:
        raise UsageError(f"expected a tokenizer with the ten digits and a space among its pieces: {base} lacks some")
    return vocabulary


@torch.no_grad()
def grow(model: Any, vocabulary: JointVocabulary) -> str:
    """Give a base rows for all ids of a vocabulary that stands on its tokenizer; returns the origin (see above).

    Rows beyond the base's tokenizer (spare ones) are written over; those of its own ids are not touched.
    """
    before = model.get_input_embeddings().weight.shape[0]
    known = min(before, vocabulary.text_size)
    copied = _copied(model, vocabulary)
    # rows that transformers makes are random; all of them are overwritten below
    model.resize_token_embeddings(vocabulary.size, mean_resizing=False)
    head = model.get_output_embeddings()
    tables = [model.get_input_embeddings().weight]
    if head is not None and head.weight.data_ptr() != tables[0].data_ptr():
        tables.append(head.weight)
    if getattr(head, "bias", None) is not None:
        tables.append(head.bias)
    for table in tables:
        table[known:] = table[:known].mean(dim=0, dtype=torch.float64).to(table.dtype)
        for new, old in copied.items():
            table[new] = table[old]
    _name_ends(model, vocabulary)
    log.info("%d ids of the base, %d rows before, %d now", vocabulary.text_size, before, vocabulary.size)
    return _origin(model, vocabulary)


def _copied(model: Any, vocabulary: JointVocabulary) -> dict[int, int]:
    """Controls that mean what a token of the base means."""
    found = {}
    for name, key in (("bos", "bos_token_id"), ("end", "eos_token_id"), ("pad", "pad_token_id")):
        old = getattr(model.config, key, None)
        old = old[0] if isinstance(old, list) and old else old
        if isinstance(old, int) and 0 <= old < vocabulary.text_size:
            found[vocabulary.control(name)] = old
    return found


def _name_ends(model: Any, vocabulary: JointVocabulary) -> None:
    """Begin, end and padding are ours; a base's own defaults of sampling do not apply to our turns."""
    from transformers import GenerationConfig

    ids = {
        f"{role}_token_id": vocabulary.control(name) for role, name in (("bos", "bos"), ("eos", "end"), ("pad", "pad"))
    }
    for key, value in ids.items():
        setattr(model.config, key, value)
    model.generation_config = GenerationConfig(**ids)


def _origin(model: Any, vocabulary: JointVocabulary) -> str:
    """A hash of the row that all codes start with, as long as nothing was trained, and of the tokenizer's size."""
    row: Tensor = model.get_input_embeddings().weight[vocabulary.new_ids.stop - 1].detach().float().cpu()
    return hashlib.sha256(row.numpy().tobytes() + str(vocabulary.text_size).encode()).hexdigest()[:16]


def _read(base: str | Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        # safetensors alone: other weights are pickles, which can run code
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise _no_base(base, error) from error
    return model.eval()


def _no_base(base: str | Path, error: Exception) -> UsageError:
    why = " ".join(str(error).split())[:200]
    return UsageError(
        f"expected a causal language model with safetensors weights, as a folder or an id on the Hugging Face hub; "
        f"got {str(base)!r}: {why}"
    )

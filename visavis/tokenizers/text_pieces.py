"""Where text becomes ids: the small protocol behind the joint vocabulary, and our own SentencePiece text model.

The other implementation, for the tokenizer of any Hugging Face causal model, is `base_pieces`. To add one write a class
with the methods of `TextPieces`: it is given single words, already normalised, and need not defend itself against
control strings otherwise than by never giving ids for which `is_text` is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

__all__ = ["SPACE", "SentencePieces", "TextPieces"]

SPACE: Final = "▁"  # U+2581, as SentencePiece writes the space before a word


class TextPieces(Protocol):
    """The text side of a vocabulary. Every word has its space before it, so that words never share a piece.

    Attributes:
        file: the name under which `save` writes it in a vocabulary's folder.
        size: ids below it belong to the text model (not all of them need be text); controls come from there on.
        unknown: the id of what cannot be written, or None where everything can.
        space: the id of a space alone, or -1.
    """

    file: ClassVar[str]
    size: int
    unknown: int | None
    space: int

    def encode(self, word: str) -> list[int]:
        """A normalised word, with the space before it, as ids of text; [] for ""."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids of text, without a space at its beginning; invalid bytes become U+FFFD."""

    def piece(self, id_: int) -> str:
        """A piece, with U+2581 for its spaces; bytes that are no character alone as `<0xE2>`."""

    def is_text(self, id_: int) -> bool:
        """Whether text can hold the id: neither a special token of the text model nor beyond it."""

    def is_byte(self, id_: int) -> bool:
        """Whether the id of a text piece stands for bytes that are no character alone."""

    def starts_word(self, id_: int) -> bool:
        """Whether the id of a text piece begins with a space."""

    def save(self, folder: Path, names: Sequence[str]) -> None:
        """Write what the class reads again, and a Hugging Face tokenizer that has `names` as special tokens."""


class SentencePieces:
    """The default's own text pieces: SentencePiece BPE with byte fallback and split digits.

    Args:
        model: a serialised SentencePiece model.
    """

    file: ClassVar[str] = "text.model"

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size: int = self.processor.vocab_size()
        self.unknown: int | None = 0
        self.space = int(self.processor.piece_to_id(SPACE)) or -1

    def encode(self, word: str) -> list[int]:
        """See `TextPieces`."""
        return list(self.processor.encode(word))

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextPieces`."""
        return str(self.processor.decode(list(ids)))

    def piece(self, id_: int) -> str:
        """See `TextPieces`."""
        return str(self.processor.id_to_piece(id_))

    def is_text(self, id_: int) -> bool:
        """See `TextPieces`."""
        return 0 <= id_ < self.size

    def is_byte(self, id_: int) -> bool:
        """See `TextPieces`."""
        return bool(self.processor.is_byte(id_))

    def starts_word(self, id_: int) -> bool:
        """See `TextPieces`."""
        return self.piece(id_).startswith(SPACE)

    def save(self, folder: Path, names: Sequence[str]) -> None:
        """See `TextPieces`."""
        from visavis.tokenizers.hugging_face import save_sentencepieces

        (folder / self.file).write_bytes(self.model)
        save_sentencepieces(self, names, folder)

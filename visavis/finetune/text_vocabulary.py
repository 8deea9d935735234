"""Training of the text pieces: SentencePiece BPE with byte fallback and split digits.

Pieces are few (4,096), because a small model pays for every row of its vocabulary. The same texts give the same pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Final

from visavis.errors import TextError
from visavis.tokenizers.vocabulary import JointVocabulary, normalise

__all__ = ["TEXT_SIZE", "train_text_vocabulary"]

TEXT_SIZE: Final = 4096


def train_text_vocabulary(texts: Iterable[str], path: str | Path, size: int = TEXT_SIZE) -> JointVocabulary:
    """Learn `size` text pieces from `texts` and save the joint vocabulary in the folder `path`.

    Args:
        texts: one sentence or line each; repeat what must become short.
        path: folder to write into.
        size: pieces, the 256 bytes included.
    Raises:
        TextError: the texts hold too few different words for so many pieces.
    """
    import sentencepiece

    lines = [line for text in texts if (line := normalise(text))]
    model = BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",  # `normalise` has done NFKC
            add_dummy_prefix=True,
            remove_extra_whitespaces=True,
            character_coverage=0.9999,
            max_sentence_length=16384,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TextError(
            f"expected texts with words enough for {size} pieces, got {len(lines)} lines: {error}"
        ) from error
    vocabulary = JointVocabulary(model.getvalue())
    vocabulary.save(path)
    return vocabulary

"""Training of the text pieces: SentencePiece BPE with byte fallback and split digits.

Pieces are few (4,096), because a small model pays for every row of its vocabulary. The same texts give the same pieces.

    python -m visavis.finetune.text_vocabulary OUT FILE...

learns from corpora of turns (.jsonl), conversations (.json with "message" fields) and lines of other text (YAML).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from visavis.errors import TextError
from visavis.tokenizers.vocabulary import JointVocabulary, normalise

__all__ = ["TEXT_SIZE", "corpus_texts", "train_text_vocabulary"]

TEXT_SIZE: Final = 4096


def corpus_texts(paths: Iterable[Path], most: int = 20) -> Iterator[str]:
    """Every text in corpora of turns (JSON lines), each at most `most` times, so that templates do not rule."""
    seen: Counter[str] = Counter()
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for line in file:
                for text in _strings(json.loads(line)):
                    seen[text] += 1
                    if seen[text] <= most:
                        yield text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


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


def _messages(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "message" and isinstance(inner, str):
                yield inner
            else:
                yield from _messages(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _messages(inner)


def _main(out: Path, files: list[Path]) -> None:
    from visavis.retrieval.lexicon import load_lexicon

    texts = list(corpus_texts([path for path in files if path.suffix == ".jsonl"], most=1))
    for path in files:
        if path.suffix == ".json":
            texts += _messages(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix != ".jsonl":
            texts += 3 * path.read_text(encoding="utf-8").splitlines()
    for gloss, gesture in load_lexicon().items():
        texts += 200 * [gloss, *(f"{name}=0.5" for name in gesture.params)]
    vocabulary = train_text_vocabulary(texts, out)
    words = sum(len(text.split()) for text in texts)
    pieces = sum(len(vocabulary.encode_text(text)) for text in texts)
    print(f"{len(texts)} texts, {words} words, {pieces / words:.3f} pieces a word")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])

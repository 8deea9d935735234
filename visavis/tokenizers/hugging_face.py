"""Our own text pieces as a Hugging Face tokenizer: the same ids for the same text, loadable by AutoTokenizer.

Controls, cues and motion are added special tokens, which that tokenizer does not look for in text
(`split_special_tokens`): text from outside stays text there too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from visavis.tokenizers.text_pieces import SentencePieces

__all__ = ["save_sentencepieces", "save_tokenizer_config"]


def save_sentencepieces(text: SentencePieces, names: Sequence[str], folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `folder`; `names` follow the pieces."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers
    from tokenizers.models import BPE

    from visavis.tokenizers.vocabulary import _IGNORABLE

    pieces = [text.piece(id_) for id_ in range(text.size)]
    tokenizer = Tokenizer(
        BPE(
            {piece: id_ for id_, piece in enumerate(pieces)},
            _merges(text, pieces),
            unk_token=pieces[0],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    ignorable = _IGNORABLE.encode("ascii").decode("unicode_escape")
    tokenizer.normalizer = normalizers.Sequence(
        [  # `vocabulary.normalise`, then SentencePiece's way to write spaces
            normalizers.Replace("▁", "_"),
            normalizers.Replace(Regex("[\\s\x1c-\x1f\x85]"), " "),
            normalizers.Replace(Regex(f"[\\p{{Cc}}\\p{{Cf}}\\p{{Co}}{ignorable}]"), ""),
            normalizers.NFKC(),
            normalizers.Replace(Regex("\\s+"), " "),
            normalizers.Strip(),
            normalizers.Prepend("▁"),
            normalizers.Replace(" ", "▁"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_tokenizer_config(folder, names, pieces[0], model_max_length=640)


def save_tokenizer_config(folder: Path, names: Sequence[str], unknown: str | None, **more: object) -> None:
    """Write tokenizer_config.json: our controls begin, end and pad; special tokens are not sought in text."""
    pad, bos, end = names[:3]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": end,
        "pad_token": pad,
        **({} if unknown is None else {"unk_token": unknown}),
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        **more,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _merges(text: SentencePieces, pieces: list[str]) -> list[tuple[str, str]]:
    """BPE merges that do what SentencePiece does: pieces are made in the order of their ids."""
    known = {
        piece: id_ for id_, piece in enumerate(pieces) if id_ > 0 and not text.is_byte(id_)
    }  # 0 is the unknown piece
    return [
        (piece[:cut], piece[cut:])
        for piece in sorted(known, key=known.__getitem__)
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]

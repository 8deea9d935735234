"""The text pieces of any Hugging Face model: its own tokenizer, in which nothing that is typed can become a control.

A `tokenizer.json` (format of the library `tokenizers`) holds a text model and added tokens. Added tokens are looked for
in text before the text model sees it: that is how `<|im_end|>` in a message ends a message. Here text is encoded with a
copy of the tokenizer that has no added tokens at all, whose text model does not know their names either (a unigram
model would find `</s>` among its pieces), and the ids are checked afterwards. So neither the controls that visavis
adds nor the special tokens of the base can come from text, after whatever normalisation the base has.

Both families are understood: SentencePiece (U+2581 before a word, bytes as `<0x41>`) and byte-level BPE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from visavis.errors import FileFormatError, UsageError
from visavis.tokenizers.text_pieces import SPACE

__all__ = ["BasePieces"]

_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>")
_PROBES: Final = ("a", "Hello", "it")


class BasePieces:
    """Text pieces of the tokenizer of a base.

    Args:
        definition: the text of a tokenizer.json.
        size: ids of the base, where controls were added to it; None: all are the base's.
    Attributes:
        added: what was added to the base, in the order of ids.
    Raises:
        FileFormatError: the text is not a tokenizer.
        UsageError: the tokenizer does not keep the spaces between words.
    """

    file: ClassVar[str] = "tokenizer.json"

    def __init__(self, definition: str, size: int | None = None) -> None:
        from tokenizers import Tokenizer

        try:
            raw: dict[str, Any] = json.loads(definition)
            self._raw = raw
            model = _table(raw["model"])
            added = {int(token["id"]): str(token["content"]) for token in raw["added_tokens"]}
            self.added = [] if size is None else [added[id_] for id_ in sorted(added) if id_ >= size]
            if size is not None:
                added = {id_: content for id_, content in added.items() if id_ < size}
            self.size = 1 + max(*model, *added) if size is None else size
            self.unknown = _unknown(raw["model"], model)
            self._tokens = model | added
            self._text = set(model) - {id_ for id_ in added if id_ != self.unknown}
            self._tokenizer = Tokenizer.from_str(json.dumps(_disarmed(raw, set(model) - self._text)))
        except Exception as error:  # `tokenizers` raises bare Exception
            why = " ".join(str(error).split())[:200]
            raise FileFormatError(
                f"expected the tokenizer.json of a model, got {type(error).__name__}: {why}"
            ) from error
        self._bytes = _byte_alphabet() if '"ByteLevel"' in json.dumps([raw["pre_tokenizer"], raw["decoder"]]) else None
        self._mark = "Ġ" if self._bytes else SPACE
        self._before = self._find_before()
        self.space = next((id_ for id_ in self._text if self._tokens[id_] == self._mark), -1)

    def _find_before(self) -> str:
        """What stands before a word so that its first piece has a space: nothing where the tokenizer adds it."""
        for before in (" ", ""):
            if all(self._begins(before + word) for word in _PROBES):
                return before
        raise UsageError(
            "expected a tokenizer that writes the space before a word into its pieces (SentencePiece or byte-level "
            f"BPE); this one makes {self._tokenizer.encode(' Hello', add_special_tokens=False).tokens} of ' Hello': "
            "choose another base"
        )

    def _begins(self, text: str) -> bool:
        tokens = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return bool(tokens) and "".join(tokens)[:1] == self._mark and "".join(tokens)[1:2] != self._mark

    def encode(self, word: str) -> list[int]:
        """See `TextPieces`."""
        return list(self._tokenizer.encode(self._before + word, add_special_tokens=False).ids) if word else []

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextPieces`."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False)).removeprefix(" ")

    def piece(self, id_: int) -> str:
        """See `TextPieces`; special tokens of the base by their own name."""
        token = self._tokens.get(id_, f"<unused {id_}>")
        if self._bytes is None or id_ not in self._text:
            return token
        try:
            data = bytes(self._bytes[character] for character in token)
        except KeyError:  # a token that is not in the byte alphabet stands for itself
            return token
        try:
            return data.decode("utf-8").replace(" ", SPACE)
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in data)

    def is_text(self, id_: int) -> bool:
        """See `TextPieces`."""
        return id_ in self._text

    def is_byte(self, id_: int) -> bool:
        """See `TextPieces`."""
        if self._bytes is None:
            return _BYTE.fullmatch(self._tokens[id_]) is not None
        return id_ in self._broken

    @cached_property
    def _broken(self) -> frozenset[int]:
        """Byte-level pieces that are no whole characters."""
        return frozenset(id_ for id_ in self._text if re.fullmatch(f"(?:{_BYTE.pattern})+", self.piece(id_)))

    def starts_word(self, id_: int) -> bool:
        """See `TextPieces`."""
        return self._tokens[id_].startswith(self._mark)

    @property
    def names(self) -> frozenset[str]:
        """Everything that the base's own ids are called."""
        return frozenset(self._tokens.values())

    def definition(self, names: Sequence[str]) -> str:
        """The tokenizer.json of the base with `names` as further special tokens, ids from `size` on.

        What frames a text (a leading `<s>`, say) is left out: the turn language says what a sequence begins with.
        """
        own = [token for token in self._raw["added_tokens"] if int(token["id"]) < self.size]
        form = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        ours = [{"id": self.size + place, "content": name, **form} for place, name in enumerate(names)]
        whole = self._raw | {"added_tokens": own + ours, "post_processor": None, "truncation": None, "padding": None}
        return json.dumps(whole, ensure_ascii=False)

    def save(self, folder: Path, names: Sequence[str]) -> None:
        """See `TextPieces`."""
        from visavis.tokenizers.hugging_face import save_tokenizer_config

        (folder / self.file).write_text(self.definition(names), encoding="utf-8")
        unknown = None if self.unknown is None else self._tokens[self.unknown]
        save_tokenizer_config(folder, names, unknown)


def _table(model: dict[str, Any]) -> dict[int, str]:
    """The pieces of a text model by id."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        return {int(id_): str(token) for token, id_ in vocabulary.items()}
    return {id_: str(token) for id_, (token, _) in enumerate(vocabulary)}


def _unknown(model: dict[str, Any], table: dict[int, str]) -> int | None:
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    name = model.get("unk_token")
    return next((id_ for id_, token in table.items() if token == name), None) if name else None


def _disarmed(raw: dict[str, Any], special: set[int]) -> dict[str, Any]:
    """The tokenizer without added tokens, whose text model has other names for the `special` ids.

    The new names hold U+0000, which no text has that was normalised.
    """
    model = dict(raw["model"])
    merged = {"".join(pair) if isinstance(pair, list) else pair.replace(" ", "") for pair in model.get("merges", ())}

    def renamed(id_: int, token: str) -> str:
        return f"\0{id_}\0" if id_ in special and token not in merged else token

    if isinstance(model["vocab"], dict):
        model["vocab"] = {renamed(id_, token): id_ for token, id_ in model["vocab"].items()}
    else:
        model["vocab"] = [[renamed(id_, token), score] for id_, (token, score) in enumerate(model["vocab"])]
    if model.get("dropout"):
        model["dropout"] = None
    nothing: dict[str, Any] = {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return raw | nothing | {"model": model}


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level BPE writes for bytes (Radford et al. 2019): printable ones for themselves."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}

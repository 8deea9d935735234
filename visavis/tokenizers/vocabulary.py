"""One vocabulary for text, controls, cues and motion.

    0 .. text_size            text pieces (SentencePiece BPE, byte fallback, digits split)
    then                      controls: `<|bos|>`, `<|gesture|>`, `<|joy|>`, `<|i7|>`, `<|s3|>`, ...
    then                      16 cues: `<|cue_3|>`
    then, part by part        motion codes: `<|core_017|>`, `<|left_401|>`, `<|right_088|>`
    then                      unused, up to a multiple of 64

Controls, cues and motion exist only by id: text goes through SentencePiece alone, which does not know their names,
so nothing that a person types can become one. Text is normalised first (`normalise`): NFKC, invisible and control
characters removed, white space collapsed. Words never share a piece, so the encoding of a text is that of its words
in a row. This module does not know what a sequence means: that is `turn_language`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from visavis.emotion import EMOTIONS, INTENSITY_LEVELS
from visavis.errors import FileFormatError, TextError, TokenError

__all__ = ["CONTROLS", "CUE_COUNT", "JointVocabulary", "default_folder", "normalise"]

CUE_COUNT: Final = 16
CONTROLS: Final = (
    *("pad", "bos", "end", "reply", "act", "speak", "listen", "now"),
    *("persona", "card", "user", "agent", "say", "candidate", "unfelt"),
    *("gesture", "/gesture", "arg", "quote", "/quote"),
    *EMOTIONS,
    *(f"i{level}" for level in range(INTENSITY_LEVELS)),
    *(f"s{level}" for level in range(10)),
    *(f"reserved_{number}" for number in range(16)),
)
MODEL_FILE: Final = "text.model"
MANIFEST_FILE: Final = "vocabulary.json"

# Characters that draw nothing and could hide a word from a reader: those of the Unicode property
# Default_Ignorable_Code_Point that are not of the general categories Cc, Cf, Cs, Co.
_IGNORABLE: Final = r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef"
_IGNORED: Final = re.compile(f"[{_IGNORABLE}]")


def normalise(text: str) -> str:
    """The form of a text that is encoded: NFKC, nothing invisible, single spaces, none at the ends.

    U+2581, which SentencePiece writes for a space, becomes an underscore.
    """
    text = " ".join(text.replace("▁", "_").split())
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    return " ".join(unicodedata.normalize("NFKC", _IGNORED.sub("", text)).split())


def default_folder() -> Path:
    """The folder of the shipped planner, which holds the vocabulary too."""
    return Path(__file__).parents[1] / "models" / "planner"


class JointVocabulary:
    """Text, controls, cues and motion codes as ids.

    Args:
        text_model: a serialised SentencePiece model.
        parts: the codec's parts, in the order of a step.
        codes: codes per part.
    """

    def __init__(self, text_model: bytes, parts: Sequence[str] = ("core", "left", "right"), codes: int = 512) -> None:
        import sentencepiece

        self.text_model, self.parts, self.codes = text_model, tuple(parts), codes
        self._sentencepiece = sentencepiece.SentencePieceProcessor(model_proto=text_model)
        self.text_size: int = self._sentencepiece.vocab_size()
        self._cue_base = self.text_size + len(CONTROLS)
        self._motion_base = self._cue_base + CUE_COUNT
        used = self._motion_base + len(self.parts) * codes
        self.size = -(-used // 64) * 64
        self.names: tuple[str, ...] = (
            *(f"<|{name}|>" for name in CONTROLS),
            *(f"<|cue_{cue}|>" for cue in range(CUE_COUNT)),
            *(f"<|{part}_{code:03d}|>" for part in self.parts for code in range(codes)),
            *(f"<|unused_{number}|>" for number in range(self.size - used)),
        )
        self._controls = {name: self.text_size + place for place, name in enumerate(CONTROLS)}
        self._emotions = {self._controls[name]: name for name in EMOTIONS}
        self._levels = {self._controls[f"i{level}"]: level for level in range(INTENSITY_LEVELS)}
        self._word = lru_cache(maxsize=65536)(self._encode_word)

    @classmethod
    def default(cls) -> JointVocabulary:
        """The shipped vocabulary."""
        return _load(str(default_folder()))

    @classmethod
    def load(cls, folder: str | Path) -> JointVocabulary:
        """Read what `save` wrote."""
        folder = Path(folder)
        try:
            manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            vocabulary = cls((folder / MODEL_FILE).read_bytes(), manifest["parts"], manifest["codes"])
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(
                f"expected a vocabulary ({MANIFEST_FILE}, {MODEL_FILE}) in {folder}, got {error!r}: "
                "give a folder that `visavis train planner` wrote"
            ) from error
        if manifest["size"] != vocabulary.size or tuple(manifest["controls"]) != CONTROLS:
            raise FileFormatError(
                f"the vocabulary in {folder} has {manifest['size']} ids, this version of visavis makes "
                f"{vocabulary.size} of it: train the planner again"
            )
        return vocabulary

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary, and a Hugging Face tokenizer with the same ids, into `folder`."""
        from visavis.tokenizers.hugging_face import save_tokenizer

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self.text_model)
        manifest = {
            "version": 1,
            "size": self.size,
            "text_size": self.text_size,
            "parts": self.parts,
            "codes": self.codes,
            "controls": CONTROLS,
        }
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        save_tokenizer(self, folder)

    def encode_text(self, text: str) -> list[int]:
        """Text as ids of text pieces only, whatever it spells; empty for text without anything visible."""
        ids = [id_ for word in text.split() for id_ in self._word(word)]
        if any(not 0 <= id_ < self.text_size for id_ in ids):
            raise TextError(f"text became ids beyond {self.text_size}: the text model is not the vocabulary's own")
        return ids

    def encode_words(self, text: str) -> list[tuple[int, int, list[int]]]:
        """Every word of `text.split()` as (start, end, ids); start and end are offsets into `text` as given.

        A word of invisible characters has no ids. The ids in a row are `encode_text(text)`.
        """
        return [(match.start(), match.end(), list(self._word(match.group()))) for match in _words(text)]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._sentencepiece.encode(normalise(word)))

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text of text ids; invalid bytes become U+FFFD. Raises TokenError for any other id."""
        ids = list(ids)
        for id_ in ids:
            if not self.is_text(id_):
                raise TokenError(f"expected ids of text, below {self.text_size}; got {id_}: decode it with `show`")
        return str(self._sentencepiece.decode(ids)) if ids else ""

    def show(self, ids: Sequence[int]) -> str:
        """A readable form of any ids, for people only: it is never parsed."""
        shown, text = "", list[int]()
        for id_ in [*ids, -1]:
            if self.is_text(id_):
                text.append(id_)
                continue
            shown += " " + self.decode_text(text) if text else ""
            text = []
            shown += self.name(id_) if id_ >= 0 else ""
        return shown

    def piece(self, id_: int) -> str:
        """A text id as SentencePiece writes it, with U+2581 for the space before a word."""
        return str(self._sentencepiece.id_to_piece(id_))

    def is_text(self, id_: int) -> bool:
        """Whether the id is a text piece."""
        return 0 <= id_ < self.text_size

    def is_byte(self, id_: int) -> bool:
        """Whether the id is a text piece that stands for one byte."""
        return self.is_text(id_) and bool(self._sentencepiece.is_byte(id_))

    def starts_word(self, id_: int) -> bool:
        """Whether the id is a text piece that begins a word."""
        return self.is_text(id_) and self.piece(id_).startswith("▁")

    def control(self, name: str) -> int:
        """The id of a control, by the name between `<|` and `|>`."""
        try:
            return self._controls[name]
        except KeyError:
            raise TokenError(f"expected a control, one of {', '.join(CONTROLS)}; got {name!r}") from None

    def cue(self, cue: int) -> int:
        """The id of a cue."""
        if not 0 <= cue < CUE_COUNT:
            raise TokenError(f"expected a cue in 0..{CUE_COUNT - 1}; got {cue}")
        return self._cue_base + cue

    def motion(self, part: str, code: int) -> int:
        """The id of a motion code."""
        if part not in self.parts or not 0 <= code < self.codes:
            raise TokenError(
                f"expected a part of {', '.join(self.parts)} and a code below {self.codes}; got {part!r}, {code}: "
                "were the codes made by another codec?"
            )
        return self._motion_base + self.parts.index(part) * self.codes + int(code)

    def motion_range(self, part: str) -> range:
        """All ids of a part, in the order of its codes."""
        start = self.motion(part, 0)
        return range(start, start + self.codes)

    def emotion_of(self, id_: int) -> str | None:
        """The emotion that an id names, or None."""
        return self._emotions.get(id_)

    def level_of(self, id_: int) -> int | None:
        """The intensity level, 0..10, that an id names, or None."""
        return self._levels.get(id_)

    def cue_of(self, id_: int) -> int | None:
        """The cue of an id, or None."""
        return id_ - self._cue_base if self._cue_base <= id_ < self._motion_base else None

    def motion_of(self, id_: int) -> tuple[str, int] | None:
        """(part, code) of an id, or None."""
        place, code = divmod(id_ - self._motion_base, self.codes)
        return (self.parts[place], code) if 0 <= place < len(self.parts) else None

    def name(self, id_: int) -> str:
        """An id's name: a text piece, or the control with its brackets."""
        if not 0 <= id_ < self.size:
            raise TokenError(f"expected an id below {self.size}; got {id_}: was it made by another vocabulary?")
        return self.piece(id_) if id_ < self.text_size else self.names[id_ - self.text_size]


@lru_cache(maxsize=4)
def _load(folder: str) -> JointVocabulary:
    return JointVocabulary.load(folder)


def _words(text: str) -> list[re.Match[str]]:
    """The words of `str.split`, as matches, so that their places are known."""
    # `str.split` also divides at U+001C..U+001F and U+0085, and so does \s of `re` on text
    return list(re.finditer(r"\S+", text))

"""One vocabulary for text, controls, cues and motion.

    0 .. text_size            text pieces: our own SentencePiece model's, or those of a base and its special tokens
    then                      controls: `<|bos|>`, `<|gesture|>`, `<|joy|>`, `<|i7|>`, `<|s3|>`, ...
    then                      16 cues: `<|cue_3|>`
    then, part by part        motion codes: `<|core_017|>`, `<|left_401|>`, `<|right_088|>`
    then                      unused, up to a multiple of 64 (or to the rows that the base has)

Controls, cues and motion exist only by id: text goes through the text pieces alone, which do not know their names,
so nothing that a person types can become one. Text is normalised first (`normalise`): NFKC, invisible and control
characters removed, white space collapsed. Words never share a piece, so the encoding of a text is that of its words
in a row. This module does not know what a sequence means (that is `turn_language`), nor how text is cut into pieces
(that is `TextPieces`, of which there are two: `text_pieces` and `base_pieces`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import EMOTIONS, INTENSITY_LEVELS
from visavis.errors import FileFormatError, TextError, TokenError
from visavis.tokenizers.base_pieces import BasePieces
from visavis.tokenizers.text_pieces import SPACE, SentencePieces, TextPieces

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
MANIFEST_FILE: Final = "vocabulary.json"
FIRST_CUES: Final = 11  # of `turn_language.CUES`, which models knew whose manifest does not say how many
KNOWN_CUES: Final = 13
# For bases that call tokens of their own `<|end|>` or `<|user|>`, ours are called `<|visavis:end|>` and so on.
OTHER_PREFIX: Final = "visavis:"
MOST_IDS: Final = 2**22
CACHED_WORD: Final = 64  # longer words are hardly met twice, and may be very long

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
        text: the text pieces, or a serialised SentencePiece model.
        parts: the codec's parts, in the order of a step.
        codes: codes per part.
        rows: ids that the model has rows for at least (bases have spare ones).
        prefix: what stands before the names of controls, cues and codes, between `<|` and the name.
    """

    def __init__(
        self,
        text: TextPieces | bytes,
        parts: Sequence[str] = ("core", "left", "right"),
        codes: int = 512,
        rows: int = 0,
        prefix: str = "",
    ) -> None:
        self.text: TextPieces = SentencePieces(text) if isinstance(text, bytes) else text
        self.parts, self.codes, self.prefix = tuple(parts), codes, prefix
        self.text_size = self.text.size
        self.cues = KNOWN_CUES  # that the model has learnt
        self._cue_base = self.text_size + len(CONTROLS)
        self._motion_base = self._cue_base + CUE_COUNT
        used = self._motion_base + len(self.parts) * codes
        self.new_ids = range(self.text_size, -(-used // 64) * 64)
        self.size = max(self.new_ids.stop, rows)
        self.names: tuple[str, ...] = (
            *(f"<|{prefix}{name}|>" for name in CONTROLS),
            *(f"<|{prefix}cue_{cue}|>" for cue in range(CUE_COUNT)),
            *(f"<|{prefix}{part}_{code:03d}|>" for part in self.parts for code in range(codes)),
            *(f"<|{prefix}unused_{number}|>" for number in range(self.size - used)),
        )
        self._controls = {name: self.text_size + place for place, name in enumerate(CONTROLS)}
        self._emotions = {self._controls[name]: name for name in EMOTIONS}
        self._levels = {self._controls[f"i{level}"]: level for level in range(INTENSITY_LEVELS)}
        self._word = lru_cache(maxsize=65536)(self._encode_word)

    @classmethod
    def on(
        cls, tokenizer: str, parts: Sequence[str] = ("core", "left", "right"), codes: int = 512, rows: int = 0
    ) -> JointVocabulary:
        """The vocabulary of a base with our controls and motion after its own ids.

        Args:
            tokenizer: the text of the base's tokenizer.json (`Tokenizer.to_str()`).
            parts: of the codec.
            codes: per part.
            rows: of the base's embedding.
        """
        text = BasePieces(tokenizer)
        plain = cls(text, parts, codes, rows)
        return plain if text.names.isdisjoint(plain.names) else cls(text, parts, codes, rows, OTHER_PREFIX)

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
            for key in ("size", "text_size", "codes"):  # no length out of a file is trusted
                if not isinstance(manifest[key], int) or not 0 < manifest[key] <= MOST_IDS:
                    raise ValueError(f"{key} is {manifest[key]!r}")
            text: TextPieces
            if manifest.get("text", SentencePieces.file) == BasePieces.file:
                text = BasePieces((folder / BasePieces.file).read_text(encoding="utf-8"), manifest["text_size"])
            else:
                text = SentencePieces((folder / SentencePieces.file).read_bytes())
            rows = manifest["size"] if isinstance(text, BasePieces) else 0
            vocabulary = cls(text, manifest["parts"], manifest["codes"], rows, manifest.get("prefix", ""))
            vocabulary.cues = int(manifest.get("cues", FIRST_CUES))
            if isinstance(text, BasePieces) and text.added != list(vocabulary.names[: len(vocabulary.new_ids)]):
                raise ValueError(f"{BasePieces.file} does not hold the names of its {len(vocabulary.new_ids)} new ids")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"expected a vocabulary ({MANIFEST_FILE} and its text pieces) in {folder}, got {error!r}: "
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
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = {
            "version": 1,
            "size": self.size,
            "text_size": self.text_size,
            "parts": self.parts,
            "codes": self.codes,
            "cues": self.cues,
            "controls": CONTROLS,
        }
        if not isinstance(self.text, SentencePieces):
            manifest |= {"text": self.text.file, "prefix": self.prefix}
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        self.text.save(folder, self.names[: len(self.new_ids)])

    @property
    def beats(self) -> bool:
        """Whether the model has learnt the cues that say which stresses to beat."""
        return self.cues > FIRST_CUES

    @property
    def text_model(self) -> bytes:
        """The serialised SentencePiece model of our own text pieces; TokenError for those of a base."""
        if not isinstance(self.text, SentencePieces):
            raise TokenError(f"expected our own text pieces; those of this vocabulary are a base's {self.text.file}")
        return self.text.model

    def encode_text(self, text: str) -> list[int]:
        """Text as ids of text pieces only, whatever it spells; empty for text without anything visible."""
        return [id_ for word in text.split() for id_ in self._pieces(word)]

    def encode_words(self, text: str) -> list[tuple[int, int, list[int]]]:
        """Every word of `text.split()` as (start, end, ids); start and end are offsets into `text` as given.

        A word of invisible characters has no ids. The ids in a row are `encode_text(text)`.
        """
        return [(match.start(), match.end(), list(self._pieces(match.group()))) for match in _words(text)]

    def _pieces(self, word: str) -> tuple[int, ...]:
        return self._word(word) if len(word) <= CACHED_WORD else self._encode_word(word)

    def _encode_word(self, word: str) -> tuple[int, ...]:
        # what NFKC makes of one word may be several
        ids = tuple(id_ for part in normalise(word).split() for id_ in self.text.encode(part))
        if not all(map(self.text.is_text, ids)):
            raise TextError(f"text became ids that are no text: the text model is not the vocabulary's own: {ids[:9]}")
        return ids

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text of text ids; invalid bytes become U+FFFD. Raises TokenError for any other id."""
        ids = list(ids)
        for id_ in ids:
            if not self.is_text(id_):
                raise TokenError(f"expected ids of text, below {self.text_size}; got {id_}: decode it with `show`")
        return self.text.decode(ids) if ids else ""

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
        return self.text.piece(id_)

    def is_text(self, id_: int) -> bool:
        """Whether the id is a text piece."""
        return self.text.is_text(id_)

    def is_byte(self, id_: int) -> bool:
        """Whether the id is a text piece that stands for bytes which are no character alone."""
        return self.is_text(id_) and self.text.is_byte(id_)

    def starts_word(self, id_: int) -> bool:
        """Whether the id is a text piece that begins a word."""
        return self.is_text(id_) and self.text.starts_word(id_)

    @property
    def space(self) -> int:
        """The id of a space alone, as it stands before a digit in many text models; -1 if there is none."""
        return self.text.space

    @cached_property
    def word_starts(self) -> NDArray[np.int64]:
        """Pieces that a model may begin a word with: whole characters in normal form, after one space."""
        return self._writable(lambda piece: piece.startswith(SPACE) and _normal(piece[1:]))

    @cached_property
    def word_insides(self) -> NDArray[np.int64]:
        """Pieces that a model may go on a word with."""
        return self._writable(lambda piece: piece != "" and _normal(piece))

    @cached_property
    def number_pieces(self) -> NDArray[np.int64]:
        """Pieces that numbers are written with, one character each: digits, a point, a minus."""
        return self._writable(lambda piece: len(piece) == 1 and piece in "0123456789.-")

    def _writable(self, fits: Callable[[str], bool]) -> NDArray[np.int64]:
        kept = (i for i in range(self.text_size) if self.is_text(i) and i != self.text.unknown)
        return np.array([i for i in kept if not self.text.is_byte(i) and fits(self.text.piece(i))], dtype=np.int64)

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


def _normal(piece: str) -> bool:
    return SPACE not in piece and (
        (piece.isascii() and piece.isprintable() and " " not in piece) or normalise(piece) == piece
    )


@lru_cache(maxsize=4)
def _load(folder: str) -> JointVocabulary:
    return JointVocabulary.load(folder)


def _words(text: str) -> list[re.Match[str]]:
    """The words of `str.split`, as matches, so that their places are known."""
    # `str.split` also divides at U+001C..U+001F and U+0085, and so does \s of `re` on text
    return list(re.finditer(r"\S+", text))

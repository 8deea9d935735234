"""Somebody's own documents: `Agent(knowledge="docs/")` reads them, and RECALL finds what answers a line.

Text and Markdown, cut into passages at headings, paragraphs and sentences. A chat model reads the passages that come
nearest by meaning (MiniLM); the native planner, which quotes, gets their sentences as the facts of cards. Documents are
material to answer from, never instructions: they stand in a place of their own in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from visavis.agent.persona import MAX_FACT_CHARACTERS, Card, Persona
from visavis.agent.recall import variants
from visavis.errors import UsageError
from visavis.retrieval.embedder import Embedder
from visavis.tokenizers.vocabulary import normalise

__all__ = ["Knowledge", "Passage", "Sources", "read_passages", "with_facts"]

Sources = str | Path | Sequence[str | Path]

SUFFIXES: Final = (".md", ".txt")
MAX_FILE_BYTES: Final = 5_000_000
MAX_PASSAGES: Final = 5_000  # about a minute of embedding on one thread
MAX_FACTS: Final = 2_000  # that are compared with every line
PASSAGE_CHARACTERS: Final = 450  # about as much as the embedder reads
NEAR: Final = 0.3  # cosine below which a passage is not about the line


@dataclass(frozen=True)
class Passage:
    """A piece of a document: the heading it stands under, and a few sentences."""

    title: str
    text: str


class Knowledge:
    """Passages, found by meaning."""

    def __init__(self, passages: Sequence[Passage], embedder: Embedder | None = None) -> None:
        self.passages = tuple(passages)
        self._embedder = embedder or Embedder()
        self._vectors = self._embedder.encode([f"{each.title}: {each.text}" for each in self.passages])  # (N, 384)

    def recall(self, line: str, last: str | None = None, k: int = 4) -> list[tuple[Passage, float]]:
        """The passages that fit a line, best first, with their cosines; `last` is what the user said before."""
        if not self.passages:
            return []
        cosines = (self._embedder.encode(variants(line, last)) @ self._vectors.T).max(0)  # (N,)
        best = np.argsort(-cosines, kind="stable")[:k]
        return [(self.passages[place], float(cosines[place])) for place in best if cosines[place] >= NEAR]


def read_passages(sources: Sources) -> tuple[Passage, ...]:
    """Read documents.

    Args:
        sources: folders (searched for .md and .txt), files, or texts; a string with spaces or lines in it that is no
            path is a text.

    Raises:
        UsageError: nothing there, not readable as UTF-8, or too much.
    """
    listed = [sources] if isinstance(sources, (str, Path)) else sources
    if not isinstance(listed, Sequence) or not all(isinstance(one, (str, Path)) for one in listed):
        raise UsageError(f"expected knowledge as folders, files or texts; got {sources!r:.80}")
    passages = [passage for source in listed for passage in _passages_of(source)]
    if len(passages) > MAX_PASSAGES:
        raise UsageError(f"expected at most {MAX_PASSAGES:,} passages of knowledge; got {len(passages):,}: give less")
    if listed and not passages:
        raise UsageError(f"expected text in the knowledge {str(listed[0])[:80]!r}; there is none")
    return tuple(passages)


def with_facts(persona: Persona, passages: Sequence[Passage]) -> Persona:
    """The persona with the sentences of passages as facts of its cards; those too long to be quoted are left out."""
    facts: dict[str, list[str]] = {}
    for passage in passages:
        whole = [s for s in _sentences(passage.text) if len(s) <= MAX_FACT_CHARACTERS and s[-1] in ".!?"]
        facts.setdefault(passage.title, []).extend(whole)
    count = sum(map(len, facts.values()))
    if count > MAX_FACTS:
        raise UsageError(
            f"expected at most {MAX_FACTS:,} sentences of knowledge for the native planner; got {count:,}: "
            "use --planner chat, which reads passages"
        )
    cards = [
        Card(topic=title[:80], facts=tuple(some[start : start + 50]))
        for title, some in facts.items()
        for start in range(0, len(some), 50)
    ]
    # The bound of cards in a persona's file is not meant for documents with many headings.
    return persona.model_copy(update={"cards": (*persona.cards, *cards)})


def _passages_of(source: str | Path) -> list[Passage]:
    if isinstance(source, str) and source.strip() and re.search(r"\s", source) and not _is_there(source):
        return _cut(source, "notes")
    if not str(source).strip():
        raise UsageError("expected knowledge as a folder, a file or a text; got an empty one")
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise UsageError(f"expected {' or '.join(SUFFIXES)} files in the folder {path}; there are none")
        return [passage for file in files for passage in _cut(_read(file), file.stem)]
    if not path.is_file():
        raise UsageError(f"expected knowledge as a folder, a file or a text; {str(source)[:120]!r} is none of them")
    return _cut(_read(path), path.stem)


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or not one
        return False


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"expected files of at most {MAX_FILE_BYTES:,} bytes; {path} is larger: split it")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"expected UTF-8 text in {path}, got {error!r}") from error


def _cut(text: str, title: str) -> list[Passage]:
    """Passages of a document: under a heading, paragraph by paragraph, no longer than is read."""
    out: list[Passage] = []
    for block in re.split(r"\n\s*\n|(?=^#{1,6} )", text, flags=re.M):
        heading = re.match(r"#{1,6} +(.+?)\s*#*\s*(?:\n|$)", block)
        if heading:
            title, block = normalise(heading[1])[:80] or title, block[heading.end() :]
        current = ""
        for sentence in _sentences(normalise(re.sub(r"^\s*(?:[-*+>]|\d+\.)\s+", "", block, flags=re.M))):
            if current and len(current) + len(sentence) > PASSAGE_CHARACTERS:
                out.append(Passage(title, current))
                current = ""
            current = f"{current} {sentence}".strip()
        if current:
            out.append(Passage(title, current))
    return out


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence]

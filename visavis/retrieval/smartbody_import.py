"""Import of a SmartBody folder: motions, their skeletons, and the map that ties them to what they mean.

The map (`gesture_map.tsv`) has one line for every use of a motion, with columns `motion`, `lexeme`, `type` and `hand`.
Its types become meaning lines by a data file; motions that no line names are left out.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from visavis.errors import FileFormatError, UsageError, VisavisError
from visavis.retrieval.clips import ClipStore, slug_of
from visavis.retrieval.enrol import clip_of, find_twins
from visavis.tokenizers.codec import MotionCodec

__all__ = ["Imported", "import_smartbody", "read_gesture_map"]

_COLUMNS = ("motion", "lexeme", "type")


@dataclass
class Imported:
    """What became of the motions that the map names.

    Attributes:
        added: clips, by their new names.
        twins: like an earlier clip.
        failed: with the reason.
        absent: have no file; SmartBody's own blends of motions have none.
    """

    added: list[str] = field(default_factory=list)
    twins: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def read_gesture_map(path: Path) -> dict[str, tuple[str, str]]:
    """Motion → (lexeme, type), the first use of each.

    Raises:
        FileFormatError: it is not such a table.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise FileFormatError(f"expected gesture_map.tsv in {path.parent}; it cannot be read ({error})") from error
    if not rows or any(column not in rows[0] for column in _COLUMNS):
        raise FileFormatError(f"expected the columns {', '.join(_COLUMNS)} in {path}; they are not there")
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["motion"] and row["lexeme"]:
            found.setdefault(row["motion"], (row["lexeme"], row["type"] or ""))
    return found


def meaning_of(lexeme: str, kind: str) -> str | None:
    """The meaning line of a type of the map, None for one that says nothing."""
    text = (files("visavis.retrieval") / "data" / "smartbody_meanings.yaml").read_text("utf-8")
    meanings: dict[str, str] = yaml.safe_load(text)
    return meanings.get(f"{lexeme} {kind}".strip()) or meanings.get(lexeme)


def import_smartbody(folder: Path, store: ClipStore, codec: MotionCodec, show: bool = False) -> Imported:
    """Add every motion that the map names.

    Args:
        folder: holds `gesture_map.tsv`; motions (`.skm`) and skeletons (`.sk`) lie anywhere below.
        store: where the clips go; one that is there already is not added twice.
        codec: makes the tokens.
        show: whether a bar shows how far it is.

    Raises:
        UsageError: there is no such folder, or nothing in it.
        FileFormatError: the map cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"expected a folder with gesture_map.tsv and motions; {folder} is none")
    uses = read_gesture_map(folder / "gesture_map.tsv")
    motions = {path.stem: path for path in sorted(folder.rglob("*.skm"), reverse=True)}
    wanted = [(name, motions[name]) for name in sorted(uses) if name in motions]
    if not wanted:
        raise UsageError(f"expected motions (.skm) that gesture_map.tsv names below {folder}; found none")
    done = Imported(absent=sorted(uses.keys() - motions.keys()))
    from tqdm import tqdm

    for name, path in tqdm(wanted, unit="clip", disable=not show or None):
        lexeme, kind = uses[name]
        meaning = meaning_of(lexeme, kind)
        if meaning is None:
            done.failed[name] = f"nothing is known of the type {lexeme} {kind}"
            continue
        try:
            clip = clip_of(path, meaning, codec, gloss=f"{kind or lexeme} {slug_of(name.split('_')[-1])}".lower())
            if find_twins(clip, store):
                done.twins.append(name)
                continue
            done.added.append(store.add(clip).name)
        except VisavisError as error:
            done.failed[name] = str(error)
    return done

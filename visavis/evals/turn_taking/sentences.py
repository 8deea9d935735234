"""What is said in the scenes, and by which voices: three splits that share neither sentence nor voice.

Training and development take what people ask and tell in the corpora that this project wrote (split by a hash of the
sentence); the test takes the frozen held-out files, whose authors saw no corpus. Sentences of the test that stand in a
corpus by chance are taken out of it.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from visavis import safe_yaml
from visavis.evals.first_light.table import data_file
from visavis.retrieval.utterances import load_utterances

__all__ = ["AGENT_VOICES", "BACKCHANNELS", "BABBLE_VOICES", "VOICES", "Split", "sentences"]

Split = Literal["train", "dev", "test"]

VOICES: dict[Split, tuple[str, ...]] = {
    "train": (
        "en-us", "en-us+f1", "en-us+m1", "en-us+Alex", "en-us+Annie", "en-us+m3", "en-us+f2", "en+m2", "en-us+Michael",
        "en-gb-scotland+m6",
    ),
    "dev": ("en-us+Andy", "en+f3", "en-us+m4", "en-us+linda", "en-gb-x-rp"),
    "test": ("en+f4", "en-us+m7", "en-us+Alicia", "en-us+steph", "en-us-nyc+m8", "en-029"),
}  # fmt: skip
AGENT_VOICES: dict[Split, tuple[str, ...]] = {
    "train": ("en-us+f5", "en-us+rob"), "dev": ("en-us+belinda", "en-us+ed"), "test": ("en-us+anika", "en-us+zac"),
}  # fmt: skip
BABBLE_VOICES = ("en-us+Denis", "en-us+Andrea", "en-us+paul", "en-us+grandma", "en-us+iven")
# Said while somebody else speaks; the test has two that training has not. espeak-ng spells "mm-hm", so a hum stands in.
BACKCHANNELS: dict[Split, tuple[str, ...]] = {
    "train": ("um hum.", "hmm.", "uh-huh.", "yeah.", "okay.", "right.", "yes, yes.", "I see."),
    "dev": ("um hum.", "hmm.", "uh-huh.", "yeah.", "right.", "sure.", "yep."),
    "test": ("um hum.", "hmm.", "uh-huh.", "yeah.", "okay.", "right.", "oh, really.", "of course."),
}
_WORDS = (4, 16)


def _strings(node: Any, keys: tuple[str, ...]) -> list[str]:
    """All texts under these keys of a tree of YAML."""
    found: list[str] = []
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                found += [value] if isinstance(value, str) else [v for v in value if isinstance(v, str)]
            found += _strings(value, keys)
    elif isinstance(node, list):
        for item in node:
            found += _strings(item, keys)
    return found


def _read(path: Path) -> Any:
    return safe_yaml.load_texts(path.read_text("utf-8"))


def _usable(text: str) -> bool:
    """One sentence, ended as one, of a length that people say."""
    inner = text.strip()[:-1]
    return (
        _WORDS[0] <= len(text.split()) <= _WORDS[1]
        and bool(re.search(r"[.?!]$", text.strip()))
        and not re.search(r"[.?!:;]", inner)
        and text.isascii()
    )


def _key(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


@lru_cache(maxsize=1)
def _test() -> tuple[str, ...]:
    raw = _read(data_file("heldout_personas.yaml"))
    found = _strings(raw, ("ask", "facts", "unknown")) + data_file("say_sentences.txt").read_text("utf-8").splitlines()
    return tuple(dict.fromkeys(text.strip() for text in found))


@lru_cache(maxsize=1)
def _corpus() -> tuple[str, ...]:
    folder = Path(str(files("visavis.finetune") / "replies" / "people"))
    found: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        found += _strings(_read(path), ("says", "asks", "near"))
    found += [utterance.text for utterance in load_utterances()]
    kept = {_key(text) for text in _test()}
    return tuple(dict.fromkeys(text.strip() for text in found if _key(text) not in kept))


@lru_cache(maxsize=6)
def sentences(split: Split, usable: bool = True) -> tuple[str, ...]:
    """The sentences of a split, in a fixed order; `usable` keeps single sentences of 4 to 16 words."""
    if split == "test":
        found = _test()
    else:
        found = tuple(t for t in _corpus() if (zlib.crc32(_key(t).encode()) % 10 == 0) == (split == "dev"))
    return tuple(text for text in found if _usable(text)) if usable else found

"""Motion that no codec learns from, on the default skeleton, by name of the set.

`recordings`: the held-out SmartBody performer. `teacher`: held-out performers and sentences of the teacher. `variants`:
held-out ways to perform the lexicon's gestures, by held-out performers. `BEAT2` and `Bandai-Namco` are other people's
recordings, reported as they are. A set whose data is absent is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from visavis.finetune.codec_corpus import TRAIN_PERFORMERS, held_variant, performer_of, taught
from visavis.finetune.recordings import HELD_PERFORMER, takes
from visavis.motion.files import read_motion
from visavis.motion.motion import Motion
from visavis.motion.retarget import retarget
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform

__all__ = ["NAMES", "OURS", "held_sets"]

OURS = ("recordings", "teacher", "variants")  # the sets that the bounds are about
NAMES = (*OURS, "BEAT2", "Bandai-Namco")
_TURNS = 150
_PERFORMERS = tuple(range(TRAIN_PERFORMERS, TRAIN_PERFORMERS + 4))
_BANDAI_EVERY = 2
_LONGEST_FRAMES = 30 * 60


def _recordings(real: Path) -> list[Motion]:
    return list(takes(real / "smartbody_gestures", HELD_PERFORMER).values())


def _teacher(real: Path) -> list[Motion]:
    return list(taught(_TURNS, "dev"))


def _variants(real: Path) -> list[Motion]:
    lexicon = load_lexicon()
    kept = [(gloss, name) for gloss in lexicon for name in lexicon[gloss].variant_names if held_variant(gloss, name)]
    return [
        perform(lexicon[gloss], performer_of(number), variant=name).motion
        for gloss, name in kept
        for number in _PERFORMERS
    ]


def _beat2(real: Path) -> list[Motion]:
    return [retarget(read_motion(path)) for path in sorted((real / "beat2_scott").glob("*.npz"))]


def _bandai(real: Path) -> list[Motion]:
    paths = sorted((real / "bandai_namco").rglob("*.bvh"))[::_BANDAI_EVERY]
    return [retarget(read_motion(path)) for path in paths]


_MAKE: dict[str, Callable[[Path], list[Motion]]] = {
    "recordings": _recordings,
    "teacher": _teacher,
    "variants": _variants,
    "BEAT2": _beat2,
    "Bandai-Namco": _bandai,
}


def held_sets(real: Path, names: tuple[str, ...] = NAMES) -> dict[str, list[Motion]]:
    """The sets that exist here.

    Args:
        real: folder of the real recordings.
        names: which.
    """
    made = {name: _MAKE[name](real) for name in names}
    return {name: [motion.slice(0, _LONGEST_FRAMES) for motion in motions] for name, motions in made.items() if motions}

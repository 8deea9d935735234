"""Motion that no codec learns from, on the default skeleton, by name of the set.

`recordings`: the held-out SmartBody performer. `teacher`: held-out performers and sentences of the teacher. `variants`:
held-out ways to perform the lexicon's gestures, by held-out performers. `performances`: one more way to perform every
gesture, written by hand for the evaluations and in no lexicon, by held-out performers. `BEAT2` and `Bandai-Namco` are
other people's recordings, reported as they are. A set whose data is absent is left out.

How many codes are ever used is asked of far more of the same kinds (`counted`): 512 codes want many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from visavis.evals.library.performances import ANOTHER, load_performances
from visavis.finetune.codec_corpus import DEV_PERFORMERS, TRAIN_PERFORMERS, held_variant, performer_of, taught
from visavis.finetune.recordings import HELD_PERFORMER, takes
from visavis.motion.files import read_motion
from visavis.motion.motion import Motion
from visavis.motion.retarget import retarget
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import perform

__all__ = ["NAMES", "OURS", "counted", "held_sets"]

OURS = ("recordings", "teacher", "variants", "performances")  # the sets that the bounds are about
NAMES = (*OURS, "BEAT2", "Bandai-Namco")
_TURNS = 150
_PERFORMERS = 4  # that perform each held-out variant
_TIMES = 2  # that a performance is made, each time by another performer
_COUNTED_TURNS = 1500
_COUNTED_TIMES = 8
_BANDAI_EVERY = 2
_LONGEST_FRAMES = 30 * 60


def _recordings(real: Path) -> list[Motion]:
    return list(takes(real / "smartbody_gestures", HELD_PERFORMER).values())


def _teacher(real: Path) -> list[Motion]:
    return list(taught(_TURNS, "dev"))


def _held_out(first: int, last: int) -> Iterator[Motion]:
    """Held-out variants, each by the held-out performers from `first` on."""
    lexicon = load_lexicon()
    for gloss in lexicon:
        for name in lexicon[gloss].variant_names:
            for number in range(first, last) if held_variant(gloss, name) else ():
                yield perform(lexicon[gloss], performer_of(TRAIN_PERFORMERS + number), variant=name).motion


def _variants(real: Path) -> list[Motion]:
    return list(_held_out(0, _PERFORMERS))


def _performed(first: int, last: int) -> Iterator[Motion]:
    """Performances, each by other held-out performers: the `first` to the `last` time."""
    for place, gesture in enumerate(load_performances().values()):
        for number in range(first, last):
            performer = performer_of(TRAIN_PERFORMERS + (7 * place + number) % DEV_PERFORMERS)
            yield perform(gesture, performer, variant=ANOTHER).motion


def _performances(real: Path) -> list[Motion]:
    return list(_performed(0, _TIMES))


def _beat2(real: Path) -> list[Motion]:
    return [retarget(read_motion(path)) for path in sorted((real / "beat2_scott").glob("*.npz"))]


def _bandai(real: Path) -> list[Motion]:
    paths = sorted((real / "bandai_namco").rglob("*.bvh"))[::_BANDAI_EVERY]
    return [retarget(read_motion(path)) for path in paths]


_MAKE: dict[str, Callable[[Path], list[Motion]]] = {
    "recordings": _recordings,
    "teacher": _teacher,
    "variants": _variants,
    "performances": _performances,
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


def counted() -> Iterator[Motion]:
    """More of our own held-out motion, none of it in `held_sets`: turns, variants and performances, by more people."""
    turns = islice(taught(_COUNTED_TURNS, "dev"), _TURNS, None)
    yield from chain(turns, _held_out(_PERFORMERS, DEV_PERFORMERS), _performed(_TIMES, _COUNTED_TIMES))

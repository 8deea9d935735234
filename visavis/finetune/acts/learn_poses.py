"""Make the comparison that `describe` uses: `python -m visavis.finetune.acts.learn_poses [--check | --folds]`.

Every variant of every gesture is performed by several people, as it is and freely changed (`freely`), seen through the
codec's tokens and read as features. Linear discriminants (Fisher 1936) keep the directions in which glosses differ and
neither performers nor variants of one gloss do; there every variant has two: as it is performed, and as it is changed.
What each aspect counts beside them is learnt apart (`learn_aspects`), also from hands with the head and trunk of some
other gesture: variants often have these from their gloss, which people have not.

`--check` leaves one variant of each gloss out (the last), and describes it when somebody unseen performs it; `--folds`
does the same with others among the rest, to choose by.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from visavis.emotion import EMOTIONS
from visavis.finetune.acts.freely import freely
from visavis.finetune.acts.learn_aspects import fit_aspects, means
from visavis.metrics.bootstrap import bootstrap
from visavis.motion.motion import FRAMES_PER_STEP, Motion
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.aspects import aspects_of
from visavis.retrieval.describe import DEFAULT_POSES, PoseIndex, as_tokens_show
from visavis.retrieval.lexicon import Gesture, Lexicon, load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.reading import pose_features, read_motion_table, reading_of
from visavis.tokenizers.codec import MotionCodec

__all__ = ["Rows", "fit", "perform_all", "read_all"]

Array = NDArray[np.float32]

PERFORMERS: Final = 3  # who perform it as it is
FREELY: Final = (9, 10, 16, 17, 18, 19, 20, 40, 60)  # who change it: seeds
UNSEEN: Final = 500  # seeds of performers from here on are for testing
OTHER_HEAD: Final = 1000  # numbers from here on: the performer of number - 1000, head and trunk of another gesture
NUMBERS: Final = (*range(PERFORMERS), OTHER_HEAD + 1, *(-seed for seed in FREELY))  # see `perform_all`
ASKED: Final = (UNSEEN, UNSEEN + 1, OTHER_HEAD + UNSEEN)
TOGETHER: Final = 25  # motions that are read at once
HOME_STEPS: Final = 2  # between two of them
DIRECTIONS: Final = 128
SHRINK: Final = 0.03  # of the variance within, towards the same in all directions
BETWEEN_VARIANTS: Final = 1.0  # how much what differs between variants counts beside what differs between people
SHARPNESS: Final = 16.0  # beside the aspects, which are log-odds by themselves


@dataclass(frozen=True, eq=False)
class Rows:
    """Features (N, D) and aspects (N, A) of performances, with the gloss and the variant of each.

    who (N,): number of the performer, see `perform_all`.
    """

    features: Array
    aspects: Array
    glosses: tuple[str, ...]
    variants: tuple[str, ...]
    who: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        places = np.flatnonzero(keep)
        glosses, variants = tuple(self.glosses[i] for i in places), tuple(self.variants[i] for i in places)
        return Rows(self.features[places], self.aspects[places], glosses, variants, self.who[places])


def read_all(motions: Sequence[Motion], codec: MotionCodec) -> tuple[Array, Array]:
    """Features (N, D) and aspects (N, A) of motions from HOME to HOME, as tokens show them.

    They are read as one long motion, which is quicker.
    """
    parts, starts, frames = [], [], 0
    for motion in motions:
        rest = -len(motion) % FRAMES_PER_STEP + HOME_STEPS * FRAMES_PER_STEP
        parts.append(np.concatenate([motion.rotations, np.repeat(motion.rotations[-1:], rest, axis=0)]))
        starts.append(frames)
        frames += len(parts[-1])
    skeleton = default_skeleton()
    long = Motion(np.concatenate(parts), np.tile(skeleton.offsets_m[0], (frames, 1)), None, skeleton)
    table, crown = read_motion_table(as_tokens_show(long, codec))
    spans = [slice(start, start + len(motion)) for start, motion in zip(starts, motions, strict=True)]
    read = [reading_of(table[span], crown[span]) for span in spans]
    return np.stack([pose_features(one) for one in read]), np.stack([aspects_of(one) for one in read])


def perform_all(lexicon: Lexicon, codec: MotionCodec, numbers: Sequence[int]) -> Rows:
    """Every variant by the performers of these numbers, as tokens show it.

    0 is a plain performer, those above perform it as it is, those from `OTHER_HEAD` on with the head and trunk of the
    plain way of some other gesture, those below 0 change it freely.
    """
    kinds = [(gesture, variant) for gesture in lexicon.values() for variant in gesture.variant_names]
    waiting, glosses, variants = [], [], []
    read: list[tuple[Array, Array]] = []
    for gesture, variant in tqdm(kinds, unit="variant", disable=None):
        own, _, _ = gesture.variant(variant)
        for number in numbers:
            name = zlib.crc32(f"{gesture.gloss}/{variant}".encode())
            rng = np.random.default_rng([abs(number), 77 if number >= 0 else 78, name])
            who = Performer.random(rng) if number else Performer.neutral()
            if 0 <= number < OTHER_HEAD:
                made = perform(gesture, who, variant=variant)
            else:
                made = perform(freely(own, rng) if number < 0 else _with_other_head(own, lexicon, rng), who)
            waiting.append(made.motion)
            glosses.append(gesture.gloss)
            variants.append(variant)
        if len(waiting) >= TOGETHER or gesture is kinds[-1][0]:
            read.append(read_all(waiting, codec))
            waiting = []
    features, aspects = (np.concatenate(some) for some in zip(*read, strict=True))
    return Rows(features, aspects, tuple(glosses), tuple(variants), np.tile(np.array(numbers, np.int64), len(kinds)))


def _with_other_head(gesture: Gesture, lexicon: Lexicon, rng: np.random.Generator) -> Gesture:
    """Its hands, and head and trunk of another that has hands; one of the head stays as it is."""
    others = [one for one in lexicon.values() if one.gloss != gesture.gloss and one.hands != "none"]
    if gesture.hands == "none" or not others:
        return gesture
    return gesture.model_copy(update={"core": others[rng.integers(len(others))].core})


def fit(rows: Rows) -> PoseIndex:
    """Discriminants with two directions of each variant, as it is performed and as it is changed; and the aspects."""
    every, rows = rows, rows.where(rows.who < OTHER_HEAD)
    mean, scale = rows.features.mean(0), rows.features.std(0) + 0.05
    x = (rows.features - mean) / scale
    names = sorted(set(rows.glosses))
    pairs = list(zip(rows.glosses, rows.variants, strict=True))
    kinds = sorted(set(pairs))
    which = np.array([kinds.index(pair) for pair in pairs])
    label = np.array([names.index(gloss) for gloss, _ in kinds])
    middles = means(x, which)  # of variants
    centres = means(middles, label)  # of glosses
    inside = x - middles[which]
    within = inside.T @ inside / len(x)
    some = np.bincount(label)[label] > 1
    apart = (middles - centres[label])[some]
    within += BETWEEN_VARIANTS * apart.T @ apart / max(len(apart) - len(set(label[some])), 1)
    within /= np.trace(within) / len(within)
    within = (1 - SHRINK) * within + SHRINK * np.eye(len(within), dtype=np.float32)
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    between = centres @ whiten
    _, _, axes = np.linalg.svd(between - between.mean(0), full_matrices=False)
    projection = (whiten @ axes[:DIRECTIONS].T).astype(np.float32)
    made = x @ projection
    centre = made.mean(0)
    pointing = made - centre
    pointing /= np.linalg.norm(pointing, axis=1, keepdims=True)
    groups, group = np.unique(2 * which + (rows.who < 0), return_inverse=True)
    ways = means(pointing, group)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    made_so = every.where(every.who >= 0)
    numbers = {pair: number for number, pair in enumerate(kinds)}
    variants = np.array([numbers[pair] for pair in zip(made_so.glosses, made_so.variants, strict=True)])
    aspects = fit_aspects(
        made_so.aspects, label[variants], variants, made_so.who == 0, made_so.who >= OTHER_HEAD, names
    )
    glosses = tuple(kinds[i // 2][0] for i in groups)
    return PoseIndex(mean, scale, projection, centre, ways, glosses, SHARPNESS, aspects)


def _named(index: PoseIndex, lexicon: Lexicon, rows: Rows, name: str) -> list[str]:
    """How often gloss and emotion are right, with 95 % intervals."""
    first, five, felt, chance = [], [], [], []
    for features, aspects, gloss in zip(rows.features, rows.aspects, rows.glosses, strict=True):
        found = index.nearest(features, aspects, 5)
        first.append(float(found[0][0] == gloss))
        five.append(float(gloss in [each for each, _ in found]))
        emotion = np.zeros(len(EMOTIONS))
        for each, share in found:
            affinity = np.array([lexicon[each].emotion.get(e, 0.0) for e in EMOTIONS])
            emotion += share * affinity / max(affinity.sum(), 1e-6)
        own = lexicon[gloss].emotion
        best = {e for e in own if own[e] == max(own.values())}
        felt.append(float(EMOTIONS[int(emotion.argmax())] in best))
        chance.append(len(best) / len(EMOTIONS))
    return [
        f"{name}: gloss @1 {bootstrap(first)}", f"{name}: gloss @5 {bootstrap(five)}",
        f"{name}: strongest emotion {bootstrap(felt)}, chance {np.mean(chance):.3f}",
    ]  # fmt: skip


def left_out(lexicon: Lexicon, rows: Rows, fold: int | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows are never seen, and which of these are asked for: the last variant of each gloss, or of a fold.

    A fold leaves out another variant and asks for it; the last one is not seen by anybody.
    """
    last, out = [], []
    for gloss, variant in zip(rows.glosses, rows.variants, strict=True):
        rest = lexicon[gloss].variant_names[:-1]
        last.append(variant == lexicon[gloss].variant_names[-1])
        out.append(fold is not None and len(rest) > 1 and variant == rest[fold % len(rest)])
    hidden = np.array(last)
    return (hidden, hidden) if fold is None else (hidden | np.array(out), np.array(out))


def check(lexicon: Lexicon, seen: Rows, unseen: Rows, fold: int | None = None) -> list[str]:
    """Gloss and emotion of variants left out, and of those seen, by performers left out."""
    index = fit(seen.where(~left_out(lexicon, seen, fold)[0]))
    hidden, asked = left_out(lexicon, unseen, fold)
    name = "" if fold is None else f"fold {fold}, "
    other = unseen.who >= OTHER_HEAD
    groups = {
        "variants left out": asked & ~other, "variants left out, another's head": asked & other,
        "variants seen": ~hidden & ~other,
    }  # fmt: skip
    return [line for what, some in groups.items() for line in _named(index, lexicon, unseen.where(some), name + what)]


def _kept(path: str | None, name: str, make: Callable[[], Rows]) -> Rows:
    """Rows that were kept in a folder, or made now and kept there."""
    file = Path(path) / f"{name}.safetensors" if path else None
    if file is not None and file.is_file():
        kept = load_file(file)
        texts = kept["names"].tobytes().decode().split("\n")
        pairs = [text.split("/") for text in texts]
        glosses, variants = tuple(gloss for gloss, _ in pairs), tuple(variant for _, variant in pairs)
        return Rows(kept["features"], kept["aspects"], glosses, variants, kept["who"])
    rows = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"{gloss}/{variant}" for gloss, variant in zip(rows.glosses, rows.variants, strict=True)]
        names = np.frombuffer("\n".join(texts).encode(), np.uint8).copy()
        save_file({"features": rows.features, "aspects": rows.aspects, "names": names, "who": rows.who}, file)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Make and write it."""
    parser = argparse.ArgumentParser(description="Make the comparison that `describe` uses.")
    parser.add_argument("--check", action="store_true", help="print figures of variants left out")
    parser.add_argument("--folds", action="store_true", help="print figures of others left out, to choose by")
    parser.add_argument("--keep", metavar="DIR", help="a folder that keeps what was performed, for the next time")
    parser.add_argument("--out", default=str(DEFAULT_POSES), help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    from importlib.resources import files

    codec = MotionCodec.load(Path(str(files("visavis.models"))) / "codec")
    lexicon = load_lexicon()
    seen = _kept(options.keep, "seen", lambda: perform_all(lexicon, codec, NUMBERS))
    if options.check or options.folds:
        unseen = _kept(options.keep, "unseen", lambda: perform_all(lexicon, codec, ASKED))
        for fold in [*([None] if options.check else []), *(range(3) if options.folds else [])]:
            for line in check(lexicon, seen, unseen, fold):
                print(line)
    fit(seen).save(Path(options.out))
    print(f"wrote {options.out}: {len(set(seen.glosses))} glosses, {len(seen.glosses)} performances")


if __name__ == "__main__":
    main()

"""Make the comparison that `describe` uses: `python -m visavis.finetune.acts.learn_poses [--check]`.

Every variant of every gesture is performed by several people, as it is and freely changed (elsewhere, with one hand
or both, more or fewer strokes), seen through the codec's tokens, and read as features; linear discriminants (Fisher
1936) keep the directions in which glosses differ and performers do not. With `--check` one variant of each gloss is
left out, and described when somebody unseen performs it.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from visavis.emotion import EMOTIONS
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.describe import DEFAULT_POSES, PoseIndex, as_tokens_show, pose_features
from visavis.retrieval.lexicon import Arms, Gesture, Key, Lexicon, load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.tokenizers.codec import MotionCodec

__all__ = ["Rows", "fit", "freely", "perform_all"]

Array = NDArray[np.float32]

PERFORMERS: Final = 2  # who perform it as it is
FREELY: Final = 4  # who change it
UNSEEN: Final = 500  # seeds of performers from here on are for testing
DIRECTIONS: Final = 64
SHRINK: Final = 0.05
ELSEWHERE: Final = (0.09, 0.11, 0.07)  # how far a free performance moves the wrists, arm lengths
WIDTH: Final = 1.5


@dataclass(frozen=True, eq=False)
class Rows:
    """Features (N, D) of performances, with the gloss and the variant of each."""

    features: Array
    glosses: tuple[str, ...]
    variants: tuple[str, ...]

    def where(self, keep: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        places = np.flatnonzero(keep)
        return Rows(
            self.features[places], tuple(self.glosses[i] for i in places), tuple(self.variants[i] for i in places)
        )


def freely(gesture: Gesture, rng: np.random.Generator) -> Gesture:
    """The gesture as somebody might make it who knows what it means and not how others do it."""
    by = rng.normal(0.0, ELSEWHERE)
    hands, arms = gesture.hands, {name: _moved(getattr(gesture.arms, name), by) for name in ("both", "main", "other")}
    swap = rng.random() < 0.35
    if swap and arms["both"] and not any(p.acts == "palm_distance" for p in gesture.params.values()):
        arms, hands = {"main": arms["both"]}, "right"
    elif swap and arms["main"] and not arms["other"]:
        arms, hands = {"both": arms["main"]}, "both"
    size = rng.uniform(0.2, 1.5)
    core = tuple(
        key.model_copy(update={c: size * getattr(key, c) for c in ("nod", "turn", "tilt", "lean", "twist", "sway")})
        for key in gesture.core
    )
    repeats = int(np.clip(gesture.strokes.repeats + rng.integers(-1, 2), 1, 5))
    strokes = gesture.strokes.model_copy(update={"repeats": repeats})
    update = {"arms": Arms(**arms), "hands": hands, "core": core, "strokes": strokes, "variants": ()}
    return gesture.model_copy(update=update)


def _moved(keys: Sequence[Key], by: NDArray[np.float64]) -> tuple[Key, ...]:
    def place(at: Sequence[float]) -> tuple[float, ...]:
        return tuple(float(x) for x in np.add(at, by))

    return tuple(
        key.model_copy(
            update={"wrist": None if key.wrist is None else place(key.wrist), "via": tuple(place(v) for v in key.via)}
        )
        for key in keys
    )


def perform_all(lexicon: Lexicon, codec: MotionCodec, performers: Sequence[int], free: int = 0) -> Rows:
    """Every variant by the performers of these seeds, as tokens show it; performer 0 is a plain one.

    With `free`, as many more performances change it.
    """
    features, glosses, variants = [], [], []
    for gesture in tqdm(lexicon.values(), unit="gloss", disable=None):
        for variant in gesture.variant_names:
            own, _, _ = gesture.variant(variant)
            for number in [*performers, *range(-free, 0)]:
                rng = np.random.default_rng([abs(number), 77, zlib.crc32(f"{gesture.gloss}/{variant}".encode())])
                who = Performer.random(rng) if number else Performer.neutral()
                made = perform(gesture, who, variant=variant) if number >= 0 else perform(freely(own, rng), who)
                features.append(pose_features(as_tokens_show(made.motion, codec)))
                glosses.append(gesture.gloss)
                variants.append(variant)
    return Rows(np.stack(features), tuple(glosses), tuple(variants))


def fit(rows: Rows) -> PoseIndex:
    """Discriminants and the mean performance of each variant in them."""
    mean, scale = rows.features.mean(0), rows.features.std(0) + 1e-3
    x = ((rows.features - mean) / scale).astype(np.float64)
    names = sorted(set(rows.glosses))
    label = np.array([names.index(gloss) for gloss in rows.glosses])
    centres = np.stack([x[label == i].mean(0) for i in range(len(names))])
    inside = x - centres[label]
    within = inside.T @ inside / len(x)
    within = (1 - SHRINK) * within + SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    between = centres @ whiten
    _, _, axes = np.linalg.svd(between - between.mean(0), full_matrices=False)
    projection = whiten @ axes[:DIRECTIONS].T
    kinds = sorted(set(zip(rows.glosses, rows.variants, strict=True)))
    which = np.array([kinds.index(kind) for kind in zip(rows.glosses, rows.variants, strict=True)])
    made = x @ projection
    middles = np.stack([made[which == i].mean(0) for i in range(len(kinds))])
    return PoseIndex(
        mean.astype(np.float32), scale.astype(np.float32), projection.astype(np.float32),
        middles.astype(np.float32), tuple(gloss for gloss, _ in kinds), WIDTH,
    )  # fmt: skip


def check(lexicon: Lexicon, seen: Rows, unseen: Rows) -> list[str]:
    """Gloss and emotion of variants left out, by performers left out, with 95 % intervals."""
    last = {gesture.gloss: gesture.variant_names[-1] for gesture in lexicon.values()}
    held = np.array([last[g] == v for g, v in zip(seen.glosses, seen.variants, strict=True)])
    index = fit(seen.where(~held))
    held = np.array([last[g] == v for g, v in zip(unseen.glosses, unseen.variants, strict=True)])
    lines = []
    for name, rows in (("variants left out", unseen.where(held)), ("variants seen", unseen.where(~held))):
        first, five, felt, chance = [], [], [], []
        for features, gloss in zip(rows.features, rows.glosses, strict=True):
            found = index.nearest(features, 5)
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
        lines += [f"{name}: gloss @1 {bootstrap(first)}", f"{name}: gloss @5 {bootstrap(five)}"]
        lines.append(f"{name}: strongest emotion {bootstrap(felt)}, chance {np.mean(chance):.3f}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Make and write it."""
    parser = argparse.ArgumentParser(description="Make the comparison that `describe` uses.")
    parser.add_argument("--check", action="store_true", help="print figures of variants left out")
    parser.add_argument("--out", default=str(DEFAULT_POSES), help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    from importlib.resources import files

    codec = MotionCodec.load(Path(str(files("visavis.models"))) / "codec")
    lexicon = load_lexicon()
    seen = perform_all(lexicon, codec, range(PERFORMERS), FREELY)
    if options.check:
        for line in check(lexicon, seen, perform_all(lexicon, codec, range(UNSEEN, UNSEEN + 2))):
            print(line)
    fit(seen).save(Path(options.out))
    print(f"wrote {options.out}: {len(set(seen.glosses))} glosses, {len(seen.glosses)} performances")


if __name__ == "__main__":
    main()

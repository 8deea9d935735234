"""What a motion says: the nearest gestures, the emotion that goes with them, energy and hands.

A motion is read as its tokens show it (encoded and decoded), so that what is described is what the language model would
see. It is compared with each variant of the lexicon in two ways whose log-odds add up. Its features
(`visavis.retrieval.reading`) are projected to directions in which glosses differ and performers do not (linear
discriminants, Fisher 1936); there a variant is a direction. And its aspects (`visavis.retrieval.aspects`: hand shape,
place, path, head, ...) are compared one by one, so that two ways to make a gesture may differ wholly in a few.
`python -m visavis.finetune.acts.learn_poses` makes the comparison.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.motion.fitting import same_skeleton
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.aspects import ASPECTS, AspectIndex, aspects_of
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.reading import HAND, pose_features, read_motion_table, reading_of
from visavis.tokenizers.codec import MotionCodec

__all__ = ["DEFAULT_POSES", "Description", "PoseIndex", "as_tokens_show", "describe"]

Array = NDArray[np.float32]

DEFAULT_POSES: Final = Path(__file__).parent / "data" / "poses.safetensors"


@dataclass(frozen=True)
class Description:
    """What a motion says.

    Attributes:
        glosses: (gloss, probability), best first.
        emotions: (emotion, share), best first; the shares sum to 1.
        energy_m_s: mean speed of the faster wrist from start to end of the gesture.
        hands: "left", "right", "both" or "none".
        phases: of the gesture that was read, on the motion's clock.
    """

    glosses: tuple[tuple[str, float], ...]
    emotions: tuple[tuple[str, float], ...]
    energy_m_s: float
    hands: str
    phases: Phases

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "glosses": [{"gloss": g, "score": round(s, 4)} for g, s in self.glosses],
            "emotions": [{"emotion": e, "share": round(s, 4)} for e, s in self.emotions],
            "energy_m_s": round(self.energy_m_s, 4), "hands": self.hands,
            "phases": dict(zip(("start", "ready", "stroke_start", "stroke", "stroke_end", "relax", "end"),
                               (round(t, 3) for t in self.phases.times), strict=True)),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class PoseIndex:
    """Variants of the lexicon to compare with.

    mean (D,), scale (D,), projection (D, E), centre (E,); rows (N, E) of unit length with the gloss of each;
    sharpness: what a cosine is multiplied by to become log-odds; aspects: the same variants, aspect by aspect.
    """

    mean: Array
    scale: Array
    projection: Array
    centre: Array
    rows: Array
    glosses: tuple[str, ...]
    sharpness: float
    aspects: AspectIndex

    @staticmethod
    @functools.cache
    def default() -> PoseIndex:
        """The one that ships."""
        return PoseIndex.load(DEFAULT_POSES)

    def project(self, features: Array) -> Array:
        """(..., E) of unit length, of (..., D)."""
        made = (features - self.mean) / self.scale @ self.projection - self.centre
        return np.asarray(made / np.maximum(np.linalg.norm(made, axis=-1, keepdims=True), 1e-6), np.float32)

    def nearest(self, features: Array, aspects: Array, k: int = 5) -> list[tuple[str, float]]:
        """The k glosses that are nearest to features (D,) and aspects (A,), with probabilities over all glosses."""
        poses = _best(self.glosses, self.sharpness * (self.rows @ self.project(features)))
        apart = _best(self.aspects.glosses, self.aspects.log_odds(aspects))
        sums = {gloss: poses[gloss] + apart[gloss] for gloss in poses}
        names = sorted(sums, key=lambda gloss: (-sums[gloss], gloss))
        odds = np.exp(np.array([sums[name] for name in names]) - sums[names[0]])
        odds /= odds.sum()
        return [(name, float(share)) for name, share in zip(names[:k], odds, strict=False)]

    def save(self, path: Path) -> None:
        """Write it, half precision."""
        names = sorted(set(self.glosses))
        save_file({
            "mean": self.mean.astype(np.float32), "scale": self.scale.astype(np.float32),
            "projection": self.projection.astype(np.float16), "centre": self.centre.astype(np.float32),
            "rows": self.rows.astype(np.float16), "which": np.array([names.index(g) for g in self.glosses], np.int32),
            "names": np.frombuffer(json.dumps(names).encode(), np.uint8).copy(),
            "sharpness": np.array([self.sharpness], np.float32),
            "whiten": self.aspects.whiten.astype(np.float32), "weights": self.aspects.weights.astype(np.float32),
            "aspects": self.aspects.rows.astype(np.float16),
            "aspects_of": np.array([names.index(g) for g in self.aspects.glosses], np.int32),
        }, path)  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> PoseIndex:
        """Read what `save` wrote.

        Raises:
            FileFormatError: it is missing or something else.
        """
        try:
            a = load_file(path)
            names = json.loads(a["names"].tobytes())
            glosses = tuple(names[i] for i in a["which"])
            rows, projection = a["rows"].astype(np.float32), a["projection"].astype(np.float32)
            if rows.shape != (len(glosses), projection.shape[1]) or a["mean"].shape != projection.shape[:1]:
                raise ValueError(f"rows of {rows.shape}")
            aspects = AspectIndex(
                a["whiten"], a["weights"], a["aspects"].astype(np.float32), tuple(names[i] for i in a["aspects_of"])
            )
            size = sum(ASPECTS.values())
            if aspects.rows.shape != (len(aspects.glosses), size) or set(aspects.glosses) != set(glosses):
                raise ValueError(f"aspects of {aspects.rows.shape}")
            if aspects.whiten.shape != (size, size) or aspects.weights.shape != (len(ASPECTS),):
                raise ValueError(f"weights of {aspects.weights.shape}")
            return cls(a["mean"], a["scale"], projection, a["centre"], rows, glosses, float(a["sharpness"][0]), aspects)
        except (OSError, KeyError, ValueError, IndexError, SafetensorError) as error:
            raise FileFormatError(
                f"expected the poses of the lexicon in {path.name}, could not read them ({error}): "
                "run `python -m visavis.finetune.acts.learn_poses`"
            ) from error


def _best(glosses: Sequence[str], odds: Array) -> dict[str, float]:
    """The best of each gloss."""
    most: dict[str, float] = {}
    for gloss, each in zip(glosses, odds.tolist(), strict=True):
        most[gloss] = max(each, most.get(gloss, each))
    return most


def as_tokens_show(motion: Motion, codec: MotionCodec) -> Motion:
    """The motion after its tokens: what of it the language model could know."""
    return codec.decode(codec.encode(motion), motion).slice(0, len(motion))


@functools.cache
def _codec() -> MotionCodec:
    from importlib.resources import files

    return MotionCodec.load(Path(str(files("visavis.models"))) / "codec")


def describe(
    motion: Motion, k: int = 5, index: PoseIndex | None = None, codec: MotionCodec | None = None
) -> Description:
    """Describe the one gesture in a motion.

    Args:
        motion: on any skeleton whose bones can be found, at least four frames.
        k: how many gestures are named.
        index: what it is compared with (default: the lexicon).
        codec: makes its tokens (default: the one that ships).

    Raises:
        FileFormatError: the bones cannot be found.
    """
    from visavis.motion.retarget import retarget

    if not same_skeleton(motion.skeleton, default_skeleton()):
        motion = retarget(motion)
    read = reading_of(*read_motion_table(as_tokens_show(motion, codec or _codec())))
    found = (index or PoseIndex.default()).nearest(pose_features(read), aspects_of(read), max(k, 5))
    lexicon = load_lexicon()
    felt = np.zeros(len(EMOTIONS))
    for gloss, share in found:
        if gloss in lexicon:
            affinity = np.array([lexicon[gloss].emotion.get(name, 0.0) for name in EMOTIONS])
            felt += share * affinity / max(affinity.sum(), 1e-6)
    felt /= max(felt.sum(), 1e-6)
    order = np.argsort(-felt, kind="stable")
    phases, wrists = read.phases, (read.table[:, :3], read.table[:, HAND : HAND + 3])
    first, last = round(phases.start_s * FPS), max(round(phases.end_s * FPS), round(phases.start_s * FPS) + 1)
    speeds = [float(np.linalg.norm(np.diff(w[first : last + 1], axis=0), axis=1).mean()) * FPS for w in wrists]
    return Description(
        tuple(found[:k]), tuple((EMOTIONS[i], float(felt[i])) for i in order), max(speeds), read.hands, phases
    )

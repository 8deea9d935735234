"""What a motion says: the nearest gestures, the emotion that goes with them, energy and hands.

A motion is read as its tokens show it (encoded and decoded), so that what is described is what the language model would
see. Its stroke is found from wrist speed and laid beside those of the lexicon: wrists, palms, fingers and head at
moments from preparation to the end of the stroke, projected to directions in which glosses differ and performers do
not (linear discriminants, Fisher 1936). `python -m visavis.finetune.acts.learn_poses` makes the comparison.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.fitting import same_skeleton
from visavis.motion.kinematics import chest_frame, forward, to_frame
from visavis.motion.motion import FPS, Motion
from visavis.motion.phase_detection import find_phases, moving_hands
from visavis.motion.phases import Phases
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.lexicon import load_lexicon
from visavis.tokenizers.codec import MotionCodec

__all__ = ["DEFAULT_POSES", "Description", "PoseIndex", "describe", "pose_features"]

Array = NDArray[np.float32]

DEFAULT_POSES: Final = Path(__file__).parent / "data" / "poses.safetensors"
MOMENTS: Final = 9  # from ready to the end of the stroke
FINGERS: Final = ("Thumb", "Index", "Middle", "Ring", "Little")


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


def pose_features(motion: Motion, phases: Phases | None = None) -> Array:
    """(D,) float32 of the one gesture in a motion on the default skeleton.

    Wrists in the chest frame (metres), palms and fingers' directions, how far each finger is bent, nod, turn and tilt
    of the head, at `MOMENTS` moments from preparation to the end of the stroke; and how often and how fast hands and
    head move. The busier hand comes first: a gesture of the left hand reads as one of the right.
    """
    hands = moving_hands(motion)
    phases = phases or find_phases(motion, hands)
    if hands == "left":
        motion = motion.mirrored()
    skeleton = motion.skeleton
    places, turned = forward(motion.rotations, motion.root_m, skeleton)
    chest = chest_frame(motion)
    back = rot.conjugate(chest[1])
    columns = []
    for side, sign in (("right", -1.0), ("left", 1.0)):
        i = skeleton.index(f"{side}Hand")
        hand = rot.multiply(back, turned[:, i])
        palm, fingers = rot.rotate(hand, np.array([0, -1, 0])), rot.rotate(hand, np.array([sign, 0, 0]))
        curl = [
            rot.angle_between(
                motion.rotations[:, skeleton.index(f"{side}{f}Proximal")],
                np.broadcast_to(rot.IDENTITY, (len(motion), 4)),
            )
            for f in FINGERS
        ]
        columns += [3.0 * to_frame(chest, places[:, i]), 0.5 * palm, 0.5 * fingers, 0.3 * np.stack(curl, axis=1)]
    head = rot.to_rotation_vector(rot.multiply(back, turned[:, skeleton.index("head")]))
    trunk = rot.to_rotation_vector(turned[:, skeleton.index("upperChest")])
    columns += [2.0 * head, 1.5 * trunk]
    table = np.concatenate(columns, axis=1)  # (T, C)
    at = np.linspace(phases.ready_s, max(phases.stroke_end_s, phases.stroke_s + 0.05), MOMENTS) * FPS
    at = np.clip(at, 0, len(motion) - 1)
    low = np.minimum(at.astype(int), max(len(motion) - 2, 0))
    share = (at - low)[:, None]
    moments = table[low] * (1 - share) + table[np.minimum(low + 1, len(motion) - 1)] * share
    first, last = round(phases.start_s * FPS), max(round(phases.end_s * FPS), round(phases.start_s * FPS) + 4)
    moving = table[first : last + 1]
    restless = np.abs(np.diff(moving, axis=0)).sum(0)  # the way of each channel
    swings = (np.diff(np.sign(np.diff(moving, axis=0)), axis=0) != 0).mean(0) * restless
    return np.concatenate([moments.ravel(), np.log1p(restless), np.log1p(swings)]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class PoseIndex:
    """Performances of the lexicon to compare with.

    mean (D,), scale (D,), projection (D, E); rows (N, E) with the gloss of each; width: of the kernel.
    """

    mean: Array
    scale: Array
    projection: Array
    rows: Array
    glosses: tuple[str, ...]
    width: float

    @staticmethod
    @functools.cache
    def default() -> PoseIndex:
        """The one that ships."""
        return PoseIndex.load(DEFAULT_POSES)

    def project(self, features: Array) -> Array:
        """(..., E) of (..., D)."""
        return np.asarray((features - self.mean) / self.scale @ self.projection, np.float32)

    def nearest(self, features: Array, k: int = 5) -> list[tuple[str, float]]:
        """The k glosses that are nearest, with probabilities over all glosses."""
        distances = np.linalg.norm(self.rows - self.project(features), axis=1)
        least: dict[str, float] = {}
        for gloss, distance in zip(self.glosses, distances.tolist(), strict=True):
            least[gloss] = min(distance, least.get(gloss, np.inf))
        names = sorted(least, key=lambda gloss: (least[gloss], gloss))
        odds = np.exp(-(np.array([least[name] for name in names]) - least[names[0]]) / self.width)
        odds /= odds.sum()
        return [(name, float(share)) for name, share in zip(names[:k], odds, strict=False)]

    def save(self, path: Path) -> None:
        """Write it, half precision."""
        names = sorted(set(self.glosses))
        save_file({
            "mean": self.mean.astype(np.float32), "scale": self.scale.astype(np.float32),
            "projection": self.projection.astype(np.float16), "rows": self.rows.astype(np.float16),
            "which": np.array([names.index(g) for g in self.glosses], np.int32),
            "names": np.frombuffer(json.dumps(names).encode(), np.uint8).copy(),
            "width": np.array([self.width], np.float32),
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
            if rows.shape != (len(glosses), projection.shape[1]):
                raise ValueError(f"rows of {rows.shape}")
            return cls(a["mean"], a["scale"], projection, rows, glosses, float(a["width"][0]))
        except (OSError, KeyError, ValueError, IndexError, SafetensorError) as error:
            raise FileFormatError(
                f"expected the poses of the lexicon in {path.name}, could not read them ({error}): "
                "run `python -m visavis.finetune.acts.learn_poses`"
            ) from error


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
    seen = as_tokens_show(motion, codec or _codec())
    hands = moving_hands(seen)
    phases = find_phases(seen, hands)
    found = (index or PoseIndex.default()).nearest(pose_features(seen, phases), max(k, 5))
    lexicon = load_lexicon()
    felt = np.zeros(len(EMOTIONS))
    for gloss, share in found:
        if gloss in lexicon:
            affinity = np.array([lexicon[gloss].emotion.get(name, 0.0) for name in EMOTIONS])
            felt += share * affinity / max(affinity.sum(), 1e-6)
    felt /= max(felt.sum(), 1e-6)
    order = np.argsort(-felt, kind="stable")
    places, _ = forward(seen.rotations, seen.root_m, seen.skeleton)
    chest = chest_frame(seen)
    wrists = [to_frame(chest, places[:, seen.skeleton.index(f"{s}Hand")]) for s in ("left", "right")]
    first, last = round(phases.start_s * FPS), max(round(phases.end_s * FPS), round(phases.start_s * FPS) + 1)
    speeds = [float(np.linalg.norm(np.diff(w[first : last + 1], axis=0), axis=1).mean()) * FPS for w in wrists]
    return Description(
        tuple(found[:k]), tuple((EMOTIONS[i], float(felt[i])) for i in order), max(speeds), hands, phases
    )

"""Held-out taught turns, what the codec makes of them, and the systems that refine it.

Sentences, performers and voices are those of the split `dev`, which nothing learns from. 500 such sentences with their
gestures and feelings are frozen in `evals/data/refiner_turns.jsonl`; of them `held_turns` makes turns. A *late* turn is
one whose decoded motion drifts by up to ±150 ms, as tokens do that were written without knowing the sound well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.evals.first_light.table import data_file
from visavis.evals.strokes import UPPER_BODY
from visavis.finetune.motion_codes import beating_motion, turn_codes
from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn, build
from visavis.motion import rotations as rot
from visavis.motion.kinematics import chest_frame, positions, to_frame
from visavis.motion.motion import Motion
from visavis.refiner.conditions import Conditions
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.model import Refiner
from visavis.refiner.modes import refine as refine_with_modes
from visavis.refiner.sampler import refine, with_features
from visavis.tokenizers.codec import MotionCodec

__all__ = ["DRIFT_S", "Item", "System", "held_turns", "items", "late", "shuffled_sounds", "systems", "upper_body"]

DRIFT_S: Final = 0.15
LEAST_FRAMES: Final = 96
LEAST_STRESS: Final = 0.5

# decoded motion, sound, turn, how sure (0 to 1), seed → motion
System = Callable[[Motion, NDArray[np.float32], TaughtTurn, float, int], Motion]


@dataclass(frozen=True, eq=False)
class Item:
    """One turn: taught with its rhythm, decoded, its sound (T, 5), and the stresses of its voice in seconds."""

    turn: TaughtTurn
    taught: Motion
    decoded: Motion
    sound: NDArray[np.float32]
    stresses_s: list[float]


def held_turns(folder: Path) -> Path:
    """The folder with the turns of the frozen sentences: made where they are missing, the same every time."""
    frozen = data_file("refiner_turns.jsonl")
    build(frozen, folder, "dev", len(frozen.read_text("utf-8").splitlines()), copies=1)
    return folder


def items(corpus: Path, codec: MotionCodec, limit: int | None = None) -> list[Item]:
    """The spoken turns of the split `dev`, three seconds or longer.

    Raises:
        FileNotFoundError: there is no corpus.
    """
    dev = MotionCorpus(corpus, "dev")
    turns = [turn for turn in dev.turns if turn.mode == "speak" and turn.frames >= LEAST_FRAMES][:limit]
    out = []
    for turn in turns:
        rows = slice(turn.start, turn.start + turn.frames)
        calm = with_features(Motion.rest(turn.frames), dev.features[rows].astype(np.float32))
        decoded = codec.decode(turn_codes(dev, turn, codec), calm).slice(0, turn.frames)
        stresses = [word.stress_s for word in turn.spoken if word.stress >= LEAST_STRESS]
        out.append(Item(turn, beating_motion(turn, calm), decoded, dev.prosody[rows].astype(np.float32), stresses))
    return out


def late(motion: Motion, seed: int) -> Motion:
    """The motion with its time warped smoothly, by up to `DRIFT_S` either way."""
    rng = np.random.default_rng(seed)
    frames = len(motion)
    knots = max(3, frames // 24 + 2)
    drift = np.interp(np.arange(frames), np.linspace(0, frames - 1, knots), rng.uniform(-1, 1, knots) * DRIFT_S * 30)
    at = np.clip(np.arange(frames) + drift, 0, frames - 1)
    low = np.minimum(at.astype(int), frames - 2)
    share = np.broadcast_to((at - low)[:, None], motion.rotations.shape[:2]).astype(np.float32)
    return replace(motion, rotations=rot.slerp(motion.rotations[low], motion.rotations[low + 1], share))


def shuffled_sounds(all_items: list[Item], seed: int = 0) -> list[NDArray[np.float32]]:
    """For every turn the sound of another, repeated or cut to its length."""
    order = np.random.default_rng(seed).permutation(len(all_items))
    out = []
    for place, item in enumerate(all_items):
        at = int(order[place])
        if at == place:
            at = (at + 1) % len(all_items)
        sound = all_items[at].sound
        out.append(np.resize(sound, (len(item.decoded), sound.shape[1])))
    return out


def systems(first: Refiner | None, modes: FlowRefiner | None) -> Mapping[str, System]:
    """Decoded tokens alone, the refiner without modes, and the one with them, each as far as it is given."""
    out: dict[str, System] = {"decoded": lambda decoded, *_: decoded}
    if first is not None:
        out["without modes"] = lambda decoded, sound, turn, sure, seed: refine(
            first, decoded, sound, turn.felt, seed=seed
        )
    if modes is not None:
        out["modes"] = lambda decoded, sound, turn, sure, seed: refine_with_modes(
            modes, decoded, Conditions(sound, turn.felt), confidence=sure, seed=seed
        )
    return out


def upper_body(motion: Motion) -> NDArray[np.float32]:
    """(T, 5, 3) head, elbows and wrists in the chest frame, metres."""
    places = positions(motion)[:, motion.skeleton.indices(list(UPPER_BODY))]
    frame = chest_frame(motion)
    return np.stack([to_frame(frame, places[:, i]) for i in range(len(UPPER_BODY))], axis=1)

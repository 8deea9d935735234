"""What a motion shall fit: the sound, the feeling, and whose way of moving it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visavis.emotion import EMOTIONS, Emotion
from visavis.motion.motion import Motion
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.pose_points import with_points
from visavis.refiner.sampler import motion_features

__all__ = ["SHORTEST_EXAMPLE", "Conditions", "emotion_weights"]

SHORTEST_EXAMPLE = 30  # frames


@dataclass(frozen=True)
class Conditions:
    """Everything is optional; what is not given leaves the motion free.

    Attributes:
        sound: (T', 5) prosody of the stretch at 30 fps (`visavis.speech.prosody`), its last channel the word stress;
            cut to the motion or filled with silence. None where there is no sound to fit.
        emotion: one with its intensity, or a blend: emotion → weight in [0, 1], the weights' sum at most 1.
        sound_weight: how much the sound counts, 0 to 4; 1 as it was learnt, more exaggerates what it does to the motion
            (classifier-free guidance, Ho and Salimans 2022; costs half as much again).
        style: a performer's label (0 to `config.performers` - 1), or a clip of a second or more of how somebody moves.
    """

    sound: NDArray[np.float32] | None = None
    emotion: Emotion | Mapping[str, float] = Emotion()
    style: int | Motion | None = None
    sound_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.sound_weight <= 4.0:
            raise ValueError(f"sound_weight must lie in [0, 4]; got {self.sound_weight}")

    def heard(self, frames: int, channels: int) -> NDArray[np.float32]:
        """(frames, channels) the sound, cut or filled with silence; zeros where there is none.

        Raises:
            ValueError: the sound is no prosody.
        """
        out = np.zeros((frames, channels), np.float32)
        if self.sound is not None:
            sound = np.asarray(self.sound, np.float32)
            if sound.ndim != 2 or sound.shape[1] != channels or not np.isfinite(sound).all():
                raise ValueError(
                    f"expected prosody of shape (frames, {channels}), finite; got {sound.shape}: make it with "
                    "visavis.speech.prosody.prosody"
                )
            out[: len(sound)] = sound[:frames]
        return out

    def style_vector(self, refiner: FlowRefiner) -> Tensor:
        """(1, S) the style in the network's own numbers.

        Raises:
            ValueError: no such performer, or an example shorter than a second.
        """
        nobody = refiner.config.performers
        if isinstance(self.style, Motion):
            if len(self.style) < SHORTEST_EXAMPLE:
                raise ValueError(
                    f"expected an example of {SHORTEST_EXAMPLE} frames or more to take the style from; "
                    f"got {len(self.style)}"
                )
            clip = torch.from_numpy(with_points(motion_features(self.style)))[None]
            return refiner.style_of(refiner.normalised(clip))
        if self.style is not None and not 0 <= self.style < nobody:
            raise ValueError(f"expected a performer from 0 to {nobody - 1}, or an example clip; got {self.style}")
        return refiner.style_named(torch.tensor([nobody if self.style is None else int(self.style)]))


def emotion_weights(emotion: Emotion | Mapping[str, float]) -> tuple[float, ...]:
    """(7,) weights in the order of `EMOTIONS`, of one emotion or a blend.

    Raises:
        ValueError: an unknown emotion, a weight outside [0, 1], or weights of more than 1 together.
    """
    if isinstance(emotion, Emotion):
        return emotion.vector
    for name, weight in emotion.items():
        if name not in EMOTIONS:
            raise ValueError(f"emotion must be one of {', '.join(EMOTIONS)}; got {name!r}")
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"the weight of an emotion must lie in [0, 1]; got {weight} for {name}")
    if (total := sum(emotion.values())) > 1.0 + 1e-6:
        raise ValueError(f"expected a blend whose weights are at most 1 together; got {total:.2f}: scale them down")
    return tuple(float(emotion.get(name, 0.0)) for name in EMOTIONS)

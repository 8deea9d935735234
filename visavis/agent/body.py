"""DECODE, REFINE and SOLVE: from motion tokens to the body of one clause, continued without a seam.

A `Body` belongs to one session. It keeps the last tokens, the last frames and the clock of the idle body, so that
every chunk goes on where the last one ended: decoding sees the earlier tokens, the refiner continues the earlier
frames, and what difference is left at the border is blended out (inertialisation, Bollo 2018).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visavis.agent.bearing import feeling, with_bearing
from visavis.agent.choreography import Placed, compose, overlay, parts_of, weights
from visavis.agent.grid import forced_steps
from visavis.emotion import EMOTIONS, Emotion
from visavis.motion.blend import inertialize
from visavis.motion.constraints import Constraint, solve
from visavis.motion.feet import plant
from visavis.motion.idle import idle
from visavis.motion.motion import FPS, FRAMES_PER_STEP, Motion
from visavis.refiner.either import AnyRefiner, refine_next
from visavis.refiner.pose_points import LIMBS
from visavis.tokenizers.codec import LOOKAHEAD_STEPS, PARTS, MotionCodec, limb_of, part_bones

__all__ = ["Body", "Chunk"]

CONTEXT_STEPS = 8  # earlier tokens that decoding sees: at least the decoder's past
KNOWN_FRAMES = 16  # earlier frames that the refiner continues
SEAM_HALF_LIFE_S = 0.08

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Steps first_step..last_step of a turn: its codes (S, P), the motion before and after refining, timings; parts
    names the P parts.
    """

    first_step: int
    codes: Codes
    decoded: Motion
    motion: Motion
    timings_ms: dict[str, float]
    parts: tuple[str, ...] = PARTS


class Body:
    """The body of a session: an idle life underneath, chunks of tokens on top."""

    def __init__(self, codec: MotionCodec, refiner: AnyRefiner | None, seed: int = 0) -> None:
        self.codec, self.refiner, self.seed = codec, refiner, seed
        self.refines = refiner is not None  # can be turned off between turns
        self._turn_began_s = 0.0  # on the idle clock, which never stops
        self._codes: Codes = np.zeros((0, len(codec.config.parts)), np.int64)
        self._last: Motion | None = None  # without bearing, which is laid over what is shown
        self._felt = np.zeros(len(EMOTIONS), np.float32)  # in the last frame

    def begin(self, shown: Motion | None = None, at_s: float | None = None) -> None:
        """A new turn: its step 0 is now.

        Args:
            shown: the last frames that are displayed, if that is not what was last made here.
            at_s: the idle clock now, if somebody else keeps it.
        """
        if shown is not None:
            self.resume(shown)
        if at_s is not None:
            self._turn_began_s = at_s
        self._codes = self._codes[-CONTEXT_STEPS:]

    def resume(self, shown: Motion) -> None:
        """Go on from what is displayed, not from what was last made: a turn was cut. `shown` ends with that frame."""
        frames = min(len(shown) // FRAMES_PER_STEP, CONTEXT_STEPS) * FRAMES_PER_STEP
        self._codes = self._codes[:0]
        if frames:
            self._codes = self.codec.encode(shown.slice(len(shown) - frames, len(shown)))
        self._last = shown.slice(max(len(shown) - KNOWN_FRAMES, 0), len(shown)) if len(shown) else None
        self._felt = np.zeros_like(self._felt)  # what is shown has its bearing in it

    def under(self, first_frame: int, frames: int) -> Motion:
        """The idle body of some frames of this turn."""
        return idle(frames, self.seed, self._turn_began_s + first_frame / FPS)

    def idle(self, frames: int) -> Motion:
        """Go on living without saying anything: `frames` frames that continue what was last shown."""
        motion = self._continued(self.under(0, frames))
        self._turn_began_s += frames / FPS
        self._codes = self.codec.encode(motion)[-CONTEXT_STEPS:]
        self._last = motion.slice(len(motion) - KNOWN_FRAMES, len(motion))
        return self._borne(motion, Emotion(), (), 0)

    def clips(
        self, placed: Sequence[Placed], first_step: int, last_step: int
    ) -> tuple[Motion, Codes, NDArray[np.bool_]]:
        """What the placed gestures force on some steps.

        Returns:
            The clips over the idle body, their motion tokens (S, P), and which of these are forced (S, P).
        """
        lead = min(first_step, CONTEXT_STEPS)
        first = (first_step - lead) * FRAMES_PER_STEP
        frames = (last_step - first_step + lead + LOOKAHEAD_STEPS) * FRAMES_PER_STEP
        composed = compose(self.under(first, frames), placed, first)
        codes = self.codec.encode(composed)[lead : lead + last_step - first_step]
        forced = np.zeros(codes.shape, bool)
        for item in placed:
            limbs = parts_of(item.performance)
            columns = [place for place, part in enumerate(self.codec.config.parts) if limb_of(part) in limbs]
            rows = [step - first_step for step in forced_steps(item.phases, first_step, last_step)]
            forced[np.ix_(rows, columns)] = True
        start = lead * FRAMES_PER_STEP
        return composed.slice(start, start + (last_step - first_step) * FRAMES_PER_STEP), codes, forced

    def write(
        self,
        first_step: int,
        codes: Codes,
        clips: Motion,
        placed: Sequence[Placed],
        constraints: Sequence[Constraint],
        sound: NDArray[np.float32],
        emotion: Emotion,
        check: Callable[[], None] = lambda: None,
    ) -> Chunk:
        """Make the motion of some steps.

        Args:
            first_step: of the turn.
            codes: (S, P) motion tokens.
            clips: from `clips`, 4 S frames.
            placed: gestures on the turn's clock.
            constraints: on the turn's clock.
            sound: (4 S, 5) prosody of these frames.
            emotion: how it feels.
            check: called between the stages; what it raises ends the work, and nothing of it is kept.
        """
        began = time.perf_counter()
        first, frames = first_step * FRAMES_PER_STEP, len(codes) * FRAMES_PER_STEP
        timings: dict[str, float] = {}

        def lap(name: str) -> None:
            nonlocal began
            now = time.perf_counter()
            timings[name] = 1000 * (now - began)
            began = now
            check()

        context = self._codes[-CONTEXT_STEPS:]
        base = self.under(first, frames)
        lead = len(context) * FRAMES_PER_STEP
        decoded = self.codec.decode(np.concatenate([context, codes]), None).slice(lead, lead + frames)
        bare = replace(base, rotations=base.rotations.copy())
        for part in self.codec.config.parts:
            bones = part_bones(part, base.skeleton)
            bare.rotations[:, bones] = decoded.rotations[:, bones]
        decoded = overlay(bare, clips, placed, first)
        lap("decode")
        motion = decoded
        if self.refiner is not None and self.refines:
            # Trusted: a refiner that is told to doubt tokens adds fewer beats and moves no stroke nearer to its stress.
            seed = self.seed * 100_003 + first_step
            refined = refine_next(self.refiner, decoded, sound, emotion, known=self._last, seed=seed)
            # The stroke is the clip's own: protected again after the refiner has had its say.
            motion = overlay(refined, clips, placed, first)
        lap("refine")
        # The next chunk continues the motion before its constraints are met: solving fades in and out by itself, and a
        # fade that spans the border must not be applied to what was already solved.
        motion = unsolved = self._continued(plant(motion))
        motion = self._borne(motion, emotion, placed, first)
        mine = [c for c in constraints if c.from_s < (first + frames) / FPS + 0.2 and c.to_s > first / FPS - 0.2]
        if mine:
            shift = first / FPS
            motion = solve(motion, [replace(c, from_s=c.from_s - shift, to_s=c.to_s - shift) for c in mine])
        lap("solve")
        self._codes = np.concatenate([self._codes, codes])[-CONTEXT_STEPS:]
        self._last = unsolved.slice(frames - KNOWN_FRAMES, frames)
        return Chunk(first_step, codes, decoded, motion, timings, self.codec.config.parts)

    def end(self, frames: int) -> None:
        """The turn is over after `frames` frames: the idle clock moves on."""
        self._turn_began_s += frames / FPS

    def _borne(self, motion: Motion, emotion: Emotion, placed: Sequence[Placed], first: int) -> Motion:
        """With the bearing of a feeling that comes over it, frames `first`.. of the turn."""
        free = {limb: np.ones(len(motion), np.float32) for limb in LIMBS}
        for item in placed:
            for limb in parts_of(item.performance):
                free[limb] *= 1 - weights(item.phases, first, len(motion))
        felt = feeling(self._felt, np.array(emotion.vector, np.float32), len(motion))
        if len(felt):
            self._felt = felt[-1]
        return with_bearing(motion, felt, free)

    def _continued(self, motion: Motion) -> Motion:
        if self._last is None:
            return motion
        return inertialize(self._last, motion, SEAM_HALF_LIFE_S)

"""The teacher: rules from gesture studies with stochastic performers, which make the paired motion that we lack.

`speaking` gives the motion of somebody who says a text with given gestures; `listening` of somebody who hears it,
answers what is said and nods in pauses, with an oracle's knowledge of what comes; `beating` the same motion with the
rhythm of the speech in it, which is too quick for motion tokens and is the refiner's. Nothing here is a model of a
person: no figure on teacher data is called human-likeness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visavis.agent.choreography import Choice, Placed, arms_of, compose, place, weights
from visavis.emotion import Emotion
from visavis.finetune.teacher.answers import answers
from visavis.finetune.teacher.beats import ArmPath, arm_path, plan_beats
from visavis.finetune.teacher.body import emotion_posture, listener_tracks, speaker_tracks
from visavis.finetune.teacher.rhythm import LEAST_STRESS, beat_curve, beats_of, with_rhythm
from visavis.motion import rotations
from visavis.motion.idle import idle, relaxed_pose
from visavis.motion.ik import solve_arm
from visavis.motion.kinematics import forward, to_frame
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import CORE_BONES, FINGERS, Skeleton, default_skeleton
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word

__all__ = ["TAIL_S", "Taught", "beating", "listening", "speaking"]

TAIL_S = 0.9
Array = NDArray[np.float32]

# emotion: (size, tempo, rate of beats) at full intensity
_MANNER = {
    "neutral": (1.0, 1.0, 1.0), "joy": (1.2, 1.1, 1.25), "sadness": (0.6, 0.75, 0.6), "anger": (1.25, 1.25, 1.3),
    "fear": (0.7, 1.15, 0.8), "surprise": (1.2, 1.15, 1.1), "disgust": (0.8, 0.9, 0.8),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Taught:
    """A taught motion: frames from 0, the gestures in it, where the speech ends, and the stresses that have a beat."""

    motion: Motion
    placed: tuple[Placed, ...]
    speech_end_s: float
    beats_s: tuple[float, ...] = ()


def _manner(emotion: Emotion) -> tuple[float, float, float]:
    size, tempo, rate = _MANNER[emotion.name]
    k = emotion.intensity
    return 1 + (size - 1) * k, 1 + (tempo - 1) * k, 1 + (rate - 1) * k


def speaking(
    words: Sequence[Word],
    speech_s: float,
    emotion: Emotion,
    choices: Sequence[Choice],
    library: Library,
    performer: Performer,
    rng: np.random.Generator,
) -> Taught:
    """Somebody says these words.

    Args:
        words: with times from the start of the motion.
        speech_s: where the speech ends; the motion ends `TAIL_S` later or with the last gesture.
        emotion: of the whole stretch.
        choices: gestures by word.
        library: where they are.
        performer: whose body it is.
        rng: makes every choice.
    """
    placed = place(choices, words, library, performer)
    end = max([speech_s + TAIL_S, *(p.phases.end_s + 0.1 for p in placed)])
    frames = int(np.ceil(end * FPS))
    size, tempo, rate = _manner(emotion)
    head_busy = [(p.phases.start_s, p.phases.end_s) for p in placed if _moves_head(p)]
    head, spine = speaker_tracks(words, frames, emotion, rng, liveliness=size * performer.amplitude, quiet=head_busy)
    motion = _posed(idle(frames, int(rng.integers(1 << 30))), head, spine, emotion)
    busy = [(p.phases.start_s, p.phases.end_s, arm) for p in placed for arm in arms_of(p.performance)]
    dominant = performer.handedness if rng.random() < 0.9 else "left"
    keys, stresses = plan_beats(
        words, busy, rng, rate=float(np.clip(0.5 * rate * performer.amplitude, 0.1, 0.9)),
        size=size * performer.amplitude, tempo=tempo * performer.tempo, dominant=dominant,
    )  # fmt: skip
    for side, arm_keys in keys.items():
        if arm_keys:
            path = arm_path(arm_keys, frames, _home_wrist(motion.skeleton), rng)
            motion = _with_arm(motion, side, path, performer.openness)
    return Taught(compose(motion, placed), tuple(placed), speech_s, tuple(stresses))


def listening(
    partner: Sequence[Word],
    partner_s: float,
    emotion: Emotion,
    performer: Performer,
    rng: np.random.Generator,
    feel: Callable[[str], str] | None = None,
    eager: bool = False,
) -> Taught:
    """Somebody hears these words.

    Args:
        partner: words with times from the start of the motion.
        partner_s: where they end; the motion ends `TAIL_S` later or with the last answer.
        emotion: of the listener, for the whole stretch.
        performer: whose body it is.
        rng: makes every choice.
        feel: the emotion of a sentence (`answers.feeling_of`); without it only single words are answered.
        eager: answer all that calls for it, and largely.
    """
    given = answers(partner, performer, rng.spawn(1)[0], feel, eager)
    end = max([partner_s + TAIL_S, *(one.at_s + one.length_s + 0.1 for one in given)])
    frames = int(np.ceil(end * FPS))
    head, spine, _ = listener_tracks(partner, frames, emotion, rng, liveliness=performer.amplitude, answers=given)
    return Taught(_posed(idle(frames, int(rng.integers(1 << 30))), head, spine, emotion), (), partner_s)


def beating(
    motion: Motion,
    words: Sequence[Word],
    emotion: Emotion,
    performer: Performer,
    gestures: Sequence[tuple[Phases, Sequence[str]]],
    rng: np.random.Generator,
) -> Motion:
    """The motion of somebody who says these words, with head, torso and forearms beating on the stresses.

    Args:
        motion: from the beginning of the words.
        words: with stress times.
        emotion: sets the size.
        performer: whose body it is.
        gestures: their sync points, and the limbs that each uses: an arm that is used does not beat.
        rng: of small variation.
    """
    accents = [(word.stress_s, word.stress) for word in words if word.stress >= LEAST_STRESS]
    free = {side: np.ones(len(motion), np.float32) for side in ("left", "right")}
    for phases, limbs in gestures:
        for side in free.keys() & set(limbs):
            free[side] *= 1 - weights(phases, 0, len(motion))
    curve = beat_curve(accents, len(motion), rng)
    return with_rhythm(motion, curve, beats_of(performer, _manner(emotion)[0]), free)


def _moves_head(item: Placed) -> bool:
    return "head" in item.performance.bones


def _posed(motion: Motion, head: Array, spine: Array, emotion: Emotion) -> Motion:
    """Spread head and spine tracks over their bones and set the shoulders."""
    turned = motion.rotations.copy()
    skeleton = motion.skeleton
    shares = {"neck": (head, 0.4), "head": (head, 0.6)} | {
        bone: (spine, share) for bone, share in zip(CORE_BONES[1:4], (0.3, 0.35, 0.35), strict=True)
    }
    for bone, (track, share) in shares.items():
        i = skeleton.index(bone)
        turned[:, i] = rotations.multiply(turned[:, i], rotations.from_rotation_vector(track * share))
    lift = emotion_posture(emotion)[2]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        i = skeleton.index(f"{side}Shoulder")
        raised = rotations.from_axis_angle(np.array([0, 0, 1], np.float32), np.float32(sign * lift))
        turned[:, i] = rotations.multiply(raised, turned[:, i])
    return replace(motion, rotations=turned)


def _home_wrist(skeleton: Skeleton) -> Array:
    """(3,) the resting left wrist in the chest frame."""
    positions, orientations = forward(relaxed_pose(skeleton)[None], skeleton.offsets_m[:1], skeleton)
    chest, hand = skeleton.index("upperChest"), skeleton.index("leftHand")
    return to_frame((positions[:, chest], orientations[:, chest]), positions[:, hand])[0]


def _with_arm(motion: Motion, side: str, path: ArmPath, openness: float) -> Motion:
    """Put an arm on a path; where it is not engaged it stays as it was."""
    engaged = path.engaged > 1e-4
    if not engaged.any():
        return motion
    skeleton = motion.skeleton
    wrist = (
        path.wrist[engaged]
        + np.array([0.08 * openness, 0.02 * openness, 0.02 * openness], np.float32) * (path.engaged[engaged, None])
    )
    elbow = np.array([0.26, -0.16, -0.02], np.float32)
    fingers = rotations.normalize(wrist - elbow)
    palm = path.palm[engaged]
    palm = rotations.normalize(palm - np.sum(palm * fingers, axis=-1, keepdims=True) * fingers)
    hand = rotations.from_matrix(np.stack([fingers, -palm, np.cross(fingers, -palm)], axis=-1))
    if side == "right":
        wrist, hand = wrist * np.array([-1, 1, 1], np.float32), rotations.mirror(hand)
    solved = solve_arm(default_skeleton(), side, wrist, hand)
    turned = motion.rotations.copy()
    arm = skeleton.indices([f"{side}{bone}" for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand")])
    x = np.clip(2.5 * path.engaged[engaged], 0, 1)
    share = np.broadcast_to((x * x * (3 - 2 * x))[:, None], solved.shape[:2])
    rows = np.flatnonzero(engaged)[:, None]
    turned[rows, arm] = rotations.slerp(turned[rows, arm], solved, share)
    curled = skeleton.indices([f"{side}{f}{j}" for f in FINGERS[1:] for j in ("Proximal", "Intermediate", "Distal")])
    vectors = rotations.to_rotation_vector(turned[rows, curled])
    opened = 1 - (0.35 + 0.15 * openness) * path.engaged[engaged]
    turned[rows, curled] = rotations.from_rotation_vector(vectors * opened[:, None, None])
    return replace(motion, rotations=turned)

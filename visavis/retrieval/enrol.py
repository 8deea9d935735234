"""Enrolment: a recording of anybody's, in any format that is read, becomes a clip of the library.

It is brought to the default body, turned to face forward, trimmed to its phases and encoded into motion tokens; its
meaning becomes a vector. Nothing is trained: the clip is found and performed at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import LexiconError
from visavis.motion import rotations as rot
from visavis.motion.files import find_format, read_motion
from visavis.motion.fitting import same_skeleton
from visavis.motion.kinematics import chest_frame, positions, to_frame
from visavis.motion.motion import FPS, Motion
from visavis.motion.phase_detection import find_phases, moving_hands
from visavis.motion.phases import Phases
from visavis.motion.retarget import retarget
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, default_skeleton
from visavis.retrieval.clips import MOST_FRAMES, Clip, ClipStore, slug_of
from visavis.retrieval.embedder import Embedder
from visavis.retrieval.posing import Performance, Performer
from visavis.tokenizers.codec import MotionCodec

__all__ = ["Twin", "clip_of", "codec_hash", "find_twins", "performance_of", "retokenised"]

LONGEST_MEANING: Final = 200
SAME_PLACE_M: Final = 0.03  # wrists that stay this near all the way make the same recording


@dataclass(frozen=True)
class Twin:
    """An earlier clip that a new one resembles; `distance_m` is the mean distance of the wrists, in time with each."""

    name: str
    gloss: str
    distance_m: float


def codec_hash(codec: MotionCodec) -> str:
    """SHA-256 of a codec's weights: tokens mean something under these alone."""
    digest = hashlib.sha256()
    for name, value in sorted(codec.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def clip_of(
    source: Path | str | Motion,
    meaning: str,
    codec: MotionCodec,
    *,
    gloss: str | None = None,
    examples: Sequence[str] = (),
    phases: Phases | None = None,
    skeleton: Path | str | None = None,
    embedder: Embedder | None = None,
) -> Clip:
    """Make a clip of a recording.

    Args:
        source: a motion file of any format, or a motion.
        meaning: one line saying what the gesture means.
        codec: makes its tokens.
        gloss: what it shall be called; the name of the file if None.
        examples: sentences that people say with it; each is one more way to find it.
        phases: sync points on the recording's clock; SmartBody's own or those found from wrist speed if None.
        skeleton: the `.sk` of a SmartBody motion that lies apart from it.
        embedder: of the meaning.

    Raises:
        FileFormatError: the file cannot be read.
        LexiconError: nothing to be found by, or a recording too short or too long for one gesture.
    """
    line = " ".join(meaning.split())
    if not any(c.isalpha() for c in line) or len(line) > LONGEST_MEANING:
        raise LexiconError(
            f"expected a meaning of up to {LONGEST_MEANING} characters; got {line[:60]!r}: say what it means"
        )
    if isinstance(source, Motion):
        motion, name, own = source, gloss or line, None
    else:
        motion = read_motion(source, skeleton=skeleton)
        name, own = gloss or Path(source).stem, _own_phases(source)
    if len(motion) < 4:
        raise LexiconError(f"expected a recording of one gesture; {name} has {len(motion)} frames")
    if not same_skeleton(motion.skeleton, default_skeleton()):
        motion = retarget(motion)
    phases = phases or own or find_phases(motion)
    if phases.end_s > motion.duration_s + 0.5 / FPS or phases.start_s < 0:
        raise LexiconError(f"expected phases inside the recording of {motion.duration_s:.2f} s; got {phases}")
    first, last = int(np.floor(phases.start_s * FPS)), int(np.ceil(phases.end_s * FPS)) + 1
    trimmed = _facing(motion).slice(first, last)
    if not 4 <= len(trimmed) <= MOST_FRAMES:
        raise LexiconError(
            f"expected a gesture of 0.2 to {MOST_FRAMES // FPS} s; {name} has {len(trimmed) / FPS:.1f} s: "
            "give its phases"
        )
    trimmed = replace(trimmed, skeleton=default_skeleton())
    said = tuple(" ".join(example.split()) for example in examples if example.strip())
    vectors = (embedder or Embedder()).encode([line, *said]).astype(np.float32)
    return Clip(
        slug_of(name), _plain(name), line, said, trimmed, phases.shifted(-first / FPS), moving_hands(trimmed),
        codec.encode(trimmed).astype(np.int32), codec_hash(codec), vectors,
        "" if isinstance(source, Motion) else Path(source).name,
    )  # fmt: skip


def _plain(name: str) -> str:
    """A gloss of letters, digits and spaces: it is read and written by the language model as text."""
    return " ".join(slug_of(name).replace("_", " ").split())


def _own_phases(path: Path | str) -> Phases | None:
    if find_format(path) != "skm":
        return None
    from visavis.motion.smartbody import read_phases

    return read_phases(path)


def _facing(motion: Motion) -> Motion:
    """The motion with its body facing +Z at the place of the default body, judged by the hips' middle heading."""
    skeleton = motion.skeleton
    hips = skeleton.index("hips")
    ahead = rot.rotate(motion.rotations[:, hips], np.array([0, 0, 1], np.float32))
    heading = float(np.arctan2(np.median(ahead[:, 0]), np.median(ahead[:, 2])))
    turned = motion.rotations.copy()
    back = rot.from_axis_angle([0, 1, 0], np.float32(-heading))
    turned[:, hips] = rot.multiply(np.broadcast_to(back, (len(motion), 4)), turned[:, hips])
    middle = np.median(motion.root_m, axis=0)
    root = rot.rotate(np.broadcast_to(back, (len(motion), 4)), motion.root_m - middle) + skeleton.offsets_m[hips]
    return replace(motion, rotations=turned, root_m=root.astype(np.float32))


def performance_of(clip: Clip, performer: Performer | None = None, hand: str | None = None) -> Performance:
    """A clip as the choreography places it: the arms that take part, and head and torso, from its first frame on.

    A one-handed clip is mirrored for the other `hand`, or for a left-hander where no hand is asked for.
    """
    motion, hands = clip.motion, clip.hands
    left_hander = performer is not None and performer.handedness == "left"
    wanted = hand if hand in ("left", "right") else ("left" if left_hander and hands == "right" else hands)
    if hands in ("left", "right") and wanted in ("left", "right") and wanted != hands:
        motion, hands = motion.mirrored(), wanted
    sides = ("left", "right") if hands == "both" else (hands,) if hands != "none" else ()
    bones = (*CORE_BONES, *(f"{side}{bone}" for side in sides for bone in ARM_BONES))
    return Performance(clip.gloss, motion, clip.phases, bones, [], hands, {}, {}, clip.name, recorded=True)


def _wrists(motion: Motion, frames: int) -> NDArray[np.float64]:
    """(frames, 2, 3) wrists in the chest frame at as many moments, evenly spread."""
    places = positions(motion)
    chest = chest_frame(motion)
    both = np.stack([to_frame(chest, places[:, motion.skeleton.index(f"{s}Hand")]) for s in ("left", "right")], axis=1)
    at = np.linspace(0, len(both) - 1, frames)
    low = np.minimum(at.astype(int), len(both) - 2)
    share = (at - low)[:, None, None]
    return np.asarray(both[low] * (1 - share) + both[low + 1] * share, np.float64)


def find_twins(clip: Clip, store: ClipStore) -> list[Twin]:
    """Earlier clips that show the same movement, nearest first."""
    mine, found = _wrists(clip.motion, 32), []
    for other in store:
        if abs(len(other.motion) - len(clip.motion)) > 0.25 * len(clip.motion):
            continue
        apart = float(np.linalg.norm(_wrists(other.motion, 32) - mine, axis=-1).mean())
        if apart < SAME_PLACE_M:
            found.append(Twin(other.name, other.gloss, apart))
    return sorted(found, key=lambda twin: twin.distance_m)


def retokenised(clip: Clip, codec: MotionCodec) -> Clip:
    """The clip with the tokens of another codec."""
    return replace(clip, codes=codec.encode(clip.motion).astype(np.int32), codec=codec_hash(codec))

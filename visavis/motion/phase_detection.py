"""Find the phases of a gesture in a recording, from the speed of the wrists (or of the head, where no hand moves).

A gesture is a run of movement between rests. Its stroke is the fastest rise and fall of speed that is neither the way
up from rest nor the way back, where there are three or more; of two the first, because the hand then strikes on its way
up (Kendon 2004). What is found is a proposal: the caller may give better times.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from visavis.motion.kinematics import chest_frame, positions, tips, to_frame
from visavis.motion.motion import Motion
from visavis.motion.phases import Phases

__all__ = ["find_phases", "hands_of", "moving_hands", "phases_of", "speed_of"]

Doubles = NDArray[np.float64]

SMOOTHING_S: Final = 0.05
STILL_SHARE: Final = 0.12  # of the greatest speed: slower than this is rest or hold
STILL_M_S: Final = 0.10
LEAST_M_S: Final = 0.20  # a hand that never moves faster takes no part
SHARE_OF_HAND: Final = 0.35  # of the other hand's way, below which a hand only accompanies
APEX_SHARE: Final = 0.25  # as in `visavis.metrics.strokes`


def speed_of(path: Doubles, fps: float) -> Doubles:
    """(T,) m/s of a path (T, 3) in metres, smoothed."""
    smooth = gaussian_filter1d(path, SMOOTHING_S * fps, axis=0, mode="nearest")
    return np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * fps


def _wrist_speeds(motion: Motion) -> dict[str, Doubles]:
    chest, places = chest_frame(motion), positions(motion)
    return {
        side: speed_of(to_frame(chest, places[:, motion.skeleton.index(f"{side}Hand")]).astype(np.float64), motion.fps)
        for side in ("left", "right")
    }


def moving_hands(motion: Motion) -> str:
    """Which hands take part: "left", "right", "both" or "none"."""
    return hands_of(_wrist_speeds(motion))


def hands_of(speeds: dict[str, Doubles]) -> str:
    """The same from the speeds (T,) of both wrists, m/s."""
    way = {side: float(np.clip(v - STILL_M_S, 0, None).sum()) for side, v in speeds.items()}
    most = max(way.values())
    busy = [s for s in way if speeds[s].max() > LEAST_M_S and way[s] >= SHARE_OF_HAND * most]
    return "both" if len(busy) == 2 else busy[0] if busy else "none"


def find_phases(motion: Motion, hands: str | None = None) -> Phases:
    """Propose the seven sync points of the one gesture that a recording holds.

    Args:
        motion: on any skeleton with our bones, T frames at `motion.fps`, at least four.
        hands: which hands make it ("left", "right", "both", "none" for the head); found if None.

    Returns:
        Phases on the recording's clock; a recording in which nothing moves has them spread over its length.

    Raises:
        ValueError: fewer than four frames.
    """
    if len(motion) < 4:
        raise ValueError(f"expected a recording of at least four frames; got {len(motion)}")
    hands = hands or moving_hands(motion)
    if hands == "none":
        head = tips(motion).get("head")
        if head is None:
            head = positions(motion)[:, motion.skeleton.index("head")]
        speed = speed_of(to_frame(chest_frame(motion), head).astype(np.float64), motion.fps)
    else:
        speeds = _wrist_speeds(motion)
        speed = np.max([speeds[side] for side in speeds if hands in (side, "both")], axis=0)
    return phases_of(speed, float(motion.fps))


def phases_of(speed: Doubles, fps: float) -> Phases:
    """The same from the speed (T,) of what moves, m/s."""
    last = len(speed) - 1
    still = max(STILL_SHARE * float(speed.max()), min(STILL_M_S, 0.5 * float(speed.max())))
    moving = np.flatnonzero(speed > still)
    if not len(moving) or speed.max() < 1e-4:
        return Phases(*(float(x) for x in np.linspace(0, last / fps, 7)))
    first, end = int(moving[0]), int(moving[-1])
    padded = np.concatenate([[0.0], speed, [0.0]])
    from scipy.signal import find_peaks  # takes most of a second to import

    peaks, _ = find_peaks(padded, height=2 * still, prominence=0.5 * still)
    peaks = peaks - 1
    if not len(peaks):
        peaks = np.array([int(np.argmax(speed))])
    inner = peaks[1:-1] if len(peaks) > 2 else peaks[:1]
    peak = int(inner[np.argmax(speed[inner])])
    begin = peak
    while begin > first and speed[begin] > still and speed[begin - 1] <= speed[begin]:
        begin -= 1
    apex = peak
    while apex < end and speed[apex] > APEX_SHARE * speed[peak] and speed[apex + 1] <= speed[apex]:
        apex += 1
    # The way back begins with the last rise of speed after the apex; what lies between is still the stroke, or a hold.
    later = peaks[peaks > apex]
    back = int(later[-1]) if len(later) else end
    while back > apex and speed[back - 1] <= speed[back]:
        back -= 1
    ready = begin
    while ready > first and speed[ready - 1] <= still:
        ready -= 1
    times = np.maximum.accumulate([max(first - 1, 0), ready, begin, apex, back, back, min(end + 1, last)])
    return Phases(*(float(t) / fps for t in times))

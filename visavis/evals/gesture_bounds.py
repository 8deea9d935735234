"""What a performed gesture must keep: `python -m visavis.evals.gesture_bounds [GLOSS ...]` names what does not.

Every variant is performed and measured as a motion: joints inside their limits, hands and forearms outside trunk, neck
and head, wrists no faster than people gesture, from HOME and back to it, the fast movement ending at the stroke.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from visavis.metrics.strokes import detect_strokes
from visavis.motion import rotations as rot
from visavis.motion.collision import penetration_m
from visavis.motion.idle import relaxed_pose
from visavis.motion.kinematics import chest_frame, positions, to_frame
from visavis.motion.limits import excess
from visavis.motion.motion import FPS
from visavis.retrieval.lexicon import Gesture, load_lexicon
from visavis.retrieval.posing import Performance, Performer, perform

__all__ = ["Measured", "faults", "measure"]

MOST_EXCESS_DEG: Final = 4.0
MOST_INSIDE_M: Final = 0.010
MOST_SPEED_M_S: Final = 4.0
MOST_FROM_HOME: Final = 0.01  # radians
MOST_LATE_S: Final = 0.05


@dataclass(frozen=True)
class Measured:
    """One performance, measured: degrees beyond limits, metres inside the body, m/s, radians from HOME, seconds."""

    excess_deg: float
    inside_m: float
    speed_m_s: float
    from_home: float
    late_s: float


def measure(made: Performance) -> Measured:
    """Measure a performance; `late_s` is 0 for gestures of the head and NaN where no stroke is found."""
    motion = made.motion
    sides = ["left", "right"] if made.hand == "both" else [made.hand] if made.hand != "none" else []
    chest = chest_frame(motion)
    places = positions(motion)
    wrists = [to_frame(chest, places[:, motion.skeleton.index(f"{side}Hand")]) for side in sides]
    speed = max((float(np.linalg.norm(np.diff(w, axis=0), axis=1).max()) * FPS for w in wrists), default=0.0)
    apexes = [stroke.apex_s for w in wrists for stroke in detect_strokes(w)]
    late = min((abs(apex - made.phases.stroke_s) for apex in apexes), default=float("nan") if wrists else 0.0)
    pose = relaxed_pose()
    ends = max(float(rot.angle_between(motion.rotations[frame], pose).max()) for frame in (0, -1))
    return Measured(
        float(np.degrees(excess(motion.rotations)).max()), float(penetration_m(motion).max()), speed, ends, late
    )


def faults(gesture: Gesture, variant: str, performer: Performer | None = None) -> Iterator[str]:
    """What a variant breaks, one line each."""
    made = perform(gesture, performer or Performer.neutral(), variant=variant)
    m = measure(made)
    if m.excess_deg > MOST_EXCESS_DEG:
        yield f"{made.clip}: a joint is {m.excess_deg:.1f}° beyond its limit"
    if m.inside_m > MOST_INSIDE_M:
        yield f"{made.clip}: a hand or forearm is {1000 * m.inside_m:.0f} mm inside the body"
    if m.speed_m_s > MOST_SPEED_M_S:
        yield f"{made.clip}: a wrist moves at {m.speed_m_s:.1f} m/s"
    if m.from_home > MOST_FROM_HOME:
        yield f"{made.clip}: it begins or ends {m.from_home:.2f} rad from HOME"
    if not m.late_s <= MOST_LATE_S:
        yield f"{made.clip}: the fast movement ends {m.late_s:.2f} s from the stroke"


def main(glosses: list[str]) -> int:
    """Print every fault; 1 if there is one."""
    lexicon = load_lexicon()
    found = 0
    for gloss in glosses or lexicon:
        for variant in lexicon[gloss].variant_names:
            for fault in faults(lexicon[gloss], variant):
                print(fault)
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

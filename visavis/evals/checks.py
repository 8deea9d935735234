"""What a scripted turn is checked for: words, feeling, gestures, timing, smoothness.

Gestures are checked twice, by the record (which gesture, at which word) and by the motion (a stroke of its hand near
the stress of that word). Motion is continuous when no wrist accelerates beyond what arms do and the seams between
clauses are not rougher than the motion inside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from visavis.agent import Turn
from visavis.evals.dialog import Expect, ExpectGesture
from visavis.evals.strokes import UPPER_BODY, apexes, head_apexes, nearest, stress_of_word
from visavis.metrics.smoothness import seam_statistics
from visavis.metrics.strokes import WINDOW_S
from visavis.motion.kinematics import positions
from visavis.motion.motion import FRAMES_PER_STEP, Motion

__all__ = ["Check", "check_turn", "offsets_s"]

LARGEST_STEP_M = 0.2  # of a wrist or the head in one frame (6 m/s): no gesture is so fast
LARGEST_SEAM_RATIO = 1.5  # of the largest change at a border over the largest inside


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `found` says what was there, in words."""

    name: str
    passed: bool
    found: str


def check_turn(turn: Turn, motion: Motion, expect: Expect, elapsed_ms: float) -> list[Check]:
    """All checks of a turn.

    Args:
        turn: as the session returned it.
        motion: read back from its exported file.
        expect: what must hold.
        elapsed_ms: from the user's line to the whole turn.
    """
    checks = _text(turn.text, expect)
    if expect.emotion is not None:
        checks.append(Check(f"emotion: {' or '.join(expect.emotion)}", turn.emotion in expect.emotion, turn.emotion))
    checks += [_gesture(turn, motion, wanted) for wanted in expect.gestures]
    if expect.timing is not None:
        away = np.abs(list(offsets_s(turn, motion).values()))
        middle = float(np.median(away)) * 1000 if len(away) else float("nan")
        limit = expect.timing.median_offset_ms
        said = f"{middle:.0f} ms over {len(away)} strokes" if len(away) else "no gesture of the arms"
        checks.append(Check(f"timing: median offset ≤ {limit:.0f} ms", not len(away) or middle <= limit, said))
    if expect.motion is not None:
        checks.append(_continuous(turn, motion))
    if expect.within_ms is not None:
        checks.append(
            Check(f"within {expect.within_ms:.0f} ms", elapsed_ms <= expect.within_ms, f"{elapsed_ms:.0f} ms")
        )
    return checks


def _text(said: str, expect: Expect) -> list[Check]:
    wanted, low = expect.text, said.lower()
    if wanted is None:
        return []
    checks = []
    if wanted.equals is not None:
        checks.append(Check(f"text equals {wanted.equals!r}", said == wanted.equals, said))
    checks += [Check(f"text contains {part!r}", part.lower() in low, said) for part in wanted.contains]
    if wanted.any:
        found = any(part.lower() in low for part in wanted.any)
        checks.append(Check(f"text contains one of {', '.join(wanted.any)}", found, said))
    checks += [Check(f"text does not contain {part!r}", part.lower() not in low, said) for part in wanted.absent]
    return checks


def _bare(word: str) -> str:
    return re.sub(r"[^\w']", "", word).lower()


def _gesture(turn: Turn, motion: Motion, wanted: ExpectGesture) -> Check:
    name = f"gesture: {' or '.join(wanted.gloss)}" + (f" near {', '.join(wanted.near)}" if wanted.near else "")
    made = [f"{g.gloss} at {c.words[g.anchor].text!r}" for c in turn.record.clauses for g in c.gestures]
    found = "; ".join(made) or "no gesture"
    before, missed = 0, ""
    for clause in turn.record.clauses:
        words = [_bare(word.text) for word in clause.words]
        at = [i for i, word in enumerate(words) if word in {_bare(near) for near in wanted.near}]
        for gesture in clause.gestures:
            close = not wanted.near or any(abs(i - gesture.anchor) <= wanted.words for i in at)
            if gesture.gloss in wanted.gloss and close:
                stress = stress_of_word(turn.speech, before + gesture.anchor)
                times = apexes(motion, gesture.hand) if gesture.hand != "none" else head_apexes(motion)
                away = abs(nearest(times, stress, WINDOW_S))
                if away <= wanted.stroke_within_s:
                    return Check(name, True, f"{found}; stroke {1000 * away:.0f} ms from the stress")
                missed = f"; no stroke of it within {1000 * wanted.stroke_within_s:.0f} ms of the stress in the motion"
        before += len(words)
    return Check(name, False, found + missed)


def offsets_s(turn: Turn, motion: Motion) -> dict[tuple[int, int], float]:
    """Signed seconds from the stress of its word to the nearest stroke, by (clause, gesture), for gestures of arms."""
    out, before = {}, 0
    for i, clause in enumerate(turn.record.clauses):
        for k, gesture in enumerate(clause.gestures):
            if gesture.hand != "none":
                stress = stress_of_word(turn.speech, before + gesture.anchor)
                out[i, k] = nearest(apexes(motion, gesture.hand), stress, WINDOW_S)
        before += len(clause.words)
    return out


def _continuous(turn: Turn, motion: Motion) -> Check:
    places = positions(motion)[:, motion.skeleton.indices(list(UPPER_BODY))]
    step = float(np.linalg.norm(np.diff(places, axis=0), axis=-1).max()) if len(places) > 1 else 0.0
    borders = [clause.first_step * FRAMES_PER_STEP for clause in turn.record.clauses[1:]]
    seams = seam_statistics(places, borders)
    smooth = seams.n == 0 or seams.worst_ratio <= LARGEST_SEAM_RATIO
    finite = bool(np.isfinite(motion.rotations).all())
    found = f"largest step {100 * step:.1f} cm a frame; {seams.n} seams" + (
        f", at most {seams.worst_ratio:.2f} of the largest change inside" if seams.n else ""
    )
    return Check("motion: continuous", finite and step <= LARGEST_STEP_M and smooth, found)

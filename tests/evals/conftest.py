"""A turn made by hand: known words, a known stroke, no model."""

import numpy as np
import pytest

from visavis.agent.turn import ClauseRecord, GestureRecord, Turn, TurnRecord, WordRecord
from visavis.motion.idle import idle
from visavis.motion.motion import Motion
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.speech.types import Phoneme, Speech, Word

LEAD_S = 1.0


def _speech(words: list[str]) -> Speech:
    """Half a second a word, the stressed vowel 0.2 s into it."""
    made, phonemes, at = [], [], 0
    for i, text in enumerate(words):
        start = LEAD_S + 0.5 * i
        made.append(Word(text, start, start + 0.5, 0.8, start + 0.2, at, at + len(text)))
        phonemes += [Phoneme("t", start, start + 0.2), Phoneme("a", start + 0.2, start + 0.5, 2)]
        at += len(text) + 1
    return Speech(" ".join(words), np.zeros(22050 * 4, np.int16), 22050, tuple(made), tuple(phonemes), "silent")


@pytest.fixture(scope="session")
def huge_turn() -> Turn:
    """ "A really huge fish", with `huge size` whose stroke ends on the vowel of "huge"."""
    words = ["A", "really", "huge", "fish."]
    speech = _speech(words)
    performance = perform(load_lexicon()["huge size"], Performer.neutral())
    p = performance.phases
    apex = speech.words[2].stress_s
    first = round((apex - p.stroke_s) * 30)
    base = idle(120, 0)
    turned = base.rotations.copy()
    count = min(len(performance.motion), 120 - first)
    bones = base.skeleton.indices([b for b in performance.bones if b in base.skeleton.names])
    turned[first : first + count, bones] = performance.motion.rotations[:count, bones]
    motion = Motion(turned, base.root_m)
    shift = first / 30
    times = {
        name: getattr(p, name) + shift
        for name in ("start_s", "ready_s", "stroke_start_s", "stroke_s", "stroke_end_s", "relax_s", "end_s")
    }
    gesture = GestureRecord(
        gloss="huge size", clip="huge size", score=0.9, source="model", candidates=[], anchor=2, hand="both",
        params={}, warp=1.0, **times,
    )  # fmt: skip
    clause = ClauseRecord(
        text=speech.text, start_s=LEAD_S, end_s=3.0, emotion="joy", intensity=0.7,
        words=[WordRecord(text=w.text, start_s=w.start_s, end_s=w.end_s, stress=w.stress) for w in speech.words],
        visemes=[], gestures=[gesture], first_step=0, tokens={}, provenance=[],
    )  # fmt: skip
    record = TurnRecord(
        agent="Maya", user=None, text=speech.text, duration_s=4.0, seed=0, planner="hand", engine="none",
        timings_ms={}, degraded=[], fingerprint="", parts=[], heard_s=None, clauses=[clause], constraints=[],
    )  # fmt: skip
    return Turn(record, speech, motion)

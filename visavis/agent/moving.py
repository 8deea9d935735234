"""MOVE, DECODE, REFINE and SOLVE of one clause: its body and face, sent with its voice.

Where somebody waits for it, the first second of a turn is moved and sent before the rest of its clause is written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.body import Chunk
from visavis.agent.events import FaceDelta, MotionDelta, SpeechDelta
from visavis.agent.grid import STEP_S, cues, move_steps, step_count, words_by_step
from visavis.agent.records import viseme_records, word_records
from visavis.agent.work import SpokenClause, Work
from visavis.errors import ServiceError
from visavis.motion.motion import FPS, FRAMES_PER_STEP
from visavis.speech.face import face_track
from visavis.speech.prosody import prosody
from visavis.tokenizers.turn_language import MAX_CONTEXT_STEPS, MovePrompt

__all__ = ["move_clause"]

TAIL_S: Final = 0.9
FIRST_STEPS: Final = 8  # of a streamed turn, that are sent before the rest of the clause: about a second
WORTH_STEPS: Final = 14  # shorter clauses are not cut

MOVE_S: Final = 30.0  # the longest that a mover may take for a clause


def move_clause(work: Work, number: int) -> None:
    """Move a clause of the turn and send it; the clauses before it have moved."""
    clause, first = work.clauses[number], work.moved_steps
    last = _last_step(work, number, first)
    cuts = [first, last]
    if work.streamed and first == 0 and last >= WORTH_STEPS:
        cuts = [first, FIRST_STEPS, last]
    face = _face(work, clause, first, last)
    for a, b in zip(cuts, cuts[1:], strict=False):
        chunk, forced = _piece(work, number, a, b)
        shown = face[(a - first) * FRAMES_PER_STEP : (b - first) * FRAMES_PER_STEP]
        _add(clause, replace(chunk, motion=chunk.motion.with_face(shown)), forced)
        work.moved_steps = b
        work.first("first_motion")
        if a == first:
            work.send(SpeechDelta(
                pcm=clause.speech.samples, sample_rate_hz=clause.speech.sample_rate_hz, start_s=clause.start_s,
                words=[r.model_dump() for r in word_records(clause)],
                visemes=[r.model_dump() for r in viseme_records(clause)],
            ))  # fmt: skip
        work.send(FaceDelta(weights=shown, start_s=a * STEP_S))
        work.send(MotionDelta(rotations=chunk.motion.rotations, root_m=chunk.motion.root_m, start_s=a * STEP_S))


def _last_step(work: Work, number: int, first: int) -> int:
    """The step after the clause's last: where the next one begins, or where the hands have come home."""
    if number + 1 < len(work.clauses):
        return max(step_count(work.clauses[number + 1].start_s - STEP_S / 2), first + 1)
    clause = work.clauses[number]
    # A recording may end in silence: the hands come home in it.
    sounding = max((w.end_s for w in clause.rhythm), default=clause.end_s) if work.recording else clause.end_s
    gestures = [item.phases.end_s + 0.1 for c in work.clauses for item in c.placed]
    return max(step_count(max([clause.end_s, sounding + TAIL_S, *gestures])), first + 1)


def _piece(work: Work, number: int, first: int, last: int) -> tuple[Chunk, NDArray[np.bool_]]:
    """The body of some steps of a clause, and which of its tokens were forced."""
    clause = work.clauses[number]
    placed = [item for c in work.clauses for item in c.placed]
    words = [w for c in work.clauses for w in c.rhythm]
    speech_end = max((w.end_s for w in words), default=0.0) if number + 1 == len(work.clauses) else 1e9
    with work.stage("move"):
        clips, clip_codes, forced = work.body.clips(placed, first, last)
        texts = words_by_step(clause.words, first, last)
        beats = [beat for c in work.clauses for beat in c.beats_s]
        marks = cues(words, [item.phases for item in placed], first, last, speech_end, beats)
        prompt = MovePrompt("speak", clause.emotion, tuple(work.context[-MAX_CONTEXT_STEPS:]))
        try:
            codes = work.call("mover", MOVE_S, lambda: work.tools.mover.move(
                prompt, texts, marks, clip_codes, forced, seed=work.seed * 1009 + number, cancel=work.cancel
            ))  # fmt: skip
            most = work.body.codec.config.codebook_size
            if codes.shape != clip_codes.shape or codes.min() < 0 or codes.max() >= most:
                raise ServiceError(f"the mover wrote tokens {codes.shape} that the codec does not have")
        except ServiceError as error:
            work.degrade(f"movement: {error}", "gestures over the idle body")
            codes = clip_codes
    sound = np.zeros(((last - first) * FRAMES_PER_STEP, 5), np.float32)
    heard = prosody(clause.speech)
    at = round(clause.start_s * FPS) - first * FRAMES_PER_STEP
    low, high = max(at, 0), min(at + len(heard), len(sound))
    if high > low:
        sound[low:high] = heard[low - at : high - at]
    constraints = [c for item in placed for c in item.constraints]
    work.cancel.check()
    chunk = work.body.write(first, codes, clips, placed, constraints, sound, clause.emotion, check=work.cancel.check)
    for name, ms in chunk.timings_ms.items():
        work.timings_ms[name] = work.timings_ms.get(name, 0.0) + ms
    work.context += move_steps(texts, marks, codes, forced)
    return chunk, forced


def _add(clause: SpokenClause, chunk: Chunk, forced: NDArray[np.bool_]) -> None:
    """A piece of the clause has moved."""
    if clause.chunk is None or clause.forced is None:
        clause.chunk, clause.forced = chunk, forced
        return
    before = clause.chunk
    clause.chunk = replace(
        before,
        codes=np.concatenate([before.codes, chunk.codes]),
        decoded=before.decoded.concatenate(chunk.decoded),
        motion=before.motion.concatenate(chunk.motion),
        timings_ms={name: ms + before.timings_ms.get(name, 0.0) for name, ms in chunk.timings_ms.items()},
    )
    clause.forced = np.concatenate([clause.forced, forced])


def _face(work: Work, clause: SpokenClause, first: int, last: int) -> np.ndarray:
    """(T, 52) the face of these steps, blended over from what it was at the border."""
    frames = (last - first) * FRAMES_PER_STEP
    # The clause begins somewhere inside its first step, or after the lead-in of the first gesture.
    lead = max(round(clause.start_s * FPS) - first * FRAMES_PER_STEP, 0)
    track = face_track(
        clause.speech,
        clause.emotion,
        seed=work.seed,
        duration_s=max(frames - lead, 1) / FPS,
        start_s=clause.start_s,
        starts_turn=first == 0,
        ends_turn=clause is work.clauses[-1],  # the next clause is spoken before this one moves
        previous=work.face[-1][-1] if work.face and not lead else None,
    )
    track = np.concatenate([np.repeat(track[:1], lead, axis=0), track])
    track = np.pad(track, ((0, max(frames - len(track), 0)), (0, 0)), mode="edge")[:frames].astype(np.float32)
    if lead and work.face:
        share = (np.arange(1, lead + 1) / (lead + 1))[:, None].astype(np.float32)
        track[:lead] = work.face[-1][-1] * (1 - share) + track[:lead] * share
    work.face.append(track)
    return track

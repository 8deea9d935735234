"""From the work of a turn to its record (`turn.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visavis.agent.choreography import Placed
from visavis.agent.turn import (
    ClauseRecord,
    ConstraintRecord,
    GestureRecord,
    ProvenanceRecord,
    TurnRecord,
    VisemeRecord,
    WordRecord,
)
from visavis.agent.work import SpokenClause, Work
from visavis.motion.constraints import Constraint
from visavis.speech.visemes import visemes

__all__ = ["clause_record", "gesture_record", "turn_record", "viseme_records", "word_records"]


def word_records(clause: SpokenClause) -> list[WordRecord]:
    """The words of a clause on the turn's clock."""
    return [WordRecord(text=w.text, start_s=w.start_s, end_s=w.end_s, stress=w.stress) for w in clause.words]


def viseme_records(clause: SpokenClause) -> list[VisemeRecord]:
    """The visemes of a clause on the turn's clock."""
    return [
        VisemeRecord(name=v.name, start_s=v.start_s + clause.start_s, end_s=v.end_s + clause.start_s)
        for v in visemes(clause.speech)
    ]


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them: places become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}


def gesture_record(item: Placed) -> GestureRecord:
    """One placed gesture."""
    choice, p = item.choice, item.phases
    return GestureRecord(
        gloss=choice.gloss, clip=item.performance.clip, score=choice.score, source=choice.source,  # type: ignore[arg-type]
        candidates=list(choice.candidates), anchor=choice.word, hand=item.performance.hand or "none",
        params=_plain(item.performance.params), warp=item.warp,
        start_s=p.start_s, ready_s=p.ready_s, stroke_start_s=p.stroke_start_s, stroke_s=p.stroke_s,
        stroke_end_s=p.stroke_end_s, relax_s=p.relax_s, end_s=p.end_s,
    )  # fmt: skip


def _provenance(clause: SpokenClause, clauses: list[SpokenClause]) -> list[ProvenanceRecord]:
    """Runs of steps with one source, part by part; a step forced by a clip names the clip nearest in time."""
    assert clause.chunk is not None and clause.forced is not None, "a clause is recorded after it has moved"
    placed = [item for c in clauses for item in c.placed]
    out: list[ProvenanceRecord] = []
    for column, part in enumerate(clause.chunk.parts):
        for row, forced in enumerate(clause.forced[:, column]):
            step = clause.chunk.first_step + row
            source = "model"
            if forced:
                near = min(placed, key=lambda item: abs(item.phases.stroke_s - (step + 0.5) * 4 / 30))
                source = f"clip:{near.performance.clip}"
            if out and out[-1].part == part and out[-1].source == source and out[-1].to_step == step:
                out[-1].to_step = step + 1
            else:
                out.append(ProvenanceRecord(from_step=step, to_step=step + 1, part=part, source=source))
    return out


def clause_record(clause: SpokenClause, clauses: list[SpokenClause]) -> ClauseRecord:
    """One clause that has moved."""
    assert clause.chunk is not None, "a clause is recorded after it has moved"
    codes = clause.chunk.codes
    return ClauseRecord(
        text=clause.text, start_s=clause.start_s, end_s=clause.end_s, emotion=clause.emotion.name,
        intensity=clause.emotion.intensity, words=word_records(clause), visemes=viseme_records(clause),
        gestures=[gesture_record(item) for item in clause.placed], first_step=clause.chunk.first_step,
        tokens={part: [int(c) for c in codes[:, i]] for i, part in enumerate(clause.chunk.parts)},
        provenance=_provenance(clause, clauses),
    )  # fmt: skip


def _constraint_record(c: Constraint) -> ConstraintRecord:
    def triple(v: object) -> tuple[float, float, float] | None:
        return None if v is None else tuple(float(x) for x in v)  # type: ignore[return-value,attr-defined]

    return ConstraintRecord(
        bone=c.bone, frame=c.frame, target_m=triple(c.target_m), direction=triple(c.direction),
        from_s=c.from_s, to_s=c.to_s, source=c.source,
    )  # fmt: skip


def turn_record(work: Work, user: str | None, text: str, duration_s: float) -> TurnRecord:
    """Everything that is known of a finished turn."""
    moved = [clause for clause in work.clauses if clause.chunk is not None]
    return TurnRecord(
        agent=work.tools.persona.name, user=user, text=text, duration_s=duration_s, seed=work.seed,
        planner=work.tools.planner.name, engine=work.tools.engine,
        timings_ms={k: round(v, 2) for k, v in work.timings_ms.items()},
        degraded=[*work.tools.degraded, *work.degraded],
        fingerprint=work.tools.fingerprint, parts=list(work.body.codec.config.parts), heard_s=None,
        clauses=[clause_record(clause, moved) for clause in moved],
        constraints=[_constraint_record(c) for clause in moved for item in clause.placed for c in item.constraints],
    )  # fmt: skip

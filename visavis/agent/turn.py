"""A turn: what was said and done, as data (`turn.json`) and as speech and motion. Times count from its start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from visavis.agent.events import Event
from visavis.motion.motion import Motion
from visavis.speech.types import Speech

__all__ = [
    "ClauseRecord",
    "ConstraintRecord",
    "GestureRecord",
    "ProvenanceRecord",
    "Turn",
    "TurnRecord",
    "VisemeRecord",
    "WordRecord",
]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WordRecord(_Record):
    """One spoken word; stress in [0, 1]."""

    text: str
    start_s: float
    end_s: float
    stress: float


class VisemeRecord(_Record):
    """One Oculus viseme."""

    name: str
    start_s: float
    end_s: float


class GestureRecord(_Record):
    """One gesture: who chose it, among what, and its sync points."""

    gloss: str
    clip: str
    score: float
    source: Literal["model", "rule", "caller"]
    candidates: list[tuple[str, float]]
    anchor: int
    hand: str
    params: dict[str, float | int | str | list[float]]
    warp: float
    start_s: float
    ready_s: float
    stroke_start_s: float
    stroke_s: float
    stroke_end_s: float
    relax_s: float
    end_s: float


class ProvenanceRecord(_Record):
    """Where the tokens of some steps of one part came from: `model` or `clip:NAME`."""

    from_step: int
    to_step: int
    part: str
    source: str


class ClauseRecord(_Record):
    """One clause, the unit of streaming. `anchor` of a gesture is an index into this clause's words."""

    text: str
    start_s: float
    end_s: float
    emotion: str
    intensity: float
    words: list[WordRecord]
    visemes: list[VisemeRecord]
    gestures: list[GestureRecord]
    first_step: int
    tokens: dict[str, list[int]]
    provenance: list[ProvenanceRecord]


class ConstraintRecord(_Record):
    """A timed constraint that the solver met."""

    bone: str
    frame: str
    target_m: tuple[float, float, float] | None
    direction: tuple[float, float, float] | None
    from_s: float
    to_s: float
    source: str


class TurnRecord(_Record):
    """The content of `turn.json`, version 1."""

    version: Literal[1] = 1
    agent: str
    user: str | None
    text: str
    duration_s: float
    fps: Literal[30] = 30
    seed: int
    planner: str
    engine: str
    timings_ms: dict[str, float]
    degraded: list[str]
    fingerprint: str
    parts: list[str]
    heard_s: float | None
    clauses: list[ClauseRecord]
    constraints: list[ConstraintRecord]


@dataclass(frozen=True, eq=False)
class Turn:
    """A finished turn.

    Attributes:
        record: everything that is in `turn.json`.
        speech: the voice of the whole turn, 16-bit mono; its words and phonemes on the turn's clock.
        motion: body and face, 30 fps, as long as the turn.
        events: every event of the turn in order.
    """

    record: TurnRecord
    speech: Speech
    motion: Motion
    events: tuple[Event, ...] = field(default=())

    @property
    def text(self) -> str:
        """What was said."""
        return self.record.text

    @property
    def gestures(self) -> list[GestureRecord]:
        """All gestures in order."""
        return [gesture for clause in self.record.clauses for gesture in clause.gestures]

    @property
    def emotion(self) -> str:
        """The emotion of the first clause, neutral for an empty turn."""
        return self.record.clauses[0].emotion if self.record.clauses else "neutral"

    def save(
        self, folder: str | Path, *, avatar: str | Path | None = None, to_avatar: str | Path | None = None
    ) -> Path:
        """Write the folder of a turn.

        turn.json, speech.wav, motion.bvh, motion.glb, motion.vrma, motion.npz (the same motion), face.csv, events.jsonl
        and preview.png.

        Args:
            folder: made where it is missing.
            avatar: a shipped avatar (`visavis.motion.avatar.avatar_names`) whose body the motion is for.
            to_avatar: somebody's own `.vrm` or `.glb`: written beside as `avatar.vrm` or `avatar.glb`, with the motion
                and the face inside, retargeted to its bones.

        Returns:
            The folder.

        Raises:
            FileFormatError: `avatar` or `to_avatar` cannot be used.
        """
        from visavis.agent.preview import write_preview
        from visavis.motion.avatar import load_avatar
        from visavis.motion.bvh import write_bvh
        from visavis.motion.fitting import fitted
        from visavis.motion.glb import write_glb
        from visavis.motion.livelink import write_livelink
        from visavis.motion.retarget import retarget
        from visavis.motion.smplx import write_npz
        from visavis.motion.vrm import bake, read_vrm
        from visavis.motion.vrma import write_vrma
        from visavis.speech.wav import write_wav

        body = load_avatar(avatar)
        theirs = read_vrm(to_avatar) if to_avatar is not None else None
        motion = fitted(self.motion, body)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "turn.json").write_text(self.record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        write_wav(folder / "speech.wav", self.speech.samples, self.speech.sample_rate_hz)
        write_bvh(motion, folder / "motion.bvh")
        write_glb(motion, folder / "motion.glb", body)
        write_vrma(motion, folder / "motion.vrma")
        write_npz(motion, folder / "motion.npz")
        write_livelink(motion, folder / "face.csv")
        if theirs is not None:
            name = "avatar.vrm" if theirs.humanoid else "avatar.glb"
            bake(retarget(self.motion, theirs.skeleton), theirs, folder / name)
        lines = [json.dumps(event.to_json(), default=_plain) for event in self.events]
        (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        write_preview(self, folder / "preview.png", body)
        return folder


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in an event")

"""The contact sheet of a turn: poses over a timeline of words, emotion, gesture phases and energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visavis.motion.contact_sheet import grid
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.render import render

if TYPE_CHECKING:
    from visavis.agent.turn import Turn
    from visavis.motion.avatar import Avatar

__all__ = ["write_preview"]

POSES = 6
SIZE = (220, 290)
_INK, _SOFT, _STROKE, _PHASE, _WORD = (52, 58, 70), (205, 210, 220), (214, 84, 76), (240, 190, 150), (226, 232, 243)
_FEELING = {
    "neutral": (222, 226, 232), "joy": (250, 214, 120), "sadness": (150, 178, 214), "anger": (226, 128, 118),
    "fear": (186, 164, 212), "surprise": (150, 212, 196), "disgust": (172, 196, 128),
}  # fmt: skip


def _moments(turn: Turn) -> list[tuple[float, str]]:
    """The times that are drawn: every stroke, then evenly spread ones."""
    end = turn.record.duration_s
    chosen = [(g.stroke_s, g.gloss) for g in turn.gestures][:POSES]
    for at in np.linspace(0.1, max(end - 0.2, 0.1), POSES):
        if len(chosen) < POSES and all(abs(at - t) > 0.4 * end / POSES for t, _ in chosen):
            chosen.append((float(at), ""))
    return sorted(chosen)


def write_preview(turn: Turn, path: str | Path, avatar: Avatar | None = None) -> None:
    """Draw the turn as one PNG, on the default avatar or another."""
    motion = turn.motion
    moments = _moments(turn) if len(motion) else []
    pictures = [render(motion, min(round(t * motion.fps), len(motion) - 1), SIZE, avatar=avatar) for t, _ in moments]
    if not pictures:
        pictures, moments = [Image.new("RGB", SIZE, (255, 255, 255))], [(0.0, "")]
    sheet = grid(pictures, [f"{t:.1f} s {name}".strip() for t, name in moments], columns=len(pictures))
    width = sheet.width
    line = Image.new("RGB", (width, 190), (255, 255, 255))
    _timeline(turn, ImageDraw.Draw(line), width)
    out = Image.new("RGB", (width, sheet.height + line.height), (255, 255, 255))
    out.paste(sheet, (0, 0))
    out.paste(line, (0, sheet.height))
    out.save(path)


def _timeline(turn: Turn, pen: ImageDraw.ImageDraw, width: int) -> None:
    end = max(turn.record.duration_s, 0.1)
    small = ImageFont.load_default(12)

    def x(time_s: float) -> float:
        return 8 + (width - 16) * time_s / end

    for clause in turn.record.clauses:
        pen.rectangle((x(clause.start_s), 4, x(clause.end_s), 20), fill=_FEELING[clause.emotion])
        pen.text((x(clause.start_s) + 4, 12), f"{clause.emotion} {clause.intensity:.1f}", _INK, small, anchor="lm")
        for number, word in enumerate(clause.words):
            low = 26 + 15 * (number % 2)
            pen.rectangle((x(word.start_s), low, x(word.end_s), low + 14), fill=_WORD)
            pen.text((x(word.start_s) + 2, low + 7), word.text, _INK, small, anchor="lm")
    for gesture in turn.gestures:
        pen.rectangle((x(gesture.start_s), 60, x(gesture.end_s), 76), fill=_SOFT)
        pen.rectangle((x(gesture.ready_s), 60, x(gesture.relax_s), 76), fill=_PHASE)
        pen.line((x(gesture.stroke_s), 56, x(gesture.stroke_s), 80), fill=_STROKE, width=2)
        pen.text((x(gesture.start_s) + 3, 68), gesture.gloss, _INK, small, anchor="lm")
    _energy(turn, pen, x)
    for second in range(int(end) + 1):
        pen.line((x(second), 168, x(second), 174), fill=_INK)
        pen.text((x(second), 181), f"{second} s", _INK, small, anchor="mm")


def _energy(turn: Turn, pen: ImageDraw.ImageDraw, x: object) -> None:
    """Speed of both wrists (lines, to 3 m/s) over the loudness of the voice (filled)."""
    assert callable(x)
    rate, samples = turn.speech.sample_rate_hz, turn.speech.samples.astype(np.float32) / 32768
    window = max(rate // 30, 1)
    loud = np.sqrt(
        np.array([np.mean(samples[i : i + window] ** 2) for i in range(0, len(samples), window)] or [np.float64(0.0)])
    )
    loud = loud / max(float(loud.max()), 1e-6)
    for i, value in enumerate(loud):
        pen.line((x(i / 30), 164, x(i / 30), 164 - 70 * float(value)), fill=(228, 231, 238), width=2)
    motion = turn.motion
    if len(motion) < 3:
        return
    places = positions(motion)
    for bone, colour in (("leftHand", (76, 132, 214)), ("rightHand", _STROKE)):
        wrist = to_chest(motion, places[:, motion.skeleton.index(bone)])
        speed = np.linalg.norm(np.gradient(wrist, axis=0), axis=1) * motion.fps
        pen.line([(x(i / 30), 164 - 70 * min(float(v) / 3, 1)) for i, v in enumerate(speed)], fill=colour, width=2)

"""A contact sheet: chosen frames of a motion in a grid, with labels, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from visavis.motion.avatar import Avatar
from visavis.motion.motion import Motion
from visavis.motion.render import Camera, render

__all__ = ["contact_sheet", "grid"]

_INK = (52, 58, 70)
_PAPER = (255, 255, 255)
_GAP = 6


def _fitted(text: str, width: int, size: int) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """The text in the largest default font, at most `size`, that fits; cut with an ellipsis where none does."""
    while True:
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            return text, font
        if size > 9:
            size -= 1
        else:
            text = text[:-2].rstrip("…") + "…"


def grid(
    pictures: Sequence[Image.Image],
    labels: Sequence[str],
    path: str | Path | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> Image.Image:
    """Pictures of one size in a grid with a label under each; saved where a path is given.

    Args:
        pictures: at least one, all of the size of the first.
        labels: one per picture; an empty one leaves its line blank.
        path: where to save (PNG by extension), or None.
        columns: pictures per row; by default a grid a little wider than high.
        title: a line above.
    """
    if not pictures or len(labels) != len(pictures):
        raise ValueError(f"a grid needs one label per picture and at least one; got {len(pictures)}, {len(labels)}")
    width, height = pictures[0].size
    columns = min(len(pictures), columns or max(1, round((len(pictures) * 1.6) ** 0.5)))
    rows = -(-len(pictures) // columns)
    line = max(16, height // 14) if any(labels) else 0
    head = max(24, height // 9) if title else 0
    full = (columns * (width + _GAP) + _GAP, head + rows * (height + line + _GAP) + _GAP)
    sheet = Image.new("RGB", full, _PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        text, font = _fitted(title, full[0] - 2 * _GAP, int(head * 0.62))
        pen.text((_GAP + 2, head / 2 + 2), text, _INK, font, anchor="lm")
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = _GAP + i % columns * (width + _GAP), head + _GAP + i // columns * (height + line + _GAP)
        sheet.paste(picture, (x, y))
        if label:
            text, font = _fitted(label, width - 4, int(line * 0.72))
            pen.text((x + width / 2, y + height + line / 2), text, _INK, font, anchor="mm")
    if path is not None:
        sheet.save(path)
    return sheet


def contact_sheet(
    motion: Motion,
    frames: Sequence[int],
    labels: Sequence[str] | None = None,
    path: str | Path | None = None,
    views: Sequence[str | Camera] = ("front",),
    size: tuple[int, int] = (240, 320),
    columns: int | None = None,
    title: str | None = None,
    avatar: Avatar | None = None,
) -> Image.Image:
    """Frames of a motion side by side; several views make one row for each view.

    Args:
        motion: what to show.
        frames: frame numbers, in the order of the sheet.
        labels: one per frame; by default the time in seconds.
        path: where to save, or None.
        views: names of `visavis.motion.render.VIEWS` or cameras.
        size: width, height of one picture in pixels.
        columns: pictures per row, for one view; with several views a row holds all frames.
        title: a line above.
        avatar: whom to draw; the default one if None.
    """
    labels = [f"{frame / motion.fps:.2f} s" for frame in frames] if labels is None else list(labels)
    if len(labels) != len(frames):
        raise ValueError(f"one label per frame expected; got {len(frames)} frames and {len(labels)} labels")
    pictures = [render(motion, frame, size, view, avatar) for view in views for frame in frames]
    columns = len(frames) if len(views) > 1 else columns
    return grid(pictures, labels * len(views), path, columns, title)

"""See a gesture: `python -m visavis.retrieval.look OUT.png [GLOSS[/VARIANT] ...]` draws its sync points.

With `GLOSS/*` every variant is drawn, one row each.
"""

from __future__ import annotations

import sys

from PIL import Image

from visavis.motion.contact_sheet import grid
from visavis.motion.render import Camera, render
from visavis.retrieval.lexicon import PLAIN, load_lexicon
from visavis.retrieval.posing import Performer, perform

__all__ = ["look", "overview"]

_FRONT = Camera((0, 1.22, 0), 1.2, floor=False)


def look(glosses: list[str], path: str, size: tuple[int, int] = (230, 230), columns: int | None = None) -> Image.Image:
    """Draw ready, stroke and the end of the stroke from the front, and that end from the main hand's side."""
    lexicon = load_lexicon()
    pictures, labels = [], []
    wanted = []
    for name in glosses:
        gloss, _, variant = name.partition("/")
        wanted += [(gloss, v) for v in (lexicon[gloss].variant_names if variant == "*" else [variant or PLAIN])]
    for gloss, variant in wanted:
        made = perform(lexicon[gloss], Performer.neutral(), variant=variant)
        side = Camera((0, 1.22, 0.12), 1.2, azimuth=1.1 if made.hand == "left" else -1.1, floor=False)
        p = made.phases
        for at_s, view, label in (
            (p.ready_s, _FRONT, f"{gloss}: ready" if variant == PLAIN else f"{gloss}/{variant}"),
            (p.stroke_s, _FRONT, "stroke"),
            (p.stroke_end_s, _FRONT, "stroke end"),
            (p.stroke_end_s, side, "from the side"),
        ):
            pictures.append(render(made.motion, round(at_s * made.motion.fps), size, view))
            labels.append(label)
    return grid(pictures, labels, path, columns or (8 if len(wanted) > 3 else 4))


def overview(glosses: list[str], path: str, size: tuple[int, int] = (110, 110), columns: int = 16) -> Image.Image:
    """Draw all of them at their stroke from the front, on one page."""
    pictures = []
    for gloss in glosses:
        made = perform(load_lexicon()[gloss], Performer.neutral())
        pictures.append(render(made.motion, round(made.phases.stroke_end_s * made.motion.fps), size, _FRONT))
    return grid(pictures, glosses, path, columns)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("expected a file to write; got nothing: python -m visavis.retrieval.look OUT.png [GLOSS ...]")
    look(sys.argv[2:] or list(load_lexicon()), sys.argv[1])

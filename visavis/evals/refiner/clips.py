"""`python -m visavis.evals.refiner.clips --out DIR`: ten sentences to be looked at, decoded beside refined.

Of each a short moving picture (`NN.webp`: left the decoded tokens without the refiner, right with it) and a row of the
sheet (`sheet.webp`: the same moments, decoded, then refined).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from visavis.agent import Agent
from visavis.evals.first_light.table import progress
from visavis.evals.sheet import SENTENCES
from visavis.motion.contact_sheet import grid
from visavis.motion.motion import FPS, Motion
from visavis.motion.render import render

__all__ = ["main"]

_EVERY: Final = 4  # frames: seven pictures a second
_LONGEST_S: Final = 3.5
_SIZE: Final = (144, 190)
_MOMENTS: Final = 6
_FELT: Final = ("surprise", "joy", "sadness", "neutral", "anger", "sadness", "joy", "neutral", "fear", "neutral")


def _said(agent: Agent, sentence: str, felt: str, refine: bool) -> Motion:
    with agent.session() as session:
        session.update(emotion={"name": felt, "intensity": 0.0 if felt == "neutral" else 0.8}, refine=refine)
        return session.say(sentence).motion


def _side_by_side(pictures: list[Image.Image], text: str) -> Image.Image:
    width, height = pictures[0].size
    out = Image.new("RGB", (width * 2 + 4, height + 16), (255, 255, 255))
    for place, picture in enumerate(pictures):
        out.paste(picture, (place * (width + 4), 0))
    ImageDraw.Draw(out).text((4, height + 2), text, (52, 58, 70))
    return out


def main() -> None:
    """Say the sentences and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer sentences")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    moments: list[Image.Image] = []
    labels: list[str] = []
    with Agent() as agent:
        for number, sentence in enumerate(progress(SENTENCES[: args.limit], "sentences")):
            felt = _FELT[number]
            pair = [_said(agent, sentence, felt, refine) for refine in (False, True)]
            shown = list(range(0, min(*map(len, pair), int(_LONGEST_S * FPS)), _EVERY))
            drawn = [[render(motion, frame, _SIZE) for frame in shown] for motion in pair]
            film = [
                _side_by_side([a, b], f"decoded        refined        {f / FPS:.1f} s")
                for a, b, f in zip(*drawn, shown, strict=True)
            ]
            film[0].save(
                args.out / f"{number + 1:02d}.webp", save_all=True, append_images=film[1:], loop=0, quality=45,
                duration=round(1000 * _EVERY / FPS), method=4,
            )  # fmt: skip
            picks = np.linspace(0, len(shown) - 1, _MOMENTS + 2).astype(int)[1:-1]
            for label, row in zip((f"{number + 1}: {felt}, decoded", "refined"), drawn, strict=True):
                moments += [row[i] for i in picks]
                labels += [f"{label}, {shown[i] / FPS:.1f} s" for i in picks]
    small = [picture.resize((_SIZE[0] * 4 // 5, _SIZE[1] * 4 // 5), Image.Resampling.LANCZOS) for picture in moments]
    grid(small, labels, columns=2 * _MOMENTS).save(args.out / "sheet.webp", quality=70, method=6)


if __name__ == "__main__":
    main()

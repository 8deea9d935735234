"""`python -m visavis.evals.sheet OUT.png`: what ten sentences look like, to be looked at."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from visavis.agent import Agent
from visavis.agent.preview import write_preview

__all__ = ["SENTENCES", "main"]

SENTENCES = (
    "I caught a fish, and it was huge!",
    "Hello everybody, welcome to our little theatre.",
    "I have no idea where I put my keys.",
    "First you mix the flour, then you add the eggs.",
    "Please stop right there, the floor is wet.",
    "I am so sorry to hear about your grandmother.",
    "We finally won the championship!",
    "The road runs from the river to the old church.",
    "Could you come here and help me for a moment?",
    "On the one hand it is cheap, on the other hand it breaks easily.",
)


def main() -> None:
    """Say ten sentences and stack their previews in two columns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--persona", default="friend")
    options = parser.parse_args()
    rows = []
    with Agent(options.persona) as agent, tempfile.TemporaryDirectory() as folder:
        for number, sentence in enumerate(SENTENCES):
            path = Path(folder) / f"{number}.png"
            write_preview(agent.say(sentence), path)
            picture = Image.open(path).convert("RGB")
            rows.append(picture.resize((picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.LANCZOS))
    width, height = max(r.width for r in rows), max(r.height for r in rows)
    sheet = Image.new("RGB", (2 * width + 12, (height + 8) * ((len(rows) + 1) // 2)), (255, 255, 255))
    for number, row in enumerate(rows):
        sheet.paste(row, ((width + 12) * (number % 2), (height + 8) * (number // 2)))
    sheet.save(options.out, optimize=True)


if __name__ == "__main__":
    main()

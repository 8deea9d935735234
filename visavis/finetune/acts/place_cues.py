"""Place the cue words of all gestures by their meaning: `python -m visavis.finetune.acts.place_cues`. Seconds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from visavis.retrieval.cues import DEFAULT_CUES, Cues
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import cue_words

__all__ = ["main"]

DIMENSIONS: Final = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.acts.place_cues", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_CUES, help="the file")
    options = parser.parse_args(arguments)
    lexicon = load_lexicon()
    made = Cues.place({gloss: cues for gloss, cues in cue_words().items() if gloss in lexicon}, DIMENSIONS)
    made.save(options.out)
    print(f"wrote {options.out}: {len(made.vectors):,} cue words of {len(made.of)} gestures")


if __name__ == "__main__":
    main()

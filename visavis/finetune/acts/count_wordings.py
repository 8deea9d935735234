"""Count which words are said with each gesture: `python -m visavis.finetune.acts.count_wordings`.

All authored utterances count (`utterances`, `utterances_more`), and so do cue words; nothing of an evaluation. Seconds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import Utterance, cue_words, load_more, load_utterances
from visavis.retrieval.wordings import DEFAULT_WORDINGS, Wordings, stem

__all__ = ["CUE", "counted", "main"]

CUE: Final = 2  # utterances that a cue word counts as much as


def counted(some: Iterable[Utterance], cues: Mapping[str, Sequence[str]]) -> Wordings:
    """Count utterances and cue words; a cue of one word is the word of the stroke, too."""
    said, starred = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for one in some:
        for place, word in enumerate(one.text.split()):
            said[one.gloss, stem(word)] += 1
            starred[one.gloss, stem(word)] += place in one.anchors
    for gloss, phrases in cues.items():
        for words in (phrase.split() for phrase in phrases):
            for word in words:
                said[gloss, stem(word)] += CUE
                starred[gloss, stem(word)] += CUE * (len(words) == 1)
    return Wordings.count({pair: (count, starred[pair]) for pair, count in said.items() if pair[1]})


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.acts.count_wordings", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_WORDINGS, help="the file")
    options = parser.parse_args(arguments)
    lexicon = load_lexicon()
    some = [one for one in (*load_utterances(), *load_more()) if one.gloss in lexicon]
    made = counted(some, {gloss: cues for gloss, cues in cue_words().items() if gloss in lexicon})
    made.save(options.out)
    print(f"wrote {options.out}: {len(made.stems):,} stems, {len(made.gloss):,} pairs, {len(some):,} utterances")


if __name__ == "__main__":
    main()

"""`python -m visavis.evals.codec.trials [NAME…]`: short runs of the codec with one thing changed, beside each other.

Every trial has the shipped recipe but for what its name says, fewer steps, and the same corpus and seed. Short runs
rank choices that show early (layout, start, quantiser); they say little of what only long training would tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from visavis.evals.codec.figures import MEASURES, Figures, measure, through
from visavis.evals.codec.sets import OURS, held_sets
from visavis.finetune.codec import SHIPPED, CodecTraining, fit
from visavis.finetune.codec_corpus import CodecCorpus
from visavis.tokenizers.codec import PARTS, CodecConfig

__all__ = ["TRIALS", "main"]

_WIDE = {"core": 128, "arm": 224, "hand": 160}
TRIALS: dict[str, tuple[CodecConfig, CodecTraining]] = {
    "shipped": (SHIPPED, CodecTraining()),
    "not chained": (replace(SHIPPED, chained=False), CodecTraining()),
    "three parts": (replace(SHIPPED, parts=PARTS, width={"core": 96, "side": 192}, chained=False), CodecTraining()),
    "three parts, chained": (replace(SHIPPED, parts=PARTS, width={"core": 96, "side": 192}), CodecTraining()),
    "finite scalar, 8 x 8 x 8": (replace(SHIPPED, levels=(8, 8, 8)), CodecTraining()),
    "1024 codes": (replace(SHIPPED, codebook_size=1024), CodecTraining()),
    "unit codes, random start": (replace(SHIPPED, cosine=True, code_dim=16), CodecTraining()),
    "wider": (replace(SHIPPED, width=_WIDE), CodecTraining()),
    "no look-ahead": (replace(SHIPPED, decoder=((3, 0), (3, 0), (2, 0))), CodecTraining()),
    "no acceleration loss": (SHIPPED, CodecTraining(acceleration=0.0)),
    "no resets": (SHIPPED, CodecTraining(dead=0.0)),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train and measure; a trial that was finished is only measured."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.codec.trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRIALS)} (default: all)")
    parser.add_argument("--steps", type=int, default=400, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("runs/trials"), metavar="DIR")
    parser.add_argument("--corpus", type=Path, default=Path("runs/corpora/codec"), metavar="DIR")
    parser.add_argument("--real", type=Path, default=Path(".cache/real"), metavar="DIR")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    corpus, sets = CodecCorpus(args.corpus), held_sets(args.real, OURS)
    print("| trial | parameters, M | " + " | ".join(f"{m}, recordings, ours" for m in MEASURES) + " | codes used |")
    print("|---" * (3 + len(MEASURES)) + "|")
    for name in args.names or TRIALS:
        config, settings = TRIALS[name]
        folder = args.out / name.replace(" ", "_").replace(",", "")
        codec = fit(corpus.sample, folder, config, replace(settings, steps=args.steps), corpus.at)
        ours, cells = Figures(), [name, f"{sum(p.numel() for p in codec.parameters()) / 1e6:.2f}"]
        figures = {label: measure(through(codec), config.parts, config.codebook_size, sets[label]) for label in sets}
        for one in figures.values():
            ours = ours.merged(one)
        first = figures.get("recordings", ours)
        cells += [f"{first.estimate(m).value:.1f}, {ours.estimate(m).value:.1f}" for m in MEASURES]
        cells.append(", ".join(f"{book} {share:.0%}" for book, share in ours.share_used().items()))
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

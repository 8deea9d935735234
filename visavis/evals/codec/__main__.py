"""`python -m visavis.evals.codec [--codec DIR] [--beside DIR] --out FILE.json`.

The codec is measured twice: with codes chosen with care (`encode(motion, careful=True)`), and with the nearest codes,
as it encodes where it is not asked for care. Codecs beside it have the nearest ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from visavis.errors import VisavisError
from visavis.evals.codec.baseline import PlainCodebook
from visavis.evals.codec.figures import Code, through
from visavis.evals.codec.measure import compare, timed
from visavis.evals.codec.sets import NAMES, counted, held_sets
from visavis.finetune.codec_corpus import CodecCorpus
from visavis.motion.idle import idle
from visavis.tokenizers.codec import MotionCodec

__all__ = ["main"]

_SHIPPED = Path(__file__).parents[2] / "models" / "codec"
_WINDOWS = 700
_ABOUT = """The codec itself chooses its codes with care (`encode(motion, careful=True)`); its `nearest codes` are what
`encode(motion)` gives and what models learn from. Sets: `visavis/evals/codec/sets.py`; `and more` are further turns,
variants and performances of held-out performers, for the count of codes alone.

"""


def _name(folder: Path) -> str:
    return "shipped" if folder.resolve() == _SHIPPED.resolve() else str(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.codec", description=__doc__)
    parser.add_argument("--codec", type=Path, default=_SHIPPED, metavar="DIR", help="default: the shipped one")
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="DIR", help="other codecs")
    parser.add_argument("--real", type=Path, default=Path(".cache/real"), metavar="DIR", help="real recordings")
    parser.add_argument(
        "--corpus", type=Path, default=Path("runs/corpora/codec"), metavar="DIR",
        help="what `visavis train codec` made; the plain codebook learns from it and is left out without it",
    )  # fmt: skip
    parser.add_argument("--sets", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument(
        "--more", action=argparse.BooleanOptionalAction, default=True,
        help="count codes over some three hours more of our own held-out motion (default: yes)",
    )  # fmt: skip
    parser.add_argument("--speed", action="store_true", help="time, streaming and size alone")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the table as JSON")
    parser.add_argument("--markdown", type=Path, default=None, metavar="FILE", help="write it for the codec's card")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        codec = MotionCodec.load(args.codec)
        if args.speed:
            table = timed(codec, idle(64, seed=3))
        else:
            systems: dict[str, tuple[Code, Sequence[str], int]] = {}
            for path, one in [(args.codec, codec), *((path, MotionCodec.load(path)) for path in args.beside)]:
                rest = one.config.parts, one.config.codebook_size
                if path == args.codec:
                    systems[_name(path)] = (through(one, careful=True), *rest)
                    systems[f"{_name(path)}, nearest codes"] = (through(one), *rest)
                else:
                    systems[_name(path)] = (through(one), *rest)
            if list(args.corpus.glob("*.npz")):
                windows = CodecCorpus(args.corpus).windows(_WINDOWS, 64, np.random.default_rng(0))
                plain = PlainCodebook(codec.config.parts, codec.config.codebook_size, windows)
                systems["k-means"] = (plain, plain.parts, plain.size)
            more = counted() if args.more else ()
            table = compare(systems, held_sets(args.real, tuple(args.sets)), more)
    except VisavisError as error:
        print(f"visavis: {error}", file=sys.stderr)
        return 1
    print(table)
    if args.out:
        table.write(args.out)
    if args.markdown:
        args.markdown.write_text(_ABOUT + table.markdown(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

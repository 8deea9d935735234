"""`python -m visavis.evals.feeling [NAME …] --out FILE.json`: whether the emotion of a given text is the right one.

The comments are GoEmotions' (`--data`; they are read, never shipped); the vectors of its training part are kept in
`--vectors`, because fifty thousand take minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from visavis.evals.first_light.table import Table, report

__all__ = ["main"]

NAMES = ("comments", "turns", "plain", "speed")


def _measure(args: argparse.Namespace) -> Table:
    import torch

    from visavis.agent import Agent
    from visavis.agent.native import NativePlanner
    from visavis.evals.feeling import measure

    torch.set_num_threads(1)
    table = Table("The emotion of given text")
    with Agent(voice="silent", model=args.model, refine=False, library="/nonexistent") as agent:
        planner = agent.tools.planner
        assert isinstance(planner, NativePlanner), "nothing else was asked for"
        setting = measure.Setting(planner, args.data, args.vectors, args.limit)
        for name in args.names or NAMES:
            getattr(measure, name)(setting, table)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurements; exit status as of the command line."""
    from visavis.finetune.acts.comments import GO_EMOTIONS
    from visavis.finetune.acts.train_feeling import VECTORS

    parser = argparse.ArgumentParser(prog="python -m visavis.evals.feeling", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all), or trust")
    parser.add_argument("--data", type=Path, default=GO_EMOTIONS, metavar="DIR", help="GoEmotions, Ekman's labels")
    parser.add_argument("--vectors", type=Path, default=VECTORS, metavar="DIR", help="where sentence vectors are kept")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer comments and utterances")
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in (*NAMES, "trust"):
            parser.error(f"expected some of {', '.join(NAMES)} or trust, got {name!r}")
    return report(lambda: _measure(args), args.out)


if __name__ == "__main__":
    sys.exit(main())

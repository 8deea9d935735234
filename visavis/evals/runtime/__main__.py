"""`python -m visavis.evals.runtime latency|interrupt|faults|soak|load|listen --out FILE.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visavis.evals.first_light.table import Table, report

__all__ = ["main"]


def _measured(args: argparse.Namespace) -> Table:
    import torch

    torch.set_num_threads(1)  # as the command line does
    if args.name == "latency":
        from visavis.evals.runtime import latency

        return latency.measure(args.count or 50, voice=args.voice)
    if args.name == "interrupt":
        from visavis.evals.runtime import interrupt

        return interrupt.measure(args.count or 100, args.seed, voice=args.voice)
    if args.name == "faults":
        from visavis.evals.runtime import faults

        return faults.measure(args.only)
    if args.name == "load":
        from visavis.evals.runtime import load

        return load.measure(args.count or 50, args.minutes or 2.0, args.seed, voice=args.voice)
    if args.name == "listen":
        from visavis.evals.runtime import listen

        return listen.measure(args.count or 150, args.seed, voice=args.voice)
    from visavis.evals.runtime import soak

    return soak.measure(args.minutes or 10.0, args.count or 500, voice=args.voice)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.runtime", description=__doc__)
    parser.add_argument("name", choices=("latency", "interrupt", "faults", "soak", "load", "listen"))
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument("--count", type=int, default=None, metavar="N", help="turns or interruptions")
    parser.add_argument("--minutes", type=float, default=None, metavar="M", help="for `soak` and `load`: in real time")
    parser.add_argument("--only", default=None, metavar="TEXT", help="for `faults`: scenes with this in their name")
    parser.add_argument("--voice", default=None, metavar="VOICE", help="as of the command line")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    return report(lambda: _measured(args), args.out)


if __name__ == "__main__":
    sys.exit(main())

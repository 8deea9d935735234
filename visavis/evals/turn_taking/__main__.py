"""`python -m visavis.evals.turn_taking [--split dev|test] [--real DIR | --echo | --listener | --fit] [--out FILE]`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, report

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or learn; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.turn_taking", description=__doc__)
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="voices and sentences (default test)")
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="this share of the scenes")
    parser.add_argument("--kinds", metavar="A,B", help="these kinds of scenes only")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--real", metavar="DIR", help="real recordings instead of scenes, e.g. .cache/real")
    parser.add_argument("--echo", action="store_true", help="our own echo at given levels and delays instead of turns")
    parser.add_argument("--listener", action="store_true", help="the listener's nods instead of turns")
    parser.add_argument("--fit", action="store_true", help="learn the melody, the words and the patience anew")
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.fit:
        from visavis.evals.turn_taking.fit import write

        write()
        return 0
    return report(lambda: _measured(args), args.out)


def _measured(args: argparse.Namespace) -> Table:
    if args.real:
        from visavis.evals.turn_taking.real import measure_real

        return measure_real(Path(args.real))
    if args.echo:
        from visavis.evals.turn_taking.echo import measure_echo

        return measure_echo(args.split, max(1, round(3 * args.share)), args.seed)
    if args.listener:
        from visavis.evals.turn_taking.listener import measure_listener

        return measure_listener(args.split, max(1, round(40 * args.share)), args.seed)
    from visavis.evals.turn_taking.measure import COUNTS, measure

    if not 0 < args.share <= 10:
        raise UsageError(f"expected a share of the scenes above 0, got {args.share}")
    kinds = args.kinds.split(",") if args.kinds else list(COUNTS)
    if not set(kinds) <= set(COUNTS):
        raise UsageError(f"expected kinds of {', '.join(COUNTS)}; got {args.kinds}")
    return measure(args.split, {kind: max(1, round(args.share * COUNTS[kind])) for kind in kinds}, args.seed)


if __name__ == "__main__":
    sys.exit(main())

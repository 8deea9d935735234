"""`python -m visavis.evals.personas [measure | emotions | transcripts | draw | reread]`."""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

from visavis.errors import UsageError, VisavisError
from visavis.evals.first_light.table import Table, report

__all__ = ["main"]

NAMES = ("measure", "emotions", "transcripts", "draw", "reread")


def _measure(args: argparse.Namespace) -> Table:
    from visavis.agent.native import NativePlanner
    from visavis.evals.personas.measure import measure, measure_emotions
    from visavis.evals.quiet import planner_of

    with planner_of(args.model) as planner:
        assert isinstance(planner, NativePlanner), "the shipped planner is the native one"
        if args.name == "emotions":
            return measure_emotions(planner, limit=args.limit, seed=args.seed, at_once=args.at_once)
        unquoted = copy.copy(planner)
        unquoted.quotes = False
        return measure(planner, unquoted, limit=args.limit, seed=args.seed, at_once=args.at_once)


def _transcripts(args: argparse.Namespace) -> None:
    import torch

    from visavis.evals.personas.transcripts import play, talks, told

    torch.set_num_threads(1)
    out = Path(args.out or "docs/transcripts.md")
    if not out.parent.is_dir():
        raise UsageError(f"expected a folder to write into; got {out}: run this in the repository, or give --out")
    played = [(talk, play(talk, args.seed, model=args.model, limit=args.limit)) for talk in talks()]
    out.write_text(told(played, args.seed), encoding="utf-8")
    print(f"{out}: {len(played)} talks, {sum(len(turns) for _, turns in played)} turns")


def _draw(args: argparse.Namespace) -> None:
    from visavis.evals.personas.held import draw, write

    if not args.out:
        raise UsageError("expected --out FILE.jsonl to draw questions into; got none")
    write(Path(args.out), draw(args.seed))
    print(f"{args.out}: drawn with seed {args.seed}")


def _reread(args: argparse.Namespace) -> Table:
    import torch

    from visavis.agent.base_reader import BaseReader, write_join
    from visavis.agent.loading import models_folder
    from visavis.agent.smollm import INSTALL, find_smollm
    from visavis.evals.personas.rereading import fit_join, measure

    torch.set_num_threads(1)
    folder, base = args.reader or models_folder() / "base_reader", find_smollm()
    if base is None:
        raise UsageError(f"expected the wheel of SmolLM2-135M, which is not installed: {INSTALL}")
    table, some = measure(BaseReader.load(folder, base).facts, args.limit or 2500, args.seed)
    if args.fit:
        write_join(folder, "facts", fit_join(some))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or write the transcripts; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.personas", description=__doc__)
    parser.add_argument("name", choices=NAMES, nargs="?", default="measure")
    parser.add_argument("--out", "--json", metavar="FILE", help="the table and every reply as JSON; or what is written")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument(
        "--limit", type=int, default=None, metavar="N", help="questions of each kind, turns of a talk, lines to reread"
    )
    parser.add_argument("--reader", type=Path, metavar="DIR", help="reread: another larger reader than the shipped one")
    parser.add_argument("--fit", action="store_true", help="reread: write how finder and reader are joined into DIR")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="replies side by side")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1 or args.at_once < 1:
        parser.error("expected --limit and --at-once of 1 or more")
    if args.name in ("measure", "emotions"):
        return report(lambda: _measure(args), args.out)
    if args.name == "reread":
        return report(lambda: _reread(args), args.out)
    try:
        {"transcripts": _transcripts, "draw": _draw}[args.name](args)
    except VisavisError as error:
        print(f"visavis: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

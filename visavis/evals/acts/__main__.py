"""`python -m visavis.evals.acts NAME --out FILE.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from visavis.agent.joining import FILE, shipped
from visavis.agent.native import NativePlanner
from visavis.agent.work import Tools
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, report

__all__ = ["main"]

NAMES = ("decisions", "tune", "topical", "reread")


def _decisions(args: argparse.Namespace) -> Table:
    from visavis.evals.acts.measure import measure

    tools = _tools(args)
    return measure(tools.planner, tools.library, args.half or "held", args.limit, args.seed)


def _tune(args: argparse.Namespace) -> Table:
    from visavis.evals.acts.tune import tune

    tools = _tools(args)
    assert isinstance(tools.planner, NativePlanner), "the shipped planner is the native one"
    table, joining = tune(tools.planner, tools.library, args.seed)
    print(joining)
    if args.write:
        path = Path(args.model) / FILE if args.model else shipped()
        joining.save(path)
        print(f"written to {path}")
    return table


def _reread(args: argparse.Namespace) -> Table:
    from visavis.agent.base_reader import BaseReader, write_join
    from visavis.agent.loading import models_folder
    from visavis.agent.smollm import INSTALL, find_smollm
    from visavis.evals.acts.rereading import measure
    from visavis.evals.personas.rereading import fit_join

    folder, base = args.reader or models_folder() / "base_reader", find_smollm()
    if base is None:
        raise UsageError(f"expected the wheel of SmolLM2-135M, which is not installed: {INSTALL}")
    table, some = measure(BaseReader.load(folder, base).gestures, _tools(args).library)
    if args.fit:
        write_join(folder, "gestures", fit_join(some))
    return table


def _topical(args: argparse.Namespace) -> Table:
    from visavis.evals.acts.topical import VERDICTS, measure

    tools = _tools(args)
    table, waiting = measure(tools.planner, tools.library, args.limit)
    if waiting:
        print(f'{len(waiting)} gestures wait for a verdict in {VERDICTS}, `"KEY": [true or false, "one reason"]`:')
        print(*waiting, sep="\n")
    return table


def _tools(args: argparse.Namespace) -> Tools:
    """What a turn is made with, as an agent has it; the persona and the voice do not matter here."""
    from visavis.agent.loading import load_tools
    from visavis.agent.persona import load_persona

    torch.set_num_threads(args.threads)
    return load_tools(load_persona("guide"), "silent", args.model, True, Path("/nonexistent"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.acts", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument("--half", choices=("held", "tune"), default=None, help="for `decisions` (default: held)")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--write", action="store_true", help="for `tune`: from now on the planner joins them so")
    parser.add_argument("--reader", type=Path, metavar="DIR", help="reread: another larger reader than the shipped one")
    parser.add_argument("--fit", action="store_true", help="reread: write how recall and reader are joined into DIR")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer sentences of each kind")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    return report(lambda: globals()[f"_{args.name}"](args), args.out)


if __name__ == "__main__":
    sys.exit(main())

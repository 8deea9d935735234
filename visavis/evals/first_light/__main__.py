"""`python -m visavis.evals.first_light NAME --out FILE.json`."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, report

if TYPE_CHECKING:
    from visavis.agent.work import Tools

__all__ = ["main"]

NAMES = ("timing", "seeds", "words", "gestures", "move", "facts", "controls", "speed")


def _timing(args: argparse.Namespace) -> Table:
    from visavis.evals.first_light.timing import measure

    if args.keep:
        return measure(Path(args.keep), args.limit, args.seed, model=args.model, voice=args.voice)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), args.limit, args.seed, model=args.model, voice=args.voice)


def _seeds(args: argparse.Namespace) -> Table:
    import torch

    from visavis.evals.first_light.seeds import measure

    torch.set_num_threads(1)  # as the command line does
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), args.limit, model=args.model, voice=args.voice)


def _words(args: argparse.Namespace) -> Table:
    from visavis.agent import Agent
    from visavis.evals.first_light.words import measure

    with Agent(voice="silent", model=args.model, refine=False) as agent:
        return measure(agent, args.limit)


def _gestures(args: argparse.Namespace) -> Table:
    from visavis.evals.first_light.gestures import measure

    tools = _tools(args)
    return measure(tools.planner, tools.library, args.seed)


def _move(args: argparse.Namespace) -> Table:
    from visavis.agent.embedded import EmbeddedEngine
    from visavis.agent.loading import models_folder
    from visavis.evals.first_light.move import measure
    from visavis.finetune.motion_corpus import MotionCorpus
    from visavis.tokenizers.codec import MotionCodec

    corpus = Path(args.corpus)
    if not corpus.is_dir():
        raise UsageError(f"expected a motion corpus in {corpus}: make it with `visavis train corpus`, or give --corpus")
    codec = MotionCodec.load(models_folder() / "codec")
    engine = EmbeddedEngine.load(Path(args.model) if args.model else models_folder() / "planner")
    return measure(engine, codec, MotionCorpus(corpus, "dev"), args.limit or 150, args.seed, args.heard)


def _facts(args: argparse.Namespace) -> Table:
    from visavis.agent.native import NativePlanner
    from visavis.evals.first_light.facts import measure

    planner = _tools(args).planner
    assert isinstance(planner, NativePlanner), "the shipped planner is the native one"
    unquoted = copy.copy(planner)
    unquoted.quotes = False
    table = measure(planner, unquoted, args.seed)
    for row in table.details["ten_answers"]:
        print(f"{row['persona']}, asked: {row['asked']}\n    {row['said']}")
    return table


def _controls(args: argparse.Namespace) -> Table:
    from visavis.evals.first_light.controls import measure

    return measure(count=args.limit or 1000, seed=args.seed)


def _speed(args: argparse.Namespace) -> Table:
    import torch

    from visavis.evals.first_light.speed import measure

    torch.set_num_threads(1)  # as the command line does
    return measure(args.limit, model=args.model)


def _tools(args: argparse.Namespace) -> Tools:
    """What a turn is made with, as an agent has it; the persona and the voice do not matter here."""
    from visavis.agent.loading import load_tools
    from visavis.agent.persona import load_persona

    return load_tools(load_persona("guide"), "silent", args.model, True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.first_light", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--heard", action="store_true", help="for `move`: only turns that somebody listens to")
    parser.add_argument("--corpus", default="runs/corpora/motion", metavar="DIR", help="for `move`")
    parser.add_argument(
        "--voice", default=None, metavar="NAME", help="for `timing` and `seeds` (default: the persona's)"
    )
    parser.add_argument("--keep", default=None, metavar="DIR", help="for `timing`: keep the turns there")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer sentences or turns")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    return report(lambda: globals()[f"_{args.name}"](args), args.out)


if __name__ == "__main__":
    sys.exit(main())

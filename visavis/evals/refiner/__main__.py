"""`python -m visavis.evals.refiner NAME`: of the frozen held-out turns, which the first call makes in half a minute."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from visavis.agent.loading import models_folder
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, report
from visavis.evals.refiner import measure
from visavis.evals.refiner.material import held_turns, items, systems
from visavis.evals.refiner.recorded import recorded
from visavis.refiner.either import load_refiner
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.model import Refiner
from visavis.tokenizers.codec import MotionCodec

__all__ = ["main"]

_HELD = Path("runs/held_turns")
_COMPARED = {"accuracy": measure.accuracy, "rhythm": measure.rhythm, "frechet": measure.frechet}
_OF_MODES: dict[str, Callable[..., Table]] = {
    "protection": measure.protection, "edits": measure.edits, "seeds": measure.seeds, "free": measure.from_sound,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.refiner", description=__doc__)
    parser.add_argument("name", choices=(*_COMPARED, *_OF_MODES, "seams", "recorded"))
    parser.add_argument("--modes", type=Path, default=None, metavar="DIR", help="with modes (default: the shipped)")
    parser.add_argument("--beside", type=Path, default=None, metavar="DIR", help="one without modes, to compare with")
    parser.add_argument("--codec", type=Path, default=None, metavar="DIR", help="whose tokens (default: the shipped)")
    parser.add_argument(
        "--corpus", type=Path, default=None, metavar="DIR", help=f"other turns (default: the frozen, in {_HELD})"
    )
    parser.add_argument(
        "--real",
        type=Path,
        default=Path(".cache/real/beat2_scott"),
        metavar="DIR",
        help="for `recorded`: NAME.wav with words",
    )
    parser.add_argument("--sure", type=float, default=None, metavar="C", help="confidence in late tokens")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer turns")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the table as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    return report(lambda: _table(args), args.out)


def _table(args: argparse.Namespace) -> Table:
    if args.corpus is not None and not list(args.corpus.glob("dev_*.jsonl")):
        raise UsageError(
            f"expected a motion corpus with a split dev in {args.corpus}: make it with `visavis train corpus`, or "
            "leave --corpus out"
        )
    shipped = load_refiner(args.modes or models_folder() / "refiner")
    modes = shipped if isinstance(shipped, FlowRefiner) else None
    if modes is None and args.name in (*_OF_MODES, "recorded"):
        raise UsageError(f"{args.name} is of the refiner's modes: give --modes DIR, of `visavis train refiner --modes`")
    codec = MotionCodec.load(args.codec or models_folder() / "codec")
    if args.name == "recorded":
        assert modes is not None
        return recorded(args.real, modes, codec)
    first = Refiner.load(args.beside) if args.beside else shipped if isinstance(shipped, Refiner) else None
    turns = items(args.corpus or held_turns(_HELD), codec, args.limit)
    sure = {} if args.sure is None else {"sure": args.sure}
    if args.name in _OF_MODES:
        return _OF_MODES[args.name](turns, modes, **(sure if args.name in ("protection", "seeds") else {}))
    if args.name == "seams":
        return measure.seams(turns, shipped if args.beside is None else Refiner.load(args.beside))
    compared = systems(first, modes)
    return _COMPARED[args.name](turns, compared, **(sure if args.name != "accuracy" else {}))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m visavis.evals.library NAME --out FILE.json`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from visavis.evals.first_light.table import Table, median, report

__all__ = ["main"]

NAMES = ("recall", "parameters", "exact", "described", "speed")


def _recall(args: argparse.Namespace) -> Table:
    from visavis.evals.library.recall import measure

    return measure(args.half, seed=args.seed)


def _parameters(args: argparse.Namespace) -> Table:
    from visavis.agent import Agent
    from visavis.evals.library.parameters import SCENE, measure

    with Agent(voice="silent", model=args.model, refine=False, scene=SCENE, library=args.library) as agent:
        return measure(agent, args.half)


def _exact(args: argparse.Namespace) -> Table:
    from visavis.agent import Agent
    from visavis.evals.library.exact import measure

    with Agent(model=args.model, library=args.library) as agent:
        return measure(agent, args.limit or 200, args.seed)


def _described(args: argparse.Namespace) -> Table:
    from visavis.evals.library.described import measure

    return measure(args.half)


def _speed(args: argparse.Namespace) -> Table:
    """A query among 100,000 clips, and the loading of the shipped library."""
    import subprocess

    from visavis.retrieval.meaning import Meaning
    from visavis.retrieval.vectors import VectorIndex

    rng = np.random.default_rng(args.seed)
    size = Meaning.default().dimensions
    vectors = rng.normal(size=(100_000, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, spent = VectorIndex(vectors), []
    for number in range(args.limit or 200):
        query = vectors[number] + 0.1 * rng.normal(size=size).astype(np.float32)
        began = time.perf_counter()
        index.search(query, 20)
        spent.append(time.perf_counter() - began)
    loading = (
        "import time, numpy, torch, pydantic, yaml, visavis.retrieval.library, visavis.retrieval.index as i\n"
        "from visavis.retrieval.lexicon import load_lexicon\n"
        "b = time.perf_counter(); l = visavis.retrieval.library.Library(load_lexicon(), i.GestureIndex.default())\n"
        "c = time.perf_counter(); [l.lexicon[g] for g in l.glosses]; print(c - b, time.perf_counter() - b)"
    )
    loads = [
        [
            float(x)
            for x in subprocess.run(
                [sys.executable, "-c", loading], capture_output=True, text=True, check=True
            ).stdout.split()
        ]
        for _ in range(7)
    ]
    table = Table("The library's speed")
    table.add("a query among 100,000 clips, median", median(spent), "ms", 1000)
    table.add("the shipped library loaded, median", median([a for a, _ in loads]), "ms", 1000)
    table.add("... and every gesture read, median", median([b for _, b in loads]), "ms", 1000)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.library", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument(
        "--half", choices=("held", "tune"), default="held", help="of `recall`, `parameters`, `described`"
    )
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--library", default="/nonexistent", metavar="DIR", help="added clips (default: none)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer targets or queries")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    return report(lambda: globals()[f"_{args.name}"](args), args.out)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m visavis.evals.engines NAME --out FILE.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from visavis.evals.first_light.table import Table, report

__all__ = ["main"]

NAMES = ("speed", "streams", "busy", "agreement", "refiner")


def _speed(args: argparse.Namespace) -> Table:
    from visavis.agent.embedded import EmbeddedEngine
    from visavis.evals.engines.reference import Reference
    from visavis.evals.engines.requests import real_requests
    from visavis.evals.engines.speed import versus

    engine = EmbeddedEngine.load(args.model)
    return versus(engine, Reference(args.model), real_requests(args.limit or 16, args.model))


def _streams(args: argparse.Namespace) -> Table:
    from visavis.agent.batching import BatchingEngine
    from visavis.evals.engines.requests import real_requests
    from visavis.evals.engines.speed import streams

    return streams(BatchingEngine.load(args.model, batches=1), real_requests(args.limit or 16, args.model))


def _busy(args: argparse.Namespace) -> Table:
    from visavis.agent.batching import BatchingEngine
    from visavis.evals.engines.requests import real_requests
    from visavis.evals.engines.speed import busy

    counts = (args.streams,) if args.streams > 1 else (8,)
    return busy(BatchingEngine.load(args.model), real_requests(args.limit or 16, args.model), counts=counts)


def _agreement(args: argparse.Namespace) -> Table:
    from visavis.agent.batching import BatchingEngine
    from visavis.agent.embedded import EmbeddedEngine
    from visavis.evals.engines.agreement import EPSILON, EPSILON_EXACT, agreement
    from visavis.evals.engines.reference import Reference
    from visavis.evals.engines.requests import Request, real_requests
    from visavis.evals.engines.speed import together

    if args.streams > 1:
        many = BatchingEngine.load(args.model, args.exact)

        def run(requests: Sequence[Request]) -> list[list[int]]:
            groups = [requests[i : i + args.streams] for i in range(0, len(requests), args.streams)]
            return [ids for group in groups for ids in together(many, group)[0]]

    else:
        one = EmbeddedEngine.load(args.model, args.exact)

        def run(requests: Sequence[Request]) -> list[list[int]]:
            return [request.run(one) for request in requests]

    requests = real_requests(args.limit or 50, args.model)
    epsilon = EPSILON_EXACT if args.exact else EPSILON
    return agreement(run, Reference(args.model), requests, requests[0].vocabulary, epsilon)


def _refiner(args: argparse.Namespace) -> Table:
    from visavis.evals.engines.refining import measure

    return measure(args.limit or 20)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    import torch

    from visavis.agent.loading import models_folder

    parser = argparse.ArgumentParser(prog="python -m visavis.evals.engines", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="requests of each kind")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, for all engines")
    parser.add_argument(
        "--streams", type=int, default=1, metavar="N", help="for `agreement` and `busy`: so many at once"
    )
    parser.add_argument("--exact", action="store_true", help="for `agreement`: products in float32")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.model = Path(args.model) if args.model else models_folder() / "planner"
    return report(lambda: globals()[f"_{args.name}"](args), args.out, _divergences)


def _divergences(table: Table) -> None:
    for row in table.details.get("divergences", ()):
        print(
            f"  {row['kind']} {row['place']}: {row['chosen']!r}, reference {row['reference']!r}, {row['margin']} nats"
        )


if __name__ == "__main__":
    sys.exit(main())

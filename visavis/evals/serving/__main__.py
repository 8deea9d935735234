"""Measure engines: `python -m visavis.evals.serving agreement|throughput|cost|sampled|grammars`.

`--base-url` names a server that runs; without it one is started on the model and stopped at the end. `sampled --over
embedded` needs none.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.evals.first_light.table import Table, report

if TYPE_CHECKING:
    from visavis.agent.engine import Engine
    from visavis.evals.serving.calls import Call
    from visavis.retrieval.library import Library

NAMES = ("agreement", "throughput", "cost", "sampled", "grammars")


@contextmanager
def _server(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The address of a server."""
    if args.base_url:
        yield args.base_url
        return
    from visavis.agent.vllm_server import running

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"starting vLLM on port {port}: a minute, or several on busy cores", file=sys.stderr)
    with running(folder, port) as server:
        yield server.base_url


def _measure(args: argparse.Namespace) -> Table:
    import torch

    from visavis.agent import loading
    from visavis.agent.embedded import EmbeddedEngine
    from visavis.agent.transformers_engine import TransformersEngine
    from visavis.agent.vllm_engine import VllmEngine
    from visavis.evals.serving import agreement, calls, cost, grammars, throughput

    torch.set_num_threads(1)
    folder = Path(args.model) if args.model else loading.models_folder() / "planner"
    turns, library = calls.record_turns(args.limit or (32 if args.name == "throughput" else 40), args.model)
    if args.name == "grammars":
        return grammars.measure(turns, library, folder)
    if args.name == "sampled" and args.over == "embedded":
        here: dict[str, Engine] = {"embedded": loading._engine(folder)}
        return _sampled(here, args, turns, library)
    with _server(args, folder) as base_url:
        served = VllmEngine.connect(base_url, folder)
        try:
            if args.name == "agreement":
                asked = agreement.one_of_each(turns, args.prompts)
                others: dict[str, Engine] = {"vllm": served}
                others["embedded, exact"] = EmbeddedEngine.load(folder, exact=True)
                others["embedded"] = EmbeddedEngine.load(folder)
                return agreement.measure(TransformersEngine.load(folder, device="cpu"), others, asked, library)
            if args.name == "cost":
                return cost.measure(served, turns, library)
            embedded = loading._engine(folder)  # as agents run it
            if args.name == "sampled":
                hot: dict[str, Engine] = {"vllm": served} | ({"embedded": embedded} if args.over == "both" else {})
                return _sampled(hot, args, turns, library)
            engines: dict[str, Callable[[], Engine]] = {"vllm": lambda: served, "embedded": lambda: embedded}
            table = throughput.measure(engines, turns, library, args.concurrent, args.rounds)
            table.details["asked"] = dict(served.asked)
            return table
        finally:
            served.connection.close()


def _sampled(
    engines: Mapping[str, Engine], args: argparse.Namespace, turns: Sequence[Sequence[Call]], library: Library
) -> Table:
    from visavis.evals.serving.sampled import measure

    kept = Path(args.kept) if args.kept else None
    return measure(engines, turns, library, args.turns, at_once=args.at_once, minutes=args.minutes, kept=kept)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.serving", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--base-url", default=None, metavar="URL", help="a server that runs already")
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="turns that are recorded")
    parser.add_argument("--prompts", type=int, default=50, metavar="N", help="for `agreement`")
    parser.add_argument("--turns", type=int, default=10_000, metavar="N", help="for `sampled`")
    parser.add_argument("--over", choices=("both", "embedded", "vllm"), default="both", help="engines of `sampled`")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="turns of `sampled` side by side")
    parser.add_argument("--minutes", type=float, default=None, metavar="N", help="for `sampled`: begin no turn later")
    parser.add_argument("--kept", metavar="FILE", help="of `sampled`: judged turns; the same file takes a run up again")
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 8, 32], metavar="N", help="for `throughput`")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="for `throughput`")
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    args = parser.parse_args(argv)
    if min(args.turns, args.at_once) < 1:
        parser.error("expected --turns and --at-once of 1 or more")
    return report(lambda: _measure(args), args.out, _divergences)


def _divergences(table: Table) -> None:
    for name, found in table.details.items():
        for each in found.get("divergences", ()):
            print(f"  {name}: prompt {each['prompt']} ({each['stage']}), id {each['place']}: {each['reference']} "
                  f"became {each['other']}, lead {each['lead']:.4f}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

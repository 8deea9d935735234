"""`python -m visavis.evals.any_body NAME --out FILE.json`."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from visavis.errors import UsageError
from visavis.evals import any_body
from visavis.evals.first_light.table import Table, report

__all__ = ["main", "names"]


def names() -> list[str]:
    """The measurements there are: the modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(any_body.__path__) if not m.name.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one measurement; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.any_body", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--data", default=None, metavar="DIR", help="the recordings (default: of the measurement)")
    parser.add_argument("--out", metavar="FILE", help="write the table and its details as JSON")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer recordings")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(1)  # as the command line does
    module = importlib.import_module(f"visavis.evals.any_body.{args.name}")

    def measured() -> Table:
        data = Path(args.data) if args.data else Path(module.DATA)
        if not data.is_dir():
            raise UsageError(f"expected recordings in {data}: they are not part of the project, give --data DIR")
        table: Table = module.measure(data, args.limit, args.seed)
        return table

    return report(measured, args.out)


if __name__ == "__main__":
    sys.exit(main())

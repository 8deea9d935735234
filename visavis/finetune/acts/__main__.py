"""Write the corpus of ACT: `python -m visavis.finetune.acts --n 30000 --out .cache/corpora/act_{train,dev}.jsonl`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from visavis.finetune.acts.compose import Split, generate, material
from visavis.finetune.text_corpus import write_examples


def main(arguments: Sequence[str] | None = None) -> None:
    """Write train and dev; see `--help`."""
    parser = argparse.ArgumentParser(description="Write the corpus of ACT; files that are there are left as they are.")
    parser.add_argument("--n", type=int, default=30000, help="examples to train on; a tenth of it for dev")
    parser.add_argument(
        "--out",
        nargs=2,
        type=Path,
        default=[Path(".cache/corpora/act_train.jsonl"), Path(".cache/corpora/act_dev.jsonl")],
        help="files for train and dev",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judges", type=Path, default=Path("runs/judges"), help="folder of the indices that are asked")
    options = parser.parse_args(arguments)
    known = material(options.judges)
    sizes: list[tuple[Split, int]] = [("dev", options.n // 10), ("train", options.n)]
    for (split, n), path in zip(sizes, reversed(options.out), strict=True):
        count = write_examples(path, n, partial(generate, known=known, seed=options.seed, split=split))
        print(f"{path}: {count} examples")


if __name__ == "__main__":
    main()

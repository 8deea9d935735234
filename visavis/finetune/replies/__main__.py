"""`python -m visavis.finetune.replies`: write the corpus of REPLY."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from visavis.finetune.replies.corpus import generate
from visavis.finetune.text_corpus import write_examples

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies", description=__doc__)
    parser.add_argument("--n", type=int, default=30_000, help="examples to write (default 30000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=["train", "dev"], default="train")
    parser.add_argument("--out", type=Path, help="a .jsonl file; one that is there is left as it is")
    options = parser.parse_args(arguments)
    if options.out is None:
        parser.error("expected --out FILE.jsonl")
    count = write_examples(options.out, options.n, partial(generate, seed=options.seed, split=options.split))
    print(f"{options.out}: {count} examples")


if __name__ == "__main__":
    main()

"""Train the gesture index on the authored utterances: `python -m visavis.finetune.acts.train_recall [--check]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from visavis.finetune.acts.recall_head import cross_fit, fit_anchor, fit_head, folds_of, lesson, report
from visavis.retrieval.index import DEFAULT_HEAD


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on everything and write the head; see `--help`."""
    parser = argparse.ArgumentParser(description="Train the recall head of the gesture index.")
    parser.add_argument("--check", action="store_true", help="print held-out figures too")
    parser.add_argument("--out", default=str(DEFAULT_HEAD), help="where to write the head")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = lesson()
    folds = folds_of(data.labels)
    heads = cross_fit(data, folds)
    if options.check:
        print(report(data, folds, heads))
    everything = np.ones(len(data.labels), bool)
    common, mix = fit_anchor(data, folds, heads, everything)
    head = fit_head(data, everything, common, mix)
    head.save(Path(options.out))
    print(f"wrote {options.out}: {len(head.glosses)} glosses")


if __name__ == "__main__":
    main()

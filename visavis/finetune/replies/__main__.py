"""`python -m visavis.finetune.replies`: write the corpus of REPLY, or fit and measure the recall of cards."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from visavis.emotion import Emotion
from visavis.finetune.replies.conversation import generate
from visavis.tokenizers.turn_language import Candidate, ReplyPlan, ReplyPrompt, Segment

__all__ = ["main", "read_examples"]


def read_examples(path: Path) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """The examples of a file that this command wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            data = json.loads(line)
            prompt, plan = data["prompt"], data["plan"]
            cards = tuple(Candidate(**card) for card in prompt.pop("cards"))
            history = tuple((speaker, text) for speaker, text in prompt.pop("history"))
            yield (
                ReplyPrompt(cards=cards, history=history, **prompt),
                ReplyPlan(Emotion(**plan["emotion"]), tuple(Segment(**segment) for segment in plan["segments"])),
            )


def _write(path: Path, n: int, seed: int, split: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for prompt, plan in generate(n, seed, split):  # type: ignore[arg-type]
            pair = {"prompt": dataclasses.asdict(prompt), "plan": dataclasses.asdict(plan)}
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")
    part.replace(path)
    print(f"{n} examples in {path}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies", description=__doc__)
    parser.add_argument("--n", type=int, default=30_000, help="examples to write (default 30000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=["train", "dev"], default="train")
    parser.add_argument("--out", type=Path, help="a .jsonl file")
    parser.add_argument(
        "--fit-recall", action="store_true", help="fit visavis/agent/data/recall.json on training settings"
    )
    parser.add_argument("--measure-recall", action="store_true", help="measure the recall of cards on dev settings")
    options = parser.parse_args()
    if options.fit_recall or options.measure_recall:
        from visavis.finetune.replies import fit_recall

        if options.fit_recall:
            fit_recall.fit(options.seed)
        print(json.dumps(fit_recall.measure(options.seed), indent=1))
        return
    if options.out is None:
        parser.error("expected --out FILE.jsonl")
    _write(options.out, options.n, options.seed, options.split)


if __name__ == "__main__":
    main()

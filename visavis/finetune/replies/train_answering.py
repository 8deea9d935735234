"""Train the head of `visavis.agent.answering`: `python -m visavis.finetune.replies.train_answering [--check]`.

Multinomial logistic regression on MiniLM's vectors of the training wordings of every act of REPLY, labelled by what its
replies feel, and of questions to people of the training split, which are answered neutrally. Seconds on one thread.
`--check` prints how often the development wordings, which it has not seen, come out as an emotion of their act.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from visavis.agent.answering import DEFAULT_ANSWERING, Answering
from visavis.emotion import EMOTIONS
from visavis.finetune.replies.conversation import acts
from visavis.finetune.replies.fillers import fill
from visavis.finetune.replies.people import people
from visavis.finetune.replies.worlds import Split, of_split
from visavis.retrieval.embedder import Embedder

__all__ = ["fit", "lines"]

QUESTIONS = 3000
DECAY = 1e-4
STEPS = 400


def lines(split: Split, seed: int = 0) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(line, the emotions of the replies to it) of a split."""
    rng = random.Random(seed)
    for name, act in acts().items():
        if not isinstance(act, dict) or not act.get("user") or not act.get("reply"):
            continue
        felt = tuple(sorted({reply["feel"].split()[0] for reply in act["reply"]}))
        for line in act["user"]:
            if of_split(line, split, "line"):
                yield fill(line, {"name": "Robin"}, {}, rng), ("neutral",) if name == "unknown" else felt
    asked = [ask for person in people(split) for fact in person.facts for ask in (*fact.asks, *fact.near)]
    for ask in rng.sample(asked, QUESTIONS if split == "train" else QUESTIONS // 8):
        yield ask, ("neutral",)


def fit(some: Sequence[tuple[str, tuple[str, ...]]]) -> Answering:
    """The head of these lines; each act's emotions share its weight, questions count as much as all acts together."""
    x = torch.from_numpy(Embedder(capacity=1).encode([line for line, _ in some]))
    y = torch.tensor([[float(name in felt) / len(felt) for name in EMOTIONS] for _, felt in some])
    torch.manual_seed(0)
    head = torch.nn.Linear(x.shape[1], len(EMOTIONS))
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.0)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / STEPS)
        loss = F.cross_entropy(head(x), y) + DECAY * head.weight.square().sum() / len(EMOTIONS)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Answering(head.weight.detach().numpy(), head.bias.detach().numpy())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_answering", description=__doc__)
    parser.add_argument("--check", action="store_true", help="measure on the development split, write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = fit(list(lines("train")))
    vectors = Embedder()
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for line, felt in lines("dev"):
        said = EMOTIONS[int(np.argmax(head.log_chances(line, vectors)))]
        hits[felt == ("neutral",)].append(said in felt)
    for neutral, found in hits.items():
        print(f"{'neutral lines' if neutral else 'other lines'}: {100 * np.mean(found):.1f} % (n = {len(found)})")
    if not options.check:
        head.save(DEFAULT_ANSWERING)
        print(f"written to {DEFAULT_ANSWERING}")


if __name__ == "__main__":
    main()

"""Does an engine write what a float32 reference would? Choice by choice, along what the engine wrote.

The reference reads the engine's own ids, so that one divergence is not counted again in all that follows. Greedy.
Where the reference's best two logits are nearer than `EPSILON`, either choice is right; every divergence is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from visavis.evals.engines.reference import Choice, Reference
from visavis.evals.engines.requests import KINDS, Request
from visavis.evals.first_light.table import Table, progress, share
from visavis.metrics.bootstrap import bootstrap
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["EPSILON", "EPSILON_EXACT", "agreement"]

# Nats between the best two. Some eight times the surest divergence that was seen with bf16 products.
EPSILON: Final = 0.05
EPSILON_EXACT: Final = 0.001

Run = Callable[[Sequence[Request]], list[list[int]]]


def agreement(
    run: Run, reference: Reference, requests: Sequence[Request], vocabulary: JointVocabulary, epsilon: float = EPSILON
) -> Table:
    """`run` makes all requests, together or one by one; what it wrote is judged by the reference."""
    greedy = [request.greedy() for request in requests]
    written = run(greedy)
    choices: list[tuple[Request, Choice]] = []
    for request, ids in progress(list(zip(greedy, written, strict=True)), "judged"):
        choices += [(request, choice) for choice in reference.judge(request, ids)]
    table = Table(f"Choices as the float32 reference's; {epsilon} nats between the best two count as sure")
    for kind in (*KINDS, "all"):
        mine = [choice for request, choice in choices if kind in ("all", request.kind)]
        sure = [choice for choice in mine if choice.margin > epsilon]
        table.add(f"{kind}: the same choice", share(choice.chosen == choice.best for choice in mine), "%", 100)
        table.add(f"{kind}: … where it is sure", share(choice.chosen == choice.best for choice in sure), "%", 100)
    wrong = [(request, choice) for request, choice in choices if choice.chosen != choice.best]
    table.add(
        "margin of the surest divergence", bootstrap([c.margin for _, c in wrong], lambda x: float(max(x))), "nats"
    )
    divergences: list[dict[str, Any]] = [
        {
            "kind": request.kind, "place": choice.place, "chosen": vocabulary.show([choice.chosen]),
            "reference": vocabulary.show([choice.best]), "margin": round(choice.margin, 5),
        }
        for request, choice in sorted(wrong, key=lambda pair: -pair[1].margin)
    ]  # fmt: skip
    table.details = {"epsilon": epsilon, "choices": len(choices), "divergences": divergences}
    return table

"""The corpus of REPLY from visits: the cards and scores that are really recalled, and what should be said to them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import numpy as np

from visavis.agent.recall import ranked
from visavis.finetune.replies.conversation import plan_reply
from visavis.finetune.replies.visits import Visit, draw
from visavis.finetune.replies.worlds import Split
from visavis.tokenizers.turn_language import ReplyPlan, ReplyPrompt

__all__ = ["generate", "replies"]


def replies(
    visits: Iterable[Visit], seed: int, split: Split, jitter: float = 0.0
) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """Examples of REPLY.

    Args:
        visits: who is asked what.
        seed: of the wording.
        split: whose wordings.
        jitter: deviation of normal noise on the logits, so that scores are not the only thing to go by.
    Yields:
        (prompt, plan): the prompt holds the cards that are recalled; the plan quotes one of them or declines.

    """
    rng = random.Random(f"{seed}:{split}:plans")
    noise = np.random.default_rng([seed, 0 if split == "train" else 1])
    for visit in visits:
        facts = visit.persona.facts
        for talk in visit.talks:
            history: list[tuple[str, str]] = []
            for asked in talk:
                logits = np.array(asked.logits)
                logits = logits + noise.normal(0.0, jitter, logits.shape) if jitter else logits
                cards = ranked([facts[place] for place in asked.places], logits)
                plan = plan_reply(asked.turn, visit.persona, cards, split, rng)
                user = asked.turn.user
                yield (
                    ReplyPrompt(visit.persona.name, visit.persona.role, tuple(cards), tuple(history[-4:]), user),
                    plan,
                )
                history += [("user", user), ("agent", plan.text)]


def generate(n: int, seed: int, split: Split = "train") -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """`n` examples drawn and looked up as they come, by the finder that ships."""
    made = 0
    for visit in draw(seed, split):
        for pair in replies([visit], seed + made, split):
            if made == n:
                return
            yield pair
            made += 1

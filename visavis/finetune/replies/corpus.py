"""The corpus of REPLY from visits: the cards and scores that are really recalled, and what should be said to them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from visavis.agent.reader import FactReader, Mix, default_reader
from visavis.agent.recall import ranked, weigh
from visavis.finetune.replies.conversation import plan_reply
from visavis.finetune.replies.visits import Visit, draw
from visavis.finetune.replies.worlds import Split
from visavis.tokenizers.turn_language import ReplyPlan, ReplyPrompt

__all__ = ["generate", "replies"]


def replies(
    visits: Iterable[Visit],
    readings: Iterable[Sequence[np.ndarray]],
    mix: Mix,
    seed: int,
    split: Split,
    jitter: float = 0.0,
) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """Examples of REPLY.

    Args:
        visits: who is asked what.
        readings: for each visit, a reader's logits of each line's facts, (P,).
        mix: weighs them.
        seed: of the wording.
        split: whose wordings.
        jitter: deviation of normal noise on the logits, so that scores are not the only thing to go by.
    Yields:
        (prompt, plan): the prompt holds the cards that are recalled; the plan quotes one of them or declines.

    """
    rng = random.Random(f"{seed}:{split}:plans")
    noise = np.random.default_rng([seed, 0 if split == "train" else 1])
    for visit, read in zip(visits, readings, strict=False):
        facts = visit.persona.facts
        rest = iter(read)
        for talk in visit.talks:
            history: list[tuple[str, str]] = []
            for asked in talk:
                logits = mix(weigh(asked.near, next(rest), asked.question, visit.read(asked)))
                logits = logits + noise.normal(0.0, jitter, logits.shape) if jitter else logits
                cards = ranked([facts[place] for place in asked.near.places], logits)
                plan = plan_reply(asked.turn, visit.persona, cards, split, rng)
                user = asked.turn.user
                yield (
                    ReplyPrompt(visit.persona.name, visit.persona.role, tuple(cards), tuple(history[-4:]), user),
                    plan,
                )
                history += [("user", user), ("agent", plan.text)]


def generate(
    n: int, seed: int, split: Split = "train", reader: FactReader | None = None
) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """`n` examples drawn, looked up and read as they come, by one reader (default: the one that ships)."""
    mind = reader or default_reader()

    def read(visits: Iterable[Visit]) -> Iterator[tuple[Visit, list[np.ndarray]]]:
        for visit in visits:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                pairs = [(asked.question, fact) for asked in visit.asked for fact in visit.read(asked)]
                flat = np.concatenate([mind.logits(pairs[k : k + 64]).double() for k in range(0, len(pairs), 64)])
            ends = np.cumsum([len(asked.near.places) for asked in visit.asked])[:-1]
            yield visit, np.split(flat, ends)

    made = 0
    for visit, logits in read(draw(seed, split)):
        for pair in replies([visit], [logits], mind.mix, seed + made, split):
            if made == n:
                return
            yield pair
            made += 1

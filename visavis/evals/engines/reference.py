"""The stock way: transformers' `generate` on the same weights, kept to the same ids by a logits processor.

`Reference` runs in float32 and also tells, for ids that another engine wrote, what it would have thought at each of
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visavis.agent.engine import Constraint, Floats
from visavis.evals.engines.requests import Request

__all__ = ["Choice", "Reference"]


@dataclass(frozen=True)
class Choice:
    """A place where more than one id was allowed.

    place: in what was written; chosen: id; best: what the reference would have chosen; short: by how many nats the
    chosen id lies below the best, 0 where they are the same; margin: between the reference's best two.
    """

    place: int
    chosen: int
    best: int
    short: float
    margin: float


class _Processor:
    """Shows the model only what a constraint allows; ends where it ends."""

    def __init__(self, constraint: Constraint | None) -> None:
        self.constraint, self.ended = constraint, False

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        if self.constraint is None:
            return scores
        allowed = self.constraint.allowed()
        if allowed is None:
            return scores
        out = torch.full_like(scores, float("-inf"))
        logits = scores[0, torch.from_numpy(allowed)]
        if len(allowed) > 1:
            logits = torch.from_numpy(self.constraint.weigh(allowed, logits.numpy()))
        out[0, torch.from_numpy(allowed)] = logits
        return out

    def after(self, ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        """As a stopping criterion, called when an id was added."""
        if self.constraint is not None:
            self.constraint.accept(int(ids[0, -1]))
            allowed = self.constraint.allowed()
            self.ended = allowed is not None and len(allowed) == 0
        return torch.tensor([self.ended])


class Reference:
    """A Hugging Face Llama in float32."""

    def __init__(self, folder: Path) -> None:
        from transformers import LlamaForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run(self, request: Request) -> list[int]:
        """Generate; greedy, or sampled with the request's temperature and seed (not the same ids as ours)."""
        processor = _Processor(request.constraint())
        sampling = request.sampling
        settings: dict[str, Any] = {"do_sample": sampling.temperature > 0}
        if sampling.temperature > 0:
            torch.manual_seed(sampling.seed)
            settings |= {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": 1.0}
        prompt = torch.tensor([request.prompt])
        written = self.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=min(request.limit, self.model.config.max_position_embeddings - len(request.prompt)),
            logits_processor=[processor],
            stopping_criteria=[processor.after],
            eos_token_id=sorted(request.stop) or None,
            **settings,
        )
        out: list[int] = written[0, len(request.prompt) :].tolist()
        return out

    @torch.inference_mode()
    def judge(self, request: Request, written: list[int]) -> list[Choice]:
        """What the reference thinks of every choice in `written`, given all that stands before it."""
        logits = self.model(torch.tensor([[*request.prompt, *written]])).logits[0, len(request.prompt) - 1 : -1]
        constraint = request.constraint()
        out = []
        for place, id_ in enumerate(written):
            allowed = constraint.allowed() if constraint is not None else None
            ids = np.arange(logits.shape[1]) if allowed is None else allowed
            if len(ids) > 1:
                scores: Floats = logits[place].numpy()[ids]
                if constraint is not None:
                    scores = constraint.weigh(ids, scores)
                order = np.argsort(scores)[::-1]
                mine = int(np.flatnonzero(ids == id_)[0])
                best, second = float(scores[order[0]]), float(scores[order[1]])
                out.append(Choice(place, id_, int(ids[order[0]]), best - float(scores[mine]), best - second))
            if constraint is not None:
                constraint.accept(id_)
        return out

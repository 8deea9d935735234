"""The reference engine: any causal model of transformers, one id at a time.

It is there to be right, not quick: the model's own forward pass in float32 (or what the device likes) over its own
cache, and nothing else. Other engines are compared with it (`visavis.evals.serving`), and models that the embedded
engine does not compute run on it without a server.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from visavis.agent.engine import CancelToken, Constraint, Floats, Sampling
from visavis.agent.generation import check_ids, check_prompt, choose
from visavis.errors import FileFormatError, TokenError
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

__all__ = ["TransformersEngine"]

log = logging.getLogger(__name__)


class TransformersEngine:
    """Runs a causal model of transformers in this process.

    Args:
        model: any `AutoModelForCausalLM` whose ids are the vocabulary's; its rows beyond them are never chosen.
        vocabulary: its ids.
        context: ids that it can read at most.
    """

    def __init__(self, model: Any, vocabulary: JointVocabulary, context: int) -> None:
        rows = model.get_input_embeddings().weight.shape[0]
        if rows < vocabulary.size:
            raise TokenError(
                f"expected a model of at least {vocabulary.size} ids, as its vocabulary; got {rows}: "
                "use the vocabulary that was saved beside the model"
            )
        self.vocabulary, self.context = vocabulary, context
        self._model = model.eval()

    @classmethod
    def load(cls, folder: str | Path | None = None, *, device: str | None = None) -> TransformersEngine:
        """The engine of a folder in the layout of transformers with a vocabulary beside it; None: the shipped planner.

        Args:
            folder: of the model; nothing is fetched from anywhere.
            device: `cpu` or `cuda`; by default CUDA in bf16 where there is one, else the CPU in float32.

        Raises:
            FileFormatError: the folder holds no such model.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        folder = Path(folder) if folder is not None else default_folder()
        vocabulary = JointVocabulary.load(folder)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        log.info("engine transformers: device=%s, %s", device, dtype)
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(f"expected a causal model of transformers in {folder}, got {error!r}") from error
        return cls(model.to(device), vocabulary, int(config.max_position_embeddings))

    def generate(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
        *,
        sampling: Sampling | None = None,
        stop: Collection[int] = (),
        limit: int = 256,
        cancel: CancelToken | None = None,
    ) -> Iterator[int]:
        """Yield ids one by one (see `Engine.generate`). The prompt must leave room in the context."""
        check_prompt(prompt, self.vocabulary.size, self.context)
        sampling = sampling or Sampling()
        rng = np.random.default_rng(sampling.seed)
        cache, pending = None, list(prompt)
        for _ in range(min(limit, self.context - len(prompt))):
            if cancel is not None and cancel.cancelled:
                return
            ids = constraint.allowed() if constraint is not None else None
            if ids is not None and len(ids) == 0:
                return
            if ids is not None and len(ids) == 1:
                chosen = int(ids[0])
            else:
                states, cache = self._feed(pending, cache)
                logits = states[-1, : self.vocabulary.size].float().cpu().numpy()
                pending = []
                if ids is not None:
                    logits = logits[ids]
                if constraint is not None:
                    logits = constraint.weigh(np.arange(len(logits)) if ids is None else ids, logits)
                place = choose(logits, sampling, rng)
                chosen = place if ids is None else int(ids[place])
            pending.append(chosen)
            if constraint is not None:
                constraint.accept(chosen)
            yield chosen
            if chosen in stop:
                return

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability of each id given all before it."""
        check_ids([*prompt, *continuation], self.vocabulary.size)
        if not continuation:
            return np.zeros(0, np.float32)
        ids = [*prompt, *continuation][:-1]
        if not prompt or len(ids) > self.context:
            raise TokenError(f"expected 1 to {self.context} ids before the last; got {len(ids)}")
        logits, _ = self._feed(ids, None)
        logs = torch.log_softmax(logits[len(prompt) - 1 :, : self.vocabulary.size].float(), dim=-1)
        wanted = torch.tensor(list(continuation), device=logs.device)[:, None]
        return cast(Floats, logs.gather(1, wanted)[:, 0].cpu().numpy())

    @torch.inference_mode()
    def _feed(self, ids: Sequence[int], cache: Any) -> tuple[Tensor, Any]:
        """Read ids after those in the cache → (N, V) logits and the cache."""
        batch = torch.tensor([list(ids)], device=self._model.device)
        out = self._model(batch, past_key_values=cache, use_cache=True)
        return out.logits[0], out.past_key_values

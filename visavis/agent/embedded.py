"""The default engine: our own decode loop over a small Llama, in this process, on the caller's thread.

One generation at a time is as quick as this gets; where many sessions generate at once, `BatchingEngine` steps them
together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
import torch.nn.functional as F

from visavis.agent.decoder import Cache, Decoder
from visavis.agent.engine import CancelToken, Constraint, Floats, Sampling
from visavis.agent.generation import Generation, check_ids
from visavis.agent.llama import Llama
from visavis.errors import TokenError
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

__all__ = ["EmbeddedEngine"]


class EmbeddedEngine:
    """Runs a `Llama` in this process. Several threads may use it; each generation has its own cache.

    Args:
        model: trained weights.
        vocabulary: its ids.
        exact: products in float32 instead of bf16.
    """

    def __init__(self, model: Llama, vocabulary: JointVocabulary, exact: bool = False) -> None:
        if model.config.vocabulary != vocabulary.size:
            raise TokenError(
                f"expected a model of {vocabulary.size} ids, as its vocabulary; got {model.config.vocabulary}: "
                "use the vocabulary that was saved beside the model"
            )
        self.vocabulary, self.context = vocabulary, model.config.context
        self._decoder = Decoder(model, exact)
        self._spare: list[Cache] = []

    @classmethod
    def load(cls, folder: str | Path | None = None, exact: bool = False) -> Self:
        """The engine of a folder that training wrote; None for the shipped planner."""
        folder = Path(folder) if folder is not None else default_folder()
        return cls(Llama.load(folder), JointVocabulary.load(folder), exact)

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
        run = self._begin(prompt, constraint, sampling, stop, limit, cancel)
        with self._cache() as cache:
            while True:
                yield from run.forced()
                if run.done:
                    return
                state = self._decoder.feed(cache, run.pending, last=True)[0]
                run.was_read()
                yield run.choose(self._decoder.logits(state, run.ids))

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability of each id given all before it."""
        check_ids([*prompt, *continuation], self.vocabulary.size)
        if not continuation:
            return np.zeros(0, np.float32)
        ids = [*prompt, *continuation][:-1]
        if not prompt or len(ids) > self.context:
            raise TokenError(f"expected 1 to {self.context} ids before the last; got {len(ids)}")
        with self._cache() as cache, torch.inference_mode():
            states = self._decoder.feed(cache, ids)[len(prompt) - 1 :]
            logs = torch.log_softmax(F.linear(states, self._decoder.embedding), dim=-1)
            wanted = torch.tensor(list(continuation))[:, None]
            return cast(Floats, logs.gather(1, wanted)[:, 0].numpy())

    def _begin(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None,
        sampling: Sampling | None,
        stop: Collection[int],
        limit: int,
        cancel: CancelToken | None,
    ) -> Generation:
        return Generation(
            prompt, constraint, sampling, stop, limit, cancel, size=self.vocabulary.size, context=self.context
        )

    @contextmanager
    def _cache(self) -> Iterator[Cache]:
        """An empty cache; it is used again, because touching new memory costs as much as a few ids."""
        try:
            cache = self._spare.pop()
        except IndexError:
            cache = Cache(self._decoder)
        cache.used[0] = 0
        try:
            yield cache
        finally:
            if not self._spare:
                self._spare.append(cache)

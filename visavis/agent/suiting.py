"""Whether an answer that was written for another line suits this one.

`visavis.agent.exchanges` finds answers to lines of like meaning; one of them may still console for a dog where a cat
was meant. Here MiniLM reads line and answer together, with low-rank changes, and says how likely a judge would find the
answer passable, and fitting. It learnt from some twenty thousand such judgements
(`python -m visavis.finetune.replies.train_suiting`), made by a large language model that read each pair.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from visavis.agent.exchanges import Exchange
from visavis.agent.pairs import pair_batch, unpadded
from visavis.retrieval.embedder import DIMENSIONS, Encoder, changed, mean_of
from visavis.retrieval.table_files import readable

__all__ = ["DEFAULT_SUITING", "GRADES", "Suiting", "logits_of"]

DEFAULT_SUITING: Final = Path(__file__).parent / "data" / "suiting.safetensors"
GRADES: Final = 2  # passable or better, fitting
LEAST: Final = 1e-3  # of a chance of a kind

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Suiting:
    """weight: (GRADES, 768) and bias (GRADES,) over the first piece and the mean; changes: of MiniLM; join: (6,) what
    the two log-odds, the cosines of an exchange, the log-chance of its kind and 1 count in those of being passable.
    """

    weight: Array
    bias: Array
    changes: Mapping[str, Array]
    join: Array

    @staticmethod
    @functools.cache
    def default() -> Suiting:
        """The one that ships, loaded once."""
        return Suiting.load(DEFAULT_SUITING)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """MiniLM with the changes in it."""
        return unpadded(changed(self.changes, light=True))

    def joined(self, features: Array) -> Array:
        """(N,) how likely each of the answers is at least passable, by all that is known of it: `features` (N, 6)."""
        return np.asarray(1 / (1 + np.exp(-(features @ self.join))), np.float32)

    def features(self, line: str, found: Sequence[Exchange]) -> Array:
        """(N, 6) what `join` weighs."""
        odds = self.judge(line, [one.reply for one in found])
        more = [[one.fits, one.like, float(np.log(one.kind + LEAST)), 1.0] for one in found]
        return np.concatenate([odds, np.array(more, np.float32).reshape(-1, 4)], 1)

    def judge(self, line: str, answers: Sequence[str]) -> Array:
        """(N, GRADES) log-odds that each answer is passable, and fitting, by the words alone; on one thread."""
        if not answers:
            return np.zeros((0, GRADES), np.float32)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                parts = pair_batch(self.encoder, [(line, answer) for answer in answers])
                logits = logits_of(self.encoder, *parts, torch.from_numpy(self.weight), torch.from_numpy(self.bias))
        finally:
            torch.set_num_threads(threads)
        return np.asarray(logits.float().numpy(), np.float32)

    def save(self, path: Path) -> None:
        """Write it, half precision."""
        arrays = {
            "weight": self.weight, "bias": self.bias, "join": self.join,
            **{f"changes.{name}": value for name, value in self.changes.items()},
        }  # fmt: skip
        save_file({name: np.ascontiguousarray(value, np.float16) for name, value in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        with readable(path, "the judge of answers", "visavis.finetune.replies.train_suiting"):
            arrays = {name: value.astype(np.float32) for name, value in load_file(path).items()}
            weight, bias, join = arrays["weight"], arrays["bias"], arrays["join"]
            if weight.shape != (GRADES, 2 * DIMENSIONS) or bias.shape != (GRADES,) or join.shape != (GRADES + 4,):
                raise ValueError(f"a head {weight.shape}, {bias.shape}, {join.shape}")
            found = cls(weight, bias, {n.removeprefix("changes."): v for n, v in arrays.items() if "." in n}, join)
            _ = found.encoder  # changes of other shapes are found here
        return found


def logits_of(
    encoder: Encoder, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor, weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """(N, GRADES)."""
    states = encoder.states(ids, mask, types).float()
    return torch.cat([states[:, 0], mean_of(states, mask)], 1) @ weight.T + bias

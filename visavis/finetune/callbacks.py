"""What a run of a base leaves for people to read: its curve as CSV, and what the model writes as it learns."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from transformers import TrainerCallback

from visavis.agent.engine import Floats, Ids
from visavis.agent.transformers_engine import TransformersEngine
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.turn_language import Example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["Curve", "Samples"]

_FIGURES: Final[tuple[str, ...]] = ("loss", "grad_norm", "learning_rate")
LONGEST: Final = 80  # ids of a sample


class Curve(TrainerCallback):  # type: ignore[misc]
    """Rows of phase, step, seconds, figure and value; a run that resumes goes on in the same file."""

    def __init__(self, phase: str, path: Path) -> None:
        self.phase, self.path, self.began = phase, path, time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        """Keep the losses of training and, by task, of what is held out."""
        if not state.is_world_process_zero or not logs:
            return
        kept = {name: logs[name] for name in _FIGURES if name in logs}
        kept |= {
            f"heldout {name[5:-5]}": value
            for name, value in logs.items()
            if name.startswith("eval_") and name.endswith("_loss")
        }
        fresh = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["phase", "step", "seconds", "figure", "value"])
            seconds = f"{time.monotonic() - self.began:.1f}"
            writer.writerows(
                [self.phase, state.global_step, seconds, name, f"{value:.6g}"] for name, value in kept.items()
            )


class _Given:
    """A constraint for MOVE, whose cues, words and clip codes are given: they are those of the example."""

    def __init__(self, example: Example, begin: int) -> None:
        self.left = list(zip(example.ids[begin:], example.mask[begin:], strict=True))[::-1]

    def allowed(self) -> Ids | None:
        """See `Constraint`."""
        if not self.left:
            return np.zeros(0, np.int64)
        id_, free = self.left[-1]
        return None if free else np.array([id_])

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """See `Constraint`."""
        return logits

    def accept(self, id_: int) -> None:
        """See `Constraint`."""
        self.left.pop()


class Samples(TrainerCallback):  # type: ignore[misc]
    """What the model writes after the first held-out prompts of every task, greedily, beside what was meant."""

    def __init__(
        self, phase: str, path: Path, vocabulary: JointVocabulary, heldout: TokenCorpus | None, each: int = 2
    ) -> None:
        self.phase, self.path, self.vocabulary = phase, path, vocabulary
        self.examples: list[tuple[str, Example]] = []
        self._step = -1
        for name in heldout.names if heldout is not None else ():
            some = heldout.only(name, each)  # type: ignore[union-attr]
            self.examples += [(name, some.sequence(index)) for index in range(some.size)]

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Write once more."""
        if not state.is_world_process_zero or model is None or state.global_step == self._step:
            return  # Trainer calls once for every task
        self._step = state.global_step
        training = model.training
        engine = TransformersEngine(model, self.vocabulary, 10**6)
        lines = [f"--- {self.phase}, step {state.global_step}"]
        end = self.vocabulary.control("end")
        for name, example in self.examples:
            begin = example.mask.index(True)
            prompt, meant = example.ids[:begin], example.ids[begin : begin + LONGEST]
            given = _Given(example, begin) if any(map(self.vocabulary.motion_of, meant)) else None
            written = list(engine.generate(prompt, given, stop=(end,), limit=LONGEST))
            lines += [f"{name}  {self.vocabulary.show(prompt)}", f"  writes {self.vocabulary.show(written)}"]
            lines += [f"  meant  {self.vocabulary.show(meant)}"]
        model.train(training)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

"""Training of a base: the rows of new ids first, then low-rank changes of every linear layer (LoRA, Hu et al. 2021).

One PEFT model holds both: new rows of embedding and head as trainable tokens (rows of old ids never change), and LoRA
on all linear layers. While the rows learn, the low-rank changes stand still, so the base meets words that mean
something already when it begins to change. transformers' Trainer does the rest: bf16, gradient checkpointing, several
GPUs under `accelerate launch`, checkpoints, and resuming from the last whole one.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from visavis.errors import MissingExtraError, UsageError
from visavis.finetune.answer_loss import lean
from visavis.finetune.packing import Blocks, keeps_apart, pack
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["LoraTraining", "adapt", "fit", "trained_share"]

log = logging.getLogger(__name__)
PHASES: Final = ("rows", "lora")


@dataclass(frozen=True)
class LoraTraining:
    """Settings of a run.

    Attributes:
        rank: of the low-rank changes; they are scaled by 2.
        tokens: to read in all, prompts included.
        rows_share: of the tokens, while only new rows learn.
        lr_rows, lr: peak learning rates of the two phases; warm-up over 3 %, then cosine.
        context: tokens of a block of packed sequences.
        blocks: in one forward pass on one device.
        batch_tokens: of one optimiser step, over all devices.
        checkpoint_steps, log_steps: optimiser steps between checkpoints (with held-out losses and samples), and lines
            of the curve.
        samples: held-out prompts of each task that are gone on with, at every checkpoint.
        seed: of order and new weights.
    """

    rank: int = 16
    tokens: int = 30_000_000
    rows_share: float = 0.1
    lr_rows: float = 1e-3
    lr: float = 2e-4
    context: int = 1024
    blocks: int = 4
    batch_tokens: int = 32_768
    checkpoint_steps: int = 100
    log_steps: int = 10
    samples: int = 2
    seed: int = 0

    def accumulated(self, devices: int) -> int:
        """Forward passes of one device in one optimiser step."""
        return max(1, round(self.batch_tokens / (self.context * self.blocks * devices)))

    def steps(self, phase: str, devices: int) -> int:
        """Optimiser steps of a phase."""
        share = self.rows_share if phase == "rows" else 1 - self.rows_share
        each = self.context * self.blocks * devices * self.accumulated(devices)
        return max(1, round(share * self.tokens / each))


def adapt(model: Any, vocabulary: JointVocabulary, rank: int) -> Any:
    """A PEFT model around an expanded one: LoRA of `rank` on all linear layers, and the rows of new ids.

    Raises:
        MissingExtraError: PEFT is not installed.
        UsageError: the head has a bias, which trained rows would lose.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError("training a base", "train") from error

    inlet, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise UsageError(
            f"expected a causal model whose head has no bias; {type(model).__name__} is another: choose another base"
        )
    names = {id(module): name.rsplit(".", 1)[-1] for name, module in model.named_modules()}
    new = list(vocabulary.new_ids)
    rows = {names[id(inlet)]: new}
    if head.weight is not inlet.weight:
        rows[names[id(head)]] = new
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", trainable_token_indices=rows, task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # steps of bf16 weights are lost in their rounding
            parameter.data = parameter.data.float()
    return adapted


def trained_share(adapted: Any) -> tuple[int, int, int]:
    """(weights of new rows, weights of LoRA, all weights)."""
    rows = lora = total = 0
    for name, parameter in adapted.named_parameters():
        total += parameter.numel()
        rows += parameter.numel() * ("trainable_tokens" in name)
        lora += parameter.numel() * ("lora_" in name)
    return rows, lora, total - rows  # a trained row stands in for one that is there


def fit(
    adapted: Any,
    vocabulary: JointVocabulary,
    corpus: TokenCorpus,
    out: Path,
    settings: LoraTraining | None = None,
    heldout: TokenCorpus | None = None,
) -> None:
    """Train through both phases; the result lies in `out`/adapter, a run that was killed goes on by itself.

    Args:
        adapted: from `adapt`.
        vocabulary: of the corpora's ids.
        corpus: sequences no longer than a block.
        out: folder; `curve.csv` and `samples.txt` lie in it too.
        settings: of the run.
        heldout: never trained on; its loss by task goes into the curve, and samples begin with its prompts.
    """
    settings = settings or LoraTraining()
    model = adapted.get_base_model()
    apart = keeps_apart(model)
    if not apart:
        log.warning("packing=off: %s does not keep packed sequences apart", type(model).__name__)
    restore = lean(model)
    log.info("loss=%s", "lean" if "forward" in vars(model) else "of the model itself: its head is more than a product")
    try:
        for phase in PHASES:
            _phase(phase, adapted, vocabulary, corpus, out, settings, heldout, apart)
    finally:
        restore()
    if _main_process():
        adapted.save_pretrained(out / "adapter", save_embedding_layers=False)


def _phase(
    phase: str, adapted: Any, vocabulary: JointVocabulary, corpus: TokenCorpus, out: Path,
    settings: LoraTraining, heldout: TokenCorpus | None, apart: bool,
) -> None:  # fmt: skip
    """One of "rows" and "lora"; nothing where it is done."""
    from transformers import Trainer, TrainingArguments

    from visavis.finetune.callbacks import Curve, Samples

    class _Trainer(Trainer):  # type: ignore[misc]
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            # the adapter alone: neither the base's whole embedding nor pickled arguments
            if self.args.should_save:
                self.accelerator.unwrap_model(self.model).save_pretrained(
                    output_dir or self.args.output_dir, state_dict=state_dict, save_embedding_layers=False
                )

    for name, parameter in adapted.named_parameters():
        if "trainable_tokens_delta" in name:
            parameter.requires_grad = True
        elif "lora_" in name:
            parameter.requires_grad = phase == "lora"
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    steps = settings.steps(phase, devices)
    last = _last_whole(out / phase)
    if last is not None and _step(last) >= steps:
        adapted.load_adapter(str(last), adapted.active_adapter, is_trainable=True)
        log.info("%s: done before, in %s", phase, last)
        return
    arguments = TrainingArguments(
        output_dir=str(out / phase), max_steps=steps, per_device_train_batch_size=settings.blocks,
        per_device_eval_batch_size=settings.blocks, gradient_accumulation_steps=settings.accumulated(devices),
        learning_rate=settings.lr if phase == "lora" else settings.lr_rows, lr_scheduler_type="cosine",
        warmup_steps=round(0.03 * steps), weight_decay=0.0, max_grad_norm=1.0, bf16=True,
        use_cpu=not torch.cuda.is_available(), **_checkpointing(TrainingArguments),
        save_steps=settings.checkpoint_steps, save_total_limit=2, logging_steps=settings.log_steps,
        eval_strategy="steps" if heldout is not None and heldout.size else "no", eval_steps=settings.checkpoint_steps,
        prediction_loss_only=True, report_to="none", remove_unused_columns=False, label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(), disable_tqdm=not sys.stderr.isatty(),
        seed=settings.seed, data_seed=settings.seed,
    )  # fmt: skip
    trainer = _Trainer(
        model=adapted,
        args=arguments,
        train_dataset=_blocks(corpus, vocabulary, settings, apart),
        eval_dataset=_by_task(heldout, vocabulary, settings, apart),
        callbacks=[
            Curve(phase, out / "curve.csv"),
            Samples(phase, out / "samples.txt", vocabulary, heldout, settings.samples),
        ],
    )
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.accelerator.wait_for_everyone()
    log.info("%s: %d steps", phase, steps)


def _checkpointing(arguments: Any) -> dict[str, Any]:
    """Recompute layers in the backward pass; the option was called otherwise in older versions of transformers."""
    name = "activation_checkpointing" if hasattr(arguments, "activation_checkpointing") else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _blocks(corpus: TokenCorpus, vocabulary: JointVocabulary, settings: LoraTraining, apart: bool) -> Blocks:
    lengths = corpus.starts[1:] - corpus.starts[:-1]
    if corpus.size and int(lengths.max()) > settings.context:
        raise UsageError(f"expected sequences of at most {settings.context} tokens, got {int(lengths.max())}")
    blocks = pack(lengths, settings.context, settings.seed, alone=not apart)
    return Blocks(corpus, blocks, settings.context, vocabulary.control("pad"))


def _by_task(
    heldout: TokenCorpus | None, vocabulary: JointVocabulary, settings: LoraTraining, apart: bool, most: int = 64
) -> dict[str, Blocks] | None:
    """The held-out sequences of each task, at most so many of each."""
    if heldout is None or not heldout.size:
        return None
    return {name: _blocks(heldout.only(name, most), vocabulary, settings, apart) for name in heldout.names}


def _last_whole(folder: Path) -> Path | None:
    """The latest checkpoint that was written to its end; one that a kill cut short is taken away."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[-1]))
    for path in reversed(found):
        if (path / "trainer_state.json").is_file():  # Trainer writes it last
            return path
        if _main_process():
            shutil.rmtree(path)
    return None


def _step(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])


def _main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0

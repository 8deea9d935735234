"""Training of the planner: one small Llama for REPLY, ACT and MOVE.

Loss only where an example's mask says so, and logits only there: the vocabulary is a third of the work otherwise.
bf16 products, float32 weights, AdamW with warm-up and cosine. A run goes through stages (a curriculum), ends after its
tokens or its time, whichever is first, writes a checkpoint at least every minute and resumes from it by itself.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from visavis.agent.llama import Llama, LlamaConfig
from visavis.errors import UsageError
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.token_corpus import Batch, TokenCorpus, ahead
from visavis.tokenizers.vocabulary import CONTROLS, JointVocabulary

__all__ = ["PlannerTraining", "Stage", "evaluate", "minilm_rows", "new_model", "train"]

log = logging.getLogger(__name__)
Sampler = Callable[[Llama], str]


@dataclass(frozen=True)
class Stage:
    """One lesson: a corpus, and the tokens (prompts included) to read from it, in as many epochs as that takes."""

    name: str
    corpus: TokenCorpus
    tokens: int


@dataclass(frozen=True)
class PlannerTraining:
    """Settings of a run.

    Attributes:
        lr: peak learning rate, None for 1e-3 on a CPU and 2e-3 on a GPU, whose batches are larger; warm-up over
            `warmup` of the run, then cosine to `final` of it.
        batch_tokens: tokens in a batch, padding included; None for 2,048 on a CPU and 49,152 on a GPU.
        decay: weight decay of the matrices inside the layers.
        clip: largest gradient norm.
        weights: weight of a token of a task in the loss, by task name; 1 for others.
        seconds: the run ends, with the schedule done, after this time over all resumptions.
        threads: CPU threads.
        compile: fuse the forward pass (CPU: a quarter faster after 45 s; worth it for long runs).
        checkpoint_s, log_s, sample_s: seconds between checkpoints, lines of the log, and samples with held-out losses.
        keeps: tasks in which a model that is continued keeps to itself: their goal is what it said of every next token
            when the run began (distillation, Hinton et al. 2015) instead of the corpus' own.
        seed: of order and new weights.
    """

    lr: float | None = None
    warmup: float = 0.02
    final: float = 0.05
    batch_tokens: int | None = None
    decay: float = 0.05
    clip: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    seconds: float = math.inf
    threads: int = 1
    compile: bool = False
    checkpoint_s: float = 45.0
    log_s: float = 15.0
    sample_s: float = 180.0
    keeps: tuple[str, ...] = ()
    seed: int = 0


def new_model(
    vocabulary: JointVocabulary, config: LlamaConfig | None = None, minilm: bool = True, rows: Path | None = None
) -> Llama:
    """A model without training; with `minilm` the rows of its text and controls begin with what MiniLM knows.

    `rows` is a file that keeps these rows, so that a machine without MiniLM can begin too.
    """
    model = Llama(config or LlamaConfig(vocabulary.size))
    if model.config.vocabulary != vocabulary.size:
        raise UsageError(
            f"expected a model of {vocabulary.size} ids, as its vocabulary; got {model.config.vocabulary}: "
            "make the configuration from the vocabulary"
        )
    if minilm:
        if rows is not None and rows.exists():
            known = load_file(rows)["rows"].float()
        else:
            known = minilm_rows(vocabulary, model.config.width)
            if rows is not None:
                rows.parent.mkdir(parents=True, exist_ok=True)
                save_file({"rows": known.contiguous()}, rows)
        with torch.no_grad():
            model.embedding[: len(known)] = known
    return model


def minilm_rows(vocabulary: JointVocabulary, width: int, scale: float = 0.02) -> Tensor:
    """First rows for the embedding of text pieces and controls, (text_size + controls, width), RMS `scale`.

    A piece's row is the mean of MiniLM's word-piece embeddings of its text, centred and brought to `width` by principal
    components; byte pieces and reserved controls stay random.
    """
    from tokenizers import Tokenizer

    from visavis.retrieval.embedder import Encoder

    encoder = Encoder()
    words: Tensor = encoder.weights["embeddings.word_embeddings.weight"].float()
    tokenizer: Tokenizer = encoder.tokenizer
    tokenizer.no_padding()
    texts = [_meaning(vocabulary, id_) for id_ in range(vocabulary.text_size + len(CONTROLS))]
    rows = torch.zeros(len(texts), words.shape[1])
    for row, text in enumerate(texts):
        within = tokenizer.token_to_id(f"##{text}") if row < vocabulary.text_size else None
        whole = vocabulary.starts_word(row) if row < vocabulary.text_size else True
        pieces = [within] if within is not None and not whole else tokenizer.encode(text, add_special_tokens=False).ids
        if pieces and text:
            rows[row] = words[pieces].mean(dim=0)
    known = rows.abs().sum(dim=1) > 0
    centred = rows[known] - rows[known].mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ axes[:width].T  # (known, width)
    generator = torch.Generator().manual_seed(0)
    out = torch.randn(len(texts), width, generator=generator) * scale
    out[known] = projected * (scale / projected.pow(2).mean().sqrt())
    # pieces that MiniLM cannot tell apart (upper and lower case) must not begin equal
    return out + 0.3 * scale * torch.randn(out.shape, generator=generator)


def train(
    stages: Sequence[Stage],
    vocabulary: JointVocabulary,
    out: Path,
    settings: PlannerTraining | None = None,
    model: Llama | None = None,
    heldout: TokenCorpus | None = None,
    sampler: Sampler | None = None,
) -> Llama:
    """Train through the stages and save model, configuration, vocabulary and tokenizer in `out`.

    Args:
        stages: the curriculum, in order.
        vocabulary: of the corpora's ids.
        out: folder; `checkpoint.pt`, `log.jsonl` and `samples.txt` lie in it too.
        settings: of the run.
        model: to continue from; None for a new one.
        heldout: never trained on; its loss per task is logged.
        sampler: writes something with the model, for people to read.
    """
    settings = settings or PlannerTraining()
    if torch.get_num_threads() != settings.threads:
        torch.set_num_threads(settings.threads)
    run = _Run(stages, out, settings, model or new_model(vocabulary), heldout, sampler)
    run.fit()
    controls = [vocabulary.control(name) for name in ("bos", "end", "pad")]
    run.model.save(out, *controls)
    vocabulary.save(out)
    (out / "README.md").write_text(_card(run), encoding="utf-8")
    return run.model


@torch.no_grad()
def evaluate(model: Llama, corpus: TokenCorpus, batch_tokens: int = 4096, limit: int = 40) -> dict[str, float]:
    """Mean loss of a token to be learnt, in nats, for each task of at most `limit` batches of a corpus."""
    totals = np.zeros((len(corpus.names), 2))
    for indices in corpus.batches(batch_tokens, seed=0, epoch=0)[:limit]:
        batch = corpus.gather(indices)
        losses, tasks = _losses(model.hidden, model, batch)
        np.add.at(totals[:, 0], tasks.cpu().numpy(), losses.cpu().double().numpy())
        np.add.at(totals[:, 1], tasks.cpu().numpy(), 1)
    return {name: float(total / count) for name, (total, count) in zip(corpus.names, totals, strict=True) if count}


class _Run:
    """The state of a run, and how it goes on."""

    def __init__(
        self,
        stages: Sequence[Stage],
        out: Path,
        settings: PlannerTraining,
        model: Llama,
        heldout: TokenCorpus | None,
        sampler: Sampler | None,
    ) -> None:
        self.stages, self.out, self.settings = stages, out, settings
        self.heldout, self.sampler = heldout, sampler
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        small = self.device.type == "cpu"
        self.peak = settings.lr or (1e-3 if small else 2e-3)
        self.batch_tokens = settings.batch_tokens or (2048 if small else 49_152)
        self.model = model.to(self.device)
        self.before = copy.deepcopy(self.model).eval().requires_grad_(False) if settings.keeps else None
        out.mkdir(parents=True, exist_ok=True)
        inner = [p for name, p in model.named_parameters() if p.dim() == 2 and name != "embedding"]
        others = [p for name, p in model.named_parameters() if p.dim() != 2 or name == "embedding"]
        self.optimiser = torch.optim.AdamW(
            [{"params": inner, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.peak,
            betas=(0.9, 0.95),
            fused=True,
        )
        self.total = sum(stage.tokens for stage in stages)
        self.stage = self.batches = self.step = self.tokens = self.stage_tokens = 0
        self.before_s = 0.0  # of earlier runs that this one resumes
        self.checkpointer = Checkpointer(out / "checkpoint.pt", settings.checkpoint_s)
        self._resume()
        self.began = time.monotonic()
        self.sums: dict[tuple[str, ...], Tensor] = {}
        self.hidden = torch.compile(model.hidden, dynamic=True) if settings.compile else model.hidden

    @property
    def elapsed_s(self) -> float:
        return self.before_s + time.monotonic() - self.began

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1], by tokens or by time."""
        return min(1.0, max(self.tokens / max(1, self.total), self.elapsed_s / self.settings.seconds))

    def fit(self) -> None:
        logged = sampled = time.monotonic()
        since = self.tokens
        log.info("device=%s, %d tokens in %d stages", self.device, self.total, len(self.stages))
        while self.stage < len(self.stages) and self.progress < 1:
            stage = self.stages[self.stage]
            stream = stage.corpus.stream(self.batch_tokens, self.settings.seed, self.batches)
            for batch in ahead(stream):
                if self.stage_tokens >= stage.tokens or self.progress >= 1:
                    break
                self._learn(batch, stage.corpus.names)
                now = time.monotonic()
                if now - logged >= self.settings.log_s:
                    self._log(stage.name, (self.tokens - since) / (now - logged))
                    logged, since = now, self.tokens
                if now - sampled >= self.settings.sample_s:
                    self._sample()
                    sampled = time.monotonic()
                if self.checkpointer.due():
                    self._save()
            if self.progress < 1:
                self.stage, self.batches, self.stage_tokens = self.stage + 1, 0, 0
        self._sample()
        self._save()

    def _learn(self, batch: Batch, names: Sequence[str]) -> None:
        rate = self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        kept = [place for place, name in enumerate(names) if name in self.settings.keeps]
        losses, tasks = _losses(self.hidden, self.model, batch, self.before, kept)
        weights = torch.tensor([self.settings.weights.get(name, 1.0) for name in names], device=self.device)[tasks]
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.batches += 1
        self.tokens += batch.ids.size
        self.stage_tokens += batch.ids.size
        sums = self.sums.setdefault(tuple(names), torch.zeros(2, len(names), device=self.device, dtype=torch.float64))
        found = losses.detach().double()
        sums.index_add_(1, tasks, torch.stack([found, torch.ones_like(found)]))  # read only when it is logged

    def _rate(self) -> float:
        settings, progress = self.settings, self.progress
        if progress < settings.warmup:
            return self.peak * max(progress / settings.warmup, 1e-3)
        along = (progress - settings.warmup) / (1 - settings.warmup)
        return self.peak * (settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * along)))

    def _log(self, stage: str, tokens_per_s: float) -> None:
        loss: dict[str, float] = {}
        for names, sums in self.sums.items():
            totals, counts = sums.tolist()
            loss |= {name: round(t / n, 4) for name, t, n in zip(names, totals, counts, strict=True) if n}
        self.sums = {}
        self._write(
            "log.jsonl",
            {"stage": stage, "lr": round(self._rate(), 6), "tokens_per_s": round(tokens_per_s), "loss": loss},
        )
        log.info("%s %.1f %% %d tokens/s %s", stage, 100 * self.progress, tokens_per_s, loss)

    def _sample(self) -> None:
        self.model.eval()
        if self.heldout is not None:
            loss = {name: round(value, 4) for name, value in evaluate(self.model, self.heldout).items()}
            self._write("log.jsonl", {"heldout": loss})
            log.info("held out %s", loss)
        if self.sampler is not None:
            with (self.out / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {self.step}, {self.tokens} tokens\n{self.sampler(self.model)}\n")
        self.model.train()

    def _write(self, name: str, record: dict[str, object]) -> None:
        base = {"step": self.step, "tokens": self.tokens, "elapsed_s": round(self.elapsed_s, 1)}
        with (self.out / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(base | record) + "\n")

    def _save(self) -> None:
        self.checkpointer.save(
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "config": asdict(self.model.config),
                "place": [self.stage, self.batches, self.step, self.tokens, self.stage_tokens],
                "elapsed_s": self.elapsed_s,
            }
        )

    def _resume(self) -> None:
        state = self.checkpointer.load()
        if state is None:
            return
        if state["config"] != asdict(self.model.config):
            raise UsageError(
                f"expected a checkpoint of {asdict(self.model.config)} in {self.out}, got {state['config']}: "
                "train into another folder or delete checkpoint.pt"
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.stage, self.batches, self.step, self.tokens, self.stage_tokens = state["place"]
        self.before_s = state["elapsed_s"]
        log.info("resumed at step %d, %d tokens", self.step, self.tokens)


def _card(run: _Run) -> str:
    """The model's card: what it is, what it learnt from, how well it fits what it never saw."""
    config = run.model.config
    count = sum(parameter.numel() for parameter in run.model.parameters())
    heldout = evaluate(run.model, run.heldout) if run.heldout is not None else {}
    corpora = "\n".join(
        f"- {stage.name}: {', '.join(stage.corpus.names)}; {stage.corpus.size:,} sequences, {stage.tokens:,} tokens"
        for stage in run.stages
    )
    losses = "\n".join(f"| {name} | {value:.3f} |" for name, value in heldout.items())
    return f"""# The planner of visavis

A Llama of {count:,} parameters, trained from scratch for REPLY (what to say and feel), ACT (which gesture, at which
word) and MOVE (motion tokens): {config.layers} layers, {config.width} wide,
{config.heads} heads, context {config.context}.
Licence: Apache-2.0. It is small and knows nothing of the world: facts come from cards in its prompt.

## Learnt from
{corpora}

The turns are synthetic: written by this project's own generators and rules (the teacher). The text pieces were also
learnt from Topical-Chat (CDLA-Sharing-1.0). First embeddings come from all-MiniLM-L6-v2.
{run.step:,} steps, {run.tokens:,} tokens, {run.elapsed_s / 60:.0f} minutes; seed {run.settings.seed}.

## Loss on held-out turns, nats a token
| task | loss |
|---|---|
{losses}
"""


def _losses(
    hidden: Callable[..., Tensor], model: Llama, batch: Batch, before: Llama | None = None, kept: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Loss of every token to be learnt, (N,) float32, and its task, (N,) int64; of tasks that are kept, how far it is
    from what the model `before` says (Kullback and Leibler 1951).
    """
    device = model.embedding.device
    ids = torch.from_numpy(batch.ids).to(device, non_blocking=True)
    rows, columns = np.nonzero(batch.mask[:, 1:])  # found here, so that a GPU need not be waited for
    at = torch.from_numpy(rows * batch.ids.shape[1] + columns).to(device, non_blocking=True)
    states = hidden(ids, torch.bfloat16).flatten(0, 1)[at]  # (N, D)
    logits = model.logits(states).float()
    losses = F.cross_entropy(logits, ids.flatten()[at + 1], reduction="none")
    tasks = batch.tasks[rows]
    held = np.isin(tasks, kept)
    if before is not None and held.any():
        chosen = torch.from_numpy(held).to(device)
        with torch.no_grad():
            own = np.unique(rows[held])  # the sequences, and where their tokens are among these alone
            places = np.searchsorted(own, rows[held]) * batch.ids.shape[1] + columns[held]
            said = before.hidden(ids[torch.from_numpy(own).to(device)], torch.bfloat16).flatten(0, 1)
            goal = before.logits(said[torch.from_numpy(places).to(device)]).float().log_softmax(-1)
        apart = F.kl_div(logits[chosen].log_softmax(-1), goal, reduction="none", log_target=True).sum(-1)
        losses = losses.masked_scatter(chosen, apart)
    return losses, torch.from_numpy(tasks).to(device, non_blocking=True)


def _meaning(vocabulary: JointVocabulary, id_: int) -> str:
    """What an id means in plain words; "" where MiniLM has nothing to say."""
    if vocabulary.is_text(id_):
        return "" if id_ == 0 or vocabulary.is_byte(id_) else vocabulary.piece(id_).replace("▁", " ").strip()
    name = vocabulary.name(id_)[2:-2]
    return "" if name.startswith("reserved") else name.replace("/", "end of ")

"""`visavis train planner --base …`: a planner from any Hugging Face causal model, in OUT/planner-NAME.

    base/                              what a GGUF file was converted to, where the base is one
    vocabulary.json, tokenizer.json    the base's ids with ours after them
    base.json                          which base, which codec, which settings
    rows/, lora/                       checkpoints of the two phases; a run that was killed goes on from them
    adapter/                           the result: new rows and LoRA; `visavis export vllm` makes a whole model of it
    curve.csv, samples.txt, README.md  for people

Several GPUs: `accelerate launch -m visavis train planner --base …`. The corpora are those of the default, written with
the base's own pieces.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from visavis.errors import FingerprintError, UsageError
from visavis.finetune.expand import ExpandedModel
from visavis.finetune.gguf_base import read_base
from visavis.finetune.lora import LoraTraining, adapt, fit, trained_share
from visavis.finetune.motion_codes import move_token_examples
from visavis.finetune.plan import make_plan
from visavis.finetune.text_corpus import act_examples, reply_examples
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.codec import CodecConfig, MotionCodec
from visavis.tokenizers.fingerprint import part_hashes
from visavis.tokenizers.turn_language import Example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["BASE_FILE", "READ_FOLDER", "base_folder", "read_base_file", "train_base"]

log = logging.getLogger(__name__)
BASE_FILE: Final = "base.json"
READ_FOLDER: Final = "base"
SMOKE: Final = LoraTraining(
    tokens=12_288, rows_share=0.5, context=512, blocks=2, batch_tokens=2048, checkpoint_steps=3, log_steps=1, samples=1
)


def base_folder(out: Path, base: str | Path) -> Path:
    """Where a base's planner goes: OUT/planner-NAME."""
    name = Path(base).name.lower().removesuffix(".gguf")
    name = re.sub(r"[^a-z0-9._]+", "-", name).strip("-.") or "base"
    return out / f"planner-{name}"


def train_base(base: str, out: Path, settings: LoraTraining, *, dry_run: bool = False) -> Path | None:
    """Expand a base, train it on OUT/corpora, and return its folder; with `dry_run` print what that would take.

    Raises:
        UsageError: no such base, or no corpora yet.
        FingerprintError: the folder holds a run of another base, codec or setting.
    """
    if dry_run:
        print(make_plan(base, settings))
        return None
    folder = base_folder(out, base)
    with _main_first():
        read = read_base(base, folder / READ_FOLDER)
        codec = _codec(out)
    expanded = ExpandedModel.from_base(read, codec.parts, codec.codebook_size, dtype="bfloat16")
    vocabulary = expanded.vocabulary
    with _main_first():
        _note(folder, base, expanded, out, settings)
        vocabulary.save(folder)
        train = _corpus(out, folder, "train", vocabulary, settings)
        dev = _corpus(out, folder, "dev", vocabulary, settings)
    adapted = adapt(expanded.model, vocabulary, settings.rank)
    rows, lora, total = trained_share(adapted)
    log.info("trained %d of %d weights (%.2f %%): %d of new rows, %d of LoRA",
             rows + lora, total, 100 * (rows + lora) / total, rows, lora)  # fmt: skip
    fit(adapted, vocabulary, train, folder, settings, dev)
    (folder / "README.md").write_text(_card(base, settings, train, (rows, lora, total)), encoding="utf-8")
    return folder


def read_base_file(folder: Path) -> dict[str, Any]:
    """What `base.json` says. UsageError where it is no run of a base."""
    try:
        found = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
        return {key: found[key] for key in ("base", "origin", "codec", "settings")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"expected a folder of `visavis train planner --base …` ({BASE_FILE}); got {folder}: {error!r}"
        ) from error


def _note(folder: Path, base: str, expanded: ExpandedModel, out: Path, settings: LoraTraining) -> None:
    """Write base.json, or refuse to go on with a run that was another."""
    local = Path(base)
    noted = {
        "version": 1,
        "base": str(local.resolve()) if local.exists() else base,
        "origin": expanded.origin,
        "codec": part_hashes(out)["codec"],
        "settings": asdict(settings),
    }
    if (folder / BASE_FILE).exists():
        before = read_base_file(folder)
        changed = [key for key in before if before[key] != noted[key]]
        if changed:
            raise FingerprintError(
                f"expected to go on with the run in {folder}, but its {', '.join(changed)} were others: "
                "train into another --out or delete the folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BASE_FILE).write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _codec(out: Path) -> CodecConfig:
    """Of the codec of MOVE's tokens: OUT/codec, which is the shipped one unless another was trained."""
    if not (out / "codec" / "codec.safetensors").exists():
        shutil.copytree(str(files("visavis.models") / "codec"), out / "codec", dirs_exist_ok=True)
        log.info("codec=shipped: none in %s", out)
    return MotionCodec.load(out / "codec").config


def _corpus(out: Path, folder: Path, split: str, vocabulary: JointVocabulary, settings: LoraTraining) -> TokenCorpus:
    """REPLY, ACT and MOVE of a split in the base's pieces, made once."""
    path = folder / f"tokens_{split}.npz"
    if not path.exists():
        _needs(out / "corpora" / f"reply_{split}.jsonl")
        TokenCorpus.build(_examples(out, split, vocabulary), settings.context).save(path)
    return TokenCorpus.load(path)


def _examples(out: Path, split: str, vocabulary: JointVocabulary) -> Iterator[tuple[str, Example]]:
    corpora = out / "corpora"
    yield from reply_examples(corpora / f"reply_{split}.jsonl", vocabulary)
    yield from act_examples(corpora / f"act_{split}.jsonl", vocabulary)
    yield from move_token_examples(corpora / "motion", out / "codec", split, vocabulary)
    if split == "train":  # twice, because motion is scarcer than text
        yield from move_token_examples(corpora / "motion", out / "codec", split, vocabulary)


def _needs(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"expected {path}, which is not there: run `visavis train corpus` first")


def _main_first() -> AbstractContextManager[Any]:
    """Under `accelerate launch` one process makes the corpora and the others read them."""
    try:
        from accelerate import PartialState
    except ImportError:
        return nullcontext()
    state: Callable[[], Any] = PartialState
    return state().main_process_first()  # type: ignore[no-any-return]


def _card(base: str, settings: LoraTraining, corpus: TokenCorpus, sizes: tuple[int, int, int]) -> str:
    rows, lora, total = sizes
    return f"""# A planner of visavis on {base}

New rows for the ids of visavis (controls, cues, motion codes) and LoRA of rank {settings.rank} on all linear layers.
Trained: {rows + lora:,} of {total:,} weights ({100 * (rows + lora) / total:.2f} %): {rows:,} of rows, {lora:,} of LoRA.
Licence: that of the base; what was added is Apache-2.0.

- **Learnt from**: {", ".join(corpus.names)}; {corpus.size:,} sequences, {corpus.tokens:,} tokens, synthetic: written by
  this project's own generators and rules. {settings.tokens:,} tokens were read, {100 * settings.rows_share:.0f} % of
  them while only the rows learnt.
- **Command**: `visavis train planner --base {base}` (seed {settings.seed}). **Curve**: `curve.csv`.
- **A whole model**: `visavis export vllm DIR --model` this folder.
"""

"""`visavis export vllm DIR`: a planner as one folder that vLLM, transformers and visavis itself load.

The low-rank changes are merged into the base's weights and the new rows baked into its embedding (vLLM serves no
adapter that changes the embedding). Beside the weights lie the tokenizer, without a chat template, because the turn
language is no chat; the vocabulary; defaults of sampling that change nothing; and the fingerprint that ties it to codec
and library.
"""

from __future__ import annotations

import json
import logging
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from visavis.errors import FingerprintError, MissingExtraError, UsageError
from visavis.finetune.expand import ExpandedModel
from visavis.finetune.gguf_base import read_base
from visavis.finetune.train_base import BASE_FILE, READ_FOLDER, read_base_file
from visavis.tokenizers.fingerprint import part_hashes, record
from visavis.tokenizers.vocabulary import MANIFEST_FILE, JointVocabulary

__all__ = ["export_vllm", "merged"]

log = logging.getLogger(__name__)
_COPIED: Final = (".json", ".safetensors", ".model", ".md")


def export_vllm(source: Path, target: Path) -> Path:
    """Write the planner in `source` into `target`, which is made.

    Args:
        source: what `visavis train planner` wrote, with or without `--base`, or an exported folder.
        target: folder; what it holds of an older export is written over.
    Raises:
        UsageError: there is no planner, or its training has not ended.
        FingerprintError: it was trained with another codec than the shipped one.
    """
    if target.resolve() == source.resolve():
        raise UsageError(f"expected another folder than the planner's own, {source}: its files would be written over")
    target.mkdir(parents=True, exist_ok=True)
    models = Path(str(files("visavis.models")))
    if (source / BASE_FILE).is_file():
        whole = merged(source, part_hashes(models)["codec"])
        whole.save_pretrained(target)
        shutil.copy2(source / "README.md", target / "README.md")
    else:
        JointVocabulary.load(source)
        if not (source / "config.json").is_file() or not any(source.glob("model*.safetensors")):
            raise UsageError(
                f"expected config.json and model.safetensors in {source}: train it with `visavis train planner`"
            )
        for path in source.iterdir():
            if path.suffix in _COPIED:
                shutil.copyfile(path, target / path.name)
        _greedy(target)
    log.info("fingerprint %s", record(models, target))
    return target


def merged(source: Path, codec: str) -> ExpandedModel:
    """The base of a training folder with everything that it learnt.

    Args:
        source: of `visavis train planner --base …`.
        codec: hash that its motion codes must have been made with.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("merging LoRA", "train") from error

    noted = read_base_file(source)
    if noted["codec"] != codec:
        raise FingerprintError(
            f"expected a planner of the shipped codec {codec[:12]}; {source} was trained with {noted['codec'][:12]}: "
            "ship that codec first (`python -m visavis.finetune.ship`), or train the planner again"
        )
    if not (source / "adapter" / "adapter_model.safetensors").is_file():
        raise UsageError(f"expected a finished run in {source}, its adapter is not there: run the training to its end")
    vocabulary = JointVocabulary.load(source)
    base = read_base(noted["base"], source / READ_FOLDER)
    expanded = ExpandedModel.from_base(base, vocabulary.parts, vocabulary.codes, dtype="bfloat16")
    if expanded.origin != noted["origin"] or expanded.vocabulary.names != vocabulary.names:
        raise FingerprintError(f"expected the base that {source} was trained on; {noted['base']} has changed since")
    model: Any = PeftModel.from_pretrained(expanded.model, source / "adapter").merge_and_unload(safe_merge=True)
    return ExpandedModel(model.eval(), vocabulary, noted["origin"])


def _greedy(target: Path) -> None:
    """The default's own folder has no defaults of sampling: it gets those of an expanded base."""
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config}
    (target / "generation_config.json").write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
    assert (target / MANIFEST_FILE).is_file()

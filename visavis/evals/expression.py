"""`python -m visavis.evals.expression`: is a feeling seen in the body? Judged by how actors of Bandai-Namco moved.

A classifier learns angry, happy, sad and normal from recordings of actors alone, and is asked about our exported
motion: sentences that are said with each feeling. It sees how the body is held and how much and how fast it moves, each
as the difference to the same act done normally (ours: to our neutral turns), because bowing is no sadness and our
performer no actor; in units of how much the actors' windows vary. Which features and which classifier was settled
before ours were looked at: posture and energy as in Wallbott (1998), Castellano et al. (2007) and Dael et al. (2012).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.agent import Agent
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, data_file, progress, report
from visavis.evals.first_light.timing import read_turn
from visavis.metrics.bootstrap import bootstrap
from visavis.motion import rotations as rot
from visavis.motion.files import read_motion
from visavis.motion.kinematics import forward, to_frame
from visavis.motion.motion import FPS, Motion
from visavis.motion.retarget import retarget

__all__ = ["FEATURES", "STYLES", "Judge", "Windows", "actors", "expression", "learnt", "windows"]

STYLES: Final = {"normal": "neutral", "happy": "joy", "sad": "sadness", "angry": "anger"}
FEATURES: Final = (
    "head pitch", "chest pitch", "head pitch against the chest", "head moves", "chest moves", "wrists' height",
    "the higher wrist", "wrists forward", "wrists apart", "elbows apart", "speed of wrists", "fastest wrist",
    "acceleration of wrists", "speed of the head", "speed of the chest",
)  # fmt: skip
WINDOW, HOP = 60, 15  # frames: two seconds, every half
HIGH, LOW = 0.9, 0.3  # intensities
_SHRINKAGE = 0.3  # of the covariance within a style, towards its diagonal

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Windows:
    """(N, K) `FEATURES` of windows; of each the style, and the act or sentence it is of."""

    features: Array
    style: NDArray[np.str_]
    act: NDArray[np.str_]


def windows(motion: Motion) -> Array:
    """(N, K) `FEATURES` of each window of a motion; one shorter than a window is one."""
    skeleton = motion.skeleton
    places, turned = forward(motion.rotations, motion.root_m, skeleton)
    front = np.array([0, 0, 1], np.float32)
    pitch = {
        bone: -np.arcsin(np.clip(rot.rotate(turned[:, skeleton.index(bone)], front)[:, 1], -1, 1))
        for bone in ("head", "upperChest")
    }
    hips = (places[:, skeleton.index("hips")], turned[:, skeleton.index("hips")])
    chest = (places[:, skeleton.index("upperChest")], turned[:, skeleton.index("upperChest")])
    hands = np.stack([to_frame(hips, places[:, skeleton.index(f"{side}Hand")]) for side in ("left", "right")], axis=1)
    elbows = [to_frame(chest, places[:, skeleton.index(f"{side}LowerArm")]) for side in ("left", "right")]
    nose = places[:, skeleton.index("head")] + 0.2 * rot.rotate(turned[:, skeleton.index("head")], front)
    speed = np.linalg.norm(np.diff(hands, axis=0), axis=-1) * FPS
    change = np.linalg.norm(np.diff(hands, n=2, axis=0), axis=-1) * FPS**2
    head_speed = np.linalg.norm(np.diff(nose, axis=0), axis=-1) * FPS
    chest_speed = np.linalg.norm(np.diff(chest[0], axis=0), axis=-1) * FPS

    def log(x: NDArray[np.floating]) -> float:
        return float(np.log(np.mean(x) + 1e-3))

    out = []
    for first in range(0, max(len(motion) - WINDOW, 0) + 1, HOP):
        rows, moves = slice(first, first + WINDOW), slice(first, first + WINDOW - 2)
        head, torso = np.degrees(pitch["head"][rows]), np.degrees(pitch["upperChest"][rows])
        hand = hands[rows]
        out.append([
            head.mean(), torso.mean(), (head - torso).mean(), head.std(), torso.std(), hand[..., 1].mean(),
            hand[..., 1].max(), hand[..., 2].mean(), np.linalg.norm(hand[:, 0] - hand[:, 1], axis=-1).mean(),
            (elbows[0] - elbows[1])[rows, 0].mean(), log(speed[moves]), float(np.log(speed[moves].max() + 1e-3)),
            log(change[moves]), log(head_speed[moves]), log(chest_speed[moves]),
        ])  # fmt: skip
    return np.array(out)


def actors(real: Path) -> Windows:
    """The recordings that have a style of ours, retargeted, each act as it differs from itself done normally.

    Raises:
        UsageError: they are not there.
    """
    folder = real / "bandai_namco" / "dataset-1" / "data"
    found = [(path, path.stem.split("_")[1], path.stem.split("_")[2]) for path in sorted(folder.glob("*.bvh"))]
    found = [item for item in found if item[2] in STYLES]
    acts = {act for _, act, style in found if style != "normal"}
    if not acts:
        raise UsageError(
            f"expected Bandai-Namco's styles in {folder}, which are no part of the project: give --real DIR, a folder "
            "with bandai_namco/dataset-1/data/*.bvh"
        )
    rows, styles, of = [], [], []
    for path, act, style in progress(found, "actors"):
        if act in acts:
            x = windows(retarget(read_motion(path)))
            rows.append(x)
            styles += [style] * len(x)
            of += [act] * len(x)
    x, style_of, act_of = np.concatenate(rows), np.array(styles), np.array(of)
    for act in acts:
        mine = act_of == act
        x[mine] -= x[mine & (style_of == "normal")].mean(0)
    return Windows(x, style_of, act_of)


@dataclass(frozen=True, eq=False)
class Judge:
    """Linear discriminants: weights (K, 4), offsets (4,) in the order of `STYLES`, of features in units of `scale`."""

    weights: Array
    offsets: Array
    scale: Array

    def chances(self, features: Array) -> Array:
        """(4,) of the styles, from (N, K) windows of one turn: their mean log-odds."""
        x = (np.clip(features / self.scale, -4, 4) @ self.weights + self.offsets).mean(0)
        x = np.exp(x - x.max())
        return x / x.sum()


def learnt(known: Windows) -> Judge:
    """Discriminants with one covariance, shrunk; all styles alike frequent."""
    scale = known.features.std(0)
    x = np.clip(known.features / scale, -4, 4)
    means = np.stack([x[known.style == style].mean(0) for style in STYLES])
    within = np.zeros((x.shape[1], x.shape[1]))
    for style, mean in zip(STYLES, means, strict=True):
        off = x[known.style == style] - mean
        within += off.T @ off / len(off) / len(STYLES)
    within = (1 - _SHRINKAGE) * within + _SHRINKAGE * np.diag(np.diag(within))
    weights = np.linalg.solve(within, means.T)
    return Judge(weights, -0.5 * np.einsum("sk,ks->s", means, weights), scale)


def _across(known: Windows) -> list[bool]:
    """Whether the judge knows actors' windows in an act that it did not learn from."""
    hits: list[bool] = []
    for act in sorted(set(known.act.tolist())):
        out = known.act == act
        judge = learnt(Windows(known.features[~out], known.style[~out], known.act[~out]))
        hits += [
            list(STYLES)[int(judge.chances(x[None]).argmax())] == style
            for x, style in zip(known.features[out], known.style[out], strict=True)
        ]
    return hits


def _said(sentences: Sequence[str], options: dict[str, Any]) -> dict[tuple[int, str, float], Array]:
    """(N, K) windows of each sentence's exported motion by feeling and intensity, neutral at 0."""
    asked = [("neutral", 0.0), *((name, k) for name in list(STYLES.values())[1:] for k in (LOW, HIGH))]
    out = {}
    with Agent(**options) as agent, tempfile.TemporaryDirectory() as folder:
        for number, sentence in enumerate(progress(sentences, "sentences")):
            for name, intensity in asked:
                with agent.session() as session:
                    session.update(emotion={"name": name, "intensity": intensity})
                    turn = session.say(sentence)
                out[number, name, intensity] = windows(read_turn(turn, Path(folder), whole=False))
    return out


def expression(real: Path, sentences: Sequence[str], options: dict[str, Any] | None = None) -> Table:
    """The table: how well the judge knows the actors' styles, ours at full intensity, and what intensity does.

    Args:
        real: folder of the real recordings.
        sentences: that are said with every feeling.
        options: of the agent.
    Raises:
        UsageError: the actors are not there.
    """
    known = actors(real)
    judge = learnt(known)
    table = Table(f"Feeling in the body, judged as in {len(known.style)} windows of actors; {len(sentences)} sentences")
    table.add("actors, an act that was not learnt from (chance 25)", bootstrap(_across(known)), "%", 100)
    said = _said(sentences, options or {})
    calm = np.concatenate([x for (_, name, _), x in said.items() if name == "neutral"]).mean(0)
    order = list(STYLES.values())
    hits: dict[str, list[float]] = defaultdict(list)
    rises: dict[str, list[float]] = defaultdict(list)
    taken: dict[str, dict[str, int]] = {name: dict.fromkeys(order, 0) for name in order}
    differences: dict[str, list[Array]] = defaultdict(list)
    for (number, name, intensity), x in said.items():
        if intensity == LOW:
            continue
        chances = judge.chances(x - calm)
        guess = order[int(chances.argmax())]
        taken[name][guess] += 1
        hits[name].append(float(guess == name))
        differences[name].append((x - calm).mean(0) / judge.scale)
        if name != "neutral":
            weaker = judge.chances(said[number, name, LOW] - calm)
            rises[name].append(float(chances[order.index(name)] > weaker[order.index(name)]))
    by_sentence = np.mean([hits[name] for name in order], axis=0)
    table.add("ours told apart (chance 25)", bootstrap(by_sentence), "%", 100)
    for name in order:
        table.add(f"... {name}", bootstrap(hits[name]), "%", 100)
    pairs = np.mean([rises[name] for name in order[1:]], axis=0)
    table.add("intensity raises its chance", bootstrap(pairs), "%", 100)
    for name in order[1:]:
        table.add(f"... {name}", bootstrap(rises[name]), "%", 100)
    table.details = {
        "pairs": int(sum(map(len, rises.values()))),
        "taken for": taken,
        "actors' means": {
            STYLES[s]: _rounded((known.features[known.style == s] / judge.scale).mean(0)) for s in STYLES
        },
        "our means": {name: _rounded(np.mean(x, axis=0)) for name, x in differences.items()},
    }
    return table


def _rounded(values: Array) -> dict[str, float]:
    return {name: round(float(value), 2) for name, value in zip(FEATURES, values, strict=True)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.expression", description=__doc__)
    parser.add_argument("--real", type=Path, default=Path(".cache/real"), metavar="DIR", help="real recordings")
    parser.add_argument("--sentences", type=Path, default=None, metavar="FILE", help="one a line (default: frozen)")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="fewer sentences")
    parser.add_argument("--no-refine", action="store_true", help="leave the refiner out")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the table as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    path = args.sentences or data_file("timing_sentences.txt")
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()][: args.limit]
    return report(lambda: expression(args.real, lines, {"refine": not args.no_refine}), args.out)


if __name__ == "__main__":
    sys.exit(main())

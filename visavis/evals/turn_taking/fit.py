"""Learning what hearing knows: the melody of endings, the completeness of sentences, and how patient to be.

All on scenes of the training split, whose voices and sentences are its own. The patience is chosen on probabilities
that are cross-fitted over five folds: the quickest median among those that are expected to cut in on at most `ALLOWED`
of these turns, whose pauses are uniform from 0.3 to 1.2 s. The development split is for looking; the test split is not
looked at here. `python -m visavis.evals.turn_taking --fit` writes `ending.yaml` and `completeness.safetensors` of
`visavis/speech/data` and the lines `sound`, `words` and `mix` of `visavis/agent/data/turn_taking.yaml`.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

import visavis
from visavis.agent.turn_taking import Patience
from visavis.evals.turn_taking.scenes import PAUSES_S, Scene, SceneMaker
from visavis.evals.turn_taking.sentences import sentences
from visavis.evals.turn_taking.sounds import RATE_HZ
from visavis.speech.completeness import BUCKETS, bare_words, completeness, word_features
from visavis.speech.ending import ending_features

__all__ = ["ALLOWED", "Endings", "choose", "cross_fitted", "learn_completeness", "learn_melody", "write"]

log = logging.getLogger(__name__)
ALLOWED = 0.05
_FOLDS = 5
_BEGINNINGS = 4  # of each sentence are learnt as incomplete
_LATE_S = 0.084  # hearing has the end so much late, with its own delay (measured on the development split)
_ROOT = Path(visavis.__file__).parent
Array = NDArray[np.float64]


def learn_completeness(seed: int = 0) -> tuple[NDArray[np.float16], float]:
    """(BUCKETS,) weights and the constant of `completeness`."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for text in sentences("train"):
        words = bare_words(text)
        begun = rng.choice(np.arange(1, len(words)), min(_BEGINNINGS, len(words) - 1), replace=False)
        for size in (len(words), *begun):
            rows.append(word_features(words[:size]))
            labels.append(size == len(words))
    places = np.concatenate(rows)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    matrix = csr_matrix((np.ones(len(places), np.float32), places, starts), shape=(len(rows), BUCKETS))
    model = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced").fit(matrix, np.array(labels))
    return model.coef_[0].astype(np.float16), float(model.intercept_[0])


@dataclass(frozen=True, eq=False)
class Endings:
    """Where speech stops in scenes: (N, 14) features, (N,) whether for good, completeness and number of the scene."""

    features: Array
    last: NDArray[np.bool_]
    complete: Array
    scene: NDArray[np.int64]


def _stops(scene: Scene) -> list[tuple[float, bool]]:
    """Where the user falls silent in a scene, and whether for good."""
    return [(a, False) for a, _, _ in scene.pauses] + [(scene.end_s, True)]


def endings(counts: dict[str, int], seed: int = 0) -> Endings:
    """The endings of training scenes, each cut twice, a little early or late as voice activity does."""
    rng = np.random.default_rng(seed)
    rows, last, complete, numbers = [], [], [], []
    with SceneMaker("train") as maker:
        for number, scene in enumerate(maker.make(counts, seed)):
            for at_s, final in _stops(scene):
                text = " ".join(word.text for word in scene.words if word.end_s <= at_s + 0.05)
                for _ in range(2):
                    a = round((scene.start_s + rng.uniform(-0.1, 0.06)) * RATE_HZ)
                    b = round((at_s + rng.uniform(-0.03, 0.13)) * RATE_HZ)
                    rows.append(ending_features(scene.near[a:b]))
                    last.append(final)
                    complete.append(completeness(text))
                    numbers.append(number)
    return Endings(np.array(rows), np.array(last), np.array(complete), np.array(numbers))


def _network(x: Array, y: NDArray[np.bool_]) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((16,), "tanh", alpha=0.3, max_iter=400, random_state=0, learning_rate_init=0.005).fit(x, y)


def _scaled(features: Array) -> tuple[Array, Array]:
    return features.mean(axis=0), features.std(axis=0) + 1e-3


def learn_melody(found: Endings) -> dict[str, Any]:
    """The network of `probability_of_end`."""
    mean, scale = _scaled(found.features)
    model = _network((found.features - mean) / scale, found.last)
    return {
        "mean": mean, "scale": scale, "hidden": model.coefs_[0].T, "hidden_bias": model.intercepts_[0],
        "out": model.coefs_[1][:, 0], "out_bias": model.intercepts_[1][0],
    }  # fmt: skip


def cross_fitted(found: Endings) -> Array:
    """(N,) the probability of each ending by a network that has not seen its scene."""
    mean, scale = _scaled(found.features)
    x, fold, out = (found.features - mean) / scale, found.scene % _FOLDS, np.zeros(len(found.last))
    for k in range(_FOLDS):
        out[fold == k] = _network(x[fold != k], found.last[fold != k]).predict_proba(x[fold == k])[:, 1]
    return out


def _odds(p: Array) -> Array:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)))


def learn_mix(melody: Array, found: Endings) -> tuple[tuple[float, float, float], Array]:
    """How the log odds of melody and completeness make one probability, and (N,) that."""
    from sklearn.linear_model import LogisticRegression

    both = np.stack([_odds(melody), _odds(found.complete)], axis=1)
    model = LogisticRegression(class_weight="balanced").fit(both, found.last)
    a, b, c = (round(float(x), 3) for x in (*model.coef_[0], model.intercept_[0]))
    return (a, b, c), np.asarray(model.predict_proba(both)[:, 1])


def choose(probability: Array, found: Endings, fast_s: Sequence[float], allowed: float = ALLOWED) -> Patience:
    """The patience with the lowest median latency among those that cut in on at most `allowed` of the turns."""
    turns = len(np.unique(found.scene))
    least, most = PAUSES_S
    best: tuple[float, float, Patience] | None = None
    levels = np.round(np.quantile(probability, np.linspace(0.2, 0.97, 40)), 3)
    for fast, slow, (unsure, sure) in itertools.product(
        fast_s, (1.2, 1.25, 1.3), itertools.combinations(np.unique(levels), 2)
    ):
        patience = Patience(fast, slow, float(unsure), float(sure))
        needed = slow + (fast - slow) * np.clip((probability - unsure) / (sure - unsure), 0, 1)
        # each ending is there twice; a uniform pause is longer than what is needed with this probability
        cut = float(np.clip((most - needed[~found.last]) / (most - least), 0, 1).sum()) / 2 / turns
        late_s = float(np.median(needed[found.last])) + _LATE_S
        if cut <= allowed and (best is None or (late_s, cut) < best[:2]):
            best = late_s, cut, patience
    if best is None:
        raise ValueError("no patience keeps to the allowed share: look at the melodies first")
    log.info("%s: expected median %.0f ms, cut in on %.3f of %d turns", best[2], 1000 * best[0], best[1], turns)
    return best[2]


def write(counts: dict[str, int] | None = None) -> None:
    """Learn everything and write it where hearing reads it."""
    from safetensors.numpy import save_file

    from visavis.speech import completeness as words_module

    data = _ROOT / "speech" / "data"
    weight, bias = learn_completeness()
    save_file({"weight": weight, "bias": np.array([bias], np.float32)}, data / "completeness.safetensors")
    words_module._weights.cache_clear()
    found = endings(counts or {"pause": 1300, "turn": 350})
    model = {name: np.round(value, 4).tolist() for name, value in learn_melody(found).items()}
    head = "# The melody of endings, see visavis/speech/ending.py; by `python -m visavis.evals.turn_taking --fit`.\n"
    (data / "ending.yaml").write_text(head + yaml.safe_dump(model, width=118), encoding="utf-8")
    melody = cross_fitted(found)
    mix, mixed = learn_mix(melody, found)
    lines = {
        "sound": choose(melody, found, (0.224, 0.256, 0.32, 0.384)),
        "words": choose(mixed, found, (0.128, 0.16, 0.192)),
    }
    file = _ROOT / "agent" / "data" / "turn_taking.yaml"
    text = re.sub(r"(?m)^  mix: .*$", f"  mix: {list(mix)}", file.read_text(encoding="utf-8"))
    for name, patience in lines.items():
        inside = ", ".join(f"{key}: {value}" for key, value in asdict(patience).items())
        text = re.sub(rf"(?m)^  {name}: .*$", f"  {name}: {{{inside}}}", text)
    file.write_text(text, encoding="utf-8")

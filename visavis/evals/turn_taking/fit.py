"""Learning what hearing knows: the melody of endings, the completeness of sentences, and how patient to be.

Melody and completeness are learnt on scenes and sentences of the training split. How the two are mixed and how patient
to be is chosen on the development split, whose voices and sentences are others: the lowest mean latency among those
that are expected to cut in on at most `ALLOWED` of the turns with pauses (uniform from 0.3 to 1.2 s), well below what
is asked of the test split, which is not looked at here. `python -m visavis.evals.turn_taking --fit` (about an hour on
one core) writes `ending.safetensors` and `completeness.safetensors` of `visavis/speech/data` and the lines `sound`,
`words` and `mix` of `visavis/agent/data/turn_taking.yaml`.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import visavis
from visavis.agent.turn_taking import Patience
from visavis.evals.first_light.table import progress
from visavis.evals.turn_taking.scenes import PAUSES_S, Scene, SceneMaker
from visavis.evals.turn_taking.sentences import Split, sentences
from visavis.evals.turn_taking.sounds import RATE_HZ
from visavis.speech.completeness import BUCKETS, bare_words, completeness, word_features
from visavis.speech.ending import FRAMES, SUMMARY, TRACKS, Ending, ending_of, probability_of_end

__all__ = ["ALLOWED", "Endings", "choose", "endings", "learn_completeness", "learn_ending", "learn_mix", "write"]

log = logging.getLogger(__name__)
ALLOWED = 0.02
COUNTS: dict[Split, dict[str, int]] = {"train": {"pause": 3500, "turn": 900}, "dev": {"pause": 1000, "turn": 300}}
_SEED = 100
_BEGINNINGS = 4  # of each sentence are learnt as incomplete
_SEEN_S = 0.16  # of the silence after an ending is seen; of this …
_CUT = (3, 21)  # … so many frames are taken off again, as voice activity ends a little early or late
_LATE_S = 0.084  # hearing has the end so much late, with its own delay (measured on the development split)
_FAST_S = {"sound": (0.384,), "words": (0.16,)}  # the medians they make, with what hearing adds, are 470 and 250 ms
_SLOW_S, _UNFINISHED_S = 1.3, 0.1  # longer than any pause, with the moment until new speech is noticed
_WIDTH, _LAYERS, _HIDDEN, _EPOCHS, _BATCH = 32, 5, 32, 30, 128
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
    """Where speech stops in scenes.

    tracks: (N, FRAMES + 24, 6) float16, with `_SEEN_S` of the silence after it; summary: (N, 7).
    last: (N,) whether for good; complete: (N,) by the words; scene: (N,) its number.
    """

    tracks: NDArray[np.float16]
    summary: NDArray[np.float32]
    last: NDArray[np.bool_]
    complete: Array
    scene: NDArray[np.int64]

    def melody(self) -> Array:
        """(N,) what `probability_of_end` says, as far into the silence as hearing is on average."""
        late = self.tracks.shape[1] - sum(_CUT) // 2
        pairs = zip(self.tracks[:, :late].astype(np.float32), self.summary, strict=True)
        return np.array([probability_of_end(Ending(tracks, summary)) for tracks, summary in pairs])


def _stops(scene: Scene) -> list[tuple[float, bool]]:
    """Where the user falls silent in a scene, and whether for good."""
    return [(a, False) for a, _, _ in scene.pauses] + [(scene.end_s, True)]


def endings(scenes: Iterable[Scene], seed: int = 0) -> Endings:
    """The endings of scenes; where each begins to be heard is a little early or late, as with voice activity."""
    rng = np.random.default_rng(seed)
    found, last, complete, numbers = [], [], [], []
    for number, scene in enumerate(scenes):
        for at_s, final in _stops(scene):
            text = " ".join(word.text for word in scene.words if word.end_s <= at_s + 0.05)
            a = round((scene.start_s + rng.uniform(-0.1, 0.06)) * RATE_HZ)
            b = round((at_s + _SEEN_S) * RATE_HZ)
            found.append(ending_of(scene.near[a:b], FRAMES + 24))
            last.append(final)
            complete.append(completeness(text))
            numbers.append(number)
    tracks = np.array([each.tracks.astype(np.float16) for each in found])
    summary = np.array([each.summary for each in found])
    return Endings(tracks, summary, np.array(last), np.array(complete), np.array(numbers))


def learn_ending(found: Endings, epochs: int = _EPOCHS, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """The network of `probability_of_end`; its normalisations are folded into the convolutions."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tracks = torch.tensor(found.tracks).transpose(1, 2)  # (N, 6, T)
    last = torch.tensor(found.last).float()
    mean, scale = found.summary.mean(axis=0), found.summary.std(axis=0) + 1e-3
    summary = torch.tensor((found.summary - mean) / scale)
    layers: list[nn.Module] = []
    for k in range(_LAYERS):
        layers += [nn.Conv1d(len(TRACKS) if k == 0 else _WIDTH, _WIDTH, 5, 2, 2), nn.BatchNorm1d(_WIDTH), nn.ReLU()]
    body = nn.Sequential(*layers)
    hidden, out = nn.Linear(_WIDTH * FRAMES // 2**_LAYERS + len(SUMMARY), _HIDDEN), nn.Linear(_HIDDEN, 1)
    drop = nn.Dropout(0.3)
    parameters = [p for part in (body, hidden, out) for p in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.05)
    steps = len(last) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * steps)
    rarer = (last == 0).sum() / (last == 1).sum()
    for _ in progress(range(epochs), "epochs"):
        order = torch.tensor(rng.permutation(len(last)))
        for k in range(steps):
            chosen = order[k * _BATCH : (k + 1) * _BATCH]
            end = tracks.shape[2] - int(rng.integers(*_CUT))
            x = tracks[chosen, :, end - FRAMES : end].float()
            x[:, 0] *= torch.exp(0.2 * torch.randn(_BATCH, 1))  # livelier and flatter speakers
            x[:, 3] += 0.05 * torch.randn(_BATCH, 1)
            seen = torch.cat([body(x).flatten(1), summary[chosen]], dim=1)
            odds = out(torch.relu(hidden(drop(seen))))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(odds, last[chosen], pos_weight=rarer)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    made: dict[str, Any] = {"mean": mean, "scale": scale}
    for k in range(_LAYERS):
        convolution, norm = layers[3 * k], layers[3 * k + 1]
        assert isinstance(convolution, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d)
        assert norm.running_var is not None and norm.running_mean is not None and convolution.bias is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        made[f"conv{k}.weight"] = convolution.weight * gain[:, None, None]
        made[f"conv{k}.bias"] = (convolution.bias - norm.running_mean) * gain + norm.bias
    made |= {"hidden.weight": hidden.weight, "hidden.bias": hidden.bias, "out.weight": out.weight, "out.bias": out.bias}
    return {
        name: np.ascontiguousarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value, np.float32)
        for name, value in made.items()
    }


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
    """The patience with the lowest mean latency of those that cut in on at most `allowed` of the turns with pauses."""
    turns = len(np.unique(found.scene[~found.last]))
    least, most = PAUSES_S
    best: tuple[float, float, Patience] | None = None
    levels = np.unique(np.round(np.quantile(probability, np.linspace(0.2, 0.97, 60)), 3))
    for fast, (unsure, sure) in itertools.product(fast_s, itertools.combinations(levels, 2)):
        patience = Patience(fast, _SLOW_S, float(unsure), float(sure), _UNFINISHED_S)
        needed = _SLOW_S + (fast - _SLOW_S) * np.clip((probability - unsure) / (sure - unsure), 0, 1)
        # a uniform pause is longer than what is needed with this probability
        cut = float(np.clip((most - needed[~found.last]) / (most - least), 0, 1).sum()) / turns
        late_s = float(np.mean(needed[found.last])) + _LATE_S
        if cut <= allowed and (best is None or (late_s, cut) < best[:2]):
            best = late_s, cut, patience
    if best is None:
        raise ValueError("no patience keeps to the allowed share: look at the melodies first")
    log.info("%s: expected mean %.0f ms, cut in on %.3f of %d turns", best[2], 1000 * best[0], best[1], turns)
    return best[2]


def write() -> None:
    """Learn everything and write it where hearing reads it."""
    from safetensors.numpy import save_file

    from visavis.speech import completeness as words_module
    from visavis.speech import ending as ending_module

    data = _ROOT / "speech" / "data"
    weight, bias = learn_completeness()
    save_file({"weight": weight, "bias": np.array([bias], np.float32)}, data / "completeness.safetensors")
    words_module._weights.cache_clear()
    found: dict[Split, Endings] = {}
    for split, counts in COUNTS.items():
        with SceneMaker(split) as maker:
            log.info("endings of the %s split", split)
            found[split] = endings(maker.make(counts, _SEED))
    write_ending(learn_ending(found["train"]))
    ending_module._model.cache_clear()
    write_patience(found["dev"])


def write_ending(model: dict[str, NDArray[np.float32]]) -> None:
    """The network in half precision."""
    from safetensors.numpy import save_file

    halved = {name: value.astype(np.float16) for name, value in model.items()}
    save_file(halved, _ROOT / "speech" / "data" / "ending.safetensors")


def write_patience(found: Endings) -> None:
    """Choose mix and patience on these endings, with the melody as it is, and write them among the settings."""
    melody = found.melody()
    mix, mixed = learn_mix(melody, found)
    lines = {"sound": choose(melody, found, _FAST_S["sound"]), "words": choose(mixed, found, _FAST_S["words"])}
    file = _ROOT / "agent" / "data" / "turn_taking.yaml"
    text = re.sub(r"(?m)^  mix: .*$", f"  mix: {list(mix)}", file.read_text(encoding="utf-8"))
    for name, patience in lines.items():
        inside = ", ".join(f"{key}: {value}" for key, value in asdict(patience).items())
        text = re.sub(rf"(?m)^  {name}: .*$", f"  {name}: {{{inside}}}", text)
    file.write_text(text, encoding="utf-8")

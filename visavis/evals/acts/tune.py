"""Choose how the model's opinion and recall's are joined (`visavis.agent.joining`), on the development half alone.

What both say of every sentence is read once. Three regressions: whether it calls for a gesture (logistic), on which of
its words, and which of the candidates fits (conditional logit, McFadden 1974), all drawn towards recall alone.
The bias is the one of the best joint F1 on sentences that the regressions have not seen, and so are all figures here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.agent.joining import SUREST, Joining, evidence, log_odds, where_features, which_features
from visavis.agent.native import NativePlanner, settled
from visavis.agent.offers import aimed
from visavis.agent.planner import Cancel
from visavis.evals.acts.items import Item, Made, counts, f1, items
from visavis.evals.acts.measure import RECALL, best_threshold, gain, over, ratio
from visavis.evals.acts.systems import Product, Sentence, recalled, sentences
from visavis.evals.first_light.table import Table, progress
from visavis.retrieval.library import Library
from visavis.retrieval.params import told
from visavis.tokenizers.turn_language import ActPrompt, Tag, tag_ids

__all__ = ["Opinion", "choose", "decide", "fit", "opinions", "tune"]

FOLDS: Final = 10
WORDS: Final = 3  # of a sentence, by recall's chances, where the model is asked for the names
PULL: Final = 0.1  # squared distance from recall alone counts so much, in nats
JOINED: Final = "joined"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Opinion:
    """What model and recall say of a sentence.

    odds: the model's log-odds of a gesture, by word; names: by word, its log-probability of naming each candidate.
    """

    item: int
    sentence: Sentence
    odds: dict[int, float]
    names: dict[int, tuple[float, ...]]

    def written(self, word: int) -> Floats:
        """(candidates,) the log-probabilities at a word, or at the likeliest where nobody asked there."""
        return np.array(self.names.get(word) or next(iter(self.names.values())))


def opinions(planner: NativePlanner, library: Library, some: Sequence[Item]) -> list[Opinion]:
    """Of all sentences that have candidates, as the product reads them; about 0.2 s each."""
    product, vocabulary, found = Product(planner, library), planner.engine.vocabulary, []
    for number, item in enumerate(progress(some, "sentences")):
        felt = product.felt(item)
        for sentence in sentences(library, item, felt):
            shown, words = sentence.offer.candidates, vocabulary.encode_words(sentence.text)
            prompt = ActPrompt(sentence.text, felt, shown)
            _, odds = planner.read(prompt, cancel=Cancel())
            if not shown or not odds:
                continue
            names = {}
            for word in sorted(odds, key=lambda w, c=sentence.offer.chances: -c[w])[:WORDS]:  # type: ignore[misc]
                before = [*prompt.ids(vocabulary), *(id_ for *_, ids in words[:word] for id_ in ids)]
                tags = [tag_ids(vocabulary, Tag(c.text, 0)) for c in shown]
                names[word] = tuple(float(planner.engine.score([*before, tag[0]], tag[1:]).sum()) for tag in tags)
            found.append(Opinion(number, sentence, odds, names))
    return found


def decide(item: Item, opinion: Opinion, joining: Joining, library: Library) -> list[tuple[Made, float]]:
    """What the product makes of a sentence, but for parameters that only the model gives; each with its log-odds."""
    sentence, offer = opinion.sentence, opinion.sentence.offer
    sure = joining.whether(evidence(offer.candidates, offer.chances), opinion.odds)
    places = joining.places(offer.candidates, offer.chances, opinion.odds, bias=max(0.0, -sure))
    tags = []
    for place in sorted(places):
        names = joining.which(offer.candidates) + joining.which_model * opinion.written(place)
        tags.append(Tag(offer.candidates[int(np.argmax(names))].text, place))
    called = {word: gloss for gloss, word in told(sentence.text)}
    return [
        (Made(tag.gloss, sentence.before + tag.word, aimed(library, sentence.text, tag, item.scene), 0.0), sure)
        for tag in settled(tags, offer.chances, offer.candidates, called)
    ]


def fit(some: Sequence[Item], read: Sequence[Opinion], model: bool = True) -> Joining:
    """The trusts, with a bias that is even odds; without the model its trusts are 0."""
    whether, called, where, which = [], [], [], []
    for opinion in read:
        item, offer = some[opinion.item], opinion.sentence.offer
        places = [i - opinion.sentence.before for i in _places(item)]
        right = [place for place in places if place in opinion.odds]
        best, most = evidence(offer.candidates, offer.chances), max(opinion.odds.values())
        whether.append([log_odds(best), float(np.clip(most, *SUREST)), 1.0])
        called.append(float(bool(right)))
        if not right or item.kind == "aimed":
            continue
        words = sorted(opinion.odds)
        where.append(
            (where_features(offer.chances, opinion.odds, max(words) + 1)[words], [words.index(i) for i in right])
        )
        fitting = [i for i, c in enumerate(offer.candidates) if c.text in item.accept]
        if fitting:
            names = np.stack([which_features(offer.candidates), opinion.written(_likeliest(offer.chances, words))], 1)
            which.append((names, fitting))
    on = np.array([1.0, float(model)])
    first = _logit(np.array(whether) * [1.0, float(model), 1.0], np.array(called))
    second, third = _choice([(x * on, right) for x, right in where]), _choice([(x * on, right) for x, right in which])
    return Joining(first[2], first[0], first[1], second[0], second[1], third[0], third[1])


def _places(item: Item) -> list[int]:
    if item.kind == "neutral":
        return []
    return [i for i in range(len(item.text.split())) if item.away(Made("", i, {}, 0.0)) == 0]


def _likeliest(chances: Sequence[float], words: Sequence[int]) -> int:
    return max(words, key=lambda word: chances[word])


def _minimised(loss: Callable[[torch.Tensor], torch.Tensor], start: Sequence[float]) -> list[float]:
    values = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        total = loss(values)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(step)  # type: ignore[no-untyped-call]
    return [float(value) for value in values.detach()]


def _logit(features: Floats, labels: Floats) -> list[float]:
    """Trust in recall, in the model (0 at least), and bias."""
    x, y = torch.tensor(features), torch.tensor(labels)
    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

    def loss(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-(2 * y - 1) * (x @ values)).sum() + PULL * (values - start).square().sum()

    found = _minimised(loss, start.tolist())
    if found[1] >= 0:
        return found
    x[:, 1] = 0.0  # more of the model's opinion never speaks against a gesture
    return _minimised(loss, start.tolist())


def _choice(sets: Sequence[tuple[Floats, list[int]]]) -> list[float]:
    """Trust in recall and in the model (0 at least); each set is its options' features (n, 2) and the right ones."""
    options = [(torch.tensor(x), right) for x, right in sets]
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def loss_of(only: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        mask = torch.tensor([1.0, 0.0 if only else 1.0], dtype=torch.float64)

        def loss(values: torch.Tensor) -> torch.Tensor:
            total = PULL * (values - start).square().sum()
            for x, right in options:
                scores = x @ (values * mask)
                total = total + torch.logsumexp(scores, 0) - torch.logsumexp(scores[right], 0)
            return total

        return loss

    found = _minimised(loss_of(False), start.tolist())
    return found if found[1] >= 0 else [_minimised(loss_of(True), start.tolist())[0], 0.0]


def choose(
    some: Sequence[Item], read: Sequence[Opinion], library: Library, model: bool = True, seed: int = 0
) -> tuple[Joining, list[list[Made]]]:
    """The joining, and what it makes of each sentence when it is fitted on the other folds.

    The bias of the decisions is that of all folds together, one number of hundreds of sentences.
    """
    fold = np.random.default_rng(seed).permutation(len(some)) % FOLDS
    made: list[list[tuple[Made, float]]] = [[] for _ in some]
    for number in range(FOLDS):
        joining = fit(some, [opinion for opinion in read if fold[opinion.item] != number], model)
        for opinion in read:
            if fold[opinion.item] == number:
                made[opinion.item] += decide(some[opinion.item], opinion, joining, library)
    bias = -best_threshold(list(some), [[replace(gesture, score=sure) for gesture, sure in row] for row in made])
    joining = fit(some, read, model)
    kept = [[gesture for gesture, sure in row if sure + bias >= 0] for row in made]
    return replace(joining, bias=joining.bias + bias), kept


def tune(planner: NativePlanner, library: Library, seed: int = 0) -> tuple[Table, Joining]:
    """Read, fit, and say by cross-validation what it is worth.

    The joining is that without the model if the model's opinion makes the decisions worse.
    """
    some = items("tune")
    read = opinions(planner, library, some)
    trusting, made = choose(some, read, library, seed=seed)
    alone, without = choose(some, read, library, model=False, seed=seed)
    best = [recalled(library, item) for item in progress(some, "recall alone")]
    threshold = best_threshold(some, best)
    kept = [[gesture for gesture in row if gesture.score >= threshold] for row in best]
    table = Table(
        f"Joining model and recall, {len(some)} sentences of the development half, each unseen by its regressions"
    )
    rows = {JOINED: counts(some, made), "without the model": counts(some, without), RECALL: counts(some, kept)}
    for name, one in rows.items():
        table.add(f"{name}: joint decision, F1", over(one, f1))
        table.add(f"{name}: gloss and parameters alone, F1", over(one, lambda x: f1(x, "gloss")))
        table.add(
            f"{name}: right gestures, of sentences that call for one",
            over(one, lambda x: ratio(x, "gloss", "wanted")),
            "%",
            100,
        )
        table.add(f"{name}: gesture or none, precision", over(one, lambda x: ratio(x, "both", "moved")), "%", 100)
        table.add(f"{name}: gesture or none, recall", over(one, lambda x: ratio(x, "both", "wanted")), "%", 100)
    for name in list(rows)[1:]:
        table.add(f"{JOINED} minus {name}, joint F1", gain(rows[JOINED], rows[name], f1))
    joining = trusting if f1(rows[JOINED]) >= f1(rows["without the model"]) else alone
    table.details = {"with the model": asdict(trusting), "joining": asdict(joining), "threshold": threshold}
    return table, joining

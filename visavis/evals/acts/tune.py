"""Choose how recall, single words and the model's opinion are joined (`visavis.agent.joining`), on the development half
alone.

What they say of every sentence is read once. Three regressions: whether it calls for a gesture (logistic), which of the
candidates fits, and on which of its words (conditional logit, McFadden 1974), all drawn towards recall alone. A gesture
is made where that is likelier than not. All figures here are of sentences that the regressions have not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.agent.joining import (
    SUREST,
    Joining,
    Words,
    evidence,
    log_odds,
    where_features,
    which_features,
)
from visavis.agent.native import NativePlanner, settled
from visavis.agent.offers import aimed, shipped_reader
from visavis.agent.planner import Cancel
from visavis.evals.acts.items import Item, Made, counts, f1, items
from visavis.evals.acts.measure import RECALL, best_threshold, gain, over, ratio
from visavis.evals.acts.systems import Product, Sentence, recalled, sentences
from visavis.evals.first_light.table import Table, progress
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import ActPrompt, Tag, tag_ids

__all__ = ["Opinion", "choose", "decide", "fit", "opinions", "tune"]

FOLDS: Final = 10
WORDS: Final = 3  # of a sentence, by recall's chances, where the model is asked for the names
PULL: Final = 0.1  # squared distance from recall alone counts so much, in nats
JOINED: Final = "joined"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Opinion:
    """What model, recall and words say of a sentence.

    odds: the model's log-odds of a gesture, by word; names: by word, its log-probability of naming each candidate.
    words: what the sentence's words say of the candidates.
    """

    item: int
    sentence: Sentence
    odds: dict[int, float]
    names: dict[int, tuple[float, ...]]
    words: Words

    def written(self, word: int) -> Floats:
        """(candidates,) the log-probabilities at a word, or at the likeliest where nobody asked there."""
        return np.array(self.names.get(word) or next(iter(self.names.values())))


def opinions(planner: NativePlanner, library: Library, some: Sequence[Item]) -> list[Opinion]:
    """Of all sentences that have candidates, as the product reads them; about 0.2 s each."""
    product, vocabulary, found = Product(planner, library), planner.engine.vocabulary, []
    for number, item in enumerate(progress(some, "sentences")):
        felt = product.felt(item)
        for sentence in sentences(library, item, felt, shipped_reader):
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
            said = planner.words(sentence.text, shown, sentence.offer.called, read=True)
            found.append(Opinion(number, sentence, odds, names, said))
    return found


def decide(item: Item, opinion: Opinion, joining: Joining, library: Library) -> list[tuple[Made, float]]:
    """What the product makes of a sentence, but for parameters that only the model gives; each with its log-odds."""
    sentence, offer = opinion.sentence, opinion.sentence.offer
    sure = joining.whether(evidence(offer.candidates, offer.chances), opinion.odds, opinion.words.fit)
    places = joining.places(offer.candidates, offer.chances, opinion.odds, max(0.0, -sure), opinion.words)
    tags = []
    for place in sorted(places):
        names = joining.which(offer.candidates, opinion.words) + joining.which_model * opinion.written(place)
        tags.append(Tag(offer.candidates[int(np.argmax(names))].text, place))
    share = joining.where(offer.candidates, offer.chances, opinion.odds, len(sentence.text.split()), opinion.words)
    return [
        (Made(tag.gloss, sentence.before + tag.word, aimed(library, sentence.text, tag, item.scene), 0.0), sure)
        for tag in settled(tags, share, offer.candidates, offer.called)
    ]


def fit(
    some: Sequence[Item], read: Sequence[Opinion], model: bool = True, words: bool = True, reader: bool = True
) -> Joining:
    """The trusts, with a bias that is even odds; without the model, the words or the reader of words theirs are 0."""
    whether, called, which, where = [], [], [], []
    for opinion in read:
        item, offer = some[opinion.item], opinion.sentence.offer
        best, most = evidence(offer.candidates, offer.chances), max(opinion.odds.values())
        whether.append([log_odds(best), opinion.words.fit, float(np.clip(most, *SUREST)), 1.0])
        called.append(float(bool(_right(item, opinion))))
        fits = [i for i, c in enumerate(offer.candidates) if c.text in item.accept]
        if called[-1] and fits:
            written = opinion.written(_likeliest(offer.chances, sorted(opinion.odds)))
            which.append((np.c_[which_features(offer.candidates, opinion.words), written], fits))
    a = _fitted(_logit(np.array(whether), np.array(called)), [True, words, model, True], bias=True)
    b = _fitted(_choice(which), [True, words, words, model])
    joining = Joining(a[3], a[0], a[2], 1.0, 0.0, b[0], b[3], a[1], which_called=b[1], which_wording=b[2])
    for opinion in read:
        offer, places = opinion.sentence.offer, sorted(opinion.odds)
        if right := _right(some[opinion.item], opinion):
            gloss = offer.candidates[int(np.argmax(joining.which(offer.candidates, opinion.words)))].text
            x = where_features(offer.chances, opinion.odds, max(places) + 1, opinion.words, gloss)[places]
            said = opinion.words.read(gloss)[places]
            where.append((np.c_[x[:, :-1], said, x[:, -1]], [places.index(i) for i in right]))
    c = _fitted(_choice(where), [True, words, words, words, words and reader, model])
    return replace(
        joining, where_recall=c[0], where_called=c[1], where_wording=c[2], where_cues=c[3], where_read=c[4],
        where_model=c[5],
    )  # fmt: skip


def _right(item: Item, opinion: Opinion) -> list[int]:
    """The words of a sentence that its gesture belongs to."""
    return [place for i in _places(item) if (place := i - opinion.sentence.before) in opinion.odds]


def _places(item: Item) -> list[int]:
    if item.kind == "neutral":
        return []
    return [i for i in range(len(item.text.split())) if item.away(Made("", i, {}, 0.0)) == 0]


def _likeliest(chances: Sequence[float], words: Sequence[int]) -> int:
    return max(words, key=lambda word: chances[word])


def _fitted(loss: Callable[[torch.Tensor], torch.Tensor], used: Sequence[bool], bias: bool = False) -> list[float]:
    """Trusts of the least loss, drawn towards 1 for the first, which is recall's, and 0 for the others; 0 for those
    that are not used. An opinion never speaks against what it is for, so that none is below 0, but for the last where
    that is a bias.
    """
    start = torch.zeros(len(used), dtype=torch.float64)
    start[0] = 1.0
    mask, values = torch.tensor(used, dtype=torch.float64), start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        total = loss(values * mask) + PULL * (values - start).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(step)  # type: ignore[no-untyped-call]
    found = [float(value) for value in (values * mask).detach()]
    kept = [
        use and (value >= 0 or (bias and i == len(used) - 1))
        for i, (use, value) in enumerate(zip(used, found, strict=True))
    ]
    return found if kept == [*used] else _fitted(loss, kept, bias)


def _logit(features: Floats, labels: Floats) -> Callable[[torch.Tensor], torch.Tensor]:
    """The loss of a logistic regression, in nats."""
    x, y = torch.tensor(features), torch.tensor(labels)
    return lambda values: torch.nn.functional.softplus(-(2 * y - 1) * (x @ values)).sum()


def _choice(sets: Sequence[tuple[Floats, list[int]]]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The loss of a conditional logit, in nats; each set is its options' features (n, F) and the right ones."""
    options = [(torch.tensor(x), right) for x, right in sets]

    def loss(values: torch.Tensor) -> torch.Tensor:
        scores = [(x @ values, right) for x, right in options]
        return torch.stack([torch.logsumexp(s, 0) - torch.logsumexp(s[right], 0) for s, right in scores]).sum()

    return loss


def choose(
    some: Sequence[Item],
    read: Sequence[Opinion],
    library: Library,
    model: bool = True,
    words: bool = True,
    reader: bool = True,
    seed: int = 0,
) -> tuple[Joining, list[list[Made]]]:
    """The joining, and what it makes of each sentence when it is fitted on the other folds; a gesture is made where the
    regression finds one likelier than not.
    """
    fold = np.random.default_rng(seed).permutation(len(some)) % FOLDS
    made: list[list[Made]] = [[] for _ in some]
    for number in range(FOLDS):
        joining = fit(some, [opinion for opinion in read if fold[opinion.item] != number], model, words, reader)
        for opinion in read:
            if fold[opinion.item] == number:
                gestures = decide(some[opinion.item], opinion, joining, library)
                made[opinion.item] += [gesture for gesture, sure in gestures if sure >= 0]
    return fit(some, read, model, words, reader), made


def tune(planner: NativePlanner, library: Library, seed: int = 0) -> tuple[Table, Joining]:
    """Read, fit, and say by cross-validation what it is worth.

    The joining is that without the model unless the model's opinion makes the decisions better, by its interval.
    """
    some = items("tune")
    read = opinions(planner, library, some)
    trusting, made = choose(some, read, library, seed=seed)
    alone, without = choose(some, read, library, model=False, seed=seed)
    _, unread = choose(some, read, library, model=False, reader=False, seed=seed)
    _, bare = choose(some, read, library, model=False, words=False, seed=seed)
    best = [recalled(library, item) for item in progress(some, "recall alone")]
    threshold = best_threshold(some, best)
    kept = [[gesture for gesture in row if gesture.score >= threshold] for row in best]
    table = Table(
        f"Joining model and recall, {len(some)} sentences of the development half, each unseen by its regressions"
    )
    rows = {
        JOINED: counts(some, made),
        "without the model": counts(some, without),
        "without model and reader of words": counts(some, unread),
        "without model and words": counts(some, bare),
        RECALL: counts(some, kept),
    }
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
    # Reading takes the model time, so it must be worth it.
    better = gain(rows[JOINED], rows["without the model"], f1).low > 0
    joining = trusting if better else alone
    table.details = {"with the model": asdict(trusting), "joining": asdict(joining), "threshold": threshold}
    return table, joining

"""`say` keeps the user's words exactly while the model sets tags: 200 unseen everyday sentences."""

from __future__ import annotations

from collections import Counter

from visavis.agent import Agent
from visavis.evals.first_light.table import Table, data_file, progress, share
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.lexicon import load_lexicon

__all__ = ["measure"]


def measure(agent: Agent, limit: int | None = None) -> Table:
    """Say every sentence with an agent (a silent voice and no refiner are enough: words and tags come before them)."""
    lines = data_file("say_sentences.txt").read_text("utf-8").splitlines()[:limit]
    lexicon = load_lexicon()
    kept, spoken, counts, per_minute, sources, known = [], [], [], [], [], []
    glosses: list[str] = []
    changed: list[list[str]] = []
    for line in progress(lines, "sentences"):
        turn = agent.say(line)
        kept.append(turn.text == line and " ".join(clause.text for clause in turn.record.clauses) == line)
        spoken.append([word.text for word in turn.speech.words] == line.split())
        if not (kept[-1] and spoken[-1]):
            changed.append([line, turn.text, " ".join(word.text for word in turn.speech.words)])
        counts.append(len(turn.gestures))
        seconds = max((word.end_s for word in turn.speech.words), default=0.0)
        per_minute.append((len(turn.gestures), seconds))
        sources += [gesture.source == "model" for gesture in turn.gestures]
        known += [gesture.gloss in lexicon for gesture in turn.gestures]
        glosses += [gesture.gloss for gesture in turn.gestures]
    table = Table(f"Words and gestures of {len(lines)} unseen sentences")
    table.add("text and clauses equal the sentence", share(kept), "%", 100)
    table.add("spoken words equal the sentence's", share(spoken), "%", 100)
    table.add("gestures set by the model", share(sources), "%", 100)
    table.add("gestures of known glosses", share(known), "%", 100)
    table.add("gestures a sentence", bootstrap(counts))
    table.add("sentences with a gesture", share(count > 0 for count in counts), "%", 100)
    total_s = sum(seconds for _, seconds in per_minute) / max(len(per_minute), 1)
    table.add("gestures a minute of speech", bootstrap([60 * count / max(total_s, 1e-6) for count, _ in per_minute]))
    table.add("repeats the gesture before", share(a == b for a, b in zip(glosses, glosses[1:], strict=False)), "%", 100)
    counter = Counter(glosses)
    table.details = {"glosses": dict(counter.most_common()), "distinct": len(counter), "changed": changed}
    return table

"""When a taught listener answers what is said, and how largely.

What calls for an answer is known (`visavis.agent.reactions`). A listener of flesh does not answer all of it, needs time
to understand and does one thing after the other: the movement begins 250 to 700 ms after the word (words are recognised
about when they end, Marslen-Wilson 1987; a facial reaction to what is seen or heard takes 300 ms and more, Dimberg and
Thunberg 1998), and what comes while one goes on is let pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from visavis.agent.listening import ListenerSignal
from visavis.agent.reactions import phrases_by_reason, reactions
from visavis.emotion import EMOTIONS
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word

__all__ = ["answers", "drilled", "feeling_of"]

_DELAY_S, _VARIES_S = 0.43, 0.08  # of the delay, which is from 0.25 to 0.70 s
_CLEAR_S = 0.15  # between two answers
_SURE = 0.5  # of a sentence's feeling, from which on it is answered
_EAGER = 1.5  # times as large are the answers of a listener who lets nothing pass
_CALLED = 4  # phrases that a drilled line gets, at most


def answers(
    partner: Sequence[Word],
    performer: Performer,
    rng: np.random.Generator,
    feel: Callable[[str], str] | None = None,
    eager: bool = False,
) -> list[ListenerSignal]:
    """The answers to these words, in their order, no two at once.

    Args:
        partner: words with their times.
        performer: who listens: one of lively head and trunk answers more often, one of large movements more largely.
        rng: makes every choice.
        feel: the emotion of a sentence (`feeling_of`); without it only words are answered.
        eager: answer all there is time for, and largely.
    """
    out: list[ListenerSignal] = []
    often = float(np.clip(0.7 + 0.2 * performer.head_style, 0.0, 0.95)) if not eager else 1.0
    for found in reactions([word.text for word in partner], feel):
        draw, delay = rng.random(), float(np.clip(rng.normal(_DELAY_S, _VARIES_S), 0.25, 0.70))
        size = performer.amplitude * rng.uniform(0.9, 1.3) * (_EAGER if eager else 1.0)
        side = float(rng.choice([-1.0, 1.0]))
        at = partner[found.word].end_s + delay
        if draw < often and (not out or at >= out[-1].at_s + out[-1].length_s + _CLEAR_S):
            out.append(ListenerSignal(found.kind, at, found.size * size, found.count, side))
    return out


@functools.lru_cache(maxsize=4096)
def feeling_of(sentence: str) -> str:
    """The emotion of a sentence by its meaning (`visavis.retrieval.feeling`), "neutral" where that is not sure."""
    from visavis.retrieval.feeling import Feeling

    log_chances = Feeling.default().log_chances(sentence)
    best = int(log_chances.argmax())
    return EMOTIONS[best] if np.exp(log_chances[best]) >= _SURE else "neutral"


def drilled(text: str, rng: np.random.Generator) -> str:
    """A line full of what calls for an answer: phrases of the lists put between its words. It makes no sense; an eager
    listener of such lines is a drill, from which a model learns sooner which words count than from talk, where one in
    twenty does.
    """
    words = text.split()
    kinds = phrases_by_reason()
    for _ in range(int(rng.integers(2, _CALLED + 1))):
        of = kinds[int(rng.integers(len(kinds)))]
        words.insert(int(rng.integers(len(words))), of[int(rng.integers(len(of)))])
    return " ".join(words)

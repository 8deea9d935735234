"""For the tests of those who build on visavis: a mind that says what it is told to, and a voice without sound.

    agent = scripted("Hello!", "It is {thumbs up} fine.")
    turn = agent.session().answer("Hi")           # no model decides what is said; the body is the real one

The planner is scripted, the voice is silent and the refiner is off; everything else is what ships, so that what a test
sees of timing, events and motion is what users will see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from visavis.agent import Agent
from visavis.agent.planner import Cancel
from visavis.emotion import Emotion
from visavis.speech.silent import SilentVoice
from visavis.tokenizers.turn_language import ActPlan, ActPrompt, ReplyPlan, ReplyPrompt, Segment, Tag

__all__ = ["ScriptedPlanner", "SilentVoice", "scripted"]

_GESTURE = re.compile(r"\{([^{}]+)\}\s*")


class ScriptedPlanner:
    """A planner whose replies are given.

    Args:
        replies: one after the other, the last one again and again; or by a word or phrase of the partner's line; or a
            function from the line. `{gloss}` before a word is a gesture on it.
        emotion: how it feels.

    Attributes:
        prompts: every prompt of a reply that came.
    """

    name = "scripted"

    def __init__(
        self,
        replies: Sequence[str] | Mapping[str, str] | Callable[[str], str] = ("Yes.",),
        emotion: Emotion = Emotion(),  # noqa: B008 - frozen
    ) -> None:
        self._replies, self._emotion = replies, emotion
        self._count = 0
        self._gestures: list[tuple[str, str]] = []  # of the reply in the making: the gloss and its word
        self.prompts: list[ReplyPrompt] = []

    def reply(self, prompt: ReplyPrompt, *, seed: int, cancel: Cancel) -> ReplyPlan:
        """The next reply; see `Planner`."""
        self.prompts.append(prompt)
        text = self._next(prompt.user)
        parts = _GESTURE.split(text)
        following = zip(parts[1::2], parts[2::2], strict=True)
        self._gestures = [(gloss, words.split()[0]) for gloss, words in following if words.split()]
        return ReplyPlan(self._emotion, (Segment(_GESTURE.sub("", text)),))

    def feel(self, prompt: ActPrompt, *, cancel: Cancel) -> Emotion:
        """Always the same; see `Planner`."""
        return self._emotion

    def act(self, prompt: ActPrompt, **options: Any) -> ActPlan:
        """The gestures that stood in the reply, as far as they fall into this clause; see `Planner`."""
        words, tags = prompt.text.split(), []
        while self._gestures and self._gestures[0][1] in words:
            gloss, word = self._gestures.pop(0)
            tags.append(Tag(gloss, words.index(word)))
        return ActPlan(None, prompt.text, tuple(tags))

    def _next(self, line: str) -> str:
        if callable(self._replies):
            return self._replies(line)
        if isinstance(self._replies, Mapping):
            return next((said for key, said in self._replies.items() if key.lower() in line.lower()), "Hm.")
        self._count += 1
        return self._replies[min(self._count, len(self._replies)) - 1]


def scripted(*replies: str, emotion: Emotion = Emotion(), **options: Any) -> Agent:  # noqa: B008 - frozen
    """An agent with a scripted planner, the silent voice and no refiner; `options` are `Agent`'s."""
    agent = Agent(**{"voice": "silent", "refine": False, **options})
    agent.tools = replace(agent.tools, planner=ScriptedPlanner(replies or ("Yes.",), emotion))
    return agent

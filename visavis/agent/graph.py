"""The turn as a LangGraph graph: perceive → recall → reply → (act → speak → aim → move → …) per clause → finish.

The state is plain JSON; sound and motion live in the turn's `Work`, which is the run's context. What outlives a turn is
what was heard of it, which is not this graph's business (`visavis.agent.keeping`). Behaviours are nodes, too
(`visavis.agent.behaviours`). A clause is planned before the one before it moves, so that its gestures may begin early.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypedDict

import numpy as np
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from visavis.agent.behaviours import Behaviour, TurnView
from visavis.agent.choreography import Choice, arms_of, lead_in_s, parts_of, place
from visavis.agent.clauses import parted, sentences_of, split_clauses
from visavis.agent.events import GestureAdded, ResponseEmotion, TextDelta
from visavis.agent.grid import STEP_S
from visavis.agent.moving import move_clause
from visavis.agent.offers import Offer, aimed, offered, shipped_reader
from visavis.agent.recall import rank_cards
from visavis.agent.records import gesture_record
from visavis.agent.rhythm import beat_library, beat_stresses, choose_beats
from visavis.agent.text_input import LONGEST_WORD
from visavis.agent.work import SpokenClause, Work
from visavis.emotion import Emotion
from visavis.errors import ServiceError, VisavisError
from visavis.retrieval.library import Wanted
from visavis.speech.given import whole
from visavis.speech.types import Word
from visavis.tokenizers.turn_language import (
    MAX_CARDS,
    ActPrompt,
    Candidate,
    ReplyPlan,
    ReplyPrompt,
)

__all__ = ["TurnState", "build_graph"]

PAUSE_S = {"sentence": 0.28, "clause": 0.08}
LONGEST_REPLY = 300  # words; what a planner says beyond is left out
REPLY_S, ACT_S, SPEAK_S, BEHAVIOUR_S = 60.0, 20.0, 60.0, 60.0  # the longest to wait for planner, voice and others
LONGEST_FELT = 60  # words of a given text that decide its emotion


class TurnState(TypedDict, total=False):
    """What the nodes share. `given` is the text of `say`; where it is None the model replies to `user`."""

    user: str | None
    given: str | None
    history: list[list[str]]
    cards: list[list[Any]]
    emotion: list[Any] | None
    text: str
    clauses: list[str]
    planned: int
    moved: int
    choices: list[list[dict[str, Any]]]


def _recall(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    work = runtime.context
    with work.stage("recall"):
        history = [(speaker, text) for speaker, text in state.get("history", [])]
        line = state["user"] or ""
        found = rank_cards(line, [*work.tools.persona.known, *work.recalled(line)], history)
    return {"cards": [[card.text, card.score] for card in found]}


def _reply(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    work = runtime.context
    with work.stage("reply"):
        persona = work.tools.persona
        prompt = ReplyPrompt(
            persona.name,
            persona.role,
            [Candidate(text, score) for text, score in state["cards"]],
            [(speaker, text) for speaker, text in state.get("history", [])],
            state["user"] or "",
        )
        ask = work.tools.planner.reply
        emotion, text = work.call("planner", REPLY_S, lambda: _said(ask(prompt, seed=work.seed, cancel=work.cancel)))
    work.first("reply_first_clause")
    if (felt := work.tools.emotion) is not None:
        emotion = [felt.name, felt.intensity]
    return {"emotion": emotion, "text": text, "clauses": split_clauses(text)}


def _said(plan: ReplyPlan) -> tuple[list[Any], str]:
    """Emotion and words of a reply, as far as they can be felt and said; one without words is heard all the same."""
    emotion = Emotion(plan.emotion.name, plan.emotion.intensity)
    visible = (char for char in plan.text if unicodedata.category(char) != "Cf")
    printable = "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Co") else char for char in visible)
    words = [word[:LONGEST_WORD] for word in printable.split()[:LONGEST_REPLY]]
    return [emotion.name, emotion.intensity], " ".join(words) or "Hm."


def _given(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    """Take the text of `say` as it is; the model feels it as a whole."""
    work, text = runtime.context, state["given"] or ""
    clauses = [item.speech.text for item in work.recording] or split_clauses(text)
    if not text:  # a recording without a transcript: nothing is known that could be felt
        return {"emotion": ["neutral", 0.0], "text": "", "clauses": clauses}
    if state.get("emotion") is not None:  # a behaviour has said how it feels
        return {"text": text, "clauses": clauses}
    if (wanted := work.tools.emotion) is not None:
        return {"emotion": [wanted.name, wanted.intensity], "text": text, "clauses": clauses}
    with work.stage("feel"):
        head = " ".join(text.split()[:LONGEST_FELT])
        prompt = ActPrompt(head, None, work.tools.library.candidates(head), _line_before(state))
        try:
            felt = work.call("planner", ACT_S, lambda: work.tools.planner.feel(prompt, cancel=work.cancel))
        except ServiceError as error:
            work.degrade(f"emotion: {error}", "a neutral face")
            felt = Emotion()
    return {"emotion": [felt.name, felt.intensity], "text": text, "clauses": clauses}


def _line_before(state: TurnState) -> str:
    """The partner's line that is answered; empty where nobody has said anything, or the agent itself spoke last."""
    speaker, text = (state.get("history") or [["", ""]])[-1]
    return state.get("user") or (text if speaker == "user" else "")


def _act(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    """Choose emotion and gestures for the next clause."""
    work = runtime.context
    number = state.get("planned", 0)
    text = state["clauses"][number]
    felt = state.get("emotion")
    if not text:  # no words, no meaning: the body moves to the rhythm alone
        return {"choices": [*state.get("choices", []), []]}
    with work.stage("act"):
        emotion = None if felt is None else Emotion(felt[0], felt[1])
        wished = _wished(work, state["clauses"], number)
        if wished is not None:
            choices = wished
        else:
            try:
                choices, emotion = work.call("planner", ACT_S, lambda: _chosen(work, state["clauses"], number, emotion))
            except ServiceError as error:
                work.degrade(f"gestures: {error}", "words without gestures")
                choices = []
    emotion = emotion or Emotion()
    work.send(ResponseEmotion(emotion=emotion.name, intensity=emotion.intensity))
    work.send(TextDelta(text=text, clause=number))
    return {
        "emotion": [emotion.name, emotion.intensity],
        "choices": [*state.get("choices", []), [asdict(choice) for choice in choices]],
    }


def _wished(work: Work, clauses: list[str], number: int) -> list[Choice] | None:
    """The caller's gestures that fall into a clause; None where the caller left them to the model."""
    if work.gestures is None:
        return None
    before = sum(len(clause.split()) for clause in clauses[:number])
    here = range(before, before + len(clauses[number].split()))
    return [
        Choice(wish.gloss, wish.word - before, 1.0, "caller", params=dict(wish.params), variant=wish.variant)
        for wish in work.gestures
        if wish.word in here
    ]


def _chosen(
    work: Work, clauses: list[str], number: int, emotion: Emotion | None
) -> tuple[list[Choice], Emotion | None]:
    """What the model does with a clause, chosen at the first of a sentence for all of its clauses."""
    if number not in work.chosen:
        sentence = next(span for span in sentences_of(clauses) if number in span)
        parts = parted(" ".join(clauses[i] for i in sentence))
        starts = [0, *itertools.accumulate(len(part.split()) for part in parts)]
        made: list[Choice] = []
        for k in sorted(range(len(parts)), key=lambda k: -len(parts[k])):  # the longest says best what is felt
            some, emotion = _chosen_for(work, parts[k], number, emotion)
            made += [replace(choice, word=choice.word + starts[k]) for choice in some]
        before = 0
        for i in sentence:
            count = len(clauses[i].split())
            here = [choice for choice in made if before <= choice.word < before + count]
            work.chosen[i] = [replace(choice, word=choice.word - before) for choice in here]
            before += count
    return work.chosen[number], emotion


def _chosen_for(work: Work, text: str, number: int, emotion: Emotion | None) -> tuple[list[Choice], Emotion | None]:
    """What the model makes of a text, among what the library has for it; the text's own numbers aim the gestures."""
    tools, library, style = work.tools, work.tools.library, work.tools.persona.gestures
    wanted = Wanted(emotion=emotion, recent=work.lately())
    offer = Offer((), ())
    if tools.gestures and style.amount > 0:
        offer = offered(library, text, wanted, tools.scene, style.avoid, style.prefer, shipped_reader)
    found = offer.candidates
    plan = tools.planner.act(
        ActPrompt(text, emotion, found),
        params={c.text: tuple(library.params(c.text)) for c in found},
        seed=work.seed + number,
        cancel=work.cancel,
        chances=offer.chances,
        called=offer.called,
        bias=float(np.log(max(style.amount, 1e-3))),
    )
    shown = tuple((c.text, c.score) for c in found)
    choices = []
    for tag in plan.tags:
        params = aimed(library, text, tag, tools.scene)
        variant = None if params else work.variant(tag.gloss, number)
        choices.append(Choice(tag.gloss, tag.word, offer.score(tag.gloss), "model", shown, params, variant))
    return choices, emotion or plan.emotion


def _speak(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    """Speak the next clause and lay its words on the turn's clock."""
    work, tools = runtime.context, runtime.context.tools
    number = state.get("planned", 0)
    text = state["clauses"][number]
    felt = state["emotion"]
    assert felt is not None, "ACT sets the emotion"
    emotion = Emotion(felt[0], felt[1])
    with work.stage("speak"):
        recorded = work.recording[number] if work.recording else None
        how: dict[str, Any] = {} if tools.pace == 1.0 else {"pace": tools.pace}
        ask = lambda: tools.voice.speak(text, emotion, **how)  # noqa: E731
        speech = recorded.speech if recorded else whole(work.call("voice", SPEAK_S, ask), text)
        if recorded:  # the body keeps to the recording, whose first sample is the turn's beginning
            start = recorded.start_s
        elif work.clauses:
            last = work.clauses[-1]
            pause = PAUSE_S["sentence" if last.text.rstrip("\"')")[-1:] in ".!?" else "clause"]
            sound_end = max((w.end_s for w in last.words), default=last.end_s)
            start = max(sound_end + pause, last.start_s)
        else:
            choices = [_choice(raw) for raw in state["choices"][number]]
            start = lead_in_s(choices, speech.words, tools.library, tools.performer)
        words = _later(speech.words, start)
        rhythm = _later(recorded.rhythm, start) if recorded else words
        phonemes = tuple(replace(p, start_s=p.start_s + start, end_s=p.end_s + start) for p in speech.phonemes)
        count = sum(len(c.words) for c in work.clauses)
        work.clauses.append(SpokenClause(text, emotion, speech, start, words, phonemes, count, rhythm=rhythm))
    return {}


def _later(words: tuple[Word, ...], by_s: float) -> tuple[Word, ...]:
    return tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s, stress_s=w.stress_s + by_s) for w in words)


def _choice(raw: dict[str, Any]) -> Choice:
    return Choice(**{**raw, "candidates": tuple((g, s) for g, s in raw["candidates"])})


def _aim(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    """Put the clause's gestures in time; they may begin during the clause before, if that has not moved yet."""
    work, tools = runtime.context, runtime.context.tools
    number = state.get("planned", 0)
    clause = work.clauses[number]
    with work.stage("aim"):
        busy: dict[str, float] = {}
        for earlier in work.clauses[:number]:
            for item in earlier.placed:
                for part in parts_of(item.performance):
                    key = "head" if part == "core" else part
                    busy[key] = max(busy.get(key, 0.0), item.phases.stroke_end_s)
        choices, library = [_choice(raw) for raw in state["choices"][number]], tools.library
        if tools.gestures and not clause.words:  # a recording without a transcript
            strokes = [item.phases.stroke_s for earlier in work.clauses[:number] for item in earlier.placed]
            choices = choose_beats(
                clause.rhythm, work.seed * 1009 + number, after_s=max(strokes, default=-1.0),
                amount=tools.persona.gestures.amount,
            )  # fmt: skip
            library = beat_library()
        clause.placed = place(
            choices, clause.rhythm, library, tools.performer,
            earliest_s=work.moved_steps * STEP_S, busy_until_s=busy,
        )  # fmt: skip
        if clause.words and tools.beats:
            clause.beats_s = beat_stresses(
                clause.words,
                [(p.phases.start_s, p.phases.end_s) for c in work.clauses for p in c.placed if arms_of(p.performance)],
                work.seed * 1009 + number,
                after_s=max((beat for c in work.clauses for beat in c.beats_s), default=-1.0),
                amount=tools.persona.gestures.amount,
            )
    for item in clause.placed:
        work.send(GestureAdded(gesture=gesture_record(item).model_dump()))
    return {"planned": number + 1}


def _move(state: TurnState, runtime: Runtime[Work]) -> TurnState:
    """Write, decode, refine and solve the oldest clause that has not moved, and send it."""
    number = state.get("moved", 0)
    move_clause(runtime.context, number)
    return {"moved": number + 1}


def _after_aim(state: TurnState) -> str:
    """Move the clause before this one, if there is one; else plan the next."""
    if state["planned"] - state.get("moved", 0) > 1 or state["planned"] == len(state["clauses"]):
        return "move"
    return "act"


def _after_move(state: TurnState) -> str:
    if state["planned"] < len(state["clauses"]):
        return "act"
    return "move" if state["moved"] < len(state["clauses"]) else END


def _behave(one: Behaviour) -> Callable[[TurnState, Runtime[Work]], TurnState]:
    """A behaviour as a node."""

    def node(state: TurnState, runtime: Runtime[Work]) -> TurnState:
        work = runtime.context
        if state.get("given") is not None and one.at != "reply":
            return {}  # another behaviour has spoken already
        pairs = [(speaker, text) for speaker, text in state.get("history", [])]
        cards = [(text, score) for text, score in state["cards"]]
        view = TurnView(state["user"] or "", pairs, state.get("text", ""), cards)
        with work.stage(one.name):
            try:
                work.call(one.name, BEHAVIOUR_S, lambda: one.run(view))
            except VisavisError as error:
                work.degrade(f"behaviour {one.name}: {error}", "the turn without it")
                return {}
        out: TurnState = {}
        if "cards" in view.changed:
            out["cards"] = [[text, score] for text, score in view.cards[:MAX_CARDS]]
        if view.said is not None and one.at == "reply":
            out |= {"text": view.said, "clauses": split_clauses(view.said)}
        elif view.said is not None:
            out["given"] = view.said
        if view.emotion is not None:
            out["emotion"] = [view.emotion.name, view.emotion.intensity]
        return out

    return node


def build_graph(behaviours: Sequence[Behaviour] = ()) -> Any:
    """The compiled graph with behaviours as nodes of their own; run it with a `Work` as context."""
    graph = StateGraph(TurnState, context_schema=Work)
    for name, node in {
        "recall": _recall, "reply": _reply, "given": _given, "act": _act, "speak": _speak, "aim": _aim, "move": _move,
    }.items():  # fmt: skip
        graph.add_node(name, node)  # type: ignore[call-overload]

    def chain(place: str) -> list[str]:
        """The behaviours of a place as nodes, one after the other."""
        found = []
        for number, one in enumerate(item for item in behaviours if item.at == place):
            found.append(f"{place}-{number}-{one.name}")
            graph.add_node(found[-1], _behave(one))  # type: ignore[call-overload]
        for before, after in itertools.pairwise(found):
            graph.add_edge(before, after)
        return found

    def unless_given(then: str) -> Callable[[TurnState], str]:
        return lambda state: then if state.get("given") is None else "given"

    perceive, recall, reply = chain("perceive"), chain("recall"), chain("reply")
    first = [*perceive, "recall"][0]
    graph.add_conditional_edges(START, unless_given(first), [first, "given"])
    if perceive:
        graph.add_conditional_edges(perceive[-1], unless_given("recall"), ["recall", "given"])
    for before, after in itertools.pairwise(["recall", *recall[:1]]):
        graph.add_edge(before, after)
    graph.add_conditional_edges(["recall", *recall][-1], unless_given("reply"), ["reply", "given"])
    for before, after in itertools.pairwise(["reply", *reply[:1]]):
        graph.add_edge(before, after)
    graph.add_edge(["reply", *reply][-1], "act")
    graph.add_edge("given", "act")
    graph.add_edge("act", "speak")
    graph.add_edge("speak", "aim")
    graph.add_conditional_edges("aim", _after_aim, ["act", "move"])
    graph.add_conditional_edges("move", _after_move, ["act", "move", END])
    return graph.compile()

"""The native planner and mover: the fine-tuned model with motion tokens in its vocabulary does REPLY, ACT and MOVE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from visavis.agent.answering import ASKING, KINDS, STRENGTHS, Answering
from visavis.agent.base_reader import Judge, asked_where, default_judge
from visavis.agent.constrain import EmotionConstraint, MoveConstraint, ReplyConstraint
from visavis.agent.engine import Engine, Sampling
from visavis.agent.exchanges import Exchange, Exchanges
from visavis.agent.grid import move_steps
from visavis.agent.joining import Joining, Words, log_odds
from visavis.agent.line_reader import JUDGED, LineReader, default_line_reader
from visavis.agent.manners import Guide, hellos_to, replies_by_kind
from visavis.agent.planner import Cancel
from visavis.agent.suiting import Suiting
from visavis.agent.tagging import ActConstraint
from visavis.emotion import EMOTIONS, Emotion
from visavis.retrieval.aiming import DIRECTIONS
from visavis.retrieval.cues import Cues
from visavis.retrieval.embedder import shared_meanings
from visavis.retrieval.feeling import Feeling
from visavis.retrieval.lexicon import Param
from visavis.retrieval.library import Library
from visavis.retrieval.params import told
from visavis.retrieval.wordings import Wordings
from visavis.tokenizers.base_pieces import BasePieces
from visavis.tokenizers.turn_language import (
    ActPlan,
    ActPrompt,
    Candidate,
    MovePrompt,
    MoveStep,
    ReplyPlan,
    ReplyPrompt,
    Segment,
    Tag,
    emotion_ids,
)
from visavis.tokenizers.turn_reading import Violation, parse_reply

__all__ = ["NativeMover", "NativePlanner", "feelings_of", "param_values", "read_where", "sane_params", "settled"]

# Beats are rare events at every single step: any truncation of the distribution stills the hands (LOG.md).
MOVE_TEMPERATURE = 1.0
MOVE_TOP_K = 0
LONGEST_REPLY = 160
# RECALL says whether to quote where it is sure or sees nothing, the model between, who takes near misses for answers.
# Chosen on people of the development split (LOG.md): chances of the best card, such that as many known questions get no
# fact as unknown ones get one; and what a quote gains.
QUOTE_SURE, QUOTE_DOUBT = 0.35, 0.28
QUOTE_MORE, QUOTE_ALWAYS = 8.0, 60.0
# How much `Answering` counts beside the model's own feeling; and how sure it must be, in log-odds, that a line asks for
# nothing on a card, so that none is quoted: in any case, and beyond what recall is that one answers; chosen likewise.
ANSWERING_TRUST = 8.0
ASKED_TRUST = 4.0  # how much it counts where it hears a question
TELLING_SURE, TELLING_SURER = 1.4, 1.0
FAINT = 1e-4  # a chance that counts as none
# Answers to lines like this one are what the model is reminded of, where the line is likely of a kind that has them and
# one of them suits at least so surely (chosen on development talks); with it up to so many that are hardly behind. Who
# may be in danger gets the words that were weighed for that.
FOUND_LIKELY, FOUND_SURE, FOUND_KEPT, FOUND_BEHIND = 0.35, 0.6, 3, 0.06
CRISIS_LIKELY = 0.05
DANGERS = ("emergency", "crisis")
# From here on nothing else is said than where help is: where MiniLM hears a line alone, and where the larger reader
# does, too, which takes fewer others for danger (how they were chosen: LOG.md).
DANGER_LIKELY, DANGER_READ = 0.6, 0.3
CARD_TRUST = 4.0  # how much recall's log-chances count beside the words' in the choice of a card; chosen likewise
# The best of a grid on half of GoEmotions' development comments (`python -m visavis.evals.feeling trust`): this model
# breaks ties between emotions, and says how strongly they are felt (LOG.md).
FEELING_TRUST = 1024.0


# What is added to the logits of the emotions, and for each emotion to those of its intensities; nothing where empty.
Felt = tuple[Sequence[float], Sequence[Sequence[float]]]


def telling(kinds: NDArray[np.float32]) -> float:
    """How likely a line asks for nothing that is on a card, from the chances of kinds (K,)."""
    return 1.0 - float(sum(kinds[KINDS.index(kind)] for kind in ASKING))


def feelings_of(chances: NDArray[np.float32], trust: float = ANSWERING_TRUST) -> Felt:
    """Weights of `EmotionConstraint` from the chances of emotions and intensities (E, 11)."""
    emotions = chances.sum(1)
    levels = chances / np.maximum(emotions, 1e-9)[:, None]
    logs = [trust * np.log(np.maximum(some, FAINT)) for some in (emotions, levels)]
    return logs[0].tolist(), logs[1].tolist()


def danger_of(kinds: NDArray[np.float32], reread: bool = False) -> str:
    """The likelier of the two kinds of danger, from the chances of kinds (K,), `reread` by the larger reader or not;
    empty where there is hardly any.
    """
    chances = {kind: float(kinds[KINDS.index(kind)]) for kind in DANGERS}
    likely = sum(chances.values()) > (DANGER_READ if reread else DANGER_LIKELY)
    return max(DANGERS, key=lambda kind: chances[kind]) if likely else ""


def where_help_is(danger: str, history: Sequence[tuple[str, str]] = ()) -> list[Exchange]:
    """What is answered to who is in danger, word for word, whatever the model would say; what was said already only
    where all of it was.
    """
    said = " ".join(text for speaker, text in history if speaker == "agent")
    found = []
    for group in replies_by_kind()[danger]:
        name, least, _ = group["feel"].split()
        found += [Exchange(wording, name, round(10 * float(least))) for wording in group["say"]]
    return [one for one in found if one.reply not in said] or found


def felt_with(found: Sequence[Exchange]) -> NDArray[np.float32]:
    """(E, 11) chances of emotions and intensities in these answers."""
    out = np.zeros((len(EMOTIONS), STRENGTHS), np.float32)
    for place, one in enumerate(found):
        out[EMOTIONS.index(one.emotion), one.level] += 1 / (1 + place)
    return out / out.sum()


def _said_before(history: Sequence[tuple[str, str]]) -> str:
    """The last line of who talks to the agent; empty where there is none."""
    return next((text for speaker, text in reversed(history) if speaker == "user"), "")


def worth_telling(cards: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those that may please who asks to be told anything: no advice ("You can pay by card") and nothing that they have
    told themselves ("Your room was too loud"); all where there are no others.
    """
    return [card for card in cards if card.text.split()[:1] not in (["You"], ["Your"])] or cards


def param_values(params: Mapping[str, Param]) -> dict[str, Sequence[str | int | float] | None]:
    """What each parameter of a gesture may be: a list of values, or None for a number. A model names no places."""
    out: dict[str, Sequence[str | int | float] | None] = {}
    for name, param in params.items():
        if param.acts == "point":
            out[name] = [*DIRECTIONS]
        elif param.acts != "target":
            out[name] = list(param.choices) or None
    return out


def sane_params(known: Mapping[str, Param], params: Mapping[str, object]) -> dict[str, float | int | str]:
    """A model's parameters brought into the gesture's ranges; unknown ones are left out."""
    out: dict[str, float | int | str] = {}
    for name, value in params.items():
        param = known.get(name)
        if param is None or param.acts == "target":
            continue
        if param.acts == "point":
            if isinstance(value, str) and value in DIRECTIONS:
                out[name] = value
            continue
        if param.choices:
            if value in param.choices:
                out[name] = str(value)
            continue
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if np.isfinite(number):
            low = param.low if param.low is not None else -np.inf
            high = param.high if param.high is not None else np.inf
            number = float(np.clip(number, low, high))
            out[name] = int(round(number)) if param.acts in ("repeats", "fingers") else number
    return out


class NativePlanner:
    """REPLY and ACT by the shipped model or any other of the same vocabulary.

    Args:
        engine: runs the model.
        library: tells which parameters a gesture takes.
        quotes: whether facts are quoted under the constraint (off only to measure what it is worth).
        quote_bias: added to the log-odds of beginning the first quote.
        joining: how what it thinks of gestures is joined with what recall does; the shipped planner's if None.
        feeling_trust: how much the log-probabilities of what meaning says is felt count beside the model's own.
        feeling: who says that (default: what ships).
        wordings, cues: the words that are said with gestures (default: those that ship).
        reminded: whether its words are weighed by what is said to lines of a kind (`visavis.agent.manners`). Default:
            a model that has a base's pieces is not, for it knows more words than those.
        reader: gives who reads on which word of a sentence a gesture belongs, or None for nobody (default: the larger
            reader that ships, where its base is installed).
        line_reader: gives who reads what kind a line is after the one before, and which answers suit it, or None for
            nobody: then MiniLM alone does (default: the one that ships, where its base is installed).
    """

    name = "native"

    def __init__(
        self,
        engine: Engine,
        library: Library,
        *,
        quotes: bool = True,
        quote_bias: float = 0.0,
        joining: Joining | None = None,
        feeling_trust: float = FEELING_TRUST,
        feeling: Feeling | None = None,
        wordings: Wordings | None = None,
        cues: Cues | None = None,
        reminded: bool | None = None,
        reader: Callable[[], Judge | None] | None = None,
        line_reader: Callable[[], LineReader | None] | None = None,
    ) -> None:
        self.engine, self.library = engine, library
        self.quotes, self.quote_bias = quotes, quote_bias
        self.joining = joining or Joining.load()
        self.feeling_trust, self.feeling = feeling_trust, feeling or Feeling.default()
        self.reader = reader or partial(default_judge, "words")
        self.line_reader = line_reader or default_line_reader
        self.wordings, self.cues = wordings or Wordings.default(), cues or Cues.default()
        self.reminded = not isinstance(engine.vocabulary.text, BasePieces) if reminded is None else reminded

    def reply(self, prompt: ReplyPrompt, *, seed: int, cancel: Cancel) -> ReplyPlan:
        """See `Planner`; greedy, so the same prompt has the same answer."""
        vocabulary = self.engine.vocabulary
        quote = vocabulary.control("quote")
        # A line that nothing answers may tell of a feeling, which the model knows from few words only.
        best = max((card.score for card in prompt.cards), default=0.0) if self.quotes else QUOTE_DOUBT
        cards = prompt.cards
        felt: Felt = ((), ())
        guide: Callable[[], Guide] | None = None
        tells = False
        if self.quotes:
            answering = Answering.default()
            kinds = self.kinds(prompt.user, prompt.history)
            cancel.check()
            danger = danger_of(kinds, self.line_reader() is not None)
            if KINDS[int(kinds.argmax())] == "surprise_me" and best < QUOTE_SURE:
                cards = worth_telling(cards)
            tells = bool(danger) or log_odds(telling(kinds)) > max(TELLING_SURE, log_odds(best) + TELLING_SURER)
            if tells or best < QUOTE_DOUBT:
                found = where_help_is(danger, prompt.history) if danger else self._found(prompt, kinds)
                cancel.check()
                felt = feelings_of(felt_with(found) if found else answering.chances(kinds))
                guide = partial(self._guide, prompt, kinds, found) if self.reminded or danger else None
                # A question: the model may still know, and gladly tell.
                if not found and KINDS[int(kinds.argmax())] == "unknown":
                    felt = (feelings_of(answering.chances(kinds), ASKED_TRUST)[0], ())
        if tells:  # a card that its words remind of is no answer to it
            return self._plan(self._reply(prompt, cards, -QUOTE_ALWAYS, felt, cancel, guide))
        ids = self._reply(prompt, cards, QUOTE_MORE if best >= QUOTE_SURE else 0.0, felt, cancel, guide)
        if best >= QUOTE_SURE and quote not in ids:  # declined all the same
            ids = self._reply(prompt, cards, QUOTE_ALWAYS, ((), ()), cancel)
        elif best < QUOTE_DOUBT and quote in ids[2:3]:  # an answer; what it tells of its own accord has words before it
            ids = self._reply(prompt, (), 0.0, felt, cancel, guide)
        return self._plan(ids)

    def kinds(self, line: str, history: Sequence[tuple[str, str]] = ()) -> NDArray[np.float32]:
        """(K,) chances that `line` is of a kind; `history` is what was said before, (speaker, text), oldest first."""
        heard, reader = Answering.default().kinds(line), self.line_reader()
        return heard if reader is None else reader.kinds(line, _said_before(history), heard)

    def _found(self, prompt: ReplyPrompt, kinds: NDArray[np.float32]) -> list[Exchange]:
        """Answers to lines like this one that suit it, best first; none where none is likely enough to."""
        if not self.reminded:
            return []
        likely = float(sum(kinds[KINDS.index(kind)] for kind in Exchanges.default().answered))
        if likely < FOUND_LIKELY or kinds[KINDS.index("crisis")] > CRISIS_LIKELY:
            return []
        line, reader = prompt.user, self.line_reader()
        near = Exchanges.default().near(line, kinds)
        features = Suiting.default().features(line, near)
        suits = Suiting.default().joined(features)
        if reader is not None:
            best = np.argsort(-suits)[:JUDGED]
            near = [near[i] for i in best]
            suits = reader.suits(line, _said_before(prompt.history), near, features[best])
        order = [int(i) for i in np.argsort(-suits) if suits[i] >= max(FOUND_SURE, suits.max() - FOUND_BEHIND)]
        return [near[i] for i in order[:FOUND_KEPT]]

    def _guide(self, prompt: ReplyPrompt, kinds: NDArray[np.float32], found: Sequence[Exchange]) -> Guide:
        """Reminds the model of what is said to lines of these kinds, and was to such lines."""
        said = [text for speaker, text in prompt.history if speaker == "agent"]
        slots = {"name": prompt.name, "role": prompt.role}
        return Guide(
            self.engine.vocabulary, kinds, Answering.default().felt, slots, said, found, hellos=hellos_to(prompt.user)
        )

    def _plan(self, ids: Sequence[int]) -> ReplyPlan:
        vocabulary = self.engine.vocabulary
        plan = parse_reply(ids, vocabulary)
        if isinstance(plan, Violation):
            # Only without the constraint: what was written in text still counts.
            text = vocabulary.decode_text([id_ for id_ in ids if vocabulary.is_text(id_)]) or "Hm."
            plan = ReplyPlan(Emotion(), (Segment(text),))
        return plan

    def _reply(
        self,
        prompt: ReplyPrompt,
        cards: Sequence[Candidate],
        bias: float,
        felt: Felt,
        cancel: Cancel,
        guide: Callable[[], Guide] | None = None,
    ) -> list[int]:
        """Ids of one attempt, which may quote these cards; `felt` weighs emotions and intensities, `guide` words."""
        vocabulary = self.engine.vocabulary
        constraint = (
            ReplyConstraint(
                vocabulary, cards, limit=LONGEST_REPLY, whole=True, quote_bias=self.quote_bias + bias,
                card_trust=CARD_TRUST, feelings=felt[0], strengths=felt[1], name=prompt.name,
                guide=guide() if guide is not None else None,
            )
            if self.quotes
            else None
        )  # fmt: skip
        end = vocabulary.control("end")
        begin = prompt.ids(vocabulary)
        ids = list(self.engine.generate(begin, constraint, stop=(end,), limit=LONGEST_REPLY + 40, cancel=cancel))
        cancel.check()
        return ids if ids and ids[-1] == end else [*ids, end]

    def feel(self, prompt: ActPrompt, *, cancel: Cancel) -> Emotion:
        """See `Planner`; greedy."""
        vocabulary = self.engine.vocabulary
        begin = prompt.ids(vocabulary)
        if len(begin) + 2 > self.engine.context:  # words that are hardly any
            return Emotion()
        constraint = EmotionConstraint(vocabulary, self._feelings(prompt))
        ids = list(self.engine.generate(begin, constraint, limit=2, cancel=cancel))
        cancel.check()
        name, level = vocabulary.emotion_of(ids[0]), vocabulary.level_of(ids[1])
        assert name is not None and level is not None, "the constraint allows an emotion and a level"
        return Emotion(name, level / 10)

    def act(
        self,
        prompt: ActPrompt,
        *,
        params: Mapping[str, Sequence[str]],
        seed: int,
        cancel: Cancel,
        chances: Sequence[float] = (),
        called: Mapping[int, str] | None = None,
        bias: float = 0.0,
    ) -> ActPlan:
        """See `Planner`; greedy.

        The model reads the clause to its end and says before each word how likely a gesture is there; with recall that
        decides on words (`Joining.places`). Where there are any it reads once more and names gestures and parameters.
        """
        begin = prompt.ids(self.engine.vocabulary)
        if len(begin) >= self.engine.context:  # words that are hardly any: they are said without a gesture
            return ActPlan(None, prompt.text, ())
        if self.joining.whether_model or self.joining.where_model:
            felt, odds = self.read(prompt, cancel=cancel)
        else:  # nobody asks what it thinks of places
            felt = None if prompt.emotion is not None else self.feel(prompt, cancel=cancel)
            words = self.engine.vocabulary.encode_words(prompt.text)
            odds = {number: 0.0 for number, (*_, ids) in enumerate(words) if ids}
        called = {word: gloss for gloss, word in told(prompt.text)} if called is None else called
        said = self.words(prompt.text, prompt.candidates, called)
        places = self.joining.places(prompt.candidates, chances, odds, bias, said)
        if not places:
            return ActPlan(felt, prompt.text, ())
        allowed = {c.text: param_values(self.library.params(c.text)) for c in prompt.candidates if c.text in params}
        constraint = ActConstraint(
            self.engine.vocabulary, prompt.text, prompt.candidates, allowed, unfelt=False, places=places,
            weights=self.joining.which(prompt.candidates, said).tolist(), trust=self.joining.which_model,
        )  # fmt: skip
        self._write([*begin, *([] if felt is None else emotion_ids(self.engine.vocabulary, felt))], constraint, cancel)
        share = self.joining.where(prompt.candidates, chances, odds, len(prompt.text.split()), said) if chances else ()
        return ActPlan(felt, prompt.text, settled(constraint.plan.tags, share, prompt.candidates, called))

    def words(
        self, text: str, candidates: Sequence[Candidate], called: Mapping[int, str], read: bool | None = None
    ) -> Words:
        """What the words of a sentence say of its candidates; the larger reader is asked if the joining trusts it, or
        if `read` says so.
        """
        judge = self.reader() if (self.joining.where_read if read is None else read) else None
        where = None if judge is None else partial(read_where, self.library, judge, text)
        return Words(text, candidates, self.wordings, self.cues, called, where)

    def read(self, prompt: ActPrompt, *, cancel: Cancel) -> tuple[Emotion | None, dict[int, float]]:
        """What the model thinks before recall is asked: the emotion where the prompt left it open, and by word its
        log-odds of a gesture.
        """
        constraint = ActConstraint(
            self.engine.vocabulary, prompt.text, prompt.candidates, unfelt=prompt.emotion is None, bias=-np.inf,
            feelings=self._feelings(prompt) if prompt.emotion is None else (),
        )  # fmt: skip
        self._write(prompt.ids(self.engine.vocabulary), constraint, cancel)
        return constraint.plan.emotion, {choice.word: log_odds(choice.probability) for choice in constraint.choices}

    def _write(self, begin: Sequence[int], constraint: ActConstraint, cancel: Cancel) -> None:
        end = self.engine.vocabulary.control("end")
        for _ in self.engine.generate(begin, constraint, stop=(end,), limit=1000, cancel=cancel):
            pass
        cancel.check()

    def _feelings(self, prompt: ActPrompt) -> Sequence[float]:
        """What is added to the logits of the emotions."""
        if not self.feeling_trust:
            return ()
        chances = self.feeling.log_chances(prompt.text, prompt.before, shared_meanings())
        return [self.feeling_trust * float(chance) for chance in chances]


def read_where(library: Library, judge: Judge, text: str, gloss: str) -> NDArray[np.float64]:
    """(W,) how likely a gesture belongs to each word of a sentence, in logs."""
    logits = judge.read(asked_where(text, gloss, library.meaning_of(gloss)), text.split())
    return np.asarray(logits - np.logaddexp.reduce(logits))


def settled(
    tags: Sequence[Tag],
    share: Sequence[float] | NDArray[np.float64],
    candidates: Sequence[Candidate],
    called: Mapping[int, str],
) -> tuple[Tag, ...]:
    """What ACT wrote, with gestures that words call for at those words, and no gloss twice without a reason.

    Args:
        tags: in the order of their words.
        share: how much speaks for each word, as `Joining.where` has it; empty where nobody knows.
        candidates: with scores; of two that are as likely, one goes to the other's word.
        called: the words whose numbers or directions call for a gesture, and which.
    """
    scores = {candidate.text: candidate.score for candidate in candidates}
    others = [gloss for gloss in scores if gloss not in called.values()]
    out: list[Tag] = []
    for tag in tags:
        gloss = called.get(tag.word, tag.gloss)
        if gloss in called.values() and tag.word not in called:
            rivals = (other for other in others if scores[other] >= scores.get(gloss, 1.0))
            gloss = next(rivals, gloss)
        out.append(tag if gloss == tag.gloss or gloss not in scores else Tag(gloss, tag.word))
    likely = [float(share[tag.word]) if tag.word < len(share) else -np.inf for tag in out]
    most = {tag.gloss: -np.inf for tag in out}
    for tag, much in zip(out, likely, strict=True):
        most[tag.gloss] = max(most[tag.gloss], much)
    kept = [
        tag
        for tag, much in zip(out, likely, strict=True)
        if much == most[tag.gloss] or called.get(tag.word) == tag.gloss
    ]
    return tuple(tag for i, tag in enumerate(kept) if len(share) or tag.gloss not in {t.gloss for t in kept[:i]})


class NativeMover:
    """MOVE by the same model, sampled as it is."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def move(
        self,
        prompt: MovePrompt,
        words: Sequence[str],
        cues: Sequence[int],
        clip: NDArray[np.int64],
        forced: NDArray[np.bool_],
        *,
        seed: int,
        cancel: Cancel,
    ) -> NDArray[np.int64]:
        """See `Mover`."""
        steps = move_steps(words, cues, clip, forced)
        out: list[MoveStep] = []
        begin = prompt.ids(self.engine.vocabulary)
        room = self.engine.context - 8
        while steps:
            # What does not fit the context goes on from the last steps, as a new clause would.
            count = len(steps)
            while len(begin) + MoveConstraint(self.engine.vocabulary, steps[:count]).length > room:
                count = count * 3 // 4
            if count == 0:  # one step's words are too many to read: it moves without them
                count, steps = 1, [replace(steps[0], words=""), *steps[1:]]
                begin = MovePrompt(prompt.mode, prompt.emotion).ids(self.engine.vocabulary)
            constraint = MoveConstraint(self.engine.vocabulary, steps[:count])
            sampling = Sampling(MOVE_TEMPERATURE, MOVE_TOP_K, seed + len(out))
            end = self.engine.vocabulary.control("end")
            for _ in self.engine.generate(
                begin, constraint, sampling=sampling, stop=(end,), limit=constraint.length, cancel=cancel
            ):
                pass
            cancel.check()
            out += constraint.written
            steps = steps[count:]
            begin = MovePrompt(prompt.mode, prompt.emotion, tuple(out)).ids(self.engine.vocabulary)
        return np.array([step.codes for step in out], dtype=np.int64).reshape(-1, clip.shape[1])

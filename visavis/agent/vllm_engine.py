"""The engine of a vLLM server: ids both ways over HTTP, our constraints kept to the id.

A constraint is a state machine in Python here, the model is a journey away. So the engine asks as little as the
constraint's foresight allows (`visavis.agent.engine.Ahead`):

    forced ids   are never asked about; they stand in the prompt of the next question
    a chunk      whose sets are known whatever is chosen (all of MOVE): one streamed request under a grammar
    a stretch    of free words: one streamed request with `allowed_token_ids`, `logit_bias` and `stop_token_ids`
    choices      along likely words (where ACT could set a tag): one request with a prompt for each, one id each
    a decision   anything else: one id; the log-probabilities of what is allowed are weighed and chosen from here

The grammar is Lark as llguidance reads it, over ids (`<[4176-4687]>`), not over characters: a grammar of characters
would let a model spell a control token in text pieces. The server must run with that backend, which `visavis
serve-model` sees to. Whatever comes back is checked id by id; prompts repeat what was written, so the server's prefix
cache holds persona, history and everything before. Greedy choices are those of other engines up to rounding; sampled
ones have the same distribution but other dice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from visavis.agent.engine import (
    Ahead,
    CancelToken,
    Constraint,
    Floats,
    Foresight,
    Ids,
    Sampling,
    Stretch,
)
from visavis.agent.generation import check_ids, check_prompt, choose
from visavis.agent.served import Connection
from visavis.agent.vllm_server import context_of
from visavis.errors import FingerprintError, ServiceError, TokenError
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

__all__ = ["VllmEngine", "id_grammar"]

log = logging.getLogger(__name__)

MOST_ASIDE: Final = 32  # prompts of one request
CHUNK_INTERVAL: Final = 8  # ids of a chunk that travel together after the first; nobody hears single motion tokens
LOWEST: Final = -9999.0  # what vLLM writes for minus infinity
NEVER: Final = -100.0  # the most that a server takes off a logit; nothing that a model wants lies so low


class VllmEngine:
    """Runs a model that a vLLM server holds. Usable from several threads.

    Args:
        connection: to the server.
        model: its name there.
        vocabulary: its ids.
        context: ids that it reads at most.

    Attributes:
        asked: how many requests of each kind were made, and how many ids they brought.
    """

    def __init__(self, connection: Connection, model: str, vocabulary: JointVocabulary, context: int) -> None:
        self.connection, self.model = connection, model
        self.vocabulary, self.context = vocabulary, context
        self.asked: Counter[str] = Counter()

    @classmethod
    def connect(
        cls, base_url: str, folder: str | Path | None = None, *, model: str | None = None, key: str | None = None
    ) -> VllmEngine:
        """Find the server's model and try whether it speaks our ids and keeps to a grammar of ids.

        Args:
            base_url: `http://127.0.0.1:8000/v1`.
            folder: of the same model here, for its vocabulary; None for the shipped planner.
            model: its name at the server; by default the only one there.
            key: see `Connection`.

        Raises:
            ServiceError: no server, no such model, or not one started for us.
            FingerprintError: the model there has another vocabulary.
        """
        folder = Path(folder) if folder is not None else default_folder()
        vocabulary, learnt = JointVocabulary.load(folder), context_of(folder)
        connection = Connection(base_url, key=key)
        try:
            name, served = _find(connection, model)
            context = min(learnt, served)  # a server may stretch what the model has learnt
            engine = cls(connection, name, vocabulary, context)
            engine._try()
        except BaseException:
            connection.close()
            raise
        return engine

    def generate(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
        *,
        sampling: Sampling | None = None,
        stop: Collection[int] = (),
        limit: int = 256,
        cancel: CancelToken | None = None,
    ) -> Iterator[int]:
        """Yield ids one by one (see `Engine.generate`). The prompt must leave room in the context.

        Raises:
            ServiceError: the server is gone or fails; the ids until then are good, and so is the constraint's state.
        """
        check_prompt(prompt, self.vocabulary.size, self.context)
        left = min(limit, self.context - len(prompt))
        text = _Text(list(prompt), left, sampling or Sampling(), frozenset(stop))
        while text.left > 0:
            allowed = constraint.allowed() if constraint is not None else None
            if allowed is not None and len(allowed) == 0:
                return
            before = len(text.ids)
            with closing(self._next(text, constraint, allowed)) as following:
                for number, id_ in enumerate(following):
                    if cancel is not None and cancel.cancelled:
                        return
                    if number:
                        allowed = constraint.allowed() if constraint is not None else None
                    if allowed is not None and not np.any(allowed == id_):
                        if number == 0:
                            raise ServiceError(f"{self.connection.base_url} wrote id {id_}, which was not allowed")
                        break  # what follows was written after something else
                    text.ids.append(id_)
                    text.left -= 1
                    if constraint is not None:
                        constraint.accept(id_)
                    yield id_
                    if id_ in text.stop or text.left <= 0:
                        return
            if len(text.ids) == before:
                raise ServiceError(f"{self.connection.base_url} wrote nothing where something had to follow")

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability of each id given all before it."""
        ids = [*prompt, *continuation]
        check_ids(ids, self.vocabulary.size)
        if not continuation:
            return np.zeros(0, np.float32)
        if not prompt or len(ids) > self.context - 1:
            raise TokenError(f"expected 1 to {self.context - 2} ids before the last; got {len(ids) - 1}")
        answer = self._post("score", prompt=ids, max_tokens=1, temperature=0, prompt_logprobs=0)
        rows = _first(answer)["prompt_logprobs"][len(prompt) :]
        found = [row[str(id_)]["logprob"] for row, id_ in zip(rows, continuation, strict=True)]
        return np.array(found, np.float32)

    def _next(self, text: _Text, constraint: Constraint | None, allowed: Ids | None) -> Generator[int]:
        """The next id or ids, the first of them within `allowed`."""
        if allowed is not None and len(allowed) == 1:
            yield int(allowed[0])
            return
        if constraint is None:
            yield from self._stretch(text, Stretch((), text.left), None)
            return
        ahead = constraint.ahead() if isinstance(constraint, Foresight) else Ahead()
        if ahead.known:
            yield from self._chunk(text, ahead.known)
        elif ahead.stretch is not None:
            yield from self._stretch(text, ahead.stretch, allowed)
        else:
            ids = np.arange(self.vocabulary.size) if allowed is None else allowed
            logits = constraint.weigh(ids, self._logits(text, ids, ahead))
            yield int(ids[choose(logits, text.sampling, text.dice)])

    def _chunk(self, text: _Text, known: Sequence[Ids]) -> Iterator[int]:
        """Ids of which each set is known, up to the last choice."""
        choices = [place for place, ids in enumerate(known) if len(ids) > 1]
        count = min(choices[-1] + 1, text.left)
        body: dict[str, Any] = {"max_tokens": count, "stream_interval": CHUNK_INTERVAL}
        if count == 1:
            body["allowed_token_ids"] = known[0].tolist()
        else:
            body["structured_outputs"] = {"grammar": id_grammar(known[:count], self.vocabulary)}
            body["logit_bias"] = {str(self.vocabulary.control("pad")): NEVER}
        yield from self._stream("chunk", text, body)

    def _stretch(self, text: _Text, stretch: Stretch, allowed: Ids | None) -> Iterator[int]:
        """Free ids among the same allowed ones."""
        body: dict[str, Any] = {
            "max_tokens": min(stretch.most, text.left),
            "stop_token_ids": sorted({*text.stop, *stretch.until}),
        }
        if allowed is not None:
            body["allowed_token_ids"] = allowed.tolist()
        if stretch.bias:
            body["logit_bias"] = {str(id_): bias for id_, bias in stretch.bias.items()}
        yield from self._stream("stretch", text, body)

    def _logits(self, text: _Text, ids: Ids, ahead: Ahead) -> Floats:
        """(n,) logits of `ids`, up to a constant that chooses nothing; likely choices are asked about at once."""
        answers = text.answers(ids)
        if answers is None:
            places = sorted(ahead.choices)[:MOST_ASIDE] if 0 in ahead.choices else []
            places = [place for place in places if len(text.ids) + place < self.context]
            wanted = sorted({int(id_) for place in places for id_ in ahead.choices[place]} | {int(i) for i in ids})
            prompts = [[*text.ids, *ahead.likely[:place]] for place in places or [0]]
            answer = self._post(
                "choices" if places else "decision", prompt=prompts, max_tokens=1, temperature=0, logprobs=1,
                logprob_token_ids=wanted, return_tokens_as_token_ids=True,
            )  # fmt: skip
            text.keep(places or [0], ahead.likely, [_chances(choice) for choice in _choices(answer, len(prompts))])
            answers = text.answers(ids)
            assert answers is not None, "the first of the answers is about here"
        return np.array([max(answers.get(int(id_), LOWEST), LOWEST) for id_ in ids], np.float32)

    def _stream(self, kind: str, text: _Text, body: dict[str, Any]) -> Iterator[int]:
        self.asked[kind] += 1
        sampling = text.sampling
        if sampling.temperature > 0:  # a new seed for every request, or all would throw the same dice
            body |= {"top_k": sampling.top_k, "seed": (sampling.seed * 1_000_003 + len(text.ids)) % 2**62}
        body |= {
            "model": self.model, "prompt": text.ids, "temperature": max(sampling.temperature, 0.0), "stream": True,
            "return_token_ids": True, "ignore_eos": True, "skip_special_tokens": False,
        }  # fmt: skip
        for event in self.connection.stream("/completions", body):
            for choice in event.get("choices", ()):
                ids = choice.get("token_ids")
                if ids is None:
                    raise ServiceError(f"{self.connection.base_url} sends no token ids: is it vLLM, 0.10.2 or newer?")
                self.asked["ids"] += len(ids)
                yield from (int(id_) for id_ in ids)

    def _post(self, kind: str, **body: Any) -> Any:
        self.asked[kind] += 1
        return self.connection.post("/completions", {"model": self.model, **body})

    def _try(self) -> None:
        """One question whose answer is known: an id under a grammar of ids, shown by the name that it has here."""
        vocabulary = self.vocabulary
        begin, cue, last = vocabulary.control("bos"), vocabulary.cue(0), vocabulary.motion(vocabulary.parts[-1], 7)
        body = {
            "prompt": [begin], "max_tokens": 2, "temperature": 0, "ignore_eos": True, "return_token_ids": True,
            "skip_special_tokens": False, "spaces_between_special_tokens": False,
            "structured_outputs": {"grammar": id_grammar([np.array([cue]), np.array([last])], vocabulary)},
        }  # fmt: skip
        choice = _first(self._post("try", **body))
        if choice.get("token_ids") != [cue, last]:
            raise ServiceError(
                f"the server at {self.connection.base_url} does not keep to a grammar of ids: start it by "
                "`visavis serve-model`, or with --structured-outputs-config.backend guidance"
            )
        named, wanted = "".join(str(choice.get("text")).split()), vocabulary.name(cue) + vocabulary.name(last)
        if named != wanted:
            raise FingerprintError(
                f"expected the model at {self.connection.base_url} to name ids {cue} and {last} {wanted}; it says "
                f"{named[:80]!r}: serve the folder that --model names"
            )


@dataclass
class _Text:
    """What one generation has written, and what the server said about likely ways on."""

    ids: list[int]
    left: int
    sampling: Sampling
    stop: frozenset[int]
    dice: np.random.Generator = field(init=False)
    _from: int = 0
    _likely: Sequence[int] = ()
    _answers: dict[int, dict[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng(self.sampling.seed)

    def keep(self, places: Sequence[int], likely: Sequence[int], answers: Sequence[dict[int, float]]) -> None:
        """Note log-probabilities after each of the first `places` ids of `likely`, from here."""
        self._from, self._likely = len(self.ids), likely
        self._answers = dict(zip(places, answers, strict=True))

    def answers(self, ids: Ids) -> dict[int, float] | None:
        """What is known about here; None where the way here was another, or nobody asked about all of `ids`."""
        place = len(self.ids) - self._from
        found = self._answers.get(place)
        if found is None or list(self._likely[:place]) != self.ids[self._from :]:
            return None
        return found if all(int(id_) in found for id_ in ids) else None


def id_grammar(sets: Sequence[Ids], vocabulary: JointVocabulary) -> str:
    """A Lark grammar, as llguidance reads it, of one id out of each of `sets` in order.

    Where one piece of text is forced, llguidance 1.7 goes by its letters, and refuses a letter that has a second id for
    its byte. So such a piece never stands alone: `<|pad|>` stands beside it, which the request makes impossible.
    """
    pad = vocabulary.control("pad")
    spelt = [[*ids, pad] if len(ids) == 1 and vocabulary.is_text(int(ids[0])) else ids for ids in sets]
    return "start: " + " ".join(f"<[{_ranges(np.asarray(ids))}]>" for ids in spelt)


def _ranges(ids: Ids) -> str:
    """Ids as `3,7-9`."""
    ordered = np.unique(ids)
    cuts = np.flatnonzero(np.diff(ordered) != 1) + 1
    runs = np.split(ordered, cuts)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _find(connection: Connection, model: str | None) -> tuple[str, int]:
    """Name and context of a model at the server."""
    listed = {row["id"]: row for row in connection.get("/models").get("data", []) if isinstance(row, dict)}
    if model is None and len(listed) == 1:
        (model,) = listed
    if model is None or model not in listed:
        raise ServiceError(
            f"expected one of the models {', '.join(listed) or '(none)'} of {connection.base_url}; got {model!r}"
        )
    context = listed[model].get("max_model_len")
    if not isinstance(context, int):
        raise ServiceError(f"{connection.base_url} does not say how much {model} reads: it is no vLLM server")
    return model, context


def _choices(answer: Any, count: int) -> list[dict[str, Any]]:
    """The choices of an answer, in the order of the prompts."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != count:
        raise ServiceError(f"expected {count} choices from the server; got {str(answer)[:200]}")
    return sorted(choices, key=lambda choice: int(choice["index"]))


def _first(answer: Any) -> dict[str, Any]:
    return _choices(answer, 1)[0]


def _chances(choice: dict[str, Any]) -> dict[int, float]:
    """Log-probabilities by id, from keys such as `token_id:17`."""
    try:
        (row,) = choice["logprobs"]["top_logprobs"]
        return {int(name.removeprefix("token_id:")): float(value) for name, value in row.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceError("the server gives no log-probabilities of named ids: it needs vLLM 0.32 or newer") from error

"""Train the planner that ships further on MOVE, on a CPU, while it keeps what it says: `python -m
visavis.finetune.further RUNS`.

A whole training wants a GPU. What is new for the body alone (how listeners hear words, marks that were mended) can be
learnt from where the weights are: MOVE's listening by its tokens; REPLY, ACT and MOVE's speaking by what the planner
says already. For these the goal is the planner's own distribution over every next token (distillation, Hinton et al.
2015), so that they stay as they are without the corpora and readers that they were once made of.

What is said calls for an answer of the listener's once in two sentences, and the answer is in one of twenty-five tokens
or so: too seldom to be learnt from talk. So there is a drill before (`teacher.answers.drilled`: lines full of what
calls for an answer, listeners who answer all of it), and while an answer goes on tokens of head and trunk weigh more.

What comes out is a planner between the old one and the new (`between`), which copies facts as well as the old one does.

Makes its corpora first (turns by the teacher from training's utterances, performers and voices; REPLY and ACT from what
ships), then trains with checkpoints; every part is taken up again after a stop.
"""

from __future__ import annotations

import argparse
import copy
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch

from visavis.agent.llama import Llama
from visavis.agent.reactions import phrases_by_reason, reactions
from visavis.finetune import motion_corpus
from visavis.finetune.acts import compose
from visavis.finetune.language_model import PlannerTraining, Stage, train
from visavis.finetune.motion_codes import check_marks, move_token_examples
from visavis.finetune.replies.corpus import generate
from visavis.finetune.text_corpus import act_examples, write_examples
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.turn_language import CUES, Example, reply_example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["Sizes", "answered", "between", "continued", "corpora"]

log = logging.getLogger(__name__)

MODELS: Final = Path(__file__).parent.parent / "models"


@dataclass(frozen=True)
class Sizes:
    """How much of everything: turns spoken, heard and heard as a drill, to learn and to judge by; lines of REPLY and of
    ACT.
    """

    speaking: int = 8_000
    heard: int = 20_000
    drill: int = 7_000
    dev: int = 400
    dev_heard: int = 1_600
    replies: int = 5_000
    acts: int = 3_000


SEED: Final = 11  # of the corpora
SHARE: Final = 0.7  # of what was learnt, in what is kept
SMOKE: Final = Sizes(4, 24, 8, 2, 2, 12, 8)
# In the phrases, too, but everywhere.
COMMON: Final = "i you the a to it of my me in on at is was for his her an all and he she they that not"
ANSWER: Final = (2, 8)  # steps after the end of a word: the first of an answer's, and the one after its last


def corpora(out: Path, sizes: Sizes) -> dict[str, TokenCorpus]:
    """MOVE to learn, REPLY and ACT to keep, and MOVE held out (other utterances, performers and voices), as tokens."""
    folder = out / "further"
    vocabulary = JointVocabulary.load(MODELS / "planner")

    @functools.cache
    def known() -> compose.Material:
        return compose.material(None)  # it is the planner's answer that counts here

    def texts(split: compose.Split, count: int) -> Path:
        path = folder / f"act_{split}.jsonl"
        write_examples(path, count, lambda n: compose.generate(n, known(), SEED, split))
        return path

    def moves(split: compose.Split, speaking: int, heard: int, drill: bool = False) -> Iterator[tuple[str, Example]]:
        path, motion = texts(split, 2 * (sizes.speaking + sizes.heard)), folder / ("drill" if drill else "motion")
        motion_corpus.build(path, motion, split, speaking, seed=SEED, listeners=0.0, heard=heard, drill=drill)
        yield from move_token_examples(motion, MODELS / "codec", split, vocabulary)

    def talk() -> Iterator[tuple[str, Example]]:
        for reply, said in islice(generate(sizes.replies, SEED), sizes.replies):
            yield "reply", reply_example(reply, said, vocabulary)
        yield from islice(act_examples(texts("train", 2 * (sizes.speaking + sizes.heard)), vocabulary), sizes.acts)

    makers: dict[str, Callable[[], Iterator[tuple[str, Example]]]] = {
        "move": lambda: moves("train", sizes.speaking, sizes.heard),
        "drill": lambda: moves("train", 0, sizes.drill, True),
        "talk": talk,
        "dev": lambda: moves("dev", sizes.dev, sizes.dev_heard),
    }
    found = {}
    for name, make in makers.items():
        path = folder / f"tokens_{name}.npz"
        if not path.exists():
            TokenCorpus.build(make()).save(path)
            log.info("%s is written", path)
        found[name] = TokenCorpus.load(path)
        check_marks(found[name], vocabulary, path)
        log.info("%s: %d sequences, %d tokens", name, found[name].size, found[name].tokens)
    return found


def answered(corpus: TokenCorpus, vocabulary: JointVocabulary, name: str) -> Iterator[tuple[str, Example]]:
    """The listening of a corpus in which something that is said calls for an answer, named `name`; to be learnt are
    only the tokens of head and trunk in the steps in which the answer would go on.
    """
    core, marks = vocabulary.motion_range(vocabulary.parts[0]), {vocabulary.cue(cue) for cue in range(len(CUES))}
    for number in np.flatnonzero(corpus.tasks == corpus.names.index("listen")):
        example = corpus.sequence(int(number))
        first = example.ids.index(vocabulary.control("now")) + 1
        words, ended, pieces = list[str](), list[int](), list[int]()
        steps, place = 0, dict[int, int]()  # of the core token of each step
        for at, id_ in enumerate(example.ids[first:], first):
            if vocabulary.is_text(id_):
                pieces.append(id_)
            elif id_ in marks:
                heard = vocabulary.decode_text(pieces).split()
                words, ended, pieces = words + heard, ended + [steps] * len(heard), []
                steps += 1
            elif id_ in core:
                place[steps - 1] = at
        wanted = {
            place[step]
            for one in reactions(words)
            for step in range(ended[one.word] + ANSWER[0], ended[one.word] + ANSWER[1])
            if step in place
        }
        mask = [learnt and at in wanted for at, learnt in enumerate(example.mask)]
        if any(mask):
            yield name, Example(example.ids, mask)


def continued(found: Mapping[str, TokenCorpus], out: Path, settings: PlannerTraining, tokens: int) -> Llama:
    """The planner that ships, trained further on so many tokens: a drill; the drill again, where only answers are to be
    learnt; talk. Saved in `out`.
    """
    vocabulary, talk = JointVocabulary.load(MODELS / "planner"), found["talk"]
    drill, move = (
        TokenCorpus.build(answered(found[name], vocabulary, f"{name} answers")) for name in ("drill", "move")
    )
    listened, spoken = (found["move"].only(name, count) for name, count in (("listen", 8_000), ("speak", 8_000)))
    parts = {
        "drill": [found["drill"], spoken.only("speak", 1_000)],
        "answers": [drill, listened.only("listen", 2_000), spoken.only("speak", 1_000)],
        "talk": [move, listened, spoken],
    }
    shares = {"drill": 0.15, "answers": 0.3, "talk": 0.55}
    return train(
        [Stage(name, TokenCorpus.join([*parts[name], talk]), int(share * tokens)) for name, share in shares.items()],
        vocabulary, out,
        replace(
            settings, keeps=("reply", "act", "speak"),
            weights={"reply": 3.0, "speak": 2.0, "drill answers": 4.0, "move answers": 4.0},
        ),
        Llama.load(MODELS / "planner"), heldout=found["dev"],
    )  # fmt: skip


def between(before: Llama, after: Llama, vocabulary: JointVocabulary, share: float = SHARE) -> Llama:
    """A planner between two (weights averaged, Wortsman et al. 2022), `share` of the way to `after`; rows of text that
    stand in no phrase which calls for an answer are those of `before`.

    Words are copied from cards by these rows, and small changes of many of them cost that more than anything: it is
    how a planner keeps what it says to the letter.
    """
    called = {id_ for some in phrases_by_reason() for phrase in some for text in (phrase, phrase.capitalize())
              for id_ in vocabulary.encode_text(text)} - set(vocabulary.encode_text(COMMON))  # fmt: skip
    kept = [id_ for id_ in range(vocabulary.text_size) if id_ not in called]
    out = copy.deepcopy(before)
    with torch.no_grad():
        for (name, ours), theirs in zip(out.named_parameters(), after.parameters(), strict=True):
            rows = ours[kept].clone() if name == "embedding" else None
            ours.lerp_(theirs.to(ours.dtype), share)
            if rows is not None:
                ours[kept] = rows
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.further", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of everything: RUNS/further, RUNS/planner_further")
    parser.add_argument("--tokens", type=int, default=8_300_000, help="to read, prompts included")
    parser.add_argument("--seconds", type=float, default=6000.0, help="the run ends after so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--smoke", action="store_true", help="on tiny data")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    found = corpora(options.runs, SMOKE if options.smoke else Sizes())
    settings = PlannerTraining(
        lr=options.lr, seconds=options.seconds, threads=options.threads, batch_tokens=4096, sample_s=900.0
    )
    tokens = 20_000 if options.smoke else options.tokens
    out, vocabulary = options.runs / "planner_further", JointVocabulary.load(MODELS / "planner")
    learnt = continued(found, out, settings, tokens)
    mixed = between(Llama.load(MODELS / "planner"), learnt, vocabulary)
    mixed.save(out, *(vocabulary.control(name) for name in ("bos", "end", "pad")))


if __name__ == "__main__":
    main()

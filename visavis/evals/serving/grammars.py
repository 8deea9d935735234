"""What the grammars of a turn cost the server, measured with its own compiler in its own environment.

vLLM checks a grammar at the door and compiles it again for the model: both are counted.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Constraint, Foresight, Ids, Sampling
from visavis.agent.vllm_engine import id_grammar
from visavis.agent.vllm_server import find_python
from visavis.errors import ServiceError, UsageError
from visavis.evals.first_light.table import Table, median
from visavis.evals.serving.calls import Call, replay
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.library import Library

__all__ = ["grammars_of", "measure"]

# Runs in vLLM's environment, which has no visavis.
_COMPILE = """
import json, sys, time
import llguidance, llguidance.hf
from transformers import AutoTokenizer
folder, repeats = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
known = llguidance.hf.from_tokenizer(tokenizer, len(tokenizer))
def once(grammar):
    began = time.perf_counter()
    error = llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("grammar", grammar), known)
    matcher = llguidance.LLMatcher(known, llguidance.grammar_from("grammar", grammar), log_level=1)
    assert not error and not matcher.get_error(), (error, matcher.get_error())
    return 1000 * (time.perf_counter() - began)
turns = json.load(sys.stdin)
once(turns[0][0])
print(json.dumps([[sum(once(g) for g in turn) for turn in turns] for _ in range(repeats)]))
"""


class _Overheard(EmbeddedEngine):
    """The embedded engine; notes the grammar that the vLLM engine would have sent."""

    grammars: list[str]

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
        """As the embedded engine's."""
        known: Sequence[Ids] = constraint.ahead().known if isinstance(constraint, Foresight) else ()
        choices = [place for place, ids in enumerate(known) if len(ids) > 1]
        if choices and choices[-1]:
            self.grammars.append(id_grammar(known[: choices[-1] + 1], self.vocabulary))
        return super().generate(prompt, constraint, sampling=sampling, stop=stop, limit=limit, cancel=cancel)


def grammars_of(turns: Sequence[Sequence[Call]], library: Library, folder: Path) -> list[list[str]]:
    """The grammars of each turn."""
    engine = _Overheard.load(folder)
    assert isinstance(engine, _Overheard)
    out = []
    for turn in turns:
        engine.grammars = []
        replay(turn, engine, library)
        out.append(engine.grammars)
    return out


def measure(turns: Sequence[Sequence[Call]], library: Library, folder: Path, repeats: int = 5) -> Table:
    """Compile the grammars of turns, each turn `repeats` times; the median over repeats is the turn's.

    Raises:
        UsageError: vLLM is not installed.
        ServiceError: its compiler refused a grammar.
    """
    python = find_python()
    if python is None:
        raise UsageError("expected vLLM's environment, whose compiler is measured: make setup-vllm")
    grammars = [turn for turn in grammars_of(turns, library, folder) if turn]
    done = subprocess.run(
        [str(python), "-c", _COMPILE, str(folder), str(repeats)],
        input=json.dumps(grammars), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ServiceError(f"vLLM's grammar compiler failed: {done.stderr.strip()[-300:]}")
    rounds: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    by_turn = [sorted(times)[len(times) // 2] for times in zip(*rounds, strict=True)]
    table = Table("Grammars of a turn, checked and compiled by the server's own compiler")
    table.add("a turn, median", median(by_turn), "ms")
    table.add("a turn, the slowest", bootstrap(by_turn, lambda x: float(x.max())), "ms")
    table.add(
        "any turn, any repeat, the slowest", bootstrap([t for r in rounds for t in r], lambda x: float(x.max())), "ms"
    )
    table.add("grammars in a turn", bootstrap([float(len(turn)) for turn in grammars]), "")
    return table

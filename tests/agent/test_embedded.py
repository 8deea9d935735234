from pathlib import Path

import numpy as np
import pytest
import torch

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.llama import Llama, LlamaConfig
from visavis.errors import FileFormatError, TokenError
from visavis.finetune.language_model import new_model
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary.default()


@pytest.fixture(scope="module")
def model(vocabulary: JointVocabulary) -> Llama:
    model = Llama(LlamaConfig(vocabulary.size, layers=3, width=64, heads=2, hidden=96, context=96))
    with torch.no_grad():  # weights large enough that every part matters
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.dim() == 2 else 1).add_(0.1 * torch.randn(parameter.shape[-1]))
    return model.bfloat16().float()


@pytest.fixture(scope="module")
def folder(model: Llama, vocabulary: JointVocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model.save(folder, vocabulary.control("bos"), vocabulary.control("end"), vocabulary.control("pad"))
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> EmbeddedEngine:
    return EmbeddedEngine.load(folder, exact=True)


class Within:
    """Each step one of given lists; counts what it is shown."""

    def __init__(self, steps: list[list[int]]) -> None:
        self.steps, self.taken, self.weighed = steps, list[int](), 0

    def allowed(self) -> np.ndarray:
        return np.array(self.steps[len(self.taken)] if len(self.taken) < len(self.steps) else [], dtype=np.int64)

    def weigh(self, ids: np.ndarray, logits: np.ndarray) -> np.ndarray:
        self.weighed += 1
        assert len(ids) == len(logits)
        return logits

    def accept(self, id_: int) -> None:
        self.taken.append(id_)


def test_transformers_computes_the_same(engine: EmbeddedEngine, model: Llama, folder: Path) -> None:
    from transformers import LlamaForCausalLM

    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = list(range(5, 45))
    with torch.inference_mode():
        theirs = reference(torch.tensor([prompt])).logits[0]
        ours = model(torch.tensor([prompt]))[0]
        written = reference.generate(torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=None)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    assert list(engine.generate(prompt, limit=30)) == written[0, len(prompt) :].tolist()
    logs = torch.log_softmax(theirs, -1)[9:-1].gather(1, torch.tensor(prompt[10:])[:, None])[:, 0]
    np.testing.assert_allclose(engine.score(prompt[:10], prompt[10:]), logs, atol=2e-4)


def test_training_and_reading_compute_the_same(model: Llama) -> None:
    ids = torch.randint(0, 4096, (2, 24))
    trained = model(ids)
    with torch.no_grad():
        torch.testing.assert_close(trained.detach(), model(ids), atol=1e-4, rtol=1e-4)


def test_padding_on_the_right_changes_nothing(model: Llama) -> None:
    ids = torch.randint(1, 4096, (1, 20))
    padded = torch.cat([ids, torch.zeros(1, 9, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(ids), model(padded)[:, :20], atol=1e-5, rtol=1e-5)


def test_forced_ids_fed_together_equal_ids_one_by_one(engine: EmbeddedEngine) -> None:
    prompt, forced = [7, 8, 9], list(range(100, 130))
    together = Within([*([id_] for id_ in forced), list(range(300, 400))])
    last = list(engine.generate(prompt, together))[-1]
    assert together.weighed == 1
    assert last == next(engine.generate([*prompt, *forced], Within([list(range(300, 400))])))
    scattered = Within([[400, 90, 2000]])
    logits = engine._decoder.logits(torch.ones(64), scattered.allowed())
    np.testing.assert_allclose(logits, engine._decoder.logits(torch.ones(64), None)[[400, 90, 2000]], rtol=1e-5)


def test_bf16_products_are_near(folder: Path, engine: EmbeddedEngine) -> None:
    ids = list(range(50, 130))
    half = EmbeddedEngine.load(folder).score(ids[:40], ids[40:])
    assert np.abs(half - engine.score(ids[:40], ids[40:])).max() < 0.3


def test_same_seed_same_ids_and_top_k_of_one_is_greedy(engine: EmbeddedEngine) -> None:
    def run(seed: int, top_k: int = 0) -> list[int]:
        return list(engine.generate([5, 6], sampling=Sampling(1.0, top_k, seed), limit=20))

    assert run(1) == run(1) != run(2)
    assert run(1, 1) == list(engine.generate([5, 6], limit=20))


def test_generation_ends(engine: EmbeddedEngine) -> None:
    free = list(engine.generate([5, 6], limit=10))
    assert list(engine.generate([5, 6], stop={free[0]}, limit=10)) == free[:1]
    assert len(list(engine.generate(list(range(90)), limit=50))) == 6  # the context is full
    cancel = CancelToken()
    written = []
    for id_ in engine.generate([5, 6], limit=10, cancel=cancel):
        written.append(id_)
        if len(written) == 4:
            cancel.cancel()
    assert written == free[:4]


def test_wrong_input_is_refused(
    engine: EmbeddedEngine, model: Llama, vocabulary: JointVocabulary, tmp_path: Path
) -> None:
    with pytest.raises(TokenError, match="another vocabulary"):
        next(engine.generate([vocabulary.size]))
    with pytest.raises(TokenError, match="shorten it"):
        next(engine.generate([1] * 96))
    with pytest.raises(TokenError, match="saved beside the model"):
        EmbeddedEngine(Llama(LlamaConfig(64, 1, 64, 1, 32, 8)), vocabulary)
    with pytest.raises(FileFormatError, match=r"config\.json"):
        Llama.load(tmp_path)


def test_rows_begin_with_meaning(vocabulary: JointVocabulary) -> None:
    model = new_model(vocabulary, LlamaConfig(vocabulary.size, layers=1, width=256, heads=4, hidden=32))

    def row(word: str) -> torch.Tensor:
        (id_,) = vocabulary.encode_text(word)
        return torch.nn.functional.normalize(model.embedding[id_].detach(), dim=0)

    assert row("happy") @ row("sad") > row("happy") @ row("music")
    assert row("big") @ row("large") > row("big") @ row("music")

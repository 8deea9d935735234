import numpy as np
import pytest

from visavis.agent.constrain import MoveConstraint, ReplyConstraint
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.llama import Llama, LlamaConfig
from visavis.agent.transformers_engine import TransformersEngine
from visavis.errors import FileFormatError, TokenError
from visavis.tokenizers.turn_language import MoveStep
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(JointVocabulary.default().text_model)  # of three parts


@pytest.fixture(scope="module")
def folder(vocabulary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = Llama(LlamaConfig(vocabulary.size, layers=2, width=64, heads=2, hidden=96, context=128))
    model.save(folder, vocabulary.control("bos"), vocabulary.control("end"), vocabulary.control("pad"))
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder) -> TransformersEngine:
    return TransformersEngine.load(folder, device="cpu")


def test_the_embedded_engine_writes_the_same(engine, folder, vocabulary):
    embedded = EmbeddedEngine.load(folder, exact=True)
    prompt = [vocabulary.control("bos"), *vocabulary.encode_text("hello there")]
    for make in (
        lambda: None,
        lambda: ReplyConstraint(vocabulary, ["The whale is long."], limit=20),
        lambda: MoveConstraint(vocabulary, [MoveStep("hi", 1, (3, 4, 5), (True, False, False))] * 6),
    ):
        for sampling in (Sampling(), Sampling(1.0, 0, 3), Sampling(0.8, 5, 4)):
            theirs = list(embedded.generate(prompt, make(), sampling=sampling, limit=40))
            assert list(engine.generate(prompt, make(), sampling=sampling, limit=40)) == theirs
    np.testing.assert_allclose(engine.score(prompt, [5, 6]), embedded.score(prompt, [5, 6]), atol=1e-3)


def test_generation_ends(engine):
    free = list(engine.generate([5, 6], limit=10))
    assert list(engine.generate([5, 6], stop={free[0]}, limit=10)) == free[:1]
    assert len(list(engine.generate(list(range(122)), limit=50))) == 6  # the context is full
    cancel = CancelToken()
    cancel.cancel()
    assert list(engine.generate([5, 6], cancel=cancel)) == []


def test_wrong_input_is_refused(engine, folder, vocabulary, tmp_path):
    with pytest.raises(TokenError, match="another vocabulary"):
        next(engine.generate([vocabulary.size]))
    with pytest.raises(TokenError, match="shorten it"):
        next(engine.generate([1] * 128))
    with pytest.raises(TokenError, match="at least one id"):
        next(engine.generate([]))
    vocabulary.save(tmp_path)
    with pytest.raises(FileFormatError, match="causal model of transformers"):
        TransformersEngine.load(tmp_path)

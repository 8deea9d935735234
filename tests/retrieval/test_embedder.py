import numpy as np
import pytest

from visavis.retrieval.embedder import DIMENSIONS, Embedder


@pytest.fixture(scope="module")
def embedder():
    return Embedder()


def test_rows_have_unit_length_and_the_order_of_the_texts(embedder):
    texts = [
        "How long is the whale?",
        "",
        "Where are the toilets, please, and when do you close?",
        "How long is the whale?",
    ]
    vectors = embedder.encode(texts)
    assert vectors.shape == (4, DIMENSIONS) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])


def test_a_sentence_alone_equals_the_sentence_in_a_batch(embedder):
    texts = [f"Sentence number {k}, " + "which goes on and on " * (k % 5) for k in range(40)]
    alone = np.concatenate([Embedder().encode([text]) for text in texts[:3]])
    np.testing.assert_allclose(embedder.encode(texts)[:3], alone, atol=1e-4)


def test_meaning_is_nearer_than_other_meaning(embedder):
    question, right, wrong = embedder.encode(
        ["How big is the blue whale?", "The whale is thirty metres long.", "The shop sells tea."]
    )
    assert question @ right > question @ wrong + 0.3


def test_memory_is_bounded_and_changes_nothing():
    small = Embedder(capacity=2)
    first = small.encode(["a cat", "a dog", "a house"])
    assert len(small._memory) == 2
    np.testing.assert_allclose(small.encode(["a cat", "a dog", "a house"]), first, atol=1e-5)


def test_nothing_gives_no_rows(embedder):
    assert embedder.encode([]).shape == (0, DIMENSIONS)

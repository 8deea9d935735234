from types import SimpleNamespace

import numpy as np
import pytest

from visavis.errors import MissingExtraError, ServiceError, UsageError
from visavis.speech.completeness import completeness
from visavis.speech.recogniser import TypedText
from visavis.speech.streamed import Resampler
from visavis.speech.whisper import WhisperRecogniser, _hypothesis

SECOND = np.zeros(16_000, np.float32)


def test_typed_words_count_as_said_when_they_are_typed():
    typed = TypedText()
    assert typed.feed(SECOND) is None
    typed.type("hello there")
    partial = typed.feed(SECOND)
    assert partial.text == "hello there" and not partial.final
    assert [(w.text, w.start_s, w.end_s) for w in partial.words] == [("hello", 1.0, 1.0), ("there", 1.0, 1.0)]
    assert typed.feed(SECOND) is None, "nothing new"
    typed.type("you")
    assert typed.finish().text == "hello there you" and typed.finish().final
    typed.start()
    assert typed.finish().text == "" and typed.finish().words == ()


@pytest.fixture(scope="module")
def orders():
    pytest.importorskip("pocketsphinx")
    from visavis.speech.grammar import GrammarRecogniser

    recogniser = GrammarRecogniser(["show me the whale", "how old is it", "thank you", "stop"])
    yield recogniser
    recogniser.close()


class TestGrammar:
    def hear(self, recogniser, espeak, text):
        from visavis.emotion import Emotion

        speech = espeak.speak(text, Emotion())
        sound = Resampler(speech.sample_rate_hz).feed(speech.samples.astype(np.float32) / np.float32(32768))
        recogniser.start()
        partial = [found for k in range(0, len(sound), 512) if (found := recogniser.feed(sound[k : k + 512]))]
        return speech, partial, recogniser.finish()

    @pytest.mark.parametrize("text", ["show me the whale", "how old is it", "thank you"])
    def test_a_phrase_is_heard_with_its_words_and_times(self, orders, espeak, text):
        speech, partial, found = self.hear(orders, espeak, text)
        assert found.text == text and found.final and found.confidence > 0.5
        assert [w.text for w in found.words] == text.split()
        assert abs(found.words[-1].end_s - speech.duration_s) < 0.4
        assert all(a.start_s <= b.start_s for a, b in zip(found.words[:-1], found.words[1:], strict=True))
        assert partial and not partial[0].final and all(p.text for p in partial[1:])

    def test_words_are_not_taken_back_before_the_end(self, orders, monkeypatch):
        """For a moment the likeliest path may be one without words."""
        told = iter(["", "how", "", "how old"])
        monkeypatch.setattr(orders, "_process", lambda pcm: None)
        monkeypatch.setattr(orders, "_words", lambda confidence: ())
        hyp = lambda: SimpleNamespace(hypstr=next(told))  # noqa: E731
        orders.start()
        monkeypatch.setattr(orders, "_decoder", SimpleNamespace(hyp=hyp))
        found = [orders.feed(SECOND[:512]) for _ in range(4)]
        monkeypatch.undo()
        assert [one and one.text for one in found] == [None, "how", None, "how old"]

    def test_other_speech_is_not_trusted(self, orders, espeak):
        _, _, found = self.hear(orders, espeak, "My grandmother used to collect umbrellas from every province")
        assert found.confidence < 0.3

    def test_silence_is_nothing_to_be_sure_of(self, orders):
        orders.start()
        orders.feed(SECOND)
        assert orders.finish().confidence < 0.5

    @pytest.mark.parametrize(
        ("phrases", "says"),
        [
            ([], "0"),
            ("stop", "one text"),
            (["ten 4"], "written-out"),
            (["; import <a>;"] * 201, "201"),
            ([" ".join(["stop"] * 13)], "1 to 12"),
        ],
    )
    def test_bad_phrases_are_refused(self, phrases, says):
        pytest.importorskip("pocketsphinx")
        from visavis.speech.grammar import GrammarRecogniser

        with pytest.raises(UsageError, match=says):
            GrammarRecogniser(phrases)

    def test_a_phrase_cannot_write_grammar(self):
        from visavis.speech.grammar import _grammar

        text, words = _grammar(["stop | <x>; public <y> = go"], repeated=False)
        assert words == ["go", "public", "stop", "x", "y"]
        assert text.count("<") == 1 and "( stop x public y go )" in text


class TestWhisper:
    def test_the_extra_is_named_where_it_is_missing(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "faster_whisper", None)
        with pytest.raises(MissingExtraError, match=r"visavis\[whisper\]"):
            WhisperRecogniser("tiny.en")

    @pytest.mark.parametrize("weights", ["no such/folder here", "/nowhere/at/all", "../up", ""])
    def test_what_is_neither_folder_nor_name_is_refused(self, weights):
        with pytest.raises(UsageError, match="folder"):
            WhisperRecogniser(weights)

    def test_a_folder_without_weights_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match=r"model\.bin"):
            WhisperRecogniser(tmp_path)

    def test_damaged_weights_are_one_error(self, tmp_path):
        pytest.importorskip("faster_whisper")
        (tmp_path / "model.bin").write_bytes(b"nothing of the kind")
        with pytest.raises((UsageError, ServiceError), match="weights"):
            WhisperRecogniser(tmp_path, device="cpu")

    def test_a_hub_that_cannot_be_reached_is_one_error(self, monkeypatch, tmp_path):
        pytest.importorskip("faster_whisper")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(ServiceError, match="hub"):
            WhisperRecogniser("nobody/no-such-weights", device="cpu")

    def test_segments_of_the_library_become_words_with_times(self):
        """On the library's own types; no weights are here, so no sound is recognised."""
        transcribe = pytest.importorskip("faster_whisper.transcribe")

        def segment(words):
            plain = {name: 0 for name in ("id", "seek", "start", "end", "avg_logprob", "compression_ratio")}
            rest = {"text": "", "tokens": [], "no_speech_prob": 0.0, "temperature": 0.0}
            return transcribe.Segment(**plain, **rest, words=words)

        words = [transcribe.Word(0.1, 0.4, " Hello", 0.9), transcribe.Word(0.4, 0.9, " there.", 0.4)]
        found = _hypothesis([segment(words), segment(None), segment([transcribe.Word(1, 1, " ", 1.0)])], 2.0, True)
        assert found.text == "Hello there." and found.final
        assert [(w.text, w.start_s, w.end_s) for w in found.words] == [("Hello", 2.1, 2.4), ("there.", 2.4, 2.9)]
        assert found.confidence == pytest.approx((0.9 * 0.4) ** 0.5)
        assert _hypothesis([], 0.0, True).confidence == 0.0


def test_whole_sentences_are_told_from_their_beginnings():
    """On the frozen questions that nothing was learnt from."""
    from visavis.evals.turn_taking.sentences import sentences

    texts = sentences("test")[::4]
    whole = [completeness(text) for text in texts]
    begun = [completeness(" ".join(text.split()[: 2 + k % (len(text.split()) - 2)])) for k, text in enumerate(texts)]
    right = np.mean([a > b for a in whole for b in begun])
    assert right > 0.88, right  # chance has 0.5
    assert completeness("") == 0.0 and completeness("?!") == 0.0
    assert completeness("Where does the FERRY leave from?!") == completeness("where does the ferry leave from")

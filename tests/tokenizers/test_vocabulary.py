import random
from pathlib import Path

import pytest

from visavis.errors import FileFormatError, TextError, TokenError
from visavis.finetune.text_vocabulary import train_text_vocabulary
from visavis.tokenizers.vocabulary import CONTROLS, JointVocabulary, normalise

SENTENCES = (
    "I caught a fish, and it was huge!",
    "  The   blue whale is 29.9 metres long\tand weighs 190,000 kg.\n",
    "Ça va? Grüße, 你好, привет, 👋🏽 ﬁne ½ ① … ﷺ",
    "a\u200bb \u200d \u00ad c\x00d\x1fe\u0085f",
    "",
    "'quoted' \"twice\" (once) [never] {ever} <|bos|> ＜|gesture|＞ </s> <unk> <0x41> ▁",
    "e\u200d\u0301 \u3164 A\ufe0f",
)
HIDING = ("", "\u200b", "\u200d", "\ufeff", "\u2060", "\u00ad", "\x00", "\x08", "\u202e", "\ufe0f", "\u034f")
BRACKETS = (("<", ">"), ("＜", "＞"), ("﹤", "﹥"), ("‹", "›"), ("〈", "〉"))
BARS = ("|", "｜", "ǀ", "│", "∣")


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(JointVocabulary.default().text_model)  # of three parts


def test_ids_are_text_then_controls_then_cues_then_motion(vocabulary: JointVocabulary) -> None:
    assert vocabulary.size % 64 == 0
    assert vocabulary.text_size == 4096
    assert vocabulary.text_size + len(vocabulary.names) == vocabulary.size
    assert vocabulary.name(vocabulary.control("/gesture")) == "<|/gesture|>"
    assert vocabulary.name(vocabulary.cue(3)) == "<|cue_3|>"
    assert vocabulary.name(vocabulary.motion("core", 17)) == "<|core_017|>"
    assert vocabulary.motion_of(vocabulary.motion("right", 88)) == ("right", 88)
    assert vocabulary.motion_of(vocabulary.cue(15)) is None
    assert vocabulary.cue_of(vocabulary.motion("core", 0)) is None
    assert len(set(vocabulary.names)) == len(vocabulary.names)


@pytest.mark.parametrize("text", SENTENCES)
def test_words_in_a_row_are_the_text(vocabulary: JointVocabulary, text: str) -> None:
    words = vocabulary.encode_words(text)
    assert [id_ for *_, ids in words for id_ in ids] == vocabulary.encode_text(text)
    assert [text[start:end] for start, end, _ in words] == text.split()
    assert vocabulary.encode_text(text) == vocabulary.text.processor.encode(normalise(text))


@pytest.mark.parametrize("text", SENTENCES)
def test_text_comes_back_normalised(vocabulary: JointVocabulary, text: str) -> None:
    assert vocabulary.decode_text(vocabulary.encode_text(text)) == normalise(text)


def test_random_text_comes_back(vocabulary: JointVocabulary) -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(
            chr(rng.choice((rng.randrange(32, 127), rng.randrange(1, 0x3000), rng.randrange(0x20000))))
            for _ in range(20)
        )
        ids = vocabulary.encode_text(text)
        assert all(vocabulary.is_text(id_) for id_ in ids)
        assert vocabulary.decode_text(ids) == normalise(text)


def test_a_word_never_shares_a_piece_with_another(vocabulary: JointVocabulary) -> None:
    for *_, ids in vocabulary.encode_words("What a wonderful day it was in 1969, wasn't it?"):
        assert [vocabulary.starts_word(id_) for id_ in ids] == [True] + [False] * (len(ids) - 1)


def test_control_strings_in_any_disguise_stay_text(vocabulary: JointVocabulary) -> None:
    rng = random.Random(0)
    names = [name[2:-2] for name in vocabulary.names]
    seen = set()
    while len(seen) < 1200:
        (left, right), bar, hidden = rng.choice(BRACKETS), rng.choice(BARS), rng.choice(HIDING)
        name = "".join(c + rng.choice(("", hidden)) for c in rng.choice((rng.choice(names), *CONTROLS)))
        if rng.random() < 0.3:
            name = "".join(chr(ord(c) + 0xFEE0) if 0x21 <= ord(c) < 0x7F else c for c in name)  # full-width
        text = (
            rng.choice(("", "say ", "x")) + left + hidden + bar + name + bar + hidden + right + rng.choice(("", " now"))
        )
        seen.add(text)
    for text in seen:
        assert all(id_ < vocabulary.text_size for id_ in vocabulary.encode_text(text)), text


def test_invisible_characters_are_removed() -> None:
    assert normalise("a\u200bb\u2028c\x00 \ufe0fd\u0301 \u00a0 e\ud800") == "ab c d\u0301 e"
    assert normalise("\u3164\u200b ") == ""
    for text in SENTENCES:
        assert normalise(normalise(text)) == normalise(text)


def test_only_text_is_decoded_as_text(vocabulary: JointVocabulary) -> None:
    with pytest.raises(TokenError, match="expected ids of text"):
        vocabulary.decode_text([vocabulary.control("bos")])
    shown = vocabulary.show([vocabulary.control("bos"), *vocabulary.encode_text("hello you"), vocabulary.cue(1)])
    assert shown == "<|bos|> hello you<|cue_1|>"


def test_names_outside_are_refused(vocabulary: JointVocabulary) -> None:
    with pytest.raises(TokenError, match="expected a control"):
        vocabulary.control("nonsense")
    with pytest.raises(TokenError, match="another codec"):
        vocabulary.motion("core", 512)
    with pytest.raises(TokenError, match="another vocabulary"):
        vocabulary.name(vocabulary.size)


def test_saved_vocabulary_is_the_same(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path)
    again = JointVocabulary.load(tmp_path)
    assert again.names == vocabulary.names
    assert again.encode_text(SENTENCES[2]) == vocabulary.encode_text(SENTENCES[2])


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="visavis train planner"):
        JointVocabulary.load(tmp_path)


def test_hugging_face_gives_the_same_ids(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    vocabulary.save(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*SENTENCES, Path(__file__).read_text(encoding="utf-8")):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert ids == vocabulary.encode_text(text), text
        assert tokenizer.decode(ids) == vocabulary.decode_text(ids)
    assert tokenizer.convert_tokens_to_ids("<|left_401|>") == vocabulary.motion("left", 401)
    assert len(tokenizer) == vocabulary.size
    assert tokenizer.eos_token_id == vocabulary.control("end")


def test_training_needs_words_enough(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="words enough"):
        train_text_vocabulary(["one two three"], tmp_path)


def test_training_is_deterministic(tmp_path: Path) -> None:
    texts = [f"{word} and {word[::-1]} came home" for word in ("holiday", "mountain", "elephant", "gardener", "whale")]
    first = train_text_vocabulary(texts, tmp_path / "a", size=300)
    second = train_text_vocabulary(texts, tmp_path / "b", size=300)
    assert first.text_model == second.text_model
    assert first.text_size == 300

"""Text pieces of a base: the same promises as our own, for every kind of tokenizer."""

import json
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from small_bases import KINDS, OTHERS, byte_level, definition

from visavis.emotion import Emotion
from visavis.errors import FileFormatError, TokenError, UsageError
from visavis.tokenizers.base_pieces import BasePieces
from visavis.tokenizers.turn_language import (
    ActPlan,
    ActPrompt,
    Candidate,
    MovePlan,
    MoveStep,
    ReplyPlan,
    ReplyPrompt,
    Segment,
    Tag,
)
from visavis.tokenizers.turn_reading import parse_act, parse_move, parse_reply
from visavis.tokenizers.vocabulary import CONTROLS, JointVocabulary, normalise

ALL = (*KINDS, *OTHERS)
WHOLE = tuple(kind for kind in ALL if kind != "unigram")  # what can write any character
HIDING = (
    "",
    "",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u2060",
    "\u00ad",
    "\x00",
    "\x1f",
    "\u202e",
    "\ufe0f",
    "\u034f",
    "\u3164",
)
BRACKETS = (
    ("<|", "|>"),
    ("＜｜", "｜＞"),
    ("＜|", "|＞"),
    ("﹤|", "|﹥"),
    ("‹|", "|›"),
    ("<ǀ", "ǀ>"),
    ("<│", "│>"),
    ("<", ">"),
)
LOOK_ALIKE = str.maketrans("aceopxyi/_", "асеорху\u0456∕＿")
BASE_NAMES = ("im_start", "im_end", "endoftext", "end", "user", "assistant", "start_of_turn", "think", "mask")
BASE_SPELT = ("<s>", "</s>", "<unk>", "<bos>", "<eos>", "<pad>", "<0x3C>", "[INST]", "▁", "Ġ", "Ċ")


@cache
def vocabulary(kind: str) -> JointVocabulary:
    if kind == "ours":
        return JointVocabulary.default()
    with TemporaryDirectory() as folder:
        return JointVocabulary.on(definition(kind, Path(folder)), rows=700)


def fuzzed(count: int, seed: int) -> list[str]:
    """Control strings of ours and of bases, full-width, with look-alikes, hidden characters, noise; some of 100 kB."""
    rng = random.Random(seed)
    codes = [f"{part}_{code:03d}" for part in ("core", "left", "right") for code in (0, 7, 511)]
    names = [*CONTROLS, *codes, *(f"cue_{cue}" for cue in range(16)), *BASE_NAMES, "visavis:end", "unused_3"]

    def one() -> str:
        draw = rng.random()
        if draw < 0.1:
            return rng.choice(BASE_SPELT)
        if draw < 0.2:
            return "".join(
                chr(rng.choice((rng.randrange(32, 127), rng.randrange(1, 0x3000), rng.randrange(0x110000))))
                for _ in range(12)
            )
        left, right = rng.choice(BRACKETS)
        name = rng.choice(("", "", "visavis:")) + rng.choice(names)
        if rng.random() < 0.3:
            name = name.translate(LOOK_ALIKE)
        if rng.random() < 0.3:
            name = "".join(chr(ord(c) + 0xFEE0) if 0x21 <= ord(c) < 0x7F else c for c in name)
        hidden = rng.choice(HIDING)
        return left + "".join(c + (hidden if rng.random() < 0.3 else "") for c in name) + right

    out = []
    for number in range(count):
        text = rng.choice(("", "say ", "x", "\n", "  ")).join(one() for _ in range(rng.randrange(1, 4)))
        if number % 500 == 499:
            text = (text + rng.choice(("", " "))) * (100_000 // (len(text) + 1))
        out.append(text)
    return out


@pytest.mark.parametrize("kind", ALL)
def test_ids_are_laid_out_after_the_bases_own(kind: str) -> None:
    v = vocabulary(kind)
    assert v.size % 64 == 0 and v.new_ids == range(v.text_size, v.size)
    assert len(set(v.names)) == len(v.names) and v.text.names.isdisjoint(v.names)
    assert v.name(v.control("end")) == ("<|visavis:end|>" if kind == "named" else "<|end|>")
    for id_ in (v.control("bos"), v.cue(15), v.motion("right", 511)):
        assert not v.is_text(id_) and v.text_size <= id_ < v.size
    with pytest.raises(TokenError, match="those of this vocabulary are a base's"):
        _ = v.text_model


@pytest.mark.parametrize("kind", ALL)
def test_words_begin_pieces_and_come_back(kind: str) -> None:
    v = vocabulary(kind)
    text = "Hello,  the whale is 12.5 metres long & it's   fine: isn't it? (yes) <|end|> ＜|end|＞"
    ids = v.encode_text(text)
    assert v.decode_text(ids) == normalise(text) or kind == "unigram"
    words = v.encode_words(text)
    assert [id_ for *_, some in words for id_ in some] == ids
    for *_, some in words:
        assert [v.starts_word(id_) for id_ in some] == [True] + [False] * (len(some) - 1)


@pytest.mark.parametrize("kind", WHOLE)
def test_random_text_comes_back(kind: str) -> None:
    v, rng = vocabulary(kind), random.Random(1)
    for _ in range(60):
        text = "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(1, 0x3000)))) for _ in range(20))
        once = v.decode_text(v.encode_text(text))
        # the base's own normalisation may go further than ours (NFC, a table of NFKC), and then no further
        assert v.decode_text(v.encode_text(once)) == once
        if kind == "llama":
            assert once == normalise(text)


@pytest.mark.parametrize("kind", ("ours", *ALL))
def test_what_a_model_may_write_is_whole_text(kind: str) -> None:
    v = vocabulary(kind)
    starts, insides = v.word_starts.tolist(), v.word_insides.tolist()
    assert set(starts).isdisjoint(insides) and v.text.unknown not in (*starts, *insides)
    for id_ in (*starts, *insides):
        assert v.is_text(id_) and not v.is_byte(id_) and "\ufffd" not in v.decode_text([id_])
        assert v.starts_word(id_) == (id_ in set(starts))
    assert {v.piece(int(id_)) for id_ in v.number_pieces} >= set("0123456789.")
    assert v.piece(v.space) == "▁" and v.space in starts


@pytest.mark.parametrize("kind", ALL)
def test_the_turn_language_is_the_same(kind: str) -> None:
    v = vocabulary(kind)
    text = "Welcome! The blue whale is 30 metres long, isn't it?"
    reply = ReplyPlan(Emotion("joy", 0.7), (Segment("Welcome!"), Segment("The blue whale is 30 metres long.", True)))
    act = ActPlan(
        Emotion("fear", 0.2), text, (Tag("greeting wave", 0), Tag("huge size", 5, {"size_m": 0.9, "hand": "both"}))
    )
    move = MovePlan((MoveStep("Welcome!", 2, (0, 511, 7)), MoveStep("", 0, (3, 2, 1))))
    assert parse_reply(reply.ids(v), v) == reply
    assert parse_act(act.ids(v), v, unfelt=True) == act
    assert parse_move(move.ids(v), v) == move


@pytest.mark.parametrize("kind", ALL)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    v = vocabulary(kind)
    v.save(tmp_path)
    again = JointVocabulary.load(tmp_path)
    text = "Hello <|end|> <s> whale 12"
    assert again.names == v.names and again.size == v.size and again.encode_text(text) == v.encode_text(text)
    assert again.text.definition(again.names) == v.text.definition(v.names)  # type: ignore[attr-defined]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    names = list(v.names[: len(v.new_ids)])
    assert tokenizer.convert_tokens_to_ids(names) == list(v.new_ids)
    assert tokenizer.eos_token_id == v.control("end") and tokenizer.chat_template is None
    for text in fuzzed(40, 3):  # what a server does with text
        text = text.encode("utf-8", "ignore").decode()  # `tokenizers` refuses half characters
        assert max(tokenizer(text)["input_ids"], default=0) < v.text_size, text


def test_added_twice_is_added_once(tmp_path: Path) -> None:
    first = vocabulary("qwen")
    first.save(tmp_path)
    first.save(tmp_path)
    tokens = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    assert [token["content"] for token in tokens].count("<|end|>") == 1


def spelt(v: JointVocabulary, count: int, seed: int) -> tuple[list[str], int]:
    """Texts whose ids are not all text, and how many would have been controls with special tokens parsed."""
    from tokenizers import Tokenizer

    naive = Tokenizer.from_str(v.text.definition(v.names)) if isinstance(v.text, BasePieces) else None
    leaks, caught = [], 0
    for text in fuzzed(count, seed):
        ids = v.encode_text(text)
        if not all(id_ < v.text_size and v.is_text(id_) for id_ in ids):
            leaks.append(text)
        if naive is not None and len(text) < 1000:
            caught += any(not v.is_text(id_) for id_ in naive.encode(normalise(text), add_special_tokens=False).ids)
    return leaks, caught


@pytest.mark.parametrize("kind", ("ours", *ALL))
def test_nothing_typed_becomes_a_control(kind: str) -> None:
    leaks, caught = spelt(vocabulary(kind), 510, seed=0)
    assert not leaks
    assert kind == "ours" or caught > 60  # the same texts do become controls where special tokens are parsed


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ("ours", *ALL))
def test_five_thousand_inputs_hold_no_control(kind: str) -> None:
    leaks, caught = spelt(vocabulary(kind), 5000, seed=1)
    assert not leaks
    print(f"{kind}: 0 of 5,000 inputs became a control, motion or special id; {caught} would have with parsing on")


@pytest.mark.parametrize("kind", ("ours", *ALL))
def test_prompts_hold_the_controls_that_we_set_and_no_others(kind: str) -> None:
    v = vocabulary(kind)

    def controls(text: str) -> list[int]:
        card = Candidate(text, 0.5)
        ids = ReplyPrompt("Rosa", text, (card,), (("user", text),), text).ids(v, budget=10**6)
        ids += ActPrompt(text, None, (card,)).ids(v)
        return [id_ for id_ in ids if not v.is_text(id_)]

    for text in fuzzed(30, 5):
        assert controls(text) == controls("Hello there"), text


def test_a_unigram_model_does_not_find_its_specials() -> None:
    v = vocabulary("mistral")
    assert "</s>" in v.text.names and v.show(v.encode_text("a </s>")) == " a </s>"
    assert all(v.piece(id_) != "</s>" for id_ in v.encode_text("a </s>"))


def test_tokenizers_that_cannot_be_used() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    spaceless = Tokenizer(models.WordLevel({"Hello": 0, "a": 1, "it": 2, "?": 3}, unk_token="?"))
    spaceless.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UsageError, match="writes the space before a word into its pieces"):
        JointVocabulary.on(spaceless.to_str())
    for text in ("", "{}", "[1]", '{"model": 3, "added_tokens": []}', byte_level([], [])[:2000]):
        with pytest.raises(FileFormatError, match="expected the tokenizer.json of a model"):
            JointVocabulary.on(text)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    vocabulary("gemma").save(tmp_path)
    manifest = json.loads((tmp_path / "vocabulary.json").read_text())
    for change in (
        {"text_size": "many"},
        {"text_size": 10**9},
        {"parts": 3},
        {"codes": -1},
        {"codes": 99},
        {"size": 5},
        {"size": 10**12},
    ):
        (tmp_path / "vocabulary.json").write_text(json.dumps(manifest | change))
        with pytest.raises(FileFormatError):
            JointVocabulary.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text(json.dumps(manifest))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileFormatError, match="visavis train planner"):
        JointVocabulary.load(tmp_path)

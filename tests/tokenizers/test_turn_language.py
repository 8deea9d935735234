from dataclasses import replace

import pytest

from visavis.emotion import Emotion
from visavis.tokenizers.turn_language import (
    ActPlan,
    ActPrompt,
    Candidate,
    MovePlan,
    MovePrompt,
    MoveStep,
    ReplyPlan,
    ReplyPrompt,
    Segment,
    Tag,
    act_example,
    format_params,
    move_example,
    parse_params,
    reply_example,
    score_level,
)
from visavis.tokenizers.turn_reading import Violation, parse_act, parse_move, parse_reply
from visavis.tokenizers.vocabulary import JointVocabulary

CARDS = (Candidate("The blue whale is thirty metres long.", 0.81), Candidate("Krill are tiny.", 0.4))
REPLY = ReplyPrompt("Ada", "museum guide", CARDS, [("user", "Hi"), ("agent", "Welcome!")], "How big is the whale?")
PLAN = ReplyPlan(
    Emotion("joy", 0.7), (Segment("Sure!"), Segment(CARDS[0].text, quoted=True), Segment("Anything else?"))
)
ACT = ActPrompt("Welcome! The blue whale is thirty metres long.", None, (Candidate("huge size", 0.83),))
TAGS = (Tag("greeting wave", 0), Tag("huge size", 5, {"size_m": 0.9, "hand": "both"}))
STEPS = (
    MoveStep("Welcome! The", 1, (3, 511, 0)),
    MoveStep("", 4, (4, 5, 6), (False, True, True)),
    MoveStep("", 0, (7, 8, 9)),
)


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(JointVocabulary.default().text_model)  # of three parts


def test_reply_is_written_as_designed(vocabulary: JointVocabulary) -> None:
    assert vocabulary.show(REPLY.ids(vocabulary)) == (
        "<|bos|><|reply|><|persona|> Ada, museum guide.<|card|><|s8|> The blue whale is thirty metres long."
        "<|card|><|s4|> Krill are tiny.<|user|> Hi<|agent|> Welcome!<|user|> How big is the whale?<|agent|>"
    )
    assert vocabulary.show(PLAN.ids(vocabulary)) == (
        "<|joy|><|i7|> Sure!<|quote|> The blue whale is thirty metres long.<|/quote|> Anything else?<|end|>"
    )


def test_act_is_written_as_designed(vocabulary: JointVocabulary) -> None:
    assert vocabulary.show(ACT.ids(vocabulary)) == (
        "<|bos|><|act|><|unfelt|><|candidate|><|s8|> huge size"
        "<|say|> Welcome! The blue whale is thirty metres long.<|agent|>"
    )
    assert vocabulary.show(ActPlan(Emotion("joy", 0.7), ACT.text, TAGS).ids(vocabulary)) == (
        "<|joy|><|i7|><|gesture|> greeting wave<|/gesture|> Welcome! The blue whale is<|gesture|> huge size"
        "<|arg|> size_m=0.9<|arg|> hand=both<|/gesture|> thirty metres long.<|end|>"
    )


def test_move_is_written_as_designed(vocabulary: JointVocabulary) -> None:
    prompt = MovePrompt("speak", Emotion("fear", 1.0), STEPS[2:])
    assert vocabulary.show(prompt.ids(vocabulary)) == (
        "<|bos|><|speak|><|fear|><|i10|><|cue_0|><|core_007|><|left_008|><|right_009|><|now|>"
    )
    assert vocabulary.show(MovePlan(STEPS[:2]).ids(vocabulary)) == (
        " Welcome! The<|cue_1|><|core_003|><|left_511|><|right_000|>"
        "<|cue_4|><|core_004|><|left_005|><|right_006|><|end|>"
    )


def test_what_is_written_is_read_back(vocabulary: JointVocabulary) -> None:
    assert parse_reply(PLAN.ids(vocabulary), vocabulary) == PLAN
    for emotion in (None, Emotion("joy", 0.7)):
        plan = ActPlan(emotion, ACT.text, TAGS)
        assert parse_act(plan.ids(vocabulary), vocabulary, unfelt=emotion is not None) == plan
    steps = tuple(replace(step, forced=(False, False, False)) for step in STEPS)
    assert parse_move(MovePlan(STEPS).ids(vocabulary), vocabulary) == MovePlan(steps)


def test_only_what_the_model_chooses_is_learnt(vocabulary: JointVocabulary) -> None:
    reply = reply_example(REPLY, PLAN, vocabulary)
    assert reply.mask == [False] * len(REPLY.ids(vocabulary)) + [True] * len(PLAN.ids(vocabulary))

    act = act_example(ACT, ActPlan(Emotion("joy", 0.7), ACT.text, TAGS), vocabulary)
    learnt = [id_ for id_, on in zip(act.ids, act.mask, strict=True) if on]
    firsts = [ids[0] for *_, ids in vocabulary.encode_words(ACT.text)]
    tags = [vocabulary.control(name) for name in ("gesture", "/gesture", "arg", "end")]
    assert len(learnt) < len(ActPlan(Emotion(), ACT.text, TAGS).ids(vocabulary))
    assert set(firsts) | set(tags) <= set(learnt)

    move = move_example(MovePrompt("listen", Emotion(), STEPS), MovePlan(STEPS), vocabulary)
    learnt = [id_ for id_, on in zip(move.ids, move.mask, strict=True) if on]
    assert [vocabulary.motion_of(id_) for id_ in learnt] == [
        *(("core", 3), ("left", 511), ("right", 0), ("core", 4), ("core", 7), ("left", 8), ("right", 9))
    ]


def test_long_prompts_keep_the_line_and_the_best_card(vocabulary: JointVocabulary) -> None:
    cards = [Candidate(f"Card {number} " + "word " * 30, 0.9 - number / 10) for number in range(5)]
    prompt = ReplyPrompt("Ada", "guide", cards, [("user", "old " * 90)] * 4, "what " * 60 + "now?")
    ids = prompt.ids(vocabulary, budget=200)
    shown = vocabulary.show(ids)
    assert len(ids) <= 200
    assert "Card 0" in shown and "Card 4" not in shown and "old" not in shown
    assert shown.endswith("now?<|agent|>")
    assert len(replace(prompt, user="what " * 5000).ids(vocabulary, budget=200)) <= 200


@pytest.mark.parametrize("name", ["reply", "act", "move"])
def test_any_cut_or_exchanged_token_is_a_violation_or_another_plan(vocabulary: JointVocabulary, name: str) -> None:
    plan = {"reply": PLAN, "act": ActPlan(Emotion("joy", 0.7), ACT.text, TAGS), "move": MovePlan(STEPS)}[name]
    read = {
        "reply": lambda ids: parse_reply(ids, vocabulary),
        "act": lambda ids: parse_act(ids, vocabulary, unfelt=True),
        "move": lambda ids: parse_move(ids, vocabulary),
    }[name]
    ids = plan.ids(vocabulary)
    for cut in range(len(ids)):
        assert isinstance(read(ids[:cut]), Violation)
    for place in range(len(ids)):
        for foreign in (vocabulary.control("bos"), vocabulary.control("end"), vocabulary.cue(2), 300):
            if ids[place] != foreign:
                assert read([*ids[:place], foreign, *ids[place + 1 :]]) != read(ids)
    assert isinstance(read([*ids, 300]), Violation)
    assert isinstance(read([]), Violation)


def test_a_violation_says_what_was_expected(vocabulary: JointVocabulary) -> None:
    found = parse_move([vocabulary.cue(1), vocabulary.motion("left", 3)], vocabulary)
    assert str(found) == "expected a core token at token 1, found <|left_003|>"


def test_parameters_read_as_written() -> None:
    params = {"size_m": 0.9, "count": 3, "direction": "up left"}
    assert dict(parsed for text in format_params(params) if (parsed := parse_params(text))) == params
    assert format_params({"size_m": 0.333}) == ["size_m=0.33"]
    assert parse_params("nonsense") is None


def test_scores_are_ten_levels() -> None:
    assert [score_level(score) for score in (-1, 0, 0.3, 0.7, 0.999, 1, 2)] == [0, 0, 3, 7, 9, 9, 9]

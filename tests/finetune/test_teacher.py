import numpy as np

from visavis.agent.reactions import reactions
from visavis.emotion import Emotion
from visavis.evals.strokes import apexes
from visavis.finetune.teacher import TAIL_S, listening, speaking
from visavis.finetune.teacher.answers import answers, drilled, feeling_of
from visavis.motion import rotations
from visavis.motion.kinematics import forward, to_frame
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech.types import Word


def test_the_hands_beat_where_the_teacher_says_they_do():
    words = [
        Word("word", 0.5 + 0.6 * i, 0.9 + 0.6 * i, 0.9 if i % 2 else 0.2, 0.6 + 0.6 * i, 5 * i, 5 * i + 4)
        for i in range(24)
    ]
    found = 0
    for seed in range(3):
        performer, rng = Performer.random(np.random.default_rng(seed)), np.random.default_rng(seed)
        taught = speaking(words, 15.0, Emotion(), [], Library(load_lexicon()), performer, rng)
        stressed = {word.stress_s for word in words if word.stress > 0.5}
        assert set(taught.beats_s) <= stressed and list(taught.beats_s) == sorted(taught.beats_s)
        strokes = np.concatenate([apexes(taught.motion, side) for side in ("left", "right")])
        for beat in taught.beats_s:
            assert np.abs(strokes - beat).min() < 0.2
            found += 1
    assert found >= 5


def said(text, seconds=0.4):
    """The words of a text, one after the other."""
    return [
        Word(word, seconds * i, seconds * (i + 1) - 0.05, 0.8, seconds * i + 0.1, 0, 1)
        for i, word in enumerate(text.split())
    ]


SAD = "So last week I lost my job and then my old dog died as well."


def heads(motion):
    """(T, 3) turns of the head against the chest, in degrees."""
    skeleton = motion.skeleton
    turned = rotations.multiply(
        motion.rotations[:, skeleton.index("neck")], motion.rotations[:, skeleton.index("head")]
    )
    return np.degrees(rotations.to_rotation_vector(turned))


class TestAnswers:
    def test_come_after_the_word_and_one_at_a_time(self):
        words = said(
            SAD + " You know, it hurts, but we laughed, too. Guess what, Maria won three prizes! Isn't it funny?"
        )
        kinds = set()
        for seed in range(60):
            rng = np.random.default_rng(seed)
            given = answers(words, Performer.random(rng), rng)
            for one, after in zip(given, given[1:], strict=False):
                assert after.at_s > one.at_s + one.length_s
            kinds |= {one.kind for one in given}
        assert kinds == {"nod", "tilt", "surprise", "concern", "smile", "wince"}
        words, rng = said("And then my dog died."), np.random.default_rng(0)
        delays = [one.at_s - words[-1].end_s for _ in range(50) for one in answers(words, Performer(), rng)]
        assert len(delays) > 25 and 0.25 <= min(delays) < 0.4 and 0.5 < max(delays) <= 0.7

    def test_differ_from_performer_to_performer_and_repeat_with_a_seed(self):
        words = said(SAD)
        taken = [answers(words, Performer(head_style=style), np.random.default_rng(3)) for style in (0.3, 0.3, 1.8)]
        assert taken[0] == taken[1]
        counts = [
            sum(len(answers(words, Performer(head_style=style), np.random.default_rng(k))) for k in range(100))
            for style in (0.3, 1.8)
        ]
        assert counts[0] < 0.9 * counts[1]


def test_a_taught_listener_moves_its_head_at_what_is_said_and_its_hands_never():
    """Bad luck: the head goes down, tilts and shakes, where with other words at the same times it does not."""
    words, other = said(SAD), said("So last week I put my hat and then my old coat back as well.")
    moved = []
    for seed in range(12):
        performer = Performer.random(np.random.default_rng(seed))
        one, two = (
            listening(w, w[-1].end_s, Emotion(), performer, np.random.default_rng(seed)).motion for w in (words, other)
        )
        frames = min(len(one), len(two))
        head = [heads(motion)[:frames] for motion in (one, two)]
        moved.append(np.ptp(head[0][:, 2]) - np.ptp(head[1][:, 2]))
        for motion in (one, two):
            dots = np.abs(np.sum(motion.rotations[1:] * motion.rotations[:-1], axis=-1)).clip(0, 1)
            assert np.degrees(2 * np.arccos(dots)).max() < 5  # a frame: a quick nod has 3.5
            place, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
            chest, hands = motion.skeleton.index("upperChest"), motion.skeleton.indices(["leftHand", "rightHand"])
            for hand in hands:
                at = to_frame((place[:, chest], turned[:, chest]), place[:, hand])
                assert np.ptp(at, axis=0).max() < 0.05
    assert np.mean(moved) > 1.5


def test_a_listener_stays_until_its_last_answer_is_over():
    words = said("And then my dog died.")
    for seed in range(10):
        rng = np.random.default_rng(seed)
        motion = listening(words, words[-1].end_s, Emotion(), Performer(head_style=1.8), rng).motion
        turned = heads(motion)
        assert len(motion) / 30 >= words[-1].end_s + TAIL_S
        assert np.abs(turned[-1] - turned[0]).max() < 6


def test_a_feeling_without_words_for_it_is_answered():
    words = said("The doctors said that there was nothing more to be done.")
    rng = np.random.default_rng(0)
    assert not answers(words, Performer(head_style=1.8), rng)
    assert answers(words, Performer(head_style=1.8), rng, lambda _: "sadness")[0].kind == "concern"
    assert feeling_of("I am so happy for you two!") == "joy" and feeling_of("The lamp is on the table.") == "neutral"


def test_a_drill_is_full_of_what_calls_for_an_answer_and_all_of_it_is_answered():
    rng = np.random.default_rng(0)
    lines = [drilled("We went to the station by bus.", rng) for _ in range(60)]
    found = [reactions(line.split()) for line in lines]
    assert np.mean([len(one) for one in found]) > 1.5
    assert {one.kind for some in found for one in some} == {"nod", "surprise", "concern", "smile", "wince"}
    words = [Word("lost", 1.0, 1.3, 0.5, 1.1, 0, 0)]
    shy = Performer(head_style=-4.0)
    assert not any(answers(words, shy, rng) for _ in range(20))
    assert all(len(answers(words, shy, rng, eager=True)) == 1 for _ in range(20))

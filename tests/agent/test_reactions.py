"""What the partner's words call for in a listener."""

import numpy as np
import pytest

from visavis.agent.attending import ANSWERS_APART_S, Attending
from visavis.agent.listening import ListenerBody, ListenerSignal, ListenerStyle, signal_tracks
from visavis.agent.reactions import movements, reactions
from visavis.motion.face import ARKIT_NAMES, face_index


def called(text, feel=None):
    return [(one.word, one.kind, one.reason) for one in reactions(text.split(), feel)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("I lost my job.", [(1, "concern", "bad luck")]),
        ("Guess what? We won!", [(1, "surprise", "news"), (3, "smile", "joy")]),
        ("And then I cut my thumb.", [(4, "wince", "pain")]),
        ("It costs 3,500 euros, you know.", [(2, "nod", "figure"), (5, "nod", "understanding")]),
        ("We met Maria there.", [(2, "nod", "name")]),
        ("How do you mean that?", [(4, "tilt", "question")]),
        ("One ticket or two?", [(3, "tilt", "question")]),
        ("You know that he failed?", [(4, "concern", "bad luck")]),
        ("It is the right wing.", []),  # no "right?"
        ("Nobody died.", []),
        ("It has not hurt. It hurts now.", [(5, "wince", "pain")]),
        ("The lamp stands there.", []),
        ("", []),
    ],
)
def test_words_call_for_answers(text, what):
    assert called(text) == what


def test_a_sentence_is_felt_where_none_of_its_words_was():
    asked = []

    def feel(sentence):
        asked.append(sentence)
        return "sadness" if "bus" in sentence else "neutral"

    text = "My bus has left. The lamp stands there. We won!"
    assert called(text, feel) == [(3, "concern", "sadness"), (9, "smile", "joy")]
    assert asked == ["My bus has left.", "The lamp stands there."]


def test_what_a_word_calls_for_depends_on_nothing_that_comes_later():
    text = "Guess what, I broke my leg in Spain, you know. But nobody died, right? Three nurses laughed.".split()
    whole = reactions(text)
    for count in range(len(text)):
        assert reactions(text[:count]) == [one for one in whole if one.word < count]


def test_every_movement_is_small_smooth_and_comes_back():
    times = np.arange(-15, 75) / 30
    for kind in movements():
        for side in (1.0, -1.0):
            signal = ListenerSignal(kind, 0.0, 1.3, side=side)
            tracks = signal_tracks([signal], times)
            assert np.abs(tracks.head).max() <= np.radians(11) and np.abs(tracks.spine).max() <= np.radians(4), kind
            assert np.degrees(np.abs(np.diff(tracks.head, axis=0))).max() < 1.5, kind  # a frame
            assert np.abs(np.diff(tracks.face, axis=0)).max() < 0.1, kind
            still = (times <= 0) | (times >= signal.length_s)
            assert np.abs(tracks.head[still]).max() < 1e-5 and np.abs(tracks.face[still]).max() < 1e-5, kind
        left, right = (signal_tracks([ListenerSignal(kind, 0.0, side=s)], times).head for s in (1.0, -1.0))
        np.testing.assert_allclose(left * [1, -1, -1], right, atol=1e-6)


def test_both_sides_of_the_face_move():
    face = signal_tracks([ListenerSignal("smile", 0.0)], np.array([0.7])).face[0]
    assert face[face_index("mouthSmileLeft")] == face[face_index("mouthSmileRight")] > 0.2
    assert face.shape == (len(ARKIT_NAMES),)


def test_an_answer_is_never_made_with_another_movement_of_the_head():
    body = ListenerBody()
    body.add(ListenerSignal("nod", 1.0, count=2))
    assert body.busy("concern", 1.5) and body.busy("nod", 1.5) and not body.busy("tilt", 1.5)
    assert not body.busy("concern", 2.1)
    body.add(ListenerSignal("concern", 2.1))
    assert body.busy("nod", 3.0) and body.busy("smile", 3.0) and not body.busy("nod", 4.0)


class TestAttending:
    def attending(self) -> Attending:
        return Attending(style=ListenerStyle(answers=1.0))

    def kinds(self, attention) -> list[str]:
        return [signal.kind for signal in attention.signals]

    def test_typed_words_are_answered_once_when_they_are_whole(self):
        attending, text, seen = self.attending(), "My dog died and so on", []
        for count in range(1, len(text) + 1):
            seen += [(count, kind) for kind in self.kinds(attending.typed(text[:count], 0.1 * count))]
        assert seen == [(len("My dog died "), "concern")]

    def test_what_was_taken_back_is_answered_again(self):
        attending = self.attending()
        assert self.kinds(attending.typed("It hurts ", 1.0)) == ["wince"]
        assert self.kinds(attending.typed("It ", 2.0)) == []
        assert self.kinds(attending.typed("It hurts ", 2.1)) == [], "too soon"
        attending.typed("It ", 2.2)
        assert self.kinds(attending.typed("It hurts ", 2.0 + ANSWERS_APART_S)) == ["wince"]

    def test_recognised_words_are_answered_but_for_the_last_which_may_change(self):
        attending = self.attending()
        assert self.kinds(attending.understood("We won", 1.0)) == []
        assert self.kinds(attending.understood("We won the", 1.2)) == ["smile"]
        assert self.kinds(attending.understood("We won the cup", 1.4)) == []

    def test_a_whole_line_shows_what_it_feels_like_while_we_think(self):
        attending = self.attending()
        assert self.kinds(attending.told("My dog died in May.", 1.0)) == ["concern"]
        assert self.kinds(attending.told("Who are you?", 9.0)) == [], "the answer itself comes"
        assert self.kinds(attending.told("My dog died in May.", 19.0)) == ["concern"], "another line"

    def test_a_listener_may_be_told_to_answer_nothing(self):
        attending = Attending(style=ListenerStyle(answers=0.0))
        assert not any(self.kinds(attending.told("My dog died.", 5.0 * k)) for k in range(20))

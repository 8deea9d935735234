from pathlib import Path

import numpy as np
import pytest

from visavis.errors import LexiconError
from visavis.retrieval.hand_shapes import effector, finger_tips, hand_shape, pinch, pinch_gap_m, shape_names
from visavis.retrieval.lexicon import load_lexicon, read_gesture

FORTY = """
greeting wave, goodbye wave, shrug, thumbs up, thumbs down, point at you, point at self, point away, huge size,
tiny size, stop, counting, pleading, clapping, nod, head shake, facepalm, thinking, crossed arms, bow, salute, hush,
come here, telephone, drink, sleep, fist pump, hand on heart, check the watch, shiver, cover ears, idea,
weighing options,
go away, ok sign, crossed fingers, quotation marks, from here to there, everything, step by step
"""

SMALL = """
gloss: tap
kind: emblem
meaning: taps on something
examples: ["A *tap*.", "Two *taps*.", "*Tap* it."]
hands: right
emotion: {neutral: 1.0}
phases: {ready: 0.3, stroke_start: 0.3, stroke: 0.5, stroke_end: 0.8, relax: 0.8, end: 1.2}
arms:
  main:
    - {at: ready, wrist: [0.4, 0.0, 0.5], palm: down, fingers: forward, shape: flat}
"""


def test_the_forty_are_there() -> None:
    lexicon = load_lexicon()
    assert {" ".join(gloss.split()) for gloss in FORTY.split(",")} <= set(lexicon)


def test_every_gesture_says_what_it_means() -> None:
    for gesture in load_lexicon().values():
        assert len(gesture.meaning.split()) >= 4
        assert len(gesture.examples) >= 3
        assert gesture.emotion


def test_unknown_gloss_names_what_there_is() -> None:
    with pytest.raises(LexiconError, match="thumbs up"):
        load_lexicon()["moonwalk"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("A *tap*.", "A tap.", "two stars"),
        ("shape: flat", "shape: octopus", "shape must be one of"),
        ("neutral: 1.0", "bliss: 1.0", "emotion maps"),
        ("stroke: 0.5", "stroke: 0.2", "must not decrease"),
        ("hands: right", "hands: none", "does not fit"),
        ("at: ready", "at: stroke", "begins with a key at 'ready'"),
        ("kind: emblem", "kind: dance", "kind"),
        ("gloss: tap", "gloss: [", "expected YAML"),
        ("gloss: tap", "gloss: " + "[" * 100_000, "expected at most 100 levels"),
    ],
)
def test_a_broken_gesture_is_refused_in_one_clear_line(old: str, new: str, message: str) -> None:
    assert read_gesture(SMALL, "tap.yaml").gloss == "tap"
    with pytest.raises(LexiconError, match=message) as caught:
        read_gesture(SMALL.replace(old, new), "tap.yaml")
    assert str(caught.value).startswith("tap.yaml")


def test_a_file_is_named_after_its_gloss(tmp_path: Path) -> None:
    (tmp_path / "knock.yaml").write_text(SMALL)
    with pytest.raises(LexiconError, match="rename"):
        load_lexicon(str(tmp_path))


def test_hand_shapes_are_what_their_names_say() -> None:
    straight = {name: np.abs(hand_shape(name)[3:].reshape(4, 3, 3)[:, :, 2]).sum(axis=1) for name in shape_names()}
    bent = {name: int((angles > 1.5).sum()) for name, angles in straight.items()}
    assert [bent[n] for n in ("fist", "point", "two", "three", "four", "five")] == [4, 3, 2, 1, 0, 0]
    assert pinch_gap_m(hand_shape("ok")) < 0.016
    thumb = finger_tips(hand_shape("thumb_up"))["Thumb"]
    assert thumb[2] > 0.1  # away from the fist, which lies along X
    assert effector("palm", "flat")[1] < 0 < effector("back", "flat")[1]


def test_pinch_meets_the_asked_gap() -> None:
    for gap in (0.012, 0.03, 0.06, 0.09):
        assert pinch_gap_m(pinch(gap)) == pytest.approx(gap, abs=5e-4)


def test_unknown_shape_and_effector_are_refused() -> None:
    with pytest.raises(LexiconError, match="hand shape must be one of"):
        hand_shape("tentacle")
    with pytest.raises(LexiconError, match="effector must be one of"):
        effector("elbow", "flat")

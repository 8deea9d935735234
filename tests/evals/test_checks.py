from dataclasses import replace

import numpy as np

from visavis.evals.checks import check_turn, offsets_s
from visavis.evals.dialog import Expect
from visavis.evals.strokes import apexes, stress_of_word, stressed_onsets
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.motion import Motion

FULL = {
    "text": {"equals": "A really huge fish.", "contains": "HUGE", "any": ["fish", "bird"], "absent": "bird"},
    "emotion": "joy",
    "gestures": [{"gloss": "huge size", "near": "fish", "words": 1}],
    "timing": {"median_offset_ms": 150},
    "motion": "continuous",
    "within_ms": 1000,
}


def passed(turn, motion, expect, elapsed_ms=5.0):
    return {check.name: check.passed for check in check_turn(turn, motion, Expect.model_validate(expect), elapsed_ms)}


def test_a_good_turn_passes_on_its_exported_file(huge_turn, tmp_path):
    write_bvh(huge_turn.motion, tmp_path / "m.bvh")
    found = passed(huge_turn, read_bvh(tmp_path / "m.bvh"), FULL)
    assert len(found) == 9 and all(found.values()), found


def test_every_check_can_fail(huge_turn):
    wrong = {
        "text": {"equals": "No.", "contains": "bird", "any": "bird", "absent": "huge"},
        "emotion": "anger",
        "gestures": [
            {"gloss": "tiny size"},
            {"gloss": "huge size", "near": "a", "words": 1},
            {"gloss": "huge size", "near": "huge", "stroke_within_s": 0.0001},
        ],
        "timing": {"median_offset_ms": 0.01},
        "within_ms": 1,
    }
    checks = check_turn(huge_turn, huge_turn.motion, Expect.model_validate(wrong), 5.0)
    assert len(checks) == 10 and not any(check.passed for check in checks)


def test_a_stroke_that_the_motion_does_not_hold_is_missed(huge_turn):
    still = Motion(np.repeat(huge_turn.motion.rotations[:1], 120, 0), huge_turn.motion.root_m)
    found = passed(huge_turn, still, {"gestures": [{"gloss": "huge size"}], "timing": {}, "motion": "continuous"})
    assert list(found.values()) == [False, False, True]


def test_a_jump_is_not_continuous(huge_turn):
    turned = huge_turn.motion.rotations.copy()
    arm = huge_turn.motion.skeleton.index("leftUpperArm")
    turned[60:, arm] = turned[60:, arm][:, [3, 0, 1, 2]]
    jumping = replace(huge_turn.motion, rotations=turned)
    assert passed(huge_turn, jumping, {"motion": "continuous"}) == {"motion: continuous": False}


def test_stress_is_read_from_the_phonemes(huge_turn):
    assert stress_of_word(huge_turn.speech, 2) == 2.2
    assert stressed_onsets(huge_turn.speech) == [1.2, 1.7, 2.2, 2.7]
    silent = replace(huge_turn.speech, phonemes=())
    assert stress_of_word(silent, 2) == 2.0


def test_offsets_follow_the_motion(huge_turn):
    (offset,) = offsets_s(huge_turn, huge_turn.motion).values()
    assert abs(offset) < 0.1
    late = replace(
        huge_turn.motion,
        rotations=np.concatenate([huge_turn.motion.rotations[:1]] * 2 + [huge_turn.motion.rotations[:-2]]),
    )
    (later,) = offsets_s(huge_turn, late).values()
    assert abs(later - offset - 2 / 30) < 0.02
    assert len(apexes(huge_turn.motion, "left")) <= len(apexes(huge_turn.motion))

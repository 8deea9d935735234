import time
from functools import cache

import numpy as np
import pytest

from visavis.errors import LexiconError
from visavis.metrics.strokes import detect_strokes
from visavis.motion import rotations as rot
from visavis.motion.collision import penetration_m
from visavis.motion.constraints import residuals, solve
from visavis.motion.idle import relaxed_pose
from visavis.motion.kinematics import chest_frame, forward, positions, tips, to_frame
from visavis.motion.limits import excess
from visavis.motion.phases import Phases
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performance, Performer, perform, retime
from visavis.retrieval.trajectory import APEX_AT, min_jerk

LEXICON = load_lexicon()
SOMEBODY = Performer.random(np.random.default_rng(7))


@cache
def wrist(made: Performance, side: str) -> np.ndarray:
    m = made.motion
    return to_frame(chest_frame(m), positions(m)[:, m.skeleton.index(f"{side}Hand")])


def sides(made: Performance) -> list[str]:
    return ["left", "right"] if made.hand == "both" else [made.hand] if made.hand != "none" else []


@pytest.fixture(scope="module", params=["neutral", "somebody"])
def made(request: pytest.FixtureRequest) -> list[Performance]:
    performer = Performer.neutral() if request.param == "neutral" else SOMEBODY
    return [perform(gesture, performer) for gesture in LEXICON.values()]


def test_every_gesture_leaves_from_home_and_returns(made: list[Performance]) -> None:
    pose = relaxed_pose()
    for p in made:
        for frame in (0, -1):
            assert rot.angle_between(p.motion.rotations[frame], pose).max() < 0.01, p.gloss
        assert np.abs(np.linalg.norm(p.motion.rotations, axis=-1) - 1).max() < 1e-4
        assert len(p.motion) == pytest.approx(p.phases.end_s * 30 + 1, abs=1.01)


def test_no_wrist_is_faster_than_people_gesture(made: list[Performance]) -> None:
    for p in made:
        for side in sides(p):
            assert np.linalg.norm(np.diff(wrist(p, side), axis=0), axis=1).max() * 30 <= 4.0, p.gloss


def test_the_fast_movement_ends_at_the_stroke(made: list[Performance]) -> None:
    for p in made:
        if p.hand == "none":
            continue
        apexes = [s.apex_s for side in sides(p) for s in detect_strokes(wrist(p, side))]
        # the detector smooths by a frame, so it sees the end half a frame to a frame late
        assert min(abs(a - p.phases.stroke_s) for a in apexes) < 0.05, p.gloss


def test_joints_stay_inside_their_limits(made: list[Performance]) -> None:
    for p in made:
        assert np.degrees(excess(p.motion.rotations)).max() < 4.0, p.gloss


def test_no_hand_goes_through_the_body(made: list[Performance]) -> None:
    for p in made:
        assert penetration_m(p.motion).max() < 0.025, p.gloss


def test_only_the_named_bones_move_much(made: list[Performance]) -> None:
    for p in made:
        moved = rot.angle_between(p.motion.rotations, p.motion.rotations[:1]).max(axis=0)
        others = [i for i, name in enumerate(p.motion.skeleton.names) if name not in p.bones]
        legs = [i for i in others if "Leg" in p.motion.skeleton.names[i]]
        calm = [i for i in others if i not in legs]
        assert np.degrees(moved[calm]).max() < 9.0, p.gloss


def test_a_left_hander_mirrors_one_handed_gestures() -> None:
    for gloss in ("stop", "thumbs up", "facepalm"):
        one = perform(LEXICON[gloss], Performer(head_style=0.0))
        other = perform(LEXICON[gloss], Performer(head_style=0.0, handedness="left"))
        assert (one.hand, other.hand) == ("right", "left")
        assert np.abs(wrist(one, "right") * (-1, 1, 1) - wrist(other, "left")).max() < 0.012
        assert perform(LEXICON[gloss], Performer(handedness="left"), hand="right").hand == "right"


def test_two_hands_are_nearly_but_not_quite_mirrors() -> None:
    p = perform(LEXICON["shrug"])
    frame = round(p.phases.stroke_end_s * 30)
    apart = wrist(p, "left")[frame] * (-1, 1, 1) - wrist(p, "right")[frame]
    assert 1e-4 < np.linalg.norm(apart) < 0.05


@pytest.mark.parametrize("size_m", [0.4, 0.7, 1.0])
def test_huge_is_as_large_as_asked(size_m: float) -> None:
    p = perform(LEXICON["huge size"], SOMEBODY, {"size_m": size_m})
    fixed = solve(p.motion, p.constraints)
    frame = round(p.phases.stroke_end_s * 30)
    places, turned = forward(fixed.rotations, fixed.root_m, fixed.skeleton)
    palms = []
    for side, sign in (("left", 1), ("right", -1)):
        i = fixed.skeleton.index(f"{side}Hand")
        palms.append(places[frame, i] + rot.rotate(turned[frame, i], np.array([0.065 * sign, -0.018, 0])))
    assert np.linalg.norm(palms[0] - palms[1]) == pytest.approx(size_m, abs=0.005)
    assert max(distance for distance, _ in residuals(p.motion, p.constraints)) < 0.02


def test_tiny_is_as_small_as_asked() -> None:
    for size_m in (0.015, 0.05):
        p = perform(LEXICON["tiny size"], None, {"size_m": size_m})
        ends = tips(p.motion)
        gap = np.linalg.norm(ends["rightThumbDistal"] - ends["rightIndexDistal"], axis=1)
        assert gap[round(p.phases.stroke_end_s * 30)] == pytest.approx(size_m, abs=0.002)


@pytest.mark.parametrize(
    ("direction", "hand"), [("left", "left"), ("right", "right"), ("up", "right"), ("0 -0.3 1", "right")]
)
def test_pointing_goes_where_it_is_told(direction: str, hand: str) -> None:
    p = perform(LEXICON["point away"], SOMEBODY, {"direction": direction})
    assert p.hand == hand
    assert np.degrees(residuals(p.motion, p.constraints)[0][1]) < 8.0
    assert np.degrees(residuals(solve(p.motion, p.constraints), p.constraints)[0][1]) < 0.5


def test_pointing_at_a_target_uses_the_near_hand() -> None:
    p = perform(LEXICON["point away"], None, {"target": (1.5, 0.6, 1.0)})
    assert p.hand == "left"
    assert np.degrees(residuals(p.motion, p.constraints)[0][1]) < 8.0


def test_counting_shows_as_many_fingers() -> None:
    for count in (1, 3, 5):
        p = perform(LEXICON["counting"], None, {"count": count})
        places = positions(p.motion)[round(p.phases.stroke_end_s * 30)]
        index = p.motion.skeleton.index
        hand, ends = places[index("rightHand")], tips(p.motion)
        far = 0
        for finger in ("Index", "Middle", "Ring", "Little"):
            tip = ends[f"right{finger}Distal"][round(p.phases.stroke_end_s * 30)]
            far += np.linalg.norm(tip - hand) > 1.35 * np.linalg.norm(places[index(f"right{finger}Proximal")] - hand)
        assert far == min(count, 4)
        assert p.params["count"] == count


def test_repeats_lengthen_the_stroke() -> None:
    few, many = (perform(LEXICON["clapping"], None, {"repetitions": n}) for n in (2, 6))
    assert few.phases.stroke_s == pytest.approx(many.phases.stroke_s)
    assert many.phases.end_s - few.phases.end_s == pytest.approx(4 * 0.36, abs=0.02)


def test_parameters_are_clipped_or_refused() -> None:
    assert perform(LEXICON["huge size"], None, {"size_m": 30}).params["size_m"] == 1.25
    for params, message in (
        ({"size_m": "big"}, "must be a number"),
        ({"colour": 1}, "has the parameters size_m"),
        ({"size_m": float("nan")}, "finite"),
    ):
        with pytest.raises(LexiconError, match=message):
            perform(LEXICON["huge size"], None, params)
    with pytest.raises(LexiconError, match="three numbers"):
        perform(LEXICON["point away"], None, {"direction": "sideways"})
    with pytest.raises(LexiconError, match="must be one of left, right"):
        perform(LEXICON["stop"], None, {"hand": "third"})


def test_tempo_and_amplitude_act() -> None:
    slow, fast = (perform(LEXICON["stop"], Performer(tempo=t)) for t in (0.8, 1.25))
    assert slow.phases.end_s > 1.4 * fast.phases.end_s
    small, large = (perform(LEXICON["greeting wave"], Performer(amplitude=a)) for a in (0.7, 1.3))
    assert np.ptp(wrist(large, "right")[:, 1]) > 1.1 * np.ptp(wrist(small, "right")[:, 1])


def test_the_same_performer_repeats_itself() -> None:
    a, b = (perform(LEXICON["shrug"], SOMEBODY) for _ in range(2))
    assert np.array_equal(a.motion.rotations, b.motion.rotations)


def test_retime_puts_the_sync_points_where_asked() -> None:
    p = perform(LEXICON["stop"])
    wanted = Phases(1.013, 1.35, 1.40, 1.533, 2.4, 2.5, 3.2)
    q = retime(p, wanted)
    assert q.phases == wanted
    assert len(q.motion) == int(np.ceil((3.2 - 1.013) * 30)) + 1
    apexes = [s.apex_s + 1.013 for s in detect_strokes(wrist(q, "right"))]
    assert min(abs(a - 1.533) for a in apexes) < 0.05
    pose = relaxed_pose()
    assert rot.angle_between(q.motion.rotations[-1], pose).max() < 0.03
    same = retime(p, p.phases)
    assert rot.angle_between(same.motion.rotations, p.motion.rotations).max() < 0.02


def test_retime_moves_constraints_along() -> None:
    p = perform(LEXICON["point away"])
    q = retime(p, p.phases.shifted(2.0))
    assert q.constraints[0].from_s == pytest.approx(p.phases.stroke_s + 2.0, abs=1e-3)
    with pytest.raises(ValueError, match="two frames"):
        retime(p, Phases(0, 0, 0, 0, 0, 0, 0.01))


def test_min_jerk_slows_to_a_quarter_at_the_apex() -> None:
    u = np.linspace(0, 1, 2001)
    speed = np.gradient(min_jerk(u), u)
    assert np.interp(APEX_AT, u, speed) == pytest.approx(speed.max() / 4, rel=0.01)


def test_it_is_fast_enough_to_be_called_thousands_of_times() -> None:
    perform(LEXICON["stop"])
    spent = []
    for _ in range(7):
        begin = time.process_time()
        perform(LEXICON["stop"])
        spent.append(time.process_time() - begin)
    assert min(spent) < 0.03  # 15 ms on a quiet machine

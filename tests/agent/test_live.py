"""The live body without models: clauses of made-up sound and motion, and a clock that the test turns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.agent.attending import Attention
from visavis.agent.events import Backchannel, FaceDelta, MotionDelta, ResponseDone, SpeechDelta, TextDelta
from visavis.agent.listening import ListenerSignal
from visavis.agent.live import AHEAD_S, COMPUTED_S, LiveBody
from visavis.agent.playout import Playout
from visavis.motion.blend import fade_curve
from visavis.motion.face import face_index
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.rotations import multiply

RATE = 16_000


class Client:
    """Plays what it is sent, by the rule of the clock: later pieces replace earlier ones from their beginning on."""

    def __init__(self):
        self.events, self.frames, self.sound = [], {}, {}

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, MotionDelta):
            first = round(event.clock_s * 30)
            self.frames = {k: v for k, v in self.frames.items() if k < first}
            self.frames |= {first + k: (r, event.root_m[k]) for k, r in enumerate(event.rotations)}
        if isinstance(event, SpeechDelta):
            first = round(event.clock_s * RATE)
            self.sound |= dict(zip(range(first, first + len(event.pcm)), event.pcm.tolist(), strict=True))

    def motion(self) -> Motion:
        frames = sorted(self.frames)
        assert frames == list(range(frames[0], frames[-1] + 1)), "the body has a gap"
        return Motion(np.stack([self.frames[k][0] for k in frames]), np.stack([self.frames[k][1] for k in frames]))


def clause(live, now, start_s, length_s=2.0, turn="t", raised=0.0, split=False):
    """Add a clause whose body idles, with an arm raised by an angle in the first second of the turn."""
    frames = round(length_s * 30)
    motion = idle(frames, 9, 50 + start_s)
    arm = motion.skeleton.index("leftUpperArm")
    angle = raised * fade_curve(start_s + np.arange(frames) / 30) / 2
    lift = np.stack([0 * angle, 0 * angle, np.sin(angle), np.cos(angle)], axis=-1)
    motion.rotations[:, arm] = multiply(motion.rotations[:, arm], lift)
    words = [
        {"text": f"w{k}", "start_s": start_s + 0.4 * k + 0.05, "end_s": start_s + 0.4 * k + 0.35, "stress": 0.0}
        for k in range(int(length_s / 0.4))
    ]
    stamp = {"turn_id": turn, "session_id": "s"}
    live.add(TextDelta(text=" ".join(w["text"] for w in words), **stamp), now)
    pcm = (1000 * (start_s + 1) + np.arange(round(length_s * RATE)) % 500).astype(np.int16)
    live.add(SpeechDelta(pcm=pcm, sample_rate_hz=RATE, start_s=start_s, words=words, **stamp), now)
    for a, b in ((0, 15), (15, frames)) if split else ((0, frames),):
        piece = motion.slice(a, b)
        live.add(FaceDelta(weights=np.zeros((b - a, 52), np.float32), start_s=start_s + a / 30, **stamp), now)
        live.add(MotionDelta(rotations=piece.rotations, root_m=piece.root_m, start_s=start_s + a / 30, **stamp), now)
    return pcm


def started(turn="t"):
    client = Client()
    live = LiveBody(3, client, 100.0)
    live.tick(100.0, True)
    playout = Playout(turn)
    live.begin(playout)
    return client, live, playout


def run(live, playouts, start, end, step=0.1, body=True):
    now = start
    while now < end:
        now += step
        for playout in playouts:
            if playout.over_at is None and playout.all_played(now):
                playout.end(now)
                live.end(playout, now)
        live.tick(now, body)
    return now


def steps_m(motion):
    p = positions(motion)[:, [motion.skeleton.index(n) for n in ("leftHand", "rightHand")]]
    return np.linalg.norm(np.diff(p, axis=0), axis=-1).max(axis=1)


@pytest.mark.parametrize("reports", [False, True])
def test_the_clock_runs_on_from_the_end_of_a_turn_however_late_that_is_seen(reports):
    _, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    clause(live, now, 0.0)
    playout.complete = True
    live.add(ResponseDone(turn={}, turn_id="t"), now)
    now = run(live, [playout], now, now + 1.95)
    if reports:
        playout.report(playout.played_s(now), now)
    before, late = live.frame(now), now + 0.8  # a machine in trouble: no tick for so long
    playout.end(late)
    live.end(playout, late)
    assert live.frame(late) == pytest.approx(before + 0.8 * 30, abs=0.1)


@pytest.mark.parametrize("split", [False, True])
def test_a_turn_between_idling_has_no_gap_and_no_jump(split):
    client, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    sound = np.concatenate([clause(live, now, 0.0, raised=1.0, split=split), clause(live, now, 2.0, raised=1.0)])
    playout.complete = True
    live.add(ResponseDone(turn={}, turn_id="t"), now)
    run(live, [playout], now, 108.0)
    motion = client.motion()
    assert len(motion) >= 8 * 30
    assert steps_m(motion).max() < 0.1
    heard = np.array([client.sound[k] for k in sorted(client.sound)])
    np.testing.assert_array_equal(heard, sound)  # every sample once, in its place
    assert sorted(client.sound) == list(range(min(client.sound), max(client.sound) + 1))
    assert live.underruns == 0 and playout.over_at is not None


def test_sound_and_motion_are_on_one_clock():
    client, live, playout = started()
    clause(live, 100.0, 0.0)
    playout.complete = True
    run(live, [playout], 100.0, 103.0)
    sound = [e for e in client.events if isinstance(e, SpeechDelta)]
    motion = [e for e in client.events if isinstance(e, MotionDelta) and e.turn_id]
    offsets = [e.clock_s - e.start_s for e in (*sound, *motion)]
    assert np.ptp(offsets) < 1e-6
    for event in sound:
        assert all(event.start_s - 1e-6 <= w["start_s"] < event.start_s + 0.4 for w in event.words)
    assert [w["text"] for e in sound for w in e.words] == [f"w{k}" for k in range(5)]


def test_little_is_sent_ahead_and_the_maker_is_told_to_wait():
    client, live, playout = started()
    for k in range(8):
        clause(live, 100.0, 2.0 * k)
    sent = sum(len(e.pcm) for e in client.events if isinstance(e, SpeechDelta)) / RATE
    assert sent <= AHEAD_S + 0.5 and live.computed_s > COMPUTED_S
    run(live, [playout], 100.0, 105.0)
    sent = sum(len(e.pcm) for e in client.events if isinstance(e, SpeechDelta)) / RATE
    assert 5.0 <= sent <= 5.0 + AHEAD_S + 0.5 and live.computed_s < COMPUTED_S


def test_a_client_that_stalls_gets_no_more():
    client, live, playout = started()
    for k in range(4):
        clause(live, 100.0, 2.0 * k)
    now = 100.0
    for _ in range(40):
        now += 0.1
        playout.report(min(now - 100.1, 1.0), now)
        live.tick(now, True)
    sent = sum(len(e.pcm) for e in client.events if isinstance(e, SpeechDelta)) / RATE
    assert sent <= 1.0 + AHEAD_S + 0.5
    assert live.frame(now) == pytest.approx(live.frame(now + 5.0), abs=0.3 * 30)


@pytest.mark.parametrize("played_s", [0.4, 1.1, 1.5])
def test_an_interruption_begins_at_the_pose_that_is_displayed(played_s):
    client, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    clause(live, now, 0.0, 4.0, raised=1.2)
    begin = live._begins
    now += 3.0  # a client that lags: it has played less than time has passed
    playout.report(played_s, now)
    live.tick(now, True)
    displayed = begin + int(played_s * 30)
    before = {k: v for k, v in client.frames.items() if k < displayed}
    playout.cut(now, played_s)
    live.cut(now)
    assert live.frame(now) == pytest.approx(displayed, abs=1.0)
    for k, shown in before.items():
        np.testing.assert_array_equal(client.frames[k][0], shown[0])  # what was displayed stays
    end = run(live, [], now, now + 3.0)
    motion = client.motion()
    assert steps_m(motion).max() < 0.1
    arm = motion.skeleton.index("leftUpperArm")
    at_rest = idle(1, 3, live.frame(end) / 30).rotations[0, arm]
    assert abs(np.dot(motion.rotations[-1, arm], at_rest)) > 0.999  # it has come to rest


def test_a_clause_that_comes_too_late_moves_the_turn_and_the_body_goes_on():
    client, live, playout = started()
    clause(live, 100.0, 0.0)
    now = run(live, [playout], 100.0, 105.0)
    clause(live, now, 2.0)
    playout.complete = True
    run(live, [playout], now, 109.0)
    assert live.underruns == 1
    assert steps_m(client.motion()).max() < 0.1
    offsets = {round(e.clock_s - e.start_s, 3) for e in client.events if isinstance(e, SpeechDelta)}
    assert len(offsets) == 2 and max(offsets) - min(offsets) > 2.0


def test_turns_follow_each_other():
    client, live, playout = started("a")
    second = Playout("b")
    live.begin(second)
    clause(live, 100.0, 0.0, turn="a")
    playout.complete = True
    clause(live, 100.1, 0.0, turn="b")
    second.complete = True
    assert second.began_at is None
    run(live, [playout, second], 100.1, 106.0)
    spoken = [e.turn_id for e in client.events if isinstance(e, SpeechDelta)]
    assert spoken == sorted(spoken) and set(spoken) == {"a", "b"}
    assert second.over_at is not None
    client.motion()


def test_after_a_long_silence_of_the_beat_the_past_is_not_made_up_for():
    client, live, _ = started()
    live.tick(400.0, True)
    motions = [e for e in client.events if isinstance(e, MotionDelta)]
    assert len(motions) == 2 and motions[-1].clock_s >= 299.0


@pytest.mark.parametrize("frames", range(30, 90, 4))
def test_sound_that_is_longer_than_its_motion_by_less_than_a_sample_ends(frames):
    client, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    start_s = 0.0371 + frames * 1e-6  # samples lie between the frames
    motion = idle(frames, 9, 50.0)
    stamp = {"turn_id": "t", "session_id": "s"}
    pcm = np.ones(round(frames / 30 * RATE) + 500, np.int16)
    live.add(SpeechDelta(pcm=pcm, sample_rate_hz=RATE, start_s=start_s, words=[], **stamp), now)
    live.add(FaceDelta(weights=np.zeros((frames, 52), np.float32), start_s=0.0, **stamp), now)
    live.add(MotionDelta(rotations=motion.rotations, root_m=motion.root_m, start_s=0.0, **stamp), now)
    now = run(live, [playout], now, now + 1)
    playout.complete, playout.sent_s = True, start_s + len(pcm) / RATE
    live.add(ResponseDone(turn={}, turn_id="t"), now)
    run(live, [playout], now, now + 4)
    assert len(client.sound) == len(pcm)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 3.0), st.floats(0.0, 0.9), st.integers(1, 89), st.lists(st.floats(0.01, 0.7), max_size=12))
def test_every_sample_and_frame_comes_once_whatever_the_lengths(length_s, start_s, cut, waits):
    client, live, playout = started()
    frames = round(length_s * 30) + 3
    motion, now = idle(frames, 9, 50.0), 100.0
    pcm = np.arange(round(length_s * 22_050)).astype(np.int16)
    stamp = {"turn_id": "t", "session_id": "s"}
    live.add(SpeechDelta(pcm=pcm, sample_rate_hz=22_050, start_s=start_s, **stamp), now)
    cut = min(cut, frames - 1)
    for a, b in ((0, cut), (cut, frames)):
        piece = motion.slice(a, b)
        live.add(FaceDelta(weights=np.zeros((b - a, 52), np.float32), start_s=a / 30, **stamp), now)
        live.add(MotionDelta(rotations=piece.rotations, root_m=piece.root_m, start_s=a / 30, **stamp), now)
        for wait in waits:
            now += wait
            live.tick(now, False)
    playout.complete, playout.sent_s = True, max(playout.sent_s, frames / 30, start_s + length_s)
    live.add(ResponseDone(turn={}, **stamp), now)
    run(live, [playout], now, now + 8.0, body=False)
    sound = [e for e in client.events if isinstance(e, SpeechDelta)]
    np.testing.assert_array_equal(np.concatenate([e.pcm for e in sound]), pcm)
    assert sum(len(e.rotations) for e in client.events if isinstance(e, MotionDelta) and e.turn_id) == frames


# --- listening -----------------------------------------------------------------------------------------------------

SMILE = face_index("mouthSmileLeft")
NOD = Attention(3.0, (ListenerSignal("nod", 0.0, 1.0, 2),))


def nods(motion):
    """(T,) radians that the head is turned down."""
    return 2 * motion.rotations[:, motion.skeleton.index("head"), 0]


@pytest.mark.parametrize("late_s", [0.0, 0.3, 0.45])
def test_a_nod_is_shown_where_its_event_says_and_without_a_step(late_s):
    """The same seconds with and without it: equal until then, another head after, and no gap or jump at all."""
    shown = {}
    for what in (None, NOD):
        client, live, _ = started()
        now = run(live, [], 100.0, 103.0 + late_s)
        if what is not None:
            live.listen(what, now)
            told = [e for e in client.events if isinstance(e, Backchannel)]
            assert [(e.kind, e.by) for e in told] == [("nod", "agent")]
            assert told[0].clock_s == pytest.approx(live.clock_s(now) + 0.1, abs=0.04)
        run(live, [], now, now + 6.0)
        shown[what] = client.motion()
    first = round(told[0].clock_s * 30)
    plain, nodding = shown[None], shown[NOD]
    np.testing.assert_allclose(nodding.rotations[:first], plain.rotations[:first], atol=1e-6)
    lowered = nods(nodding)[: len(plain)] - nods(plain)
    assert lowered[first : first + 30].max() > np.radians(2)
    idles_again = slice(first + 150, first + 170)  # attention and nod are over
    np.testing.assert_allclose(nodding.rotations[idles_again], plain.rotations[idles_again], atol=1e-4)
    assert np.abs(np.diff(nods(nodding), n=2)).max() < np.radians(2.5)


def test_attention_that_goes_on_is_not_sent_again():
    client, live, _ = started()
    now = run(live, [], 100.0, 101.0)
    live.listen(Attention(3.0), now)
    before = len(client.events)
    for _ in range(30):
        live.tick(now, True)
        live.listen(Attention(3.0), now)
        now += 0.1
    again = [e for e in client.events[before:] if isinstance(e, MotionDelta)]
    assert len(again) <= 4  # a second each, as when nothing happens
    smile = [e.weights[-1, SMILE] for e in client.events if isinstance(e, FaceDelta)]
    assert smile[-1] > smile[0] + 0.05
    live.listen(Attention(0.0), now)
    run(live, [], now, now + 2.0)
    assert client.events[-2].weights[-1, SMILE] < smile[-1] - 0.05


def test_while_a_turn_plays_nothing_is_nodded_and_at_its_end_all_is_smooth():
    client, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    clause(live, now, 0.0, raised=1.0)
    clause(live, now, 2.0, raised=1.0)
    playout.complete = True
    now = run(live, [playout], now, 103.0)
    live.listen(NOD, now)
    assert not [e for e in client.events if isinstance(e, Backchannel)]
    now = run(live, [playout], now, 104.8)  # what follows its end was sent, and it still plays
    assert playout.over_at is None and live.timeline.end > live._begins + 4 * 30
    live.listen(NOD, now)
    told = [e for e in client.events if isinstance(e, Backchannel)]
    assert told and told[0].clock_s >= (live._begins + 4 * 30) / 30 - 1e-6
    run(live, [playout], now, 108.0)
    assert steps_m(client.motion()).max() < 0.1


def test_two_nods_are_not_laid_over_each_other():
    client, live, _ = started()
    now = run(live, [], 100.0, 101.0)
    for _ in range(5):
        live.listen(NOD, now)
    assert len([e for e in client.events if isinstance(e, Backchannel)]) == 1
    live.listen(NOD, now + 1.1)
    assert len([e for e in client.events if isinstance(e, Backchannel)]) == 2


def test_an_interruption_in_the_middle_of_a_nod_goes_on_from_it():
    client, live, playout = started()
    now = run(live, [playout], 100.0, 101.0)
    live.listen(NOD, now)
    now = run(live, [playout], now, now + 0.4)
    playout.cut(now)
    live.cut(now)
    live.listen(NOD, now)
    run(live, [], now, now + 3.0)
    assert np.abs(np.diff(nods(client.motion()), n=2)).max() < np.radians(2.5)

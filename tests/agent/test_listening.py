import numpy as np
import pytest

from visavis.agent.listening import Listener, ListenerBody, ListenerSignal, ListenerStyle, listen, pitch_hz
from visavis.agent.turn_taking import EndOfTurn, SpeechStart, SpeechStop
from visavis.errors import UsageError
from visavis.motion.face import face_index
from visavis.motion.idle import idle
from visavis.speech.face import idle_face

HZ = 16_000


def voiced(seconds: float, hz: float) -> np.ndarray:
    t = np.arange(round(seconds * HZ)) / HZ
    return (0.3 * sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 6))).astype(np.float32)


def feed(listener, sound, events=(), piece=1_600):
    events, out = list(events), []
    for k in range(0, len(sound), piece):
        part = sound[k : k + piece]
        now = (k + len(part)) / HZ
        out += listener.feed(part, HZ, [e for e in events if e.at_s <= now])
        events = [e for e in events if e.at_s > now]
    return out


@pytest.mark.parametrize("hz", [90.0, 150.0, 220.0, 400.0])
def test_pitch(hz):
    assert pitch_hz(voiced(0.064, hz)) == pytest.approx(hz, rel=0.04)
    assert pitch_hz(np.random.default_rng(0).normal(0, 0.1, 1024).astype(np.float32)) is None
    assert pitch_hz(np.zeros(1024, np.float32)) is None


def test_a_region_of_low_pitch_is_answered_by_a_nod_after_the_wait():
    """The causal rule of Ward and Tsukahara 2000, without pauses and without chance."""
    style = ListenerStyle(pause_nods=0, more_to_come=0, low_pitch=1)
    high, low = voiced(2.0, 200), voiced(0.3, 120)
    sound = np.concatenate([high, low, voiced(2.0, 200)])
    nods = [s for s in feed(Listener(style), sound, [SpeechStart(0.1, 0.0)]) if s.kind == "nod"]
    assert len(nods) == 1
    assert nods[0].at_s == pytest.approx(2.0 + 0.11 + 0.7, abs=0.1)


def test_no_nod_to_low_pitch_at_the_very_beginning_or_in_silence():
    style = ListenerStyle(pause_nods=0, more_to_come=0, low_pitch=1)
    sound = np.concatenate([voiced(0.4, 200), voiced(0.14, 120), np.zeros(2 * HZ, np.float32)])
    assert feed(Listener(style), sound, [SpeechStart(0.1, 0.0)]) == []
    assert feed(Listener(style), np.concatenate([voiced(2, 200), voiced(0.3, 120)])) == [], "nobody was heard to speak"


def test_pauses_that_go_on_are_nodded_to_and_never_two_at_once():
    events = [SpeechStart(0.1, 0.0)]
    for k in range(1, 7):
        events += [SpeechStop(k * 0.7, k * 0.7 - 0.2, 0.1), SpeechStart(k * 0.7 + 0.15, k * 0.7 + 0.05)]
    style = ListenerStyle(pause_nods=1, more_to_come=0, low_pitch=0)
    nods = [s.at_s for s in feed(Listener(style), np.zeros(5 * HZ, np.float32), events) if s.kind == "nod"]
    assert len(nods) >= 2
    assert np.diff(nods).min() >= style.apart_s - 1e-6


def test_how_the_sound_is_cut_changes_nothing_and_a_seed_decides():
    rng = np.random.default_rng(0)
    sound = np.concatenate([voiced(rng.uniform(0.2, 0.6), rng.uniform(100, 260)) for _ in range(12)])
    events = [SpeechStart(0.2, 0.0), SpeechStop(2.0, 1.8, 0.2), SpeechStart(2.3, 2.2), SpeechStop(4.0, 3.8, 0.9)]
    whole = feed(Listener(seed=3), sound, events, 1_600)
    assert whole == feed(Listener(seed=3), sound, events, 333)
    assert whole != feed(Listener(seed=4), sound, events, 1_600)


def test_after_the_end_of_the_turn_nothing_more_is_due():
    style = ListenerStyle(pause_nods=0, more_to_come=0, low_pitch=1)
    sound = np.concatenate([voiced(2.0, 200), voiced(0.3, 120), np.zeros(2 * HZ, np.float32)])
    events = [SpeechStart(0.1, 0.0), EndOfTurn(2.5, 0.0, 2.3, 0.9)]
    assert [s for s in feed(Listener(style), sound, events) if s.kind == "nod"] == []


def test_bad_sound_is_refused():
    with pytest.raises(UsageError, match="mono"):
        Listener().feed(np.zeros((2, 2), np.int16), HZ)


class TestBody:
    def body(self) -> ListenerBody:
        body = ListenerBody()
        signals = [ListenerSignal("nod", 1.0, count=2), ListenerSignal("brows", 2.5), ListenerSignal("tilt", 3.0)]
        listen(body, signals, [SpeechStart(0.2, 0.1), EndOfTurn(4.0, 0.1, 3.8, 0.9)])
        return body

    def test_without_signals_it_is_the_idle_body(self):
        motion = idle(60, 1).with_face(idle_face(60, 1, 0.0))
        over = ListenerBody().over(motion, 0.0)
        np.testing.assert_allclose(over.rotations, motion.rotations, atol=1e-6)
        np.testing.assert_allclose(over.face, motion.face, atol=1e-6)

    def test_pieces_are_the_whole(self):
        motion = idle(180, 1).with_face(idle_face(180, 1, 0.0))
        whole, parts, at = self.body().over(motion, 0.0), self.body(), 0
        for size in (1, 29, 60, 90):
            piece = parts.over(motion.slice(at, at + size), at / 30)
            np.testing.assert_allclose(piece.rotations, whole.rotations[at : at + size], atol=1e-6)
            np.testing.assert_allclose(piece.face, whole.face[at : at + size], atol=1e-6)
            at += size

    def test_a_nod_nods_smoothly_and_only_with_head_and_trunk(self):
        motion = idle(180, 1).with_face(idle_face(180, 1, 0.0))
        over = self.body().over(motion, 0.0)
        head = motion.skeleton.index("head")
        moved = np.abs(over.rotations - motion.rotations).max(axis=(0, 2))
        assert {motion.skeleton.names[i] for i in np.flatnonzero(moved > 1e-6)} == {"head", "neck", "chest"}
        away = np.abs(over.rotations[:, head] - motion.rotations[:, head]).max(axis=1)
        assert away[35:50].max() > 0.02 and away[:28].max() < 1e-6
        # no frame steps by more than a quick nod does (8 degrees at 2 Hz is 3.4 degrees a frame)
        dot = np.abs(np.sum(over.rotations[1:] * over.rotations[:-1], axis=-1)).clip(0, 1)
        assert np.degrees(2 * np.arccos(dot)).max() < 4.5

    def test_the_eyes_rest_on_the_partner_and_the_face_answers(self):
        motion = idle(180, 1).with_face(idle_face(180, 7, 0.0))
        over = self.body().over(motion, 0.0)
        eyes = [face_index(f"eyeLook{way}{side}") for way in ("In", "Out", "Up", "Down") for side in ("Left", "Right")]
        while_listening = slice(30, 115)
        assert over.face[while_listening][:, eyes].sum() <= 0.3 * motion.face[while_listening][:, eyes].sum() + 1e-6
        assert over.face[85, face_index("browInnerUp")] > motion.face[85, face_index("browInnerUp")] + 0.2
        assert over.face[60, face_index("mouthSmileLeft")] > 0.05
        assert 0 <= over.face.min() and over.face.max() <= 1

    def test_old_signals_are_forgotten(self):
        body, motion = ListenerBody(), idle(2, 1)
        for k in range(200):
            body.add(ListenerSignal("nod", float(k)))
            body.attend(float(k), bool(k % 2))
            body.over(motion, float(k))
        assert len(body._signals) < 8 and len(body._attention) <= 65

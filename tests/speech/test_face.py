import numpy as np
import pytest

from visavis.emotion import EMOTIONS, Emotion
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.speech.face import face_track, idle_face
from visavis.speech.visemes import VISEMES, lip_gap, viseme_shares, visemes

TEXT = "Maybe my puppy bumped into Bob's big umbrella, but five brave vampires improved the problem."
ALL = "The quick brown fox, judging by those lazy boys, chews thick yellow bread; oh how sure they are of it!"


def test_visemes_cover_the_speech_without_gaps(voice):
    speech = voice.speak(ALL, Emotion())
    found = visemes(speech)
    assert found[0].start_s == 0 and found[-1].end_s == pytest.approx(speech.duration_s)
    assert {v.name for v in found} <= set(VISEMES) and len({v.name for v in found}) >= 13
    for before, after in zip(found, found[1:], strict=False):
        assert before.end_s == pytest.approx(after.start_s) and before.name != after.name


def test_every_phoneme_said_has_a_mouth(voice):
    for text in (ALL, TEXT):
        for p in voice.speak(text, Emotion()).phonemes:
            assert not p.symbol or viseme_shares(p.symbol) != (("sil", 1.0),), p.symbol


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_lips_close_at_every_p_b_m(voice, emotion):
    speech = voice.speak(TEXT, Emotion(emotion, 1.0))
    gap = lip_gap(face_track(speech, Emotion(emotion, 1.0), seed=3))
    closures = [p for p in speech.phonemes if p.symbol in ("p", "b", "m")]
    assert len(closures) >= 15
    for p in closures:
        # the frame nearest to its middle, or one beside it
        middle = round((p.start_s + p.end_s) / 2 * 30)
        assert gap[max(0, middle - 1) : middle + 2].min() < 0.02, p


def test_the_lower_lip_meets_the_teeth_at_f_and_v(voice):
    speech = voice.speak(TEXT, Emotion())
    track = face_track(speech, Emotion(), seed=1)
    for p in speech.phonemes:
        if p.symbol in ("f", "v"):
            middle = round((p.start_s + p.end_s) / 2 * 30)
            near = slice(max(0, middle - 1), middle + 2)
            assert track[near, face_index("mouthRollLower")].max() > 0.4
            assert track[near, face_index("jawOpen")].min() < 0.15


def test_vowels_open_the_mouth_and_silence_shuts_it(voice):
    speech = voice.speak("Father saw the large park, ... and a car.", Emotion())
    gap = lip_gap(face_track(speech, Emotion(), seed=1, duration_s=speech.duration_s + 1))
    assert gap.max() > 0.3 and gap[-15:].max() < 0.06


def test_range_determinism_and_life(voice):
    speech = voice.speak(ALL, Emotion())
    a, b, c = (face_track(speech, Emotion("joy", 0.7), seed=s) for s in (1, 1, 2))
    assert a.shape == (int(np.ceil(speech.duration_s * 30)), 52) and a.dtype == np.float32
    assert a.min() >= 0 and a.max() <= 1 and np.array_equal(a, b) and not np.array_equal(a, c)
    assert (np.abs(np.diff(a, axis=0)).max(axis=1) > 1e-4).all()  # never frozen


def test_emotions_show(silent):
    speech = silent.speak("Well, here we are.", Emotion())
    mean = {e: face_track(speech, Emotion(e, 1.0), seed=1).mean(axis=0) for e in EMOTIONS}
    strongest = {"joy": "mouthSmileLeft", "sadness": "mouthFrownLeft", "anger": "browDownLeft",
                 "surprise": "browOuterUpLeft", "fear": "mouthStretchLeft", "disgust": "noseSneerLeft"}  # fmt: skip
    for emotion, shape in strongest.items():
        values = {e: m[face_index(shape)] for e, m in mean.items()}
        assert max(values, key=values.get) == emotion, (shape, values)
    half = face_track(speech, Emotion("joy", 0.5), seed=1).mean(axis=0)[face_index("mouthSmileLeft")]
    assert mean["neutral"][face_index("mouthSmileLeft")] < half < mean["joy"][face_index("mouthSmileLeft")]


def count_blinks(track):
    shut = track[:, face_index("eyeBlinkLeft")] > 0.7
    return int((shut[1:] & ~shut[:-1]).sum())


def test_blinks_come_at_a_natural_rate(silent):
    rates = [count_blinks(idle_face(30 * 120, seed)) / 2 for seed in range(6)]
    assert 14 < np.mean(rates) < 22
    text = "I went to the market, and then, after lunch, we walked along the river. " * 12
    speech = silent.speak(text, Emotion())
    rates = [count_blinks(face_track(speech, Emotion(), seed)) / speech.duration_s * 60 for seed in range(6)]
    assert 13 < np.mean(rates) < 25


def test_eyes_look_away_first_and_at_the_partner_at_the_end(silent):
    speech = silent.speak("I think that the museum opens at nine, but I am really not quite sure today.", Emotion())
    columns = [face_index(n) for n in ARKIT_NAMES if n.startswith("eyeLook")]
    away = np.mean([face_track(speech, Emotion(), seed)[:, columns].max(axis=1) for seed in range(30)], axis=0)
    assert away[3:12].mean() > 2.5 * away[-12:].mean()
    stays = np.mean(
        [face_track(speech, Emotion(), seed, starts_turn=False)[:, columns].max(axis=1) for seed in range(30)], axis=0
    )
    assert stays[3:12].mean() < 0.6 * away[3:12].mean()


def test_brows_rise_on_stress(silent):
    speech = silent.speak("It was huge, and wonderful, and amazing!", Emotion())
    mean = np.mean([face_track(speech, Emotion(), s)[:, face_index("browInnerUp")] for s in range(20)], axis=0)
    at = [round(w.stress_s * 30) for w in speech.words if w.stress >= 0.8]
    assert mean[at].mean() > 1.5 * np.median(mean)


def test_idle_pieces_fit_together():
    whole = idle_face(300, seed=5)
    pieces = np.concatenate([idle_face(100, seed=5, start_s=k * 100 / 30) for k in range(3)])
    assert np.abs(whole - pieces).max() < 1e-5
    assert idle_face(0, seed=1).shape == (0, 52)


def test_a_track_goes_on_from_the_frame_before(silent):
    speech = silent.speak("Well, here we are.", Emotion())
    previous = idle_face(40, seed=2)[-1]
    track = face_track(speech, Emotion("joy", 1.0), seed=1, previous=previous)
    assert np.abs(track[0] - previous).max() < 0.02

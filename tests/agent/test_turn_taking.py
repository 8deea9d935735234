from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.agent.turn_taking import (
    EndOfTurn,
    Hearing,
    Interruption,
    Patience,
    RecognitionFailed,
    SpeechStart,
    SpeechStop,
    TranscriptHeard,
    UserBackchannel,
    is_backchannel,
)
from visavis.emotion import Emotion
from visavis.errors import ServiceError, UsageError
from visavis.speech.recogniser import TypedText
from visavis.speech.streamed import Resampler

pytestmark = pytest.mark.skipif(
    find_spec("silero_vad") is None or find_spec("espeakng_loader") is None,
    reason="the extra 'speech' is not installed",
)
HZ = 16_000


@pytest.fixture(scope="module")
def voice():
    from visavis.speech.espeak import EspeakVoice

    voice = EspeakVoice("en-us+f3")
    yield voice
    voice.close()


def say(voice, text: str) -> np.ndarray:
    """(N,) float32 at 16 kHz, peak 0.5, without the silence around it."""
    speech = voice.speak(text, Emotion())
    sound = Resampler(speech.sample_rate_hz).feed(speech.samples.astype(np.float32) / np.float32(32768))
    loud = np.flatnonzero(np.abs(sound) > 0.003)
    sound = sound[loud[0] : loud[-1]]
    return 0.5 * sound / np.abs(sound).max()


@pytest.fixture(scope="module")
def question(voice):
    return say(voice, "How many people work in this museum?")


def quiet(seconds: float, seed: int = 0) -> np.ndarray:
    """A room in which nobody speaks."""
    return np.random.default_rng(seed).normal(0, 5e-4, round(seconds * HZ)).astype(np.float32)


def heard(sound, hearing=None, piece: int = 800):
    hearing = hearing or Hearing()
    return [event for k in range(0, len(sound), piece) for event in hearing.feed(sound[k : k + piece], HZ)]


def in_room(*parts) -> np.ndarray:
    sound = np.concatenate(parts)
    return sound + quiet(len(sound) / HZ)[: len(sound)]


def test_a_question_begins_stops_and_is_over(question):
    sound = in_room(quiet(1), question, quiet(2.5))
    events = heard(sound)
    assert [type(e) for e in events] == [SpeechStart, SpeechStop, EndOfTurn]
    end_s = 1 + len(question) / HZ
    start, stop, over = events
    assert start.start_s == pytest.approx(1, abs=0.12) and not start.overlap and not start.resumes
    assert stop.end_s == pytest.approx(end_s, abs=0.15) and over.end_s == stop.end_s
    assert end_s < over.at_s < end_s + 1.6
    assert [e.at_s for e in events] == sorted(e.at_s for e in events)


@pytest.mark.parametrize("pieces", [1, 137, 4_096, 10**9])
def test_how_the_sound_is_cut_changes_nothing(question, pieces):
    sound = in_room(quiet(0.5), question[: 2 * HZ], quiet(1.6))
    rng = np.random.default_rng(pieces)
    hearing, at, events = Hearing(), 0, []
    while at < len(sound):
        size = min(int(rng.integers(1, pieces + 1)) if pieces > 1 else 333, len(sound))
        events += hearing.feed(sound[at : at + size], HZ)
        at += size
    assert events == heard(sound)


def test_any_rate_and_type_is_heard_alike(voice):
    speech = voice.speak("How many people work in this museum?", Emotion())
    rate = speech.sample_rate_hz
    rng = np.random.default_rng(0)
    gap = rng.normal(0, 15, 2 * rate).astype(np.int16)
    sound = np.concatenate([gap, speech.samples, gap])
    hearing = Hearing()
    events = [e for k in range(0, len(sound), 999) for e in hearing.feed(sound[k : k + 999], rate)]
    assert [type(e) for e in events] == [SpeechStart, SpeechStop, EndOfTurn]
    assert events[0].start_s == pytest.approx(2, abs=0.15)


def test_a_click_and_a_thump_are_nobody():
    click = np.zeros(800, np.float32)
    click[:40] = 0.9
    t = np.arange(HZ // 2) / HZ
    thump = (0.8 * np.sin(2 * np.pi * 60 * t) * np.exp(-t / 0.05)).astype(np.float32)
    sound = in_room(quiet(1), click, quiet(1), thump, quiet(1.5))
    assert heard(sound) == []


def test_silence_and_full_scale_noise_do_no_harm():
    assert heard(np.zeros(2 * HZ, np.float32)) == []
    loud = np.random.default_rng(0).uniform(-1, 1, 2 * HZ).astype(np.float32)
    assert not [e for e in heard(loud) if isinstance(e, (EndOfTurn, Interruption))]


@pytest.fixture(scope="module")
def ours():
    from visavis.speech.espeak import EspeakVoice

    voice = EspeakVoice("en-us+m3")
    text = "The museum has eleven rooms, and in the largest hangs the skeleton of a whale."
    sound = np.concatenate([say(voice, text), say(voice, "It was found on the beach in a winter storm.")])
    voice.close()
    return sound


class TestWhileWeSpeak:
    def listen(self, ours, user, at_s: float, delay_s: float = 0.12, gain: float = 0.15):
        """Events, with our voice back in the microphone and the user's on top."""
        n = len(ours) + 2 * HZ
        echo = np.zeros(n, np.float32)
        late = round(delay_s * HZ)
        echo[late : late + len(ours)] = gain * ours
        mic = quiet(n / HZ)[:n] + echo
        a = round(at_s * HZ)
        mic[a : a + len(user)] += user
        hearing = Hearing()
        hearing.playing(ours, 0.0, HZ)
        return heard(mic, hearing)

    @pytest.mark.parametrize(("delay_s", "gain"), [(0.0, 0.1), (0.12, 0.4), (0.3, 0.03)])
    def test_our_own_echo_is_not_somebody(self, ours, delay_s, gain):
        events = self.listen(ours, np.zeros(1, np.float32), 0, delay_s, gain)
        assert not [e for e in events if isinstance(e, (Interruption, EndOfTurn))]

    def test_a_sentence_interrupts_and_becomes_a_turn(self, ours, voice):
        user = say(voice, "Wait, I have another question about that whale.")
        events = self.listen(ours, user, 2.0)
        first = next(e for e in events if isinstance(e, Interruption))
        assert 2.0 < first.at_s < 3.2 and first.start_s == pytest.approx(2, abs=0.2)
        over = [e for e in events if isinstance(e, EndOfTurn)]
        assert over and over[-1].end_s == pytest.approx(2 + len(user) / HZ, abs=0.4)

    def test_a_short_yes_does_not(self, ours, voice):
        events = self.listen(ours, say(voice, "yeah."), 2.0)
        assert not [e for e in events if isinstance(e, Interruption)]
        assert [e for e in events if isinstance(e, UserBackchannel)]

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_a_cough_does_not_either(self, ours, seed):
        from visavis.evals.turn_taking.sounds import cough

        events = self.listen(ours, 0.4 * cough(np.random.default_rng(seed)), 2.0)
        assert not [e for e in events if isinstance(e, (Interruption, EndOfTurn))]

    def test_a_long_listening_sound_does_not_where_its_words_are_known(self, ours, voice):
        typed = TypedText()
        hearing = Hearing(typed)
        hearing.playing(ours, 0.0, HZ)
        mic = 0.15 * np.pad(ours, (1_600, 2 * HZ))
        user = say(voice, "mmmm, yeah, yeah.")[: round(0.75 * HZ)]
        mic[2 * HZ : 2 * HZ + len(user)] += user
        events = []
        for k in range(0, len(mic), 800):
            if hearing.speaking and not typed._words:
                typed.type("mm-hm yeah yeah")
            events += hearing.feed(mic[k : k + 800], HZ)
        assert not [e for e in events if isinstance(e, Interruption)]

    def test_words_that_want_something_interrupt_sooner(self, ours, voice):
        user = say(voice, "Stop please, I have another question.")
        typed = TypedText()
        hearing = Hearing(typed)
        hearing.playing(ours, 0.0, HZ)
        mic = in_room(quiet(2), user, quiet(1))
        events = []
        for k in range(0, len(mic), 800):
            if hearing.speaking and not typed._words:
                typed.type("stop please")
            events += hearing.feed(mic[k : k + 800], HZ)
        with_words = next(e for e in events if isinstance(e, Interruption))
        assert any(isinstance(e, TranscriptHeard) and not e.final for e in events)
        without = next(e for e in self.listen(ours, user, 2.0, gain=0.0) if isinstance(e, Interruption))
        assert with_words.at_s < without.at_s

    def test_what_is_stopped_is_not_expected_any_more(self, ours, question):
        hearing = Hearing()
        hearing.playing(ours, 0.0, HZ)
        heard(quiet(0.5), hearing)
        hearing.stopped()
        events = heard(in_room(quiet(1), question, quiet(2)), hearing)
        assert [type(e) for e in events] == [SpeechStart, SpeechStop, EndOfTurn] and not events[0].overlap


def test_going_on_after_the_end_is_told(voice):
    first, second = say(voice, "I live in Dublin."), say(voice, "But I was born in Cork.")
    events = heard(in_room(quiet(0.5), first, quiet(1.45), second, quiet(2)))
    starts = [e for e in events if isinstance(e, SpeechStart)]
    ends = [e for e in events if isinstance(e, EndOfTurn)]
    assert len(ends) == 2, "a pause of 1.45 s is longer than any patience"
    assert [e.resumes for e in starts] == [False, True]


def test_who_went_on_after_an_end_is_given_more_time(question):
    def waited(hearing) -> list[float]:
        return [
            e.at_s - e.end_s
            for e in heard(in_room(quiet(0.3), question, quiet(1.9)), hearing)
            if e.kind == "end_of_turn"
        ]

    fresh, hearing = Hearing(), Hearing()
    once = waited(fresh)[0]
    hearing._habits.went_on(1.4)
    assert waited(hearing)[0] > once + 0.1


def test_going_on_is_learnt_from(voice):
    first, second = say(voice, "I live in Dublin."), say(voice, "But I was born in Cork.")
    hearing = Hearing()
    events = heard(in_room(quiet(0.5), first, quiet(1.45), second, quiet(0.5)), hearing)
    assert any(isinstance(e, SpeechStart) and e.resumes for e in events)
    assert hearing._habits.doubt > 0


def test_a_recogniser_of_phrases_gives_the_words_of_the_turn(voice):
    pytest.importorskip("pocketsphinx")
    from visavis.speech.grammar import GrammarRecogniser

    hearing = Hearing(GrammarRecogniser(["show me the whale", "how old is it", "thank you"]))
    sound = in_room(quiet(0.5), say(voice, "Show me the whale."), quiet(1.6))
    events = heard(sound, hearing)
    hearing.close()
    over = [e for e in events if isinstance(e, EndOfTurn)]
    assert [e.text for e in over] == ["show me the whale"]
    final = [e for e in events if isinstance(e, TranscriptHeard) and e.final]
    assert len(final) == 1 and final[0].hypothesis.confidence > 0.5
    times = [hearing.utterance_s + w.end_s for w in final[0].hypothesis.words]
    assert times == sorted(times) and times[-1] == pytest.approx(len(sound) / HZ - 1.6, abs=0.3)


def test_a_whole_sentence_in_words_ends_the_turn_sooner_than_half_of_one(question):
    def ended(text: str) -> float:
        typed = TypedText()
        hearing, events = Hearing(typed), []
        sound = in_room(quiet(0.5), question, quiet(2.5))
        for k in range(0, len(sound), 800):
            if k / HZ > 0.4 + len(question) / HZ and not typed._words:
                typed.type(text)
            events += hearing.feed(sound[k : k + 800], HZ)
        assert [e for e in events if isinstance(e, TranscriptHeard)][-1].final
        return next(e.at_s for e in events if isinstance(e, EndOfTurn))

    assert ended("how many people work in this museum") < ended("how many people work in the")


def test_a_recogniser_that_fails_costs_only_its_words(question):
    class Broken(TypedText):
        def feed(self, pcm):
            raise ServiceError("the recogniser's server is gone: start it")

    events = heard(in_room(quiet(0.5), question, quiet(2)), Hearing(Broken()))
    kinds = [type(e) for e in events]
    assert kinds == [SpeechStart, RecognitionFailed, SpeechStop, EndOfTurn] and events[-1].text == ""


@pytest.mark.parametrize("at_s", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(at_s):
    with pytest.raises(UsageError, match="seconds from 0"):
        Hearing().playing(np.zeros(10, np.int16), at_s)


def test_memory_is_bounded():
    hearing = Hearing()
    for k in range(12):
        hearing.playing(np.zeros(HZ, np.float32), k + 0.5, HZ)
        hearing.feed(np.zeros(HZ, np.float32), HZ)
    assert len(hearing._played._samples) < 4 * HZ
    assert len(hearing._heard) < 250 and len(hearing._levels) < 120 and hearing.now_s == pytest.approx(12, abs=0.05)


@given(st.floats(0, 1), st.floats(0, 1))
def test_patience_never_grows_with_certainty(p, q):
    patience = Patience(0.2, 1.2, 0.3, 0.8)
    low, high = sorted((p, q))
    assert 0.2 - 1e-9 <= patience.needed_s(high) <= patience.needed_s(low) + 1e-9 <= 1.2 + 2e-9


@given(st.floats(0, 0.3), st.floats(0, 0.3))
def test_the_surer_it_is_that_there_is_more_the_longer_it_waits(p, q):
    patience = Patience(0.2, 1.2, 0.3, 0.8, unfinished_s=0.1)
    low, high = sorted((p, q))
    assert 1.2 - 1e-9 <= patience.needed_s(high) <= patience.needed_s(low) + 1e-9 <= 1.3 + 2e-9


@pytest.mark.parametrize("text", ["mm-hm", "Yeah.", "oh, I see", "okay okay", "Yeah, right!", "uh huh"])
def test_listening_aloud(text):
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "stop", "yeah but why", "I see a whale", "no", "wait"])
def test_wanting_the_floor(text):
    assert not is_backchannel(text)

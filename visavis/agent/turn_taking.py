"""Hearing: when the user begins to speak, pauses, has finished, only nods along, or wants the floor.

Pure and deterministic: sound goes in with `feed`, typed events come out, on the clock of the sound fed so far; nothing
waits, and how the sound is cut into pieces changes nothing. What the agent plays is told by `playing`, so that its own
voice, coming back through the room, is not taken for somebody (`visavis.speech.echo`).

- Speech begins when Silero VAD is sure for 0.1 s and there is a voice in it (a click or most coughs have none).
- A turn ends after a silence whose length depends on how final the speech sounded (`visavis.speech.ending`) and,
  where a recogniser gives words, on whether they are a whole sentence (`visavis.speech.completeness`).
- While the agent speaks, a short sound is a backchannel and changes nothing; what goes on longer, or words that are no
  backchannel, is an interruption.

It does not decide what to do about it: that is the session's business. The parameters are `data/turn_taking.yaml`,
chosen on scenes of the training split (`python -m visavis.evals.turn_taking --fit`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visavis.agent.habits import Habits
from visavis.agent.hearing_events import (
    EndOfTurn,
    HearingEvent,
    Interruption,
    RecognitionFailed,
    SpeechStart,
    SpeechStop,
    TranscriptHeard,
    UserBackchannel,
)
from visavis.agent.hearing_settings import HearingSettings, Patience, default_settings, is_backchannel
from visavis.errors import ServiceError, UsageError
from visavis.speech.completeness import completeness
from visavis.speech.echo import HOP, EchoRemover, Played
from visavis.speech.ending import LONGEST_S, Ending, ending_of, probability_of_end
from visavis.speech.recogniser import Hypothesis, Recogniser
from visavis.speech.streamed import HEARING_HZ, MAX_PIECE_S, Resampler, checked_pcm
from visavis.speech.voice_activity import CHUNK, CHUNK_S, VoiceActivity

__all__ = [
    "EndOfTurn", "Hearing", "HearingEvent", "HearingSettings", "Interruption", "Patience", "RecognitionFailed",
    "SpeechStart", "SpeechStop", "TranscriptHeard", "UserBackchannel", "default_settings", "is_backchannel",
]  # fmt: skip

Samples = NDArray[np.float32]


_STOP_S = 0.16  # of silence before speech has stopped: closures of stops are shorter
_SEEN_AFTER_S = 0.096  # of silence before its melody is looked at
_AFTERGLOW_S = 0.35  # after we stop playing, the room may still carry our voice
_RESUME_S = 1.5  # after an end of turn, speech that comes while we are silent continues the turn
_WENT_ON_S = 0.4  # of such speech tells that the end was none; a cough is shorter
_BEFORE_S = 0.3  # of sound before the beginning of speech that a recogniser hears too
_CURRENT_S = 0.25  # a transcript whose last word ends so near the end of the speech is current
_GONE_S = 0.3  # of silence after which a short sound under our speech was a backchannel
_SHORTEST_BACKCHANNEL_S = 0.12
_BACKGROUND_S, _BACKGROUND = 3.0, 0.15  # the background is this quantile of the level of so many seconds
_MOST_DB = 25.0
_LEAST_OVER_DB = -5.0  # what is left against our echo; 97 of 100 chunks of people speaking into us are above
_LONGEST_TURN_S = 120.0  # a longer one is ended, whatever is heard


@dataclass
class _Speaking:
    """What is known of the user's turn in the making."""

    start_s: float
    end_s: float  # of its last speech
    overlap: bool
    spoken_s: float = 0.0
    voiced: int = 0
    chunks: int = 0
    stopped: bool = False
    melody: float | None = None  # probability of the end, once looked at in this silence
    after_s: float | None = None  # since the end of the turn before, if this may be its continuation


class Hearing:
    """One microphone in one conversation. See the module."""

    def __init__(
        self,
        recogniser: Recogniser | None = None,
        settings: HearingSettings | None = None,
        observe: Callable[[float, Ending], None] | None = None,
    ) -> None:
        """`observe` is told the end of each stretch of speech and how it sounded, for fitting and for logs.

        Raises:
            MissingExtraError: the extra `speech` is not installed.
        """
        self.settings = settings or default_settings()
        self._recogniser, self._observe = recogniser, observe
        self._activity, self._echo, self._played = VoiceActivity(), EchoRemover(), Played()
        self._resampler: Resampler | None = None
        self._waiting: Samples = np.zeros(0, np.float32)  # of the microphone, less than a hop
        self._chunk: list[Samples] = []
        self._heard: deque[Samples] = deque(maxlen=round((LONGEST_S + 2.0) / CHUNK_S))  # chunks without echo
        self._hops = 0
        self._recent: deque[tuple[bool, bool]] = deque(maxlen=4)  # (speech, voiced) of the last chunks
        self._turn: _Speaking | None = None
        self._ended_s = self._silent_s = -1e9  # when the last end of turn was told, and the user fell silent for it
        self._habits = Habits()
        self._power = np.zeros(2)  # of what is left, and of what our echo is or may be, in this chunk
        self._levels: deque[float] = deque(maxlen=round(_BACKGROUND_S / CHUNK_S))
        self._text: Hypothesis | None = None
        self._failed = False  # the recogniser, in this utterance
        self.utterance_s = 0.0  # where the clock of the recogniser's words began
        self._events: list[HearingEvent] = []

    def close(self) -> None:
        """Close the recogniser; nothing is fed afterwards."""
        if self._recogniser is not None:
            self._recogniser.close()

    @property
    def now_s(self) -> float:
        """The clock: seconds of sound heard."""
        return self._hops * HOP / HEARING_HZ

    @property
    def speaking(self) -> bool:
        """The user is in a turn (which may pause)."""
        return self._turn is not None

    def playing(self, pcm: NDArray[np.generic], at_s: float, sample_rate_hz: int = 22_050) -> None:
        """The agent's voice (N,) is played from `at_s` of this clock; tell it before the microphone can hear it.

        Raises:
            UsageError: sound that cannot be used, or a time that is no number.
        """
        if not np.isfinite(at_s) or at_s < 0:
            raise UsageError(f"expected the time at which the sound is played, in seconds from 0; got {at_s!r}")
        sound = checked_pcm(pcm, sample_rate_hz)
        self._played.add(sound, float(at_s), sample_rate_hz, self._hops * HOP)

    def stopped(self, at_s: float | None = None) -> None:
        """Nothing more is played from `at_s` (now) on: whatever else was told is dropped."""
        self._played.stop(round((self.now_s if at_s is None else at_s) * HEARING_HZ))

    def feed(self, pcm: NDArray[np.generic], sample_rate_hz: int) -> list[HearingEvent]:
        """Hear (N,) more of the microphone and tell what was noticed, in order.

        Raises:
            UsageError: sound that cannot be used (see `visavis.speech.streamed.checked_pcm`).
        """
        sound = checked_pcm(pcm, sample_rate_hz)
        if self._resampler is None or self._resampler.from_hz != sample_rate_hz:
            self._resampler = Resampler(sample_rate_hz)
        self._waiting = np.concatenate([self._waiting, self._resampler.feed(sound)])
        count = len(self._waiting) // HOP
        for k in range(count):
            self._hop(self._waiting[k * HOP : (k + 1) * HOP])
        self._waiting = self._waiting[count * HOP :]
        events, self._events = self._events, []
        return events

    def _hop(self, mic: Samples) -> None:
        ours = self._played.take(self._hops * HOP, HOP)
        self._chunk.append(self._echo.feed(mic, ours))
        self._power += (0.5 * self._echo.left, 0.5 * (self._echo.ours + self._echo.unsure))
        self._hops += 1
        if len(self._chunk) == CHUNK // HOP:
            chunk = np.concatenate(self._chunk)
            self._chunk = []
            self._heard.append(chunk)
            self._listen(chunk)
            self._power[:] = 0

    def _we_speak(self) -> bool:
        """Our voice is, was just or is about to be in the air."""
        now = self._hops * HOP
        return self._played.sounds(now - round(_AFTERGLOW_S * HEARING_HZ), now + CHUNK)

    def _listen(self, chunk: Samples) -> None:
        s = self.settings
        ours = self._we_speak()
        p = self._somebody(self._activity.probability(chunk), ours)
        on = p >= s.speech
        voiced = on and is_voiced(np.concatenate([self._heard[-2], chunk]) if len(self._heard) > 1 else chunk)
        self._recent.append((on, voiced))
        if self._turn is None:
            self._maybe_start(ours)
        else:
            self._go_on(on or (p > s.silence and not self._turn.stopped), voiced, ours)

    def _somebody(self, p: float, ours: bool) -> float:
        """The probability that somebody but us speaks in this chunk, from that of speech and the levels."""
        level_db, echo_db = 10 * np.log10(self._power + 1e-5)
        self._levels.append(float(level_db))
        above_db = min(level_db - np.quantile(self._levels, _BACKGROUND), _MOST_DB)
        if ours:
            a, b, c, d = self.settings.over
            over_db = float(np.clip(level_db - echo_db, -_MOST_DB, _MOST_DB))
            if over_db < _LEAST_OVER_DB:
                return 0.0  # what is left of a loud echo still sounds like speech
            odds = a * _odds(p) + b * above_db + c * over_db + d
        else:
            a, b, d = self.settings.alone
            odds = a * _odds(p) + b * above_db + d
        return _probability(float(odds))

    def _maybe_start(self, ours: bool) -> None:
        s = self.settings
        need = s.near_chunks if ours else s.begin_chunks
        on = sum(speech for speech, _ in self._recent)
        voiced = sum(voice for _, voice in self._recent)
        if on < need or voiced < 2 or not self._recent[-1][0]:
            return
        first = next(k for k, (speech, _) in enumerate(self._recent) if speech)
        start_s = max(0.0, self._chunk_start_s() - (len(self._recent) - 1 - first) * CHUNK_S)
        self._turn = _Speaking(start_s, self._chunk_end_s(), ours, on * CHUNK_S, voiced, on)
        goes_on = start_s - self._ended_s < _RESUME_S
        resumes = goes_on and not ours
        if goes_on:
            self._turn.after_s = start_s - self._silent_s
        self._ended_s = -1e9
        self._events.append(SpeechStart(self.now_s, start_s, ours, resumes))
        if self._recogniser is not None:
            self._recogniser.start()
            self._text, self._failed = None, False
            kept = list(self._heard)[-round(_BEFORE_S / CHUNK_S) - len(self._recent) :]
            self.utterance_s = self._chunk_end_s() - len(kept) * CHUNK_S
            self._understand(np.concatenate(kept))

    def _go_on(self, on: bool, voiced: bool, ours: bool) -> None:
        turn = self._turn
        assert turn is not None, "a turn is in the making"
        if self._recogniser is not None:
            self._understand(self._heard[-1])
        if on:
            if turn.stopped:
                self._events.append(SpeechStart(self.now_s, self._chunk_start_s(), ours))
            turn.end_s, turn.stopped, turn.melody = self._chunk_end_s(), False, None
            turn.spoken_s += CHUNK_S
            turn.chunks += 1
            turn.voiced += voiced
        if turn.after_s is not None and not turn.overlap and turn.spoken_s >= _WENT_ON_S:
            self._habits.went_on(turn.after_s)
            turn.after_s = None
        if turn.overlap:
            self._under_our_speech(turn, ours)
            return
        silence_s = self._chunk_end_s() - turn.end_s
        too_long = self.now_s - turn.start_s > _LONGEST_TURN_S
        if (silence_s >= _SEEN_AFTER_S or too_long) and turn.melody is None:
            ending = ending_of(self._spoken(turn))
            turn.melody = probability_of_end(ending)
            if self._observe is not None:
                self._observe(turn.end_s, ending)
        if silence_s >= _STOP_S:
            self._stop(turn)
        if turn.melody is not None:
            p, patience = self._finished(turn)
            if self._habits.doubt:
                p, patience = _probability(_odds(p) - self._habits.doubt), self._habits.patience(patience)
            if silence_s >= patience.needed_s(p) - 1e-6 or too_long:
                self._end(turn, p)

    def _finished(self, turn: _Speaking) -> tuple[float, Patience]:
        """The probability that the turn is over, and the patience that goes with what it was made from."""
        assert turn.melody is not None, "the melody is looked at before"
        words = self._text.words if self._text is not None else ()
        if not words or self.utterance_s + words[-1].end_s < turn.end_s - _CURRENT_S:
            return turn.melody, self.settings.sound
        assert self._text is not None, "there are words"
        a, b, c = self.settings.mix
        odds = a * _odds(turn.melody) + b * _odds(completeness(self._text.text)) + c
        return _probability(odds), self.settings.words

    def _stop(self, turn: _Speaking) -> None:
        """Tell once that the user is silent."""
        if not turn.stopped:
            turn.stopped = True
            assert turn.melody is not None, "the melody is looked at before"
            self._events.append(SpeechStop(self.now_s, turn.end_s, turn.melody))

    def _end(self, turn: _Speaking, p: float) -> None:
        self._stop(turn)
        self._turn = None
        self._recent.clear()
        if turn.voiced < self.settings.voiced * turn.chunks:
            return  # a cough, a chair: nobody spoke
        text = self._finish()
        self._ended_s, self._silent_s = self.now_s, turn.end_s
        self._habits.ended()
        self._events.append(EndOfTurn(self.now_s, turn.start_s, turn.end_s, p, text))

    def _under_our_speech(self, turn: _Speaking, ours: bool) -> None:
        """Decide between backchannel and interruption; when we have stopped by ourselves it becomes a turn."""
        s = self.settings
        silence_s = self._chunk_end_s() - turn.end_s
        text = self._text.text if self._text is not None else ""
        needed_s = s.interrupt_s
        if text:
            needed_s = 1.5 * s.interrupt_s if is_backchannel(text) else s.interrupt_words_s
        has_voice = turn.voiced >= s.voiced * turn.chunks
        if turn.spoken_s >= needed_s and has_voice and silence_s == 0:
            turn.overlap = False
            self._events.append(Interruption(self.now_s, turn.start_s))
        elif silence_s >= _GONE_S:
            self._turn = None
            self._recent.clear()
            text = self._finish()
            if has_voice and turn.spoken_s >= _SHORTEST_BACKCHANNEL_S:
                self._events.append(UserBackchannel(self.now_s, turn.start_s, turn.end_s, text))
        elif not ours and silence_s == 0:
            turn.overlap = False

    def _understand(self, sound: Samples) -> None:
        assert self._recogniser is not None, "only called with a recogniser"
        if self._failed:
            return
        try:
            found = self._recogniser.feed(sound)
        except ServiceError as error:
            self._give_up(error)
            return
        if found is not None:
            self._text = found
            self._events.append(TranscriptHeard(self.now_s, found))

    def _finish(self) -> str:
        """The final text of the utterance, told as an event."""
        if self._recogniser is None or self._failed:
            return ""
        try:
            found = self._recogniser.finish()
        except ServiceError as error:
            self._give_up(error)
            return ""
        self._text = None
        self._events.append(TranscriptHeard(self.now_s, found))
        return found.text

    def _give_up(self, error: ServiceError) -> None:
        """Go on without the words of this utterance."""
        self._text, self._failed = None, True
        self._events.append(RecognitionFailed(self.now_s, str(error)))

    def _chunk_end_s(self) -> float:
        """Where the last chunk ends on the microphone's clock: the echo remover is one hop behind."""
        return (self._hops - 1) * HOP / HEARING_HZ

    def _chunk_start_s(self) -> float:
        return self._chunk_end_s() - CHUNK_S

    def _spoken(self, turn: _Speaking) -> Samples:
        """The sound of the turn up to its last speech, as far back as is kept."""
        after = round((self._chunk_end_s() - turn.end_s) / CHUNK_S)
        back = min(round((self._chunk_end_s() - turn.start_s) / CHUNK_S), len(self._heard))
        chunks = list(self._heard)[len(self._heard) - back : len(self._heard) - after]
        return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


def _odds(p: float) -> float:
    p = min(max(p, 1e-4), 1 - 1e-4)
    return float(np.log(p / (1 - p)))


def _probability(odds: float) -> float:
    return float(0.5 + 0.5 * np.tanh(0.5 * odds))


def is_voiced(sound: Samples) -> bool:
    """Whether (N,) samples at 16 kHz, 30 to 70 ms, hold a periodic sound of 75 to 500 Hz."""
    low = sound[: len(sound) // 2 * 2].reshape(-1, 2).mean(axis=1)[-400:]
    low = low - low.mean()
    window = np.hanning(len(low))
    size = 1 << (2 * len(low) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(low * window, size)) ** 2
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2, size)
    correlation = np.fft.irfft(spectrum, size)
    if correlation[0] < 1e-7:
        return False
    lags = slice(16, min(107, len(low) // 2))
    return bool((correlation[lags] / correlation[0] / (shape[lags] / shape[0])).max() > 0.5)


assert MAX_PIECE_S < _LONGEST_TURN_S

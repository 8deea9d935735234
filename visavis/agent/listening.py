"""The listener's body: what somebody does while the partner speaks, decided from what was heard so far.

- A nod 0.7 s after a region of low pitch (at least 110 ms below the 26th percentile of the speaker's pitch, after at
  least 0.7 s of speech, at most one in 0.8 s): the causal rule of Ward and Tsukahara 2000 for English.
- A nod as soon as the partner pauses, more often when the melody says that there is more to come: such pauses invite a
  backchannel (Gravano and Hirschberg 2011), while at a real end it is the listener's turn to speak.
- The eyes rest on the partner (listeners look about three quarters of the time, Argyle and Cook 1976); brows go up a
  little where the partner's voice does; the head tilts after a question; a slight smile stays.
- What is said is answered, too, where the words are known: `reactions` tells which call for what.

Signals are decided from sound and from what `Hearing` noticed; `ListenerBody` lays them over the idle body, which costs
no model. What is decided depends on seed and sound, not on how the sound was cut into pieces. Nothing here is trained.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import median

import numpy as np
from numpy.typing import NDArray

from visavis.agent.hearing_events import EndOfTurn, HearingEvent, SpeechStart, SpeechStop
from visavis.agent.reactions import movements
from visavis.motion import rotations
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.motion.motion import FPS, Motion
from visavis.speech.streamed import HEARING_HZ, Resampler, checked_pcm

__all__ = ["Listener", "ListenerBody", "ListenerSignal", "ListenerStyle", "SignalTracks", "listen", "signal_tracks"]

Array = NDArray[np.float32]
_HOP = 512  # samples at 16 kHz between two looks at the pitch
_HOP_S = _HOP / HEARING_HZ
_WINDOW = 1024
_LOW_QUANTILE, _LOW_S = 0.26, 0.11
_PITCH_PAST_S = 12.0
_HIGH_OCTAVES = 0.35  # above the median: the voice goes up


@dataclass(frozen=True)
class ListenerStyle:
    """How somebody listens.

    size: of movements, 1 moderate.
    pause_nods, more_to_come: chance of a nod in any pause, and what is added when there seems to be more to come.
    low_pitch, waits_s: chance of a nod after a region of low pitch, and how long after it.
    apart_s: least time between two nods.
    answers: chance of an answer to words that call for one (`reactions`).
    """

    size: float = 1.0
    pause_nods: float = 0.55
    more_to_come: float = 0.35
    low_pitch: float = 0.3
    apart_s: float = 1.0
    waits_s: float = 0.7
    answers: float = 0.7


@dataclass(frozen=True)
class ListenerSignal:
    """Something the listener's body does from `at_s` on, `size` 1 moderate.

    kind: "nod" (`count` of them), or one of `reactions.movements`: "brows", "tilt", "surprise", "concern", "smile",
    "wince", or "look up", at somebody who comes; side: to which it turns and tilts, 1 as in the table, -1 mirrored.
    """

    kind: str
    at_s: float
    size: float = 1.0
    count: int = 1
    side: float = 1.0

    @property
    def length_s(self) -> float:
        """How long it takes."""
        return self.count / _NOD_HZ if self.kind == "nod" else movements()[self.kind].lasts_s


class Listener:
    """Decides what to do while somebody speaks. One object for one conversation, on the clock of the sound fed."""

    def __init__(self, style: ListenerStyle | None = None, seed: int = 0) -> None:
        self.style = style or ListenerStyle()
        self._rng = np.random.default_rng(seed)
        self._resampler: Resampler | None = None
        self._waiting: Array = np.zeros(0, np.float32)
        self._window: Array = np.zeros(_WINDOW, np.float32)
        self._hops = 0
        self._pitches = _Past(round(_PITCH_PAST_S / _HOP_S))
        self._low_hops = self._high_hops = 0
        self._speaks_since: float | None = None
        self._stopped_s = -1e9
        self._due: list[ListenerSignal] = []
        self._nodded_s = self._raised_s = -1e9
        self._events: deque[HearingEvent] = deque()

    def feed(
        self, pcm: NDArray[np.generic], sample_rate_hz: int, events: Sequence[HearingEvent] = ()
    ) -> list[ListenerSignal]:
        """Hear (N,) more of the partner, with what `Hearing` noticed in it; the signals that begin now.

        Raises:
            UsageError: sound that cannot be used.
        """
        sound = checked_pcm(pcm, sample_rate_hz)
        if self._resampler is None or self._resampler.from_hz != sample_rate_hz:
            self._resampler = Resampler(sample_rate_hz)
        self._waiting = np.concatenate([self._waiting, self._resampler.feed(sound)])
        self._events.extend(events)
        out: list[ListenerSignal] = []
        count = len(self._waiting) // _HOP
        for k in range(count):
            self._window = np.concatenate([self._window[_HOP:], self._waiting[k * _HOP : (k + 1) * _HOP]])
            self._hops += 1
            out += self._step()
        self._waiting = self._waiting[count * _HOP :]
        return out

    @property
    def now_s(self) -> float:
        """The clock: seconds of sound heard."""
        return self._hops * _HOP_S

    @property
    def speaks(self) -> bool:
        """Whether the partner is in the middle of a turn."""
        return self._speaks_since is not None

    def _step(self) -> list[ListenerSignal]:
        now = self.now_s
        while self._events and self._events[0].at_s <= now + 1e-9:
            self._noticed(self._events.popleft())
        if self._speaks_since is not None:
            self._follow_pitch(now)
        ready = [signal for signal in self._due if signal.at_s <= now + 1e-9]
        self._due = [signal for signal in self._due if signal.at_s > now + 1e-9]
        return [replace(signal, at_s=now) for signal in ready if self._allowed(signal, now)]

    def _allowed(self, signal: ListenerSignal, now: float) -> bool:
        """Not two nods at once; brows seldom."""
        if signal.kind == "nod":
            if now - self._nodded_s < self.style.apart_s:
                return False
            self._nodded_s = now
        if signal.kind == "brows":
            if now - self._raised_s < 2.5:
                return False
            self._raised_s = now
        return True

    def _noticed(self, event: HearingEvent) -> None:
        rng, style = self._rng, self.style
        if isinstance(event, SpeechStart):
            if self._speaks_since is None or event.start_s - self._stopped_s > 0.5:
                self._speaks_since = event.start_s
            self._low_hops = self._high_hops = 0
        elif isinstance(event, SpeechStop) and self._speaks_since is not None:
            self._stopped_s = event.end_s
            chance = style.pause_nods + style.more_to_come * (1 - event.probability)
            draw, count = rng.random(), int(rng.integers(1, 4))
            if event.end_s - self._speaks_since > 0.3 and draw < chance:
                self._due.append(ListenerSignal("nod", event.at_s, style.size * rng.uniform(0.7, 1.3), count))
            if event.probability > 0.5 and self._went_up():
                self._due.append(ListenerSignal("tilt", event.at_s, style.size, side=float(rng.choice([-1.0, 1.0]))))
        elif isinstance(event, EndOfTurn):
            self._speaks_since = None
            self._due = [signal for signal in self._due if signal.at_s <= event.at_s]

    def _went_up(self) -> bool:
        """The last pitch heard is high for this speaker."""
        past = self._pitches
        return len(past) > 20 and median(past.last(3)) > past.quantile(0.85)

    def _follow_pitch(self, now: float) -> None:
        """Regions of low pitch, after which to nod, and of high pitch, at which brows go up."""
        f0 = pitch_hz(self._window)
        if f0 is None:
            self._low_hops = self._high_hops = 0
            return
        octaves = float(np.log2(f0))
        past = self._pitches
        past.add(octaves)
        if len(past) < 15:
            return
        self._low_hops = self._low_hops + 1 if octaves < past.quantile(_LOW_QUANTILE) else 0
        self._high_hops = self._high_hops + 1 if octaves > past.quantile(0.5) + _HIGH_OCTAVES else 0
        assert self._speaks_since is not None, "only while somebody speaks"
        if self._low_hops == int(np.ceil(_LOW_S / _HOP_S)) and now - self._speaks_since >= 0.7:
            size, draw = self.style.size * self._rng.uniform(0.6, 1.0), self._rng.random()
            if draw < self.style.low_pitch:
                self._due.append(ListenerSignal("nod", now + self.style.waits_s, size))
        if self._high_hops == 3:
            self._due.append(ListenerSignal("brows", now, self.style.size * self._rng.uniform(0.5, 1.0)))


def pitch_hz(sound: Array) -> float | None:
    """Pitch of (1024,) samples at 16 kHz between 75 and 500 Hz by autocorrelation (Boersma 1993), None if unvoiced."""
    low = sound.reshape(-1, 2).mean(axis=1)
    low = low - low.mean()
    if float(np.abs(low).max()) < 1e-3:
        return None
    window, shape = _pitch_window(len(low))
    size = 2 * len(low)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(low * window, size)) ** 2, size)
    lags = np.arange(16, 107)
    heights = correlation[lags] / correlation[0] / (shape[lags] / shape[0]) - 0.03 * np.log2(lags / 16)
    best = int(heights.argmax())
    return None if heights[best] < 0.45 else HEARING_HZ / 2 / float(lags[best])


@cache
def _pitch_window(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The window of a look at the pitch, and its own autocorrelation."""
    window = np.hanning(count)
    return window, np.fft.irfft(np.abs(np.fft.rfft(window, 2 * count)) ** 2, 2 * count)


class _Past:
    """The last `most` values, and their quantiles at any moment."""

    def __init__(self, most: int) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []
        self._most = most

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        """One more."""
        self._order.append(value)
        insort(self._sorted, value)
        if len(self._order) > self._most:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]

    def last(self, count: int) -> list[float]:
        """The newest."""
        return list(self._order)[-count:]

    def quantile(self, share: float) -> float:
        """As numpy's, by linear interpolation."""
        place = share * (len(self._sorted) - 1)
        low = int(place)
        high = min(low + 1, len(self._sorted) - 1)
        return self._sorted[low] + (place - low) * (self._sorted[high] - self._sorted[low])


# --- the body ------------------------------------------------------------------------------------------------------

_NOD_HZ, _NOD_DEGREES = 2.0, 8.0
_LEAN_DEGREES = 2.0
_ANSWERS = frozenset({"surprise", "concern", "smile", "wince"})
_SMILE = 0.12
_ATTEND_S = 0.6  # to turn the eyes to the partner, and away again
_LOOK_AWAY = 0.25  # of the idle eyes' wandering that is left while the partner speaks


@dataclass(frozen=True, eq=False)
class SignalTracks:
    """What signals add to a body: head and spine (T, 3) as rotation vectors, radians; face (T, 52) weights."""

    head: Array
    spine: Array
    face: Array


def signal_tracks(signals: Sequence[ListenerSignal], times: NDArray[np.float64]) -> SignalTracks:
    """What the signals add at (T,) times, in seconds on their clock."""
    head, spine = np.zeros((len(times), 3), np.float32), np.zeros((len(times), 3), np.float32)
    face = np.zeros((len(times), len(ARKIT_NAMES)), np.float32)
    for signal in signals:
        since = times - signal.at_s
        if signal.kind == "nod":
            head[:, 0] += np.float32(np.radians(_NOD_DEGREES) * signal.size) * _nodding(since, signal.count)
            continue
        move = movements()[signal.kind]
        shape = np.float32(signal.size) * _bump(since, move.lasts_s)
        turn = np.radians(np.array(move.head, np.float32)) * np.array([1, signal.side, signal.side], np.float32)
        head += shape[:, None] * turn
        degrees, hz = move.shake
        head[:, 1] += (
            np.float32(signal.side * np.radians(degrees)) * shape * np.sin(2 * np.pi * hz * since, dtype=np.float32)
        )
        spine[:, 0] += np.float32(np.radians(move.lean)) * shape
        for name, weight in (move.face or {}).items():
            for index in _both_sides(name):
                face[:, index] += np.float32(weight) * shape
    return SignalTracks(head, spine, face)


@cache
def _both_sides(name: str) -> tuple[int, ...]:
    """The columns of a blendshape: two where it has sides."""
    names = (name,) if name in ARKIT_NAMES else (f"{name}Left", f"{name}Right")
    return tuple(face_index(one) for one in names)


class ListenerBody:
    """Signals laid over the idle body, frame by frame; frames may be asked for in pieces of any length, in order."""

    def __init__(self) -> None:
        self._signals: list[ListenerSignal] = []
        self._attention: list[tuple[float, bool]] = []

    def add(self, signal: ListenerSignal) -> None:
        """Do this from `signal.at_s` on."""
        self._signals.append(signal)

    def attend(self, at_s: float, on: bool) -> None:
        """The partner begins or stops to speak: look there, lean in a little; or be at ease again.

        What was planned for `at_s` or later is dropped.
        """
        self._attention = [(when, what) for when, what in self._attention if when < at_s]
        if on != (self._attention[-1][1] if self._attention else False):
            self._attention.append((at_s, on))

    def attend_for(self, at_s: float, for_s: float, made_s: float) -> bool:
        """Attend from `at_s` for so long, or for as long as was planned if that is longer; 0 ends it at once.

        Returns:
            whether that changes anything before `made_s`, up to which frames were made already.
        """
        before = [item for item in self._attention if item[0] < made_s]
        planned_s = self._attention[-1][0] if self._attention and not self._attention[-1][1] else at_s
        until_s = max(at_s + for_s, planned_s) if for_s > 0 else at_s
        self.attend(at_s, for_s > 0)
        self.attend(until_s, False)
        return before != [item for item in self._attention if item[0] < made_s]

    def busy(self, kind: str, at_s: float) -> bool:
        """Whether a signal of that kind is still being made then, or one of which either answers what was said."""
        made = {s.kind for s in self._signals if s.at_s <= at_s < s.at_s + s.length_s}
        return kind in made or bool(made - {"brows"} if kind in _ANSWERS else made & _ANSWERS)

    def over(self, motion: Motion, start_s: float) -> Motion:
        """The idle motion, which begins at `start_s` of the clock, with what the listener does.

        Args:
            motion: (T, J) idle frames at 30 fps, with or without a face.
            start_s: the clock's time of its first frame; signals that ended long before are forgotten.
        """
        times = start_s + np.arange(len(motion)) / FPS
        self._signals = [signal for signal in self._signals if signal.at_s > start_s - 4.0]
        attention = self._attending(times)
        tracks = signal_tracks(self._signals, times)
        tracks.spine[:, 0] += np.radians(_LEAN_DEGREES) * attention
        return _faced(_turned(motion, tracks.head, tracks.spine), attention, tracks.face)

    def _attending(self, times: NDArray[np.float64]) -> Array:
        """(T,) from 0, at ease, to 1, with the partner; smooth."""
        level = np.zeros(len(times))
        value = 0.0
        for at_s, on in self._attention:
            x = np.clip((times - at_s) / _ATTEND_S, 0.0, 1.0)
            level += (float(on) - value) * x**3 * (10 - 15 * x + 6 * x * x)  # least jerk (Flash and Hogan 1985)
            value = float(on)
        if len(self._attention) > 64:  # what is over is in the first value
            self._attention = [(-1e9, self._attention[-33][1]), *self._attention[-32:]]
        return np.clip(level, 0.0, 1.0).astype(np.float32)


def _nodding(since: NDArray[np.float64], count: int) -> Array:
    """(T,) `count` nods down and up from 0, dying away, without a step of place or speed at either end."""
    length = count / _NOD_HZ
    inside = (since > 0) & (since < length)
    fade = np.sin(np.pi * np.clip(since / length, 0, 1)) ** 1.2 * (1 - 0.4 * np.clip(since / length, 0, 1))
    return np.where(inside, np.sin(2 * np.pi * _NOD_HZ * since) * fade, 0.0).astype(np.float32)


def _bump(since: NDArray[np.float64], length_s: float) -> Array:
    x = np.clip(since / length_s, 0.0, 1.0)
    return (0.5 - 0.5 * np.cos(2 * np.pi * x)).astype(np.float32)


def _turned(motion: Motion, head: Array, spine: Array) -> Motion:
    turned = motion.rotations.copy()
    for bone, track, part in (("neck", head, 0.4), ("head", head, 0.6), ("chest", spine, 1.0)):
        i = motion.skeleton.index(bone)
        turned[:, i] = rotations.multiply(turned[:, i], rotations.from_rotation_vector(track * np.float32(part)))
    return replace(motion, rotations=turned)


def _faced(motion: Motion, attention: Array, signals: Array) -> Motion:
    """Eyes on the partner, a slight smile, and what signals add, where the motion has a face."""
    if motion.face is None:
        return motion
    face = motion.face + signals
    for side in ("Left", "Right"):
        for way in ("In", "Out", "Up", "Down"):
            face[:, face_index(f"eyeLook{way}{side}")] *= 1 - (1 - _LOOK_AWAY) * attention
        face[:, face_index(f"mouthSmile{side}")] += _SMILE * attention
    return replace(motion, face=np.clip(face, 0.0, 1.0))


def listen(body: ListenerBody, signals: Sequence[ListenerSignal], events: Sequence[HearingEvent]) -> None:
    """Give a body what a `Listener` decided, and look at whom `Hearing` hears."""
    for signal in signals:
        body.add(signal)
    for event in events:
        if isinstance(event, SpeechStart):
            body.attend(event.at_s, True)
        elif isinstance(event, EndOfTurn):
            body.attend(event.at_s + 1.5, False)

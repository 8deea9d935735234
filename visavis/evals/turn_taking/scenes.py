"""Scripted two-channel scenes: the user's microphone and what the agent plays, with what truly happens in them.

Kinds, after Full-Duplex-Bench (Lin et al. 2025, arXiv:2503.04721; v1.5 arXiv:2507.23159):

- turn: the user says one sentence and stops (smooth turn taking)
- pause: the same with one or two pauses of 0.3 to 1.2 s inside, at commas or between any two words (pause handling)
- two: two sentences with such a pause between them; nobody can know, so it is counted apart
- backchannel: while the agent speaks the user says "mm-hm" or the like
- interruption: while the agent speaks the user says a sentence
- noise: coughs, clicks, keys, doors while the agent speaks, or while nobody does
- echo: the agent speaks and nobody else does

In the kinds in which the agent speaks its voice comes back into the microphone, 20 to 250 ms late, 8 to 30 dB softer,
through a room. All have background noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from visavis.emotion import EMOTIONS, Emotion
from visavis.evals.turn_taking import sounds
from visavis.evals.turn_taking.sentences import AGENT_VOICES, BABBLE_VOICES, BACKCHANNELS, VOICES, Split, sentences
from visavis.evals.turn_taking.sounds import RATE_HZ, Samples, faded, room, sounding, speech_level
from visavis.speech.espeak import EspeakVoice
from visavis.speech.streamed import Resampler

__all__ = ["KINDS", "SNRS_DB", "Scene", "SceneMaker", "Said"]

KINDS = ("turn", "pause", "two", "backchannel", "interruption", "noise", "echo")
SNRS_DB = (30.0, 20.0, 10.0, 5.0)
PAUSES_S = (0.3, 1.2)
_AFTER_S = 2.5  # the user is silent at the end
_ECHO_DELAY_S, _ECHO_DB = (0.02, 0.25), (-30.0, -8.0)


@dataclass(frozen=True)
class Said:
    """A word of the user and when it has been said, seconds of the scene."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene on the microphone's clock.

    near: (N,) float32 at 16 kHz, the microphone without echo.
    echo: (N,) what of the agent's voice is in the microphone, `echo_delay_s` behind `played`.
    played: (N,) the agent's voice as it is played; empty in kinds without it.
    start_s, end_s: of the user's speech (of the event in "noise"); NaN in "echo".
    pauses: (start, end, sort) inside the user's speech, sort "comma", "hesitation" or "sentence".
    """

    kind: str
    what: str
    near: Samples
    echo: Samples
    played: Samples
    echo_delay_s: float
    start_s: float
    end_s: float
    snr_db: float
    pauses: tuple[tuple[float, float, str], ...] = ()
    words: tuple[Said, ...] = field(default=())


class SceneMaker:
    """Makes the scenes of a split; a context manager, because it holds voices."""

    def __init__(self, split: Split) -> None:
        self.split: Split = split
        self._voices: dict[str, EspeakVoice] = {}
        self._babble: Samples | None = None

    def __enter__(self) -> SceneMaker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for voice in self._voices.values():
            voice.close()

    def make(self, kinds: dict[str, int], seed: int = 0) -> Iterator[Scene]:
        """The given number of scenes of each kind."""
        for kind, count in kinds.items():
            for number in range(count):
                yield self.scene(kind, np.random.default_rng([seed, KINDS.index(kind), number, len(self.split)]))

    def scene(self, kind: str, rng: np.random.Generator, echo: tuple[float, float] | None = None) -> Scene:
        """One scene of a kind; every choice is made by `rng`, but for the echo's delay (s) and level (dB) if given."""
        if kind in ("turn", "pause", "two"):
            return self._turn(kind, rng)
        if kind == "noise" and rng.random() < 0.4:
            what, sound = _event(rng)
            return self._mixed(kind, f"{what}, nobody speaks", sound, 1.0, 0.0, rng, (), ())
        played = self._agent(rng)
        at_s = float(rng.uniform(1.2, 2.5))
        if kind == "backchannel":
            text = str(rng.choice(BACKCHANNELS[self.split]))
            sound, words = self._say(text, rng)
            return self._mixed(kind, text, sound, at_s, 0.0, rng, (), words, played, echo)
        if kind == "interruption":
            text = str(rng.choice(sentences(self.split)))
            sound, words = self._say(text, rng)
            return self._mixed(kind, text, sound, at_s, 0.0, rng, (), words, played, echo)
        if kind == "noise":
            what, sound = _event(rng)
            return self._mixed(kind, f"{what}, the agent speaks", sound, at_s, 0.0, rng, (), (), played, echo)
        return self._mixed(kind, "", np.zeros(RATE_HZ // 10, np.float32), 0.5, 0.0, rng, (), (), played, echo)

    def _speak(self, text: str, name: str, emotion: Emotion) -> tuple[Samples, list[Said]]:
        if name not in self._voices:
            self._voices[name] = EspeakVoice(name)
        speech = self._voices[name].speak(text, emotion)
        resampler = Resampler(speech.sample_rate_hz)
        sound = resampler.feed(speech.samples.astype(np.float32) / np.float32(32768))
        return sound, [Said(w.text, w.start_s, w.end_s) for w in speech.words]

    def _say(
        self, text: str, rng: np.random.Generator, name: str | None = None, emotion: Emotion | None = None
    ) -> tuple[Samples, list[Said]]:
        """The user's voice without the silence around it."""
        emotion = emotion or _some_emotion(rng)
        sound, words = self._speak(text, name or str(rng.choice(VOICES[self.split])), emotion)
        first, last = sounding(sound)
        moved = [Said(w.text, w.start_s - first / RATE_HZ, w.end_s - first / RATE_HZ) for w in words]
        return faded(sound[first:last]), moved

    def _agent(self, rng: np.random.Generator) -> Samples:
        """Five to seven seconds of the agent's voice."""
        name = str(rng.choice(AGENT_VOICES[self.split]))
        sound = np.zeros(0, np.float32)
        while len(sound) < 5 * RATE_HZ:
            part, _ = self._speak(str(rng.choice(sentences(self.split))), name, Emotion())
            sound = np.concatenate([sound, part, np.zeros(int(rng.uniform(0.05, 0.3) * RATE_HZ), np.float32)])
        sound = sound[: 7 * RATE_HZ]
        return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)

    def _turn(self, kind: str, rng: np.random.Generator) -> Scene:
        name, emotion = str(rng.choice(VOICES[self.split])), _some_emotion(rng)
        text = str(rng.choice(sentences(self.split)))
        sound, words = self._say(text, rng, name, emotion)
        pauses: tuple[tuple[float, float, str], ...] = ()
        if kind == "pause":
            for _ in range(1 if rng.random() < 0.7 else 2):
                sound, words, pauses = self._paused(sound, words, pauses, name, emotion, rng)
        elif kind == "two":
            other = str(rng.choice(sentences(self.split)))
            more, others = self._say(other, rng, name, emotion)
            text, length, gap = f"{text} {other}", len(sound) / RATE_HZ, float(rng.uniform(*PAUSES_S))
            pauses = ((length, length + gap, "sentence"),)
            sound = np.concatenate([sound, np.zeros(round(gap * RATE_HZ), np.float32), more])
            at = length + gap
            words = words + [Said(w.text, w.start_s + at, w.end_s + at) for w in others]
        return self._mixed(kind, text, sound, 0.6, _AFTER_S, rng, pauses, words)

    def _paused(
        self, sound: Samples, words: list[Said], pauses: tuple[tuple[float, float, str], ...], name: str,
        emotion: Emotion, rng: np.random.Generator,
    ) -> tuple[Samples, list[Said], tuple[tuple[float, float, str], ...]]:  # fmt: skip
        """One pause more, at a comma if there is one (half of the time), else between any two words."""
        taken = [at for a, b, _ in pauses for at in (a, b)]
        places = [i for i in range(1, len(words)) if all(abs(words[i].start_s - at) > 0.6 for at in taken)]
        if not places:
            return sound, words, pauses
        commas = [i for i in places if words[i - 1].text.endswith(",")]
        comma = bool(commas) and rng.random() < 0.5
        i = int(rng.choice(commas if comma else places))
        border_s = 0.5 * (words[i - 1].end_s + words[i].start_s)
        cut = _quietest(sound, round(border_s * RATE_HZ), round(0.03 * RATE_HZ))
        head, tail = sound[:cut], sound[cut:]
        if not comma and rng.random() < 0.6:  # who hesitates draws the word out
            begin = round(words[i - 1].start_s * RATE_HZ)
            head = np.concatenate([head[:begin], sounds.stretched(head[begin:], rng.uniform(1.15, 1.6))])
        head, tail = faded(head, begin=False), faded(tail, end=False)
        head = head[: sounding(head)[1]]
        tail = tail[sounding(tail)[0] :]
        before, after = list(words[:i]), words[i:]
        before[-1] = Said(before[-1].text, before[-1].start_s, len(head) / RATE_HZ)
        if not comma and rng.random() < 0.35:
            filler, said = self._say(str(rng.choice(["um,", "uh,", "er,"])), rng, name, emotion)
            gap_s = float(rng.uniform(0.05, 0.15))
            at = len(head) / RATE_HZ + gap_s
            before += [Said(w.text, w.start_s + at, w.end_s + at) for w in said]
            head = np.concatenate([head, np.zeros(round(gap_s * RATE_HZ), np.float32), filler])
        length_s = float(rng.uniform(*PAUSES_S))
        start_s = len(head) / RATE_HZ
        shift = start_s + length_s - after[0].start_s
        joined = np.concatenate([head, np.zeros(round(length_s * RATE_HZ), np.float32), tail])
        moved = [Said(w.text, w.start_s + shift, w.end_s + shift) for w in after]
        later = tuple((a + shift, b + shift, c) for a, b, c in pauses if a >= start_s - 0.3)
        earlier = tuple(p for p in pauses if p[0] < start_s - 0.3)
        sort = "comma" if comma else "hesitation"
        return joined, before + moved, (*earlier, (start_s, start_s + length_s, sort), *later)

    def _mixed(
        self, kind: str, what: str, user: Samples, at_s: float, after_s: float, rng: np.random.Generator,
        pauses: tuple[tuple[float, float, str], ...], words: list[Said] | tuple[Said, ...],
        played: Samples | None = None, back_as: tuple[float, float] | None = None,
    ) -> Scene:  # fmt: skip
        """The user's sound at `at_s`, in a room, with noise and echo."""
        level = 10 ** (rng.uniform(-30, -16) / 20)
        total = round(at_s * RATE_HZ) + len(user) + round((after_s or 1.5) * RATE_HZ)
        if played is not None:
            total = max(total, len(played) + RATE_HZ)
        near = np.zeros(total, np.float32)
        begin = round(at_s * RATE_HZ)
        silent = kind == "echo"
        if not silent:
            near[begin : begin + len(user)] = user * (level / max(speech_level(user), 1e-6))
            if rng.random() < 0.5:
                near = room(near, rng, rng.uniform(0.15, 0.4), rng.uniform(4, 14))
        snr_db = float(rng.choice(SNRS_DB))
        near = near + self._background(total, rng) * np.float32(level * 10 ** (-snr_db / 20))
        echo, delay_s = np.zeros(total, np.float32), 0.0
        whole = np.zeros(0, np.float32)
        if played is not None:
            whole = np.pad(played, (0, total - len(played)))
            delay_s = float(rng.uniform(*_ECHO_DELAY_S)) if back_as is None else back_as[0]
            bent = (np.tanh(2 * whole) / 2).astype(np.float32)
            back = bent if rng.random() < 0.5 else whole  # a small loudspeaker bends what is loud
            back = room(back, rng, rng.uniform(0.15, 0.4), rng.uniform(0, 10))
            late = round(delay_s * RATE_HZ)
            level_db = float(rng.uniform(*_ECHO_DB)) if back_as is None else back_as[1]
            echo[late:] = back[: total - late] * np.float32(10 ** (level_db / 20))
        moved = tuple((a + at_s, b + at_s, c) for a, b, c in pauses)
        said = tuple(Said(w.text, w.start_s + at_s, w.end_s + at_s) for w in words)
        start_s, end_s = (float("nan"),) * 2 if silent else (at_s, at_s + len(user) / RATE_HZ)
        return Scene(kind, what, near, echo, whole, delay_s, start_s, end_s, snr_db, moved, said)

    def _background(self, samples: int, rng: np.random.Generator) -> Samples:
        """Noise of unit power: coloured, or people who talk far away."""
        if rng.random() < 0.75:
            return sounds.colored_noise(samples, rng, rng.uniform(0.0, 1.0))
        if self._babble is None:
            some = np.random.default_rng(0)
            tracks = []
            for name in BABBLE_VOICES:
                parts = [self._speak(str(some.choice(sentences("train"))), name, Emotion())[0] for _ in range(6)]
                tracks.append(np.concatenate(parts)[: 12 * RATE_HZ])
            shortest = min(map(len, tracks))
            mixed = np.sum([t[:shortest] / speech_level(t) for t in tracks], axis=0)
            self._babble = room((mixed / np.sqrt((mixed**2).mean())).astype(np.float32), some, 0.5, -6)
            self._babble /= np.sqrt((self._babble**2).mean())
        first = int(rng.integers(len(self._babble)))
        return np.resize(np.roll(self._babble, -first), samples)


def _some_emotion(rng: np.random.Generator) -> Emotion:
    """Half of the turns are said with some feeling, which changes rate, pitch and range."""
    if rng.random() < 0.5:
        return Emotion()
    return Emotion(str(rng.choice(EMOTIONS[1:])), float(rng.uniform(0.2, 0.8)))


def _quietest(sound: Samples, near: int, within: int) -> int:
    """The sample around which 5 ms are quietest."""
    places = range(max(0, near - within), min(len(sound), near + within), 16)
    return min(places, key=lambda k: float((sound[max(0, k - 40) : k + 40] ** 2).sum()), default=near)


def _event(rng: np.random.Generator) -> tuple[str, Samples]:
    makers = {"cough": sounds.cough, "click": sounds.click, "keys": sounds.typing, "door": sounds.door}
    what = str(rng.choice(list(makers)))
    return what, makers[what](rng)

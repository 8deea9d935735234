"""The listening body of a session: how it joins what comes before and after, what it costs, how often it answers.

A clock that is turned by hand, so that minutes take seconds: the body idles, a partner speaks (held-out sentences in
voices of the test split over faint noise, through the real hearing), a turn is made and played to its end or
interrupted; again and again. A client shows what is sent by the rule of the session's clock. At every change of what
is shown (a signal or attention, a turn's beginning and end, an interruption) the step of the fastest joint, and the
change of its speed, are compared with those inside: at signals with the body that idles and listens, elsewhere with the
body that speaks.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent
from visavis.agent.attending import Attending
from visavis.agent.events import Backchannel, Event, FaceDelta, MotionDelta, SpeechDelta
from visavis.agent.live import LiveBody
from visavis.agent.playout import Playout
from visavis.agent.turn import Turn
from visavis.agent.turn_taking import EndOfTurn, Hearing
from visavis.emotion import Emotion
from visavis.evals.first_light.table import Table, data_file, progress, share
from visavis.evals.turn_taking.sentences import VOICES, sentences
from visavis.metrics.bootstrap import bootstrap
from visavis.motion.kinematics import positions
from visavis.motion.motion import FPS, Motion
from visavis.speech import open_voice

__all__ = ["measure"]

STEP_S: Final = 0.1  # the beat, and a piece of the microphone
WRISTS_AND_HEAD: Final = ("leftHand", "rightHand", "head")
COSTS: Final = ("the idle body", "the listening body", "deciding on nods by sound", "hearing")
KINDS: Final = ("signal", "turn begins", "turn ends", "interruption")


class _Client:
    """Shows what it is sent, and notes where what it shows changes its source."""

    def __init__(self) -> None:
        self.frames: dict[int, tuple[NDArray[np.float32], NDArray[np.float32], bool]] = {}
        self.borders: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self.signals: list[str] = []
        self.cut = False
        self._end = 0
        self._turn = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Backchannel):
            self.signals.append(event.kind)
        if not isinstance(event, MotionDelta):
            return
        first = round(event.clock_s * FPS)
        assert first <= self._end, f"frames {self._end} to {first} are missing"
        kind = None
        if self.cut:
            kind, self.cut = "interruption", False
        elif event.turn_id != self._turn:
            kind = "turn begins" if event.turn_id else "turn ends"
        elif first < self._end:
            kind = "signal"
        if kind is not None and first:
            for others in self.borders.values():
                others[:] = [other for other in others if other < first]  # never shown
            self.borders[kind].append(first)
        for frame in range(first + len(event.rotations), self._end):
            del self.frames[frame]
        for k in range(len(event.rotations)):
            self.frames[first + k] = (event.rotations[k], event.root_m[k], bool(event.turn_id))
        self._end, self._turn = first + len(event.rotations), event.turn_id


class _Scene:
    """The body, its partner and the clock."""

    def __init__(self, seed: int) -> None:
        self.client = _Client()
        self.now = 0.0
        self.live = LiveBody(seed, self.client, self.now)
        self.cost_s = {what: [0.0, 0.0] for what in COSTS}  # of the processor, of time
        self.hearing, self.attending = Hearing(), Attending(seed)

    def run(self, seconds: float, playout: Playout | None = None) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            if playout is not None and playout.over_at is None and playout.all_played(self.now):
                playout.end(self.now)
                self.live.end(playout, self.now)
            began = time.process_time()
            self.live.tick(self.now, True)
            if playout is None:
                self._note("the idle body", began, STEP_S)

    def partner(self, sound: NDArray[np.int16], rate_hz: int) -> bool:
        """The partner speaks, and falls silent; whether the end of the turn was noticed."""
        size = round(STEP_S * rate_hz)
        for k in range(0, len(sound) - size + 1, size):
            piece = sound[k : k + size]
            self.now += STEP_S
            began = time.process_time()
            noticed = self.hearing.feed(piece, rate_hz)
            self._note("hearing", began, STEP_S)
            began = time.process_time()
            attention = self.attending.sound(piece, rate_hz, noticed)
            self._note("deciding on nods by sound", began, STEP_S)
            began = time.process_time()
            self.live.listen(attention, self.now)
            self.live.tick(self.now, True)
            self._note("the listening body", began, STEP_S)
            if any(isinstance(event, EndOfTurn) for event in noticed):
                return True
        return False

    def play(self, turn: Turn, number: int, until_s: float | None) -> None:
        """Play a turn to its end, or until it is interrupted."""
        playout, id_ = Playout(f"turn-{number}"), f"turn-{number}"
        self.live.begin(playout)
        motion, speech = turn.motion, turn.speech
        assert motion.face is not None, "a turn has a face"
        words = [{"text": w.text, "start_s": w.start_s, "end_s": w.end_s} for w in speech.words]
        rate_hz = speech.sample_rate_hz
        for event in (
            SpeechDelta(pcm=speech.samples, sample_rate_hz=rate_hz, start_s=0.0, words=words, turn_id=id_),
            FaceDelta(weights=motion.face, start_s=0.0, turn_id=id_),
            MotionDelta(rotations=motion.rotations, root_m=motion.root_m, start_s=0.0, turn_id=id_),
        ):
            self.live.add(event, self.now)
        playout.complete = True
        self.run(min(until_s, motion.duration_s) if until_s is not None else motion.duration_s + 0.5, playout)
        if until_s is not None and playout.over_at is None:
            playout.cut(self.now)
            self.client.cut = True
            self.live.cut(self.now)

    def _note(self, what: str, began: float, seconds: float) -> None:
        self.cost_s[what][0] += time.process_time() - began
        self.cost_s[what][1] += seconds


def measure(count: int = 150, seed: int = 0, **options: Any) -> Table:
    """Let `count` partners speak and be answered, half of them interrupting."""
    rng = np.random.default_rng(seed)
    lines = data_file("timing_sentences.txt").read_text("utf-8").splitlines()
    scene, noticed, spoken_s = _Scene(seed), 0, 0.0
    voices = {name: open_voice(name) for name in VOICES["test"]}
    with Agent(seed=seed, **options) as agent:
        session = agent.session()
        for number in progress(range(count), "partners"):
            scene.run(float(rng.uniform(1.0, 4.0)))
            said = voices[str(rng.choice(VOICES["test"]))].speak(
                " ".join(map(str, rng.choice(sentences("test"), 2, replace=False))), Emotion()
            )
            sound = np.concatenate([said.samples, np.zeros(2 * said.sample_rate_hz, np.int16)])
            noise = rng.normal(0, 30, len(sound))
            noticed += scene.partner((sound + noise).astype(np.int16), said.sample_rate_hz)
            spoken_s += said.duration_s
            scene.run(float(rng.uniform(0.2, 0.8)))
            # As a live turn is begun.
            session._maker.body.begin(scene.live.shown(scene.now), scene.live.timeline.end / FPS)
            turn = session.say(" ".join(rng.choice(lines, 2, replace=False)))
            scene.play(turn, number, float(rng.uniform(0.3, 5.0)) if number % 2 else None)
    for voice in voices.values():
        voice.close()
    return _table(scene, noticed, count, spoken_s)


def _table(scene: _Scene, noticed: int, count: int, spoken_s: float) -> Table:
    table, client = Table("The listening body of a session"), scene.client
    shown = [client.frames[k] for k in range(round(scene.live.frame(scene.now)))]
    motion = Motion(np.stack([r for r, _, _ in shown]), np.stack([m for _, m, _ in shown]))
    joints = [motion.skeleton.index(name) for name in WRISTS_AND_HEAD]
    places = positions(motion)[:, joints]
    turned = np.array([turn for _, _, turn in shown])
    near = np.convolve(turned, np.ones(5), "same") > 0
    changes = {b for kind in KINDS for b in client.borders[kind]}
    for kind in KINDS:
        _seams(table, kind, places, client.borders[kind], changes, ~near if kind == "signal" else near)
    minutes = spoken_s / 60
    for kind in ("nod", "tilt", "brows"):
        table.add(f"{kind} a minute of the partner's speech", bootstrap([client.signals.count(kind) / minutes]))
    table.add("ends of turns that were noticed", bootstrap([noticed / count]), "%", 100)
    for what, (cost_s, of_s) in scene.cost_s.items():
        table.add(f"{what}, of the processor", bootstrap([cost_s / of_s]), "ms/s", 1000)
    table.details = {"shown_s": len(shown) / FPS, "borders": {kind: len(client.borders[kind]) for kind in KINDS}}
    return table


def _seams(
    table: Table,
    name: str,
    places: NDArray[np.float32],
    borders: Sequence[int],
    changes: Collection[int],
    inside: NDArray[np.bool_],
) -> None:
    """Steps, and changes of speed, at some borders beside those of frames inside that are two or more from any."""
    far = inside.copy()
    for border in changes:
        far[max(border - 2, 0) : border + 3] = False
    for what, order in (("step", 1), ("change of speed", 2)):
        # found[i] is what happens at frame i: the step into it, or the larger change of speed of the two that span it.
        found = np.linalg.norm(np.diff(places, n=order, axis=0), axis=-1).max(axis=-1)
        found = np.concatenate([[0.0], found] if order == 1 else [[0.0], np.maximum(found, np.roll(found, 1)), [0.0]])
        inner = [b for b in borders if 2 <= b < len(found) - 2]
        at, usual = found[inner], found[far]
        table.add(f"{name}: {what} above the 99th percentile", share(at > np.quantile(usual, 0.99)), "%", 100)
        ratio = bootstrap(at / np.median(usual), lambda x: float(np.median(x)))
        table.add(f"{name}: {what}, median over the usual", ratio)
        table.add(f"{name}: {what}, largest over the largest", bootstrap([float(at.max() / usual.max())]))
        if order == 1:  # what the body does at that moment is chance; that it goes on with it is not
            before = found[np.array(inner) - 1]
            ratio = bootstrap(at / np.maximum(before, 1e-6), lambda x: float(np.median(x)))
            table.add(f"{name}: step, median over the one before", ratio)

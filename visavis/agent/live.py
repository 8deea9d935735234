"""The body of a session in real time: motion without a gap, and a turn's sound let out just ahead of its playing.

A turn is computed clause by clause, faster than it is spoken. What is computed waits here (at most `COMPUTED_S`; then
the turn's maker waits) and is let out in pieces of `PIECE_S`, `AHEAD_S` before it is due: so a client needs a small
buffer, and an interruption finds little that was sent too early. Every change of source begins at what is displayed
then and is blended over by inertialisation: from idling into a turn, over the end of a turn, and, at an interruption,
from the pose in which the client's player stands.

Where no turn plays the body idles, or listens: what the listener does is laid over the idle body. It is decided at once
and some idling is always sent ahead; so that is sent again, from the moment on at which it changes.

One clock, in frames at 30 fps, carries idling and turns. While a turn plays its place is what the client has played.
Not thread-safe: the session calls it under its lock. Knows nothing of text, history or why a turn is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from visavis.agent.attending import Attention
from visavis.agent.events import Backchannel, Event, FaceDelta, MotionDelta, SpeechDelta
from visavis.agent.listening import ListenerBody
from visavis.agent.playout import Playout
from visavis.agent.timeline import Timeline
from visavis.motion.blend import inertialize
from visavis.motion.idle import idle
from visavis.motion.motion import FPS, Motion
from visavis.speech.face import idle_face

__all__ = ["AHEAD_S", "COMPUTED_S", "PIECE_S", "LiveBody"]

PIECE_S: Final = 0.2
AHEAD_S: Final = 1.5
COMPUTED_S: Final = 12.0
IDLE_AHEAD_S: Final = 0.5  # so much idling is always sent ahead
IDLE_PIECE_S: Final = 1.0
PAST_S: Final = 10.0  # so much of the past is made up for where the machine was too busy
START_FRAMES: Final = 3  # from "ready" to the first frame of a turn, for the way to the client
JOIN_FRAMES: Final = 16  # of what was shown, that the next motion continues
SEAM_HALF_LIFE_S: Final = 0.12
RELEASE_HALF_LIFE_S: Final = 0.22  # raised hands come down from a gesture cut short at a natural speed


class _Clause:
    """One computed clause, let out little by little."""

    def __init__(self, speech: SpeechDelta, motion: Motion, start_s: float, of: Event) -> None:
        self.speech, self.motion = speech, motion
        self.turn_id, self.session_id = of.turn_id, of.session_id
        self.first = round(start_s * FPS)  # its first frame on the turn's clock
        self.frames = self.samples = 0  # let out so far
        self.words, self.visemes = list(speech.words), list(speech.visemes)

    @property
    def next_s(self) -> float:
        """When what comes next is due, on the turn's clock."""
        return min(
            (self.first + self.frames) / FPS if self.frames < len(self.motion) else np.inf,
            self.speech.start_s + self.samples / self.speech.sample_rate_hz
            if self.samples < len(self.speech.pcm) else np.inf,
        )  # fmt: skip

    @property
    def end_s(self) -> float:
        """Where its motion ends."""
        return (self.first + len(self.motion)) / FPS

    def extend(self, motion: Motion) -> None:
        """More of its motion has come."""
        self.motion = self.motion.concatenate(motion)

    def sound(self, until_s: float) -> SpeechDelta | None:
        """The samples before `until_s` that were not let out yet, with the words and visemes that begin in them."""
        rate, start_s = self.speech.sample_rate_hz, self.speech.start_s
        until = min(max(round((until_s - start_s) * rate), self.samples), len(self.speech.pcm))
        last = until == len(self.speech.pcm)
        if until == self.samples:
            return None
        words = [word for word in self.words if last or word["start_s"] < until_s]
        shapes = [shape for shape in self.visemes if last or shape["start_s"] < until_s]
        del self.words[: len(words)], self.visemes[: len(shapes)]
        pcm = self.speech.pcm[self.samples : until]
        at_s = start_s + self.samples / rate
        self.samples = until
        return SpeechDelta(pcm=pcm, sample_rate_hz=rate, start_s=at_s, words=words, visemes=shapes)

    def steps(self, until_s: float) -> tuple[int, Motion] | None:
        """The frames before `until_s` that were not let out yet, and the first of them on the turn's clock."""
        until = min(max(int(np.ceil(until_s * FPS - 1e-6)) - self.first, self.frames), len(self.motion))
        if until == self.frames:
            return None
        first, piece = self.first + self.frames, self.motion.slice(self.frames, until)
        self.frames = until
        return first, piece

    def join(self, shown: Motion) -> None:
        """Let the frames that are still here continue what was shown."""
        rest = inertialize(shown, self.motion.slice(self.frames, len(self.motion)), SEAM_HALF_LIFE_S)
        self.motion = self.motion.slice(0, self.frames).concatenate(rest) if self.frames else rest


class LiveBody:
    """See the head of the module.

    Args:
        seed: of the idling body.
        publish: sends an event to the client.
        now: seconds on the clock of the session's playouts.
    """

    def __init__(self, seed: int, publish: Callable[[Event], None], now: float) -> None:
        self.timeline = Timeline()
        self.underruns = 0
        self._seed, self._publish = seed, publish
        self._zero = now  # when frame 0 was, while no turn plays
        self._waiting: deque[Event | _Clause] = deque()
        self._sound: SpeechDelta | None = None  # of the clause that comes in
        self._face: FaceDelta | None = None
        self._playout: Playout | None = None
        self._queued: deque[Playout] = deque()
        self._begins = 0  # the turn's first frame on the clock
        self._flowing = False  # the turn's last frames are the timeline's last
        self._listener = ListenerBody()
        self._idled: tuple[int, Motion] | None = None  # idling at the timeline's end, and where it begins
        self._half_life_s = SEAM_HALF_LIFE_S  # of what they are blended in with

    # --- what is asked -----------------------------------------------------------------------------------------

    def frame(self, now: float) -> float:
        """The frame that is displayed now."""
        if self._flowing and self._playout is not None:
            return self._begins + self._playout.place_s(now) * FPS
        return (now - self._zero) * FPS

    def clock_s(self, now: float) -> float:
        """The session's clock."""
        return self.frame(now) / FPS

    @property
    def computed_s(self) -> float:
        """Seconds of computed turns that wait to be let out."""
        return sum((len(c.motion) - c.frames) / FPS for c in self._waiting if isinstance(c, _Clause))

    def shown(self, now: float) -> Motion | None:
        """The last frames that a new motion should continue."""
        return self.timeline.before(self.timeline.end, 2 * JOIN_FRAMES)

    # --- what comes in -----------------------------------------------------------------------------------------

    def begin(self, playout: Playout) -> None:
        """A turn is being made; its events come by `add`."""
        self._queued.append(playout)

    def add(self, event: Event, now: float) -> None:
        """An event of the turn in the making, in order."""
        if isinstance(event, SpeechDelta):
            self._sound = event
        elif isinstance(event, FaceDelta):
            self._face = event
        elif isinstance(event, MotionDelta):
            assert self._face is not None, "the face of a piece comes before its motion"
            motion = Motion(event.rotations, event.root_m, self._face.weights)
            last = self._waiting[-1] if self._waiting else None
            if self._sound is None and isinstance(last, _Clause):
                last.extend(motion)
            else:
                silence = SpeechDelta(pcm=np.zeros(0, np.int16), sample_rate_hz=16_000, start_s=event.start_s)
                self._waiting.append(_Clause(self._sound or silence, motion, event.start_s, event))
            self._sound = None
        else:
            self._waiting.append(event)
        self.tick(now, True)

    def listen(self, attention: Attention, now: float) -> None:
        """Show that the partner is listened to; what cannot be shown now, because a turn plays, is not shown later."""
        first = int(np.ceil(self.frame(now))) + START_FRAMES
        if self._idled is not None:
            first = max(first, self._idled[0])
        at_s, changed = first / FPS, False
        if attention.for_s is not None:
            changed = self._listener.attend_for(at_s, attention.for_s, self.timeline.end / FPS)
        for signal in attention.signals if self._idled is not None else ():
            if not self._listener.busy(signal.kind, at_s):
                self._listener.add(replace(signal, at_s=at_s))
                changed = True
                if signal.kind != "look up":
                    self._publish(Backchannel(kind=signal.kind, clock_s=at_s))
        if changed and self._idled is not None and first < self.timeline.end:
            start, motion = self._idled
            self._show(first, motion.slice(first - start, len(motion)))

    # --- what goes out -----------------------------------------------------------------------------------------

    def tick(self, now: float, body: bool) -> None:
        """Let out what is due; `body`: somebody wants the motion between turns, too."""
        playout = self._playout
        if self._flowing and playout is not None and self._dry(playout, now):
            self._run_on(playout, now)
            self.underruns += playout.over_at is None
        self._release(now)
        playout = self._playout
        ends = playout is not None and playout.complete and not self._waiting
        if (ends or not self._flowing) and body and self.timeline.end - self.frame(now) < IDLE_AHEAD_S * FPS:
            self._idle(self.timeline.end, now, SEAM_HALF_LIFE_S)

    def _run_on(self, playout: Playout, now: float) -> None:
        """The player has nothing more to play: the clock runs on by itself, since then, however late that is seen."""
        self._zero = now - self.frame(now) / FPS - playout.waited_s(now)
        self._flowing = False

    def _dry(self, playout: Playout, now: float) -> bool:
        """Whether the player has played all that was let out, and more is to come: it was late."""
        more = not playout.complete or any(isinstance(item, _Clause) for item in self._waiting)
        return playout.over_at is not None or (more and playout.played_s(now) >= playout.sent_s - 0.02)

    def end(self, playout: Playout, now: float) -> None:
        """A turn was played to its end: idling goes on from there."""
        if self._playout is playout:
            if self._flowing:
                self._run_on(playout, now)
            self._playout = None
            rest = [i for i in self._waiting if not (isinstance(i, _Clause) and i.turn_id == playout.turn_id)]
            self._waiting = deque(rest)  # silence behind the end

    def cut(self, now: float) -> None:
        """Drop all that waits and all that was sent and not displayed; the body comes to rest from where it is.

        The playouts must be cut before, so that the clock stands where the client stopped.
        """
        frame = self.frame(now)
        self._zero = now - frame / FPS
        rest = min(int(frame) + 1, self.timeline.end)
        self._waiting.clear()
        self._queued.clear()
        self._sound, self._face, self._playout, self._flowing = None, None, None, False
        self._idle(rest, now, RELEASE_HALF_LIFE_S)

    def _release(self, now: float) -> None:
        while self._waiting:
            item = self._waiting[0]
            if not isinstance(item, _Clause):
                self._waiting.popleft()
                self._publish(item)
                continue
            if not self._start(item, now):
                return
            assert self._playout is not None, "a clause belongs to a turn"
            until_s = self._playout.played_s(now) + AHEAD_S
            # No sound is let out for which the motion is still being made.
            most_s = np.inf if len(self._waiting) > 1 or self._playout.complete else item.end_s
            while item.next_s < min(until_s, most_s) and self._piece(item, min(item.next_s + PIECE_S, most_s), now):
                pass
            if item.next_s < np.inf:
                return
            self._waiting.popleft()

    def _start(self, clause: _Clause, now: float) -> bool:
        """Whether the clause may be let out now: the turn before it must be over; sets where its turn begins."""
        turn_id = clause.turn_id
        if self._playout is None or self._playout.turn_id != turn_id:
            if self._playout is not None and self._playout.over_at is None and not self._playout.all_played(now):
                return False
            while self._queued and self._queued[0].turn_id != turn_id:
                self._queued.popleft()
            if self._flowing and self._playout is not None:
                self._run_on(self._playout, now)
            self._playout, self._flowing = self._queued.popleft(), False
        if not self._flowing:  # the turn's beginning, or a clause that comes too late to follow at once
            first = min(int(np.ceil(self.frame(now))) + START_FRAMES, self.timeline.end)
            self._begins = first - clause.first - clause.frames
            self._playout.start(now + (first - self.frame(now)) / FPS)
            if (shown := self.timeline.before(first, JOIN_FRAMES)) is not None:
                clause.join(shown)
            self._flowing, self._idled = True, None
        return True

    def _piece(self, clause: _Clause, until_s: float, now: float) -> bool:
        """Let out what comes before a time; whether there was anything: less than half a sample is nothing."""
        playout = self._playout
        assert playout is not None, "a piece belongs to a turn"
        offset_s = self._begins / FPS
        sound, steps = clause.sound(until_s), clause.steps(until_s)
        if sound is not None:
            sound.clock_s = offset_s + sound.start_s
            playout.send(min(until_s, clause.end_s), now, [(str(w["text"]), float(w["end_s"])) for w in sound.words])
            self._stamped(sound, clause)
        if steps is not None:
            first, motion = steps
            assert motion.face is not None, "a turn has a face"
            playout.send((first + len(motion)) / FPS, now)
            self.timeline.put(self._begins + first, motion)
            start_s = first / FPS
            clock_s = offset_s + start_s
            self._stamped(FaceDelta(weights=motion.face, start_s=start_s, clock_s=clock_s), clause)
            self._stamped(
                MotionDelta(rotations=motion.rotations, root_m=motion.root_m, start_s=start_s, clock_s=clock_s), clause
            )
        return sound is not None or steps is not None

    def _stamped(self, event: Event, clause: _Clause) -> None:
        event.turn_id, event.session_id = clause.turn_id, clause.session_id
        self._publish(event)

    def _idle(self, first: int, now: float, half_life_s: float) -> None:
        """Send a second of the idling body from a frame on, continuing what is shown before it; more if it is late."""
        frames, behind = round(IDLE_PIECE_S * FPS), max(int(self.frame(now)) - first, 0)
        if behind > PAST_S * FPS:  # nobody looked for a long while: what is past need not be made
            first, behind, self.timeline = first + behind, 0, Timeline()
        frames += behind
        start_s = first / FPS
        motion = idle(frames, self._seed, start_s).with_face(idle_face(frames, self._seed, start_s))
        before = self._idled
        self._idled, self._half_life_s = (first, motion), half_life_s
        self._show(first, motion)
        if before is not None and before[0] + len(before[1]) >= first:  # some of it is still to be displayed
            shown = max(int(self.frame(now)), before[0])
            if shown < first:
                self._idled = (shown, before[1].slice(shown - before[0], first - before[0]).concatenate(motion))

    def _show(self, first: int, idling: Motion) -> None:
        """Send frames of the idling body, with what the listener does, continuing what is shown before them."""
        start_s = first / FPS
        motion = self._listener.over(idling, start_s)
        if (shown := self.timeline.before(first, JOIN_FRAMES)) is not None:
            motion = inertialize(shown, motion, self._half_life_s)
        self.timeline.put(first, motion)
        assert motion.face is not None, "an idling body has a face"
        self._publish(FaceDelta(weights=motion.face, start_s=start_s, clock_s=start_s))
        self._publish(MotionDelta(rotations=motion.rotations, root_m=motion.root_m, start_s=start_s, clock_s=start_s))

"""`visavis move`: motion files refined, continued, filled in, edited, or made from a recording alone.

The modes of `visavis.refiner` on files of any format that is read. Motion of another body comes out on the default
skeleton, which `visavis convert` brings to any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from visavis.errors import UsageError

if TYPE_CHECKING:
    from visavis.emotion import Emotion
    from visavis.motion.motion import Motion
    from visavis.refiner import Conditions, FlowRefiner, Hold

__all__ = ["MODES", "Wanted", "move"]

# mode: how many motions it takes, and the options that are its own
MODES: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "refine": (1, ("strength", "confidence")),
    "protect": (1, ("hold", "strength", "confidence")),
    "continue": (2, ("strength", "confidence")),
    "in-between": (2, ("seconds",)),
    "edit": (1, ("limbs", "start", "end", "keep", "variation")),
    "free": (0, ("seconds",)),
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for; None is what the mode does by itself.

    Attributes:
        audio: a wav file that the motion shall fit. Its first sample is the first frame that is made or edited from:
            of `in-between` the first between, of `continue` the first of the second motion, else of the motion.
        transcript: what is said in it, for the stresses of its words.
        emotion: "joy", "joy:0.7" or a blend, "joy:0.4,surprise:0.3".
        style: a motion file of a second or more of how somebody moves, or a performer's number.
        seed: another one is another motion.
        seconds: how long `in-between` and `free` are.
        strength, confidence, variation: see `visavis.refiner.modes`.
        limbs: of core, left, right, by comma.
        start, end: seconds of the interval that is edited.
        keep: seconds of poses that stay, by comma.
        hold: hands that stay where they are, each "left:FROM:TO" in seconds, with ":FRAME" if not the chest.
    """

    audio: str | None = None
    transcript: str | None = None
    emotion: str | None = None
    style: str | None = None
    seed: int = 0
    seconds: float | None = None
    strength: float | None = None
    confidence: float | None = None
    variation: float | None = None
    limbs: str | None = None
    start: float | None = None
    end: float | None = None
    keep: str | None = None
    hold: Sequence[str] = ()


def move(
    mode: str, sources: Sequence[str | Path], target: str | Path, wanted: Wanted, refiner: str | Path | None = None
) -> Motion:
    """Make a motion of motions and write it.

    Args:
        mode: a name of `MODES`.
        sources: motion files, as many as the mode takes.
        target: the file to write; its extension names the format.
        wanted: the rest.
        refiner: folder of a refiner with modes; None for the shipped one.
    Returns:
        the motion that was written: of `continue` and `in-between` all of it, with what was before and after.
    Raises:
        UsageError, FileFormatError: see the message.
    """
    from visavis.motion.files import formats, write_motion
    from visavis.refiner import FlowRefiner

    takes, own = MODES[mode]
    if len(sources) != takes:
        raise UsageError(f"expected {takes} motion file{'s' * (takes != 1)} for {mode}; got {len(sources)}")
    for options in (options for _, options in MODES.values()):
        for name in options:
            if name not in own and getattr(wanted, name) not in (None, (), []):
                raise UsageError(f"--{_OPTION.get(name, name)} is not an option of {mode}: leave it out")
    target = Path(target)
    body = [each.name for each in formats() if each.writes and each.name != "csv"]
    if target.suffix.lower().removeprefix(".") not in body:
        raise UsageError(f"expected an output ending in one of .{', .'.join(body)}; got {target.name!r}")
    if target.exists() and any(Path(source).exists() and target.samefile(source) for source in sources):
        raise UsageError(f"{target} would overwrite what is read: choose another name")
    if wanted.transcript is not None and wanted.audio is None:
        raise UsageError("--transcript is what is said in --audio FILE; got no --audio")
    motions = [_read(source) for source in sources]
    try:
        made = _made(mode, FlowRefiner.load(refiner), motions, wanted)
    except ValueError as error:  # what the modes say of numbers that cannot be
        raise UsageError(str(error)) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    write_motion(made, target)
    return made


_OPTION: Final = {"start": "from", "end": "to"}


def _read(path: str | Path) -> Motion:
    """A motion on the default skeleton."""
    from visavis.motion.files import read_motion
    from visavis.motion.fitting import same_skeleton
    from visavis.motion.retarget import retarget
    from visavis.motion.skeleton import default_skeleton

    motion = read_motion(path)
    if not len(motion):
        raise UsageError(f"expected a motion of at least one frame; {path} has none")
    return motion if same_skeleton(motion.skeleton, default_skeleton()) else retarget(motion)


def _made(mode: str, refiner: FlowRefiner, motions: Sequence[Motion], wanted: Wanted) -> Motion:
    from visavis.refiner import continued, edit, free, in_between, protect, refine
    from visavis.refiner.pose_points import LIMBS

    fits, seed = _conditions(wanted), wanted.seed
    given = {name: getattr(wanted, name) for name in ("strength", "confidence", "variation")}
    given = {name: value for name, value in given.items() if value is not None}
    if mode == "refine":
        return refine(refiner, motions[0], fits, seed=seed, **given)
    if mode == "protect":
        if not wanted.hold:
            raise UsageError("expected --hold HAND:FROM:TO for protect; got none: say what stays")
        return protect(refiner, motions[0], [_hold(text) for text in wanted.hold], fits, seed=seed, **given)
    if mode == "continue":
        before, after = motions
        return _joined(before, continued(refiner, before, after, fits, seed=seed, **given))
    if mode == "in-between":
        if wanted.seconds is None:
            raise UsageError("expected --seconds for in-between: how long it is between the two")
        before, after = motions
        between = in_between(refiner, before, after, _frames(wanted.seconds), fits, seed=seed)
        return _joined(_joined(before, between), after)
    if mode == "edit":
        limbs = LIMBS if wanted.limbs is None else wanted.limbs.split(",")
        kept = () if wanted.keep is None else _numbers(wanted.keep, "keep")
        return edit(
            refiner, motions[0], fits, limbs=limbs, from_s=wanted.start or 0.0, to_s=wanted.end, keyframes_s=kept,
            seed=seed, **given,
        )  # fmt: skip
    frames = None if wanted.seconds is None else _frames(wanted.seconds)
    if frames is None and wanted.audio is None:
        raise UsageError("expected --audio, --seconds or both for free; got neither")
    return free(refiner, fits, frames, seed=seed)


def _joined(first: Motion, second: Motion) -> Motion:
    """One after the other; a face stays only where both have one."""
    if (first.face is None) != (second.face is None):
        first, second = first.with_face(None), second.with_face(None)
    return first.concatenate(second)


def _frames(seconds: float) -> int:
    from visavis.motion.motion import FPS

    if not 0 < seconds <= 600:
        raise UsageError(f"--seconds must lie in (0, 600]; got {seconds:g}")
    return max(1, round(seconds * FPS))


def _conditions(wanted: Wanted) -> Conditions:
    from visavis.refiner import Conditions
    from visavis.speech.prosody import prosody
    from visavis.speech.recorded import read_recording, recorded_speech

    sound = None
    if wanted.audio is not None:
        samples, rate_hz = read_recording(wanted.audio)
        sound = prosody(recorded_speech(samples, rate_hz, wanted.transcript)[0])
    style: int | Motion | None = None
    if wanted.style is not None:
        style = int(wanted.style) if wanted.style.isdecimal() else _read(wanted.style)
    return Conditions(sound, _felt(wanted.emotion), style)


def _felt(text: str | None) -> Emotion | dict[str, float]:
    from visavis.emotion import Emotion

    if text is None:
        return Emotion()
    out = {}
    for part in text.split(","):
        name, _, weight = part.partition(":")
        out[name.strip()] = _number(weight, "emotion") if weight else 0.6
    return out


def _hold(text: str) -> Hold:
    from visavis.motion.skeleton import default_skeleton
    from visavis.refiner import Hold

    hand, *rest = text.split(":")
    if len(rest) not in (2, 3):
        raise UsageError(f"expected --hold HAND:FROM:TO or HAND:FROM:TO:FRAME; got {text!r}")
    frame = rest[2] if len(rest) == 3 else "chest"
    if frame not in ("chest", "world", *default_skeleton().names):
        raise UsageError(f"expected a frame of chest, world or a bone's name in --hold; got {frame!r}")
    return Hold(hand, _number(rest[0], "hold"), _number(rest[1], "hold"), frame)


def _numbers(text: str, option: str) -> list[float]:
    return [_number(part, option) for part in text.split(",")]


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"expected a number in --{option}; got {text!r}") from error

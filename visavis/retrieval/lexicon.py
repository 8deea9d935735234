"""The lexicon: meaningful gestures as data, one YAML file per gloss in `data/lexicon`.

A gesture says what it means, when its phases fall at a natural pace, and where wrists, palms, fingers, head and torso
are at its sync points. How a body performs it is `visavis.retrieval.posing`; nothing here moves.

Places are (out, up, forward) from the upperChest bone in arm lengths: *out* is away from the middle of the body on the
hand's own side, so the same numbers serve a left and a right hand. Angles of head and torso are in degrees, positive
`turn`, `tilt`, `twist`, `sway` towards the side of the main hand. Kinds follow
McNeill (1992) and Ekman and Friesen (1969).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from visavis import safe_yaml
from visavis.emotion import EMOTIONS
from visavis.errors import LexiconError
from visavis.motion.phases import Phases
from visavis.retrieval.hand_shapes import EFFECTORS, shape_names

__all__ = [
    "PLAIN", "Arms", "CoreKey", "Gesture", "Key", "Lexicon", "Param", "Strokes", "Touch", "Variant", "load_lexicon",
    "read_gesture",
]  # fmt: skip

At = Literal["ready", "stroke_start", "stroke", "back", "stroke_end"]
Vector = tuple[float, float, float]
Direction = Literal["out", "in", "up", "down", "forward", "backward"] | Vector
PLAIN = "plain"
_ORDER = ("ready", "stroke_start", "stroke", "back", "stroke_end")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Touch(_Strict):
    """A point of the hand meets a landmark of the body (`data/landmarks.yaml`); never scaled by amplitude."""

    effector: str
    landmark: str
    offset_m: Vector = (0.0, 0.0, 0.0)

    @field_validator("effector")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EFFECTORS:
            raise ValueError(f"effector must be one of {', '.join(EFFECTORS)}; got {value!r}")
        return value


class Key(_Strict):
    """Where one arm is at a sync point; what is left out stays as at the key before.

    `wrist` in arm lengths or `touch`; `palm` faces and `fingers` point in a direction; `shape` names a hand shape;
    `via` are points passed on the way here; `bow` is the height of the curve towards this key in shares of its
    length; `swivel` and `lift` (of the shoulder) are degrees.
    """

    at: At
    wrist: Vector | None = None
    touch: Touch | None = None
    palm: Direction | None = None
    fingers: Direction | None = None
    shape: str | None = None
    via: tuple[Vector, ...] = ()
    bow: float | None = None
    swivel: float | None = None
    lift: float | None = None

    @field_validator("shape")
    @classmethod
    def _shape(cls, value: str | None) -> str | None:
        if value is not None and value not in shape_names():
            raise ValueError(f"shape must be one of {', '.join(shape_names())}; got {value!r}")
        return value


class CoreKey(_Strict):
    """Head and torso at a sync point, degrees; what is left out is 0.

    Head: nod (down), turn, tilt. Torso: lean (forward), twist, sway; `hips` bends forward from the hips.
    """

    at: At
    nod: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0
    lean: float = 0.0
    twist: float = 0.0
    sway: float = 0.0
    hips: float = 0.0


class Strokes(_Strict):
    """A stroke made several times: stroke, back, stroke, ...

    `every_s` is the natural time from one stroke to the next; `shift` moves the wrist with every repeat (arm lengths);
    `shapes` are the hand shapes of the strokes in turn; `alternate` lets the other arm go the opposite way.
    """

    repeats: int = Field(1, ge=1, le=12)
    every_s: float = Field(0.4, gt=0.1, le=2.0)
    shift: Vector = (0.0, 0.0, 0.0)
    shapes: tuple[str, ...] = ()
    alternate: bool = False


class Param(_Strict):
    """What aims a gesture. `acts` names what the posing engine does with it.

    repeats (number of strokes) · fingers (how many are counted) · palm_distance, pinch_gap, height of the palm over
    the floor (metres, exact) · point (a direction of the chest frame, a name or three numbers) · target (metres in the
    world) · side (which side the main hand is on) · hand (left, right).
    """

    acts: Literal["repeats", "fingers", "palm_distance", "pinch_gap", "height", "point", "target", "side", "hand"]
    low: float | None = None
    high: float | None = None
    default: float | int | str | None = None
    choices: tuple[str, ...] = ()
    about: str = ""


class Arms(_Strict):
    """Keys of the arms: `both` (mirrored), or `main` and, where it takes part, `other`."""

    both: tuple[Key, ...] = ()
    main: tuple[Key, ...] = ()
    other: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Arms:
        if self.both and (self.main or self.other):
            raise ValueError("give either 'both' or 'main' (and 'other'), not all")
        return self


def _read_phases(value: Any) -> Phases:
    names = ("ready", "stroke_start", "stroke", "stroke_end", "relax", "end")
    if isinstance(value, Phases):
        return value
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise ValueError(f"phases must give {', '.join(names)} in seconds; got {value!r}")
    return Phases(0.0, *(float(value[name]) for name in names))


class Variant(_Strict):
    """Another way to perform a gesture: what it gives stands in place of the gesture's own.

    `amplitude` (of free movements) and `tempo` multiply those of the performer.
    """

    name: str = Field(pattern=r"^[a-z]+( [a-z]+)*$")
    amplitude: float = Field(1.0, ge=0.5, le=1.5)
    tempo: float = Field(1.0, ge=0.6, le=1.5)
    hands: Literal["right", "left", "both", "none"] | None = None
    phases: Phases | None = None
    arms: Arms | None = None
    core: tuple[CoreKey, ...] | None = None
    strokes: Strokes | None = None
    face: dict[str, float] | None = None

    @field_validator("phases", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> Phases | None:
        return None if value is None else _read_phases(value)


class Gesture(_Strict):
    """One entry of the lexicon."""

    gloss: str
    kind: Literal["emblem", "iconic", "metaphoric", "deictic", "beat", "regulator", "adaptor", "head"]
    meaning: str = Field(min_length=8)
    examples: tuple[str, ...] = Field(min_length=3)
    hands: Literal["right", "left", "both", "none"]
    emotion: dict[str, float]
    phases: Phases
    arms: Arms = Arms()
    core: tuple[CoreKey, ...] = ()
    strokes: Strokes = Field(default_factory=lambda: Strokes.model_validate({}))
    params: dict[str, Param] = {}
    face: dict[str, float] = {}
    variants: tuple[Variant, ...] = ()

    @field_validator("phases", mode="before")
    @classmethod
    def _phases(cls, value: Any) -> Phases:
        return _read_phases(value)

    @field_validator("examples")
    @classmethod
    def _anchored(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            if line.count("*") != 2 or not line.split("*")[1].strip():
                raise ValueError(f"an example marks its anchor with two stars, as in 'It was *huge*!'; got {line!r}")
        return value

    @field_validator("emotion")
    @classmethod
    def _emotions(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if name not in EMOTIONS or not 0 <= weight <= 1:
                raise ValueError(f"emotion maps {', '.join(EMOTIONS)} to weights in [0, 1]; got {name}: {weight}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Gesture:
        for keys in (self.arms.both, self.arms.main, self.arms.other, self.core):
            order = [_ORDER.index(key.at) for key in keys]
            if order != sorted(set(order)):
                raise ValueError(f"keys must be in the order {', '.join(_ORDER)}, each at most once")
        for arm in (self.arms.both, self.arms.main, self.arms.other):
            if arm and (arm[0].at != "ready" or (arm[0].wrist is None) == (arm[0].touch is None)):
                raise ValueError("an arm begins with a key at 'ready' that has either a wrist or a touch")
        if (self.hands == "none") != (not (self.arms.both or self.arms.main)):
            raise ValueError(f"hands is {self.hands!r}, which does not fit the keys of the arms")
        if not (self.arms.both or self.arms.main or self.core):
            raise ValueError("a gesture needs keys for the arms or for the core")
        names = self.variant_names
        if len(set(names)) != len(names):
            raise ValueError(f"variants need names of their own, other than {PLAIN!r}; got {', '.join(names[1:])}")
        for name in names[1:]:
            self.variant(name)
        return self

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The ways to perform it, the plain one first."""
        return (PLAIN, *(variant.name for variant in self.variants))

    def variant(self, name: str) -> tuple[Gesture, float, float]:
        """The gesture as one variant has it, without variants of its own, and the variant's amplitude and tempo.

        Raises:
            LexiconError: there is no such variant.
        """
        if name == PLAIN:
            return self, 1.0, 1.0
        for variant in self.variants:
            if variant.name == name:
                change = {field: value for field, value in dict(variant).items() if value is not None}
                amplitude, tempo = change.pop("amplitude"), change.pop("tempo")
                del change["name"]
                return Gesture.model_validate({**dict(self), "variants": (), **change}), amplitude, tempo
        raise LexiconError(f"{self.gloss!r} is performed {', '.join(self.variant_names)}; got {name!r}")


class Lexicon(Mapping[str, Gesture]):
    """All gestures by gloss, in alphabetical order; each is read when it is first asked for."""

    def __init__(self, gestures: Mapping[str, Gesture | Callable[[], Gesture]]) -> None:
        self._gestures = {gloss: gestures[gloss] for gloss in sorted(gestures)}

    def __getitem__(self, gloss: str) -> Gesture:
        try:
            found = self._gestures[gloss]
        except KeyError:
            raise LexiconError(f"gloss must be one of {', '.join(self._gestures)}; got {gloss!r}") from None
        if not isinstance(found, Gesture):
            found = self._gestures[gloss] = found()
        return found

    def __contains__(self, gloss: object) -> bool:
        return gloss in self._gestures

    def __iter__(self) -> Iterator[str]:
        return iter(self._gestures)

    def __len__(self) -> int:
        return len(self._gestures)

    @property
    def glosses(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._gestures)


def read_gesture(text: str, name: str) -> Gesture:
    """Read one YAML document; `name` says in errors where it came from."""
    try:
        data = safe_yaml.load(text)
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise LexiconError(f"{name}: expected YAML, but {line}") from None
    if not isinstance(data, dict):
        raise LexiconError(f"{name}: expected a mapping with gloss, kind, meaning, ...; got {type(data).__name__}")
    try:
        return Gesture.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the gesture"
        raise LexiconError(f"{name}: {where}: {first['msg']}: correct it and load again") from None


@lru_cache(maxsize=4)
def load_lexicon(folder: str | None = None) -> Lexicon:
    """The gestures of a folder of YAML files, each named after its gloss: all read now; ours, if None, when needed."""
    root: Traversable = Path(folder) if folder else files("visavis.retrieval") / "data" / "lexicon"
    found: dict[str, Gesture | Callable[[], Gesture]] = {
        entry.name.removesuffix(".yaml").replace("_", " "): partial(_read_named, entry)
        for entry in root.iterdir()
        if entry.name.endswith(".yaml")
    }
    lexicon = Lexicon(found)
    if folder:
        for gloss in lexicon:
            lexicon[gloss]
    return lexicon


def _read_named(entry: Traversable) -> Gesture:
    gesture = read_gesture(entry.read_text(encoding="utf-8"), entry.name)
    if entry.name != gesture.gloss.replace(" ", "_") + ".yaml":
        raise LexiconError(f"{entry.name}: the file of {gesture.gloss!r} must be named after its gloss: rename it")
    return gesture

"""The tables: accuracy and smoothness, rhythm, protected hands, seams, edits, seeds.

Everything is measured on motions as they would be shown; intervals are over turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.body import KNOWN_FRAMES, SEAM_HALF_LIFE_S
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.evals.refiner.material import Item, System, late, shuffled_sounds, upper_body
from visavis.evals.strokes import apexes, beats, nearest
from visavis.metrics.beat_consistency import DECISIVE_SIGMA_S, STANDARD_SIGMA_S, beat_consistency, lift
from visavis.metrics.bootstrap import Estimate, bootstrap, paired_difference
from visavis.metrics.frechet import clip_features, frechet_distance
from visavis.metrics.smoothness import mean_derivative
from visavis.metrics.strokes import WINDOW_S
from visavis.motion import rotations as rot
from visavis.motion.blend import inertialize
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.motion import FPS, Motion
from visavis.refiner.conditions import Conditions
from visavis.refiner.either import AnyRefiner, refine_next
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.modes import edit, free, protect, refine
from visavis.refiner.pose_points import LIMBS
from visavis.refiner.protection import Hold

__all__ = ["accuracy", "edits", "frechet", "from_sound", "protection", "rhythm", "seams", "seeds"]

_UNSURE: Final = 0.5  # how far a late turn's tokens are trusted
_CHUNK: Final = 26  # frames, a short clause: the borders of a whole corpus are more than 500
_SHUFFLES: Final = 3  # other sounds that a paired distance is compared with
_ROUNDS: Final = 200  # of the intervals of Fréchet distances, whose every draw is a root of matrices


def _exact(value: float, n: int) -> Estimate:
    """A largest value or a count, which has no interval."""
    return Estimate(value, value, value, n)


def _wrists(motion: Motion) -> NDArray[np.float32]:
    """(T, 2, 3) both wrists in the chest frame."""
    places = positions(motion)
    return np.stack([to_chest(motion, places[:, motion.skeleton.index(f"{s}Hand")]) for s in ("left", "right")], axis=1)


def accuracy(items: Sequence[Item], systems: Mapping[str, System]) -> Table:
    """Sure tokens: how far from the taught motion, and how smooth, beside the taught motion's own jerk."""
    table = Table(f"Refined from right tokens, {len(items)} held-out turns: means over turns")
    rows: dict[str, list[list[float]]] = {name: [] for name in systems}
    jerks = []
    for number, item in enumerate(progress(items, "turns")):
        goal = positions(item.taught)
        wrists = item.taught.skeleton.indices(["leftHand", "rightHand"])
        jerks.append(mean_derivative(upper_body(item.taught), 3))
        for name, system in systems.items():
            made = system(item.decoded, item.sound, item.turn, 1.0, number)
            off = positions(made) - goal
            error = np.linalg.norm(off, axis=-1)
            change = np.linalg.norm(np.diff(off, n=2, axis=0) * FPS**2, axis=-1).mean()
            jerk = mean_derivative(upper_body(made), 3)
            rows[name].append([1000 * error.mean(), 1000 * error[:, wrists].mean(), float(change), jerk])
    x = {name: np.array(values) for name, values in rows.items()}
    for column, (what, unit) in enumerate(
        (("joints", "mm"), ("wrists", "mm"), ("acceleration error", "m/s²"), ("mean jerk, upper body", "m/s³"))
    ):
        for name, values in x.items():
            table.add(f"{what}, {name}", bootstrap(values[:, column]), unit)
            if name != "decoded":
                difference = paired_difference(list(values[:, column]), list(x["decoded"][:, column]))
                table.add(f"{what}, {name} minus decoded", difference, unit)
    table.add("mean jerk, upper body, taught", bootstrap(jerks), "m/s³")
    return table


def rhythm(items: Sequence[Item], systems: Mapping[str, System], sure: float = _UNSURE, seed: int = 0) -> Table:
    """Late tokens: beats on stresses over shifted sound, and strokes from stresses; also refined to another's sound."""
    seconds = sum(len(item.decoded) for item in items) / FPS
    table = Table(
        f"Rhythm of late tokens (drift up to ±150 ms, confidence {sure:g}), {len(items)} held-out turns, "
        f"{seconds / 60:.1f} minutes"
    )
    others = shuffled_sounds(list(items), seed)
    runs = {"taught": [item.taught for item in items], "in time": [item.decoded for item in items]}
    given = [late(item.decoded, seed * 100_003 + number) for number, item in enumerate(items)]
    for name, system in systems.items():
        runs[name] = [
            system(motion, item.sound, item.turn, sure, number)
            for number, (motion, item) in enumerate(zip(progress(given, name), items, strict=True))
        ]
        if name != "decoded":
            runs[f"{name}, another's sound"] = [
                system(motion, sound, item.turn, sure, number)
                for number, (motion, sound, item) in enumerate(zip(given, others, items, strict=True))
            ]
    lifts: dict[str, list[float]] = {}
    offsets: dict[str, list[float]] = {}
    for name, motions in runs.items():
        pairs = [(m, i, beats(m)) for m, i in zip(motions, items, strict=True) if len(i.stresses_s) > 2]
        lifts[name] = [lift(i.stresses_s, b, m.duration_s, DECISIVE_SIGMA_S) for m, i, b in pairs]
        offsets[name] = [_stroke_offset(m, i) for m, i, _ in pairs]
        standard = [beat_consistency(i.stresses_s, b, STANDARD_SIGMA_S) for _, i, b in pairs]
        chance = [
            s - lift(i.stresses_s, b, m.duration_s, STANDARD_SIGMA_S)
            for s, (m, i, b) in zip(standard, pairs, strict=True)
        ]
        table.add(f"lift (0.1 s), {name}", bootstrap(lifts[name]))
        table.add(f"|stroke - stress| of a turn, {name}", median(_there(offsets[name])), "ms", 1000)
        table.add(f"beat consistency (0.3 s), {name}", bootstrap(standard))
        table.add(f"… by chance, {name}", bootstrap(chance))
        table.add(f"beats a second, {name}", bootstrap([len(b) / m.duration_s for m, _, b in pairs]))
    for name in runs:
        if name not in ("taught", "in time", "decoded"):
            table.add(f"lift, {name} minus decoded", paired_difference(lifts[name], lifts["decoded"]))
            both = [(a, b) for a, b in zip(offsets[name], offsets["decoded"], strict=True) if a == a and b == b]
            table.add(
                f"|stroke - stress|, {name} minus decoded",
                paired_difference([a for a, _ in both], [b for _, b in both]), "ms", 1000,
            )  # fmt: skip
    return table


def _stroke_offset(motion: Motion, item: Item) -> float:
    """Mean distance in seconds of the turn's strokes from the nearest stress; NaN without strokes while it speaks."""
    last = max(item.stresses_s) + WINDOW_S
    found = [abs(nearest(item.stresses_s, at, WINDOW_S)) for at in apexes(motion) if at < last]
    return float(np.mean(found)) if found else float("nan")


def _there(values: Sequence[float]) -> list[float]:
    return [value for value in values if value == value]


def frechet(items: Sequence[Item], systems: Mapping[str, System], sure: float = _UNSURE, seed: int = 0) -> Table:
    """Plain and paired distance to taught motion, of late tokens; half of the turns are the reference, half the test.

    The floor is the distance of the other half's taught motion; paired with another's sound says what fits nothing.
    """
    reference, tested = list(items[::2]), list(items[1::2])
    table = Table(f"Fréchet distance to taught motion, {len(reference)} turns against {len(tested)}")
    others = shuffled_sounds(tested, seed)
    given = [late(item.decoded, seed * 100_003 + number) for number, item in enumerate(tested)]
    runs = {"taught (the floor)": [item.taught for item in tested]}
    for name, system in systems.items():
        runs[name] = [
            system(motion, item.sound, item.turn, sure, number)
            for number, (motion, item) in enumerate(zip(progress(given, name), tested, strict=True))
        ]
    own = [item.sound for item in tested]
    for label, sounds in (("plain", None), ("paired", own), ("paired with another's sound", others)):
        a = _features([item.taught for item in reference], None if sounds is None else [i.sound for i in reference])
        for name, motions in runs.items():
            table.add(f"{label}, {name}", _distance(a, _features(motions, sounds), seed))
    # The intervals above overlap because the turns differ more than the sounds: the same turns are drawn for both.
    a = _features([item.taught for item in reference], [i.sound for i in reference])
    shuffles = [shuffled_sounds(tested, seed + 1 + number) for number in range(_SHUFFLES)]
    for name, motions in runs.items():
        with_others = [_features(motions, sounds) for sounds in shuffles]
        table.add(f"paired, own minus another's sound, {name}", _gain(a, _features(motions, own), with_others, seed))
    return table


def _gain(
    a: list[NDArray[np.float64]], own: list[NDArray[np.float64]], others: list[list[NDArray[np.float64]]], seed: int
) -> Estimate:
    """The distance with the own sound minus the mean with others, with an interval over turns; n counts turns."""
    rng = np.random.default_rng(seed)
    reference = np.concatenate(a)

    def difference(turns: Sequence[int] | NDArray[np.integer]) -> float:
        mine, *theirs = (frechet_distance(reference, np.concatenate([x[i] for i in turns])) for x in (own, *others))
        return mine - float(np.mean(theirs))

    draws = [difference(rng.integers(len(own), size=len(own))) for _ in range(_ROUNDS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(difference(range(len(own))), float(low), float(high), len(own))


def _features(motions: Sequence[Motion], sounds: Sequence[NDArray[np.float32]] | None) -> list[NDArray[np.float64]]:
    return [clip_features(upper_body(m), None if sounds is None else sounds[i]) for i, m in enumerate(motions)]


def _distance(a: list[NDArray[np.float64]], b: list[NDArray[np.float64]], seed: int) -> Estimate:
    """With an interval by drawing the tested turns again; n counts its windows."""
    rng = np.random.default_rng(seed)
    reference, whole = np.concatenate(a), np.concatenate(b)
    draws = [
        frechet_distance(reference, np.concatenate([b[i] for i in rng.integers(len(b), size=len(b))]))
        for _ in range(_ROUNDS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(frechet_distance(reference, whole), float(low), float(high), len(whole))


def protection(items: Sequence[Item], refiner: FlowRefiner, sure: float = 0.3) -> Table:
    """Hands held over the gestures of unsure turns: how far they move in the chest frame, and without protection."""
    table = Table("Protected wrists, in the chest frame")
    held: list[float] = []
    plain: list[float] = []
    turned: list[float] = []
    for number, item in enumerate(progress(items, "turns")):
        if not item.turn.phases:
            continue
        holds = [Hold(side, p.stroke_start_s, p.stroke_end_s) for p in item.turn.phases for side in ("left", "right")]
        wanted = Conditions(item.sound, item.turn.felt)
        was = _wrists(item.decoded)
        for out, motion in (
            (held, protect(refiner, item.decoded, holds, wanted, confidence=sure, seed=number)),
            (plain, refine(refiner, item.decoded, wanted, confidence=sure, seed=number)),
        ):
            off = np.linalg.norm(_wrists(motion) - was, axis=-1).max(-1)
            for p in item.turn.phases:
                rows = slice(int(np.ceil(p.stroke_start_s * FPS)), int(p.stroke_end_s * FPS) + 1)
                if len(off[rows]):
                    out.append(float(off[rows].max()))
        spine = motion.skeleton.index("spine")
        turned.append(
            float(np.degrees(rot.angle_between(motion.rotations[:, spine], item.decoded.rotations[:, spine]).max()))
        )
    table.add("largest move of a stroke, protected", bootstrap(held), "mm", 1000)
    table.add("… the worst", _exact(max(held, default=float("nan")), len(held)), "mm", 1000)
    table.add("strokes that move 10 mm at most", share([x <= 0.01 for x in held]), "%", 100)
    table.add("largest move of a stroke, not protected", bootstrap(plain), "mm", 1000)
    table.add("largest turn of the spine meanwhile", bootstrap(turned), "degrees")
    return table


def seams(items: Sequence[Item], refiner: AnyRefiner, borders: int = 500) -> Table:
    """Turns refined in chunks of 26 frames, each going on from the last: steps across borders against those inside.

    A refiner without modes is continued as the body of a session does it.
    """
    table = Table("Seams between chunks that continue each other (second differences of head, elbows and wrists)")
    at_border: list[float] = []
    inside: list[float] = []
    hard: list[float] = []
    for number, item in enumerate(progress(items, "turns")):
        if len(at_border) >= borders:
            break
        felt = item.turn.felt
        made = apart = refine_next(refiner, item.decoded.slice(0, _CHUNK), item.sound[:_CHUNK], felt, seed=number)
        cuts = list(range(_CHUNK, len(item.decoded) - _CHUNK // 2, _CHUNK))
        for place, first in enumerate(cuts):
            last = cuts[place + 1] if place + 1 < len(cuts) else len(item.decoded)
            piece = item.decoded.slice(first, last)
            heard, other = item.sound[first:last], number * 1009 + first
            known = made if isinstance(refiner, FlowRefiner) else made.slice(max(first - KNOWN_FRAMES, 0), first)
            following = refine_next(refiner, piece, heard, felt, known=known, seed=other)
            if not isinstance(refiner, FlowRefiner):
                following = inertialize(made, following, SEAM_HALF_LIFE_S)
            made = made.concatenate(following)
            apart = apart.concatenate(refine_next(refiner, piece, heard, felt, seed=other))
        for out, motion in ((at_border, made), (hard, apart)):
            jolt = np.linalg.norm(np.diff(upper_body(motion), n=2, axis=0), axis=-1).max(-1)
            pairs = np.maximum(jolt[1:], jolt[:-1])  # the border lies inside two of them
            out += [float(pairs[first - 2]) for first in cuts]
            if motion is made:
                free_of = np.delete(pairs, [i for first in cuts for i in (first - 3, first - 2, first - 1)])
                inside += free_of.tolist()
    high, largest, middle = np.quantile(inside, 0.99), max(inside), float(np.median(inside))
    for name, values in (("continued", at_border), ("refined apart", hard)):
        x = np.array(values)
        table.add(f"above the inside's 99th percentile, {name}", share(list(x > high)), "%", 100)
        table.add(f"median over the inside's, {name}", median(list(x / middle)))
        table.add(f"largest over the inside's largest, {name}", _exact(float(x.max() / largest), len(x)))
    table.details = {"borders": len(at_border), "inside": len(inside)}
    return table


def edits(items: Sequence[Item], refiner: FlowRefiner) -> Table:
    """One arm's interval, and all but two keyframes, made anew: what else changes, and how well keyframes are met."""
    table = Table("Edits")
    outside: list[float] = []
    inside: list[float] = []
    place_mm: list[float] = []
    angle: list[float] = []
    ratios: list[float] = []
    for number, item in enumerate(progress(items, "turns")):
        motion, wanted = item.decoded, Conditions(item.sound, item.turn.felt)
        limb = LIMBS[1 + number % 2]
        first, last = len(motion) // 3, 2 * len(motion) // 3
        made = edit(refiner, motion, wanted, limbs=[limb], from_s=first / FPS, to_s=last / FPS, seed=number)
        mask = np.zeros(motion.rotations.shape[:2], bool)
        mask[first:last, motion.skeleton.part(limb)] = True
        outside.append(float(np.abs(made.rotations - motion.rotations)[~mask].max()))
        inside.append(float(np.linalg.norm(_wrists(made) - _wrists(motion), axis=-1)[first:last].max()))
        ratios.append(_border_ratio(made, [first, last]))
        keys = [len(motion) // 4, 3 * len(motion) // 4]
        made = edit(refiner, motion, wanted, keyframes_s=[k / FPS for k in keys], seed=number)
        off = np.linalg.norm(positions(made)[keys] - positions(motion)[keys], axis=-1)
        place_mm.append(1000 * float(off.max()))
        angle.append(float(np.degrees(rot.angle_between(made.rotations[keys], motion.rotations[keys]).max())))
        ratios.append(_border_ratio(made, [k + d for k in keys for d in (0, 1)]))
    table.add("largest change of a rotation's part outside the mask", _exact(max(outside), len(outside)))
    table.add("largest move of a wrist inside it", bootstrap(inside), "mm", 1000)
    table.add("keyframes: farthest joint", _exact(max(place_mm), len(place_mm)), "mm")
    table.add("keyframes: largest angle", _exact(max(angle), len(angle)), "degrees")
    table.add("acceleration at borders and keyframes over the largest elsewhere", bootstrap(ratios))
    table.add("… above 1.5", share([x > 1.5 for x in ratios]), "%", 100)
    return table


def _border_ratio(motion: Motion, borders: Sequence[int]) -> float:
    jolt = np.linalg.norm(np.diff(upper_body(motion), n=2, axis=0), axis=-1).max(-1)
    near = sorted({i for b in borders for i in (b - 2, b - 1) if 0 <= i < len(jolt)})
    return float(jolt[near].max() / np.delete(jolt, near).max())


def seeds(items: Sequence[Item], refiner: FlowRefiner, count: int = 10, sure: float = _UNSURE) -> Table:
    """Ten seeds of one sentence: how far its wrists are apart, and whether protected strokes keep their time."""
    table = Table(f"{count} seeds of one sentence, {len(items)} sentences")
    apart: dict[str, list[float]] = {"free": [], "refined, unsure": []}
    moved: list[float] = []
    for item in progress(items, "turns"):
        wanted = Conditions(item.sound, item.turn.felt)
        phases = item.turn.phases
        holds = [Hold(side, p.stroke_start_s, p.stroke_end_s) for p in phases for side in ("left", "right")]
        made = [free(refiner, wanted, len(item.sound), base=item.decoded, seed=s) for s in range(count)]
        apart["free"].append(_spread(made))
        made = [protect(refiner, item.decoded, holds, wanted, confidence=sure, seed=s) for s in range(count)]
        apart["refined, unsure"].append(_spread(made))
        for p in phases:
            before = nearest(apexes(item.decoded), p.stroke_s, WINDOW_S)
            if abs(before) < 0.1:  # the gesture has a stroke of a wrist
                moved += [abs(nearest(apexes(m), p.stroke_s, WINDOW_S) - before) for m in made]
    for name, values in apart.items():
        table.add(f"mean distance of wrists between two seeds, {name}", bootstrap(values), "mm", 1000)
    table.add("protected strokes move in time by", median(moved), "ms", 1000)
    return table


def from_sound(items: Sequence[Item], refiner: FlowRefiner, seed: int = 0) -> Table:
    """Motion from the sound alone: how fast, how rhythmic and how far from taught motion it is."""
    table = Table(f"Made from the sound alone, {len(items)} held-out turns")
    others = shuffled_sounds(list(items), seed)
    runs: dict[str, list[Motion]] = {"taught": [item.taught for item in items], "free": []}
    runs["free, another's sound"] = []
    for number, item in enumerate(progress(items, "turns")):
        for name, sound in (("free", item.sound), ("free, another's sound", others[number])):
            wanted = Conditions(sound, item.turn.felt)
            runs[name].append(free(refiner, wanted, len(item.taught), base=item.taught, seed=number))
    runs["idle"] = [idle(len(item.taught), number) for number, item in enumerate(items)]
    reference = np.concatenate(_features(runs["taught"][::2], None))
    lifts: dict[str, list[float]] = {}
    for name, motions in runs.items():
        speeds = [float(np.linalg.norm(np.diff(_wrists(m), axis=0), axis=-1).mean() * FPS) for m in motions]
        table.add(f"speed of wrists, {name}", bootstrap(speeds), "m/s")
        table.add(f"mean jerk, upper body, {name}", bootstrap([mean_derivative(upper_body(m), 3) for m in motions]))
        lifts[name] = [
            lift(i.stresses_s, beats(m), m.duration_s, DECISIVE_SIGMA_S)
            for m, i in zip(motions, items, strict=True)
            if len(i.stresses_s) > 2
        ]
        table.add(f"lift (0.1 s), {name}", bootstrap(lifts[name]))
        table.add(f"Fréchet distance, {name}", _distance([reference], _features(motions[1::2], None), seed))
    table.add("lift, own sound minus another's", paired_difference(lifts["free"], lifts["free, another's sound"]))
    return table


def _spread(motions: Sequence[Motion]) -> float:
    """Mean distance of both wrists over all pairs of motions, metres."""
    x = np.stack([_wrists(motion) for motion in motions])
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    return float(np.mean([np.linalg.norm(x[i] - x[j], axis=-1).mean() for i, j in pairs]))

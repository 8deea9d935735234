"""`visavis library …` and `visavis describe`: the library on the command line."""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from visavis.errors import FileFormatError, LexiconError, ServiceError, UsageError
from visavis.motion.phases import Phases
from visavis.retrieval.clips import ClipStore
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library, library_folder
from visavis.tokenizers.codec import MotionCodec

__all__ = ["run_describe", "run_library"]


def _store(args: argparse.Namespace) -> ClipStore:
    return ClipStore(Path(args.library) if args.library else library_folder())


def _codec() -> MotionCodec:
    from importlib.resources import files

    return MotionCodec.load(Path(str(files("visavis.models"))) / "codec")


def run_library(args: argparse.Namespace) -> int:
    """Run one action; the return value is the exit status."""
    actions = {
        "list": _list, "search": _search, "show": _show, "add": _add, "remove": _remove, "import": _import,
        "retokenise": _retokenise, "export": _export, "sheets": _sheets,
    }  # fmt: skip
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    lexicon = load_lexicon()
    rows: list[dict[str, Any]] = [
        {"gloss": g.gloss, "meaning": g.meaning, "type": g.kind, "clips": [f"{g.gloss}/{v}" for v in g.variant_names]}
        for g in lexicon.values()
    ]
    by_gloss = {row["gloss"]: row for row in rows}
    for clip in _store(args):
        if clip.gloss in by_gloss:
            by_gloss[clip.gloss]["clips"].append(clip.name)
        else:
            row = {"gloss": clip.gloss, "meaning": clip.meaning, "type": "added", "clips": [clip.name]}
            by_gloss[clip.gloss] = row
            rows.append(row)
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['gloss']:22} {row['type']:11} {row['meaning']}")
    return 0


def _search(args: argparse.Namespace) -> int:
    from visavis.retrieval.index import GestureIndex

    if not args.text.strip():
        raise UsageError("expected a text to search for; got nothing: visavis library search TEXT")
    library = Library(load_lexicon(), GestureIndex.default(), _store(args))
    hits = library.search(args.text, args.k)
    if args.json:
        print(json.dumps([{**vars(hit), "score": round(hit.score, 4)} for hit in hits]))
    else:
        for hit in hits:
            print(f"{hit.score:.2f}  {hit.gloss:22} {hit.meaning}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from visavis.retrieval.posing import Performer

    library = Library(load_lexicon(), None, _store(args))
    gloss = args.gloss
    if gloss not in library:
        raise UsageError(f"no gesture {gloss!r} in the library: `visavis library list` names them all")
    kind = library.lexicon[gloss].kind if gloss in library.lexicon else "added"
    print(f"{gloss} ({kind}): {library.meaning_of(gloss)}")
    print(f"  clips: {', '.join(library.clips(gloss))}")
    for name, param in library.params(gloss).items():
        print(f"  {name}: {param.about or param.acts}")
    if args.png:
        from visavis.motion.contact_sheet import contact_sheet

        performance = library.perform(gloss, Performer.neutral())
        p = performance.phases
        times = {"ready": p.ready_s, "stroke start": p.stroke_start_s, "stroke": p.stroke_s, "relax": p.relax_s}
        frames = [min(round(t * 30), len(performance.motion) - 1) for t in times.values()]
        png = Path(args.png)
        try:
            png.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(performance.motion, frames, list(times), png, views=("front", "side"))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(
                f"expected a folder to write into; {png} cannot be used ({why}): choose another"
            ) from error
        print(f"  {png}")
    return 0


def _phases(text: str | None) -> Phases | None:
    if text is None:
        return None
    try:
        return Phases(*(float(part) for part in text.split(",")))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"expected seven times in seconds that do not decrease, as in 0,.4,.5,.7,1,1.1,1.8; got {text!r}"
        ) from error


def _add(args: argparse.Namespace) -> int:
    from visavis.retrieval.enrol import clip_of, find_twins

    store = _store(args)
    clip = clip_of(
        args.file, args.meaning, _codec(), gloss=args.gloss, examples=args.example, phases=_phases(args.phases),
        skeleton=args.skeleton,
    )  # fmt: skip
    lexicon = load_lexicon()
    if clip.gloss in lexicon:
        raise LexiconError(f"{clip.gloss!r} is a gesture of the lexicon: give the clip another --gloss")
    twins = find_twins(clip, store)
    made = store.add(clip)
    if args.json:
        print(json.dumps({
            "clip": made.name, "gloss": made.gloss, "hands": made.hands, "phases": list(made.phases.times),
            "like": [vars(twin) for twin in twins],
        }))  # fmt: skip
        return 0
    times = ", ".join(f"{t:.2f}" for t in made.phases.times)
    print(f"{made.name}: {made.meaning} ({made.hands}; phases {times})")
    for twin in twins:
        print(f"  like {twin.name} ({1000 * twin.distance_m:.0f} mm apart): `visavis library remove` takes one out")
    return 0


def _remove(args: argparse.Namespace) -> int:
    _store(args).remove(args.clip)
    print(json.dumps({"removed": args.clip}) if args.json else f"{args.clip} removed")
    return 0


def _import(args: argparse.Namespace) -> int:
    from visavis.retrieval.smartbody_import import import_smartbody

    done = import_smartbody(Path(args.folder), _store(args), _codec(), show=not args.json)
    if args.json:
        print(json.dumps({"added": done.added, "twins": done.twins, "failed": done.failed, "absent": done.absent}))
    else:
        print(
            f"{len(done.added)} clips added, {len(done.twins)} like an earlier one left out, "
            f"{len(done.failed)} failed, {len(done.absent)} have no file"
        )
        for name, why in done.failed.items():
            print(f"  {name}: {why}")
    return 0


def _retokenise(args: argparse.Namespace) -> int:
    from visavis.retrieval.enrol import codec_hash, retokenised

    store, codec = _store(args), _codec()
    own, changed = codec_hash(codec), 0
    for clip in store:
        if clip.codec != own:
            store.replace(retokenised(clip, codec))
            changed += 1
    count = len(store)
    print(json.dumps({"clips": count, "changed": changed}) if args.json else f"{changed} of {count} clips made again")
    return 0


def _export(args: argparse.Namespace) -> int:
    store, target = _store(args), Path(args.target)
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise UsageError(f"expected a file ending in .tar.gz; got {target.name!r}")
    paths = store.paths()
    try:
        with tarfile.open(target, "w:gz") as archive:
            for path in paths:
                archive.add(path, arcname=path.name)
    except OSError as error:
        raise ServiceError(f"{target} cannot be written ({error.strerror}): choose another file") from error
    print(json.dumps({"clips": len(paths), "file": str(target)}) if args.json else f"{len(paths)} clips in {target}")
    return 0


def _sheets(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from visavis.retrieval.look import look, overview

    folder, lexicon = Path(args.target), load_lexicon()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for gloss in tqdm(lexicon, unit="gesture", disable=None):
            look([f"{gloss}/*"], str(folder / f"{gloss.replace(' ', '_')}.png"), columns=4)
        overview(list(lexicon), str(folder / "all.png"))
    except OSError as error:
        raise UsageError(f"expected a folder to write into; {folder} cannot be used ({error.strerror})") from error
    print(f"{len(lexicon) + 1} pictures in {folder}")
    return 0


def run_describe(args: argparse.Namespace) -> int:
    """Say what a motion file shows."""
    from visavis.motion.files import read_motion
    from visavis.retrieval.describe import describe

    motion = read_motion(args.file, skeleton=args.skeleton)
    if len(motion) < 4:
        raise FileFormatError(f"expected a motion of at least four frames; {args.file} has {len(motion)}")
    said = describe(motion, k=args.k)
    if args.json:
        print(json.dumps(said.to_json()))
        return 0
    for gloss, score in said.glosses:
        print(f"{score:.2f}  {gloss}")
    felt, sure = said.emotions[0]
    print(f"emotion: {felt} ({sure:.2f})   energy: {said.energy_m_s:.2f} m/s   hands: {said.hands}")
    sys.stdout.flush()
    return 0

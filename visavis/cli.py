"""The commands of visavis. `--help` loads no model and no heavy library; each command imports what it needs.

Exit status: 0; 2 for misuse (one clear line); 1 for a failure of ours or of a service.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visavis.errors import ServiceError, TextError, UsageError
from visavis.options import Command, make_parser

__all__ = ["main"]

# Nothing leaves the machine unless the user asks for it.
_PRIVATE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def _agent(args: argparse.Namespace, persona: Any = None) -> Any:
    from visavis.agent.persona import load_persona

    persona = persona or load_persona(args.persona)  # one that is none is refused before anything heavy is loaded

    import torch

    from visavis.agent import Agent
    from visavis.agent.recall import prepare

    # Models of this size gain little from a second thread, and two threads on shared cores wait for each other.
    torch.set_num_threads(1)
    agent = Agent(
        persona=persona,
        voice=args.voice,
        model=args.model,
        seed=args.seed,
        refine=not args.no_refine,
        gestures=not args.no_gestures,
        scene=args.scene,
        library=args.library,
        store=_store(args),
        **_thinking(args),
    )
    if args.command in ("chat", "ui", "serve"):  # somebody will ask something
        prepare()
    return agent


def _thinking(args: argparse.Namespace) -> dict[str, Any]:
    """The options that say who thinks, checked before anything heavy is loaded."""
    return {
        "planner": args.planner, "engine": args.engine, "base_url": args.base_url,
        "knowledge": [Path(path) for path in args.knowledge],
    }  # fmt: skip


def _store(args: argparse.Namespace) -> str | bool:
    """Where a command keeps conversations; commands that hold none have no such option."""
    if args.command not in ("chat", "ui", "serve") or args.no_store:
        if getattr(args, "store", None):
            raise UsageError("expected --store or --no-store, got both")
        return False
    return args.store or True


def _report(args: argparse.Namespace, turn: Any, folder: Path | None) -> None:
    if args.json:
        print(turn.record.model_dump_json())
    elif not args.quiet:
        print(turn.text or "(a recording without a transcript: rhythm alone)")
        felt = turn.record.clauses[0] if turn.record.clauses else None
        made = ", ".join(f"{g.gloss} at {g.stroke_s:.2f} s" for g in turn.gestures) or "none"
        if felt:
            print(f"  emotion: {felt.emotion} {felt.intensity:.1f}   gestures: {made}")
        for line in turn.record.degraded:
            print(f"  degraded: {line}")
        if folder:
            print(f"  {turn.record.duration_s:.1f} s in {folder}")


def _folder(value: str) -> Path:
    """The folder of --out, made and tried now: long work must not end in a folder that cannot be written."""
    import tempfile

    folder = Path(value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"expected a folder to write into; {value} cannot be used ({why}): choose another") from error
    return folder


def _say(args: argparse.Namespace) -> int:
    from visavis.agent.text_input import checked_line, checked_text

    text = args.text if args.audio is None else _transcript(args.transcript)
    if args.audio is None:
        if args.transcript is not None:
            raise UsageError("--transcript is what is said in --audio FILE; got no --audio")
        if args.text is None:
            raise UsageError("the following arguments are required: TEXT, or --audio FILE: see `visavis say --help`")
        checked_text(text)
    else:
        if args.text is not None:
            raise UsageError("expected TEXT or --audio, got both: give what is said in the recording as --transcript")
        _checked_recording(args.audio, text)
    if args.to_avatar is not None:
        from visavis.motion.vrm import read_vrm

        if not args.out:
            raise UsageError("--to-avatar writes your avatar with the motion inside; it needs --out DIR")
        read_vrm(args.to_avatar)
    if args.avatar is not None:
        from visavis.convert import open_avatar

        open_avatar(args.avatar)
    out = _folder(args.out) if args.out else None
    if args.after is not None:
        checked_line(args.after)
    with _agent(args) as agent:
        turn = agent.say(text, audio=args.audio, after=args.after)
        _report(args, turn, turn.save(out, avatar=args.avatar, to_avatar=args.to_avatar) if out else None)
    return 0


def _transcript(value: str | None) -> str | None:
    """The text itself, or that of a file after `@`."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"expected a transcript in {value[1:]}; it cannot be read: {why}") from error


def _checked_recording(path: str, transcript: str | None) -> None:
    """Refuse what cannot be used before anything is loaded."""
    from visavis.agent.text_input import LONGEST_TRANSCRIPT, checked_text
    from visavis.speech.recorded import read_recording

    if transcript is not None:
        checked_text(transcript, what="transcript", longest=LONGEST_TRANSCRIPT)
    read_recording(path)


def _convert(args: argparse.Namespace) -> int:
    from visavis.convert import convert

    done = convert(args.source, args.target, skeleton=args.skeleton, to_avatar=args.to_avatar, avatar=args.avatar)
    if args.json:
        print(json.dumps(done.to_json()))
    elif not args.quiet:
        if done.bones is not None:
            print(done.bones.report())
        for note in done.notes:
            print(f"  note: {note}")
        print(f"{args.source} ({done.source}) -> {args.target}: {done.seconds:.1f} s, {done.joints} joints")
    return 0


def _move(args: argparse.Namespace) -> int:
    from dataclasses import fields

    from visavis.move import Wanted, move

    args.transcript = _transcript(args.transcript)
    wanted = Wanted(**{field.name: getattr(args, field.name) for field in fields(Wanted)})
    made = move(args.mode, args.sources, args.out, wanted, args.refiner)
    if not args.quiet:
        print(f"{args.mode}: {made.duration_s:.1f} s in {args.out}")
    return 0


def _chat(args: argparse.Namespace) -> int:
    from visavis.agent.text_input import checked_line

    if args.once is not None:
        checked_line(args.once)
    out = _folder(args.out) if args.out else None
    with _agent(args) as agent:
        session = agent.session(args.session, user=None if args.no_store else "me")
        if args.once is not None:
            turn = session.answer(args.once)
            _report(args, turn, turn.save(out) if out else None)
            return 0
        for number, line in enumerate(_typed(agent.persona.name, args.quiet)):
            try:
                turn = session.answer(line)
            except TextError as error:  # the next line may be better
                print(f"visavis: {error}", file=sys.stderr)
                continue
            _report(args, turn, turn.save(out / f"{number + 1:03d}") if out else None)
    return 0


def _typed(name: str, quiet: bool) -> Any:
    if not quiet and sys.stdin.isatty():
        print(f"You talk to {name}. An empty line ends the conversation.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def _ui(args: argparse.Namespace) -> int:
    from visavis.ui.page import launch

    with _agent(args) as agent:
        launch(agent, host=args.host, port=args.port, open_agent=lambda name: _agent(args, name), avatar=args.avatar)
    return 0


def _serve(args: argparse.Namespace) -> int:
    from visavis.ui.api.serve import serve

    return serve(args, lambda persona: _agent(args, persona))


def _library(args: argparse.Namespace) -> int:
    from visavis.retrieval.commands import run_library

    return run_library(args)


def _eval(args: argparse.Namespace) -> int:
    from visavis.evals.runner import run_files

    return run_files(
        [Path(f) for f in args.files], _folder(args.out), seed=args.seed, repeat=args.repeat, as_json=args.json,
        baseline=None if args.baseline is None else Path(args.baseline), model=args.model, voice=args.voice,
        refine=not args.no_refine, gestures=not args.no_gestures, scene=args.scene, library=args.library,
        **_thinking(args),
    )  # fmt: skip


def _train(args: argparse.Namespace) -> int:
    from visavis.finetune.commands import train, train_on_base

    only_base = [name for name in ("dry_run", "rank", "tokens") if getattr(args, name)]
    if args.base is None:
        if only_base:
            raise UsageError(f"--{only_base[0].replace('_', '-')} belongs to --base MODEL; got no --base")
        if args.modes and args.what != "refiner":
            raise UsageError(f"--modes belongs to the refiner: `visavis train refiner --modes`; got {args.what}")
        if args.seed is not None and args.what not in ("codec", "refiner"):
            raise UsageError(f"--seed is of the codec and the refiner; got {args.what}")
        if args.careful and args.what not in ("corpus", "planner"):
            raise UsageError(f"--careful is of the corpus and the planner; got {args.what}")
        train(args.what, _folder(args.out), args.smoke, args.modes, args.seed or 0, args.careful)
        return 0
    if args.careful:
        raise UsageError("expected --base or --careful, got both: a base learns from the nearest codes")
    if args.modes or args.seed is not None:
        other = "--modes" if args.modes else "--seed"
        raise UsageError(f"expected --base or {other}, got both: a base is for the planner, {other} for the refiner")
    if args.what != "planner":
        raise UsageError(f"--base trains a planner: `visavis train planner --base {args.base}`; got {args.what}")
    train_on_base(args.base, _folder(args.out), args.smoke, args.dry_run, args.rank, args.tokens)
    return 0


def _export(args: argparse.Namespace) -> int:
    from visavis.finetune.export import export_vllm
    from visavis.tokenizers.vocabulary import default_folder

    folder = export_vllm(Path(args.model) if args.model else default_folder(), _folder(args.target))
    if not args.quiet:
        print(f"{folder}: serve it with `visavis serve-model {folder}`")
    return 0


def _serve_model(args: argparse.Namespace) -> int:
    from visavis.agent.vllm_server import serve_model

    return serve_model(
        args.folder, host=args.host, port=args.port, model=args.name, more=shlex.split(args.flags), quiet=args.quiet
    )  # fmt: skip


def _describe(args: argparse.Namespace) -> int:
    from visavis.retrieval.commands import run_describe

    return run_describe(args)


def _bench(args: argparse.Namespace) -> int:
    target = None if args.json in (None, "-") else Path(args.json)
    if target is not None:
        _folder(str(target.parent))
        if target.is_dir():
            raise UsageError(f"expected a file to write into; {target} is a folder: name a file in it")
    from visavis.bench import NAMES, bench, table

    if args.refiner is not None and args.name not in (None, "refiner"):
        raise UsageError(f"--refiner belongs to the bench of that name; got {args.name}")
    folder = None if args.refiner is None else Path(args.refiner)
    result = bench([args.name] if args.name else NAMES, args.count, args.threads, folder)
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result) if args.json == "-" else table(result))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from visavis.doctor import examine

    rows = examine(args.planner, args.engine, args.base_url)
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['status']:8} {row['what']:22} {row['detail']}")
    return 0


_COMMANDS: dict[str, Command] = {
    "say": _say,
    "chat": _chat,
    "ui": _ui,
    "serve": _serve,
    "convert": _convert,
    "move": _move,
    "library": _library,
    "eval": _eval,
    "train": _train,
    "export": _export,
    "serve-model": _serve_model,
    "describe": _describe,
    "bench": _bench,
    "doctor": _doctor,
}


def _parser() -> argparse.ArgumentParser:
    return make_parser(_COMMANDS)


def _passed_on(argv: list[str]) -> list[str]:
    """The arguments with what `serve-model` passes on, after `--`, as one option: argparse loses it otherwise."""
    if argv[:1] != ["serve-model"] or "--" not in argv:
        return argv
    cut = argv.index("--")
    return [*argv[:cut], f"--flags={shlex.join(argv[cut + 1 :])}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit status."""
    for name, value in _PRIVATE.items():
        os.environ.setdefault(name, value)
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser().parse_args(_passed_on(argv))
        return int(args.run(args))
    except UsageError as error:
        print(f"visavis: {error}", file=sys.stderr)
        return 2
    except ServiceError as error:
        print(f"visavis: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output is gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk that is full, a folder that is somebody else's
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"visavis: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

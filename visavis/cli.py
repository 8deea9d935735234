"""The commands of visavis. `--help` loads no model and no heavy library; each command imports what it needs.

Exit status: 0; 2 for misuse (one clear line); 1 for a failure of ours or of a service.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from visavis import __version__
from visavis.errors import ServiceError, TextError, UsageError

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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see `{self.prog} --help`")


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type of options: a whole number from `low` to `high`."""
    span = f"of {low} or more" if high is None else f"from {low} to {high}"

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"expected a whole number {span}; got {value!r}")
        return number

    return read


def _common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("options of every turn")
    group.add_argument("--persona", default="guide", metavar="NAME|FILE", help="who speaks (default: guide)")
    group.add_argument("--voice", default=None, metavar="VOICE", help="espeak voice, `silent`, or a server's URL")
    group.add_argument(
        "--model", default=None, metavar="DIR|NAME", help="planner weights (default: the shipped ones), or a chat model"
    )
    _brain(group)
    group.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="same seed, same machine, same result")
    group.add_argument("--no-refine", action="store_true", help="leave the diffusion refiner out")
    group.add_argument("--scene", default=None, metavar="FILE", help="named places around, in YAML, to point at")
    group.add_argument("--library", default=None, metavar="DIR", help="folder of added clips")
    group.add_argument("--no-gestures", action="store_true", help="no semantic gestures")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")
    group.add_argument("--json", action="store_true", help="print JSON")


def _brain(group: Any) -> None:
    group.add_argument("--planner", default="native", metavar="native|chat", help="who plans words and gestures")
    group.add_argument(
        "--engine", default="embedded", metavar="NAME", help="embedded (default), transformers or vllm runs the model"
    )
    group.add_argument("--base-url", default=None, metavar="URL", help="server of --planner chat or --engine vllm")
    group.add_argument(
        "--knowledge", action="append", default=[], metavar="PATH", help="documents to answer from: folder or file"
    )


def _keeping(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is kept")
    group.add_argument(
        "--store", default=None, metavar="FILE|URL",
        help="where conversations are kept: a file, or postgresql://… (default: conversations.sqlite in $VISAVIS_HOME)",
    )  # fmt: skip
    group.add_argument("--no-store", action="store_true", help="keep nothing")


def _agent(args: argparse.Namespace, persona: Any = None) -> Any:
    import torch

    from visavis.agent import Agent

    # Models of this size gain little from a second thread, and two threads on shared cores wait for each other.
    torch.set_num_threads(1)
    return Agent(
        persona=persona or args.persona,
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
    from visavis.agent.text_input import checked_text

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
        checked_text(args.after, what="input")
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


def _chat(args: argparse.Namespace) -> int:
    from visavis.agent.text_input import checked_text

    if args.once is not None:
        checked_text(args.once, what="input")
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
        model=args.model, **_thinking(args),
    )  # fmt: skip


def _train(args: argparse.Namespace) -> int:
    from visavis.finetune.commands import train, train_on_base

    only_base = [name for name in ("dry_run", "rank", "tokens") if getattr(args, name)]
    if args.base is None:
        if only_base:
            raise UsageError(f"--{only_base[0].replace('_', '-')} belongs to --base MODEL; got no --base")
        if args.modes and args.what != "refiner":
            raise UsageError(f"--modes belongs to the refiner: `visavis train refiner --modes`; got {args.what}")
        train(args.what, _folder(args.out), smoke=args.smoke, modes=args.modes)
        return 0
    if args.modes:
        raise UsageError("expected --base or --modes, got both: a base is for the planner, modes are the refiner's")
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


def _bodies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to-avatar", metavar="FILE", help="your own .vrm or .glb, written with the motion inside")
    parser.add_argument("--avatar", metavar="NAME", help="a shipped avatar: robin (default) or juno")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="visavis", description="An embodied partner for two-person conversation.")
    parser.add_argument("--version", action="version", version=f"visavis {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    say = add("say", _say, "the avatar says TEXT as given, or what is recorded: voice, gestures, face and body")
    say.add_argument("text", nargs="?", metavar="TEXT")
    say.add_argument("--audio", metavar="FILE", help="a wav recording instead of the voice, up to 10 minutes")
    say.add_argument(
        "--transcript", metavar="TEXT|@FILE", help="what it says; without, its rhythm alone moves the body"
    )
    say.add_argument("--after", metavar="LINE", help="the partner's line that is answered, which tells what is felt")
    say.add_argument("--out", metavar="DIR", help="write the folder of the turn")
    _bodies(say)
    _common(say)

    chat = add("chat", _chat, "a conversation in the terminal")
    chat.add_argument("--once", metavar="TEXT", help="answer one line and exit")
    chat.add_argument("--out", metavar="DIR", help="write a folder for every turn")
    chat.add_argument("--session", default=None, metavar="ID", help="take up a conversation again, or name a new one")
    _keeping(chat)
    _common(chat)

    ui = add("ui", _ui, "the web page: chat on one side, the avatar on the other")
    ui.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    ui.add_argument("--port", type=_whole(0, 65535), default=7860, metavar="N")
    ui.add_argument("--avatar", metavar="NAME|FILE", help="whom the page shows: robin, juno or a .vrm file")
    _keeping(ui)
    _common(ui)

    serve = add("serve", _serve, "the server for programs: sessions by REST, their events by WebSocket")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    serve.add_argument("--port", type=_whole(0, 65535), default=7860, metavar="N")
    serve.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="web pages of it may connect, too"
    )
    serve.add_argument("--sessions", type=_whole(1, 10_000), default=64, metavar="N", help="at once (default: 64)")
    serve.add_argument("--idle", type=_whole(1), default=900, metavar="S", help="close a session left alone so long")
    serve.add_argument(
        "--recogniser", metavar="NAME", help="sessions hear: phrases:FILE, whisper:FOLDER_OR_NAME, or an installed one"
    )
    serve.add_argument("--trace", action="store_true", help="send OpenTelemetry spans to $OTEL_EXPORTER_OTLP_ENDPOINT")
    _keeping(serve)
    _common(serve)

    convert = add("convert", _convert, "a motion file in another format, on another body")
    convert.add_argument("source", metavar="IN", help=".bvh .glb .vrma .vrm .npz .skm .csv, found from the content")
    convert.add_argument("target", metavar="OUT", help="named by its extension; or DIR.openpose, vmc://HOST:PORT")
    convert.add_argument(
        "--skeleton", metavar="FILE", help="the .sk of a SmartBody motion; any other file: the body to retarget to"
    )
    _bodies(convert)
    convert.add_argument("--quiet", action="store_true", help="print nothing but errors")
    convert.add_argument("--json", action="store_true", help="print JSON")

    library = add("library", _library, "the motion library: what is in it, what fits a text, and your own clips")
    actions = library.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)

    def action(name: str, text: str, json_too: bool = True) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=text, description=text)
        one.add_argument(
            "--library", metavar="DIR", help="folder of added clips (default: $VISAVIS_LIBRARY or your own)"
        )
        if json_too:
            one.add_argument("--json", action="store_true", help="print JSON")
        return one

    action("list", "every gesture with its meaning and clips")
    search = action("search", "the gestures that fit a text, best first")
    search.add_argument("text", metavar="TEXT")
    search.add_argument("-k", type=_whole(1), default=5, metavar="N", help="how many to find")
    show = action("show", "one gesture, and with --png a picture of it", json_too=False)
    show.add_argument("gloss", metavar="GLOSS")
    show.add_argument("--png", metavar="FILE", help="draw the gesture")
    adding = action("add", "add a recording of a gesture; it can be found and performed at once")
    adding.add_argument("file", metavar="FILE", help="a motion of any format that is read")
    adding.add_argument("--meaning", required=True, metavar="TEXT", help="one line saying what it means")
    adding.add_argument("--gloss", metavar="NAME", help="what it is called (default: the name of the file)")
    adding.add_argument("--example", action="append", default=[], metavar="TEXT", help="a sentence said with it")
    adding.add_argument(
        "--phases", metavar="T,T,T,T,T,T,T", help="start, ready, stroke start, stroke, stroke end, relax, end"
    )
    adding.add_argument("--skeleton", metavar="FILE", help="the .sk of a SmartBody motion")
    remove = action("remove", "take an added clip out")
    remove.add_argument("clip", metavar="CLIP")
    importing = action("import", "add many at once")
    importing.add_argument("kind", choices=("smartbody",))
    importing.add_argument("folder", metavar="DIR", help="motions with their gesture_map.tsv")
    action("retokenise", "make the tokens of all added clips again, after a change of the codec")
    sheets = action("sheets", "a picture of every gesture, and one of all", json_too=False)
    sheets.add_argument("target", metavar="DIR")
    export = action("export", "one file with all added clips, to give away or keep")
    export.add_argument("target", metavar="FILE.tar.gz")

    evaluate = add("eval", _eval, "run scripted dialogs and check what the avatar says and does")
    evaluate.add_argument("action", choices=("run",))
    evaluate.add_argument("files", nargs="*", metavar="FILE", help="dialogs in YAML (default: the shipped five)")
    evaluate.add_argument("--out", required=True, metavar="DIR")
    evaluate.add_argument("--repeat", type=_whole(1), default=1, metavar="K")
    evaluate.add_argument("--seed", type=_whole(0), default=0, metavar="N")
    evaluate.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    evaluate.add_argument("--model", default=None, metavar="DIR|NAME", help="planner weights, or a chat model's name")
    _brain(evaluate)

    train = add("train", _train, "make a corpus or train a model of the default")
    train.add_argument("what", choices=("corpus", "codec", "planner", "refiner"))
    train.add_argument("--out", default="runs", metavar="DIR", help="corpora, checkpoints and weights (default: runs)")
    train.add_argument("--smoke", action="store_true", help="a minute on tiny data, to see that it runs")

    train.add_argument(
        "--modes",
        action="store_true",
        help="refiner: one that also fills in, edits and makes motion from sound",
    )
    train.add_argument(
        "--base",
        metavar="MODEL",
        help="planner: expand and adapt this model (folder, Hugging Face id, GGUF file, smollm2)",
    )
    train.add_argument(
        "--dry-run", action="store_true", help="with --base: parameters, memory and hours; trains nothing"
    )
    train.add_argument("--rank", type=_whole(1), metavar="N", help="with --base: of the low-rank changes (default: 16)")
    train.add_argument("--tokens", type=_whole(1), metavar="N", help="with --base: to read (default: 30 million)")

    export = add("export", _export, "a planner as a folder that vLLM and transformers load")
    export.add_argument("what", choices=("vllm",))
    export.add_argument("target", metavar="DIR", help="where it goes")
    export.add_argument(
        "--model", metavar="DIR", help="what `visavis train planner` wrote (default: the shipped planner)"
    )
    export.add_argument("--quiet", action="store_true", help="print nothing but errors")

    model = add("serve-model", _serve_model, "a planner at a vLLM server, for --engine vllm")
    model.add_argument("folder", metavar="DIR", help="what `visavis export vllm` or `visavis train planner` wrote")
    model.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    model.add_argument("--port", type=_whole(1, 65535), default=8000, metavar="N")
    model.add_argument("--name", default=None, metavar="NAME", help="of the model for clients (default: the folder's)")
    model.add_argument("--quiet", action="store_true", help="do not say when it is ready")
    model.add_argument("--flags", default="", help=argparse.SUPPRESS)
    model.epilog = "What stands after `--` are flags of vLLM, such as --tensor-parallel-size 2."

    describe = add("describe", _describe, "what a motion says: nearest gestures, emotion, energy, hands")
    describe.add_argument("file", metavar="FILE", help="a motion of any format that is read")
    describe.add_argument("-k", type=_whole(1), default=5, metavar="N", help="how many gestures to name")
    describe.add_argument("--skeleton", metavar="FILE", help="the .sk of a SmartBody motion")
    describe.add_argument("--json", action="store_true", help="print JSON")

    bench = add("bench", _bench, "how long the parts of a turn take on this machine")
    bench.add_argument("name", nargs="?", metavar="NAME", choices=("codec", "refiner", "turn"), help="default: all")
    bench.add_argument("--count", type=_whole(1), default=200, metavar="N", help="runs of each (default: 200)")
    bench.add_argument("--threads", type=_whole(1), default=1, metavar="N", help="of torch (default: 1)")
    bench.add_argument("--refiner", metavar="DIR", help="another refiner than the shipped one, for its bench")
    bench.add_argument("--json", metavar="FILE", help="write the figures there; - prints them instead of the table")

    doctor = add("doctor", _doctor, "what is installed, what would be used and why, what is missing")
    doctor.add_argument("--planner", default="native", metavar="native|chat", help="the planner that is meant")
    doctor.add_argument("--engine", default="embedded", metavar="NAME", help="the engine that is meant")
    doctor.add_argument("--base-url", default=None, metavar="URL", help="the server that is meant")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    return parser


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
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""The options of the commands: what may be given, and what each of them means. It does not know what a command does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from visavis import __version__
from visavis.errors import UsageError

__all__ = ["Command", "make_parser"]

Command = Callable[[argparse.Namespace], int]


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
        "--engine",
        default="embedded",
        metavar="NAME",
        help="embedded (default; embedded:N: on N cores for a crowd), transformers or vllm runs the model",
    )
    group.add_argument("--base-url", default=None, metavar="URL", help="server of --planner chat or --engine vllm")
    group.add_argument(
        "--knowledge", action="append", default=[], metavar="PATH", help="documents to answer from: folder or file"
    )


def _address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=_whole(0, 65535), default=7860, metavar="N")


def _keeping(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is kept")
    group.add_argument(
        "--store", default=None, metavar="FILE|URL",
        help="where conversations are kept: a file, or postgresql://… (default: conversations.sqlite in $VISAVIS_HOME)",
    )  # fmt: skip
    group.add_argument("--no-store", action="store_true", help="keep nothing")


def _bodies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to-avatar", metavar="FILE", help="your own .vrm or .glb, written with the motion inside")
    parser.add_argument("--avatar", metavar="NAME", help="a shipped avatar: robin (default) or juno")


def make_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The options of visavis; `commands` says by name what a command does, and is `run` in what is parsed.

    Misuse raises `UsageError`.
    """
    parser = _Parser(prog="visavis", description="An embodied partner for two-person conversation.")
    parser.add_argument("--version", action="version", version=f"visavis {__version__}")
    known = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = known.add_parser(name, help=text, description=text)
        command.set_defaults(run=commands[name])
        return command

    say = add("say", "the avatar says TEXT as given, or what is recorded: voice, gestures, face and body")
    say.add_argument("text", nargs="?", metavar="TEXT")
    say.add_argument("--audio", metavar="FILE", help="a wav recording instead of the voice, up to 10 minutes")
    say.add_argument(
        "--transcript", metavar="TEXT|@FILE", help="what it says; without, its rhythm alone moves the body"
    )
    say.add_argument("--after", metavar="LINE", help="the partner's line that is answered, which tells what is felt")
    say.add_argument("--out", metavar="DIR", help="write the folder of the turn")
    _bodies(say)
    _common(say)

    chat = add("chat", "a conversation in the terminal")
    chat.add_argument("--once", metavar="TEXT", help="answer one line and exit")
    chat.add_argument("--out", metavar="DIR", help="write a folder for every turn")
    chat.add_argument("--session", default=None, metavar="ID", help="take up a conversation again, or name a new one")
    _keeping(chat)
    _common(chat)

    ui = add("ui", "the web page: chat on one side, the avatar on the other")
    _address(ui)
    ui.add_argument("--avatar", metavar="NAME|FILE", help="whom the page shows: robin, juno or a .vrm file")
    _keeping(ui)
    _common(ui)

    serve = add("serve", "the server for programs: sessions by REST, their events by WebSocket")
    _address(serve)
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

    convert = add("convert", "a motion file in another format, on another body")
    convert.add_argument("source", metavar="IN", help=".bvh .glb .vrma .vrm .npz .skm .csv, found from the content")
    convert.add_argument("target", metavar="OUT", help="named by its extension; or DIR.openpose, vmc://HOST:PORT")
    convert.add_argument(
        "--skeleton", metavar="FILE", help="the .sk of a SmartBody motion; any other file: the body to retarget to"
    )
    _bodies(convert)
    convert.add_argument("--quiet", action="store_true", help="print nothing but errors")
    convert.add_argument("--json", action="store_true", help="print JSON")

    move = add("move", "motion files refined, continued, filled in, edited, or made from a recording alone")
    move.add_argument("mode", choices=("refine", "protect", "continue", "in-between", "edit", "free"))
    move.add_argument("sources", nargs="*", metavar="IN", help="two motions for continue and in-between, none for free")
    move.add_argument("--out", required=True, metavar="FILE", help="named by its extension, such as moved.bvh")
    move.add_argument("--audio", metavar="FILE", help="a wav recording that the motion shall fit")
    move.add_argument("--transcript", metavar="TEXT|@FILE", help="what it says, for the stresses of its words")
    move.add_argument("--emotion", metavar="NAME[:X],...", help="such as joy:0.7, or a blend joy:0.4,surprise:0.3")
    move.add_argument("--style", metavar="FILE|N", help="a motion of how somebody moves, or a performer's number")
    move.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="another one is another motion")
    move.add_argument("--seconds", type=float, metavar="S", help="in-between, free: how long")
    move.add_argument("--strength", type=float, metavar="X", help="refine, protect, continue: 0 changes nothing")
    move.add_argument("--confidence", type=float, metavar="X", help="refine, protect, continue: how far IN is trusted")
    move.add_argument("--hold", action="append", default=[], metavar="HAND:FROM:TO", help="protect: what stays, in s")
    move.add_argument("--limbs", metavar="NAME,...", help="edit: of core, left, right (default: all)")
    move.add_argument("--from", dest="start", type=float, metavar="S", help="edit: from when")
    move.add_argument("--to", dest="end", type=float, metavar="S", help="edit: until when")
    move.add_argument("--keep", metavar="S,...", help="edit: poses that stay")
    move.add_argument("--variation", type=float, metavar="X", help="edit: 1 forgets what is edited, 0 only refines it")
    move.add_argument("--refiner", metavar="DIR", help="what `visavis train refiner --modes` wrote (default: shipped)")
    move.add_argument("--quiet", action="store_true", help="print nothing but errors")

    library = add("library", "the motion library: what is in it, what fits a text, and your own clips")
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

    evaluate = add("eval", "run scripted dialogs and check what the avatar says and does")
    evaluate.add_argument("action", choices=("run",))
    evaluate.add_argument("files", nargs="*", metavar="FILE", help="dialogs in YAML (default: the shipped five)")
    evaluate.add_argument("--out", required=True, metavar="DIR", help="verdicts.json, junit.xml, report.html, turns")
    evaluate.add_argument("--repeat", type=_whole(1), default=1, metavar="K", help="run each dialog K times")
    evaluate.add_argument("--baseline", metavar="FILE", help="verdicts.json to compare with; status 1 if worse")
    evaluate.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of the first run; the next count on")
    evaluate.add_argument("--voice", default=None, metavar="VOICE", help="espeak voice, `silent`, or a server's URL")
    evaluate.add_argument("--no-refine", action="store_true", help="leave the diffusion refiner out")
    evaluate.add_argument("--no-gestures", action="store_true", help="no semantic gestures")
    evaluate.add_argument("--scene", default=None, metavar="FILE", help="named places around, in YAML, to point at")
    evaluate.add_argument("--library", default=None, metavar="DIR", help="folder of added clips")
    evaluate.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    evaluate.add_argument("--model", default=None, metavar="DIR|NAME", help="planner weights, or a chat model's name")
    _brain(evaluate)

    train = add("train", "make a corpus or train a model of the default")
    train.add_argument("what", choices=("corpus", "codec", "planner", "refiner"))
    train.add_argument("--out", default="runs", metavar="DIR", help="corpora, checkpoints and weights (default: runs)")
    train.add_argument("--smoke", action="store_true", help="a minute on tiny data, to see that it runs")

    train.add_argument(
        "--modes",
        action="store_true",
        help="refiner: one that also fills in, edits and makes motion from sound",
    )
    train.add_argument(
        "--careful",
        action="store_true",
        help="corpus, planner: MOVE learns from codes chosen by what is decoded, not from the nearest ones",
    )
    train.add_argument("--seed", type=_whole(0), metavar="N", help="codec, refiner: of everything random (default: 0)")
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

    export = add("export", "a planner as a folder that vLLM and transformers load")
    export.add_argument("what", choices=("vllm",))
    export.add_argument("target", metavar="DIR", help="where it goes")
    export.add_argument(
        "--model", metavar="DIR", help="what `visavis train planner` wrote (default: the shipped planner)"
    )
    export.add_argument("--quiet", action="store_true", help="print nothing but errors")

    model = add("serve-model", "a planner at a vLLM server, for --engine vllm")
    model.add_argument("folder", metavar="DIR", help="what `visavis export vllm` or `visavis train planner` wrote")
    model.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    model.add_argument("--port", type=_whole(1, 65535), default=8000, metavar="N")
    model.add_argument("--name", default=None, metavar="NAME", help="of the model for clients (default: the folder's)")
    model.add_argument("--quiet", action="store_true", help="do not say when it is ready")
    model.add_argument("--flags", default="", help=argparse.SUPPRESS)
    model.epilog = "What stands after `--` are flags of vLLM, such as --tensor-parallel-size 2."

    describe = add("describe", "what a motion says: nearest gestures, emotion, energy, hands")
    describe.add_argument("file", metavar="FILE", help="a motion of any format that is read")
    describe.add_argument("-k", type=_whole(1), default=5, metavar="N", help="how many gestures to name")
    describe.add_argument("--skeleton", metavar="FILE", help="the .sk of a SmartBody motion")
    describe.add_argument("--json", action="store_true", help="print JSON")

    bench = add("bench", "how long the parts of a turn take on this machine")
    bench.add_argument("name", nargs="?", metavar="NAME", choices=("codec", "refiner", "turn"), help="default: all")
    bench.add_argument("--count", type=_whole(1), default=200, metavar="N", help="runs of each (default: 200)")
    bench.add_argument("--threads", type=_whole(1), default=1, metavar="N", help="of torch (default: 1)")
    bench.add_argument("--refiner", metavar="DIR", help="another refiner than the shipped one, for its bench")
    bench.add_argument("--json", metavar="FILE", help="write the figures there; - prints them instead of the table")

    doctor = add("doctor", "what is installed, what would be used and why, what is missing")
    doctor.add_argument("--planner", default="native", metavar="native|chat", help="the planner that is meant")
    doctor.add_argument("--engine", default="embedded", metavar="NAME", help="the engine that is meant")
    doctor.add_argument("--base-url", default=None, metavar="URL", help="the server that is meant")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    return parser

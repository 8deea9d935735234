"""The command line: every misuse is one clear line on stderr and status 2; what it says is right."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from visavis import cli
from visavis.cli import main

LONG = "word " * 10_000


@pytest.fixture
def broken_persona(tmp_path: Path) -> str:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [Ann\nrole: guide\n")
    return str(path)


@pytest.fixture
def unwritable(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("I am no folder")
    return str(tmp_path / "file" / "out")


def line_of(capsys: pytest.CaptureFixture[str], status: int) -> str:
    """The one line of a refused command."""
    out, err = capsys.readouterr()
    assert status == 2 and out == ""
    assert err.startswith("visavis: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["say"], "required: TEXT"),
        (["say", ""], "expected text with at least one word; got ''"),
        (["say", "   \n"], "at least one word"),
        (["say", "?!..."], "at least one word; got '?!...'"),
        (["say", "\u200b\u2060"], "at least one word; got ''"),
        (["say", LONG], "expected at most 5,000 characters of text; got 50,000: split it"),
        (["say", "x" * 3000], "words of at most 100 characters; got one of 3,000"),
        (["say", "Hello\x07 there"], "the control character U+0007: remove it"),
        (["say", "Hello\x1b[31m"], "U+001B"),
        (["say", "bad \udcff bytes"], "U+DCFF"),
        (["say", "Wo ist denn hier der Bahnhof und wie komme ich hin?"], "this looks like German"),
        (["say", "¿Dónde está la biblioteca y qué libros hay en ella?"], "this looks like Spanish"),
        (["say", "こんにちは、お元気ですか"], "expected English text; this looks like Hiragana script"),
        (["say", "Hello", "--audio", "mine.wav"], "expected TEXT or --audio, got both"),
        (["say", "--transcript", "Hello"], "--transcript is what is said in --audio FILE; got no --audio"),
        (["say", "--audio", "/nowhere.wav"], "expected a wav file, /nowhere.wav cannot be read"),
        (["say", "--audio", "/nowhere.wav", "--transcript", ""], "expected transcript with at least one word"),
        (
            ["say", "--audio", "/nowhere.wav", "--transcript", "@/nowhere.txt"],
            "a transcript in /nowhere.txt; it cannot",
        ),
        (["say", "Hello", "--to-avatar", "me.vrm"], "it needs --out DIR"),
        (["say", "Hello", "--to-avatar", "/nowhere.vrm", "--out", "{empty}"], "nowhere.vrm"),
        (["say", "Hello", "--avatar", "nobody"], "expected one of the avatars robin, juno; got 'nobody'"),
        (["say", "Hello", "--avatar", "me.vrm"], "use --to-avatar for a file of your own"),
        (["ui", "--avatar", "/nowhere.vrm", "--voice", "silent", "--port", "0"], "nowhere.vrm"),
        (["convert", "a.bvh"], "required: OUT"),
        (["convert", "/nowhere.bvh", "{empty}/a.glb"], "nowhere.bvh"),
        (["convert", "/nowhere.bvh", "a.fbx"], "expected an output ending in one of .bvh, .glb"),
        (["convert", "/nowhere.bvh", "a.glb", "--avatar", "juno", "--to-avatar", "b.vrm"], "expected one body"),
        (["convert", "/nowhere.bvh", "a.glb", "--avatar", "nobody"], "nobody"),
        (["chat", "--once", ""], "expected input with at least one word"),
        (["chat", "--once", LONG], "expected at most 5,000 characters of input"),
        (["chat", "--once", "Où est la gare et comment est-ce que je peux y aller?"], "expected English input"),
        (["say", "Hello", "--seed", "-1"], "--seed: expected a whole number of 0 or more; got '-1'"),
        (["say", "Hello", "--seed", "many"], "--seed: expected a whole number of 0 or more; got 'many'"),
        (["say", "Hello", "--persona", "nobody"], "nobody"),
        (["say", "Hello", "--persona", "/nowhere/persona.yaml"], "/nowhere/persona.yaml"),
        (["say", "Hello", "--out", "/proc/nowhere/out"], "expected a folder to write into; /proc/nowhere/out cannot"),
        (["say", "Hello", "--out", "bad\0name"], "expected a folder to write into"),
        (["say", "Hello", "--voice", "klingon"], "klingon"),
        (["say", "Hello", "--voice", "silent", "--model", "/nowhere"], "/nowhere"),
        (["ui", "--port", "99999"], "--port: expected a whole number from 0 to 65535; got '99999'"),
        (["ui", "--port", "http"], "--port: expected a whole number from 0 to 65535; got 'http'"),
        (["library", "dance"], "invalid choice"),
        (["library", "search"], "required: TEXT"),
        (["library", "search", " "], "expected a text to search for"),
        (["library", "search", "hello", "-k", "0"], "-k: expected a whole number of 1 or more; got '0'"),
        (["library", "show"], "required: GLOSS"),
        (["library", "show", "somersault"], "no gesture 'somersault' in the library: `visavis library list`"),
        (["eval", "run", "/nowhere.yaml", "--out", "/tmp"], "/nowhere.yaml"),
        (["eval", "run"], "required: --out"),
        (["eval", "run", "--out", "/tmp", "--repeat", "0"], "--repeat: expected a whole number of 1 or more"),
        (["train", "everything"], "invalid choice"),
        (["train", "refiner", "--out", "{empty}"], "run `visavis train codec` first"),
        (["train", "planner", "--out", "{empty}"], "run `visavis train corpus` first"),
    ],
    ids=lambda value: " ".join(value)[:40].encode("ascii", "replace").decode() if isinstance(value, list) else "",
)
def test_misuse_is_one_line_and_status_2(arguments, said, models, tmp_path, capsys):
    status = main([argument.replace("{empty}", str(tmp_path)) for argument in arguments])
    assert said in line_of(capsys, status)


def test_a_broken_persona_is_one_line(broken_persona, capsys):
    said = line_of(capsys, main(["say", "Hello", "--persona", broken_persona]))
    assert "broken.yaml" in said and "expected YAML" in said


@pytest.mark.parametrize("command", [["say", "Hello"], ["chat", "--once", "Hello"], ["train", "corpus"]])
def test_a_folder_that_cannot_be_is_told_before_the_work(command, unwritable, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_agent", lambda args: pytest.fail("the folder is tried first"))
    assert "expected a folder to write into" in line_of(capsys, main([*command, "--out", unwritable]))


def test_a_picture_that_cannot_be_written_is_told(unwritable, capsys):
    status = main(["library", "show", "nod", "--png", unwritable + "/nod.png"])
    out, err = capsys.readouterr()
    assert status == 2 and "expected a folder to write into" in err


def test_what_cannot_be_written_or_reached_is_one_line_and_status_1(unwritable, tmp_path, capsys):
    from visavis.motion.bvh import write_bvh
    from visavis.motion.idle import idle

    write_bvh(idle(10, seed=1), tmp_path / "idle.bvh")
    for target, said in (
        (f"{unwritable}/moved.bvh", "Not a directory"),
        ("vmc://no.such.host.invalid", "vmc://no.such"),
    ):
        assert main(["convert", str(tmp_path / "idle.bvh"), target]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("visavis: ") and err.count("\n") == 1 and said in err


def test_a_missing_extra_names_the_command_that_brings_it(models, capsys, monkeypatch):
    for name in ("gradio", "fastapi", "espeakng_loader"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    said = line_of(capsys, main(["say", "Hello", "--voice", "en-us+f3"]))
    assert "pip install 'visavis[speech]'" in said
    status = main(["ui", "--voice", "silent", "--port", "0"])
    assert "pip install 'visavis[" in line_of(capsys, status)


def test_without_the_voice_the_silent_one_stands_in_and_says_so(models, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert main(["say", "Hello there!", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "degraded: voice: " in out and "`silent` stands in" in out and "visavis[speech]" in out
    record = json.loads((tmp_path / "out" / "turn.json").read_text())
    assert any("silent" in line for line in record["degraded"])
    assert record["clauses"][0]["words"][0]["end_s"] > 0.1


def test_a_port_in_use_is_one_line(models, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = line_of(capsys, main(["ui", "--voice", "silent", "--port", str(port)]))
    assert f"127.0.0.1:{port} cannot be used" in said and "--port" in said


def test_a_service_that_fails_is_status_1(models, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    status = main(["say", "Hello", "--voice", url])
    err = capsys.readouterr().err
    assert status == 1 and err.startswith("visavis: ") and err.count("\n") == 1


def test_say_prints_what_was_done(models, capsys, tmp_path):
    out = tmp_path / "new" / "folder"
    assert main(["say", "Hello there!", "--voice", "silent", "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Hello there!" and "emotion:" in printed[1] and "gestures:" in printed[1]
    assert str(out) in printed[-1] and (out / "motion.bvh").exists()
    assert main(["say", "Hello there!", "--voice", "silent", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["say", "Hello there!", "--voice", "silent", "--json", "--no-gestures", "--no-refine"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "Hello there!" and record["clauses"][0]["gestures"] == []


def test_chat_reads_lines_until_an_empty_one(models, capsys, monkeypatch, tmp_path):
    from visavis.agent import native

    monkeypatch.setattr(native, "LONGEST_REPLY", 10)
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello!\nWo ist denn hier der Bahnhof?\nGoodbye.\n\nnever read\n"))
    assert main(["chat", "--voice", "silent", "--quiet", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("this looks like German") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001", "003"]
    assert json.loads((tmp_path / "003" / "turn.json").read_text())["user"] == "Goodbye."
    assert main(["chat", "--once", "Hello!", "--voice", "silent", "--out", str(tmp_path / "once")]) == 0
    assert (tmp_path / "once" / "turn.json").exists()


def test_without_a_store_a_chat_leaves_nothing_and_with_it_one_file(models, capsys, monkeypatch, tmp_path):
    from visavis.agent import native

    monkeypatch.setattr(native, "LONGEST_REPLY", 10)
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    line = ["chat", "--voice", "silent", "--quiet", "--once"]
    assert main([*line, "My name is Annabel.", "--no-store"]) == 0
    assert not (tmp_path / "home").exists()
    assert main([*line, "My name is Annabel."]) == 0
    file = tmp_path / "home" / "conversations.sqlite"
    assert b"Annabel" in file.read_bytes()
    assert main([*line, "Please forget everything."]) == 0
    assert not any(b"Annabel" in path.read_bytes() for path in file.parent.iterdir())


def test_the_library_is_shown(capsys, tmp_path):
    assert main(["library", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 40 and set(rows[0]) == {"gloss", "meaning", "type", "clips"}
    assert main(["library", "search", "It was enormous!", "--json", "-k", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 3 and set(found[0]) == {"gloss", "meaning", "clip", "score"}
    assert found[0]["gloss"] == "huge size"
    assert main(["library", "show", "nod"]) == 0
    assert capsys.readouterr().out.startswith("nod (")
    assert main(["library", "show", "nod", "--png", str(tmp_path / "deep" / "nod.png")]) == 0
    assert (tmp_path / "deep" / "nod.png").stat().st_size > 1000


def test_doctor_says_what_is_there_and_what_brings_the_rest(capsys, monkeypatch):
    assert main(["doctor", "--json"]) == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["python"]["status"] == "ok" and "no CUDA device" in rows["device"]["detail"]
    assert {"model planner", "model codec", "model refiner", "extra speech", "extra ui"} <= set(rows)
    assert "GPL-3.0" in rows["extra speech"]["detail"] and "--voice silent" in rows["extra speech"]["detail"]
    for row in rows.values():
        if row["status"] == "missing" and row["what"].startswith("extra"):
            assert f"pip install 'visavis[{row['what'].split()[1]}]'" in row["detail"]
    assert main(["doctor"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_help_answers_in_under_a_second():
    times = []
    for arguments in (["--help"], ["say", "--help"], ["--version"]):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "visavis", *arguments], capture_output=True, text=True, timeout=60)
        times.append(time.perf_counter() - began)
        assert done.returncode == 0 and "visavis" in done.stdout and not done.stderr
    assert min(times) < 1.0, times  # the others may have waited for a busy machine


def test_a_refused_command_through_the_shell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "visavis", "say", "", "--out", str(tmp_path / "never")],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "visavis: expected text with at least one word; got ''\n"
    assert not (tmp_path / "never").exists()


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys; from visavis.cli import main; sys.exit(main(['library', 'list']))"
    done = subprocess.run(f'{sys.executable} -c "{code}" | head -1', shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr and done.stdout.count("\n") == 1

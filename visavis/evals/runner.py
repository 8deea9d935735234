"""Run scripted dialogs and judge them: `visavis eval run FILE… --out DIR`.

Writes verdicts.json, junit.xml and report.html, and the folder of every turn. With `repeat` a dialog is run k times
with different seeds; pass^k is the share of dialogs that pass every time (Yao et al. 2024), the mean pass rate is given
with its interval. Beside a baseline, the verdicts of an earlier run, the status says whether anything got worse.
"""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from visavis.errors import ServiceError, UsageError
from visavis.evals.baseline import compared, read_verdicts
from visavis.evals.checks import Check, check_turn
from visavis.evals.dialog import Dialog, load_dialog
from visavis.metrics.bootstrap import bootstrap
from visavis.motion.bvh import read_bvh

__all__ = ["run_files", "shipped_dialogs"]


def shipped_dialogs() -> list[Path]:
    """The five dialogs that ship, one for each preset."""
    folder = Path(str(resources("visavis.evals") / "data" / "dialogs"))
    return sorted(folder.glob("*.yaml"))


def run_files(
    files: Sequence[Path],
    out: Path,
    seed: int = 0,
    repeat: int = 1,
    as_json: bool = False,
    baseline: Path | None = None,
    **options: Any,
) -> int:
    """Run dialogs, write the reports, print a summary.

    Args:
        files: dialogs; none means the five that ship.
        out: folder of the reports.
        seed: of the first run; the k-th has seed + k.
        repeat: how often each dialog is run.
        as_json: print the verdicts as JSON instead of the summary.
        baseline: `verdicts.json` of an earlier run, or its folder, to compare with.
        options: of the agents (voice, model, refine, gestures).

    Returns:
        0, or 1 when something failed; with a baseline 1 when something failed that passed there; 130 when it was
        interrupted: what was done until then is reported.

    Raises:
        UsageError: a file cannot be read, or `repeat` is below 1; nothing is run.
    """
    if repeat < 1:
        raise UsageError(f"expected to run each dialog at least once; got --repeat {repeat}")
    before = None if baseline is None else read_verdicts(baseline)
    paths = [Path(path) for path in files] or shipped_dialogs()
    loaded = [(path, *load_dialog(path)) for path in paths]
    names = _names(paths)
    out.mkdir(parents=True, exist_ok=True)
    from tqdm import tqdm

    from visavis.agent import Agent

    total = repeat * sum(len(dialog.turns) for _, dialog, _ in loaded)
    runs: list[dict[str, Any]] = []
    interrupted = False
    try:
        with tqdm(total=total, desc="turns", disable=not sys.stderr.isatty()) as bar:
            for (path, dialog, persona), name in zip(loaded, names, strict=True):
                for k in range(repeat):
                    with Agent(persona, seed=seed + k, **options) as agent:
                        folder = out / name / f"run{k + 1}"
                        turns = _run(dialog, agent.session(), folder, out, bar)
                    passed = all(check["passed"] for turn in turns for check in turn["checks"])
                    runs.append(
                        {"dialog": name, "title": dialog.name, "file": str(path), "run": k + 1, "seed": seed + k,
                         "passed": passed, "turns": turns}
                    )  # fmt: skip
    except KeyboardInterrupt:
        if not runs:
            raise
        interrupted = True
    verdicts = _summary(runs, [name for name in names if any(run["dialog"] == name for run in runs)], repeat)
    if interrupted:
        verdicts |= {"passed": False, "interrupted": True}
    if before is not None:
        verdicts["baseline"] = {"file": str(baseline), **compared(verdicts, before)}
    (out / "verdicts.json").write_text(json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _junit(runs).write(out / "junit.xml", encoding="utf-8", xml_declaration=True)
    (out / "report.html").write_text(_page(verdicts), encoding="utf-8")
    print(json.dumps(verdicts, ensure_ascii=False) if as_json else _lines(verdicts, out))
    if interrupted:
        return 130
    return int(bool(verdicts["baseline"]["worse"]) if before is not None else not verdicts["passed"])


def _names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each file, made distinct."""
    out: list[str] = []
    for path in paths:
        name, number = path.stem, 2
        while name in out:
            name, number = f"{path.stem}-{number}", number + 1
        out.append(name)
    return out


def _run(dialog: Dialog, session: Any, folder: Path, out: Path, bar: Any) -> list[dict[str, Any]]:
    turns = []
    for number, scripted in enumerate(dialog.turns, 1):
        line = scripted.user if scripted.user is not None else scripted.say or ""
        began = time.perf_counter()
        row: dict[str, Any] = {"number": number, "user": scripted.user, "say": scripted.say}
        try:
            turn = session.answer(line) if scripted.user is not None else session.say(line)
        except (UsageError, ServiceError) as error:
            checks = [Check("the turn is made", False, str(error))]
        else:
            elapsed_ms = 1000 * (time.perf_counter() - began)
            place = turn.save(folder / f"{number:03d}")
            checks = check_turn(turn, read_bvh(place / "motion.bvh"), scripted.expect, elapsed_ms)
            row |= {
                "text": turn.text, "emotion": turn.emotion, "elapsed_ms": round(elapsed_ms, 1),
                "duration_s": round(turn.record.duration_s, 3), "gestures": [g.gloss for g in turn.gestures],
                "degraded": turn.record.degraded, "folder": place.relative_to(out).as_posix(),
            }  # fmt: skip
        row["checks"] = [{"name": c.name, "passed": c.passed, "found": c.found} for c in checks]
        turns.append(row)
        bar.update()
    return turns


def _summary(runs: list[dict[str, Any]], names: Sequence[str], repeat: int) -> dict[str, Any]:
    checks = [check["passed"] for run in runs for turn in run["turns"] for check in turn["checks"]]
    by_dialog = [[run["passed"] for run in runs if run["dialog"] == name] for name in names]
    means = [sum(passes) / len(passes) for passes in by_dialog]
    share, rate = bootstrap([float(passed) for passed in checks]), bootstrap(means)
    return {
        "passed": all(run["passed"] for run in runs),
        "dialogs": len(names),
        "repeat": repeat,
        "pass_hat_k": sum(all(passes) for passes in by_dialog) / len(by_dialog),
        "pass_rate": {"value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n},
        "checks": {"value": _number(share.value), "low": _number(share.low), "high": _number(share.high), "n": share.n},
        "runs": runs,
    }


def _number(value: float) -> float | None:
    return None if value != value else value


def _lines(verdicts: dict[str, Any], out: Path) -> str:
    lines = []
    for run in verdicts["runs"]:
        lines.append(f"{'passed' if run['passed'] else 'FAILED':7} {run['dialog']} (run {run['run']}): {run['title']}")
        for turn in run["turns"]:
            for check in turn["checks"]:
                if not check["passed"]:
                    lines.append(f"        turn {turn['number']}: {check['name']}; got: {check['found']}")
    rate, checks = verdicts["pass_rate"], verdicts["checks"]
    lines.append(f"dialogs passed {100 * rate['value']:.0f} % [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}], ")
    lines[-1] += f"n = {rate['n']}; pass^{verdicts['repeat']} {verdicts['pass_hat_k']:.2f}"
    if checks["n"]:
        lines[-1] += f"; checks passed {100 * checks['value']:.0f} %, n = {checks['n']}"
    lines += [line for told in (_degraded(verdicts), _beside(verdicts)) for line in told]
    if verdicts.get("interrupted"):
        lines.append("interrupted: what stands here was done before")
    lines.append(f"report: {out / 'report.html'}")
    return "\n".join(lines)


def _degraded(verdicts: dict[str, Any]) -> list[str]:
    """How many turns something lesser stood in for what was asked, and why: they say little of the system meant."""
    turns = [turn for run in verdicts["runs"] for turn in run["turns"]]
    some = [turn["degraded"] for turn in turns if turn.get("degraded")]
    return [f"degraded: {len(some)} of {len(turns)} turns, the first by: {some[0][0]}"] if some else []


def _beside(verdicts: dict[str, Any]) -> list[str]:
    """What changed from the baseline."""
    if "baseline" not in verdicts:
        return []
    beside = verdicts["baseline"]
    if not beside["checks"]:
        return [f"no check is also in {beside['file']}: are these the same dialogs?"]
    change = ", ".join(f"{100 * beside['change'][name]:+.0f}" for name in ("low", "high"))
    lines = [f"against {beside['file']}: {100 * beside['change']['value']:+.0f} % [{change}], n = {beside['checks']}"]
    return lines + [f"  {how}: {what}" for how in ("worse", "better") for what in beside[how]]


def _junit(runs: list[dict[str, Any]]) -> ElementTree.ElementTree[ElementTree.Element]:
    root = ElementTree.Element("testsuites")
    for run in runs:
        suite = ElementTree.SubElement(root, "testsuite", name=f"{run['dialog']} run {run['run']}")
        failures = 0
        for turn in run["turns"]:
            for check in turn["checks"]:
                case = ElementTree.SubElement(
                    suite, "testcase", classname=f"{run['dialog']}.turn{turn['number']}", name=_xml(check["name"]),
                    time=f"{turn.get('elapsed_ms', 0) / 1000:.3f}",
                )  # fmt: skip
                if not check["passed"]:
                    failures += 1
                    ElementTree.SubElement(case, "failure", message=_xml(check["found"]))
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(failures))
    return ElementTree.ElementTree(root)


def _xml(text: str) -> str:
    """Without the control characters that XML 1.0 has no form for."""
    return "".join(c for c in text if c >= " " or c in "\t\n")


def _page(verdicts: dict[str, Any]) -> str:
    """One page without scripts: every turn with its preview and its checks."""
    e = html.escape
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Scripted dialogs</title><style>",
        "body{font:16px/1.5 system-ui,sans-serif;color:#343a46;max-width:1000px;margin:2em auto;padding:0 1em}",
        "img{max-width:100%;border:1px solid #dde}li.no{color:#b3261e;font-weight:600}li{margin:.1em 0}",
        "section{border-top:1px solid #dde;margin-top:1.5em}.said{background:#eef1f7;padding:.4em .8em}</style>",
        f"<h1>Scripted dialogs: {'passed' if verdicts['passed'] else 'failed'}</h1>",
        f"<p>pass^{verdicts['repeat']} = {verdicts['pass_hat_k']:.2f} over {verdicts['dialogs']} dialogs; ",
        f"{verdicts['checks']['n']} checks.</p>",
        *(f"<p>{e(line)}</p>" for line in (*_degraded(verdicts), *_beside(verdicts))),
    ]
    for run in verdicts["runs"]:
        state = "passed" if run["passed"] else "failed"
        parts.append(f"<section><h2>{e(run['title'])} (run {run['run']}): {state}</h2>")
        for turn in run["turns"]:
            parts.append(f"<h3>{turn['number']}. {e(turn['user'] or turn['say'] or '')}</h3>")
            if "folder" in turn:
                made = ", ".join(turn["gestures"]) or "no gesture"
                parts.append(f"<p class='said'>{e(turn['text'])} <small>({turn['emotion']}; {e(made)})</small></p>")
                parts += [f"<p>degraded: {e(line)}</p>" for line in turn["degraded"]]
                parts.append(f"<img src='{e(turn['folder'])}/preview.png' alt='poses and timeline of the turn'>")
            parts.append("<ul>")
            for check in turn["checks"]:
                mark = ("", "✓") if check["passed"] else (" class='no'", "✗")
                parts.append(f"<li{mark[0]}>{mark[1]} {e(check['name'])}: {e(check['found'])}</li>")
            parts.append("</ul>")
        parts.append("</section>")
    return "\n".join(parts) + "</html>\n"

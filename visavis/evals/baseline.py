"""Two runs of the same dialogs beside each other: which checks got worse, which better. It runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visavis.errors import FileFormatError
from visavis.metrics.bootstrap import bootstrap

__all__ = ["compared", "read_verdicts"]

Key = tuple[str, int, int, str, int]  # dialog, run, turn, check, and which of several checks of that name


def read_verdicts(path: Path) -> dict[str, Any]:
    """The `verdicts.json` of an earlier run, or that in a folder.

    Raises:
        FileFormatError: there is none, or it is something else.
    """
    path = path / "verdicts.json" if path.is_dir() else path
    try:
        verdicts = json.loads(path.read_text(encoding="utf-8-sig"))
        _checks(verdicts)
    except OSError as error:
        raise FileFormatError(
            f"expected the verdicts.json of an earlier run; {path} cannot be read: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"expected the verdicts.json of an earlier run; {path} is none ({error!r:.60})"
        ) from error
    assert isinstance(verdicts, dict)
    return verdicts


def compared(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Check by check.

    Returns:
        checks: how many are in both runs; change: mean of passed now minus passed before over these, in [-1, 1], higher
        is better, with its 95 % interval and n (None without checks); worse, better: those that changed, in words.
    """
    ours, theirs = _checks(now), _checks(before)
    both = [key for key in ours if key in theirs]
    change = bootstrap([float(ours[key]) - float(theirs[key]) for key in both])
    told = {"value": change.value, "low": change.low, "high": change.high, "n": change.n}
    return {
        "checks": len(both),
        "change": {name: None if value != value else value for name, value in told.items()},
        "worse": [_words(key) for key in both if theirs[key] and not ours[key]],
        "better": [_words(key) for key in both if ours[key] and not theirs[key]],
    }


def _checks(verdicts: Mapping[str, Any]) -> dict[Key, bool]:
    found: dict[Key, bool] = {}
    for run in verdicts["runs"]:
        for turn in run["turns"]:
            for check in turn["checks"]:
                place = (run["dialog"], run["run"], turn["number"], check["name"])
                again = 0
                while (*place, again) in found:
                    again += 1
                found[*place, again] = bool(check["passed"])
    return found


def _words(key: Key) -> str:
    dialog, run, turn, check, _ = key
    return f"{dialog} (run {run}), turn {turn}: {check}"

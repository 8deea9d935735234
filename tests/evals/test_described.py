"""The measurement of what is understood of performances that the library does not contain."""

from __future__ import annotations

from collections import Counter

import pytest

from visavis.evals.library import described
from visavis.evals.library.performances import load_performances


def test_halves_are_of_glosses_and_about_equal() -> None:
    halves = Counter(described.half_of(gloss) for gloss in load_performances())
    assert set(halves) == {"held", "tune"} and min(halves.values()) >= 100


def test_what_everybody_knows_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ("thumbs up", "clapping", "goodbye wave", "bow")
    some = {gloss: gesture for gloss, gesture in load_performances().items() if gloss in known}
    monkeypatch.setattr(described, "load_performances", lambda: some)
    halves = {described.half_of(gloss) for gloss in known}
    rows = [row for half in halves for row in described.measure(half).rows]
    among_five = [row for row in rows if row["name"] == "gloss among five"]
    assert sum(row["n"] for row in among_five) == len(known)
    assert all(row["value"] >= 50 for row in among_five)

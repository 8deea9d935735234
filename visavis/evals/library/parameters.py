"""Do the words of a sentence aim its gesture? Sixty frozen sentences (and others to develop with), seven places.

Two figures: what the text says to a gesture that is known to be meant, and the whole way, where the model must also
choose the gesture (one of the same family counts) and its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from visavis.agent import Agent
from visavis.evals.first_light.table import Table, data_file, progress, share
from visavis.retrieval.lexicon import Param, load_lexicon
from visavis.retrieval.params import params_of
from visavis.retrieval.scene import Scene

__all__ = ["SCENE", "measure", "same", "sentences"]

SCENE = Scene(
    objects={
        "door": (1.6, 1.0, 1.8), "window": (-1.8, 1.4, 1.2), "clock": (0.6, 2.1, 2.5), "red box": (-0.9, 0.4, 1.5),
        "plant": (1.9, 0.6, 0.6), "coat rack": (-2.2, 1.5, 0.2), "desk lamp": (0.5, 1.1, 0.9),
    },
    partner_head=(0.0, 1.55, 1.5),
)  # fmt: skip


def same(params: Mapping[str, Param], expected: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Whether the expected parameters were given, sizes to 2 %, targets by the place of their name."""
    for name, value in expected.items():
        if name == "target":
            place = SCENE.partner_head if value == "you" else SCENE.objects[value]
            if tuple(got.get("target", ())) != place:
                return False
        elif isinstance(value, str):
            if got.get(name) != value:
                return False
        elif name not in got or abs(float(got[name]) - value) > 0.02 * abs(value) + 1e-6:
            return False
    return True


def sentences(half: str = "held") -> list[dict[str, Any]]:
    """Rows of text, gloss, word and expected parameters: the frozen sixty ("held") or the development ones ("tune")."""
    training = Path(str(files("visavis.finetune"))) / "acts" / "data"
    path = data_file("library_params.yaml") if half == "held" else training / "library_params.yaml"
    rows: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))
    return rows


def measure(agent: Agent | None = None, half: str = "held") -> Table:
    """All sentences of a half; with an agent the whole way too."""
    rows = sentences(half)
    lexicon = load_lexicon()
    told, whole, details = [], [], []
    for row in progress(rows, "sentences"):
        words = [word.strip(".,;:!?\"'()") for word in row["text"].split()]
        anchor = words.index(str(row["word"])) if str(row["word"]) in words else 0
        params = lexicon[row["gloss"]].params
        got = params_of(params, row["text"], anchor, SCENE)
        told.append(same(params, row["expect"], got))
        detail = {**row, "told": {k: list(v) if isinstance(v, tuple) else v for k, v in got.items()}}
        if agent is not None:
            made = agent.say(row["text"]).gestures
            whole.append(any(same(params, row["expect"], g.params) for g in made))
            detail["made"] = [[g.gloss, g.params] for g in made]
        details.append(detail)
    table = Table(f"Parameters that {len(rows)} sentences give")
    table.add("right, the gesture known", share(told), "%", 100)
    if whole:
        table.add("right, the whole way", share(whole), "%", 100)
    kinds = {"sizes": ("size_m", "height_m"), "counts": ("count", "repetitions"), "places": ("target",),
             "directions": ("direction",)}  # fmt: skip
    for kind, names in kinds.items():
        some = [right for right, row in zip(told, rows, strict=True) if set(names) & set(row["expect"])]
        table.add(f"right, {kind}", share(some), "%", 100)
    table.details = {"sentences": details}
    return table

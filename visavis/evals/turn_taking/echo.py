"""Our own voice in the microphone, at given levels and delays: does it stop us, and is somebody heard over it?

Scenes as in `scenes`, on the test split's voices; each is cold, as the first seconds of a first conversation are.
Levels are those of the echo against what is played. What hearing can learn ends at 0.38 s (`visavis.speech.echo`), so a
longer delay shows what happens to a client that tells its playback too early.
"""

from __future__ import annotations

import itertools

import numpy as np

from visavis.evals.first_light.table import Table, median, progress
from visavis.evals.turn_taking.play import play
from visavis.evals.turn_taking.scenes import SceneMaker
from visavis.evals.turn_taking.score import Played
from visavis.evals.turn_taking.sentences import Split
from visavis.metrics.bootstrap import proportion

__all__ = ["DELAYS_S", "LEVELS_DB", "measure_echo"]

LEVELS_DB = (-30.0, -20.0, -10.0, -3.0)
DELAYS_S = (0.0, 0.05, 0.15, 0.3, 0.5)


def measure_echo(split: Split = "test", each: int = 3, seed: int = 0) -> Table:
    """Share of scenes in which our echo stops us, and of sentences over it that do, by level and by delay.

    Args:
        split: whose voices speak.
        each: scenes with and without somebody, at every level and delay.
        seed: of the scenes.
    """
    found: dict[tuple[float, float], dict[str, list[Played]]] = {}
    cells = list(itertools.product(LEVELS_DB, DELAYS_S))
    with SceneMaker(split) as maker:
        for number, (level_db, delay_s) in enumerate(progress(cells, "levels and delays")):
            rows = found.setdefault((level_db, delay_s), {"echo": [], "interruption": []})
            for kind, k in itertools.product(rows, range(each)):
                rng = np.random.default_rng([seed, number, k, len(kind)])
                scene = maker.scene(kind, rng, (delay_s, level_db))
                rows[kind].append(Played(scene, play(scene)))
    table = Table(f"our own echo, {split} split")
    for level_db in LEVELS_DB:
        _add(table, f"{level_db:.0f} dB", [found[cell] for cell in cells if cell[0] == level_db and cell[1] < 0.38])
    for delay_s in DELAYS_S:
        _add(table, f"{1000 * delay_s:.0f} ms late", [found[cell] for cell in cells if cell[1] == delay_s])
    return table


def _add(table: Table, label: str, rows: list[dict[str, list[Played]]]) -> None:
    alone = [item for row in rows for item in row["echo"]]
    said = [item for row in rows for item in row["interruption"]]
    times = [[at - item.scene.start_s for at in item.heard.interruptions] for item in said]
    wrong = [bool(item.heard.interruptions) for item in alone] + [min(at, default=0.0) < 0 for at in times]
    meant = [[late for late in at if late >= 0] for at in times]
    table.add(f"echo {label}: stops us", proportion(wrong), "%", 100)
    table.add(f"echo {label}: somebody over it is noticed", proportion([bool(at) for at in meant]), "%", 100)
    table.add(f"echo {label}: … stop latency, median", median([at[0] for at in meant if at]), "ms", 1000)

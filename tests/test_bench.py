"""`visavis bench`: the figures are of what ships, whole, and say nothing of whose machine it is."""

import json
import platform
import time

import pytest
import torch

from visavis import bench as module
from visavis.bench import NAMES, Times, bench, machine, table
from visavis.cli import main
from visavis.errors import UsageError

ROW = {"name", "median_ms", "low_ms", "high_ms", "p95_ms", "n", "unit"}


@pytest.fixture(scope="module")
def result(models) -> dict:
    return bench(count=3)  # a median that one slow run among them does not move


def test_every_row_has_what_the_contract_says(result):
    names = [row["name"] for row in result["rows"]]
    assert len(set(names)) == len(names) and {name.partition(".")[0] for name in names} == set(NAMES)
    assert {"codec.64_frames", "refiner.128_frames", "turn.move", "turn.first_motion", "turn.total"} <= set(names)
    for row in result["rows"]:
        assert set(row) >= ROW and row["unit"] == "ms" and row["n"] == 3, row["name"]
        assert 0 <= row["low_ms"] <= row["median_ms"] <= row["p95_ms"] + 1e-3 <= row["high_ms"] + 1, row["name"]


def test_a_whole_takes_longer_than_its_parts(result):
    took = {row["name"]: row for row in result["rows"]}
    for whole, part in (
        ("refiner.128_frames", "refiner.prosody_128_frames"), ("codec.64_frames", "codec.encode_64_frames"),
        ("codec.careful_64_frames", "codec.encode_64_frames"),
    ):  # fmt: skip
        assert took[whole]["processor_ms"] > took[part]["processor_ms"]
    assert (
        took["turn.total"]["median_ms"] > took["turn.first_motion"]["median_ms"] > took["turn.speak"]["median_ms"] > 0
    )
    assert took["turn.total"]["of_its_length"] > 0


def test_the_clock_is_the_clock():
    times = module._time("nap", lambda: time.sleep(0.02), 3)
    assert len(times.ms) == 3 and min(times.ms) >= 20 and max(times.processor_ms) < 20


def test_a_row_is_median_interval_and_the_slow_end():
    row = Times("a.b", [float(x) for x in range(1, 101)]).row()
    assert (row["median_ms"], row["n"]) == (50.5, 100) and row["p95_ms"] == pytest.approx(95.05)
    assert 40 < row["low_ms"] < 50.5 < row["high_ms"] < 61 and "processor_ms" not in row


def test_the_machine_is_told_in_words_and_not_by_name():
    told = machine()
    assert told["processor"] and told["cores"] >= 1 and told["torch_threads"] == torch.get_num_threads()
    assert platform.node() not in json.dumps(told).split('"')


def test_threads_are_as_before(models):
    before = torch.get_num_threads()
    assert bench(["codec"], 1, threads=2)["machine"]["torch_threads"] == 2
    assert torch.get_num_threads() == before


def test_the_command_writes_and_prints(models, tmp_path, capsys):
    assert main(["bench", "codec", "--count", "2", "--json", str(tmp_path / "new" / "figures.json")]) == 0
    written = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert set(written) == {"machine", "rows"} and [row["n"] for row in written["rows"]] == [2, 2, 2, 2]
    printed = capsys.readouterr().out
    assert table(written) == printed.rstrip("\n") and "codec.64_frames" in printed
    assert main(["bench", "codec", "--count", "1", "--json", "-"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"machine", "rows"}


def test_another_refiner_can_be_measured(models, tmp_path, capsys):
    from visavis.refiner import FlowConfig, FlowRefiner

    FlowRefiner(FlowConfig(width=16, layers=1, heads=2)).save(tmp_path)
    rows = bench(["refiner"], 2, refiner=tmp_path)["rows"]
    assert [row["name"].partition(".")[0] for row in rows] == ["refiner"] * 3
    assert main(["bench", "codec", "--refiner", str(tmp_path)]) == 2
    assert "--refiner belongs to the bench of that name; got codec" in capsys.readouterr().err
    assert main(["bench", "refiner", "--refiner", str(tmp_path / "none")]) == 2
    assert "expected a refiner" in capsys.readouterr().err


def test_misuse_is_refused(tmp_path):
    assert main(["bench", "dance"]) == 2
    assert main(["bench", "--count", "0"]) == 2
    assert main(["bench", "codec", "--json", str(tmp_path)]) == 2
    with pytest.raises(UsageError, match="expected benches of codec, refiner, turn; got dance"):
        bench(["dance"])
    with pytest.raises(UsageError, match="expected one run and one thread or more; got 0 and 1"):
        bench(["codec"], 0)

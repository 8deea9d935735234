"""Short forms of the runtime's measurements; the long ones are `python -m visavis.evals.runtime` and `make soak`."""

import pytest

from visavis.evals.runtime import __main__ as command
from visavis.evals.runtime import faults, interrupt, latency, listen, soak


def test_interruptions_of_every_kind_of_client():
    table = interrupt.measure(3, seed=2, voice="silent", refine=False)
    assert table.value("remembered is what was played") == 100
    rows = table.details["rows"]
    assert {row["kind"] for row in rows} == {"reports", "stalls", "silent"}
    assert max(row["stop_ms"] for row in rows) < 500  # the bound of 80 ms is for a machine that does nothing else


def test_the_body_listens_without_a_gap_or_a_seam():
    pytest.importorskip("espeakng_loader", reason="the partners speak with the extra `speech`")
    table = listen.measure(4, seed=3, voice="silent", refine=False)
    assert all(count > 0 for count in table.details["borders"].values())
    for kind in listen.KINDS:
        assert table.value(f"{kind}: step above the 99th percentile") == 0
        assert table.value(f"{kind}: step, largest over the largest") <= 1.5
    assert table.value("nod a minute of the partner's speech") > 0
    assert 0 < table.value("the listening body, of the processor") < 60  # less than 10 on a machine of one's own


def test_latency_is_measured():
    table = latency.measure(2, voice="silent", refine=False)
    assert table.value("first sound and motion") > 0 and table.value("whole turn over its speech") > 0
    assert len(table.details["rows"]) == 2 and all(row["text"] for row in table.details["rows"])


@pytest.mark.parametrize("scene", ["engine killed", "engine answers garbage", "engine of movement killed", "disk full"])
def test_scenes_of_faults(scene):
    assert faults.SCENES[scene]()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scene", sorted(set(faults.SCENES) - {"engine killed", "engine answers garbage"}))
def test_all_scenes_of_faults(scene):
    if "voice" in scene:
        pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    assert faults.SCENES[scene]()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_interruptions():
    table = interrupt.measure(100)
    assert table.value("remembered is what was played") == 100
    assert table.value("stops within 80 ms") == 100
    assert table.value("border steps above the 99th percentile inside") <= 2
    assert table.value("largest border step over largest inside") <= 1.5


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_lasts():
    table = soak.measure(10.0, 500)
    assert table.value("underruns of speech") == 0
    assert table.value("memory grown over the turns") <= 5
    assert table.value("threads left") == 0 and table.value("files left open") == 0


def test_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(faults, "SCENES", {"one": lambda: True, "two": lambda: False})
    assert command.main(["faults", "--only", "o", "--out", str(tmp_path / "t.json")]) == 0
    assert "one" in capsys.readouterr().out and (tmp_path / "t.json").exists()
    assert command.main(["latency", "--count", "1", "--voice", " "]) == 2
    assert "expected a voice" in capsys.readouterr().err

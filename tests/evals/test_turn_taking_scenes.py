from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.agent.turn_taking import EndOfTurn, Interruption
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table
from visavis.evals.turn_taking import sounds
from visavis.evals.turn_taking.__main__ import main
from visavis.evals.turn_taking.listener import matches
from visavis.evals.turn_taking.play import Heard
from visavis.evals.turn_taking.scenes import KINDS, Scene, SceneMaker
from visavis.evals.turn_taking.score import Played, add_overlaps, add_turns, fixed_silence
from visavis.evals.turn_taking.sentences import AGENT_VOICES, VOICES, sentences

RATE = sounds.RATE_HZ
NOTHING = np.zeros(0, np.float32)


def scene(kind="turn", end_s=3.0, played=NOTHING) -> Scene:
    return Scene(kind, "", np.zeros(6 * RATE, np.float32), NOTHING, played, 0.0, 1.0, end_s, 20.0)


def rows(items, add=lambda table, items: add_turns(table, "x", items)) -> dict[str, float | None]:
    table = Table("")
    add(table, items)
    return {row["name"].removeprefix("x: "): row["value"] for row in table.rows}


def ended(*times: float) -> Heard:
    return Heard(tuple(EndOfTurn(t, 1.0, t - 0.3, 0.9) for t in times))


def test_splits_share_neither_sentence_nor_voice():
    texts = {split: {t.lower().strip(".?!") for t in sentences(split)} for split in ("train", "dev", "test")}
    assert min(map(len, texts.values())) > 500
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not texts[a] & texts[b]
        assert not set(VOICES[a] + AGENT_VOICES[a]) & set(VOICES[b] + AGENT_VOICES[b])


def test_latency_and_cut_ins():
    items = [Played(scene(), ended(3.4)), Played(scene("pause"), ended(2.0, 3.5)), Played(scene("pause"), ended(3.2))]
    found = rows([*items, Played(scene(), Heard(()))])
    assert found["end of turn, median latency"] == pytest.approx(300)  # of 400 and 200; the one cut in on has none
    assert found["false cut-ins, turns with pauses"] == 50 and found["false cut-ins, turns without"] == 0
    assert found["take-over rate of ends"] == 75
    empty = rows([])
    assert empty["take-over rate of ends"] is None, "no turns are no figure"


def test_stops_and_backchannels():
    played = np.ones(6 * RATE, np.float32)
    stop = Heard((Interruption(1.6, 1.0), *ended(3.5).events))
    early = Heard((Interruption(0.5, 0.2),))
    items = [
        Played(scene("interruption", played=played), stop),
        Played(scene("interruption", played=played), early),
        Played(scene("backchannel", played=played), Heard(())),
        Played(scene("noise", played=played), stop),
        Played(scene("noise"), ended(2.0)),
        Played(scene("echo", played=played), Heard(())),
    ]
    found = rows(items, add_overlaps)
    assert found["interruptions noticed (take-over rate)"] == 50, "before anybody speaks it is a false alarm"
    assert found["… stop latency, median"] == pytest.approx(600)
    assert found["… response latency after them, median"] == pytest.approx(500)
    assert found["backchannels that stop us"] == 0 and found["noises under our speech that stop us"] == 100
    assert found["noises alone that count as a turn"] == 100 and found["our own echo stops us, share of scenes"] == 0


def test_a_fixed_silence_waits_for_so_long_after_speech():
    chunks = [(0.032 * (k + 1), 10 <= k < 40 or 50 <= k < 80) for k in range(150)]
    assert fixed_silence(0.3, chunks).ends == pytest.approx([0.032 * 50, 0.032 * 90], abs=0.04)
    assert fixed_silence(0.5, chunks).ends == pytest.approx([0.032 * 80 + 0.5], abs=0.04)


@given(st.lists(st.floats(0, 20), max_size=8), st.lists(st.floats(0, 20), max_size=8))
def test_matches_are_one_to_one(a, b):
    assert 0 <= matches(a, b) <= min(len(a), len(b))
    assert matches(a, a) == len(a)
    assert matches(a, []) == 0


def test_sounds_are_sounds():
    rng = np.random.default_rng(0)
    for sound in (sounds.cough(rng), sounds.click(rng), sounds.typing(rng), sounds.door(rng)):
        assert sound.dtype == np.float32 and np.isfinite(sound).all() and np.abs(sound).max() == pytest.approx(1)
    noise = sounds.colored_noise(RATE, rng, 1.0)
    assert (noise**2).mean() == pytest.approx(1, rel=0.01)
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    longer = sounds.stretched(tone, 1.4)
    assert len(longer) == pytest.approx(1.4 * RATE, abs=600)
    spectrum = np.abs(np.fft.rfft(longer[2_000:18_000]))
    assert np.argmax(spectrum) * RATE / 16_000 == pytest.approx(200, abs=3), "the pitch stays"


def test_scenes_are_what_they_say():
    if find_spec("espeakng_loader") is None:
        pytest.skip("the extra 'speech' is not installed")
    with SceneMaker("dev") as maker:
        found = list(maker.make(dict.fromkeys(KINDS, 1), seed=5))
    assert [s.kind for s in found] == list(KINDS)
    for s in found:
        assert np.isfinite(s.near).all() and len(s.echo) == len(s.near)
        assert all(s.start_s < a < b < s.end_s and 0.29 < b - a < 1.21 for a, b, _ in s.pauses)
        if s.kind == "pause":
            assert s.pauses and [w.start_s for w in s.words] == sorted(w.start_s for w in s.words)
        assert bool(np.any(s.echo)) == bool(len(s.played))


def test_misuse_is_told(capsys):
    assert main(["--share", "0"]) == 2
    assert main(["--kinds", "turn,quarrel"]) == 2
    assert main(["--real", "/nonexistent"]) == 2
    assert "expected" in capsys.readouterr().err


def test_echo_is_measured_at_the_levels_and_delays_that_are_told(monkeypatch):
    pytest.importorskip("silero_vad")
    pytest.importorskip("espeakng_loader")
    from visavis.evals.turn_taking import echo

    monkeypatch.setattr(echo, "LEVELS_DB", (-20.0,))
    monkeypatch.setattr(echo, "DELAYS_S", (0.1,))
    table = echo.measure_echo("dev", each=1)
    by_level, by_delay = table.rows[:3], table.rows[3:]
    assert [row["n"] for row in by_level[:2]] == [2, 1] and table.value("echo -20 dB: stops us") == 0
    assert [row["value"] for row in by_level] == [row["value"] for row in by_delay]


def test_pauses_of_a_monologue_are_told_apart_by_where_its_sentences_end(tmp_path):
    from visavis.evals.turn_taking.real import _monologue
    from visavis.speech.wav import write_wav

    wav = tmp_path / "someone.wav"
    write_wav(wav, np.zeros(4 * RATE, np.int16), RATE)
    rows = ["start\tend\tword", "0.1\t0.5\twe", "0.8\t1.2\tswim", "1.6\t2.0\tthey", "2.1\t2.5\tfish"]
    wav.with_suffix(".words.tsv").write_text("\n".join(rows) + "\n")
    found = _monologue(wav, [1.2])
    assert found.pauses == ((0.5, 0.8, False), (1.2, 1.6, True))
    assert [w.text for w in found.part(0.0, 1.2).words] == ["we", "swim"]
    with pytest.raises(UsageError, match="someone"):
        _monologue(wav, [3.0])


def test_a_network_that_is_learnt_is_one_that_can_be_asked(monkeypatch):
    from visavis.evals.turn_taking import fit
    from visavis.speech import ending

    rng = np.random.default_rng(0)
    last = rng.random(256) < 0.5
    tracks = rng.normal(size=(256, ending.FRAMES + 24, len(ending.TRACKS))).astype(np.float16)
    tracks[last, :, 3] += 1  # louder ones are ends
    summary = rng.normal(size=(256, len(ending.SUMMARY))).astype(np.float32)
    found = fit.Endings(tracks, summary, last, rng.random(256), np.arange(256) // 2)
    model = fit.learn_ending(found, epochs=4)
    monkeypatch.setattr(ending, "_model", lambda: model)
    melody = found.melody()
    assert np.mean(melody[last][:, None] > melody[~last]) > 0.95, "few steps, but in the right direction"
    patience = fit.choose(melody, found, (0.3,), allowed=0.5)
    assert patience.fast_s == 0.3 and patience.unsure < patience.sure

"""The measurements of the refiner: what they count, on systems whose worth is known."""

import wave

import numpy as np
import pytest
import torch

from visavis.agent.choreography import Choice
from visavis.emotion import Emotion
from visavis.evals.any_body.audio import read_given
from visavis.evals.refiner import measure
from visavis.evals.refiner.__main__ import main
from visavis.evals.refiner.material import Item, late, shuffled_sounds, systems, upper_body
from visavis.evals.refiner.recorded import pieces, recorded
from visavis.finetune.motion_corpus import TaughtTurn
from visavis.finetune.teacher import speaking
from visavis.motion.idle import idle
from visavis.refiner.flow import FlowConfig, FlowRefiner
from visavis.refiner.model import Refiner, RefinerConfig
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech.prosody import prosody
from visavis.speech.silent import SilentVoice
from visavis.tokenizers.codec import MotionCodec

LINES = (
    "No, the whole river was full of people, and everything together was very, very large.",
    "I never said that you should hold it; first we talk, and then you and I move forward.",
    "Yes, there is a strong feeling that all of them went far apart, again and again.",
    "You know, the first one was mine, but the second, which was huge, went to everybody.",
)


@pytest.fixture(scope="module")
def turns() -> list[Item]:
    voice, library, out = SilentVoice(), Library(load_lexicon()), []
    for number, line in enumerate(LINES):
        speech = voice.speak(line, Emotion("joy", 0.8))
        made = speaking(
            speech.words, speech.duration_s, Emotion("joy", 0.8), [Choice("huge size", 4)], library,
            Performer(amplitude=1.3), np.random.default_rng(number),
        )  # fmt: skip
        words = [(w.text, w.start_s, w.end_s, w.stress, w.stress_s) for w in speech.words]
        gestures = [(p.choice.gloss, list(p.phases.times), ["right"]) for p in made.placed]
        turn = TaughtTurn(
            "dev", "speak", line, "joy", 0.8, 0, speech.duration_s, 0, len(made.motion), words, gestures, []
        )
        stresses = [w.stress_s for w in speech.words if w.stress >= 0.5]
        sound = prosody(speech, len(made.motion))
        out.append(Item(turn, made.motion, late(made.motion, number), sound, stresses))
    return out


@pytest.fixture(scope="module")
def refiner() -> FlowRefiner:
    """Untrained, with an outlet that does a little."""
    torch.manual_seed(0)
    refiner = FlowRefiner(FlowConfig(width=16, layers=1, heads=2)).eval()
    torch.nn.init.normal_(refiner.outlet.weight, std=0.05)
    refiner.scale.fill_(0.2)
    return refiner


def known(turns: list[Item]) -> dict:
    """Decoded motion, what was taught, and what stands still: by the turn, whatever is given."""
    taught = {id(item.turn): item.taught for item in turns}
    return {
        "decoded": lambda decoded, *_: decoded,
        "oracle": lambda decoded, sound, turn, *_: taught[id(turn)],
        "still": lambda decoded, *_: idle(len(decoded), 1),
    }


def test_accuracy_is_zero_for_what_was_taught(turns):
    table = measure.accuracy(turns, known(turns))
    assert table.value("joints, oracle") == 0 and table.value("wrists, oracle") == 0
    assert 0 < table.value("joints, decoded") < table.value("joints, still")
    assert table.value("mean jerk, upper body, oracle") == table.value("mean jerk, upper body, taught")
    assert table.value("joints, oracle minus decoded") == pytest.approx(-table.value("joints, decoded"), abs=1e-3)


def test_rhythm_prefers_what_is_in_time(turns):
    table = measure.rhythm(turns, known(turns))
    assert table.value("lift (0.1 s), oracle") == table.value("lift (0.1 s), taught")
    assert table.value("lift (0.1 s), taught") > table.value("lift (0.1 s), decoded")
    assert table.value("|stroke - stress| of a turn, taught") < table.value("|stroke - stress| of a turn, decoded")
    assert table.value("lift, still minus decoded") is not None and "beats a second, still" in str(table)


def test_frechet_distances_grow_with_what_is_wrong(turns):
    many = turns * 4
    table = measure.frechet(many, known(many))
    assert table.value("plain, oracle") == pytest.approx(table.value("plain, taught (the floor)"), abs=1e-6)
    assert table.value("plain, still") > table.value("plain, oracle")
    assert table.rows[0]["n"] >= 16
    own = "paired, own minus another's sound, "
    assert table.value(f"{own}oracle") == pytest.approx(table.value(f"{own}taught (the floor)"), abs=1e-6)
    gain = table.rows[-1]
    assert gain["n"] == 8 and gain["low"] <= gain["value"] <= gain["high"]


def test_protected_strokes_stay_and_others_move(turns, refiner):
    table = measure.protection(turns, refiner)
    assert table.value("… the worst") <= 10 < table.value("largest move of a stroke, not protected")
    assert table.value("strokes that move 10 mm at most") == 100
    assert table.value("largest turn of the spine meanwhile") > 0.1


def test_seams_are_where_chunks_are_refined_apart(turns, refiner):
    table = measure.seams(turns, refiner, borders=16)
    assert table.details["borders"] >= 16
    middle, largest = "median over the inside's, ", "largest over the inside's largest, "
    assert table.value(f"{largest}continued") < min(1.5, table.value(f"{largest}refined apart"))
    assert table.value(f"{middle}refined apart") > 1.5 * table.value(f"{middle}continued")


def test_edits_change_nothing_else(turns, refiner):
    table = measure.edits(turns, refiner)
    assert table.value("largest change of a rotation's part outside the mask") == 0
    assert table.value("keyframes: farthest joint") < 5 and table.value("keyframes: largest angle") < 2
    assert table.value("largest move of a wrist inside it") > 10


def test_seeds_differ(turns, refiner):
    table = measure.seeds(turns[:2], refiner, count=3)
    assert table.value("mean distance of wrists between two seeds, free") > 1
    assert table.value("protected strokes move in time by") is not None


def test_motion_from_sound_is_measured_beside_what_was_taught_and_what_stands(turns, refiner):
    table = measure.from_sound(turns, refiner)
    assert table.value("speed of wrists, idle") < table.value("speed of wrists, taught")
    assert table.value("Fréchet distance, taught") < table.value("Fréchet distance, idle")
    assert table.value("lift, own sound minus another's") is not None


def test_sounds_are_of_other_turns(turns):
    for item, sound in zip(turns, shuffled_sounds(turns), strict=True):
        assert sound.shape == item.sound.shape and not np.array_equal(sound, item.sound)


def test_late_motion_drifts_by_150_ms_at_most(turns):
    motion = turns[0].taught
    drifted = upper_body(late(motion, 3))
    own = upper_body(motion)
    off = np.array([
        np.linalg.norm(own[max(0, i - 5) : i + 6] - drifted[i], axis=-1).max(-1).min() for i in range(len(motion))
    ])  # fmt: skip
    assert np.abs(drifted - own).max() > 0.01 and off.max() < 0.06  # each pose is one of within five frames


def test_systems_are_those_that_are_given(refiner, turns):
    assert list(systems(None, None)) == ["decoded"] and list(systems(None, refiner)) == ["decoded", "modes"]
    item = turns[0]
    made = systems(None, refiner)["modes"](item.decoded, item.sound, item.turn, 0.5, 0)
    assert len(made) == len(item.decoded)


def test_recordings_are_cut_where_stresses_are(tmp_path, refiner):
    words = [(0.5 * i, 0.5 * i + 0.3, "mountain") for i in range(24)]
    sound = (np.random.default_rng(0).standard_normal(16_000 * 12) * 3000).astype(np.int16)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(sound.tobytes())
    lines = ["start\tend\tword", *(f"{a}\t{b}\t{word}" for a, b, word in words)]
    (tmp_path / "a.words.tsv").write_text("\n".join(lines) + "\n")
    cut = pieces(read_given(tmp_path / "a.wav"), 24.0)
    assert [(a, b) for a, b, _ in cut] == [(0.0, 12.0)]  # nothing is said afterwards
    table = recorded(tmp_path, refiner, MotionCodec())
    assert table.value("lift, free, own minus shifted sound") is not None and "12 s" in table.title
    assert table.value("lift (0.1 s), the speaker's own") is None  # no motion of his is there
    assert main(["recorded", "--real", str(tmp_path / "none")]) == 2


def test_misuse_is_one_line(tmp_path, capsys):
    corpus, plain = tmp_path / "corpus", tmp_path / "plain"
    assert main(["edits", "--corpus", str(corpus)]) == 2
    assert "expected a motion corpus with a split dev" in capsys.readouterr().err
    corpus.mkdir()
    (corpus / "dev_0000.jsonl").write_bytes(b"")
    Refiner(RefinerConfig(width=16, layers=1, heads=2)).save(plain)
    assert main(["edits", "--corpus", str(corpus), "--modes", str(plain)]) == 2
    assert "edits is of the refiner's modes: give --modes DIR" in capsys.readouterr().err

"""One-shot enrolment of real recordings: each is found first by a paraphrase of its meaning, among everything else."""

import hashlib
import json
from pathlib import Path

import pytest

from visavis.cli import main
from visavis.retrieval.clips import ClipStore
from visavis.retrieval.commands import _codec
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.retrieval.smartbody_import import import_smartbody, meaning_of, read_gesture_map

REAL = Path(__file__).parents[2] / ".cache" / "real" / "smartbody_gestures"
MOTIONS = REAL / "Gestures" / "motions"
real = pytest.mark.skipif(not MOTIONS.is_dir(), reason="SmartBody's clips are not unpacked in .cache/real")

# motion, meaning line given at enrolment, paraphrase that must find it
FIVE = (
    (
        "ChrBrad@Idle01_SafeLf01",
        "rules that a runner reached the base in time",
        "the runner got to the base before the ball, says the umpire",
    ),
    (
        "ChrBrad@Idle01_ArmStretch01",
        "stretches stiff arms after sitting for hours",
        "loosens up the arms after a long day at the desk",
    ),
    (
        "ChrBrad@Idle03_Frame",
        "imagines how a scene would look on film",
        "pictures the shot as a film director would",
    ),
    (
        "ChrBrad@Idle01_ScratchChest01",
        "scratches an itchy mosquito bite on the chest",
        "an insect bite that itches",
    ),
    (
        "ChrBrad@Idle01_SqueezeHand01",
        "warms frozen hands by kneading them",
        "gets some warmth back into icy fingers",
    ),
)


def weights():
    folder = Path(__file__).parents[2] / "visavis"
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.safetensors"))}


@real
def test_five_clips_are_found_by_paraphrase_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISAVIS_LIBRARY", str(tmp_path / "library"))
    before = weights()
    for number, (motion, meaning, _) in enumerate(FIVE, start=1):
        assert main(["library", "add", str(MOTIONS / f"{motion}.skm"), "--meaning", meaning, "--json"]) == 0
        added = json.loads(capsys.readouterr().out)
        for each, _, paraphrase in FIVE[:number]:
            assert main(["library", "search", paraphrase, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert found[0]["clip"] == each.lower().replace("@", "_"), (paraphrase, found)
        performance = Library(load_lexicon(), None, ClipStore(tmp_path / "library")).perform(
            added["gloss"], Performer.neutral()
        )
        assert performance.phases.end_s == pytest.approx(len(performance.motion) / 30, abs=0.2)
    assert weights() == before


@real
@pytest.mark.slow
def test_a_folder_of_smartbody_is_imported(tmp_path):
    store = ClipStore(tmp_path)
    done = import_smartbody(REAL, store, _codec())
    assert len(done.added) > 50 and not done.failed
    named = read_gesture_map(REAL / "gesture_map.tsv").keys()
    there = {path.stem for path in REAL.rglob("*.skm")}
    assert len(store) == len(done.added) and len(done.added) + len(done.twins) == len(named & there) == 60
    assert set(done.absent) == named - there
    library = Library(load_lexicon(), GestureIndex.default(), store)
    hit = library.search("denies it")[0]
    assert 0 < hit.score <= 1
    again = import_smartbody(REAL, store, _codec())
    assert not again.added


@real
def test_the_map_is_read():
    uses = read_gesture_map(REAL / "gesture_map.tsv")
    assert all(meaning_of(lexeme, kind) for lexeme, kind in uses.values())

import csv
import json
import wave

import pytest
from PIL import Image
from pydantic import ValidationError

from visavis.agent.turn import TurnRecord
from visavis.motion.bvh import read_bvh
from visavis.tokenizers.codec import FIVE_PARTS

# contracts.md, turn.json
TURN = (
    "version agent user text duration_s fps seed planner engine timings_ms degraded fingerprint parts heard_s clauses "
    "constraints"
)
CLAUSE = "text start_s end_s emotion intensity words visemes gestures first_step tokens provenance"
GESTURE = (
    "gloss clip score source candidates anchor hand params warp start_s ready_s stroke_start_s stroke_s stroke_end_s "
    "relax_s end_s"
)
TIMINGS = "act speak aim move decode refine solve first_motion total"


@pytest.fixture(scope="module")
def folder(turn, tmp_path_factory):
    return turn.save(tmp_path_factory.mktemp("turn") / "deep" / "out")


def test_every_file_of_the_contract_is_there(folder):
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "turn.json", "speech.wav", "motion.bvh", "motion.glb", "motion.vrma", "motion.npz", "face.csv", "events.jsonl",
        "preview.png",
    }  # fmt: skip
    assert all(path.stat().st_size > 0 for path in folder.iterdir())


def test_turn_json_is_the_contract(folder, turn):
    data = json.loads((folder / "turn.json").read_text())
    assert TurnRecord.model_validate(data) == turn.record
    assert set(data) == set(TURN.split())
    assert set(TIMINGS.split()) <= set(data["timings_ms"])
    assert data["clauses"]
    for clause in data["clauses"]:
        assert set(clause) == set(CLAUSE.split())
        assert set(clause["tokens"]) == set(data["parts"]) == set(FIVE_PARTS)
        assert all(set(word) == {"text", "start_s", "end_s", "stress"} for word in clause["words"])
        assert all(set(viseme) == {"name", "start_s", "end_s"} for viseme in clause["visemes"])
        assert all(set(span) == {"from_step", "to_step", "part", "source"} for span in clause["provenance"])
        for gesture in clause["gestures"]:
            assert set(gesture) == set(GESTURE.split())
            assert 0 <= gesture["anchor"] < len(clause["words"])
    for constraint in data["constraints"]:
        assert set(constraint) == {"bone", "frame", "target_m", "direction", "from_s", "to_s", "source"}


def test_the_record_refuses_what_is_not_in_it(turn):
    with pytest.raises(ValidationError):
        TurnRecord.model_validate({**turn.record.model_dump(), "more": 1})


def test_sound_body_and_face_last_as_long(folder, turn):
    with wave.open(str(folder / "speech.wav")) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        assert sound.getnframes() / sound.getframerate() == pytest.approx(turn.record.duration_s, abs=0.01)
    assert len(read_bvh(folder / "motion.bvh")) == len(turn.motion)
    with (folder / "face.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) == len(turn.motion) + 1 and len(rows[0]) >= 54
    assert (folder / "motion.glb").read_bytes()[:4] == b"glTF"


def test_events_are_lines_in_order(folder, turn):
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == [event.type for event in turn.events]
    assert lines[1]["type"] == "response.created" and lines[-2]["type"] == "response.done"
    assert lines[-2]["turn"] == json.loads((folder / "turn.json").read_text())


def test_the_preview_is_a_picture_with_something_on_it(folder):
    picture = Image.open(folder / "preview.png")
    assert picture.width > 1000 and picture.height > 300
    assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_a_second_save_into_the_same_folder_replaces_the_first(folder, turn):
    before = (folder / "turn.json").read_text()
    turn.save(folder)
    assert (folder / "turn.json").read_text() == before

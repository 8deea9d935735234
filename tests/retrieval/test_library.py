import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from visavis.cli import main
from visavis.errors import FileFormatError, LexiconError
from visavis.motion import rotations as rot
from visavis.motion.files import write_motion
from visavis.motion.kinematics import chest_frame, positions, to_frame
from visavis.motion.phase_detection import find_phases, moving_hands
from visavis.motion.phases import Phases
from visavis.retrieval.clips import ClipStore, read_clip, slug_of
from visavis.retrieval.commands import _codec
from visavis.retrieval.enrol import clip_of, codec_hash, find_twins, performance_of, retokenised
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library, Wanted
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.vectors import VectorIndex

LEXICON = load_lexicon()
CODEC = _codec()


def made(gloss, **performer):
    return perform(LEXICON[gloss], Performer(**performer))


@pytest.fixture(scope="module")
def wave():
    motion = made("greeting wave", amplitude=1.1).motion
    return clip_of(motion, "greets the crew of a passing ship", CODEC, gloss="ahoy", examples=["Ship ahoy!"])


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "library")


def test_phases_are_found_from_wrist_speed():
    late = {}
    for gloss in ("huge size", "stop", "greeting wave", "telephone", "thumbs up", "hand on heart"):
        performance = made(gloss)
        found = find_phases(performance.motion)
        assert moving_hands(performance.motion) == performance.hand
        assert found.start_s == pytest.approx(0, abs=0.1)
        assert found.end_s == pytest.approx(performance.phases.end_s, abs=0.15)
        late[gloss] = abs(found.stroke_s - performance.phases.stroke_s)
    assert np.median([*late.values()]) < 0.1, late


def test_stillness_and_nods_have_phases_too():
    nod = made("nod")
    assert moving_hands(nod.motion) == "none"
    assert 0.1 < find_phases(nod.motion).stroke_s < 0.8
    still = nod.motion.slice(0, 1).concatenate(nod.motion.slice(0, 1))
    still = still.concatenate(still)
    assert find_phases(still).end_s == pytest.approx(0.1)
    with pytest.raises(ValueError, match="four frames"):
        find_phases(still.slice(0, 3))


def test_a_clip_comes_back_as_it_was(wave, store):
    added = store.add(wave)
    assert added.name == "ahoy" and len(store) == 1
    back = store.read("ahoy")
    assert (back.gloss, back.meaning, back.examples, back.hands) == ("ahoy", wave.meaning, ("Ship ahoy!",), "right")
    assert np.array_equal(back.motion.rotations, wave.motion.rotations)
    assert np.array_equal(back.codes, wave.codes) and back.codec == codec_hash(CODEC)
    assert back.phases == wave.phases
    assert store.add(wave).name == "ahoy_2"
    store.remove("ahoy")
    assert [clip.name for clip in store] == ["ahoy_2"]
    for name in ("ahoy", "../ahoy_2", "AHOY_2"):
        with pytest.raises(LexiconError, match="no clip"):
            store.remove(name)


def test_an_added_clip_is_found_and_performed_at_once(wave, store):
    library = Library(LEXICON, GestureIndex.default(), store)
    assert "ahoy" not in library and library.added == []
    store.add(wave)
    assert "ahoy" in library
    assert library.search("hails a vessel that sails by")[0].clip == "ahoy"
    assert library.candidates("Ship ahoy!")[0].text == "ahoy"
    chances = library.word_chances("Ship ahoy!")
    assert chances.shape == (2,) and chances.max() <= 1
    performance = library.perform("ahoy", Performer.neutral())
    assert performance.clip == "ahoy" == library.clips("ahoy")[0] and performance.hand == "right"
    assert performance.phases.start_s == pytest.approx(0, abs=0.05)
    mirrored = performance_of(wave, hand="left")
    assert mirrored.hand == "left"

    def path(motion, side):
        return to_frame(chest_frame(motion), positions(motion)[:, motion.skeleton.index(f"{side}Hand")])

    apart = path(mirrored.motion, "left") * (-1, 1, 1) - path(wave.motion, "right")
    assert np.abs(apart).max() < 0.01
    with pytest.raises(LexiconError, match="no parameters"):
        library.perform("ahoy", Performer.neutral(), {"size_m": 1})
    with pytest.raises(LexiconError, match="no gesture 'avast'"):
        library.perform("avast", Performer.neutral())


def test_a_folder_that_rests_is_not_listed_again(wave, store, monkeypatch):
    library, listed = Library(LEXICON, GestureIndex.default(), store), []
    store.add(wave)
    assert library.added == ["ahoy"]
    hour_ago = time.time() - 3600
    os.utime(store.folder, (hour_ago, hour_ago))
    assert library.added == ["ahoy"]
    paths = ClipStore.paths
    monkeypatch.setattr(ClipStore, "paths", lambda self: [listed.append(1), *paths(self)][1:])
    assert library.search("Ship ahoy!")[0].clip == "ahoy" and library.candidates("Ship ahoy!") and not listed
    store.add(wave)
    assert library.added == ["ahoy", "ahoy_2"] and listed


def test_a_turned_and_moved_recording_faces_forward():
    motion = made("stop").motion
    hips = motion.skeleton.index("hips")
    turned = motion.rotations.copy()
    yaw = rot.from_axis_angle([0, 1, 0], np.float32(2.0))
    turned[:, hips] = rot.multiply(np.broadcast_to(yaw, (len(motion), 4)), turned[:, hips])
    clip = clip_of(replace(motion, rotations=turned, root_m=motion.root_m + (3, 0, -2)), "halts somebody", CODEC)
    assert rot.angle_between(clip.motion.rotations[:, hips], motion.rotations[: len(clip.motion), hips]).max() < 0.05
    assert np.abs(clip.motion.root_m[:, [0, 2]]).max() < 0.1


def test_twins_are_reported(wave, store):
    store.add(wave)
    again = clip_of(made("greeting wave", amplitude=1.08).motion, "says hello", CODEC)
    other = clip_of(made("stop").motion, "halts somebody", CODEC)
    assert [twin.name for twin in find_twins(again, store)] == ["ahoy"]
    assert find_twins(other, store) == []


def test_filters_leave_out_what_does_not_fit():
    library = Library(LEXICON, GestureIndex.default())
    text = "Hello there, good to see you!"

    def best(**wanted):
        return library.candidates(text, wanted=Wanted(**wanted))[0].text

    assert best() == "greeting wave"
    assert best(recent=["greeting wave"]) != "greeting wave"
    assert LEXICON[best(busy={"left", "right"})].hands == "none"
    assert LEXICON[best(room_s=0.5)].phases.end_s <= 1.0


@pytest.mark.parametrize(
    ("text", "gloss", "word"),
    [("They clapped three times.", "clapping", 1), ("He saluted with his left hand.", "salute", 1)],
)
def test_who_says_how_often_or_with_which_hand_means_a_gesture(text, gloss, word):
    library = Library(LEXICON, GestureIndex.default())
    assert library.candidates(text)[0].text == gloss
    assert library.word_chances(text).argmax() == word
    assert max(library.word_chances("It rained in June.")) < 0.1


def test_tokens_are_made_again_for_another_codec(wave):
    old = replace(wave, codes=wave.codes * 0, codec="another")
    new = retokenised(old, CODEC)
    assert np.array_equal(new.codes, wave.codes) and new.codec == codec_hash(CODEC)


@pytest.mark.parametrize(
    "damage", ["cut", "zeros", "empty", "other", "nan", "phases", "pickle", "vectors", "codes", "gloss"]
)
def test_a_damaged_clip_is_named_and_passed_over(wave, store, damage, caplog):
    store.add(wave)
    bad = store.folder / "bad.safetensors"
    whole = (store.folder / "ahoy.safetensors").read_bytes()
    if damage == "cut":
        bad.write_bytes(whole[: len(whole) // 2])
    elif damage == "zeros":
        bad.write_bytes(bytes(1000))
    elif damage == "empty":
        bad.write_bytes(b"")
    elif damage == "other":
        save_file({"x": np.zeros(3)}, bad)
    elif damage == "pickle":
        np.savez(bad.with_suffix(".npz"), x=np.array([{}], object))
        bad.with_suffix(".npz").rename(bad)
    else:
        spoilt = replace(wave, name="bad")
        if damage == "vectors":
            spoilt = replace(spoilt, vectors=wave.vectors[:, :7])
        elif damage == "codes":
            spoilt = replace(spoilt, codes=wave.codes[0])
        elif damage == "gloss":
            spoilt = replace(spoilt, gloss="<|end|>")
        elif damage == "nan":
            spoilt = replace(spoilt, motion=replace(wave.motion, root_m=wave.motion.root_m * np.nan))
        else:
            spoilt = replace(spoilt, phases=Phases(*([float("nan")] * 7)))
        store.replace(spoilt)
    with pytest.raises(FileFormatError, match="expected a clip of the library"):
        read_clip(bad)
    assert [clip.name for clip in store] == ["ahoy"]
    assert "bad.safetensors" in caplog.text


def test_a_meaning_must_say_something():
    motion = made("stop").motion
    for meaning in ("", "  ", "123", "x" * 300):
        with pytest.raises(LexiconError, match="say what it means"):
            clip_of(motion, meaning, CODEC)
    with pytest.raises(LexiconError, match="has 2 frames"):
        clip_of(motion.slice(0, 2), "halts", CODEC)
    with pytest.raises(LexiconError, match="inside the recording"):
        clip_of(motion, "halts", CODEC, phases=Phases(0, 1, 2, 3, 4, 5, 60))
    assert slug_of("Où est-ce?! <|end|>") == "o_est_ce_end"
    assert clip_of(motion, "halts", CODEC, gloss="<|end|> stop").gloss == "end stop"


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from visavis.retrieval.clips import ClipStore, read_clip
clip = read_clip(Path(sys.argv[1]))
store = ClipStore(Path(sys.argv[2]))
for number in range(100):
    print(store.add(replace(clip, name=f"clip{number:03d}")).name, flush=True)
"""


@pytest.mark.parametrize("after", [25, *(pytest.param(after, marks=pytest.mark.slow) for after in (3, 60))])
def test_a_killed_process_loses_no_earlier_clip(wave, store, tmp_path, after):
    other = ClipStore(tmp_path / "seed")
    other.add(wave)
    command = [sys.executable, "-c", CHILD, str(other.folder / "ahoy.safetensors"), str(store.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        said = [child.stdout.readline().strip() for _ in range(after)]
        time.sleep(0.0001 * after)
        child.send_signal(signal.SIGKILL)
        said += [line.strip() for line in child.stdout if line.endswith("\n")]
    names = [clip.name for clip in store]
    assert set(said) <= set(names)
    for name in names:
        assert np.array_equal(store.read(name).motion.rotations, wave.motion.rotations)
    store.add(wave)
    assert not list(store.folder.glob("*.partial"))


def test_search_is_exact_and_the_same_beyond_the_border():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = VectorIndex(vectors)
    places, cosines = index.search(vectors[7], 5)
    assert places[0] == 7 and cosines[0] == pytest.approx(1)
    assert np.array_equal(places, np.argsort(-(vectors @ vectors[7]), kind="stable")[:5])
    assert len(index.search(vectors[0], 1000)[0]) == 500 and len(VectorIndex(vectors[:0]).search(vectors[0], 3)[0]) == 0
    faiss = pytest.importorskip("faiss", reason="the extra `scale` is not installed")
    assert faiss
    beyond = VectorIndex(vectors, most_in_numpy=100)
    assert np.array_equal(beyond.search(vectors[7], 5)[0], places)


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VISAVIS_LIBRARY", str(tmp_path / "lib"))
    path = tmp_path / "relief.bvh"
    write_motion(made("shrug").motion, path)

    def run(*args):
        status = main(["library", *args])
        return status, capsys.readouterr()

    status, out = run("add", str(path), "--meaning", "laughs off a narrow escape", "--json")
    assert status == 0
    added = json.loads(out.out)
    assert added["clip"] == "relief" and added["hands"] == "both" and added["like"] == [] and len(added["phases"]) == 7
    rows = json.loads(run("list", "--json")[1].out)
    assert {"gloss": "relief", "meaning": "laughs off a narrow escape", "type": "added", "clips": ["relief"]} in rows
    found = json.loads(run("search", "laughs away a lucky escape", "--json")[1].out)
    assert found[0]["clip"] == "relief" and set(found[0]) == {"gloss", "meaning", "clip", "score"}
    assert "relief" in run("show", "relief", "--png", str(tmp_path / "x" / "relief.png"))[1].out
    assert (tmp_path / "x" / "relief.png").stat().st_size > 1000
    assert json.loads(run("retokenise", "--json")[1].out) == {"clips": 1, "changed": 0}
    assert "1 clips" in run("export", str(tmp_path / "all.tar.gz"))[1].out
    status, out = run("add", str(path), "--meaning", "again", "--json")
    assert json.loads(out.out)["like"][0]["name"] == "relief"
    assert run("remove", "relief")[0] == 0
    for args, message in (
        (("remove", "relief"), "no clip 'relief'"),
        (("add", str(path), "--meaning", "x", "--gloss", "stop"), "gesture of the lexicon"),
        (("add", str(path), "--meaning", "xyz", "--phases", "1,2"), "seven times"),
        (("add", str(tmp_path / "none.bvh"), "--meaning", "xyz"), "none.bvh"),
        (("import", "smartbody", str(tmp_path / "none")), "expected a folder"),
        (("import", "smartbody", str(tmp_path)), "gesture_map.tsv"),
        (("show", "nothing"), "no gesture 'nothing'"),
        (("search", " "), "expected a text"),
        (("export", str(tmp_path / "all.zip")), ".tar.gz"),
        (("frobnicate",), "invalid choice"),
    ):
        status, out = run(*args)
        assert status == 2 and message in out.err and out.err.count("\n") == 1, (args, out.err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(wave, tmp_path):
    (tmp_path / "no").mkdir(mode=0o500)
    with pytest.raises(Exception, match="cannot be written"):
        ClipStore(tmp_path / "no" / "lib").add(wave)

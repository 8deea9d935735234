"""The codec's own corpus: made once, dealt out in windows, without what the figures are taken on."""

import numpy as np
import pytest

from visavis.finetune.codec_corpus import BROAD, NARROW, CodecCorpus, build
from visavis.finetune.recordings import FOLDER, HELD_PERFORMER, TRAIN_PERFORMER, take_of, takes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    build(out, out / "nothing here", turns=1, gestures=3, reaches=2)
    return out


def test_kinds_are_made_once_and_recordings_are_optional(folder):
    assert {path.name for path in folder.iterdir()} == {"gestures.npz", "reaches.npz", "taught.npz"}
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    build(folder, folder / "nothing here", turns=1, gestures=3, reaches=2)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_windows_lie_inside_clips_and_the_sides_are_the_livelier_ones(folder):
    corpus, rng = CodecCorpus(folder), np.random.default_rng(0)
    assert corpus.windows(6, 400, rng).shape == (6, 400, 264)  # longer than any clip: it then stands still
    core, side = corpus.sample("core", 5, 32, rng), corpus.sample("side", 5, 32, rng)
    assert core.shape == (5, 32, 36) and side.shape == (5, 32, 114) and np.isfinite(side).all()
    assert "gestures: 3 clips" in corpus.summary


def test_the_second_half_of_a_run_sees_more_of_what_the_body_does(folder):
    corpus = CodecCorpus(folder)
    for share, expected in ((0.0, BROAD), (0.44, BROAD), (0.45, NARROW), (1.0, NARROW)):
        corpus.at(share)
        assert corpus._shares is expected
    assert sum(BROAD.values()) == pytest.approx(1) == pytest.approx(sum(NARROW.values()))


@pytest.mark.skipif(not FOLDER.is_dir(), reason="SmartBody's clips are not unpacked in .cache/real")
def test_performers_share_no_take():
    names = {who: {take_of(path) for path in FOLDER.rglob(f"{who}@*.skm")} for who in (TRAIN_PERFORMER, HELD_PERFORMER)}
    assert len(names[HELD_PERFORMER]) == 44 and not names[TRAIN_PERFORMER] & names[HELD_PERFORMER]
    assert len(takes(FOLDER, TRAIN_PERFORMER, limit=2)) == 2

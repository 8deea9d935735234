"""The measurements of recordings, on a recording whose words are known to the sample."""

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.errors import UsageError
from visavis.evals.any_body.__main__ import main, names
from visavis.evals.any_body.audio import measure, read_given
from visavis.speech import open_voice, write_wav

TEXT = "I caught a fish yesterday, and it was huge! My friends came to see it and they were very happy."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="no voice to record")
    folder = tmp_path_factory.mktemp("data")
    voice = open_voice("en-us")
    speech = voice.speak(TEXT, Emotion())
    voice.close()
    write_wav(folder / "a.wav", speech.samples, speech.sample_rate_hz)

    def tier(name, rows):
        intervals = "".join(f'\t\t\txmin = {a}\n\t\t\txmax = {b}\n\t\t\ttext = "{text}"\n' for a, b, text in rows)
        return f'\t\tname = "{name}"\n\t\txmin = 0\n\t\txmax = 9\n{intervals}'

    words = [(w.start_s, w.end_s, w.text.strip(".,!").lower()) for w in speech.words]
    phones = [(w.stress_s, w.end_s, "AA1") for w in speech.words]
    (folder / "a.TextGrid").write_text(tier("words", [(0, 0.01, ""), *words]) + tier("phones", phones))
    write_wav(folder / "b.wav", speech.samples, speech.sample_rate_hz)
    rows = "".join(f"{a:.3f}\t{b:.3f}\t{text}\n" for a, b, text in words)
    (folder / "b.words.tsv").write_text("start\tend\tword\n" + rows)
    write_wav(folder / "unknown.wav", speech.samples, speech.sample_rate_hz)
    return folder


def test_given_words_are_read_from_both_kinds_of_file(data):
    grid, tsv = read_given(data / "a.wav"), read_given(data / "b.wav")
    assert grid.words == tsv.words == tuple(TEXT.replace(",", "").replace("!", "").replace(".", "").lower().split())
    assert np.abs(grid.start_s - tsv.start_s).max() < 0.001
    assert not np.isnan(grid.vowel_s).any() and np.isnan(tsv.vowel_s).all()
    assert 4 <= len(grid.stressed_s) < len(grid.words) and len(grid.phrase_s) >= 1


def test_the_table_knows_words_and_strokes(data, models):
    pytest.importorskip("pocketsphinx", reason="the extra 'speech' is not installed")
    table = measure(data, limit=1)
    assert table.value("word onsets, median |error|") < 50
    heard = table.value("no transcript: stress by ear to a given vowel, median")
    assert heard < 100 and table.details["recordings"][0]["recording"] == "a.wav"
    assert table.value("no transcript: stroke apexes a second, both wrists") > 0


def test_misuse_is_told(tmp_path, capsys):
    assert "audio" in names() and "retarget" in names()
    assert main(["audio", "--data", str(tmp_path / "nothing")]) == 2
    assert "they are not part of the project" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"NAME.wav with NAME.words.tsv"):
        measure(tmp_path)

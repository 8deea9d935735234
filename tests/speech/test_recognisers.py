import pytest

from visavis.errors import FileFormatError, UsageError
from visavis.extensions import register
from visavis.speech.recogniser import TypedText
from visavis.speech.recognisers import open_recogniser


def test_phrases_come_from_a_file(tmp_path):
    pytest.importorskip("pocketsphinx", reason="needs the extra `speech`")
    file = tmp_path / "phrases.txt"
    file.write_text("# what one may say\nhello there\n\ngood bye\n")
    one = open_recogniser(f"phrases:{file}")
    assert one.name == "grammar"
    one.close()


@pytest.mark.parametrize("spec", ["", "nobody", "phrases:", "whisper:", "phrases"])
def test_an_unknown_name_is_told(spec):
    with pytest.raises(UsageError, match="expected a recogniser"):
        open_recogniser(spec)


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(FileFormatError, match="one phrase a line"):
        open_recogniser(f"phrases:{tmp_path / 'nothing.txt'}")
    (tmp_path / "long.txt").write_text("word " * 20_000)
    with pytest.raises(FileFormatError, match="at most"):
        open_recogniser(f"phrases:{tmp_path / 'long.txt'}")


def test_an_offered_one_is_found():
    register("recogniser", "keyboard-of-tests", TypedText)
    assert open_recogniser("keyboard-of-tests").name == "typed"

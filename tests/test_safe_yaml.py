from importlib.resources import files

import pytest
import yaml

from visavis import safe_yaml


def test_it_reads_as_the_reader_in_python_does_and_as_safely():
    text = (files("visavis.retrieval") / "data" / "hand_shapes.yaml").read_text("utf-8")
    assert safe_yaml.load(text) == yaml.safe_load(text)
    for wrong in ("!!python/object/apply:os.getcwd []", "a: [1"):
        with pytest.raises(yaml.YAMLError):
            safe_yaml.load(wrong)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_what_is_too_deep_is_refused_and_not_the_end_of_the_process(opening):
    with pytest.raises(yaml.MarkedYAMLError, match="expected at most 100 levels, one inside the other"):
        safe_yaml.load(opening * 100_000)


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, b: {c: 1, c: 2}}", "- {x: [1], 'x y': 2, x: 3}"])
def test_a_key_that_comes_again_is_told_with_its_line(text):
    with pytest.raises(yaml.MarkedYAMLError, match="expected every key once") as caught:
        safe_yaml.load(text)
    assert caught.value.problem_mark.line == text.count("\n")


def test_keys_of_different_mappings_may_be_alike():
    text = "base: &base {a: 1}\nlist: [{a: 1}, {a: 1}]\nmore: {<<: *base, a: [a, a]}\n1: one\n'1': text\n"
    assert safe_yaml.load(text) == yaml.safe_load(text)


def test_what_is_deep_is_read_as_far_as_it_may_go():
    def nested(levels):
        return "[" * levels + "]" * levels

    assert safe_yaml.load(nested(safe_yaml.DEEPEST)) == yaml.safe_load(nested(safe_yaml.DEEPEST))
    with pytest.raises(yaml.YAMLError):
        safe_yaml.load(nested(safe_yaml.DEEPEST + 1))


def test_texts_are_read_as_they_are_written():
    text = "- {a: 007, b: yes, 'c d': [~, 1.5, \"x: y\"]}\n- plain\n- |\n  two\n  lines\n- []\n- {}\n"
    assert safe_yaml.load_texts(text) == yaml.load(text, Loader=yaml.BaseLoader)
    assert safe_yaml.load_texts("") is None
    levels = safe_yaml.DEEPEST
    assert safe_yaml.load_texts("[" * levels + "]" * levels) == safe_yaml.load("[" * levels + "]" * levels)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[" * 101 + "]" * 101])
def test_texts_that_are_too_deep_are_refused(opening):
    with pytest.raises(yaml.MarkedYAMLError, match="expected at most 100 levels, one inside the other"):
        safe_yaml.load_texts(opening * 1_000)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "{a: {c: 1, c: 2}}", "? [a]\n: b", "a: &x 1\nb: *x", "a: [1", "a: 1\n---\nb: 1"]
)
def test_texts_that_are_none_are_refused(text):
    with pytest.raises(yaml.YAMLError):
        safe_yaml.load_texts(text)

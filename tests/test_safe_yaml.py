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

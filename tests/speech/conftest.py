"""A cache folder for tests alone, and one espeak voice for the whole session."""

import importlib.util

import pytest

from visavis.emotion import Emotion

NEUTRAL = Emotion()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def espeak():
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("the extra 'speech' is not installed: no espeak-ng")
    from visavis.speech.espeak import EspeakVoice

    voice = EspeakVoice("en-us+f3")
    yield voice
    voice.close()


@pytest.fixture(scope="session")
def silent():
    from visavis.speech.silent import SilentVoice

    return SilentVoice()


@pytest.fixture(params=["silent", "espeak"])
def voice(request):
    return request.getfixturevalue(request.param)

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.errors import MissingExtraError, ServiceError
from visavis.speech import voice_activity
from visavis.speech.streamed import Resampler
from visavis.speech.voice_activity import CHUNK, CHUNK_S, VoiceActivity

pytestmark = pytest.mark.skipif(find_spec("silero_vad") is None, reason="the extra 'speech' is not installed")


@pytest.fixture(scope="module")
def said(espeak):
    speech = espeak.speak("Where does the old lighthouse stand?", Emotion())
    sound = Resampler(speech.sample_rate_hz).feed(speech.samples.astype(np.float32) / np.float32(32768))
    return np.concatenate([np.zeros(8_000, np.float32), sound, np.zeros(16_000, np.float32)]), len(sound)


def probabilities(sound, activity=None):
    activity = activity or VoiceActivity()
    return np.array([activity.probability(sound[k : k + CHUNK]) for k in range(0, len(sound) - CHUNK + 1, CHUNK)])


def test_it_is_the_network_of_the_wheel(said, monkeypatch):
    """The wheel's own program, with its weights in our network: the same probabilities."""
    torch = pytest.importorskip("torch")
    folder = Path(find_spec("silero_vad").submodule_search_locations[0]) / "data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.load(str(folder / "silero_vad.jit")).eval()
    names = {"stft.forward_basis_buffer": "stft_conv.weight"}
    names |= {f"decoder.rnn.{kind}": f"lstm_cell.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    names |= {f"decoder.decoder.2.{kind}": f"final_conv.{kind}" for kind in ("weight", "bias")}
    names |= {
        f"encoder.{i}.reparam_conv.{kind}": f"conv{i + 1}.{kind}" for i in range(4) for kind in ("weight", "bias")
    }
    weights = {names[key]: value.numpy() for key, value in program._model.state_dict().items()}
    assert weights.keys() == voice_activity._weights().keys()
    monkeypatch.setattr(voice_activity, "_weights", lambda: weights)
    sound = said[0][4_000:20_000]
    with torch.no_grad():
        theirs = [
            float(program(torch.from_numpy(sound[k : k + CHUNK]), 16_000)) for k in range(0, len(sound) - 511, CHUNK)
        ]
    np.testing.assert_allclose(probabilities(sound), theirs, atol=1e-4)


def test_speech_is_found_and_silence_is_not(said):
    sound, length = said
    p = probabilities(sound)
    at = np.arange(len(p)) * CHUNK_S
    inside = (at > 0.65) & (at < 0.5 + length / 16_000 - 0.35)
    assert (p[inside] > 0.5).mean() > 0.9
    assert p[at < 0.4].max() < 0.3 and p[at > 0.5 + length / 16_000 + 0.2].max() < 0.3


def test_a_reset_stream_is_a_new_one(said):
    activity = VoiceActivity()
    first = probabilities(said[0][:16_000], activity)
    activity.reset()
    np.testing.assert_array_equal(first, probabilities(said[0][:16_000], activity))


def test_without_the_wheel_the_extra_is_named(monkeypatch):
    voice_activity._weights.cache_clear()
    monkeypatch.setattr(voice_activity.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"visavis\[speech\]"):
        VoiceActivity()


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_damaged_weights_are_one_error(monkeypatch, tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "silero_vad_16k.safetensors").write_bytes(content)
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    voice_activity._weights.cache_clear()
    monkeypatch.setattr(voice_activity.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ServiceError, match="silero-vad"):
        VoiceActivity()

"""Whether somebody speaks: the probability of speech every 32 ms, by Silero VAD.

The wheel `silero-vad` (MIT, extra `speech`) carries the weights as plain arrays. The network is small enough for numpy
(a spectrum, four convolutions, one LSTM cell; about a million multiplications), so neither its package, which sets
torch's threads for the whole process, nor a pickled program is loaded. A test compares it with the wheel's own program.

Source: Silero Team, "Silero VAD", version 6, https://github.com/snakers4/silero-vad.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.errors import MissingExtraError, ServiceError
from visavis.speech.streamed import HEARING_HZ

__all__ = ["CHUNK", "CHUNK_S", "VoiceActivity"]

CHUNK = 512  # samples at 16 kHz
CHUNK_S = CHUNK / HEARING_HZ
_BEFORE = 64  # samples of the chunk before that the network sees again
_BINS = 129
_SHAPES = {
    "stft_conv.weight": (258, 1, 256), "conv1.weight": (128, 129, 3), "conv2.weight": (64, 128, 3),
    "conv3.weight": (64, 64, 3), "conv4.weight": (128, 64, 3), "lstm_cell.weight_ih": (512, 128),
    "lstm_cell.weight_hh": (512, 128), "final_conv.weight": (1, 128, 1),
}  # fmt: skip

Array = NDArray[np.float32]


@lru_cache(maxsize=1)
def _weights() -> dict[str, Array]:
    spec = importlib.util.find_spec("silero_vad")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("hearing when somebody speaks", "speech")
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k.safetensors"
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ServiceError(
            f"expected the weights of silero-vad 6.2 or newer in {path} ({error}): reinstall it"
        ) from error
    wrong = [name for name, shape in _SHAPES.items() if name not in weights or weights[name].shape != shape]
    if wrong:
        raise ServiceError(f"silero-vad holds another network ({wrong[0]}): install 'silero-vad>=6.2,<7'")
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


def _convolved(x: Array, name: str, stride: int) -> Array:
    """(C, T) → (D, T / stride): a convolution of width 3 with a rim of zeros, and what is negative cut off."""
    weight, bias = _weights()[f"{name}.weight"], _weights()[f"{name}.bias"]
    padded = np.pad(x, ((0, 0), (1, 1)))
    columns = [padded[:, k : k + 3].ravel() for k in range(0, x.shape[1], stride)]
    product = weight.reshape(len(weight), -1) @ np.stack(columns, axis=1)
    return np.asarray(np.maximum(product + bias[:, None], 0.0), np.float32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)


class VoiceActivity:
    """Probability of speech, chunk by chunk; one object for one stream.

    Raises (on construction):
        MissingExtraError: the extra `speech` is not installed.
        ServiceError: the wheel's weights cannot be used.
    """

    def __init__(self) -> None:
        _weights()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._before = np.zeros(_BEFORE, np.float32)
        self._output = np.zeros(128, np.float32)
        self._cell = np.zeros(128, np.float32)

    def probability(self, chunk: Array) -> float:
        """Of speech in the next (512,) float32 samples at 16 kHz, in [0, 1]."""
        assert chunk.shape == (CHUNK,), f"a chunk has {CHUNK} samples, got {chunk.shape}"
        weights = _weights()
        heard = np.pad(np.concatenate([self._before, chunk]), (0, 64), mode="reflect")
        self._before = chunk[-_BEFORE:].copy()
        windows = np.lib.stride_tricks.sliding_window_view(heard, 256)[::128]
        spectrum = weights["stft_conv.weight"][:, 0] @ windows.T
        x: Array = np.sqrt(spectrum[:_BINS] ** 2 + spectrum[_BINS:] ** 2)
        for name, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)):
            x = _convolved(x, name, stride)
        gates = (
            weights["lstm_cell.weight_ih"] @ x[:, 0]
            + weights["lstm_cell.weight_hh"] @ self._output
            + weights["lstm_cell.bias_ih"]
            + weights["lstm_cell.bias_hh"]
        )
        enter, forget, candidate, out = np.split(gates, 4)
        self._cell = _sigmoid(forget) * self._cell + _sigmoid(enter) * np.tanh(candidate)
        self._output = _sigmoid(out) * np.tanh(self._cell)
        score = weights["final_conv.weight"][0, :, 0] @ np.maximum(self._output, 0) + weights["final_conv.bias"][0]
        return float(0.5 + 0.5 * np.tanh(0.5 * float(score)))

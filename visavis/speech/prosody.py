"""The melody, loudness and rhythm of speech at the frame rate of motion, in plain numpy.

Pitch is by autocorrelation normalised by that of the window (Boersma 1993), onsets by half-wave rectified spectral
flux (Bello et al. 2005). Features are normalised by the speech itself, so that speaker and level fall away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.speech.types import Speech
from visavis.speech.words import is_vowel

__all__ = ["FPS", "PROSODY_CHANNELS", "prosody", "stress_curve", "stresses"]

FPS = 30.0
PROSODY_CHANNELS = ("log_f0", "voicing", "energy", "onset", "stress")

_F0_MIN_HZ, _F0_MAX_HZ = 70.0, 500.0
_PITCH_RATE_HZ = 8_000.0
_WINDOW_S = 0.045
_VOICED = 0.45  # height of the autocorrelation peak
_FLOOR_DB = 45.0  # below the loud parts counts as silence
_FLUX_FPS = 120.0
_STRESS_SIGMA_S = 0.06
_NUCLEI_FPS = 100.0
_NUCLEUS_LAG_S = 0.03  # from the rise of loudness to the onset of the vowel, against phoneme times


def prosody(speech: Speech, frames: int | None = None) -> NDArray[np.float32]:
    """Prosody of a speech at 30 frames a second; frame k is centred at k / 30 s.

    Args:
        speech: silent speech (samples all zero) gives an estimate from its words and phonemes.
        frames: length of the result; default the speech's own, rounded up. Beyond the speech everything is 0.

    Returns:
        (T, 5) float32, channels `PROSODY_CHANNELS`: log-F0 in semitones from the speech's median, divided by 6 and
        clipped to [-2, 2], 0 where unvoiced; voicing in [0, 1]; energy in [0, 1], 0 silence, 1 loud (45 dB of
        range); onset strength in [0, 1]; word stress in [0, 1], a bump (sigma 60 ms) at the stressed vowels.
    """
    own = max(1, int(np.ceil(speech.duration_s * FPS - 1e-6)))
    features = np.zeros((own, 5), np.float32)
    if len(speech.samples) and np.any(speech.samples):
        audio = speech.samples.astype(np.float32) / np.float32(32768)
        features[:, 0], features[:, 1] = _pitch(audio, speech.sample_rate_hz, own)
        features[:, 2] = _energy(audio, speech.sample_rate_hz, own)
        features[:, 3] = _onsets(audio, speech.sample_rate_hz, own)
        features[:, 1] *= features[:, 2] > 0.05
        features[:, 0] *= features[:, 1] > 0
    else:
        features[:, :4] = _estimated(speech, own)
    features[:, 4] = stress_curve(speech, own)
    if frames is None or frames == own:
        return features
    fitted = np.zeros((max(0, frames), 5), np.float32)
    shared = min(own, len(fitted))
    fitted[:shared] = features[:shared]
    return fitted


def stress_curve(speech: Speech, frames: int) -> NDArray[np.float32]:
    """(frames,) stress as Gaussian bumps at the onsets of `stresses`, their height its strength."""
    times = np.arange(frames) / FPS
    curve = np.zeros(frames)
    for at_s, strength in stresses(speech):
        curve = np.maximum(curve, strength * np.exp(-0.5 * ((times - at_s) / _STRESS_SIGMA_S) ** 2))
    return curve.astype(np.float32)


def stresses(speech: Speech) -> NDArray[np.float32]:
    """When syllables are stressed: by the words, or by ear where the speech has no words (a recording alone).

    By ear, a syllable is a peak of loudness in a voiced stretch; its stress grows with loudness, pitch and the rise
    before it, relative to the syllables around (Streefkerk 2002). Its onset is where loudness rises fastest.

    Returns:
        (N, 2) float32, in order of time: onset of the stressed vowel in seconds, strength in (0, 1].
    """
    if speech.words:
        found = [(w.stress_s, w.stress) for w in speech.words if w.stress > 0]
        return np.array(found, np.float32).reshape(-1, 2)
    if not np.any(speech.samples):
        return np.zeros((0, 2), np.float32)
    from scipy.signal import find_peaks  # takes most of a second to import, inside whoever's first turn

    level = _vowel_level(speech)
    peaks, shape = find_peaks(level, prominence=2.5, width=3, rel_height=0.6)
    loud = level[peaks] > level.max() - 22
    peaks, width, left = peaks[loud], shape["widths"][loud], shape["left_ips"][loud]
    own = max(1, int(np.ceil(speech.duration_s * FPS - 1e-6)))
    log_f0, _ = _pitch(speech.samples.astype(np.float32) / np.float32(32768), speech.sample_rate_hz, own)
    pitch = np.array([log_f0[max(0, round(k * FPS / _NUCLEI_FPS) - 2) :][:5].max() for k in peaks])
    score = level[peaks] / 6 + width / 10 + 1.0 * pitch
    chosen: list[tuple[float, float]] = []
    for i, k in enumerate(peaks):
        rank = float((score[np.abs(peaks - k) < 0.8 * _NUCLEI_FPS] < score[i]).mean())
        if rank >= 0.45:
            # a low peak on the shoulder of a high one begins after the valley between them
            before = int(peaks[i - 1]) if i else 0
            begin = max(float(left[i]), before + int(level[before : k + 1].argmin()))
            chosen.append((begin / _NUCLEI_FPS + _NUCLEUS_LAG_S, rank))
    return np.array(chosen, np.float32).reshape(-1, 2)


def _vowel_level(speech: Speech) -> NDArray[np.float64]:
    """(T,) decibels at 100 frames a second between 300 and 2,500 Hz, where vowels are loud; smoothed over 50 ms."""
    frames = max(1, int(np.ceil(speech.duration_s * _NUCLEI_FPS)))
    audio = speech.samples.astype(np.float32) / np.float32(32768)
    rate_hz = speech.sample_rate_hz
    pieces = _windows(audio, rate_hz, int(0.025 * rate_hz), _NUCLEI_FPS, frames)
    power = np.abs(np.fft.rfft(pieces * np.hanning(pieces.shape[1]).astype(np.float32), axis=1)) ** 2
    frequencies = np.fft.rfftfreq(pieces.shape[1], 1 / rate_hz)
    band = power[:, (frequencies > 300) & (frequencies < 2500)].mean(axis=1)
    decibels = np.maximum(10 * np.log10(band + 1e-9), 10 * np.log10(band.max() + 1e-9) - 35)
    return np.convolve(np.pad(decibels, 2, mode="edge"), np.ones(5) / 5, mode="valid")


def _windows(audio: NDArray[np.float32], rate_hz: float, width: int, fps: float, frames: int) -> NDArray[np.float32]:
    """(frames, width) pieces of the audio, centred at k / fps, zero outside."""
    padded = np.pad(audio, (width // 2, width))
    starts = np.minimum(np.rint(np.arange(frames) * rate_hz / fps).astype(int), len(padded) - width)
    return np.lib.stride_tricks.sliding_window_view(padded, width)[starts]


def _pitch(audio: NDArray[np.float32], rate_hz: int, frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    step = max(1, int(rate_hz // _PITCH_RATE_HZ))
    low = audio[: len(audio) // step * step].reshape(-1, step).mean(axis=1) if step > 1 else audio
    rate = rate_hz / step
    width = int(_WINDOW_S * rate)
    pieces = _windows(low, rate, width, FPS, frames)
    pieces = pieces - pieces.mean(axis=1, keepdims=True)
    window = np.hanning(width).astype(np.float32)
    size = 1 << (2 * width - 1).bit_length()
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2, size)[:width]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(pieces * window, size, axis=1)) ** 2, size, axis=1)[:, :width]
    correlation /= np.maximum(correlation[:, :1], 1e-9) * (shape / shape[0])
    shortest, longest = int(rate / _F0_MAX_HZ), min(int(rate / _F0_MIN_HZ), int(width * 0.75))
    lags = np.arange(shortest, longest)
    left, mid, right = (correlation[:, lags[1:-1] + d] for d in (-1, 0, 1))
    bend = np.minimum(left - 2 * mid + right, -1e-9)
    inner = (mid >= left) & (mid > right)
    # the top of the parabola through three samples, so that short periods are not missed between two samples
    tops = np.where(inner, mid - (left - right) ** 2 / (8 * bend), -1.0)
    # an octave too low fits as well as the true period: a small cost for long lags decides
    best = (tops - 0.03 * np.log2(lags[1:-1] / shortest)).argmax(axis=1)
    rows = np.arange(frames)
    shift = 0.5 * ((left - right) / bend)[rows, best]
    f0 = rate / (lags[best + 1] + np.clip(shift, -0.5, 0.5))
    height = np.clip(tops[rows, best], 0.0, 1.0)
    level = np.sqrt((pieces**2).mean(axis=1))
    height *= level > 0.03 * max(float(level.max()), 1e-6)
    voiced = height > _VOICED
    if not voiced.any():
        return np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    f0 = _without_jumps(f0, voiced)
    semitones = 12 * np.log2(f0 / np.median(f0[voiced]))
    log_f0 = np.where(voiced, np.clip(semitones / 6, -2, 2), 0.0)
    return log_f0.astype(np.float32), np.clip((height - 0.25) / 0.6, 0, 1).astype(np.float32) * voiced


def _without_jumps(f0: NDArray[np.float64], voiced: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Move single values an octave off their neighbourhood (median of five voiced frames) back."""
    values = f0[voiced]
    if len(values) < 5:
        return f0
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="edge"), 5), axis=1)
    ratio = np.log2(values / around)
    fixed = f0.copy()
    fixed[voiced] = np.where(np.abs(ratio) > 0.7, around, values)
    return fixed


def _energy(audio: NDArray[np.float32], rate_hz: int, frames: int) -> NDArray[np.float32]:
    pieces = _windows(audio, rate_hz, int(rate_hz / FPS), FPS, frames)
    decibels = 10 * np.log10((pieces**2).mean(axis=1) + 1e-10)
    loud = float(np.percentile(decibels[decibels > decibels.max() - _FLOOR_DB], 95))
    return np.clip((decibels - loud) / _FLOOR_DB + 1, 0, 1).astype(np.float32)


def _onsets(audio: NDArray[np.float32], rate_hz: int, frames: int) -> NDArray[np.float32]:
    per = int(_FLUX_FPS / FPS)
    pieces = _windows(audio, rate_hz, 256 if rate_hz < 32_000 else 512, _FLUX_FPS, frames * per)
    window = np.hanning(pieces.shape[1]).astype(np.float32)
    spectra = np.abs(np.fft.rfft(pieces * window, axis=1))
    edges = np.unique(np.geomspace(1, spectra.shape[1] - 1, 20).astype(int))
    bands = np.log1p(200 * np.add.reduceat(spectra, edges, axis=1))
    flux = np.zeros(len(bands))
    flux[2:] = np.maximum(bands[2:] - bands[:-2], 0).mean(axis=1)
    # a frame takes the strongest of its interval, which is centred at the frame's time
    centred = np.concatenate([flux[per // 2 :], np.zeros(per // 2)]) if per > 1 else flux
    shifted = np.concatenate([np.zeros(per // 2), flux])[: frames * per]
    strongest = np.maximum(
        shifted.reshape(frames, per).max(axis=1), centred.reshape(frames, per)[:, : per // 2].max(axis=1)
    )
    return np.clip(strongest / max(float(np.percentile(strongest, 98)), 1e-6), 0, 1).astype(np.float32)


def _estimated(speech: Speech, frames: int) -> NDArray[np.float32]:
    """(frames, 4) what the prosody of these phonemes would be like: falling pitch with accents, vowels louder."""
    features = np.zeros((frames, 4))
    times = np.arange(frames) / FPS
    spoken = [p for p in speech.phonemes if p.symbol]
    for p in spoken:
        inside = (times >= p.start_s - 0.5 / FPS) & (times < p.end_s + 0.5 / FPS)
        vowel = is_vowel(p.symbol)
        voiced = vowel or p.symbol[0] in "bdɡvðzʒmnŋlɹwjɾ"
        loud = (0.75 + 0.1 * p.stress) if vowel else 0.6 if voiced else 0.4
        features[inside, 1] = np.maximum(features[inside, 1], float(voiced))
        features[inside, 2] = np.maximum(features[inside, 2], loud)
        if vowel:
            bump = np.exp(-0.5 * ((times - p.start_s) / 0.02) ** 2) * (0.45 + 0.25 * p.stress)
            features[:, 3] = np.maximum(features[:, 3], bump)
    end_s = max((p.end_s for p in spoken), default=1.0)
    accents = stress_curve(speech, frames)
    features[:, 0] = (0.35 - 0.7 * times / max(end_s, 0.3) + 0.5 * accents) * features[:, 1]
    return features.astype(np.float32)

import struct
from pathlib import Path

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.speech.wav import decode_wav, encode_wav, read_wav, resample, write_wav

BROKEN = Path(__file__).parents[2] / ".cache" / "real" / "human_speech" / "broken"


def tone(rate, seconds=0.5, hz=220.0):
    return (8000 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


def riff(kind, channels, rate, bits, body):
    block = channels * bits // 8
    layout = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    head = b"WAVEfmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(head)) + head


def test_read_gives_what_was_written(tmp_path):
    samples = tone(22050)
    write_wav(tmp_path / "a.wav", samples, 22050)
    found, rate = read_wav(tmp_path / "a.wav")
    assert rate == 22050 and np.array_equal(found, samples)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_of_every_width_agree(bits):
    samples = tone(16000)
    if bits == 8:
        body = ((samples // 256) + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        body = b"".join(struct.pack("<i", int(s) * 256)[:3] for s in samples)
    else:
        body = (samples.astype(f"<i{bits // 8}") * 2 ** (bits - 16)).astype(f"<i{bits // 8}").tobytes()
    found, _ = decode_wav(riff(1, 1, 16000, bits, body))
    assert np.abs(found.astype(int) - samples).max() <= (256 if bits == 8 else 1)


def test_floats_and_channels():
    samples = tone(16000)
    stereo = np.stack([samples / 32767, samples / 32767], axis=1).astype("<f4")
    found, _ = decode_wav(riff(3, 2, 16000, 32, stereo.tobytes()))
    assert np.abs(found.astype(int) - samples).max() <= 1


def test_resampling_keeps_pitch_and_length():
    changed = resample(tone(22050), 22050, 16000)
    assert abs(len(changed) - 8000) <= 1
    assert abs(np.abs(np.fft.rfft(changed)).argmax() / (len(changed) / 16000) - 220) < 3


def test_a_streamed_file_that_promises_too_much_is_read_as_far_as_it_goes():
    data = bytearray(encode_wav(tone(16000), 16000))
    data[40:44] = b"\xff\xff\xff\xff"
    assert len(decode_wav(bytes(data))[0]) == 8000


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", b"ID3" + b"\0" * 100, b"RIFF\0\0\0\0WAVE", riff(1, 0, 16000, 16, b""), riff(1, 1, 0, 16, b"\0\0"),
     riff(85, 1, 16000, 16, b"\0\0"), riff(1, 1, 16000, 12, b"\0\0"), riff(1, 1, 16000, 0, b"\0\0"),
     encode_wav(np.zeros(4, np.int16), 16000)[:30]],
)  # fmt: skip
def test_what_is_no_wav_file_is_refused(data):
    with pytest.raises(FileFormatError, match="expected a wav file"):
        decode_wav(data)


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_wav(tmp_path / "none.wav")


@pytest.mark.skipif(not BROKEN.is_dir(), reason="the broken recordings are not here")
def test_deliberately_broken_recordings():
    for path in BROKEN.glob("*.wav"):
        try:
            samples, rate = read_wav(path)
        except FileFormatError as error:
            assert path.name in str(error)
        else:
            assert samples.dtype == np.int16 and rate > 0

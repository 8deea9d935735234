import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visavis.agent.events import (
    FaceDelta,
    InputAudio,
    InputPlayback,
    InputText,
    MotionDelta,
    ResponseDone,
    SpeechDelta,
)
from visavis.agent.wire import MAX_FRAME_BYTES, MAX_HEADER_BYTES, MAX_TEXT_BYTES, WireError, pack, unpack
from visavis.errors import UsageError


def binary(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + payload


def audio(**changes: object) -> dict[str, object]:
    array = {"name": "pcm", "dtype": "int16", "shape": [4], **changes}
    return {"type": "input.audio.append", "sample_rate_hz": 16000, "arrays": [array]}


NOT_AN_ARRAY = {"type": "input.text", "text": "", "arrays": [{"name": "turn_id", "dtype": "uint8", "shape": [1]}]}


@given(st.text(max_size=200), st.floats(0, 1e6))
def test_text_frames_come_back(text, time_s):
    event = InputText(text=text, time_s=time_s, turn_id="t")
    frame = pack(event)
    assert isinstance(frame, str)
    assert unpack(frame) == event


@given(hnp.arrays(np.int16, st.integers(0, 300)), st.sampled_from([8000, 16000, 48000]))
def test_binary_frames_come_back(pcm, rate):
    event = unpack(pack(InputAudio(pcm=pcm, sample_rate_hz=rate)))
    assert isinstance(event, InputAudio)
    np.testing.assert_array_equal(event.pcm, pcm)
    assert event.sample_rate_hz == rate


@pytest.mark.parametrize("frames", [0, 1, 40])
def test_arrays_keep_shape_and_order(frames):
    rng = np.random.default_rng(frames)
    rotations = rng.normal(size=(frames, 55, 4)).astype(np.float32)
    root = rng.normal(size=(frames, 3)).astype(np.float32)
    back = unpack(pack(MotionDelta(rotations=rotations, root_m=root, start_s=1.2)))
    assert isinstance(back, MotionDelta)
    np.testing.assert_array_equal(back.rotations, rotations)
    np.testing.assert_array_equal(back.root_m, root)
    assert back.start_s == 1.2


def test_strided_arrays_are_sent_as_they_read():
    weights = np.arange(2 * 52, dtype=np.float32).reshape(52, 2).T
    back = unpack(pack(FaceDelta(weights=weights, start_s=0.0)))
    assert isinstance(back, FaceDelta)
    np.testing.assert_array_equal(back.weights, weights)


def test_the_layout_is_what_the_viewer_reads():
    frame = pack(
        SpeechDelta(pcm=np.array([1, -2], np.int16), sample_rate_hz=22050, start_s=0.5, words=[{"text": "hi"}])
    )
    assert isinstance(frame, bytes)
    (size,) = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + size])
    assert header["type"] == "response.speech.delta"
    assert header["arrays"] == [{"name": "pcm", "dtype": "int16", "shape": [2]}]
    assert header["words"] == [{"text": "hi"}]
    assert frame[4 + size :] == struct.pack("<hh", 1, -2)


def test_numpy_scalars_inside_a_turn_become_json():
    frame = pack(ResponseDone(turn={"duration_s": np.float32(1.5), "tokens": np.arange(2)}))
    assert json.loads(frame)["turn"] == {"duration_s": 1.5, "tokens": [0, 1]}


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(WireError, match="float64"):
        pack(FaceDelta(weights=np.zeros((1, 52)), start_s=0.0))
    with pytest.raises(WireError, match="cannot be sent"):
        pack(InputPlayback(played_s=float("nan")))
    with pytest.raises(WireError, match="cannot be sent"):
        pack(ResponseDone(turn={"what": object()}))


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("", "must hold JSON"),
        ("{", "must hold JSON"),
        ("[" * 50_000, "must hold JSON"),
        ("[]", "one JSON object"),
        ("{}", "type must name an event"),
        ('{"type": "nonsense"}', "nonsense"),
        ('{"type": ["input.text"]}', "type must name an event"),
        ('{"type": "input.text"}', "input.text needs text"),
        ('{"type": "input.text", "text": 1}', "text must be str; got int"),
        ('{"type": "input.text", "text": "a", "colour": 1}', "no field colour"),
        ('{"type": "input.playback", "played_s": NaN}', "NaN is not JSON"),
        ('{"type": "input.playback", "played_s": "1"}', "played_s must be float"),
        ('{"type": "input.playback", "played_s": true}', "played_s must be float"),
        ('{"type": "idle.request", "start_s": 0, "frames": 1.5}', "frames must be int"),
        ('{"type": "input.audio.append", "pcm": [1]}', "must come in the binary payload"),
        ('{"type": "session.update", "settings": []}', "settings must be an object"),
        ('{"type": "input.text", "text": "' + "a" * MAX_TEXT_BYTES + '"}', "a text frame may have"),
        (b"", "4 bytes"),
        (b"\x00\x00\x00", "4 bytes"),
        (struct.pack("<I", 100) + b"{}", "claims 100"),
        (struct.pack("<I", MAX_HEADER_BYTES + 1) + b" " * (MAX_HEADER_BYTES + 1), "a header may have"),
        (b"\x00" * (MAX_FRAME_BYTES + 1), "a binary frame may have"),
        (binary(b"\xff\xfe"), "UTF-8"),
        (binary({"type": "input.audio.append"}), "must list at most"),
        (binary(audio(), b"\x00" * 7), "runs past the end"),
        (binary(audio(), b"\x00" * 9), "1 bytes after the last array"),
        (binary(audio(shape=[-4]), b"\x00" * 8), "whole numbers"),
        (binary(audio(shape=[2.0]), b"\x00" * 8), "whole numbers"),
        (binary(audio(shape=[10**9, 10**9]), b"\x00" * 8), "whole numbers"),
        (binary(audio(shape=[10**7, 10**7, 10**7]), b"\x00" * 8), "runs past the end"),
        (binary(audio(shape=[]), b"\x00" * 2), "1 to 4"),
        (binary(audio(dtype="float64"), b"\x00" * 8), "dtype must be one of"),
        (binary(audio(dtype="object"), b"\x00" * 8), "dtype must be one of"),
        (binary(audio(extra=1), b"\x00" * 8), "exactly name, dtype and shape"),
        (binary(audio(name="noise"), b"\x00" * 8), "no field noise"),
        (binary(NOT_AN_ARRAY, b"1"), "is not an array"),
    ],
)  # fmt: skip
def test_what_comes_from_outside_is_checked(frame, says):
    with pytest.raises(WireError, match=says) as caught:
        unpack(frame)
    assert isinstance(caught.value, UsageError)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=400))
def test_noise_is_refused_and_never_breaks(noise):
    with pytest.raises(WireError):
        unpack(noise)

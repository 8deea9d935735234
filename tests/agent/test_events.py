import json

import numpy as np
import pytest

from visavis.agent.events import EVENTS, Event

NEEDED = {
    "text": "Hello", "name": "approach", "pcm": np.zeros(4, np.int16), "rotations": np.zeros((2, 55, 4), np.float32),
    "root_m": np.zeros((2, 3), np.float32), "weights": np.zeros((2, 52), np.float32), "start_s": 0.5,
    "sample_rate_hz": 16000, "played_s": 1.5, "state": "idle", "emotion": "joy", "intensity": 0.5, "gesture": {},
    "heard": "Hello", "heard_s": 0.5, "turn": {}, "kind": "nod", "what": "voice", "stand_in": "silent",
    "message": "no",
}  # fmt: skip
# contracts.md, events
CONTRACT = """input.text input.audio.append input.motion.append input.scene input.event input.playback response.cancel
session.update session.state input.speech_started input.speech_stopped input.transcript response.created
response.text.delta response.emotion response.gesture.added response.speech.delta response.face.delta
response.motion.delta response.interrupted response.done backchannel degraded error""".split()


def make(cls: type[Event]) -> Event:
    fields = cls.__dataclass_fields__
    return cls(**{name: NEEDED[name] for name in fields if name in NEEDED})


def test_the_contract_is_whole():
    assert set(EVENTS) == set(CONTRACT)


@pytest.mark.parametrize("name", CONTRACT)
def test_every_event_is_one_line_of_json_beside_its_arrays(name):
    event = make(EVENTS[name])
    data = json.loads(json.dumps(event.to_json()))
    assert data["type"] == name and "\n" not in json.dumps(data)
    assert {"type", "event_id", "session_id", "turn_id", "time_s"} <= set(data)
    for field, array in event.arrays().items():
        assert data[field] == {"dtype": str(array.dtype), "shape": list(array.shape)}


def test_ids_differ():
    assert len({make(cls).event_id for cls in EVENTS.values()}) == len(EVENTS)

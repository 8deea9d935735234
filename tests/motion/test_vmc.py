import socket
import threading

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import osc, rotations
from visavis.motion.avatar import load_avatar
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.fitting import fitted
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.vmc import VmcSender, frame_messages, send_vmc, unity_bones

# UnityEngine.HumanBodyBones, without LastBone.
UNITY = (
    "Hips LeftUpperLeg RightUpperLeg LeftLowerLeg RightLowerLeg LeftFoot RightFoot Spine Chest UpperChest Neck Head "
    "LeftShoulder RightShoulder LeftUpperArm RightUpperArm LeftLowerArm RightLowerArm LeftHand RightHand LeftToes "
    "RightToes LeftEye RightEye Jaw"
).split() + [
    f"{side}{finger}{joint}"
    for side in ("Left", "Right")
    for finger in ("Thumb", "Index", "Middle", "Ring", "Little")
    for joint in ("Proximal", "Intermediate", "Distal")
]


@pytest.fixture
def receiver():
    """A UDP socket on a free port and the packets that came."""
    inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inbox.bind(("127.0.0.1", 0))
    inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    inbox.settimeout(2)
    packets = []

    def listen():
        try:
            while packet := inbox.recv(65536):
                packets.append(packet)
        except OSError:
            pass

    thread = threading.Thread(target=listen)
    thread.start()
    yield inbox.getsockname()[1], packets
    # An empty packet ends the listening, after all that were sent before it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"", inbox.getsockname())
    thread.join()
    inbox.close()


def _finish(port, packets):
    """Wait until everything sent so far has come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(osc.message("/end"), ("127.0.0.1", port))
    for _ in range(400):
        if packets and packets[-1] == osc.message("/end"):
            return [m for packet in packets[:-1] for m in osc.messages(packet)]
        threading.Event().wait(0.005)
    raise AssertionError("the packets did not come")


def test_bones_have_the_names_that_unity_gives_them():
    assert set(unity_bones(Motion.rest(1).skeleton)) == set(UNITY)


def _world(bones, skeleton):
    """Places of the bones from what was received, in Unity's left-handed space."""
    names = {i: name for name, i in unity_bones(skeleton).items()}
    places, turns = {}, {}
    for i in range(len(skeleton)):
        local = np.array(bones[names[i]], float)
        p, q = local[:3], local[3:]
        parent = int(skeleton.parents[i])
        if parent < 0:
            places[i], turns[i] = p, q
        else:
            # The quaternion product has the same form in both handednesses.
            places[i] = places[parent] + rotations.rotate(turns[parent], p)
            turns[i] = rotations.multiply(turns[parent], q)
    return np.array([places[i] for i in range(len(skeleton))])


def test_a_real_receiver_sees_the_body_mirrored_into_unitys_space(receiver):
    port, packets = receiver
    motion = idle(4, seed=1)
    turned = motion.rotations.copy()
    turned[:, motion.skeleton.index("leftUpperArm")] = rotations.from_rotation_vector(np.array([0.3, -0.5, 0.9]))
    motion = Motion(turned, motion.root_m)
    send_vmc(motion, port=port, realtime=False)
    got = _finish(port, packets)
    frames = [[]]
    for address, values in got:
        if address == "/VMC/Ext/OK":
            frames.append([])
        frames[-1].append((address, values))
    assert len(frames) == 5 and not frames[0]
    want = positions(motion) * [-1, 1, 1]
    for frame, content in enumerate(frames[1:]):
        bones = {values[0]: values[1:] for address, values in content if address == "/VMC/Ext/Bone/Pos"}
        np.testing.assert_allclose(_world(bones, motion.skeleton), want[frame], atol=1e-5)
    # Left is on Unity's left of an avatar that looks along +Z.
    assert want[0, motion.skeleton.index("leftHand"), 0] < 0
    assert max(len(packet) for packet in packets) <= 1400


def test_an_independent_library_reads_the_same(receiver):
    packet_reader = pytest.importorskip("pythonosc.osc_packet")
    port, packets = receiver
    face = np.linspace(0, 1, 52, dtype=np.float32)
    motion = idle(1, seed=2)
    with VmcSender(port=port) as sender:
        sender.send(motion.rotations[0], motion.root_m[0], face, 1.5)
    ours = _finish(port, packets)
    theirs = [
        (timed.message.address, tuple(timed.message.params))
        for packet in packets[:-1]
        for timed in packet_reader.OscPacket(packet).messages
    ]
    assert theirs == ours
    assert ("/VMC/Ext/T", (1.5,)) in theirs
    values = {params[0]: params[1] for address, params in theirs if address == "/VMC/Ext/Blend/Val"}
    assert values["EyeBlinkLeft"] == 0 and values["TongueOut"] == 1 and len(values) == 52
    assert theirs[-1] == ("/VMC/Ext/Blend/Apply", ())


@pytest.mark.parametrize(("faces", "name"), [("vrm0", "A"), ("vrm1", "aa")])
def test_avatars_with_presets_alone_get_presets(faces, name):
    motion = Motion.rest(1)
    face = np.zeros(52, np.float32)
    face[ARKIT_NAMES.index("jawOpen")] = 0.6
    got = [
        m
        for part in frame_messages(motion.skeleton, motion.rotations[0], motion.root_m[0], face, 0, faces)
        for m in osc.messages(part)
    ]
    values = {params[0]: params[1] for address, params in got if address == "/VMC/Ext/Blend/Val"}
    assert values[name] > 0.2 and "JawOpen" not in values


def test_without_arkit_shapes_the_eyes_turn_as_bones():
    motion = Motion.rest(1)
    face = np.zeros(52, np.float32)
    for name in ("eyeLookOutLeft", "eyeLookInRight", "eyeLookDownLeft", "eyeLookDownRight"):
        face[ARKIT_NAMES.index(name)] = 0.5
    for faces, moves in (("vrm1", True), ("arkit", False)):
        parts = frame_messages(motion.skeleton, motion.rotations[0], motion.root_m[0], face, 0, faces)
        bones = {m[1][0]: m[1] for part in parts for m in osc.messages(part) if m[0].endswith("Bone/Pos")}
        for eye in ("LeftEye", "RightEye"):
            ahead = rotations.rotate(np.array(bones[eye][4:]), np.array([0, 0, 1.0]))
            # To the avatar's left is -x in Unity's space.
            assert (ahead[0] < -0.2 and ahead[1] < -0.2) == moves


def test_another_body_is_sent_with_its_own_lengths():
    juno = load_avatar("juno")
    motion = fitted(Motion.rest(1), juno)
    parts = frame_messages(motion.skeleton, motion.rotations[0], motion.root_m[0], None, 0)
    bones = {m[1][0]: m[1] for part in parts for m in osc.messages(part) if m[0].endswith("Bone/Pos")}
    assert bones["LeftLowerArm"][1] == pytest.approx(-juno.skeleton.offsets_m[juno.skeleton.index("leftLowerArm")][0])


def test_realtime_keeps_the_pace(receiver):
    port, packets = receiver
    import time

    motion = idle(10, seed=0)
    start = time.monotonic()
    send_vmc(motion, port=port)
    assert time.monotonic() - start > 9 / 30 - 0.01
    assert _finish(port, packets)


def test_osc_round_trip_and_alignment():
    for text in ("", "a", "abc", "abcd", "ärm"):
        packet = osc.message("/x", text, 7, -0.5)
        assert len(packet) % 4 == 0
        assert list(osc.messages(osc.bundle([packet, osc.bundle([packet])]))) == [("/x", (text, 7, -0.5))] * 2


@pytest.mark.parametrize(
    "packet", [b"", b"/x", b"/x\0\0,f\0\0\0", b"/x\0\0,b\0\0\0\0\0\0", b"#bundle\0" + b"\0" * 8 + b"\0\0\0\x09x"]
)
def test_what_is_no_osc_is_named(packet):
    with pytest.raises(FileFormatError, match="expected an OSC packet"):
        list(osc.messages(packet))


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="arkit, vrm0 or vrm1; got 'x'"):
        VmcSender(faces="x")

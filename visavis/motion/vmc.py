"""Sends a body live to VTubing tools (VSeeFace, Warudo, EVMC4U, …) by the VMC protocol: OSC over UDP.

Every frame: the root, the local place and rotation of each bone under Unity's names, the face as blend shapes, then
"apply". Unity is left-handed with the avatar facing +Z: x is reversed. Receivers expect a model whose bones have
no rest rotation, as VRM importers make it; ours have none. UDP gives no answer: nobody listening is no error.
Source: protocol.vmc.info, Marionette specification, version 2.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.avatar import load_avatar
from visavis.motion.expressions import to_presets
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.motion.fitting import fitted
from visavis.motion.motion import Motion
from visavis.motion.osc import Argument, bundle, message
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["HOST", "PORT", "VmcSender", "frame_messages", "send_vmc", "unity_bones"]

HOST: Final = "127.0.0.1"
PORT: Final = 39539
Faces = Literal["arkit", "vrm0", "vrm1"]
# Stays under a usual network's packet size, so that no frame is cut into fragments.
_PACKET_BYTES: Final = 1400
# VRM 1.0's presets under the names that VRM 0.x has for them.
_VRM0: Final[Mapping[str, str]] = {
    "aa": "A", "ih": "I", "ou": "U", "ee": "E", "oh": "O", "happy": "Joy", "angry": "Angry", "sad": "Sorrow",
    "relaxed": "Fun", "surprised": "Surprised", "blinkLeft": "Blink_L", "blinkRight": "Blink_R",
}  # fmt: skip
_LOOK: Final = np.radians(32.0)  # an eye turns so far at a weight of 1 of its eyeLook shapes
_THUMB: Final = {"ThumbMetacarpal": "ThumbProximal", "ThumbProximal": "ThumbIntermediate"}
_BLEND = "/VMC/Ext/Blend/Val"


@lru_cache(maxsize=4)
def unity_bones(skeleton: Skeleton) -> dict[str, int]:
    """Unity's `HumanBodyBones` name of every humanoid bone → its place in the skeleton."""
    out = {}
    for name in default_skeleton().names:
        if name in skeleton.names:
            unity = name
            for vrm, own in _THUMB.items():
                if name.endswith(vrm):
                    unity = name[: -len(vrm)] + own
            out[unity[0].upper() + unity[1:]] = skeleton.index(name)
    return out


def _place(name: str, position: NDArray[np.floating], turn: NDArray[np.floating]) -> tuple[Argument, ...]:
    x, y, z = (float(v) for v in position)
    qx, qy, qz, qw = (float(v) for v in turn)
    return name, -x, y, z, qx, -qy, -qz, qw


def _blends(face: NDArray[np.floating], faces: Faces) -> Iterator[tuple[str, float]]:
    if faces == "arkit":
        for name, value in zip(ARKIT_NAMES, face, strict=True):
            yield name[0].upper() + name[1:], float(value)
    else:
        for name, values in to_presets(face[None]).items():
            yield (name if faces == "vrm1" else _VRM0[name]), float(values[0])


def _turned_eye(name: str, turn: NDArray[np.floating], face: NDArray[np.floating]) -> NDArray[np.floating]:
    """The rotation of an eye's bone with what the face's eyeLook shapes ask of it: presets have no gaze."""
    side, toward_left = ("Left", "Out") if name == "LeftEye" else ("Right", "In")
    toward_right = "In" if toward_left == "Out" else "Out"

    def weight(way: str) -> float:
        return float(face[face_index(f"eyeLook{way}{side}")])

    yaw, pitch = _LOOK * (weight(toward_left) - weight(toward_right)), _LOOK * (weight("Down") - weight("Up"))
    look = rot.multiply(rot.from_axis_angle([0, 1, 0], yaw), rot.from_axis_angle([1, 0, 0], pitch))
    return rot.multiply(turn, look)


def frame_messages(
    skeleton: Skeleton,
    rotations: NDArray[np.floating],
    root_m: NDArray[np.floating],
    face: NDArray[np.floating] | None,
    time_s: float,
    faces: Faces = "arkit",
) -> list[bytes]:
    """The OSC messages of one frame, in the order they are to be handled.

    Args:
        skeleton: with the names of the VRM humanoid.
        rotations: (J, 4) parent-relative.
        root_m: (3,) the hips in the world.
        face: (52,) ARKit weights or None.
        time_s: on the sender's clock.
        faces: names of the blend shapes: `arkit` (perfect sync), or the presets of VRM 0.x or 1.0 with the gaze on the
            bones of the eyes.
    """
    still = np.array([0, 0, 0, 1], np.float32)
    out = [
        message("/VMC/Ext/OK", 1),
        message("/VMC/Ext/T", float(time_s)),
        message("/VMC/Ext/Root/Pos", *_place("root", np.zeros(3), still)),
    ]
    for name, i in unity_bones(skeleton).items():
        place = root_m if i == 0 else skeleton.offsets_m[i]
        turn = rotations[i]
        if face is not None and faces != "arkit" and name in ("LeftEye", "RightEye"):
            turn = _turned_eye(name, turn, face)
        out.append(message("/VMC/Ext/Bone/Pos", *_place(name, np.asarray(place), turn)))
    if face is not None:
        out += [message(_BLEND, name, value) for name, value in _blends(face, faces)]
        out.append(message("/VMC/Ext/Blend/Apply"))
    return out


class VmcSender:
    """Sends frames as they come.

    Usable as a context manager. `send` returns at once; it does not keep time.

    Args:
        host: who receives, this machine by default.
        port: 39539 is the protocol's own for receivers of motion.
        skeleton: of the frames; the default skeleton if None. Must have the names of the VRM humanoid.
        faces: names of the blend shapes: `arkit` (perfect sync), or the presets of VRM 0.x or 1.0.
    """

    def __init__(
        self, host: str = HOST, port: int = PORT, *, skeleton: Skeleton | None = None, faces: Faces = "arkit"
    ) -> None:
        if faces not in ("arkit", "vrm0", "vrm1"):
            raise ValueError(f"faces must be arkit, vrm0 or vrm1; got {faces!r}")
        self.skeleton = skeleton or default_skeleton()
        if "Hips" not in unity_bones(self.skeleton):
            raise ValueError("VMC needs the bone names of the VRM humanoid: retarget the motion first")
        self._faces: Faces = faces
        self._to = (host, port)
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._started = time.monotonic()

    def send(
        self,
        rotations: NDArray[np.floating],
        root_m: NDArray[np.floating],
        face: NDArray[np.floating] | None = None,
        time_s: float | None = None,
    ) -> None:
        """Send one frame: rotations (J, 4), the hips (3,) in the world, face (52,) or None; time since the start."""
        time_s = time.monotonic() - self._started if time_s is None else time_s
        parts: list[bytes] = []
        size = 16
        for part in frame_messages(self.skeleton, rotations, root_m, face, time_s, self._faces):
            if parts and size + len(part) + 4 > _PACKET_BYTES:
                self._flush(parts)
                parts, size = [], 16
            parts.append(part)
            size += len(part) + 4
        self._flush(parts)

    def _flush(self, parts: list[bytes]) -> None:
        try:
            self._socket.sendto(bundle(parts), self._to)
        except ConnectionRefusedError:
            pass  # some systems report here that the packet before found nobody

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> VmcSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def send_vmc(
    motion: Motion, host: str = HOST, port: int = PORT, *, faces: Faces = "arkit", realtime: bool = True
) -> None:
    """Play a motion to a VMC receiver, at its own pace.

    Args:
        motion: on any skeleton; one without the VRM humanoid's names is retargeted to the default avatar first.
        host: who receives, this machine by default.
        port: where.
        faces: names of the blend shapes: `arkit` (perfect sync), or the presets of VRM 0.x or 1.0.
        realtime: False sends all frames at once.
    """
    if "Hips" not in unity_bones(motion.skeleton):
        motion = fitted(motion, load_avatar())
    with VmcSender(host, port, skeleton=motion.skeleton, faces=faces) as sender:
        start = time.monotonic()
        for frame in range(len(motion)):
            if realtime:
                time.sleep(max(0.0, start + frame / motion.fps - time.monotonic()))
            face = None if motion.face is None else motion.face[frame]
            sender.send(motion.rotations[frame], motion.root_m[frame], face, frame / motion.fps)

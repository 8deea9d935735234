"""Files as they come from strangers: seeded damage to small good files of every format.

`python tests/motion/mutations.py KIND COUNT [FIRST]` reads that many and prints what was neither a motion nor a clear
error, the longest time and the most memory; the exit status says whether all is well.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.files import read_motion, write_motion
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton
from visavis.motion.vrm import read_vrm

KINDS = ("bvh", "npz", "skm", "sk", "csv", "glb", "vrma", "vrm", "kinect", "avatar")
MOST_SECONDS = 5.0
MOST_BYTES = 1 << 30
MOST_MUTATED = 16 << 20
NUMBERS = (
    "nan", "inf", "-inf", "1e308", "-1e39", "99999999999999999999", "-1", "0", "1e-320", "", "2147483648", "0x10", "٣"
)  # fmt: skip


def small_body() -> Motion:
    """Seven joints, five frames."""
    names = ("hips", "spine", "head", "leftUpperArm", "leftLowerArm", "leftHand", "rightUpperArm")
    parents = np.array([-1, 0, 1, 1, 3, 4, 1])
    offsets = np.array(
        [[0, 0.9, 0], [0, 0.3, 0], [0, 0.3, 0], [0.2, 0.2, 0], [0.3, 0, 0], [0.25, 0, 0], [-0.2, 0.2, 0]]
    )
    rng = np.random.default_rng(0)
    turns = rot.from_rotation_vector(rng.normal(size=(5, 7, 3)))
    tips = {"leftHand": np.array([0.1, 0, 0], np.float32)}
    face = rng.random((5, 52)).astype(np.float32)
    return Motion(turns, rng.normal(size=(5, 3)), face, Skeleton(names, parents, offsets.astype(np.float32), tips))


def good_file(kind: str, folder: Path) -> bytes:
    """A small file of a format."""
    motion = small_body()
    if kind == "kinect":
        places = np.random.default_rng(1).normal(size=(5, 25, 3)).round(4)
        rows = [[f"{i / 0.03:.3f}", *(str(v) for place in row for v in (*place, 2))] for i, row in enumerate(places)]
        return "\n".join(",".join(row) for row in rows).encode()
    path = folder / f"good.{'skm' if kind == 'sk' else kind}"
    if kind in ("glb", "vrm", "avatar"):
        # The animation's nodes and channels, as a plain glTF and as an avatar: our own avatars are megabytes of mesh.
        write_motion(motion, folder / "good.vrma")
        document, blob = unpack((folder / "good.vrma").read_bytes())
        bones = document["extensions"].pop("VRMC_vrm_animation")["humanoid"]
        document["extensionsUsed"] = []
        count = len(document["nodes"])
        document["nodes"].append({"mesh": 0, "skin": 0, "name": "body"})
        document["scenes"][0]["nodes"].append(count)
        document["skins"] = [{"joints": list(range(7))}]
        document["meshes"] = [{"primitives": [{"attributes": {}}]}]
        if kind != "glb":
            document["extensions"]["VRMC_vrm"] = {"specVersion": "1.0", "humanoid": bones, "meta": {"name": "x"}}
            document["extensionsUsed"] = ["VRMC_vrm"]
        return pack(document, blob)
    write_motion(motion, path)
    return path.with_suffix(f".{kind}").read_bytes()


def unpack(data: bytes) -> tuple[dict, bytes]:
    """JSON and binary chunk of a GLB."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def pack(document: dict, blob: bytes) -> bytes:
    """The GLB of a JSON document and a binary chunk."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


# Damage to any bytes -------------------------------------------------------------------------------------------------


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        out[rng.integers(len(out))] = rng.integers(256)
    return bytes(out)


def drop(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(rng.integers(len(data), size=2))
    return data[:a] + data[b:]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(rng.integers(len(data), size=2))
    return data[:b] + data[a:b] * min(int(rng.integers(1, 30)), MOST_MUTATED // (b - a + 1)) + data[b:]


def noise(data: bytes, rng: np.random.Generator) -> bytes:
    at = rng.integers(len(data))
    return data[:at] + rng.bytes(int(rng.integers(1, 3000))) + data[at:]


# Damage to lines of text ---------------------------------------------------------------------------------------------


def lines(
    change: Callable[[list[bytes], np.random.Generator], list[bytes]],
) -> Callable[[bytes, np.random.Generator], bytes]:
    return lambda data, rng: b"\n".join(change(data.split(b"\n"), rng))


@lines
def swap_lines(rows, rng):
    a, b = rng.integers(len(rows), size=2)
    rows[a], rows[b] = rows[b], rows[a]
    return rows


@lines
def double_lines(rows, rng):
    at = rng.integers(len(rows))
    return rows[:at] + [rows[at]] * min(int(rng.integers(2, 2000)), MOST_MUTATED // (len(rows[at]) + 1)) + rows[at:]


@lines
def change_number(rows, rng):
    for _ in range(int(rng.integers(1, 4))):
        at = rng.integers(len(rows))
        separator = b"," if b"," in rows[at] else b" "
        words = rows[at].split(separator)
        words[rng.integers(len(words))] = NUMBERS[rng.integers(len(NUMBERS))].encode()
        rows[at] = separator.join(words)
    return rows


@lines
def nest(rows, rng):
    depth = int(rng.choice([50, 3000, 60000]))
    block = (
        [b"JOINT a", b"{", b"OFFSET 0 1 0", b"CHANNELS 0"] if rng.random() < 0.5 else [b"joint a", b"{ offset 0 1 0"]
    )
    at = int(rng.integers(min(len(rows), 40)))
    closing = [b"}"] * depth if rng.random() < 0.5 else []
    return rows[:at] + block * depth + closing + rows[at:]


@lines
def long_line(rows, rng):
    at = rng.integers(len(rows))
    rows[at] = rows[at] + b" 1.5" * int(rng.choice([10, 1000, 300000]))
    return rows


@lines
def count(rows, rng):
    """Counts far above what there is."""
    for at, row in enumerate(rows):
        words = row.split()
        if len(words) == 2 and words[1].isdigit() and rng.random() < 0.6:
            rows[at] = words[0] + b" " + rng.choice([b"0", b"3", b"100000", b"4000000000", b"9" * 30])
    return rows


# Damage to JSON and arrays -------------------------------------------------------------------------------------------

ODD = (None, -1, 0, 1, 2, 7, 255, 5126, 2**31, 2**63, 1e308, -1e-9, "x", "", [], {}, [1, 2, 3], True, "rotation", 1.5)


def places(value: object, found: list[tuple[object, object]]) -> list[tuple[object, object]]:
    """Every holder and key in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items):
        found.append((value, key))
        places(each, found)
    return found


def edit_json(data: bytes, rng: np.random.Generator) -> bytes:
    document, blob = unpack(data)
    for _ in range(int(rng.integers(1, 4))):
        spots = places(document, [])
        if not spots:
            break
        holder, key = spots[rng.integers(len(spots))]
        if rng.random() < 0.15:
            del holder[key]
        elif rng.random() < 0.2:  # another node's, accessor's or bone's value in its place
            other, where = spots[rng.integers(len(spots))]
            try:
                holder[key] = json.loads(json.dumps(other[where]))
            except LookupError:
                continue
        else:
            holder[key] = ODD[rng.integers(len(ODD))]
    return pack(document, blob)


def edit_floats(data: bytes, rng: np.random.Generator) -> bytes:
    document, blob = unpack(data)
    values = np.frombuffer(blob[: len(blob) // 4 * 4], np.float32).copy()
    for _ in range(int(rng.integers(1, 40))):
        values[rng.integers(len(values))] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -1, 0, 1e-40, 1e9])
    return pack(document, values.tobytes())


def nest_json(data: bytes, rng: np.random.Generator) -> bytes:
    depth = int(rng.choice([100, 5000, 200000]))
    text = b'{"asset": {"version": "2.0"}, "nodes": ' + b'[{"children": ' * depth + b"0" + b"}]" * depth + b"}"
    return b"glTF" + struct.pack("<II", 2, 20 + len(text)) + struct.pack("<II", len(text), 0x4E4F534A) + text


def edit_arrays(data: bytes, rng: np.random.Generator) -> bytes:
    """Another array in place of one, or a header that promises what is not there."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        table = {name: archive[name] for name in archive.files}
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            for name, array in table.items():
                if rng.random() < 0.07:
                    array = odd_array(array, rng)
                if array is None:
                    continue
                raw = io.BytesIO()
                np.lib.format.write_array(raw, array, allow_pickle=True)
                content = raw.getvalue()
                if rng.random() < 0.02:
                    digits = rng.choice([b"(99999999999,", b"(-5,", b"(1,(2,", b"(5,100000000,"])
                    start = content.index(b"'shape': (") + 9
                    content = content[:start] + digits + content[start + len(digits) :]
                file.writestr(f"{name}.npy", content)
    return out.getvalue()


def odd_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    choice = rng.integers(13)
    if choice == 0:
        return None
    if choice == 1:
        return array.reshape(-1)[: array.size // 2]
    if choice == 2:
        return np.array([{"a": 1}, None], dtype=object)
    if choice == 3:
        return array.astype(np.str_)
    if choice == 4:
        return np.zeros(array.shape + (2,))
    if choice == 5:
        return np.zeros((0, *array.shape[1:]), array.dtype if array.dtype.kind != "U" else np.float32)
    if choice == 6:
        return np.zeros(array.shape, np.complex64)
    if choice == 7:
        return np.full(array.shape, [np.nan, np.inf, 1e300, -1e10, 0][rng.integers(5)])
    if choice == 8:
        return np.array(0)
    if choice == 9:
        return np.zeros((array.shape[0] if array.ndim else 1, 100000), np.uint8)
    if choice == 10:
        return np.zeros(array.shape, "datetime64[s]")
    if choice == 11:
        return np.zeros(array.shape, [("a", "f4"), ("b", "U3")])
    return np.concatenate([array] * 3) if array.ndim else array[None]


ANY = (cut, flip, drop, repeat, noise)
TEXT = (swap_lines, double_lines, change_number, change_number, change_number, nest, long_line, count)
GLTF = (edit_json, edit_json, edit_json, edit_json, edit_floats, nest_json)
DAMAGE = {
    **{kind: (*ANY, *TEXT) for kind in ("bvh", "skm", "sk", "csv", "kinect")},
    **{kind: (*ANY, *GLTF) for kind in ("glb", "vrma", "vrm", "avatar")},
    "npz": (*ANY, *(edit_arrays,) * 8),
}


def mutated(kind: str, good: bytes, seed: int) -> bytes:
    """The `seed`-th damaged file, with one to three kinds of damage."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    data = good
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        way = DAMAGE[kind][rng.integers(len(DAMAGE[kind]))]
        try:
            data = way(data, rng)
        except Exception:  # too damaged already for this kind of damage
            data = flip(data, rng) if data else b"x"
        data = data[:MOST_MUTATED]
    return data


def read(kind: str, path: Path) -> Motion:
    """Read a file for what it is; an avatar gives its skeleton at rest."""
    if kind == "avatar":
        return Motion.rest(1, read_vrm(path).skeleton)
    return read_motion(path)


def wrong_with(motion: Motion) -> str | None:
    """What is not as `read_motion` promises."""
    if not isinstance(motion, Motion):
        return f"gave {type(motion).__name__}"
    if motion.fps != 30:
        return f"{motion.fps} frames a second"
    if not (np.isfinite(motion.rotations).all() and np.isfinite(motion.root_m).all()):
        return "numbers that are not finite"
    if len(motion) and np.abs(np.linalg.norm(motion.rotations, axis=-1) - 1).max() > 1e-3:
        return "rotations that are not of unit length"
    parents = motion.skeleton.parents
    if parents[0] != -1 or (parents[1:] < 0).any() or (parents >= np.arange(len(parents))).any():
        return "parents that do not come before their children"
    if not np.isfinite(motion.skeleton.offsets_m).all() or len(set(motion.skeleton.names)) != len(parents):
        return "a skeleton with offsets that are not finite or names that are not unique"
    if motion.face is not None and not ((motion.face >= 0) & (motion.face <= 1)).all():
        return "weights of the face outside [0, 1]"
    return None


def fuzz(kind: str, number: int, first: int = 0) -> tuple[list[str], int, float]:
    """Read damaged files: what went wrong, how many gave a motion, the longest time in seconds (of this process)."""
    failures, motions, longest = [], 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = good_file(kind, folder)
        for seed in range(first, first + number):
            path = folder / ("damaged.sk" if kind == "sk" else "damaged")
            path.write_bytes(mutated(kind, good, seed))
            start = time.process_time()
            try:
                problem = wrong_with(read(kind, path))
                motions += problem is None
            except FileFormatError as error:
                problem = None if 10 < len(str(error)) < 2000 else f"a message of {len(str(error))} characters"
            except Exception as error:  # anything else is what is looked for
                problem = f"{type(error).__name__}: {str(error)[:200]}"
            took = time.process_time() - start
            longest = max(longest, took)
            if took > MOST_SECONDS:
                problem = f"took {took:.1f} s"
            if problem:
                failures.append(f"{kind} {seed}: {problem}")
    return failures, motions, longest


def peak_bytes() -> int:
    """The most memory that this program itself has held.

    `ru_maxrss` survives exec, so that in a child of a large test process it tells the parent's size; Linux's
    high-water mark belongs to the program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(kind: str, number: int, first: int = 0) -> int:
    """Fuzz one format in a process of its own, where its memory can be told."""
    failures, motions, longest = fuzz(kind, number, first)
    peak = peak_bytes()
    if peak > MOST_BYTES:
        failures.append(f"{kind}: {peak >> 20} MB of memory")
    print(
        f"{kind}: {number} files, {motions} motions, longest {longest:.2f} s, {peak >> 20} MB, {len(failures)} failures"
    )
    for failure in failures[:20]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))

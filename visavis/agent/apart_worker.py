"""The process that reads a second batch: requests on standard input, logits on standard output.

`python -m visavis.agent.apart_worker FOLDER [--exact]` loads the planner of FOLDER and says so by an empty answer. It
ends when its standard input closes. What it prints goes to standard error, so that nothing stands between the answers.

A frame is two little-endian uint32 (numbers of arrays, of all their elements), the arrays' lengths (int32), and their
elements one after the other: int32 in a request, float32 in an answer. A request is an array of changes (a `Change`, a
slot, a slot or 0; as often as needed), one with the number of runs, the runs of ids, and for each run that is not empty
what is wanted of it: `ALL`; `RANGE`, first, end; or ids. An answer has the logits of each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import struct
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.engine import Floats, Ids
from visavis.errors import VisavisError

__all__ = ["Change", "FrameError", "main", "pack", "read_frame", "sent_ids", "wanted_ids"]

ALL: Final = -1
RANGE: Final = -2
MOST_ARRAYS, MOST_ELEMENTS = 4096, 64 * 1024 * 1024
_HEAD: Final = struct.Struct("<II")


class Change(IntEnum):
    """What happens to slots before a pass."""

    CLEAR = 0
    MOVE = 1
    RESIZE = 2


class FrameError(Exception):
    """A frame that is cut off or too large."""


def pack(arrays: Sequence[NDArray[Any] | Sequence[int]], dtype: type[np.int32 | np.float32]) -> bytes:
    """A frame of these arrays."""
    made = [np.ascontiguousarray(array, dtype) for array in arrays]
    sizes = np.array([len(array) for array in made], np.int32)
    return b"".join([_HEAD.pack(len(made), int(sizes.sum())), sizes.tobytes(), *(array.tobytes() for array in made)])


def read_frame(stream: IO[bytes], dtype: type[np.int32 | np.float32]) -> list[NDArray[Any]] | None:
    """The arrays of the next frame, views of one buffer; None at the end of the stream.

    Raises:
        FrameError: it is cut off, or no frame.
    """
    head = stream.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise FrameError("the stream ended inside a frame")
    count, total = _HEAD.unpack(head)
    if count > MOST_ARRAYS or total > MOST_ELEMENTS:
        raise FrameError(f"expected at most {MOST_ARRAYS} arrays and {MOST_ELEMENTS} elements; got {count}, {total}")
    body = bytearray(stream.read(4 * (count + total)))  # what is made of it may be written to
    if len(body) < 4 * (count + total):
        raise FrameError("the stream ended inside a frame")
    sizes = np.frombuffer(body, np.int32, count)
    if (sizes < 0).any() or int(sizes.sum(dtype=np.int64)) != total:
        raise FrameError(f"expected arrays of {total} elements together; got {sizes.tolist()}")
    return np.split(np.frombuffer(body, dtype, total, 4 * count), np.cumsum(sizes)[:-1]) if count else []


def sent_ids(ids: Ids | None) -> NDArray[np.int32]:
    """Wanted ids as they are sent."""
    if ids is None:
        return np.array([ALL], np.int32)
    if len(ids) > 3 and ids[-1] - ids[0] == len(ids) - 1 and (ids[1:] > ids[:-1]).all():
        return np.array([RANGE, ids[0], ids[-1] + 1], np.int32)
    return ids.astype(np.int32)


def wanted_ids(sent: NDArray[np.int32]) -> Ids | None:
    """Wanted ids as they were before they were sent."""
    if len(sent) and sent[0] == ALL:
        return None
    if len(sent) and sent[0] == RANGE:
        return np.arange(sent[1], sent[2], dtype=np.int64)
    return sent.astype(np.int64)


def main(arguments: Sequence[str] | None = None) -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m visavis.agent.apart_worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args(arguments)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import torch

    from visavis.agent.decoder import Decoder
    from visavis.agent.llama import Llama
    from visavis.agent.rows import RowsHere

    torch.set_num_threads(1)  # this process is one core's
    try:
        rows = RowsHere(Decoder(Llama.load(options.folder), options.exact))
    except VisavisError as error:
        sys.exit(f"visavis: {error}")
    with contextlib.suppress(BrokenPipeError, FrameError):  # whoever asked is gone
        answers.write(pack([], np.float32))
        answers.flush()
        while (frame := read_frame(requests, np.int32)) is not None:
            changes, *arrays = frame
            for change, one, other in changes.reshape(-1, 3).tolist():
                if change == Change.CLEAR:
                    rows.clear(one)
                elif change == Change.MOVE:
                    rows.move(one, other)
                else:
                    rows.resize(one)
            answers.write(pack(_logits(rows, arrays), np.float32))
            answers.flush()
    os._exit(0)  # nothing is left to be written, and a pipe that is closed must not be flushed


def _logits(rows: Any, arrays: Sequence[NDArray[np.int32]]) -> list[Floats]:
    """What a request's runs and wishes, of which the first array has the number of runs, come to."""
    count = int(arrays[0][0])
    runs = [run.tolist() for run in arrays[1 : count + 1]]
    wishes = iter(arrays[count + 1 :])
    made: list[Floats] = rows.read(runs, [wanted_ids(next(wishes)) if run else None for run in runs])
    return made


if __name__ == "__main__":
    main()

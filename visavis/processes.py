"""Processes of our own: modules of this package that run beside the caller and are spoken to over their pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

__all__ = ["start_module"]


def start_module(
    module: str, *arguments: str, stderr: int | IO[bytes] | None = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Run `python -m module` with pipes for its standard input and output, by this interpreter and from where this
    package lies. A Ctrl-C at the keyboard does not reach it: who started it decides.

    Raises:
        OSError: it could not be started.
    """
    package = str(Path(__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    # every folder the loader may come from: the parent may have a path of its own making
    paths += [p for p in sys.path if p and p not in paths]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, process_group=0 if os.name == "posix" else None,
    )  # fmt: skip

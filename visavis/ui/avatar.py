"""The avatar that the page shows, as VRM: a shipped one by name, or the user's own file as it is."""

from __future__ import annotations

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path

from visavis.errors import UsageError
from visavis.motion.avatar import DEFAULT_AVATAR, avatar_names, load_avatar
from visavis.motion.vrm import read_vrm, write_vrm

__all__ = ["avatar_version", "avatar_vrm"]


@lru_cache(maxsize=4)
def avatar_vrm(avatar: str | Path | None = None) -> bytes:
    """The content of a `.vrm` file.

    Args:
        avatar: a name of `avatar_names`, a `.vrm` file (0.x or 1.0), or None for the default.

    Raises:
        FileFormatError: the file is damaged.
        UsageError: it is neither a name nor a VRM.
    """
    name = str(avatar or DEFAULT_AVATAR)
    if name in avatar_names():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "avatar.vrm"
            write_vrm(load_avatar(name), path, name=name)
            return path.read_bytes()
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"expected an avatar: {', '.join(avatar_names())} or a .vrm file; {name!r} is neither: check the path"
        )
    if not read_vrm(path).humanoid:
        raise UsageError(f"expected a VRM avatar; {path.name} is a glTF body without a humanoid: export it as VRM")
    return path.read_bytes()


def avatar_version(avatar: str | Path | None = None) -> str:
    """Changes with the avatar, so that browsers do not keep another one."""
    return hashlib.sha256(avatar_vrm(avatar)).hexdigest()[:12]

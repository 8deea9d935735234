"""`python -m visavis.motion.avatar_build [FILE]` rebuilds the default avatar."""

from __future__ import annotations

import sys

from visavis.motion.avatar import default_avatar_path, save_avatar
from visavis.motion.avatar_build.assemble import build


def main() -> None:
    """Build and write; prints the size."""
    path = sys.argv[1] if len(sys.argv) > 1 else default_avatar_path()
    avatar = build()
    save_avatar(avatar, path)
    print(f"{path}: {len(avatar.positions_m)} vertices, {len(avatar.faces)} triangles")


if __name__ == "__main__":
    main()

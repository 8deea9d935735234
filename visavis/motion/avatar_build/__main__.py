"""`python -m visavis.motion.avatar_build [NAME [FILE]]` rebuilds the shipped avatars, or one of them."""

from __future__ import annotations

import sys

from visavis.motion.avatar import avatar_names, avatar_path, save_avatar
from visavis.motion.avatar_build.assemble import build


def main() -> None:
    """Build and write; prints the sizes."""
    for name in sys.argv[1:2] or avatar_names():
        path = sys.argv[2] if len(sys.argv) > 2 else avatar_path(name)
        avatar = build(name)
        save_avatar(avatar, path)
        print(f"{path}: {len(avatar.positions_m)} vertices, {len(avatar.faces)} triangles")


if __name__ == "__main__":
    main()

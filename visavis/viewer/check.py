"""Build the viewer: `python -m visavis.viewer.check` proves that the committed bundle is what the source gives.

The source is copied to a temporary folder, installed there from the lock file, type checked, tested and bundled; the
result must equal `dist/viewer.js` byte for byte; `--write` replaces it. Without Node this is skipped, and says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from visavis.errors import ServiceError
from visavis.viewer import bundle_path

__all__ = ["build", "main"]

HERE = Path(__file__).parent


def build() -> bytes:
    """The bundle that the source gives now.

    Raises:
        ServiceError: installing, type checking, testing or bundling failed; the message ends with what the tool said.
    """
    with tempfile.TemporaryDirectory(prefix="visavis-viewer-") as folder:
        place = Path(folder)
        for name in ("package.json", "package-lock.json", "tsconfig.json"):
            shutil.copy(HERE / name, place)
        for name in ("src", "test"):
            shutil.copytree(HERE / name, place / name)
        environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
        for command in (
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            ["npm", "run", "--silent", "types"],
            ["npm", "run", "--silent", "test"],
            ["npm", "run", "--silent", "build"],
        ):
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServiceError(f"building the viewer failed at `{' '.join(command)}`:\n{done.stdout}{done.stderr}")
        return (place / "dist" / "viewer.js").read_bytes()


def main(arguments: list[str] | None = None) -> int:
    """Compare (or with `--write` replace) the bundle; 0 when it is right or Node is absent."""
    parser = argparse.ArgumentParser(prog="python -m visavis.viewer.check", description=build.__doc__)
    parser.add_argument("--write", action="store_true", help="replace dist/viewer.js by what the source gives")
    options = parser.parse_args(arguments)
    if not (shutil.which("node") and shutil.which("npm")):
        print("SKIPPED: the viewer's bundle was NOT checked, because node and npm are not installed", file=sys.stderr)
        return 0
    try:
        built = build()
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    if options.write:
        bundle_path().parent.mkdir(exist_ok=True)
        bundle_path().write_bytes(built)
        print(f"wrote {bundle_path().name}, {len(built):,} bytes")
        return 0
    committed = bundle_path().read_bytes() if bundle_path().exists() else b""
    if built != committed:
        print(
            f"dist/viewer.js ({len(committed):,} bytes) is not what the source gives ({len(built):,} bytes): "
            "run `python -m visavis.viewer.check --write` and commit it",
            file=sys.stderr,
        )
        return 1
    print(f"dist/viewer.js is what the source gives, {len(built):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The browser viewer: TypeScript source in `src`, the built bundle in `dist/viewer.js`, checked by `check`.

Node is needed only to change the viewer: the bundle is part of the package.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["bundle_path"]


def bundle_path() -> Path:
    """The built viewer, one JavaScript module without imports."""
    return Path(__file__).parent / "dist" / "viewer.js"

"""The one folder where visavis keeps what it was told to keep: conversations, memories, added clips.

`$VISAVIS_HOME`, else `visavis` in the platform's folder for user data. Caches live elsewhere and may be deleted at any
time (`visavis.speech.cache`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["home_folder"]


def home_folder() -> Path:
    """The folder; it is not made here."""
    if named := os.environ.get("VISAVIS_HOME"):
        return Path(named)
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data) / "visavis"
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "visavis" / "Data"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "visavis"
    return home / ".local" / "share" / "visavis"

"""Checkpoints that survive a kill: written beside the old one and renamed over it, at most a minute apart."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

__all__ = ["Checkpointer"]


class Checkpointer:
    """Keeps the latest state of a training run in one file.

    The file is torch's own format read with `weights_only=True`: tensors and plain containers, never code.
    """

    def __init__(self, path: Path, every_s: float = 45.0) -> None:
        self.path = path
        self.every_s = every_s
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state, or None where there is none."""
        if not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; the old one stays until the new one is whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.path)
        self._last = time.monotonic()

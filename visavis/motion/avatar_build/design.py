"""`Design`: what sets one avatar apart from another while it is built, and the designs that ship."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from visavis.motion.avatar import Material
from visavis.motion.avatar_build.field import Field
from visavis.motion.avatar_build.part import Part
from visavis.motion.avatar_build.warp import Warp
from visavis.motion.skeleton import Skeleton

__all__ = ["Design", "design"]


@dataclass(frozen=True, eq=False)
class Design:
    """One avatar's plan.

    Attributes:
        skeleton: what it is bound to.
        palette: the materials that its pieces name.
        head: makes the pieces of the head, on the default skeleton (`head.py`).
        warp: how that head becomes this one's, or None where it stays as it is.
        body: makes the pieces below the chin, on `skeleton`.
        body_field: the clothed body as a field, for occlusion.
    """

    skeleton: Skeleton
    palette: tuple[Material, ...]
    head: Callable[[], list[Part]]
    warp: Warp | None
    body: Callable[[], list[Part]]
    body_field: Field


def design(name: str) -> Design:
    """The plan of a shipped avatar (see `visavis.motion.avatar.avatar_names`)."""
    if name == "juno":
        from visavis.motion.avatar_build.juno import juno

        return juno()
    from visavis.motion.avatar_build.robin import robin

    return robin()

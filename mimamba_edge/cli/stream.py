"""``mimamba-edge stream``."""

from __future__ import annotations


def stream() -> None:
    """Not written yet."""
    raise NotImplementedError

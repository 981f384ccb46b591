"""``mimamba-edge parity``."""

from __future__ import annotations


def parity() -> None:
    """Not written yet."""
    raise NotImplementedError

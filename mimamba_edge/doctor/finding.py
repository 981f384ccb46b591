"""One line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it stands (``ok``, ``warning``, ``wrong``), what to do."""

    name: str
    state: str
    value: str
    remedy: str = ""

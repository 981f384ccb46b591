"""One line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HealthCheck"]


@dataclass(frozen=True)
class HealthCheck:
    """One line: what was looked at, how it stands (``ok``, ``warning``, ``wrong``), what to do."""

    name: str
    state: str
    value: str
    remedy: str = ""

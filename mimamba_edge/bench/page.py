"""The report page."""

from __future__ import annotations

from typing import Any


def render_page(record: dict[str, Any]) -> str:
    return ""

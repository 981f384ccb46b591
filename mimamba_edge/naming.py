"""Names that must differ, and names that nearly are one."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Sequence

__all__ = ["close_names", "distinct", "listed", "natural_order", "version_numbers"]

_CLOSE = 0.6
"""Likeness by difflib, from 0 to 1."""
_LISTED = 600
"""Characters of a list in a message."""


def distinct(names: Iterable[str], form: str = "{}_{}") -> list[str]:
    """Return names of which no two are equal: those that come again are numbered, from 2 on.

    Args:
        names: The names.
        form: Puts name and number together.
    """
    out: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in out:
            number += 1
            unique = form.format(name, number)
        out.append(unique)
    return out


def close_names(name: str, known: Iterable[str], limit: int = 3) -> str | None:
    """Return ``"did you mean A or B?"`` with the known names that are most like a name, or ``None``."""
    plain = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower()[:100], plain, n=limit, cutoff=_CLOSE)
    return f"did you mean {' or '.join(plain[one] for one in found)}?" if found else None


def listed(names: Sequence[str], separator: str = ", ", limit: int = _LISTED) -> str:
    """Return names as a list of limited length: the first ones, and how many more there are."""
    kept, room = 0, limit
    while kept < len(names) and (room := room - len(names[kept]) - len(separator)) >= 0:
        kept += 1
    if kept == len(names):
        return separator.join(names)
    if not kept:
        return f"{names[0][: limit - 1]}…" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
    return separator.join(names[:kept]) + f"{separator}and {len(names) - kept:,} more"


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names as people count: ``run-2`` before ``run-10``.

    A number is compared by how many digits it has, without zeros before it, and then by these; it stands
    before any text.
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    numbers = (part.lstrip("0") if "0" <= part[0] <= "9" else None for part in parts)
    return tuple(
        (sys.maxsize, part) if number is None else (len(number), number)
        for part, number in zip(parts, numbers, strict=True)
    )


def version_numbers(text: str, most: int | None = None) -> tuple[int, ...]:
    """Return the numbers in a version, such as ``(1, 25, 1)`` of ``"1.25.1"``; no more than ``most``."""
    return tuple(map(int, re.findall(r"\d+", text)[:most]))

"""Names that must differ."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["distinct"]


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

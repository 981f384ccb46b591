"""Pieces of Markdown that the made pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Return text as it stands in a cell of a table: on one line, with its bars and angles as characters."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def toctree(pages: Iterable[str]) -> str:
    """Return a table of contents that is in the side bar only."""
    return "```{toctree}\n:hidden:\n\n" + "".join(f"{page}\n" for page in pages) + "```\n"

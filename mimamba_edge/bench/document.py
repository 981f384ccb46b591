"""Parts of a page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

__all__ = ["document", "facts", "items", "machine_facts", "scroll_table", "tiles"]

_MARKED = ("yes", "no", "passed", "missed")
"""What cells hold that the style sheet gives a colour."""


def document(title: str, sub: str, body: str, footer: str) -> str:
    """Return a page; title and line below it are text, the rest is HTML."""
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>
{style}</style></head><body><main>
<h1>{escape(title)}</h1><p class="sub">{escape(sub)}</p>
{body}
<footer>{footer}</footer></main></body></html>
"""


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Return the few figures a reader came for, each with what it is."""
    cells = "".join(f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in figures)
    return f'<div class="tiles">{cells}</div>'


def items(lines: Iterable[str]) -> str:
    """Return a list of texts."""
    return f'<ul class="plain">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def facts(lines: Mapping[str, object]) -> str:
    """Return names and values, one a line; empty values are left out."""
    cells = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in lines.items() if value
    )
    return f'<div class="card"><dl>{cells}</dl></div>'


def machine_facts(env: Mapping[str, Any]) -> dict[str, str]:
    """Return what a reader has to know of what :func:`mimamba_edge.bench.environment.describe` found."""
    packages = ", ".join(f"{name} {version}" for name, version in env["versions"].items() if version)
    memory = "unknown" if env["memory_bytes"] is None else f"{env['memory_bytes'] / 2**30:.1f} GiB"
    return {
        "Device": env["device"],
        "Cores, memory": f"{env['cores']} ({env['architecture']}), {memory}",
        "System": f"{env['system']}, Python {env['python']}",
        "Packages": packages,
        "Commit": (env["commit"] or "not run from a checkout")
        + (" with local changes" if env["dirty"] else ""),
        "Time": env["time"],
    }


def scroll_table(header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], css: str = "") -> str:
    """Return a table of texts.

    Args:
        header: Names of the columns.
        rows: Class and cells of each row.
        css: Class of the table.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f'<tr class="{kind}">{"".join(map(_cell, cells))}</tr>' for kind, cells in rows)
    table = f'<table class="{css}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="card scroll">{table}</div>'


def _cell(text: str) -> str:
    return f'<td class="{text if text in _MARKED else ""}">{escape(text)}</td>'

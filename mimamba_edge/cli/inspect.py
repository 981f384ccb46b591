"""``mimamba-edge inspect``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimamba_edge.errors import ArtifactError


def inspect(
    file: Annotated[Path, typer.Argument(help="Model, engine, checkpoint, .ref.npz or manifest.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show contract, tensors, nodes and state of a file; exit 2 if it is not sound."""
    from mimamba_edge.cli.describe import describe
    from mimamba_edge.console import print_json, show_table

    found = describe(file)
    if json:
        print_json(found)
    else:
        show_table(str(file), ("", ""), _lines(found), left=(0, 1))
        graph = found.get("graph")
        if graph and graph["custom_nodes"]:
            rows = [(n["op"], n["name"], _text(n["attributes"])) for n in graph["custom_nodes"]]
            show_table("custom nodes", ("op", "name", "attributes"), rows, left=range(3))
    if found["problems"]:
        raise ArtifactError(f"{file} is not sound", got="; ".join(found["problems"]))


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return one line a fact; the contract's and the graph's facts each get their own."""
    lines: list[tuple[str, str]] = []
    for key, value in found.items():
        if key == "graph":
            lines += [("nodes", "not read: pip install onnx")] if value is None else _lines(value)
        elif key in ("contract", "manifest", "config") and value is not None:
            lines.append((key, ""))
            lines += [(f"  {name}", _text(part)) for name, part in value.items()]
        elif key not in ("custom_nodes", "file", "problems", "tensors"):
            lines.append((key.replace("_", " "), _text(value)))
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inner(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_inner, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return f"({_text(value)})" if isinstance(value, (dict, list)) else _text(value)

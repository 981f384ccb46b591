"""``mimamba-edge inspect``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimamba_edge.errors import ArtifactError, GateError


def inspect(
    file: Annotated[Path, typer.Argument(help="Model, engine, checkpoint, .ref.npz or manifest.")],
    target: Annotated[str | None, typer.Option(help="Say what keeps it from tensorrt-10.3, ...")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show contract, tensors, nodes and state of a file; exit 2 if not sound, 1 if not for its target."""
    from mimamba_edge.cli.describe import describe
    from mimamba_edge.console import print_json, show_table

    if target is not None:
        _judge(file, target, json)
        return
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


def _judge(file: Path, target: str, json: bool) -> None:
    from mimamba_edge.cli.describe import judge
    from mimamba_edge.console import print_json, show_note, show_table

    found = judge(file, target)
    if json:
        print_json({"file": str(file), "target": target, "fits": not found, "findings": found})
    elif not found:
        show_note(f"{file} fits {target}")
    else:
        rows = [(f["node"], f["op"], f["reason"] + " (judged)" * f["judged"], f["source"]) for f in found]
        show_table(f"{file} for {target}", ("node", "op", "reason", "source"), rows, left=range(4))
    if found:
        # `export` writes the form for TensorRT beside the portable one.
        do = None if file.name.endswith(".trt.onnx") else "take the NAME.trt.onnx that export writes"
        raise GateError(f"{file} does not fit {target}", got=f"{len(found)} findings", do=do)


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

"""``mimamba-edge inspect``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mimamba_edge.cli.options import Json
from mimamba_edge.errors import ArtifactError, GateError


def inspect(
    file: Annotated[Path, typer.Argument(help="Model, engine, checkpoint, .ref.npz or manifest.")],
    target: Annotated[
        str | None, typer.Option(help="Also list what this target cannot run, such as tensorrt-10.3.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show all: manifest, contract, tensors, nodes, training.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what a file is, what it expects, what it answers and what runs it.

    Exit code 2 if the file is damaged or invalid, 1 if its target cannot run it.
    An .onnx file of another tool needs no manifest and no contract: it must pass ONNX's checker.
    """
    from mimamba_edge.console import print_json, show_note, show_table
    from mimamba_edge.inspection import check_target, describe
    from mimamba_edge.inspection_text import to_lines, to_summary, to_text

    found = describe(file)
    # What is not sound is not judged: a hostile file could keep the judge busy for ever.
    findings, parser = ([], "") if target is None or found["problems"] else check_target(file, target)
    if target is not None:
        _show_findings(file, target, (findings, parser), found["problems"], json)
    elif json:
        print_json(found)
    elif not every:
        show_table(str(file), ("", ""), to_summary(found), left=(0, 1))
        show_note("--all shows its manifest, contract and nodes")
    else:
        show_table(str(file), ("", ""), to_lines(found), left=(0, 1))
        graph = found.get("graph")
        if graph and graph["custom_nodes"]:
            rows = [(n["op"], n["name"], to_text(n["attributes"])) for n in graph["custom_nodes"]]
            show_table("custom nodes", ("op", "name", "attributes"), rows, left=range(3))
    if found["problems"]:
        raise ArtifactError(f"{file} is not sound", got="; ".join(found["problems"]))
    if findings:
        # `export` writes the form for TensorRT beside the portable one.
        do = None if file.name.endswith(".trt.onnx") else "use the NAME.trt.onnx that export writes"
        raise GateError(f"{file} does not fit {target}", got=f"{len(findings)} findings", do=do)


def _show_findings(
    file: Path, target: str, judged: tuple[list[dict[str, Any]], str], problems: list[str], json: bool
) -> None:
    from mimamba_edge.console import print_json, show_note, show_table

    found, parser = judged
    if json:
        facts = {"file": str(file), "target": target, "fits": not (found or problems), "problems": problems}
        print_json({**facts, "findings": found, "parser": parser})
    elif not (found or problems):
        show_note(f"{file} fits {target}")
    elif found:
        rows = [(f["node"], f["op"], f["reason"] + " (judged)" * f["judged"], f["source"]) for f in found]
        show_table(f"{file} for {target}", ("node", "op", "reason", "source"), rows, left=range(4))
    if parser and not json:
        show_note(f"TensorRT's own parser: {parser}")

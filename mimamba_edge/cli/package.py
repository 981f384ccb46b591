"""``mimamba-edge package``: a model as a serving program wants it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import count


class Host(str, Enum):
    """Programs that a model can be packaged for."""

    triton = "triton"


def package(
    model: Annotated[
        Path,
        typer.Argument(help="Model to serve: NAME.plan or the portable NAME.onnx, with its manifest."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model repository.")],
    host: Annotated[Host, typer.Option(help="Program that serves it.")] = Host.triton,
    name: Annotated[
        str | None, typer.Option(help="Name of the served model; default: the file name.")
    ] = None,
    instances: Annotated[int, count("Number of copies that run at the same time.", most=1024)] = 1,
) -> None:
    """Write a model repository for a serving program.

    OUTPUT/NAME holds configuration, model, contract, labels and, for engines, the plugin library.
    """
    from mimamba_edge.console import show_note, show_table
    from mimamba_edge.serving.model import open_served
    from mimamba_edge.serving.triton import serve_command, write_repository

    served = open_served(model, name=name, instances=instances)
    folder = write_repository(output, served)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [(str(path), f"{path.stat().st_size / 1024:,.1f} KiB") for path in files]
    show_table("", ("file", "size"), sizes)
    show_note(f"{host.value} serves it with: {serve_command(output, served)}")

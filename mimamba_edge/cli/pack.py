"""``mimamba-edge pack``: a model as a device or a serving program wants it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from mimamba_edge.cli.options import Json, count, deliver
from mimamba_edge.errors import ConfigError


class Host(str, Enum):
    """What a model can be packed for."""

    device = "device"
    triton = "triton"


def pack(
    model: Annotated[
        Path,
        typer.Argument(help="Model: the portable NAME.onnx; for Triton also NAME.plan. With its manifest."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Archive NAME.tar or NAME.tar.gz; for Triton, a folder."),
    ],
    host: Annotated[Host, typer.Option(help="What it is packed for.")] = Host.device,
    name: Annotated[
        str | None, typer.Option(help="For Triton: name of the served model; default: the file name.")
    ] = None,
    instances: Annotated[
        int | None, count("For Triton: number of copies that run at the same time; default: 1.", most=1024)
    ] = None,
    json: Json = False,
) -> None:
    """Pack all files that a device needs of a model, or a model repository for Triton.

    The archive holds NAME.onnx, NAME.trt.onnx, NAME.ref.npz, their manifests and SHA256SUMS.
    """
    if host is Host.device:
        if name is not None or instances is not None:
            raise ConfigError("--name and --instances are Triton's", do="leave them out, or --host triton")
        made = _for_device(model, output)
    else:
        made = _for_triton(model, output, name, instances or 1)
    deliver("pack", {"host": host.value, "output": str(output), **made}, json, None)


def _for_device(model: Path, output: Path) -> dict[str, Any]:
    from mimamba_edge.console import show_note
    from mimamba_edge.serving.device import pack as write

    paths = write(model, output)
    made = _show(paths)
    folder = model.name.removesuffix(".onnx")
    show_note(f"on the device: tar xf {output.name}, then mimamba-edge doctor {folder}/{model.name}")
    for path in paths:
        if path.name.endswith(".trt.onnx"):
            show_note(f"and, for TensorRT: mimamba-edge build {folder}/{path.name}")
    return made


def _for_triton(model: Path, output: Path, name: str | None, instances: int) -> dict[str, Any]:
    from mimamba_edge.console import show_note
    from mimamba_edge.serving.model import open_served
    from mimamba_edge.serving.triton import serve_command, write_repository

    served = open_served(model, name=name, instances=instances)
    folder = write_repository(output, served)
    made = _show(sorted(path for path in folder.rglob("*") if path.is_file()))
    command = serve_command(output, served)
    show_note(f"Triton serves it with: {command}")
    return {**made, "serve": command}


def _show(files: list[Path]) -> dict[str, Any]:
    """Show files with their sizes; return them JSON-ready."""
    from mimamba_edge.console import show_table

    sizes = {str(path): path.stat().st_size for path in files}
    show_table("", ("file", "size"), [(name, f"{size / 1024:,.1f} KiB") for name, size in sizes.items()])
    return {"files": [{"path": name, "bytes": size} for name, size in sizes.items()]}

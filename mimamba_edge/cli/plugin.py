"""``mimamba-edge plugin``: the libraries that hold the custom ops for TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

plugin = typer.Typer(no_args_is_help=True, help="Build, find and list the plugin libraries for TensorRT.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@plugin.command()
def build(
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write to; default: in the cache.")
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(help="GPU architectures such as 87 or 87,90; default: this machine's GPU."),
    ] = None,
    json: _Json = False,
) -> None:
    """Build the plugin libraries with CMake, nvcc and TensorRT's headers."""
    from mimamba_edge.console import print_json, progress, show_note
    from mimamba_edge.plugins.build import architectures, build_plugin

    archs = architectures(arch or ())
    with progress("building the plugins", total=1.0) as bar:
        done = 0.0

        def step(share: float, what: str) -> None:
            nonlocal done
            bar.advance(share - done)
            bar.describe(what[:60])
            done = share

        library = build_plugin(archs, out, progress=step)
    if json:
        print_json(library.to_dict())
    else:
        show_note(str(library.path))


@plugin.command()
def path(
    autoreg: Annotated[
        bool,
        typer.Option("--autoreg", help="Print the library that registers its plugins when it is loaded."),
    ] = False,
) -> None:
    """Print the path of the library that would be used, for scripts and trtexec --staticPlugins."""
    from mimamba_edge.console import show_note
    from mimamba_edge.trt.library import autoreg_path, describe_library, find_plugin

    found = find_plugin().path
    show_note(str(describe_library(autoreg_path(found)).path if autoreg else found))


@plugin.command("list")
def list_libraries(json: _Json = False) -> None:
    """List the plugin libraries, in the order in which they would be used."""
    from mimamba_edge.console import print_json, show_note, show_table
    from mimamba_edge.trt.library import list_plugins, plugin_folder

    found = [library.to_dict() for library in list_plugins()]
    if json:
        print_json(found)
    elif not found:
        show_note(f"none in {plugin_folder()}: mimamba-edge plugin build")
    else:
        header = ("file", "ops", "TensorRT headers", "CUDA", "architectures", "state")
        show_table("", header, [_row(library) for library in found], left=range(6))


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    state = (found["problem"] or "ok").splitlines()[0]
    info = found["info"]
    if info is None:
        return found["path"], "?", "?", "?", "?", state if found["problem"] else "ok, without manifest"
    ops = ", ".join(f"{name} {version}" for name, version in info["ops"].items())
    archs = ", ".join(map(str, info["architectures"])) or "host, for tests"
    return found["path"], ops, info["tensorrt_headers"], info["cuda"] or "none", archs, state

"""``mimamba-edge plugin``: the libraries that hold the custom ops, for TensorRT and for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimamba_edge.cli.options import Json, deliver

if TYPE_CHECKING:
    from mimamba_edge.runtime.native_ops import NativeOps
    from mimamba_edge.trt.library import PluginLibrary

plugin = typer.Typer(no_args_is_help=True, help="Build, find and list the libraries of custom ops.")


class _Host(str, Enum):
    tensorrt = "tensorrt"
    onnxruntime = "onnxruntime"


_MACHINES = ("x86_64", "aarch64")
_HostOption = Annotated[_Host, typer.Option("--host", help="What loads the library.")]


@plugin.command()
def build(
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write to; default: in the cache.")
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="GPU architectures such as 87 or 87,90; default: this machine's GPU. "
            "Ops for ONNX Runtime have CUDA where there is a GPU and nvcc, or where this names one. "
            "With --wheel the CPU: x86_64 or aarch64; default: this machine's."
        ),
    ] = None,
    cuda: Annotated[
        str | None,
        typer.Option(help="Version of the CUDA toolkit, such as 12.6; default: the nvcc that is found."),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(help="CPU to build for: x86_64 or aarch64; default: this one's."),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(help="Also pack the library: NAME.tar.gz, or a folder; see `plugin install`."),
    ] = None,
    host: _HostOption = _Host.tensorrt,
    wheel: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the ops for ONNX Runtime, on the CPU alone, as a wheel, mimamba-edge-ops."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Build with CMake: for TensorRT with nvcc and its headers; for ONNX Runtime with neither, on the CPU."""
    from mimamba_edge.console import print_json, show_note
    from mimamba_edge.plugins.archive import pack
    from mimamba_edge.plugins.ops_wheel import build_wheel

    native = host is _Host.onnxruntime
    library: NativeOps | PluginLibrary | None = None
    if wheel is not None:
        _check_wheel(arch or (), native=native, others=bool(out or cuda or machine or archive))
        with _progress() as step:
            packed = build_wheel(wheel, machine=arch[0] if arch else None, progress=step)
        built: dict[str, Any] = {"wheel": str(packed)}
    else:
        make = _native_ops if native else _plugins
        library = make(arch or (), out, cuda, machine)
        built = library.to_dict()
        if archive is not None:
            built["archive"] = str(pack(library, archive))
    if json:
        print_json(built)
    else:
        show_note(built.get("archive") or built.get("wheel") or built["path"])
    if library and library.problem:
        raise library.problem


def _check_wheel(arch: Sequence[str], *, native: bool, others: bool) -> None:
    from mimamba_edge.errors import ConfigError

    if not native or others:
        raise ConfigError(
            "--wheel packs the ops for ONNX Runtime and writes nothing else",
            do="add --host onnxruntime, and leave out -o, --cuda, --machine and --archive",
        )
    if arch and (len(arch) > 1 or arch[0] not in _MACHINES):
        raise ConfigError(
            "with --wheel, --arch names one CPU: a wheel has no CUDA",
            got=arch,
            expected=" or ".join(_MACHINES),
        )


def _native_ops(arch: Sequence[str], out: Path | None, cuda: str | None, machine: str | None) -> NativeOps:
    from mimamba_edge.errors import ConfigError
    from mimamba_edge.plugins.build_onnxruntime import build_native_ops, cuda_architectures

    if cuda or (machine and arch):
        raise ConfigError(
            "no CUDA of another version or for another CPU goes into the ops for ONNX Runtime",
            do="leave out --cuda, and --machine or --arch: a Jetson's GPU runs TensorRT's plans",
        )
    archs = () if machine else cuda_architectures(arch)
    with _progress() as step:
        return build_native_ops(out, archs=archs, machine=machine, progress=step)


def _plugins(arch: Sequence[str], out: Path | None, cuda: str | None, machine: str | None) -> PluginLibrary:
    from mimamba_edge.plugins.build import architectures, build_plugin

    archs = architectures(arch)
    with _progress() as step:
        return build_plugin(archs, out, cuda=cuda, machine=machine, progress=step)


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    """Show a bar; give what moves it to a share of the whole, with words."""
    from mimamba_edge.console import progress

    with progress("building the plugins", total=1.0) as bar:
        done = 0.0

        def step(share: float, what: str) -> None:
            nonlocal done
            bar.advance(share - done)
            bar.describe(what[:60])
            done = share

        yield step


@plugin.command()
def install(
    archive: Annotated[Path, typer.Argument(help="What `plugin build --archive` wrote.")],
    json: Json = False,
) -> None:
    """Install a packed library where build, stream and the service find it; no compiler is needed.

    For TensorRT and for ONNX Runtime. As root in /usr/local/lib/mimamba-edge for all users, else in this
    user's cache.
    """
    from mimamba_edge.console import print_json, show_note
    from mimamba_edge.plugins.install import install as unpack

    library = unpack(archive)
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
    host: _HostOption = _Host.tensorrt,
    json: Json = False,
) -> None:
    """Print the path of the library that would be used, for scripts and trtexec --staticPlugins."""
    from mimamba_edge.console import show_note
    from mimamba_edge.runtime.native_ops import need_native_ops
    from mimamba_edge.trt.library import autoreg_path, describe_library, find_plugin

    if host is _Host.onnxruntime:
        found = need_native_ops().path
    else:
        found = find_plugin().path
        found = describe_library(autoreg_path(found)).path if autoreg else found
    show_note(str(found))
    deliver("plugin path", {"path": str(found), "host": host.value}, json, None)


@plugin.command("list")
def list_libraries(host: _HostOption = _Host.tensorrt, json: Json = False) -> None:
    """List the libraries, in the order in which they would be used."""
    from mimamba_edge.console import print_json, show_note, show_table
    from mimamba_edge.runtime.native_ops import BUILD, list_native_ops, native_folder
    from mimamba_edge.trt.library import BUILD as TENSORRT_BUILD
    from mimamba_edge.trt.library import list_plugins, plugin_folder

    native = host is _Host.onnxruntime
    found = [library.to_dict() for library in (list_native_ops() if native else list_plugins())]
    rows = [(_native_row if native else _row)(library) for library in found]
    if json:
        print_json(found)
    elif not found:
        folder, command = (native_folder(), BUILD) if native else (plugin_folder(), TENSORRT_BUILD)
        show_note(f"none in {folder}: {command}")
    elif native:
        columns = ("file", "ops", "CPU", "instruction set", "CUDA", "architectures", "state")
        show_table("", columns, rows, left=range(7))
    else:
        header = ("file", "ops", "TensorRT headers", "CUDA", "architectures", "state")
        show_table("", header, rows, left=range(6))


def _native_row(found: dict[str, Any]) -> tuple[str, ...]:
    info, state = found["info"] or {}, (found["problem"] or "ok").splitlines()[0]
    ops = ", ".join(f"{name} {version}" for name, version in info.get("ops", {}).items())
    archs = ", ".join(map(str, info.get("architectures", ()))) or "none"
    cuda = info.get("cuda") or "none"
    return found["path"], ops or "?", info.get("machine", "?"), found["target"] or "", cuda, archs, state


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    state = (found["problem"] or "ok").splitlines()[0]
    info = found["info"]
    if info is None:
        return found["path"], "?", "?", "?", "?", state if found["problem"] else "ok, without manifest"
    ops = ", ".join(f"{name} {version}" for name, version in info["ops"].items())
    archs = ", ".join(map(str, info["architectures"])) or "host, for tests"
    return found["path"], ops, info["tensorrt_headers"], info["cuda"] or "none", archs, state

"""Packs the native ops for ONNX Runtime as a wheel, ``mimamba-edge-ops``: no compiler where it is installed.

The wheel holds one library for one kind of CPU and nothing for one Python: ``py3-none-manylinux_2_N_ARCH``,
with the glibc that the library's symbols need.
:mod:`mimamba_edge.runtime.native_ops` finds it by the package's name.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import manifest_path, write_bytes
from mimamba_edge.machine.elf import architecture, needed_versions
from mimamba_edge.outputs import Kind, check_outputs
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.plugins.licences import COMPILER_NOTICE, our_licence
from mimamba_edge.runtime.native_ops import LIBRARY, PACKAGE, NativeOps

__all__ = ["build_wheel", "wheel_name", "write_wheel"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
_DESCRIPTION = """\
The scan of Mamba-1 and the temporal block of MS-iMamba as custom ops for ONNX Runtime on the CPU: vector code
for SSE2, AVX2, AVX-512 and NEON. mimamba-edge finds them by itself; another program gives
`SessionOptions.register_custom_ops_library` the file in this package.
"""
_INIT = '"""The native ops of mimamba-edge for ONNX Runtime: the library beside this file."""\n'


def _glibc(library: Path) -> int:
    """Return N of the newest ``GLIBC_2.N`` that a library asks for; no tag is below 17."""
    asked = [re.match(r"GLIBC_2\.(\d+)", version) for version in needed_versions(library)]
    return max(17, *(int(found[1]) for found in asked if found))


def _tag(library: Path) -> str:
    return f"py3-none-manylinux_2_{_glibc(library)}_{architecture(library)}"


def wheel_name(library: Path) -> str:
    """Return the file name of the wheel of a library."""
    return f"{PACKAGE}-{__version__}-{_tag(library)}.whl"


def build_wheel(
    folder: Path, *, machine: str | None = None, progress: Callable[[float, str], None] | None = None
) -> Path:
    """Build the library for any system of a CPU, pack it, and return the wheel's path.

    Args:
        folder: Where it goes.
        machine: CPU, as ``platform.machine()`` says it; by default this one.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        DependencyError: There is no CMake, or no C++ compiler for this CPU.
        BuildError: The build failed; the message holds its last words.
        OutputError: The folder cannot be written, or holds another file of that name.
    """
    with tempfile.TemporaryDirectory() as work:
        return write_wheel(
            build_native_ops(Path(work), machine=machine, portable=True, progress=progress), folder
        )


def write_wheel(ops: NativeOps, folder: Path) -> Path:
    """Write the wheel of a library that ``build_native_ops`` made; return its path.

    Args:
        ops: A library with its manifest, without a problem.
        folder: Where it goes.

    Raises:
        PluginError: The library cannot be used.
        DependencyError: mimamba-edge is not installed: its licence goes with the library.
        OutputError: The folder cannot be written, or holds another file of that name.
    """
    if ops.problem:
        raise ops.problem
    path = Path(folder) / wheel_name(ops.path)
    check_outputs([(path, Kind("a wheel that `plugin build --wheel` wrote", zipfile.is_zipfile))])
    info = f"{PACKAGE}-{__version__}.dist-info"
    metadata = (
        "Metadata-Version: 2.4",
        f"Name: {PACKAGE.replace('_', '-')}",
        f"Version: {__version__}",
        "Summary: Native ops of mimamba-edge for ONNX Runtime on the CPU.",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        "License-File: NOTICE",
        "Requires-Python: >=3.10",
        "Description-Content-Type: text/markdown",
        "",
        _DESCRIPTION,
    )
    wheel = (
        "Wheel-Version: 1.0",
        "Generator: mimamba-edge",
        "Root-Is-Purelib: false",
        f"Tag: {_tag(ops.path)}",
    )
    files = {
        f"{PACKAGE}/__init__.py": _INIT.encode(),
        f"{PACKAGE}/{LIBRARY}": ops.path.read_bytes(),
        f"{PACKAGE}/{manifest_path(Path(LIBRARY)).name}": manifest_path(ops.path).read_bytes(),
        f"{info}/licenses/LICENSE": our_licence().encode(),
        f"{info}/licenses/NOTICE": COMPILER_NOTICE.encode(),
        f"{info}/METADATA": "\n".join((*metadata, "")).encode(),
        f"{info}/WHEEL": "\n".join((*wheel, "")).encode(),
    }
    rows = [f"{name},{_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join((*rows, f"{info}/RECORD,,", "")).encode()
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _zipped(files))
    return path


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip archive whose bytes follow from the files' alone."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return held.getvalue()

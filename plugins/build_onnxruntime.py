"""Builds the custom ops for ONNX Runtime and writes the manifest beside them."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.files import writing_failed
from mimamba_edge.outputs import BUILD_LOG, check_outputs, native_ops_beside
from mimamba_edge.plugins import SOURCES
from mimamba_edge.plugins.cmake import LOG, build_targets, find_tool, said
from mimamba_edge.runtime.native_ops import (
    LIBRARY,
    NativeInfo,
    NativeOps,
    describe_native_ops,
    native_folder,
)

__all__ = ["build_native_ops", "compile_native_ops"]


def _compiler() -> str:
    find_tool("cmake")
    return (said(find_tool(os.environ.get("CXX", "g++")), "--version").splitlines() or ["unknown"])[0]


def _key(compiler: str) -> str:
    digest = hashlib.sha256()
    for path in (SOURCES / "CMakeLists.txt", *sorted((SOURCES / "onnxruntime").iterdir())):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    digest.update(repr((__version__, compiler, platform.machine())).encode())
    return digest.hexdigest()[:16]


def compile_native_ops(
    work: Path,
    log: Path,
    *,
    settings: dict[str, str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Path:
    """Compile the library and return its path, ``work/lib/libmimamba_ort.so``.

    Args:
        work: Folder of the build's own.
        log: File that gets all that is printed.
        settings: More variables of CMake.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        DependencyError: There is no CMake or no C++ compiler.
        BuildError: The compiler refused; the message names the log and its last words.
    """
    given = {"CMAKE_BUILD_TYPE": "Release", "MIMAMBA_ONNXRUNTIME_ONLY": "ON", "MIMAMBA_VERSION": __version__}
    build_targets(("mimamba_ort",), work, log, {**given, **(settings or {})}, progress=progress)
    return work / "lib" / LIBRARY


def build_native_ops(
    out: Path | None = None, *, progress: Callable[[float, str], None] | None = None
) -> NativeOps:
    """Build the library and its manifest with CMake and a C++ compiler.

    Nothing but the log is in ``out`` before all is built. In the cache, what was built of the same sources
    with the same compiler is taken as it is.

    Args:
        out: Folder; by default one of its own in the cache.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        DependencyError: There is no CMake or no C++ compiler.
        OutputError: ``out`` cannot be written.
        BuildError: The build failed; the message names the log and its last words.
    """
    compiler = _compiler()
    folder = (Path(out) if out is not None else native_folder() / _key(compiler)).absolute()
    library = folder / LIBRARY
    if out is None and library.is_file():
        held = describe_native_ops(library)
        if held.info is not None and held.problem is None:
            return held
    check_outputs([(library, native_ops_beside(library)), (folder / LOG, BUILD_LOG)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
            built = compile_native_ops(Path(work), folder / LOG, progress=progress)
            info = NativeInfo(
                file=LIBRARY,
                sha256=sha256_file(built),
                mimamba_edge=__version__,
                ops=OPS,
                machine=platform.machine(),
                compiler=compiler,
            )
            # The manifest goes first: a reader in between finds it and the old library in disagreement.
            write_json(manifest_path(library), info.to_dict())
            built.replace(library)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return describe_native_ops(library)

"""What tests compile, made once: by any test process of this user, and again only when its sources change."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mimamba_edge.plugins import SOURCES
from mimamba_edge.plugins.cmake import LOG, build_targets, said

_KEPT_S = 14 * 86400
_SOURCES = ("kernels", "harness", "tensorrt", "onnxruntime")


def digest_of(files: Iterable[Path], *more: str) -> str:
    digest = hashlib.sha256("\n".join(more).encode())
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two test processes build a thing once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(name: str, digest: str, make: Callable[[Path], object]) -> Path:
    """Return the folder ``name-digest``, filled by ``make`` if it is not whole."""
    root = Path(tempfile.gettempdir()) / f"mimamba-ptx-{os.getuid()}"
    root.mkdir(exist_ok=True)
    folder = root / f"{name}-{digest}"
    whole = folder / "whole"
    with _locked(root / f"{name}-{digest}.lock"):
        if not whole.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            _prune(root)
        whole.touch()
    return folder


def _prune(root: Path) -> None:
    """Take away what no test has asked for in two weeks."""
    for whole in root.glob("*/whole"):
        if time.time() - whole.stat().st_mtime > _KEPT_S:
            shutil.rmtree(whole.parent, ignore_errors=True)
            (root / f"{whole.parent.name}.lock").unlink(missing_ok=True)


def cxx() -> str:
    """Return the C++ compiler; the test is skipped where it or CMake is absent."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None or shutil.which("cmake") is None:
        pytest.skip("needs CMake and a C++ compiler: apt install cmake g++")
    return compiler


def plugin_build(
    name: str,
    targets: Sequence[str],
    settings: Mapping[str, str],
    compiler: str,
    *,
    folders: Sequence[str] = ("kernels", "harness", "tensorrt", "onnxruntime"),
    headers: Path | None = None,
) -> Path:
    """Return the folder in which targets of ``plugins/CMakeLists.txt`` were built: ``lib/`` and ``build/``.

    Args:
        name: Of these targets.
        targets: What is built.
        settings: Variables of CMake.
        compiler: Whose version tells one build from another.
        folders: Those of ``plugins`` whose files are compiled.
        headers: Folder that holds TensorRT's ``include/``.
    """
    files = [path for folder in folders for path in (SOURCES / folder).rglob("*") if path.is_file()]
    files += [SOURCES / "CMakeLists.txt", *([headers / "include" / "NvInferVersion.h"] if headers else [])]
    digest = digest_of(files, *map(str, settings.items()), said(compiler, "--version"))
    return kept(name, digest, lambda work: build_targets(targets, work, work / LOG, settings, jobs=2))

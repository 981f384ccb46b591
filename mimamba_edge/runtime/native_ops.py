"""The library of custom ops for ONNX Runtime: where it lies, whether it can be used, how a session gets it.

ONNX Runtime prefers a registered kernel to a model's function body of the same name (tried with 1.23.2 and
1.31.1), so that a portable file runs by either. Without a library nothing changes. One library has the ops
for every provider, since a session takes one library for a domain; its CUDA half is there where it was
built with nvcc.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import cache_folder, load_library_manifest, manifest_path, sha256_file
from mimamba_edge.console import show_warning
from mimamba_edge.contract import OPS
from mimamba_edge.errors import MimambaError, PluginError
from mimamba_edge.machine.elf import architecture, cut_off
from mimamba_edge.machine.gpu import architectures

__all__ = [
    "BUILD",
    "CPU",
    "CUDA",
    "LIBRARY",
    "PACKAGE",
    "PRECISIONS",
    "SYSTEM_FOLDER",
    "NativeInfo",
    "NativeOps",
    "describe_native_ops",
    "find_native_ops",
    "install_folder",
    "list_native_ops",
    "native_folder",
    "need_native_ops",
    "register",
    "usable_native_ops",
    "warn_of_bodies",
]

LIBRARY = "libmimamba_ort.so"
PACKAGE = "mimamba_edge_ops"
"""The wheel that holds a library, where one is installed."""

BUILD = "mimamba-edge plugin build --host onnxruntime"
"""The command that makes a library, for messages."""

CPU, CUDA = "cpu", "cuda"
PRECISIONS = ("fp32", "fp16")
"""Of the files that native ops run. An INT8 file computes otherwise, inside its bodies."""

FORMAT = 4
"""Of the manifest. A library of format 3 or less has no scan for training."""
SYSTEM_FOLDER = Path("/usr/local/lib/mimamba-edge/onnxruntime-ops")
"""Of libraries that every user of this machine finds, services too (Filesystem Hierarchy Standard 3.0)."""
_VARIABLE = "MIMAMBA_ORT_OPS"
_NONE = "none"


@dataclass(frozen=True)
class NativeInfo:
    """What stands in ``libmimamba_ort.so.json``.

    Attributes:
        file: Name of the library.
        sha256: Of the library.
        mimamba_edge: Version of the package whose sources were built.
        ops: Versions of the custom ops.
        machine: What it was compiled for, as ``platform.machine()`` says it.
        compiler: Version line of the C++ compiler.
        providers: Of ONNX Runtime, that there are ops for: ``"cpu"``, and ``"cuda"`` where they were built.
        architectures: Compute capabilities times ten that there is machine code and PTX for; none without
            CUDA.
        cuda: Version of nvcc, whose runtime is inside; ``None`` without CUDA.
    """

    file: str
    sha256: str
    mimamba_edge: str
    ops: Mapping[str, int]
    machine: str
    compiler: str
    providers: tuple[str, ...] = (CPU,)
    architectures: tuple[int, ...] = ()
    cuda: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"native_ops_format": FORMAT, **asdict(self), "ops": dict(self.ops)}

    @classmethod
    def load(cls, library: Path) -> NativeInfo:
        """Read the manifest beside a library.

        Raises:
            PluginError: It is not readable, of another format or malformed.
        """
        return load_library_manifest(
            library, cls, key="native_ops_format", number=FORMAT, what="native ops", build=BUILD
        )


@dataclass(frozen=True)
class NativeOps:
    """A library file as it is now.

    Attributes:
        path: Absolute.
        sha256: Of its bytes.
        info: Its manifest; ``None`` where there is none, or for a library that is not looked into.
        target: Instruction set that its kernels use on this CPU; ``None`` where it cannot be used.
        problem: Why it cannot be used, in words; ``None`` if nothing speaks against it.
        providers: Of ONNX Runtime, that it has ops for, as it says itself; none where it cannot be used.
    """

    path: Path
    sha256: str
    info: NativeInfo | None
    target: str | None
    problem: PluginError | None = field(default=None, compare=False)
    providers: tuple[str, ...] = ()

    @property
    def architectures(self) -> tuple[int, ...]:
        """Compute capabilities times ten that it has code for; none where there is no manifest."""
        return self.info.architectures if self.info else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "info": self.info.to_dict() if self.info else None,
            "target": self.target,
            "providers": list(self.providers),
            "problem": str(self.problem) if self.problem else None,
        }


class _Info(ctypes.Structure):
    """``MimambaOrtInfo`` of ``plugins/onnxruntime/register.cpp``."""

    _fields_ = (
        ("version", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("scan_version", ctypes.c_int),
        ("mstb_version", ctypes.c_int),
        ("providers", ctypes.c_char_p),
    )


def native_folder() -> Path:
    """Return the folder of the libraries that ``plugin build --host onnxruntime`` makes; not made here."""
    return cache_folder() / "onnxruntime-ops"


def install_folder() -> Path:
    """Return where ``plugin install`` puts libraries: the system's folder for root, else the user's cache."""
    return SYSTEM_FOLDER if os.geteuid() == 0 else native_folder()


def describe_native_ops(path: Path, *, machine: str | None = None, load: bool = True) -> NativeOps:
    """Look at a library, and load it if nothing in its file speaks against that.

    Args:
        path: The library.
        machine: CPU that it is to be for, as ``platform.machine()`` says it; by default this one. What is
            for another one is not loaded.
        load: False: the file and its manifest alone are looked at.

    Raises:
        PluginError: There is no such file.
    """
    path = Path(path).absolute()
    if not path.is_file():
        what = "not a file" if path.exists() else "not there"
        raise PluginError(f"the native ops {path} are {what}", do=f"check the path, or build them: {BUILD}")
    digest, info = sha256_file(path), None
    machine = machine or platform.machine()
    try:
        _check_file(path, machine)
        if manifest_path(path).is_file():
            info = NativeInfo.load(path)
            if info.sha256 != digest:
                raise PluginError(
                    f"the native ops {path} do not match their manifest",
                    got=f"sha256 {digest}",
                    expected=f"sha256 {info.sha256}",
                    do=f"copy both files again, or build them again: {BUILD}",
                )
            _check_ops(path, info.ops)
        here = load and machine == platform.machine()
        target, providers = _load(path, digest) if here else (None, info.providers if info else ())
    except PluginError as error:
        return NativeOps(path, digest, info, None, error)
    return NativeOps(path, digest, info, target, providers=providers)


def _check_file(path: Path, machine: str) -> None:
    if cut_off(path):
        raise PluginError(
            f"the native ops {path} are cut off", do=f"copy them again, or build them again: {BUILD}"
        )
    made_for = architecture(path)
    if made_for != machine:
        raise PluginError(
            f"the native ops {path} are for another CPU",
            got=made_for or "not a shared library",
            expected=machine,
            do=f"build them on this machine: {BUILD}",
        )


def _check_ops(path: Path, ops: Mapping[str, int]) -> None:
    if dict(ops) != OPS:
        raise PluginError(
            f"the native ops {path} have other versions than this mimamba-edge knows",
            got=_versions(ops),
            expected=_versions(OPS),
            do=f"build them again: {BUILD}",
        )


def _versions(ops: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(ops.items())) or "none"


@cache
def _load(path: Path, sha256: str) -> tuple[str, tuple[str, ...]]:
    """Return a library's instruction set here and its providers; asked once of the same bytes."""
    del sha256
    info = _Info()
    try:
        ask = ctypes.CDLL(str(path)).mimamba_ort_info
    except (OSError, AttributeError) as error:
        raise PluginError(
            f"the native ops {path} cannot be loaded", got=error, do=f"build them again: {BUILD}"
        ) from error
    ask.restype = None
    ask(ctypes.byref(info))
    _check_ops(path, {"SelectiveScan": info.scan_version, "MultiScaleTemporalBlock": info.mstb_version})
    return (info.target or b"").decode(), tuple((info.providers or b"").decode().split())


def list_native_ops() -> list[NativeOps]:
    """Return all libraries: the one that ``MIMAMBA_ORT_OPS`` names, else the cache's, then the system's.

    Those of a folder newest first. After them comes that of an installed ``mimamba-edge-ops``. With
    ``MIMAMBA_ORT_OPS=none`` there are none.

    Raises:
        PluginError: ``MIMAMBA_ORT_OPS`` names no file.
    """
    named = os.environ.get(_VARIABLE)
    if named:
        return [] if named == _NONE else [describe_native_ops(Path(named))]
    held: list[Path] = []
    for folder in (native_folder(), SYSTEM_FOLDER):
        held += sorted(folder.glob(f"*/{LIBRARY}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    return [describe_native_ops(path) for path in (*held, *_installed())]


def _installed() -> list[Path]:
    spec = importlib.util.find_spec(PACKAGE)
    library = Path(spec.origin).with_name(LIBRARY) if spec and spec.origin else None
    return [library] if library and library.is_file() else []


def find_native_ops(provider: str = CPU) -> NativeOps | None:
    """Return the library to use: the first that can be used; ``None`` if none has ops for the provider.

    Args:
        provider: ``"cpu"`` or ``"cuda"``.

    Raises:
        PluginError: There are some, and none can be used: why the first cannot.
    """
    found = list_native_ops()
    usable = [one for one in found if one.problem is None]
    if found and found[0].problem and not usable:
        raise found[0].problem
    fitting = [one for one in usable if provider in one.providers]
    if provider != CUDA or not fitting:
        return fitting[0] if fitting else None
    here = architectures()
    running = [one for one in fitting if _has_code(one, here)]
    if not running:
        raise PluginError(
            f"the native ops {fitting[0].path} have no code for this GPU",
            got=list(fitting[0].architectures),
            expected=f"{here[0]}, or an earlier one",
            do=f"{BUILD} --arch {here[0]}",
        )
    return running[0]


def _has_code(ops: NativeOps, here: Sequence[int]) -> bool:
    """Whether a GPU of this machine can run a library: PTX beside the machine code serves later ones."""
    known = ops.architectures
    return not here or not known or any(arch <= sm for arch in known for sm in here)


def usable_native_ops(provider: str) -> NativeOps | None:
    """Return the library to use, or ``None``, with a warning where there are some and none can be used."""
    try:
        return find_native_ops(provider)
    except PluginError as error:
        warn_of_bodies(error)
        return None


def warn_of_bodies(error: MimambaError) -> None:
    """Say that function bodies run, and why native ops do not."""
    show_warning(f"the custom ops run by their function bodies, slower than native ops: {error}")


def need_native_ops() -> NativeOps:
    """Return the library to use.

    Raises:
        PluginError: There is none, or none that can be used.
    """
    found = find_native_ops()
    if found is None:
        raise PluginError(
            "no native ops for ONNX Runtime were built", got=f"none in {native_folder()}", do=BUILD
        )
    return found


def register(options: Any, ops: NativeOps) -> None:
    """Give a session's options the kernels of a library.

    Args:
        options: ``onnxruntime.SessionOptions``.
        ops: A library without a problem.

    Raises:
        PluginError: ONNX Runtime refuses it: it is older than 1.20, or was built without custom ops.
    """
    try:
        options.register_custom_ops_library(str(ops.path))
    except Exception as error:  # of several classes, by version
        raise PluginError(
            f"ONNX Runtime does not take the native ops {ops.path}",
            got=str(error).replace("[ONNXRuntimeError] : ", ""),
            expected="ONNX Runtime 1.20 or later",
            do="install a newer onnxruntime, or run without them: MIMAMBA_ORT_OPS=none",
        ) from error

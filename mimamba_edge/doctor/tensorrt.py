"""What `doctor` looks at for TensorRT: the package, NumPy against its bindings, CUDA, plugin libraries."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mimamba_edge.doctor.health_check import HealthCheck, import_version
from mimamba_edge.errors import pip_install
from mimamba_edge.naming import version_numbers

if TYPE_CHECKING:
    from mimamba_edge.trt.library import PluginLibrary

__all__ = ["cuda", "numpy_against_bindings", "plugins", "tensorrt"]

_BINDINGS = "python3-libnvinfer"
"""Debian's package of TensorRT's Python bindings, in JetPack 6 and 7."""
_LIBRARIES = tuple(
    f"{name}{major}" for major in (10, 11) for name in ("libnvinfer", "libnvinfer-plugin", "libnvonnxparsers")
)
_SAME_VERSION = "install the library and its Python package in the same version, and its CUDA libraries"
_FIRST, _LAST_MAJOR = (10, 3), 11
_PARTIAL = ("tensorrt_lean", "tensorrt_dispatch", "tensorrt_lean_bindings", "tensorrt_dispatch_bindings")


def _system_python(root: Path) -> str | None:
    """Return the Python, as ``"3.10"``, whose system packages hold TensorRT; ``None`` if none does."""
    for package in sorted(root.glob("usr/lib/python3*/dist-packages/tensorrt/__init__.py")):
        return package.parts[-4].removeprefix("python")
    return None


def tensorrt(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at the TensorRT of this Python."""
    from mimamba_edge.machine.jetson import is_jetson

    version, why = import_version("tensorrt")
    board = is_jetson(root)
    if version is None:
        yield _absent(root, why, board)
        return
    number = version_numbers(version, 2)
    spec = importlib.util.find_spec("tensorrt")
    origin = (spec.origin if spec else None) or ""
    if number < _FIRST:
        remedy = "TensorRT 10.3 or later: on a Jetson JetPack 6.1 or later"
        yield HealthCheck("TensorRT", "wrong", f"{version}: too old for the plugins", remedy)
    elif board and ("dist-packages" not in origin or origin.startswith("/usr/local/")):
        names = " ".join(_of_pip()) or "tensorrt"
        value = f"{version} of pip, {origin}: only JetPack's fits the board"
        yield HealthCheck("TensorRT", "wrong", value, f"pip uninstall -y {names}")
    elif number[0] > _LAST_MAJOR:
        yield HealthCheck("TensorRT", "warning", version, "tested with 10.3 to 11.x")
    else:
        yield HealthCheck("TensorRT", "ok", f"{version}, {origin}")


def _of_pip() -> list[str]:
    """Return the packages of TensorRT that pip installed, by the names that pip knows them by."""
    names = {str(one.metadata["Name"]) for one in importlib.metadata.distributions(path=_own_folders())}
    return sorted(name for name in names if re.fullmatch(r"tensorrt([-_]cu\d+)?([-_](bindings|libs))?", name))


def _own_folders() -> list[str]:
    """Return the folders that pip installs into: Debian's own packages lie in /usr/lib/python3*."""
    return [
        one
        for one in sys.path
        if one.endswith(("/site-packages", "/dist-packages")) and not one.startswith("/usr/lib/")
    ]


def _unseen(made_for: str) -> HealthCheck:
    """Return the line of a TensorRT that is installed and that this Python does not see."""
    here, system = f"{sys.version_info[0]}.{sys.version_info[1]}", "/usr/bin/python3"
    again = f"{sys.prefix}, then install mimamba-edge there again"
    if sys.prefix == sys.base_prefix:
        again = "/opt/mimamba-edge, then install mimamba-edge there (docs/jetson.md)"
    if made_for not in ("3", here):
        value = f"installed for Python {made_for}, and this is {here}"
        remedy = f"/usr/bin/python{made_for} -m venv --clear --system-site-packages {again}"
        return HealthCheck("TensorRT", "wrong", value, remedy)
    if sys.base_prefix != "/usr":
        value = f"installed for the system's Python, and this one is of {sys.base_prefix}"
        remedy = f"{system} -m venv --clear --system-site-packages {again}"
        return HealthCheck("TensorRT", "wrong", value, remedy)
    value, settings = "installed, but this environment does not see it", Path(sys.prefix) / "pyvenv.cfg"
    if settings.is_file():
        remedy = f"sed -i '/^include-system-site-packages/s/false/true/' {settings}"
        if not os.access(settings, os.W_OK):
            remedy = f"sudo {remedy}"
    else:
        remedy = f"sudo apt install --reinstall {_BINDINGS}"
    return HealthCheck("TensorRT", "wrong", value, remedy)


def _absent(root: Path, why: str, board: bool) -> HealthCheck:
    from mimamba_edge.machine.discrete import gpus
    from mimamba_edge.machine.files import packages

    if why != "not installed":
        held = packages(root, *_LIBRARIES) if board else {}
        remedy = f"sudo apt install --reinstall {' '.join(held)}" if held else _SAME_VERSION
        return HealthCheck("TensorRT", "wrong", why, remedy)
    if made_for := _system_python(root):
        return _unseen(made_for)
    if board and packages(root, *_LIBRARIES):
        value = "its library is installed, its Python package is not"
        return HealthCheck("TensorRT", "wrong", value, f"sudo apt install {_BINDINGS}")
    if board:
        remedy = "sudo apt install nvidia-jetpack; not with pip (docs/jetson.md)"
        return HealthCheck("TensorRT", "warning", why, remedy)
    partial = [name for name in _PARTIAL if importlib.util.find_spec(name)]
    if partial:
        remedy = "to build and run engines: the full TensorRT, 10.3 or later"
        return HealthCheck("TensorRT", "warning", f"only {', '.join(partial)}", remedy)
    remedy = f"for engines: {pip_install('tensorrt')}; before driver 580: docs/nvidia-pc.md"
    return HealthCheck("TensorRT", "ok", "not on this machine", remedy if gpus() else "")


def numpy_against_bindings() -> Iterator[HealthCheck]:
    """Look whether NumPy is one that TensorRT's Python bindings were built for.

    Bindings built with pybind11 before 2.12 (TensorRT 10.3's of JetPack 6 are) read NumPy 2's item size as
    0 (pybind11 pull request 5050): ``trt.Weights.numpy()`` then gives arrays in which all values are the
    first one, without an error (tried with 10.3.0 and NumPy 2.4.6). Addresses, shapes and ``trt.nptype``
    are not touched by it, so engines are built and run as they should.
    """
    version, _ = import_version("tensorrt")
    if version is None:
        return
    import numpy

    module = importlib.import_module("tensorrt")
    folder = Path(str(module.__file__)).parent
    libraries = sorted((*folder.glob("tensorrt*.so"), *folder.parent.glob("tensorrt_bindings/tensorrt*.so")))
    # Newer pybind11 looks NumPy 2's home up by this name.
    old = any(
        b"numpy.core" in data and b"numpy._core" not in data for data in map(Path.read_bytes, libraries)
    )
    both = f"NumPy {numpy.__version__}, TensorRT {version}"
    if old and int(numpy.__version__.split(".")[0]) >= 2:
        yield HealthCheck(
            "NumPy, TensorRT",
            "warning",
            f"{both}: its bindings are for NumPy 1; engines run, but trt.Weights.numpy() gives wrong values",
            'if your own code reads weights: pip install "numpy<2"',
        )
    elif libraries:
        yield HealthCheck("NumPy, TensorRT", "ok", both)


def cuda(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look whether cuda-bindings, driver and device fit; no line where there is neither GPU nor package."""
    from mimamba_edge.errors import DependencyError, EngineError
    from mimamba_edge.machine.gpu import first_capability
    from mimamba_edge.machine.jetson import cuda_version
    from mimamba_edge.trt.cuda import load_cuda

    gpu = first_capability(root) is not None
    try:
        device = load_cuda().device()
    except DependencyError as error:
        if gpu:
            cuda = cuda_version(root)
            remedy = error.do or ""
            if cuda:
                remedy = f'pip install "cuda-bindings~={"12.6" if cuda.startswith("12") else "13.0"}"'
            yield HealthCheck("cuda-bindings", "warning", error.what, remedy)
        return
    except EngineError as error:
        if gpu:
            value = f"{error.what}; {error.got}" if error.got else error.what
            yield HealthCheck("cuda-bindings", "wrong", value, error.do or "check the driver")
        else:
            version = importlib.metadata.version("cuda-bindings")
            yield HealthCheck("cuda-bindings", "ok", f"{version}, not usable without a GPU")
        return
    value = f"CUDA {device.runtime}, driver for {device.driver}, {device.name}, SM {device.sm}"
    yield HealthCheck("cuda-bindings", "ok", f"{value}, {device.sm_count} SMs")


def plugins(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at the plugin libraries, newest first; no line where there is neither one nor a GPU."""
    from mimamba_edge.errors import PluginError
    from mimamba_edge.machine.gpu import first_capability
    from mimamba_edge.trt.library import list_plugins

    sm = first_capability(root)
    try:
        found = list_plugins()
    except PluginError as error:
        yield HealthCheck("plugin library", "wrong", error.what, error.do or "check MIMAMBA_PLUGIN")
        return
    if not found and sm is not None:
        yield HealthCheck("plugin library", "warning", "none", "to build engines: mimamba-edge plugin build")
    for library in found:
        yield _plugin(library, sm)


def _plugin(library: PluginLibrary, sm: int | None) -> HealthCheck:
    from mimamba_edge.errors import PluginError
    from mimamba_edge.trt.library import check_architecture, check_cpu

    info, again = library.info, "build it again: mimamba-edge plugin build"
    parts = [f"{library.path}, sha256 {library.sha256[:12]}"]
    if info is not None:
        parts.append(
            f"of mimamba-edge {info.mimamba_edge}, TensorRT {info.tensorrt_headers}, CUDA {info.cuda}"
        )
        parts.append("SM " + ", ".join(map(str, info.architectures)))
    value = ", ".join(parts)
    if problem := library.problem:
        return HealthCheck("plugin library", "wrong", f"{value}; {problem.what}", problem.do or again)
    if info is None:
        return HealthCheck(
            "plugin library", "warning", f"{value}; no manifest: its version is unknown", again
        )
    if info.host_kernels:
        return HealthCheck("plugin library", "warning", f"{value}; runs on the CPU, for tests only", again)
    try:
        check_cpu(library.path, library.path)
    except PluginError as error:
        value += f"; for {error.got}, and this is {error.expected}"
        # Without a GPU it was built for another machine on purpose.
        if sm is None:
            return HealthCheck("plugin library", "ok", f"{value}: not tried, only for another machine")
        return HealthCheck("plugin library", "warning", value, again)
    try:
        if sm:
            check_architecture(library, sm)
    except PluginError as error:
        value += f"; not SM {sm}, this GPU's"
        return HealthCheck("plugin library", "warning", value, error.do or again)
    return HealthCheck("plugin library", "ok", value)

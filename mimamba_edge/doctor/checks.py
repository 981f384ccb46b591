"""What `doctor` looks at. Each check looks at one thing and says what to do about it."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from mimamba_edge.doctor import board as checks_board
from mimamba_edge.doctor import board_setup as checks_setup
from mimamba_edge.doctor import live as checks_live
from mimamba_edge.doctor import onnxruntime as checks_onnxruntime
from mimamba_edge.doctor import plan as checks_plan
from mimamba_edge.doctor import privacy as checks_privacy
from mimamba_edge.doctor import tensorrt as checks_tensorrt
from mimamba_edge.doctor import tensorrt_ops as checks_tensorrt_ops
from mimamba_edge.doctor.health_check import HealthCheck, import_version, with_own_pip
from mimamba_edge.errors import pip_install
from mimamba_edge.serving.device import ModelFile, model_files

__all__ = ["CHECKS", "HealthCheck", "examine", "files"]


def check_python() -> Iterator[HealthCheck]:
    version = platform.python_version()
    if sys.version_info >= (3, 14):
        yield HealthCheck("Python", "warning", version, "tested with 3.10 to 3.13")
    else:
        yield HealthCheck("Python", "ok", f"{version}, {sys.prefix}")


def _base() -> Iterator[HealthCheck]:
    for name in ("numpy", "scipy"):
        version, why = import_version(name)
        remedy = f"pip install --force-reinstall {name}"
        yield HealthCheck(name, "ok", version) if version else HealthCheck(name, "wrong", why, remedy)


def check_workstation() -> Iterator[HealthCheck]:
    from mimamba_edge.bench.environment import cpp_compiler, versions
    from mimamba_edge.optional_packages import EXPORT_PACKAGES

    held = versions()
    missing = [name for name in EXPORT_PACKAGES if not held[name]]
    if missing:
        # A device runs models without them.
        remedy = f"only where models are trained or exported: {pip_install('export')}"
        yield HealthCheck("train, export", "ok", f"not installed: {', '.join(missing)}", remedy)
        return
    yield HealthCheck("train, export", "ok", ", ".join(f"{name} {held[name]}" for name in EXPORT_PACKAGES))
    compiler = cpp_compiler()
    if compiler:
        yield HealthCheck("C++ compiler", "ok", compiler)
    else:
        remedy = "only for torch.compile in bench: apt install g++"
        yield HealthCheck("C++ compiler", "warning", "none found", remedy)


def check_cuda() -> Iterator[HealthCheck]:
    tool = shutil.which("nvidia-smi")
    if tool:
        query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        try:
            run = subprocess.run(query, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.SubprocessError) as error:
            yield HealthCheck("CUDA device", "warning", f"nvidia-smi failed: {error}", "check the driver")
            return
        if run.returncode == 0 and run.stdout.strip():
            yield HealthCheck("CUDA device", "ok", "; ".join(run.stdout.strip().splitlines()))
        else:
            text = (run.stderr or run.stdout).strip().splitlines()
            yield HealthCheck(
                "CUDA device", "warning", text[0] if text else "nvidia-smi failed", "check the driver"
            )
    elif Path("/dev/nvhost-gpu").exists() or Path("/etc/nv_tegra_release").exists():
        yield HealthCheck("CUDA device", "ok", "integrated GPU of a Jetson")
    else:
        yield HealthCheck("CUDA device", "ok", "none: models run on the CPU")


def check_machine(root: Path = Path("/")) -> Iterator[HealthCheck]:
    from mimamba_edge.bench.environment import available_cores, cpu_model
    from mimamba_edge.machine.jetson import is_jetson
    from mimamba_edge.machine.memory import meminfo_bytes

    yield HealthCheck("CPU", "ok", f"{cpu_model()}, {available_cores()} cores, {platform.machine()}")
    free = meminfo_bytes("MemAvailable", root)
    if free is None:
        yield HealthCheck("free memory", "ok", "not readable here")
    else:
        low = free < 500 << 20
        remedy = "stop other programs: export and training need about 2 GiB, a stream 0.2 GiB"
        if is_jetson(root):
            remedy = "close the desktop: sudo systemctl isolate multi-user.target"
        yield HealthCheck(
            "free memory", "warning" if low else "ok", f"{free / 2**30:.1f} GiB", remedy if low else ""
        )
    disk = shutil.disk_usage(Path.cwd()).free
    low = disk < 200 << 20
    remedy = (
        "files that do not fit are not written: sudo apt clean; mimamba-edge data cache --clear"
        if low
        else ""
    )
    yield HealthCheck(
        "free disk", "warning" if low else "ok", f"{disk / 2**30:.1f} GiB in {Path.cwd()}", remedy
    )


def _windows() -> Iterator[HealthCheck]:
    from mimamba_edge.data.window_cache import entries
    from mimamba_edge.errors import ConfigError
    from mimamba_edge.files import cache_folder

    try:
        folder = cache_folder() / "windows"
    except ConfigError:  # a user without a home keeps none
        return
    held = entries(folder)
    size = sum(entry.size_bytes for entry in held) / 1e9
    remedy = "to get the space back: mimamba-edge data cache --clear" if held else ""
    yield HealthCheck("windows kept", "ok", f"{len(held)} data sets, {size:.1f} GB in {folder}", remedy)


def _builtin() -> Iterator[HealthCheck]:
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.errors import ArtifactError, MimambaError
    from mimamba_edge.load import builtin_model

    try:
        path = builtin_model()
    except ArtifactError as error:
        yield HealthCheck("built-in model", "warning", error.what, error.do or "")
        return
    try:
        yield HealthCheck("built-in model", "ok", f"sha256 {Manifest.load(path).sha256[:12]}")
    except MimambaError as error:
        yield HealthCheck("built-in model", "wrong", error.what, "install mimamba-edge again")


CHECKS: tuple[Callable[[], Iterator[HealthCheck]], ...] = (
    check_python,
    _base,
    checks_onnxruntime.onnxruntime,
    checks_onnxruntime.native_ops,
    checks_live.live,
    checks_privacy.telemetry,
    check_workstation,
    check_cuda,
    checks_board.discrete,
    checks_board.jetson,
    checks_setup.setup,
    checks_tensorrt.cuda,
    checks_tensorrt.tensorrt,
    checks_tensorrt.numpy_against_bindings,
    checks_tensorrt.plugins,
    checks_tensorrt_ops.ops,
    check_machine,
    _windows,
    _builtin,
)


def examine(model: Path | None = None) -> list[HealthCheck]:
    """Run all checks.

    Args:
        model: The portable file of a model whose files are looked at, too.

    Raises:
        ConfigError: It is not one.
    """
    found = [] if model is None else [*files(model), *checks_plan.plan(model)]
    found += (finding for check in CHECKS for finding in check())
    return [replace(finding, remedy=with_own_pip(finding.remedy)) for finding in found]


def files(model: Path) -> Iterator[HealthCheck]:
    """Look at the files that belong to a model.

    Raises:
        ConfigError: It is not the portable file of one.
    """
    for file in model_files(model):
        yield _model_file(file)


def _model_file(file: ModelFile) -> HealthCheck:
    if file.problem is None:
        return HealthCheck("model file", "ok", f"{file.path}: {file.purpose}")
    if file.present:
        return HealthCheck("model file", "wrong", file.problem.what, file.problem.do or "export again")
    value = f"{file.path} is not there: {file.purpose}"
    remedy = "where it was exported: mimamba-edge pack NAME.onnx -o NAME.tar; here: tar xf NAME.tar"
    return HealthCheck("model file", "wrong", value, remedy)

"""The machine a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mimamba_edge.files import source_state
from mimamba_edge.machine import clocks, discrete, jetson, power, thermal
from mimamba_edge.machine.files import read_text
from mimamba_edge.machine.memory import meminfo_bytes

__all__ = [
    "PACKAGES",
    "available_cores",
    "board",
    "cpp_compiler",
    "cpu_model",
    "describe",
    "meminfo_bytes",
    "versions",
]

PACKAGES = (
    "mimamba-edge",
    "numpy",
    "scipy",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "onnx",
    "onnxscript",
    "safetensors",
    "joblib",
    "tensorrt",
    "openvino",
)


def versions() -> dict[str, str | None]:
    """Return the installed versions of the packages that matter; ``None`` where one is absent."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's name; on a Jetson, that of the module."""
    module = read_text(root / "proc/device-tree/model")
    if module:
        return module
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def cpp_compiler() -> str | None:
    """Return the C++ compiler that torch.compile would find, or ``None``."""
    named = os.environ.get("CXX")
    return next(
        (found for name in (named, "g++", "clang++", "c++") if name and (found := shutil.which(name))), None
    )


def _load() -> list[float] | None:
    return [round(v, 2) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None


def board(root: Path = Path("/")) -> dict[str, Any] | None:
    """Return what decides a Jetson's speed now, or ``None`` elsewhere."""
    if not jetson.is_jetson(root):
        return None
    mode, gpu = power.power_mode(root), clocks.gpu_clocks(root)
    return {
        "module": jetson.module_name(root),
        "sm": jetson.compute_capability(root),
        "l4t": jetson.l4t_release(root),
        "jetpack": jetson.jetpack(root),
        "power_mode": mode.name if mode else None,
        "gpu_clock_mhz": asdict(gpu) if gpu else None,
        "cpu_clock_mhz": [asdict(cpu) for cpu in clocks.cpu_clocks(root)] or None,
        "clocks_locked": clocks.locked(root),
        "temperature_c": thermal.temperatures(root) or None,
        "throttled": thermal.throttled(root),
        "supply_alarms": thermal.alarms(root),
        "energy_rails": sorted(power.power_rails(root)) or None,
    }


def describe(root: Path = Path("/")) -> dict[str, Any]:
    """Return the environment in plain JSON types. Values that cannot be read are ``None``, never guessed.

    Args:
        root: Where the files of the board are.
    """
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": cpu_model(root),
        "architecture": platform.machine(),
        "cores": available_cores(),
        "memory_bytes": meminfo_bytes("MemTotal", root),
        "governor": governor or None,
        "load": _load(),
        "board": board(root),
        "gpus": [asdict(gpu) for gpu in discrete.gpus()] or None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        **source_state(),
    }

"""Clocks of GPU and CPU from files under ``root``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge.machine.files import read_number, read_text

__all__ = ["Clocks", "cpu_clocks", "cpu_governors", "gpu_clocks", "locked"]

_ROOT = Path("/")
# 17000000.gpu on JetPack 6 and 7, 17000000.ga10b on 5 (Orin); gpu-gpc-0 on Thor, whose GPU is a PCIe device.
_GPU = re.compile(r"^[0-9a-f]+\.(gpu|ga10b|gv11b|gp10b)$|^gpu-gpc-0$")


@dataclass(frozen=True)
class Clocks:
    """A clock and its bounds in MHz."""

    current_mhz: float
    low_mhz: float
    high_mhz: float


def gpu_clocks(root: Path = _ROOT) -> Clocks | None:
    """Return the integrated GPU's clock, or ``None`` where there is none.

    ``cur_freq``, ``min_freq``, ``max_freq`` in Hz of its devfreq device (kernel document
    ABI/testing/sysfs-class-devfreq). ``max_freq`` is what the power mode allows.
    """
    for device in sorted(root.glob("sys/class/devfreq/*")):
        if not _GPU.match(device.name):
            continue
        values = [read_number(device / f"{name}_freq") for name in ("cur", "min", "max")]
        now, low, high = values
        if now is not None and low is not None and high is not None:
            return Clocks(now / 1e6, low / 1e6, high / 1e6)
    return None


def cpu_clocks(root: Path = _ROOT) -> list[Clocks]:
    """Return the clock of each cpufreq policy (kHz files; kernel document admin-guide/pm/cpufreq)."""
    out = []
    for policy in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*")):
        values = [read_number(policy / f"scaling_{name}_freq") for name in ("cur", "min", "max")]
        now, low, high = values
        if now is not None and low is not None and high is not None:
            out.append(Clocks(now / 1e3, low / 1e3, high / 1e3))
    return out


def cpu_governors(root: Path = _ROOT) -> list[str]:
    """Return the distinct cpufreq governors in use, sorted; empty where clocks are not ours to see."""
    found = root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_governor")
    return sorted({text for path in found if (text := read_text(path))})


def locked(root: Path = _ROOT) -> bool | None:
    """Whether jetson_clocks holds GPU and CPU clocks; ``None`` without an integrated GPU.

    The program writes the upper bound into the lower one (Jetson Linux Developer Guide, "Maximizing Jetson
    Performance"; ``jetson_clocks --show`` then prints MinFreq equal to MaxFreq). The memory clock is not
    looked at: it shows only to root.
    """
    gpu = gpu_clocks(root)
    if gpu is None:
        return None
    return all(clock.low_mhz == clock.high_mhz for clock in [gpu, *cpu_clocks(root)])

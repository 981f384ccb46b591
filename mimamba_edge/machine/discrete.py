"""Discrete NVIDIA GPUs, asked of nvidia-smi, which comes with their driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Gpu", "gpus", "parse"]

_FIELDS = (
    "name",
    "driver_version",
    "compute_cap",
    "clocks.sm",
    "clocks.max.sm",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "memory.free",
    "memory.total",
)
# The first name since driver 535, the second before.
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
_CAUSES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}
"""Bits that mean slower than asked for (NVML API reference, NvmlClocksEventReasons); idle is none of them."""


@dataclass(frozen=True)
class Gpu:
    """One GPU; ``None`` where the driver answers ``[N/A]``, as it does for most of these on Jetson."""

    name: str
    driver: str
    sm: int | None
    clock_mhz: float | None
    max_clock_mhz: float | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: float | None
    free_mib: float | None
    total_mib: float | None
    throttled: tuple[str, ...]


def parse(text: str) -> list[Gpu]:
    """Read what ``nvidia-smi --format=csv,noheader,nounits`` printed for :func:`gpus`, one line a GPU."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS) + 1:
            continue
        name, driver, capability, *_, reasons = cells
        clock, top, power, limit, temperature, free, total = (_number(cell) for cell in cells[3:-1])
        mask = int(reasons, 16) if reasons.startswith("0x") else 0
        causes = tuple(cause for bit, cause in _CAUSES.items() if mask & bit)
        sm = int(capability.replace(".", "")) if capability.replace(".", "").isdigit() else None
        found.append(Gpu(name, driver, sm, clock, top, power, limit, temperature, free, total, causes))
    return found


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _nvidia_smi(arguments: Sequence[str]) -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def gpus(ask: Callable[[Sequence[str]], str | None] = _nvidia_smi) -> list[Gpu]:
    """Return the GPUs that the driver shows; an empty list where there is none or it does not answer.

    Args:
        ask: Runs nvidia-smi with these arguments and returns what it printed, ``None`` if it failed.
    """
    for reasons in _REASONS:
        query = ",".join((*_FIELDS, reasons))
        text = ask((f"--query-gpu={query}", "--format=csv,noheader,nounits"))
        if text is not None:
            return parse(text)
    return []

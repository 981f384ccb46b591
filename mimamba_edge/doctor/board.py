"""What `doctor` looks at on a Jetson, and on discrete NVIDIA GPUs: board, power, clocks, temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.doctor.health_check import HealthCheck
from mimamba_edge.machine import discrete as cards
from mimamba_edge.machine.clocks import cpu_governors, gpu_clocks, locked
from mimamba_edge.machine.files import packages, read_text
from mimamba_edge.machine.jetson import (
    JETPACK_OF_L4T,
    compute_capability,
    is_jetson,
    jetpack,
    l4t_release,
    module_name,
    neighbours,
)
from mimamba_edge.machine.memory import meminfo_bytes, swap_bytes, zram_bytes
from mimamba_edge.machine.power import fastest_mode, power_mode, power_modes, power_rails
from mimamba_edge.machine.thermal import alarms, temperatures, throttled
from mimamba_edge.naming import version_numbers

__all__ = ["discrete", "jetson"]

_FIRST_L4T = (36, 4)
"""JetPack 6.1, the first with TensorRT 10.3; 6.0 has 8.6."""
_NEW_RELEASE = "the lines of TensorRT below say whether it works"
_SMALL = 16 << 30
"""Memory of a board on which a builder of engines may need swap."""
_NO_SUPER = (
    "this board has no mode MAXN_SUPER: update its firmware, then flash it again (docs/jetson.md, step 2)"
)
_ADD_SWAP = (
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
    "sudo swapon /swapfile"
)


def jetson(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at the board; no line on other machines."""
    if is_jetson(root):
        for check in (_module, _jetpack, _power_mode, _clocks, _temperature, _supply, _rails, _swap):
            yield check(root)


def _module(root: Path) -> HealthCheck:
    sm = compute_capability(root)
    if sm is None:
        remedy = (
            "in a container: --volume /proc/device-tree:/proc/device-tree:ro, or look on the board itself"
        )
        return HealthCheck("Jetson", "warning", "the device tree cannot be read", remedy)
    value = f"{module_name(root)}, SM {sm}"
    if sm < 87:
        remedy = "Xavier and older end at JetPack 5: run .onnx files on the CPU there"
        return HealthCheck("Jetson", "wrong", f"{value}: no TensorRT that the plugins work with", remedy)
    return HealthCheck("Jetson", "ok", value)


def _jetpack(root: Path) -> HealthCheck:
    release = l4t_release(root)
    if release is None:
        remedy = "in a container: --volume /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        return HealthCheck("JetPack", "warning", "Jetson Linux release cannot be read", remedy)
    value = f"{jetpack(root) or 'unknown'} (Jetson Linux {release})"
    known = release in JETPACK_OF_L4T or packages(root, "nvidia-jetpack")
    if version_numbers(release, 2) < _FIRST_L4T:
        remedy = "flash JetPack 6.1 or later (docs/jetson.md): earlier ones have TensorRT 8"
        return HealthCheck("JetPack", "wrong", value, remedy)
    if not known:
        value += f", which is not known here: {neighbours(release)}"
        return HealthCheck(
            "JetPack",
            "warning",
            value,
            f"git pull && pip install . in the clone of mimamba-edge; {_NEW_RELEASE}",
        )
    return HealthCheck("JetPack", "ok", value)


def _power_mode(root: Path) -> HealthCheck:
    mode, best = power_mode(root), fastest_mode(root)
    if mode is None:
        return HealthCheck("power mode", "warning", "cannot be read", "look on the board itself: nvpmodel -q")
    if best is None or mode == best:
        remedy = _NO_SUPER if _lacks_super(root) else ""
        return HealthCheck("power mode", "ok", mode.name, remedy)
    remedy = f"for the highest clocks ({best.name}): sudo nvpmodel -m {best.number}; on battery keep this"
    return HealthCheck("power mode", "warning", mode.name, remedy)


def _lacks_super(root: Path) -> bool:
    """Whether this is an Orin Nano or NX (modules p3767) that was flashed without its fastest power mode."""
    fast = any(mode.name == "MAXN_SUPER" for mode in power_modes(root))
    return not fast and "p3767" in (read_text(root / "proc/device-tree/compatible") or "")


def _clocks(root: Path) -> HealthCheck:
    gpu = gpu_clocks(root)
    if gpu is None:
        return HealthCheck("clocks", "ok", "cannot be read here")
    value = f"GPU {gpu.current_mhz:.0f} MHz of {gpu.low_mhz:.0f} to {gpu.high_mhz:.0f}"
    governors = ", ".join(cpu_governors(root))
    value += f", CPU governor {governors}" if governors else ""
    if locked(root):
        return HealthCheck("clocks", "ok", f"{value}, locked")
    return HealthCheck("clocks", "ok", f"{value}, not locked", "only before benchmarks: sudo jetson_clocks")


def _temperature(root: Path) -> HealthCheck:
    now = temperatures(root)
    value = ", ".join(f"{name} {celsius:.0f} C" for name, celsius in now.items()) or "not measured"
    held = throttled(root)
    if held:
        remedy = f"sudo jetson_clocks --fan, and air around it; else {_slower(root)}"
        return HealthCheck("temperature", "warning", f"{value}; throttled: {', '.join(held)}", remedy)
    return HealthCheck("temperature", "ok", f"{value}; not throttled" if now else value)


def _slower(root: Path) -> str:
    """Return the command that sets another power mode than the one with the highest clocks."""
    held = (power_mode(root), fastest_mode(root))
    others = [f"{mode.number} ({mode.name})" for mode in power_modes(root) if mode not in held]
    return f"a lower power mode: sudo nvpmodel -m {' or '.join(others)}" if others else "a lower power mode"


def _supply(root: Path) -> HealthCheck:
    counts = alarms(root)
    if counts is None:
        return HealthCheck("power supply", "ok", "alarms are not counted on this machine")
    raised = ", ".join(f"{count} x {name}" for name, count in counts.items() if count)
    if raised:
        remedy = f"a stronger supply, or {_slower(root)}: each alarm slows the clocks down"
        return HealthCheck("power supply", "warning", f"since boot {raised}", remedy)
    return HealthCheck("power supply", "ok", "no alarm since boot")


def _rails(root: Path) -> HealthCheck:
    rails = ", ".join(f"{name} {mw / 1000:.1f} W" for name, mw in power_rails(root).items())
    return HealthCheck("power rails", "ok", rails or "not measured")


def _swap(root: Path) -> HealthCheck:
    zram, disk, total = zram_bytes(root), swap_bytes(root), meminfo_bytes("MemTotal", root)
    if not zram and not disk and total is not None and total < _SMALL:
        value = f"none, with {total / 2**30:.1f} GiB of memory: the builder of engines may be killed"
        return HealthCheck("swap", "warning", value, _ADD_SWAP)
    value = f"{zram / 2**30:.1f} GiB in compressed memory, {disk / 2**30:.1f} GiB on disk"
    return HealthCheck("swap", "ok", value if zram or disk else "none")


def discrete(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at each discrete GPU; no line on a Jetson, whose nvidia-smi knows next to nothing."""
    if is_jetson(root):
        return
    for gpu in cards.gpus():
        parts = [gpu.name, f"SM {gpu.sm}", f"driver {gpu.driver}"]
        if gpu.clock_mhz is not None and gpu.max_clock_mhz is not None:
            parts.append(f"{gpu.clock_mhz:.0f} of {gpu.max_clock_mhz:.0f} MHz")
        if gpu.temperature_c is not None:
            parts.append(f"{gpu.temperature_c:.0f} C")
        if gpu.free_mib is not None:
            parts.append(f"{gpu.free_mib / 1024:.1f} GiB free")
        value = ", ".join(parts)
        if gpu.throttled:
            remedy = "measurements now would be too slow: see nvidia-smi -q -d PERFORMANCE"
            yield HealthCheck(
                "GPU", "warning", f"{value}; clocks limited by {', '.join(gpu.throttled)}", remedy
            )
        else:
            yield HealthCheck("GPU", "ok", value)

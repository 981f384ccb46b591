"""What `doctor` looks at on a Jetson, and on discrete NVIDIA GPUs: board, power, clocks, temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.doctor.health_check import HealthCheck
from mimamba_edge.naming import version_numbers

__all__ = ["discrete", "jetson"]

_FIRST_L4T = (36, 4)
"""JetPack 6.1, the first with TensorRT 10.3; 6.0 has 8.6."""


def jetson(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at the board; no line on other machines."""
    from mimamba_edge.machine.jetson import is_jetson

    if is_jetson(root):
        for check in (_module, _jetpack, _power_mode, _clocks, _temperature, _supply, _rails, _swap):
            yield check(root)


def _module(root: Path) -> HealthCheck:
    from mimamba_edge.machine.jetson import compute_capability, module_name

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
    from mimamba_edge.machine.jetson import jetpack, l4t_release

    release = l4t_release(root)
    if release is None:
        remedy = "in a container: --volume /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        return HealthCheck("JetPack", "warning", "Jetson Linux release cannot be read", remedy)
    value = f"{jetpack(root) or 'unknown'} (Jetson Linux {release})"
    if version_numbers(release, 2) < _FIRST_L4T:
        remedy = "flash JetPack 6.1 or later (docs/jetson.md): earlier ones have TensorRT 8"
        return HealthCheck("JetPack", "wrong", value, remedy)
    return HealthCheck("JetPack", "ok", value)


def _power_mode(root: Path) -> HealthCheck:
    from mimamba_edge.machine.power import fastest_mode, power_mode

    mode, best = power_mode(root), fastest_mode(root)
    if mode is None:
        return HealthCheck("power mode", "warning", "cannot be read", "look on the board itself: nvpmodel -q")
    if best is None or mode == best:
        return HealthCheck("power mode", "ok", mode.name)
    remedy = f"for the highest clocks ({best.name}): sudo nvpmodel -m {best.number}; on battery keep this"
    return HealthCheck("power mode", "warning", mode.name, remedy)


def _clocks(root: Path) -> HealthCheck:
    from mimamba_edge.machine.clocks import cpu_governors, gpu_clocks, locked

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
    from mimamba_edge.machine.thermal import temperatures, throttled

    now = temperatures(root)
    value = ", ".join(f"{name} {celsius:.0f} C" for name, celsius in now.items()) or "not measured"
    held = throttled(root)
    if held:
        remedy = (
            "cool it (fan, heat sink, air) or choose a lower power mode; measurements now would be too slow"
        )
        return HealthCheck("temperature", "warning", f"{value}; throttled: {', '.join(held)}", remedy)
    return HealthCheck("temperature", "ok", f"{value}; not throttled" if now else value)


def _supply(root: Path) -> HealthCheck:
    from mimamba_edge.machine.thermal import alarms

    counts = alarms(root)
    if counts is None:
        return HealthCheck("power supply", "ok", "alarms are not counted on this machine")
    raised = ", ".join(f"{count} x {name}" for name, count in counts.items() if count)
    if raised:
        remedy = "use a stronger supply or a lower power mode: each alarm slows the clocks down"
        return HealthCheck("power supply", "warning", f"since boot {raised}", remedy)
    return HealthCheck("power supply", "ok", "no alarm since boot")


def _rails(root: Path) -> HealthCheck:
    from mimamba_edge.machine.power import power_rails

    rails = ", ".join(f"{name} {mw / 1000:.1f} W" for name, mw in power_rails(root).items())
    return HealthCheck("power rails", "ok", rails or "not measured")


def _swap(root: Path) -> HealthCheck:
    from mimamba_edge.machine.memory import swap_bytes, zram_bytes

    zram, disk = zram_bytes(root) / 2**30, swap_bytes(root) / 2**30
    return HealthCheck("swap", "ok", f"{zram:.1f} GiB in compressed memory, {disk:.1f} GiB on disk")


def discrete(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at each discrete GPU; no line on a Jetson, whose nvidia-smi knows next to nothing."""
    from mimamba_edge.machine.discrete import gpus
    from mimamba_edge.machine.jetson import is_jetson

    if is_jetson(root):
        return
    for gpu in gpus():
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

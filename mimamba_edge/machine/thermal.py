"""Temperatures and what holds the clocks down, from files under ``root``."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.machine.files import read_number, read_text

__all__ = ["alarms", "temperatures", "throttled"]

_ROOT = Path("/")
_ALARMS = {
    "oc1": "under-voltage",
    "oc2": "average over-current",
    "oc3": "instantaneous over-current",
}
"""Events of Orin's and Thor's over-current chip (Jetson Linux Developer Guide, "Electrical Management")."""


def temperatures(root: Path = _ROOT) -> dict[str, float]:
    """Return the temperature of each thermal zone in degrees Celsius, by its type without ``-thermal``.

    ``type`` and ``temp`` (millidegrees) of ``/sys/class/thermal/thermal_zone*`` (kernel document
    driver-api/thermal/sysfs-api). Zones of blocks that are switched off cannot be read and are left out.
    """
    out: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, value = read_text(zone / "type"), read_number(zone / "temp")
        if name and value is not None:
            out[name.removesuffix("-thermal")] = value / 1000
    return out


def throttled(root: Path = _ROOT) -> list[str]:
    """Return the names of the units that are throttled by temperature now, such as ``["cpu", "gpu"]``.

    A Jetson's cooling devices of type ``gpu-throttle-alert`` have a ``cur_state`` above 0 while that is so
    (Jetson Linux Developer Guide, "Thermal Management"). A fan's state and a cap on frequency are no alarm.
    """
    ending = "-throttle-alert"
    devices = sorted(root.glob("sys/class/thermal/cooling_device*"))
    states = [(read_text(d / "type") or "", read_number(d / "cur_state")) for d in devices]
    return sorted(kind.removesuffix(ending) for kind, now in states if kind.endswith(ending) and now)


def alarms(root: Path = _ROOT) -> dict[str, int] | None:
    """Return how often since boot the supply held the clocks down, by cause; ``None`` where none counts.

    ``oc1_event_cnt`` to ``oc3_event_cnt`` of the hwmon chip ``soctherm_oc`` (NVIDIA's kernel driver
    tegra23x-oc-event).
    """
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if read_text(chip / "name") == "soctherm_oc":
            counts = {name: read_number(chip / f"{event}_event_cnt") for event, name in _ALARMS.items()}
            return {name: count for name, count in counts.items() if count is not None}
    return None

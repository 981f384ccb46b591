"""Power mode and power rails of a Jetson, from files under ``root``; no root rights, no nvpmodel program."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge.machine.files import read_number, read_text

__all__ = ["PowerMode", "fastest_mode", "power_mode", "power_modes", "power_rails"]

_ROOT = Path("/")
_MONITORS = ("ina3221", "ina238", "ina226", "ina219")


@dataclass(frozen=True)
class PowerMode:
    """A mode of nvpmodel: its number (which differs between modules) and name, such as 2, ``MAXN_SUPER``."""

    number: int
    name: str


def power_modes(root: Path = _ROOT) -> list[PowerMode]:
    """Return the modes of this module; an empty list where there is no nvpmodel.

    Lines ``< POWER_MODEL ID=2 NAME=MAXN_SUPER >`` of ``/etc/nvpmodel.conf`` (NVIDIA, Jetson Linux
    Developer Guide, Platform Power and Performance, "To define a custom mode").
    """
    text = read_text(root / "etc/nvpmodel.conf") or ""
    found = re.findall(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text, re.MULTILINE)
    return [PowerMode(int(number), name) for number, name in found]


def power_mode(root: Path = _ROOT) -> PowerMode | None:
    """Return the mode that is set, or ``None`` where there is no nvpmodel.

    nvpmodel keeps it in ``/var/lib/nvpmodel/status`` as ``pmode:0002``; before the first change it is the
    ``< PM_CONFIG DEFAULT=1 >`` of ``/etc/nvpmodel.conf``.
    """
    kept = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status") or "")
    conf = read_text(root / "etc/nvpmodel.conf") or ""
    found = kept or re.search(r"^<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", conf, re.MULTILINE)
    if found is None:
        return None
    number = int(found[1])
    names = {mode.number: mode.name for mode in power_modes(root)}
    return PowerMode(number, names.get(number, f"mode {number}"))


def fastest_mode(root: Path = _ROOT) -> PowerMode | None:
    """Return the mode with the highest clocks, or ``None`` where there is no nvpmodel.

    ``MAXN_SUPER``, else ``MAXN``; where a module has neither (an Orin Nano flashed without the super
    configuration has 15W and 7W), the largest budget in watts.
    """
    modes = power_modes(root)
    by_name = {mode.name: mode for mode in modes}
    if best := by_name.get("MAXN_SUPER") or by_name.get("MAXN"):
        return best
    budgets = [(int(found[1]), mode) for mode in modes if (found := re.search(r"(\d+)W", mode.name))]
    return max(budgets, key=lambda pair: pair[0])[1] if budgets else None


def power_rails(root: Path = _ROOT) -> dict[str, int]:
    """Return the power of each monitored rail in milliwatts; an empty dict where nothing is measured.

    hwmon chips of the kinds INA3221 (``in1_label`` names channel 1, ``in1_input`` is mV, ``curr1_input``
    mA: kernel document hwmon/ina3221) and INA238 (``power1_input`` in microwatts: hwmon/ina238; VIN of
    Thor). Channels that are not connected are called ``NC`` on Orin; INA3221's channel 7 is the sum of
    shunt voltages and no rail. A rail that cannot be read is left out, never 0.
    """
    rails: dict[str, int] = {}
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        kind = read_text(chip / "name") or ""
        if not kind.startswith(_MONITORS):
            continue
        total = read_number(chip / "power1_input")
        if total is not None:
            name = read_text(chip / "power1_label") or read_text(chip / "label") or kind
            rails[name] = total // 1000
        for label in sorted(chip.glob("in*_label")):
            channel, name = label.name[2:-6], read_text(label) or ""
            volts, amps = read_number(chip / f"in{channel}_input"), read_number(chip / f"curr{channel}_input")
            if name not in ("", "NC") and channel != "7" and volts is not None and amps is not None:
                rails[name] = volts * amps // 1000
    return rails

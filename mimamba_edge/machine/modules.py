"""Jetson modules and the highest clocks that each can have."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Module", "module_of"]


@dataclass(frozen=True)
class Module:
    """One kind of module, with the most that any of its variants and power modes has.

    Attributes:
        name: As NVIDIA calls it.
        known_by: Pattern in the device tree's ``model``, or of the number in its ``compatible``.
        sm: Compute capability times ten.
        gpu_mhz: Highest clock of the GPU.
        cpu_mhz: Highest clock of the CPU.
        cores: Cores of the CPU.
        memory_gib: Memory.
    """

    name: str
    known_by: str
    sm: int
    gpu_mhz: float
    cpu_mhz: float
    cores: int
    memory_gib: int


_MODULES = (
    Module("Orin Nano", r"Orin Nano|p3767-000[345]", 87, 1020.0, 1728.0, 6, 8),
    Module("Orin NX", r"Orin NX|p3767-000[01]", 87, 1173.0, 1984.0, 8, 16),
    Module("AGX Orin", r"AGX Orin|p3701", 87, 1300.5, 2201.6, 12, 64),
    Module("Thor", r"Thor|T[45]000|p3834", 110, 1575.0, 2601.0, 14, 128),
)
"""NVIDIA's data sheets (Orin Nano: GPU 625 MHz, CPU 1.5 GHz; Orin NX: 918 MHz, 2.0 GHz; AGX Orin 64 GB:
1.3 GHz, 2.2 GHz; T5000: 1.575 GHz, 2.6 GHz) and its blog "JetPack 6.2 Brings Super Mode to NVIDIA Jetson Orin
Nano and Jetson Orin NX Modules" (1020 and 1173 MHz). To the digit they are what users of these boards read
from devfreq and cpufreq under jetson_clocks. The memory's clock (3199 MHz, Thor 4266) shows only to root, so
no record holds it."""


def module_of(name: str, sm: int) -> Module | None:
    """Return the module that a name tells, or a nameless one with the bounds of all of a compute capability.

    Args:
        name: What the device tree calls the board. Those of other makers may not name the module.
        sm: Compute capability times ten.

    Returns:
        ``None`` where no module has this compute capability.
    """
    for module in _MODULES:
        if re.search(module.known_by, name):
            return module
    alike = [module for module in _MODULES if module.sm == sm]
    if not alike:
        return None
    most = [
        max(getattr(one, field) for one in alike) for field in ("gpu_mhz", "cpu_mhz", "cores", "memory_gib")
    ]
    return Module(f"SM {sm}", "", sm, *most)

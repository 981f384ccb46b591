"""Registers and spills of the CUDA kernels, from ptxas: no GPU is needed.

    python -m benchmarks kernel-registers

Compiles every instance for every architecture and keeps those of Orin (87), Hopper (90) and Thor (110).
Exit 1 if a kernel spills on one of the three.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from mimamba_edge.console import show_note, show_table
from mimamba_edge.plugins.kernel_libraries import KernelUse, register_report

KEPT = (87, 90, 110)


def _by_kernel(kernels: Iterable[KernelUse]) -> dict[str, dict[int, KernelUse]]:
    """Return what was found of each kernel, by architecture."""
    out: dict[str, dict[int, KernelUse]] = {}
    for kernel in kernels:
        out.setdefault(kernel.kernel, {})[kernel.arch] = kernel
    return out


def run(arguments: argparse.Namespace) -> int:
    """Compile, write the record, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        report = register_report(Path(folder))
    found: list[dict[str, Any]] = [
        {
            "kernel": name,
            "registers": {str(arch): of[arch].registers for arch in KEPT},
            "spilled_bytes": {str(arch): of[arch].spill_stores + of[arch].spill_loads for arch in KEPT},
        }
        for name, of in _by_kernel(report.kernels).items()
    ]
    spilled = any(any(kernel["spilled_bytes"].values()) for kernel in found)
    record = {**report.as_dict(), "kernels": found}
    path = write_record(arguments, record, verified=not spilled, device="kernels")
    rows = [
        [one["kernel"], *map(str, one["registers"].values()), str(sum(one["spilled_bytes"].values()))]
        for one in found
    ]
    show_table("Registers of a thread", ["kernel", *(f"sm_{arch}" for arch in KEPT), "spilled bytes"], rows)
    show_note(f"{path}: {len(report.archs)} architectures in {report.seconds:.0f} s")
    return int(spilled)

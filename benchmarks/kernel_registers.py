"""Registers and spills of the CUDA kernels, from ptxas: no GPU is needed.

    python -m benchmarks kernel-registers

Compiles every instance for every architecture and keeps those of Orin (87), Hopper (90) and Thor (110).
Exit 1 if a kernel spills on one of the three.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.record import write_record
from mimamba_edge.console import show_note, show_table
from mimamba_edge.plugins.kernel_libraries import register_report

KEPT = (87, 90, 110)


def run(arguments: argparse.Namespace) -> int:
    """Compile, write the record, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        report = register_report(Path(folder))
    kept = [kernel for kernel in report.kernels if kernel.arch in KEPT]
    rows = []
    for name in dict.fromkeys(kernel.kernel for kernel in kept):
        of = {kernel.arch: kernel for kernel in kept if kernel.kernel == name}
        spills = sum(of[arch].spill_stores + of[arch].spill_loads for arch in KEPT)
        rows.append([name, *(str(of[arch].registers) for arch in KEPT), str(spills)])
    spilled = any(row[-1] != "0" for row in rows)
    record = report.as_dict()
    record["kernels"] = [entry for entry in record["kernels"] if entry["arch"] in KEPT]
    path = write_record(arguments, record, verified=not spilled, device="kernels")
    show_table("Registers of a thread", ["kernel", *(f"sm_{arch}" for arch in KEPT), "spilled bytes"], rows)
    show_note(f"{path}: {len(report.archs)} architectures in {report.seconds:.0f} s")
    return int(spilled)

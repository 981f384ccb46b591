"""Registers and spills of the CUDA kernels, from ptxas: no GPU is needed.

    python -m benchmarks.registers

Compiles every instance for every architecture and keeps those of Orin (87), Hopper (90) and Thor (110) in
``benchmarks/results/kernels/DATE-registers.json``, which is never edited: a second run of a day gets a
number. Exit 1 if a kernel spills on one of the three.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mimamba_edge.artifact import write_json
from mimamba_edge.bench.environment import describe
from mimamba_edge.console import show_note, show_table
from mimamba_edge.plugins import compile_cuda

RESULTS = Path(__file__).resolve().parent / "results" / "kernels"
KEPT = (87, 90, 110)


def main() -> int:
    """Compile, write the record, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        report = compile_cuda(Path(folder))
    kept = [kernel for kernel in report.kernels if kernel.arch in KEPT]
    record = {"environment": describe(), **report.as_dict()}
    record["kernels"] = [entry for entry in record["kernels"] if entry["arch"] in KEPT]
    stem = RESULTS / f"{record['environment']['time'][:10]}-registers"
    number, path = 1, stem.with_name(stem.name + ".json")
    while path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)

    rows = []
    for name in dict.fromkeys(kernel.kernel for kernel in kept):
        of = {kernel.arch: kernel for kernel in kept if kernel.kernel == name}
        spills = sum(of[arch].spill_stores + of[arch].spill_loads for arch in KEPT)
        rows.append([name, *(str(of[arch].registers) for arch in KEPT), str(spills)])
    show_table("Registers of a thread", ["kernel", *(f"sm_{arch}" for arch in KEPT), "spilled bytes"], rows)
    show_note(f"{path}: {len(report.archs)} architectures in {sum(report.seconds.values()):.0f} s")
    return int(any(row[-1] != "0" for row in rows))


if __name__ == "__main__":
    sys.exit(main())

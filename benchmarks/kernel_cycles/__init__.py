"""Cycles of the CUDA kernels by a model of the machine, from their machine code: no GPU is needed.

    python -m benchmarks kernel-cycles                              # the record of all that is measured
    python -m benchmarks kernel-cycles --before REVISION            # an earlier commit's kernels beside ours
    python -m benchmarks kernel-cycles --only scan --device H200    # a quick look, no record

Compiles with nvcc, disassembles with nvdisasm (in the toolkit, or pip install nvidia-cuda-nvdisasm), executes
the machine code of a launch's blocks, and times the paths that its warps take on a multiprocessor. Exit 1 if
the machine code does not compute what the float64 oracles do: the paths would be wrong ones.
**It is a model, +-35 %, never held against hardware**: machine.py says what it assumes and leaves out.
MAMBA_SSM_SOURCE (the unpacked source distribution of mamba-ssm) adds its kernel.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.mamba_ssm import MAMBA_SSM_FLAGS, MAMBA_SSM_TYPES, SOURCE, mamba_ssm_source
from benchmarks.kernel_cycles.cases import MstbCase, ScanCase, mamba_problem, mstb_problem, scan_problem
from benchmarks.kernel_cycles.launches import Library, build_cubins, build_library
from benchmarks.kernel_cycles.machine import DEVICES, Device
from benchmarks.kernel_cycles.mamba_ssm import prepare_mamba_ssm
from benchmarks.kernel_cycles.measure import KernelCycles, extrapolated, measure
from benchmarks.kernel_cycles.sass import Kernel, find_nvdisasm
from benchmarks.kernel_cycles.verify import mstb_error, scan_error
from benchmarks.record import write_record
from mimamba_edge.console import show_note, show_table
from mimamba_edge.errors import ConfigError
from mimamba_edge.plugins import KERNELS
from mimamba_edge.plugins.cmake import nvcc, said

Case = ScanCase | MstbCase
MODEL = "a static in-order model of the machine, +-35 %, never held against hardware"
SCANS = tuple(
    ScanCase(1536, length, dtype) for length in (256, 1024, 65536) for dtype in ("float32", "float16")
)
OTHERS: tuple[Case, ...] = (
    *(ScanCase(256, 4, dtype) for dtype in ("float32", "float16")),  # the default network's
    ScanCase(1536, 256, "float32", b=64),  # enough channels that no block has to cut the time axis
    MstbCase("float32", l=512),
)
BLOCKS: tuple[Case, ...] = (MstbCase("float32"), MstbCase("float16"))
_LONG = 4096
"""A scan of more steps is executed at this many and at half as many, and extrapolated."""
_TOLERANCE = 1e-5
"""Of what is computed, in float32, against float64."""
_HOT_ONLY = ("-DMIMAMBA_HOT_ONLY",)


class Ours:
    """Our kernels, of one folder of sources, for one device."""

    def __init__(self, sources: Path, folder: Path, device: Device) -> None:
        self.device = device
        self.library = build_library(sorted(sources.glob("*.cu")), folder, _HOT_ONLY)
        files = [path for path in sorted(sources.glob("*.cu")) if path.stem != "c_api"]
        self.kernels = build_cubins(files, folder, device.sm, _HOT_ONLY)

    def error(self) -> float:
        """Return the largest relative error of what the executed machine code computes, in float32."""
        scan, block = ScanCase(64, 70, "float32"), MstbCase()
        scanned = scan_problem(scan, self.library, self.device)
        measure(scanned, self.library, self.kernels, self.device, "MUFU.EX2", whole=True)
        folded = mstb_problem(block, self.library, self.device)
        measure(folded, self.library, self.kernels, self.device, "FFMA", whole=True)
        return max(scan_error(scan, scanned), mstb_error(block, folded))

    def cycles(self, case: Case) -> list[KernelCycles]:
        """Return the cycles of a problem's launches."""
        if isinstance(case, MstbCase):
            problem = mstb_problem(case, self.library, self.device)
            return measure(problem, self.library, self.kernels, self.device, "FFMA", whole=True)

        def at(one: ScanCase) -> list[KernelCycles]:
            problem = scan_problem(one, self.library, self.device)
            return measure(problem, self.library, self.kernels, self.device, "MUFU.EX2")

        return _long(case, at)


class Theirs:
    """mamba_ssm's kernel for one device."""

    def __init__(self, source: Path, folder: Path, device: Device) -> None:
        self.device = device
        self.kernels: dict[str, dict[str, Kernel]] = {}
        self.libraries: dict[str, Library] = {}
        includes = prepare_mamba_ssm(source, folder / "headers")
        for dtype, kind in MAMBA_SSM_TYPES.items():
            names = (f"-DMAMBA_SSM_INPUT={kind}", f"-DMAMBA_SSM_NAME=mamba_ssm_{dtype}")
            flags = [*MAMBA_SSM_FLAGS, *includes, *names]
            self.kernels[dtype] = build_cubins([SOURCE], folder / dtype, device.sm, flags)
            self.libraries[dtype] = build_library([SOURCE], folder / dtype, flags)

    def cycles(self, case: Case) -> list[KernelCycles]:
        """Return the cycles of its launch for the same scan; none if it is not one of those compared."""
        if not isinstance(case, ScanCase) or case not in SCANS:
            return []
        library, kernels = self.libraries[case.dtype], self.kernels[case.dtype]

        def at(one: ScanCase) -> list[KernelCycles]:
            return measure(mamba_problem(one, library), library, kernels, self.device, "MUFU.EX2")

        return _long(case, at)


def _long(case: ScanCase, at: Callable[[ScanCase], list[KernelCycles]]) -> list[KernelCycles]:
    if case.l <= _LONG:
        return at(case)
    short, long = at(replace(case, l=_LONG // 2)), at(replace(case, l=_LONG))
    return extrapolated(short, long, (_LONG // 2, _LONG, case.l))


@dataclass(frozen=True)
class Task:
    """What one process does: some kernels on one device."""

    whose: str
    device: Device
    sources: Path
    folder: Path
    cases: tuple[Case, ...]

    def run(self) -> tuple[list[list[KernelCycles]], float]:
        """Return the cycles of each case, and the largest error of our kernels."""
        if self.whose == "mamba_ssm":
            theirs = Theirs(self.sources, self.folder, self.device)
            return [theirs.cycles(case) for case in self.cases], 0.0
        ours = Ours(self.sources, self.folder, self.device)
        return [ours.cycles(case) for case in self.cases], ours.error() if self.whose == "ours" else 0.0


@dataclass(frozen=True)
class Row:
    """One problem on one device: microseconds of all of its launches together, and of our kernels alone.

    ``memory_us`` is what the device's memory needs for a scan's tensors, each moved once.
    """

    device: str
    problem: str
    ours_us: float
    before_us: float | None
    mamba_ssm_us: float | None
    memory_us: float | None
    kernels_us: dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--before", metavar="REVISION", help="kernels of this commit of the repository beside ours"
    )
    parser.add_argument(
        "--kernels",
        type=Path,
        default=KERNELS,
        metavar="DIR",
        help="other sources of our kernels, and no record",
    )
    parser.add_argument(
        "--compared", type=Path, metavar="RECORD", help="an earlier record's figures of the other two kernels"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time (%(default)s)"
    )
    parser.add_argument("--only", choices=("scan", "mstb"), help="one op, and no record")
    parser.add_argument("--length", type=int, metavar="L", help="problems of this length, and no record")
    parser.add_argument("--dtype", choices=("float32", "float16"), help="this type, and no record")
    parser.add_argument("--device", choices=tuple(DEVICES), help="one device, and no record")


def run(arguments: argparse.Namespace) -> int:
    """Compile, execute, time; write the record, print the tables."""
    disassembler, theirs = find_nvdisasm(), mamba_ssm_source()
    compiler = said(nvcc(), "--version").strip().splitlines()[-2]
    kept = _compared(arguments.compared, compiler) if arguments.compared else None
    cases = tuple(case for case in (*BLOCKS, *OTHERS, *SCANS) if _wanted(case, arguments))
    devices = [one for one in DEVICES.values() if arguments.device in (None, one.name)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {"ours": arguments.kernels}
        if arguments.before:
            sources["before"] = _sources_of(arguments.before, folder / "sources")
        if theirs and any(case in SCANS for case in cases):
            sources["mamba_ssm"] = theirs
        tasks = [
            Task(whose, device, where, folder / f"{whose}_{device.sm}", cases)
            for device in devices
            for whose, where in sources.items()
        ]
        with concurrent.futures.ProcessPoolExecutor(min(arguments.jobs, len(tasks))) as pool:
            done = dict(
                zip(((task.device, task.whose) for task in tasks), pool.map(Task.run, tasks), strict=True)
            )
    rows: list[Row] = []
    loops: list[dict[str, Any]] = []
    for device in devices:
        for number, case in enumerate(cases):
            mine, old, other = (
                done[device, whose][0][number] if whose in sources else []
                for whose in ("ours", "before", "mamba_ssm")
            )
            rows.append(_row(device, case, mine, old, other))
            loops += _loops(device, case, mine)
            _show(device, case, mine, old, other)
    errors = [done[device, "ours"][1] for device in devices]
    if kept:
        of = {(row["device"], row["problem"]): row for row in kept["rows"]}
        keys = ("before_us", "mamba_ssm_us")
        rows = [replace(row, **{key: of[row.device, row.problem][key] for key in keys}) for row in rows]
    right = max(errors) < _TOLERANCE
    show_note(f"largest error of what the machine code computed: {max(errors):.1e} of the largest value")
    chosen = (arguments.only, arguments.length, arguments.dtype, arguments.device)
    if arguments.kernels == KERNELS and not any(chosen):
        figures = {
            "model": MODEL,
            "largest_error": max(errors),
            "compared": str(arguments.compared.name) if arguments.compared else None,
            "before": kept["before"] if kept else arguments.before,
            "mamba_ssm": kept["mamba_ssm"] if kept else _version(theirs),
            "nvcc": compiler,
            "nvdisasm": said(str(disassembler), "--version").strip().splitlines()[-2],
            "rows": [asdict(row) for row in rows],
            "loops": loops,
        }
        show_note(str(write_record(arguments, figures, verified=right, device="kernels")))
    return int(not right)


def _compared(path: Path, compiler: str) -> dict[str, Any]:
    """Return an earlier record whose kernels were compiled by the same nvcc."""
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record.get("nvcc") != compiler:
        raise ConfigError(
            "--compared is of another compiler",
            got=record.get("nvcc"),
            expected=compiler,
            do="leave --compared out: all kernels are then compiled here",
        )
    return record


def _wanted(case: Case, arguments: argparse.Namespace) -> bool:
    op = "scan" if isinstance(case, ScanCase) else "mstb"
    return (
        arguments.only in (None, op)
        and arguments.length in (None, case.l)
        and arguments.dtype in (None, case.dtype)
    )


def _sources_of(revision: str, folder: Path) -> Path:
    """Return the kernels' sources as they were in a commit."""
    folder.mkdir(parents=True)
    given = ["git", "-C", str(KERNELS.parents[1]), "archive", revision, "plugins/kernels"]
    archive = subprocess.run(given, capture_output=True)
    if archive.returncode:
        raise ConfigError(
            "--before names no commit with kernels",
            got=f"{revision}: {archive.stderr.decode().strip()}",
            expected="a revision of this repository, such as HEAD~1",
        )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / "plugins" / "kernels"


def _version(source: Path | None) -> str | None:
    if source is None:
        return None
    init = source.parents[1] / "mamba_ssm" / "__init__.py"
    found = re.search(r'__version__ = "([^"]+)"', init.read_text()) if init.is_file() else None
    return found[1] if found else "unknown"


def _named(case: Case) -> str:
    if isinstance(case, MstbCase):
        return f"temporal block, b {case.b}, l {case.l}, {case.dtype}"
    return f"scan, b {case.b}, l {case.l}, d {case.d}, {case.dtype}"


def _sum(found: list[KernelCycles]) -> float | None:
    return round(sum(one.us for one in found), 2) if found else None


def _row(
    device: Device, case: Case, mine: list[KernelCycles], old: list[KernelCycles], other: list[KernelCycles]
) -> Row:
    kernels = {one.kernel: one.us for one in mine}
    memory = round(case.bytes / device.memory_gb_s / 1e3, 2) if isinstance(case, ScanCase) else None
    return Row(device.name, _named(case), _sum(mine) or 0.0, _sum(old), _sum(other), memory, kernels)


def _loops(device: Device, case: Case, mine: list[KernelCycles]) -> list[dict[str, Any]]:
    """Return the hot loops of our kernels: of one type, and the problems that show each kernel."""
    if case.dtype != "float32" or case.l > 512:
        return []
    return [
        {"sm": device.sm, "problem": _named(case), "kernel": one.kernel, **asdict(loop)}
        for one in mine
        for loop in one.loops
    ]


def _show(
    device: Device, case: Case, mine: list[KernelCycles], old: list[KernelCycles], other: list[KernelCycles]
) -> None:
    rows = []
    for whose, found in (("ours", mine), ("before", old), ("mamba_ssm's", other)):
        for one in found:
            loop = "; ".join(
                f"{hot.instructions / hot.units:.2f}, {hot.cycles / hot.units:.2f} a {hot.unit}"
                for hot in one.loops
            )
            figures = (one.registers, one.resident, one.instructions, one.cycles, one.us)
            rows.append([f"{whose}: {one.kernel}", f"{one.blocks} x {one.threads}", *map(str, figures), loop])
    title = f"{device.name}: {_named(case)}: {_sum(mine)} us"
    for whose, found in (("before", old), ("of mamba_ssm's", other)):
        if total := _sum(found):
            title += f"; {(_sum(mine) or 0) / total:.2f} {whose}"
    heads = (
        "kernel",
        "blocks x threads",
        "registers",
        "resident",
        "instructions",
        "cycles",
        "us",
        "hot loop",
    )
    show_table(title, list(heads), rows)

"""The run: what is measured in which order, and what becomes of it."""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu import PARTS, mstb, network, training
from benchmarks.gpu.bars import Table, evaluate, status, tables
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.build import Roofs, build_ours, find_torch, sm_of
from benchmarks.gpu.cases import SIZES, scan_cases
from benchmarks.gpu.mamba_ssm import find_mamba_ssm, mamba_ssm_source
from benchmarks.gpu.scan import measure_scan
from benchmarks.gpu.timing import CudaTimer, Deadline
from benchmarks.gpu.windows import windows_of
from benchmarks.record import write_record
from mimamba_edge.artifact import check_writable
from mimamba_edge.console import Progress, progress, show_note, show_table
from mimamba_edge.errors import MimambaError
from mimamba_edge.plugins.cmake import BuildError

LIMIT_S = 480.0
"""Building included. What is not reached by then is named, and its bar is not passed."""
_ROUNDS, _QUICK_ROUNDS = 15, 7

Job = tuple[str, str, Callable[[], dict[str, Any]]]


def jobs(bench: Bench, parts: Sequence[str], checkpoint: Path | None) -> list[Job]:
    """Return part, name and measurement, what the bars need before the rest.

    Raises:
        MimambaError: The checkpoint or the recordings cannot be used.
    """
    block, whole, scans = [], [], []
    if "mstb" in parts:
        for length in mstb.LENGTHS[: 1 if bench.quick else None]:
            windows = windows_of(length)
            for batch, dtype in itertools.product(mstb.BATCHES[: 2 if bench.quick else None], SIZES):
                name = f"block, l {length}, batch {batch}, {dtype}"
                block.append(("mstb", name, partial(mstb.measure_mstb, bench, windows, batch, dtype)))
    if "network" in parts:
        loaded = network.load_network(bench, checkpoint, windows_of)
        for batch in network.BATCHES[: 1 if bench.quick else None]:
            for runner in network.RUNNERS:
                run = partial(network.measure_network, bench, loaded, runner, batch)
                whole.append(("network", f"network, {runner}, batch {batch}", run))
    if "scan" in parts:
        for case in scan_cases(bench.quick):
            scans.append(("scan", f"scan, {case}", partial(measure_scan, bench, case)))
    steps: list[Job] = []
    if "training" in parts:
        for sizes in training.CASES[: 1 if bench.quick else None]:
            run = partial(training.measure_training, bench, *sizes)
            steps.append(("training", f"training step, {sizes[0]} x {sizes[1]}", run))
    first = len(network.RUNNERS)
    return [*block, *whole[:first], *scans, *steps, *whole[first:]]


def measure(bench: Bench, parts: Sequence[str], checkpoint: Path | None, bar: Progress) -> dict[str, Any]:
    """Return the rows of each part, what was wrong, and what was not reached.

    Raises:
        MimambaError: The checkpoint or the recordings cannot be used.
    """
    rows: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
    wrong: list[str] = []
    left = jobs(bench, parts, checkpoint)
    while left and bench.deadline.left() > 0:
        part, name, run = left.pop(0)
        bar.describe(name)
        try:
            rows[part].append(run())
        except MimambaError as error:
            wrong.append(str(error))
        except bench.torch.OutOfMemoryError:
            wrong.append(f"{name}: out of device memory")
        except RuntimeError as error:
            # A CUDA error stays with the process: what was measured before it is still worth a record.
            wrong.append(f"{name}: {str(error).strip().splitlines()[0]}")
            break
        bar.advance()
    return {"parts": rows, "wrong": wrong, "not_reached": [[part, name] for part, name, _ in left]}


def make_bench(torch: Any, folder: Path, quick: bool) -> tuple[Bench, dict[str, Any]]:
    """Build for the device at hand; return what measures, and what the record says of it.

    Raises:
        MimambaError: Something cannot be built.
    """
    from mimamba_edge.export.ops.cuda import use_cuda_kernels

    deadline, sm, source = Deadline(LIMIT_S), sm_of(torch), mamba_ssm_source()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ours = pool.submit(build_ours, folder / "ours", sm)
        other = pool.submit(find_mamba_ssm, source, folder / "mamba_ssm", torch, sm)
        library, mamba_ssm, refused = ours.result(), None, None
        try:
            mamba_ssm = other.result()
        except BuildError as error:  # another's source, perhaps not meant for this torch
            refused = str(error)
    # What rounds like the oracle is compared: convolutions would be TF32 by default.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    roofs, facts = Roofs(library, torch), torch.cuda.get_device_properties(0)
    bench = Bench(
        torch, "cuda", use_cuda_kernels(library), roofs, mamba_ssm, CudaTimer(torch, roofs.nodes), deadline,
        facts.L2_cache_size, _QUICK_ROUNDS if quick else _ROUNDS, quick,
    )  # fmt: skip
    gpu = {
        "name": facts.name, "sm": sm, "multiprocessors": facts.multi_processor_count,
        "memory_bytes": facts.total_memory, "cache_bytes": facts.L2_cache_size,
    }  # fmt: skip
    return bench, {
        "gpu": gpu,
        "cuda": torch.version.cuda,
        "tf32": False,
        "mamba_ssm": mamba_ssm and mamba_ssm.origin,
        "mamba_ssm_error": refused,
    }


def run(given: argparse.Namespace) -> int:
    """Run the level; see the package for the exit status.

    Raises:
        MimambaError: Something cannot be used or built, or the record cannot be written.
    """
    parts = PARTS if given.part == "all" else (given.part,)
    if given.output is not None:
        check_writable(given.output)
    torch = find_torch()
    with tempfile.TemporaryDirectory() as folder, progress("build", still=True) as bar:
        bar.describe("compile for this device")
        bench, facts = make_bench(torch, Path(folder), given.quick)
        found = measure(bench, parts, given.checkpoint, bar)
    # The worst of a few shapes is not the worst of all.
    cut = {part for part, _ in found["not_reached"]} | ({"scan"} if given.quick else set())
    bars = evaluate(found["parts"], facts["gpu"]["name"], cut)
    shown = tables(found["parts"], bars)
    figures = {
        **facts,
        "quick": given.quick,
        "bars": bars,
        "tables": [{"title": title, "header": header, "rows": rows} for title, header, rows in shown],
        "wrong": found["wrong"],
        "not_reached": len(found["not_reached"]),
    }
    # Only what agreed with the float64 oracle was timed.
    good, device = not found["wrong"], facts["gpu"]["name"]
    path = write_record(given, figures, verified=good, device=device, raw={**facts, **found})
    show(found, facts, shown, path)
    return status(bars, found["wrong"])


def show(found: dict[str, Any], facts: dict[str, Any], shown: list[Table], path: Path) -> None:
    """Print notes, then the tables, the bars last."""
    for said in found["wrong"]:
        show_note(said)
    if left := found["not_reached"]:
        show_note(f"out of time: {len(left)} measurements were not reached, from '{left[0][1]}' on")
    for row in itertools.chain.from_iterable(found["parts"].values()):
        if "why_not" in row:
            named = row.get("runner") or f"scan of l {row['l']}, d {row['d']}, {row['dtype']}"
            show_note(f"{named}, batch {row['b']}, was not timed: {row['why_not']}")
    if "scan" in found["parts"] and facts["mamba_ssm"] is None:
        why = facts["mamba_ssm_error"] or (
            "name the unpacked source distribution of mamba-ssm by MAMBA_SSM_SOURCE"
        )
        show_note(f"mamba_ssm's kernel was not at hand: {why}")
    for title, header, rows in shown:
        show_table(title, header, rows, left=(0, 3) if title == "Bars" else (0,))
    show_note(f"record: {path}")

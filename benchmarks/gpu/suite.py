"""The run: what is measured in which order, and what becomes of it."""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks.gpu as package
from benchmarks.gpu import mstb, network
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.build import Roofs, build_ours, find_torch, sm_of
from benchmarks.gpu.cases import SIZES, scan_cases
from benchmarks.gpu.peer import find_peer, peer_source
from benchmarks.gpu.record import judge, record_path, status, tables
from benchmarks.gpu.scan import measure_scan
from benchmarks.gpu.timing import CudaTimer, Deadline
from benchmarks.gpu.windows import windows_of
from mimamba_edge.artifact import check_writable, write_json
from mimamba_edge.bench.environment import describe
from mimamba_edge.console import Progress, progress, show_note, show_table
from mimamba_edge.errors import MimambaError
from mimamba_edge.plugins import BuildError

PARTS = ("mstb", "network", "scan")
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
            for runner in network.CONTENDERS:
                run = partial(network.measure_network, bench, loaded, runner, batch)
                whole.append(("network", f"network, {runner}, batch {batch}", run))
    if "scan" in parts:
        for case in scan_cases(bench.quick):
            scans.append(("scan", f"scan, {case}", partial(measure_scan, bench, case)))
    first = len(network.CONTENDERS)
    return [*block, *whole[:first], *scans, *whole[first:]]


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
            wrong.append(f"{name}: the device's memory did not suffice")
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

    deadline, sm, source = Deadline(LIMIT_S), sm_of(torch), peer_source()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ours = pool.submit(build_ours, folder / "ours", sm)
        other = pool.submit(find_peer, source, folder / "peer", torch, sm)
        library, peer, refused = ours.result(), None, None
        try:
            peer = other.result()
        except BuildError as error:  # another's source, perhaps not meant for this torch
            refused = str(error)
    # What rounds like the oracle is compared: convolutions would be TF32 by default.
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    roofs, facts = Roofs(library, torch), torch.cuda.get_device_properties(0)
    bench = Bench(
        torch, "cuda", use_cuda_kernels(library), roofs, peer, CudaTimer(torch, roofs.nodes), deadline,
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
        "peer": peer and peer.origin,
        "peer_error": refused,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the level; see the package for the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all")
    parser.add_argument(
        "--quick", action="store_true", help="few shapes: does it run? No bar over all of them is passed"
    )
    parser.add_argument("--checkpoint", type=Path, help="the network's; otherwise an untrained one")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RECORD", help="otherwise benchmarks/results/..."
    )
    given = parser.parse_args(arguments)
    parts = PARTS if given.part == "all" else (given.part,)
    try:
        if given.output is not None:
            check_writable(given.output)
        torch = find_torch()
        with tempfile.TemporaryDirectory() as folder, progress("build", still=True) as bar:
            bar.describe("compile for this device")
            bench, facts = make_bench(torch, Path(folder), given.quick)
            found = measure(bench, parts, given.checkpoint, bar)
    except MimambaError as error:
        print(error, file=sys.stderr)
        return 2
    environment = describe()
    # The worst of a few shapes is not the worst of all.
    cut = {part for part, _ in found["not_reached"]} | ({"scan"} if given.quick else set())
    bars = judge(found["parts"], facts["gpu"]["name"], cut)
    code = status(bars, found["wrong"])
    record = {
        "environment": environment,
        "command": shlex.join(
            ["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if arguments is None else arguments)]
        ),
        **facts,
        # Only what agreed with the float64 oracle was timed.
        "verified": not found["wrong"],
        "quick": given.quick,
        "bars": bars,
        **found,
    }
    path = given.output or record_path(facts["gpu"]["name"], environment["time"][:10])
    try:
        write_json(path, record)
    except MimambaError as error:
        print(error, file=sys.stderr)
        return 2
    show(found, facts, bars, path)
    return code


def show(found: dict[str, Any], facts: dict[str, Any], bars: list[dict[str, Any]], path: Path) -> None:
    """Print notes, then the tables, the bars last."""
    for said in found["wrong"]:
        show_note(said)
    if left := found["not_reached"]:
        show_note(f"out of time: {len(left)} measurements were not reached, from '{left[0][1]}' on")
    for row in itertools.chain.from_iterable(found["parts"].values()):
        if "why_not" in row:
            named = row.get("runner") or f"scan of l {row['l']}, d {row['d']}, {row['dtype']}"
            show_note(f"{named}, batch {row['b']}, was not timed: {row['why_not']}")
    if "scan" in found["parts"] and facts["peer"] is None:
        why = facts["peer_error"] or (
            "name the unpacked source distribution of mamba-ssm by MAMBA_SSM_SOURCE"
        )
        show_note(f"mamba_ssm's kernel was not at hand: {why}")
    for title, header, rows in tables(found["parts"], bars):
        show_table(title, header, rows, left=(0, 3) if title == "Bars" else (0,))
    show_note(f"record: {path}")

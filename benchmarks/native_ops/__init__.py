"""Native ops for ONNX Runtime beside everything else that computes the same, in turn on one thread.

    python -m benchmarks native-ops [--data FOLDER_OF_RECORDINGS] [--llama-cpp CHECKOUT]

A scan of l 256, d 1536, n 16 (and three others) by the native op, its function body, a plain loop, ONNX
Runtime's LinearAttention, PyTorch and, where a checkout is named, llama.cpp's loop, each checked against
float64 before it is timed, beside the machine's roofs; the native scan on two threads; then the default
network at batch 1. Scans count the CPU time of the thread: other programs take turns with it and do not stand
in it, though they take its caches. Some five minutes, most of them for torch.compile to compile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.native_ops import llama_cpp, tables
from benchmarks.native_ops.network import measure_network
from benchmarks.native_ops.problem import MAIN, OTHERS
from benchmarks.native_ops.roofs import COPY, EXPONENTIALS
from benchmarks.native_ops.scan import Libraries, measure_scan, measure_threads
from benchmarks.record import renamed, write_record
from mimamba_edge.console import show_note, show_table
from mimamba_edge.errors import DataError
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.plugins.cmake import find_tool
from mimamba_edge.runtime.native_ops import NativeOps

_ROUNDS, _FEWER, _THREAD_ROUNDS = 30, 8, 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, help="recordings to take the network's windows from")
    parser.add_argument("--llama-cpp", type=Path, help="a checkout of llama.cpp, or of ggml alone")


def measure_scans(ops: NativeOps, checkout: Path | None, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return the figures of all scans, and whether every answer is right.

    Raises:
        DataError: The checkout holds no loop of llama.cpp.
    """
    compiler = find_tool(os.environ.get("CXX", "g++"))
    libraries = Libraries.compiled(ops, folder, str(compiler), checkout)
    right, scans = True, list[dict[str, Any]]()
    for sizes in (MAIN, *OTHERS):
        first = sizes is MAIN
        rows, fine = measure_scan(
            sizes, libraries, _ROUNDS if first else _FEWER, torch=first or sizes is OTHERS[0]
        )
        right &= fine
        scans.append({"sizes": str(sizes), "rows": rows})
    limits = scans[0]["rows"]
    roofs = {
        "gexp_per_s": MAIN.exponentials / limits[EXPONENTIALS]["cpu_ms"] / 1e6,
        "copy_gb_per_s": MAIN.bytes_moved / limits[COPY]["cpu_ms"] / 1e6,
        "exponentials": MAIN.exponentials,
        "bytes_moved": MAIN.bytes_moved,
    }
    used = (
        None
        if checkout is None
        else {"commit": llama_cpp.commit_of(checkout), "flags": " ".join(llama_cpp.FLAGS)}
    )
    threads = measure_threads(MAIN, libraries, _THREAD_ROUNDS)
    return {"scans": scans, "roofs": roofs, "threads": threads, "llama_cpp": used}, right


def run(arguments: argparse.Namespace) -> int:
    """Build the ops, measure, write the record; return 1 if answers differ.

    Raises:
        DataError: A folder that was named is not there.
    """
    for option, path in (("--data", arguments.data), ("--llama-cpp", arguments.llama_cpp)):
        if path is not None and not path.is_dir():
            raise DataError(f"{option}: {path} is not a folder", do="check the path")
    ops = build_native_ops()
    if ops.problem:
        raise ops.problem
    os.environ["MIMAMBA_ORT_OPS"] = str(ops.path)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        figures, scans_right = measure_scans(ops, arguments.llama_cpp, Path(name))
        network, network_right = measure_network(Path(name), arguments.data)
    figures.update(network=network, instruction_set=ops.target, load_average=[before, os.getloadavg()[0]])
    right = scans_right and network_right
    names = {} if arguments.data is None else {str(arguments.data): arguments.data.name}
    path = write_record(arguments, renamed(figures, names), verified=right)
    show_table("one scan", tables.SCANS, tables.scans(figures), left=range(2))
    show_table("the default network", tables.NETWORK, tables.network(figures), left=range(1))
    show_table("what the project holds itself to", tables.TARGETS, tables.targets(figures), left=range(1))
    for line in tables.notes(figures):
        show_note(line)
    show_note(f"record: {path}" + ("" if right else "\nanswers are wrong: see not timed"))
    return int(not right)

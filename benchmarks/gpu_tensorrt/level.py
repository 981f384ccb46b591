"""The run of level 3: by the installed TensorRT or by the wheel of 8.6, and what becomes of it."""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu_tensorrt import wheel86
from benchmarks.gpu_tensorrt.tools import artefacts, quantiles
from benchmarks.record import renamed, write_record
from mimamba_edge.bench.run import unverified
from mimamba_edge.bench.table import HEADER, notes, to_rows
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import DependencyError, EngineError


def with_wheel(models: list[Path], work: Path, environment: dict[str, Any]) -> dict[str, Any]:
    """Measure with TensorRT 8.6 and show the table.

    Raises:
        MimambaError: Nothing could be measured.
    """
    tensorrt, gpus = wheel86.root(), environment["gpus"]
    if not gpus:
        raise DependencyError(
            "there is no CUDA GPU here", got="nothing from nvidia-smi", do="use a machine with one"
        )
    rows: list[dict[str, Any]] = []
    with progress("TensorRT 8.6", total=1 + len(models)) as bar:
        bar.describe("compile plugin and program")
        program, plugin = wheel86.compile_all(tensorrt, work, int(gpus[0]["sm"]))
        bar.advance()
        for model in models:
            bar.describe(f"build and run {model.name}")
            try:
                rows.append(wheel86.measure(program, plugin, model, work))
            except EngineError as error:
                rows.append({"artifact": model.name, "verified": False, "refused": str(error)})
            bar.advance()
    header = ("artefact", "verified", "SQNR", "graph", "latency p50 / p99", "GPU compute p50 / p99")
    cells = []
    for row in rows:
        for way in ("graph", "no_graph"):
            if way not in row:
                cells.append((row["artifact"], "refused", "", way, "", ""))
                continue
            decibels = row["verification"][way]["sqnr_db"]
            shown = "" if decibels is None else f"{decibels:.1f} dB"
            times = (quantiles(row[way][key]) for key in ("latency_ms", "compute_ms"))
            verdict = "yes" if row["verification"][way]["passed"] else "NO"
            cells.append((row["artifact"], verdict, shown, "yes" if way == "graph" else "no", *times))
    show_table("TensorRT 8.6, batch 1, milliseconds", header, cells, left=range(4))
    for row in rows:
        if "refused" in row:
            show_note(row["refused"])
    return {"way": "tensorrt-8.6-wheel", "rows": rows, "passed": all(row["verified"] for row in rows)}


def with_installed(models: list[Path], work: Path) -> dict[str, Any]:
    """Measure with the installed TensorRT and show the table.

    Raises:
        MimambaError: Nothing could be measured.
    """
    from benchmarks.gpu_tensorrt import here

    record = here.measure(models, work)
    show_table("", HEADER, to_rows(record), left=range(len(HEADER) - 7))
    for line in notes(record):
        show_note(line)
    for name, said in record["trtexec"].items():
        show_note(f"trtexec on {name}: {said if said else 'not found'}")
    for name, why in record["refused"].items():
        show_note(f"{name}: {why}")
    return {"way": "tensorrt", **record, "passed": not (unverified(record) or record["refused"])}


def run(arguments: argparse.Namespace) -> int:
    """Run the level; see the package for the exit status.

    Raises:
        MimambaError: Nothing could be measured.
    """
    environment = arguments.environment
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        models = artefacts(arguments.model, work)
        if importlib.util.find_spec("tensorrt") is not None:
            record = with_installed(models, work)
        else:
            record = with_wheel(models, work, environment)
    record.pop("environment", None)
    places = dict.fromkeys([f"{path.parent}/" for path in models] + [f"{work}/"], "")
    board, gpus = environment["board"], environment["gpus"]
    device = board["module"] if board else gpus[0]["name"] if gpus else None
    path = write_record(arguments, renamed(record, places), verified=record["passed"], device=device)
    show_note(f"record: {path}")
    return 0 if record["passed"] else 1

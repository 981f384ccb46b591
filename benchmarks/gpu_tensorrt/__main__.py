"""Runs level 3; see the package."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmarks.gpu_tensorrt as package
from benchmarks.gpu_tensorrt import wheel86
from benchmarks.gpu_tensorrt.tools import artefacts, quantiles
from mimamba_edge.artifact import write_json
from mimamba_edge.bench.environment import describe
from mimamba_edge.bench.run import unverified
from mimamba_edge.bench.table import HEADER, notes, to_rows
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import DependencyError, EngineError, MimambaError

RESULTS = Path(__file__).resolve().parents[1] / "results"


def record_path(device: str, day: str, results: Path = RESULTS) -> Path:
    """Return a path that no record has taken yet."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    stem = results / slug / f"{day}-gpu-tensorrt"
    number, path = 1, stem.with_name(stem.name + ".json")
    while path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}.json")
    return path


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


def main() -> int:
    """Run the level; see the package for the exit status."""
    parser = argparse.ArgumentParser(
        description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="NAME.trt.onnx, NAME.ref.npz beside it")
    named: Path | None = parser.parse_args().model
    try:
        environment = describe()
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            models = artefacts(named, work)
            if importlib.util.find_spec("tensorrt") is not None:
                record = with_installed(models, work)
            else:
                record = with_wheel(models, work, environment)
    except MimambaError as error:
        print(error, file=sys.stderr)
        return 2
    # Where the files lay on this machine is nobody's business, and no part of the figures.
    text = json.dumps(record)
    for place in {str(path.parent) for path in models} | {str(work)}:
        text = text.replace(f"{place}/", "")
    record = json.loads(text)
    board, gpus = environment["board"], environment["gpus"]
    device = board["module"] if board else gpus[0]["name"] if gpus else environment["device"]
    path = record_path(device, environment["time"][:10])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"environment": environment, **record})
    show_note(str(path))
    return 0 if record["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())

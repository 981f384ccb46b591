"""What a stream costs a small device: size on disk, time to the first decision, resident memory.

    python -m benchmarks footprint

Builds the wheel and installs it with ONNX Runtime into a fresh environment, as README tells a device's owner;
then runs `stream` there with the built-in model on simulated EEG.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from mimamba_edge.artifact import source_state
from mimamba_edge.console import progress, show_note, show_table

ROOT = Path(__file__).resolve().parents[1]
SHAPES: dict[str, tuple[str, ...]] = {
    "JSON lines": ("--sink", "jsonl:live.jsonl"),
    "JSON lines, recording, page": ("--sink", "jsonl:live.jsonl", "--record", "sessions", "--yes", "--page"),
}
_EXTRAS = {"cpu": "[cpu]", "cpu,live": "[cpu,live]"}
_MODEL = "from mimamba_edge.load import builtin_model; print(builtin_model())"
_DESCRIBE = "import json; from mimamba_edge.bench.environment import describe; print(json.dumps(describe()))"


def installed_bytes(packages: Path) -> dict[str, int]:
    """Return the size of each distribution in a ``site-packages`` folder, bytecode and native code included.

    What no distribution lists goes to its folder's name.
    """
    owners: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=[str(packages)]):
        name = distribution.metadata["Name"]
        for file in distribution.files or ():
            owners[file.parts[0]] = name
    sizes: Counter[str] = Counter()
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            top = path.relative_to(packages).parts[0]
            sizes[owners.get(top, top)] += path.stat().st_size
    return dict(sizes.most_common())


def memory_bytes(pid: int) -> dict[str, int]:
    """Return the resident memory of a process now and its peak (man 5 proc: ``VmRSS``, ``VmHWM``, in KiB)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    fields = {key: value for key, _, value in (line.partition(":") for line in lines)}
    return {
        "resident_bytes": 1024 * int(fields["VmRSS"].split()[0]),
        "peak_bytes": 1024 * int(fields["VmHWM"].split()[0]),
    }


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used (man 5 proc: ``utime``, ``stime``)."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    )
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def first_decision(command: list[str], folder: Path) -> dict[str, float]:
    """Return time and processor time from a process's start to its first line that holds a decision."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if json.loads(line)["valid"]:
                took = {"wall_s": time.perf_counter() - started, "cpu_s": cpu_s(process.pid)}
                process.kill()
                return took
        raise RuntimeError(f"no decision from {' '.join(command)}: {process.stderr.read()}")


def resident(command: list[str], folder: Path, seconds: float) -> dict[str, int]:
    """Return the memory of a stream that has run for some seconds in real time."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(seconds)
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"{' '.join(command)} ended: {process.stderr.read()}")
        found = memory_bytes(process.pid)
        process.kill()
    return found


def _environment(folder: Path, wheel: Path, extra: str) -> Path:
    """Return the Python of a fresh environment with the wheel in it."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), f"{wheel}{extra}"], check=True)
    return python


def _packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def measure(folder: Path, runs: int, seconds: float) -> dict[str, Any]:
    """Return the record."""
    build = [sys.executable, "-m", "build", "-q", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (wheel,) = (folder / "dist").glob("*.whl")
    # Without PYTHONPATH the checkout cannot stand in for the wheel.
    os.environ.pop("PYTHONPATH", None)
    pythons = {name: _environment(folder / name, wheel, extra) for name, extra in _EXTRAS.items()}
    python = pythons["cpu,live"]

    def ask(code: str) -> str:
        return subprocess.run(
            [str(python), "-c", code], check=True, capture_output=True, text=True, cwd=folder
        ).stdout.strip()

    verb = str(python.with_name("mimamba-edge"))
    subprocess.run(
        [verb, "simulate", "eeg", "--runs", "1"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    stream = [verb, "stream", ask(_MODEL), "--source", "eeg/run-01.csv"]
    first = [first_decision([*stream, "--speed", "max"], folder) for _ in range(runs)]
    return {
        "environment": {**json.loads(ask(_DESCRIBE)), **source_state()},
        "model": "built-in",
        "wheel_bytes": wheel.stat().st_size,
        "installed_bytes": {name: installed_bytes(_packages(held)) for name, held in pythons.items()},
        "first_decision": first,
        "memory_after_s": seconds,
        "memory": {name: resident([*stream, *more], folder, seconds) for name, more in SHAPES.items()},
    }


def to_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a record says, for people."""
    wall, cpu = ([run[key] for run in record["first_decision"]] for key in ("wall_s", "cpu_s"))
    rows = [("wheel", f"{record['wheel_bytes'] / 1e6:.1f} MB")]
    for name, sizes in record["installed_bytes"].items():
        largest = ", ".join(f"{owner} {size / 1e6:.0f}" for owner, size in list(sizes.items())[:4])
        rows.append((f"installed [{name}]", f"{sum(sizes.values()) / 1e6:.0f} MB ({largest})"))
    spread = f"{statistics.median(wall):.2f} s (median of {len(wall)}, slowest {max(wall):.2f} s"
    rows.append(("start to first decision", f"{spread}; {statistics.median(cpu):.2f} s of processor time)"))
    for name, held in record["memory"].items():
        now, peak = (held[key] / 1e6 for key in ("resident_bytes", "peak_bytes"))
        rows.append((f"resident, {name}", f"{now:.0f} MB (peak {peak:.0f} MB)"))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--runs", type=int, default=11, help="starts to take the median of")
    parser.add_argument("--seconds", type=float, default=20.0, help="after which memory is read")


def run(arguments: argparse.Namespace) -> int:
    """Measure and keep the record."""
    with tempfile.TemporaryDirectory() as folder, progress("install, start, stream"):
        record = measure(Path(folder), arguments.runs, arguments.seconds)
    path = write_record(arguments, record, verified=True)
    show_table("", ("", "found"), to_rows(record), left=(0, 1))
    show_note(f"record: {path}")
    return 0

"""The whole chain once, on simulated EEG, with the commands a user would type (``make demo``)."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

DATA, CKPT, MODEL = "simulated", "ckpt.pt", "out/demo.onnx"
STEPS = [
    ("simulate a headset", ["simulate", DATA, "--seed", "7"]),
    ("train", ["train", DATA, "--window", "1", "--sfreq", "128", "-o", CKPT, "--report", "train.json"]),
    ("export", ["export", CKPT, "-o", MODEL]),
    ("check parity", ["parity", CKPT, MODEL, "--data", DATA, "--report", "parity.json"]),
    (
        "benchmark",
        [
            *["bench", CKPT, MODEL, "--data", DATA, "--threads", "1", "--batch", "1"],
            *["--report", "bench.json", "--html", "bench.html"],
        ],
    ),
    ("stream", ["stream", MODEL, "--source", f"{DATA}/run-01.csv", "--speed", "max"]),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"), help="where files go")


def run(arguments: argparse.Namespace) -> int:
    """Run the steps in a folder; return the exit code of the first that failed, else 0."""
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    # What an earlier demo left, and nothing else: `simulate` refuses a folder that holds other things.
    for old in (*(folder / DATA).glob("run-[0-9][0-9].csv"), folder / DATA / "labels.csv"):
        old.unlink(missing_ok=True)
    for number, (title, words) in enumerate(STEPS, start=1):
        to_file = title == "stream"
        shown = f"mimamba-edge {shlex.join(words)}" + (" > decisions.jsonl" if to_file else "")
        print(f"\n[{number}/{len(STEPS)}] {title}\n$ {shown}", flush=True)
        command = [sys.executable, "-m", "mimamba_edge", *words]
        if to_file:
            with (folder / "decisions.jsonl").open("wb") as file:
                code = subprocess.run(command, cwd=folder, stdout=file).returncode
        else:
            code = subprocess.run(command, cwd=folder).returncode
        if code:
            print(f"\nthe step '{title}' ended with exit code {code}; its message stands above", flush=True)
            return code
    _summary(folder, time.monotonic() - started)
    return 0


def _summary(folder: Path, seconds: float) -> None:
    train, parity, bench = (
        json.loads((folder / name).read_text()) for name in ("train.json", "parity.json", "bench.json")
    )
    lines = (folder / "decisions.jsonl").read_text().splitlines()
    decided = [d for d in map(json.loads, lines) if d["valid"]]
    accuracy = train["balanced_accuracy"]
    low, high = accuracy["interval"]
    rows = [r for r in bench["rows"] if r.get("p50_ms") is not None]
    print(f"\nDone in {seconds:.0f} s. Everything lies in {folder.resolve()}")
    print(
        f"  accuracy   {accuracy['mean']:.3f} balanced ({low:.3f} to {high:.3f}), {train['protocol']}, "
        f"{accuracy['groups']} {accuracy['unit']}s"
    )
    verdict = "passed" if parity["passed"] else "missed"
    print(f"  parity     {parity['sqnr_db']:.1f} dB on {parity['n_windows']} windows, {verdict}")
    for row in rows:
        print(f"  latency    p50 {row['p50_ms']:.3f} ms, p99 {row['p99_ms']:.3f} ms  {row['runner']}")
    print(f"  stream     {len(lines)} decision lines, {len(decided)} valid")
    print(f"  report     {(folder / 'bench.html').resolve()}")

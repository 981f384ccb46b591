"""Lower precisions of trained checkpoints on their own recordings, with the checks of `quantize`.

    python -m benchmarks precision FOLDER_OF_RECORDINGS CHECKPOINT...

Each checkpoint needs its fold checkpoints beside it (``CKPT-folds``). Those of the page are made by
``python -m benchmarks ssvep-baseline DATA --work FOLDER``: ``FOLDER/ckpt.pt`` and ``FOLDER/ckpt4.pt``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.latency import mimamba
from benchmarks.record import renamed, write_record
from mimamba_edge.console import show_note

RECIPES = (("--to", "fp16"), ("--to", "int8", "--target", "tensorrt"), ("--to", "int8", "--target", "cpu"))


def measure(data: Path, checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Return the reports of all recipes for one checkpoint."""
    model = folder / f"{checkpoint.stem}.onnx"
    mimamba("export", str(checkpoint), "-o", str(model))
    reports = []
    for number, recipe in enumerate(RECIPES):
        report = folder / f"{checkpoint.stem}-{number}.json"
        more = ("--sensitivity",) if number == 0 else ()
        folds = ("--folds", str(checkpoint.with_name(f"{checkpoint.stem}-folds")))
        mimamba(
            *("quantize", str(model), *recipe, "--data", str(data), *folds, *more, "--report", str(report)),
            ends=(0, 1),
        )
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    contract = json.loads((folder / f"{model.name}.json").read_text(encoding="utf-8"))["contract"]
    names = {str(folder) + "/": "", str(data): data.name, str(checkpoint.parent) + "/": ""}
    held = {key: contract[key] for key in ("ch_names", "n_times", "sfreq")} | {"reports": reports}
    return renamed(held, names)  # type: ignore[no-any-return]


def summarised(model: dict[str, Any]) -> dict[str, Any]:
    """Return of a model's reports what the tables show."""
    keys = ("recipe", "published", "passed", "speed", "windows", "sensitivity")
    parity = ("n_windows", "sqnr_db", "top1_agreement", "near_ties")
    reports = []
    for report in model["reports"]:
        held = {key: report[key] for key in keys}
        held["parity"] = {key: report["parity"][key] for key in parity}
        score = report["accuracy"]
        held["accuracy"] = score and {key: score[key] for key in ("n_trials", "right", "net_loss")}
        if held["sensitivity"]:
            costs = held["sensitivity"]
            held["sensitivity"] = [
                {key: cost[key] for key in ("node", "sqnr_db", "used_by")} for cost in costs
            ]
        reports.append(held)
    return {**model, "reports": reports}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="trained on them, with their folds beside")


def run(arguments: argparse.Namespace) -> int:
    """Run all recipes for all checkpoints; return 1 if one of the files for TensorRT was refused."""
    with tempfile.TemporaryDirectory() as folder:
        models = [measure(arguments.data, path, Path(folder)) for path in arguments.checkpoints]
    made = [report for model in models for report in model["reports"] if report["runs_in"] == "tensorrt"]
    passed = all(report["passed"] for report in made)
    figures = {"models": [summarised(model) for model in models]}
    path = write_record(arguments, figures, verified=passed, raw={"models": models})
    show_note(f"record: {path}")
    return 0 if passed else 1

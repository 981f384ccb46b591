"""The lower precisions of trained checkpoints on their own recordings, judged as `quantize` judges them.

    python -m benchmarks.precision FOLDER_OF_RECORDINGS CHECKPOINT...

Each checkpoint needs its fold checkpoints beside it (``CKPT-folds``). The raw record, all reports in one,
goes to ``benchmarks/results/DEVICE/DATE-precision.json``; ``python -m benchmarks.render`` writes the README's
tables.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.suite import mimamba, record_path, renamed
from mimamba_edge.artifact import write_json
from mimamba_edge.bench.environment import describe
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
            *("quantize", str(model), *recipe, "--calib", str(data), *folds, *more, "--json", str(report)),
            ends=(0, 1),
        )
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    contract = json.loads((folder / f"{model.name}.json").read_text(encoding="utf-8"))["contract"]
    names = {str(folder) + "/": "", str(data): data.name, str(checkpoint.parent) + "/": ""}
    held = {"ch_names": contract["ch_names"], "n_times": contract["n_times"], "reports": reports}
    return renamed(held, names)  # type: ignore[no-any-return]


def main() -> int:
    """Run all recipes for all checkpoints; return 1 if one of the files for TensorRT was refused."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="trained on them, with their folds beside")
    arguments = parser.parse_args()
    environment = describe()
    with tempfile.TemporaryDirectory() as folder:
        models = [measure(arguments.data, path, Path(folder)) for path in arguments.checkpoints]
    record = {"format": 1, "environment": environment, "models": models}
    path = record_path(record, kind="precision")
    write_json(path, record)
    show_note(f"record: {path}")
    made = [report for model in models for report in model["reports"] if report["runs_in"] == "tensorrt"]
    return 0 if all(report["passed"] for report in made) else 1


if __name__ == "__main__":
    raise SystemExit(main())

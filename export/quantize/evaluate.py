"""What lets an artefact of lower precision be published: agreement, speed and accuracy, each measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.bench.measure import Budget, make_feeds, summarise, time_together, warm_up
from mimamba_edge.export.onnx.intermediate_outputs import runner_with_auxiliary
from mimamba_edge.export.quantize.recipes import Recipe
from mimamba_edge.export.training.scores import format_score
from mimamba_edge.parity.compare import Check, Parity
from mimamba_edge.parity.verify import compare
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["NET_LOSS", "Evaluation", "accuracy_check", "evaluate", "measure_speed", "speed_check"]

NET_LOSS = 2 / 192
"""Share of the trials that may be lost, net, out of fold."""
TIMING = Budget(runs=1000, least_s=1.0, most_s=4.0, warm_s=0.3, block_s=0.05)


@dataclass
class Evaluation:
    """All that was measured of a candidate, and the verdict line by line.

    Attributes:
        parity: Of its answers with the fp32 file's.
        windows: On which windows.
        speed: Of both files side by side, or ``None``.
        accuracy: Of both, out of fold, or ``None``.
        size_bytes: Of both files.
        checks: The verdict.
    """

    parity: Parity
    windows: WindowSet
    size_bytes: dict[str, int]
    speed: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "passed": self.passed,
            "checks": [vars(check) for check in self.checks],
            "parity": self.parity.to_dict(),
            "windows": self.windows.to_dict(),
            "speed": self.speed,
            "accuracy": self.accuracy,
            "size_bytes": self.size_bytes,
        }


def evaluate(reference: Path, candidate: Path, windows: WindowSet) -> Evaluation:
    """Compare a candidate's answers and size with the fp32 file's.

    Raises:
        MimambaError: A file cannot be run.
    """
    with runner_with_auxiliary(reference, threads=1) as a, runner_with_auxiliary(candidate, threads=1) as b:
        parity = compare(a, b, windows.data)
    sizes = {a.precision: reference.stat().st_size, b.precision: candidate.stat().st_size}
    return Evaluation(parity, windows, sizes, checks=list(parity.checks))


def measure_speed(reference: Path, candidate: Path, windows: WindowSet) -> dict[str, Any]:
    """Time two files in turn at batch 1 on one thread; every run gets another window.

    Returns:
        Figures of both, ``ratio`` of the medians (above 1: the candidate is faster) and its ``spread``:
        quartiles of the ratio over pairs of neighbouring blocks.
    """
    feeds = make_feeds(windows.data, 1)
    runners = [OrtRunner(path, threads=1) for path in (reference, candidate)]
    with runners[0], runners[1]:
        for runner in runners:
            warm_up(runner, feeds, TIMING.warm_s)
        series = time_together(runners, feeds, TIMING)
    figures = [summarise(one, 1) for one in series]
    for one in figures:
        del one["latencies_ms"]
    blocks = min(len(one.block_means) for one in series)
    ratios = np.array(series[0].block_means[:blocks]) / np.array(series[1].block_means[:blocks])
    return {
        "windows": windows.to_dict(),
        "fp32": figures[0],
        runners[1].precision: figures[1],
        "ratio": figures[0]["p50_ms"] / figures[1]["p50_ms"],
        "spread": [float(v) for v in np.percentile(ratios, [25, 75])],
    }


def speed_check(recipe: Recipe, speed: dict[str, Any] | None) -> Check:
    """Return the line of the verdict on speed."""
    name = "faster than fp32, batch 1, one thread"
    if recipe.least_speedup is None or speed is None:
        value = "not measured here: this file is for TensorRT, where `mimamba-edge bench` compares it"
        return Check(name, value, "faster", None)
    low, high = speed["spread"]
    value = f"{speed['ratio']:.2f} x (blocks {low:.2f} to {high:.2f})"
    return Check(name, value, f">= {recipe.least_speedup:g} x", speed["ratio"] >= recipe.least_speedup)


def accuracy_check(accuracy: dict[str, Any] | None) -> Check:
    """Return the line of the verdict on accuracy."""
    name = "fewer held-out trials right"
    if accuracy is None:
        value = "not measured: no fold checkpoints (--folds) with their labelled data (--data)"
        return Check(name, value, f"<= {NET_LOSS:.1%}", None)
    n, net = accuracy["n_trials"], accuracy["net_loss"]
    allowed = int(NET_LOSS * n + 1e-9)
    value = (
        f"{net} of {n} ({accuracy['lost']} now wrong, {accuracy['gained']} now right), "
        f"accuracy {accuracy['difference']:+.3f} ({format_score(accuracy, '+')}), "
        f"p {accuracy['mcnemar_p']:.2g}"
    )
    return Check(name, value, f"<= {allowed}", net <= allowed)

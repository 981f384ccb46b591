"""The tables of the pages, from the newest record of each device.

A caption says what made its table, from the record alone: the command, the windows, the machine, the commit.
Where a record lacks one of these, the caption says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency import TARGETS, ratios
from mimamba_edge.bench.table import milliseconds

__all__ = [
    *("accuracy", "as_table", "latency", "link", "made", "newest", "of_each", "personal", "precision"),
    *("sensitivity", "targets"),
]

_NAMES = {
    "torch-eager-parallel": "PyTorch eager",
    "torch-compile": "torch.compile",
    "torch-eager-fused": "PyTorch eager, fused ops",
    "onnxruntime-cpu": "**mimamba-edge in ONNX Runtime**",
    "onnxruntime-cpu-native": "**mimamba-edge in ONNX Runtime, native ops**",
}


def newest(results: Path, kind: str) -> list[Path]:
    """Return the newest ``DATE-KIND.json`` or ``DATE-KIND-NUMBER.json`` of each folder."""
    name = re.compile(rf"(\d{{4}}-\d\d-\d\d)-{re.escape(kind)}(?:-(\d+))?\.json")
    found: dict[Path, tuple[str, int, Path]] = {}
    for path in sorted(results.glob("*/*.json")):
        if match := name.fullmatch(path.name):
            here = (match[1], int(match[2] or 1), path)
            found[path.parent] = max(here, found.get(path.parent, here))
    return [path for _, _, path in found.values()]


def as_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int) -> str:
    rule = [":--" if i < left else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def link(path: Path, results: Path) -> str:
    return f"benchmarks/results/{path.relative_to(results).as_posix()}"


def made(record: dict[str, Any], path: Path, results: Path, *facts: str) -> str:
    """Return a caption: what made the record, what was measured, where, and the record itself.

    Args:
        record: The record.
        path: Where it lies.
        results: Folder of all records.
        facts: What must be known to read the table, in words.
    """
    env = record["environment"]
    commit = f"commit {env['commit'][:10]}" if env["commit"] else "commit unknown"
    commit += " with local changes" if env["dirty"] else ""
    command = f"`{record['command']}`" if record.get("command") else "a command that is not in the record"
    where = f"{env['device']}, {env['cores']} cores, {env['time'][:10]}"
    return "; ".join((f"Made by {command}", *facts, where, commit, f"[record]({link(path, results)})")) + "."


def _known(value: object, what: str) -> str:
    """Return a fact in words, or that the record lacks it."""
    return f"{what} not in the record" if value is None else f"{value}"


def _windows(n_times: int | None, sfreq: float | None) -> str:
    """Return length and rate of windows in words; ``None`` is what a record lacks."""
    if n_times is None:
        return "length and rate of the windows not in the record"
    if sfreq is None:
        return f"windows of {n_times} samples, their rate not in the record"
    return f"windows of {n_times / sfreq:g} s ({n_times} samples at {sfreq:g} Hz)"


def of_each(results: Path, kind: str, render_one: Callable[[dict[str, Any], Path], str]) -> str:
    parts = [render_one(json.loads(p.read_text(encoding="utf-8")), p) for p in newest(results, kind)]
    return "\n\n".join(parts) or f"Not measured on a clean commit yet: `python -m benchmarks {kind}`."


def latency(results: Path) -> str:
    """Return the latencies of the newest record of each device."""

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for row in record["rows"]:
            name = _NAMES.get(row["runner"], row["runner"])
            if row["p50_ms"] is None:
                rows.append((name, str(row["batch"]), f"not timed: {row['why_not']}", *[""] * 5))
                continue
            ms = [milliseconds(row[key]) for key in ("p50_ms", "p99_ms", "max_ms", "per_window_ms")]
            ratio = "" if row["floor_ratio"] is None else f"{row['floor_ratio']:.2f}"
            rows.append((name, str(row["batch"]), *ms, f"{row['speedup']:.1f} x", ratio))
        header = ("runner", "batch", "p50 ms", "p99 ms", "max ms", "ms a window", "against eager", "x sgemm")
        return f"{as_table(header, rows, 1)}\n\n{made(record, path, results, *_timed(record))}"

    return of_each(results, "latency", one)


def targets(results: Path) -> str:
    """Return what the project holds itself to, beside what the newest record of each device shows."""

    def one(record: dict[str, Any], path: Path) -> str:
        values = ratios(record)
        rows: list[tuple[str, ...]] = []
        for name, word, bound in TARGETS:
            value = values[name]
            rows.append((name, "not measured" if value is None else f"{value:.2f}", f"{word} {bound:g}"))
        header = ("ratio of medians in one run", record["environment"]["device"], "target")
        return f"{as_table(header, rows, 1)}\n\n{made(record, path, results, *_timed(record))}"

    return of_each(results, "latency", one)


def _timed(record: dict[str, Any]) -> list[str]:
    """Return what the latencies of a record were measured on."""
    windows, floor, versions = record["windows"], record["floor"], record["environment"]["versions"]
    trained = record.get("suite", {}).get("train")
    model = record.get("model", {})
    weights = "training not in the record"
    if trained:
        weights = f"weights of `mimamba-edge train {windows['source']} {' '.join(trained)}`"
    return [
        f"{windows['count']} windows of {windows['source']} at a hop of {windows['hop']} samples",
        f"{record['input'][0]} channels, {_windows(record['input'][1], model.get('sfreq'))}",
        weights,
        f"{record['threads']} thread",
        ", ".join(f"{n} {versions[n]}" for n in ("torch", "onnxruntime") if versions[n]),
        f"sgemm {floor['sgemm_gflops']:.0f} GFLOP/s, {milliseconds(floor['floor_ms'])} ms a window",
    ]


def _methods(scores: Iterable[Any]) -> str:
    """Return how the intervals of a record were taken; the first records do not say, all by a bootstrap."""
    scores = [score for score in scores if isinstance(score, dict) and "interval" in score]
    return ", ".join(dict.fromkeys(score.get("method", "percentile bootstrap") for score in scores))


def accuracy(results: Path) -> str:
    """Return the accuracy on the SSVEP recordings beside the baseline's (``benchmarks.ssvep_baseline``)."""

    def figure(score: dict[str, Any], key: str = "mean") -> str:
        low, high = score["interval"]
        return f"{score[key]:.3f} ({low:.3f} to {high:.3f})"

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for row in record["rows"]:
            difference = figure(row["network_minus_baseline"], "difference")
            names = f"{len(row['ch_names'])}: {', '.join(row['ch_names'])}"
            rows.append((names, row["protocol"], figure(row["network"]), figure(row["baseline"]), difference))
        header = ("channels", "protocol", "MS-iMamba", "linear baseline", "difference")
        return f"{as_table(header, rows, 2)}\n\n{made(record, path, results, *_scored(record))}"

    return of_each(results, "ssvep-baseline", one)


def _scored(record: dict[str, Any]) -> list[str]:
    """Return what the accuracies of a record were measured on."""
    row = record["rows"][0]
    seeds = row["network"].get("seeds")
    trained = [one["train"] for one in record["rows"] if "train" in one]
    return [
        f"balanced accuracy with 95 % intervals ({_methods(row.values())}), difference paired over trials",
        f"{row['n_trials']} trials, {_windows(row.get('n_times'), row.get('sfreq'))}",
        _known(seeds and f"{len(seeds)} seeds of the network, mean", "number of seeds"),
        "trained by " + " and ".join(f"`{one}`" for one in trained)
        if trained
        else "command of the training not in the record",
    ]


def precision(results: Path) -> str:
    """Return what each lower precision of each model gave (``benchmarks.precision``)."""

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for model in record["models"]:
            for report in model["reports"]:
                parity, speed, score = report["parity"], report["speed"], report["accuracy"]
                rows.append(
                    (
                        f"{len(model['ch_names'])} ch, {model['n_times']}",
                        report["recipe"],
                        f"{parity['sqnr_db']:.1f}",
                        f"{parity['top1_agreement']:.2%}",
                        f"{parity['near_ties']} of {parity['n_windows']}",
                        f"{score['net_loss']} of {score['n_trials']}" if score else "not measured",
                        f"{speed['ratio']:.2f} x" if speed else "not measured",
                        "yes" if report["published"] else "refused",
                    )
                )
        header = (
            *("model", "file", "SQNR dB", "same class", "near-ties", "fewer trials right"),
            *("speed against fp32", "written"),
        )
        return f"{as_table(header, rows, 2)}\n\n{made(record, path, results, *_quantised(record))}"

    return of_each(results, "precision", one)


def _quantised(record: dict[str, Any]) -> list[str]:
    """Return what the lower precisions of a record were judged on."""
    windows = record["models"][0]["reports"][0]["windows"]
    inputs = [
        f"{len(model['ch_names'])} ch: {', '.join(model['ch_names'])}, "
        + _windows(model["n_times"], model.get("sfreq"))
        for model in record["models"]
    ]
    return [
        *inputs,
        f"up to {windows['count']} windows of {windows['source']}",
        "trials out of fold, one seed",
        "speed at batch 1, one thread",
    ]


def sensitivity(results: Path) -> str:
    """Return what INT8 costs at each op of each model, from the same record."""

    def one(record: dict[str, Any], path: Path) -> str:
        costs = [
            {cost["node"]: cost for cost in model["reports"][0]["sensitivity"]} for model in record["models"]
        ]
        names = sorted(costs[0], key=lambda name: float(costs[0][name]["sqnr_db"]))
        rows = [
            (
                f"`{name}`",
                *(f"{held[name]['sqnr_db']:.1f} dB" if name in held else "" for held in costs),
                costs[0][name]["used_by"] or "stays float",
            )
            for name in names
        ]
        heads = (f"{len(model['ch_names'])} ch, {model['n_times']}" for model in record["models"])
        header = ("INT8 at this op alone", *heads, "quantised for")
        return f"{as_table(header, rows, 1)}\n\n{made(record, path, results, *_quantised(record))}"

    return of_each(results, "precision", one)


def personal(results: Path) -> str:
    """Return what a profile and fine-tuning gave on unseen runs (``benchmarks.personal``)."""

    def figure(score: dict[str, Any], key: str, sign: str = "") -> str:
        low, high = score["interval"]
        return f"{score[key]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for condition, methods in record["conditions"].items():
            for name, held in methods.items():
                plain = name == "none"
                rows.append(
                    (
                        condition,
                        name,
                        figure(held["balanced_accuracy"], "mean"),
                        "" if plain else figure(held["minus_none"], "difference", "+"),
                        f"{held['nll']:.3f}",
                        "" if plain else figure(held["nll_minus_none"], "difference", "+"),
                    )
                )
        header = ("signal", "adapted by", "balanced accuracy", "against none", "NLL", "against none")
        design = record["design"]
        none = next(iter(record["conditions"].values()))["none"]
        facts = (
            f"{design['n_trials']} trials of {record['data']['folder']}, {', '.join(design['ch_names'])}",
            _windows(design.get("n_times"), design.get("sfreq")),
            f"trained on {design['trained_on']} runs, adapted on {design['calibrated_on']}",
            f"tested on {design['tested_on']}, {design['rotations']} rotations, {design['seeds']} seeds",
            f"95 % intervals ({_methods(none.values())}) over trials, paired",
            "one person, one session",
        )
        return f"{as_table(header, rows, 2)}\n\n{made(record, path, results, *facts)}"

    return of_each(results, "personal", one)

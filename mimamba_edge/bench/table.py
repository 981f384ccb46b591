"""The record of a benchmark as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["COMPACT", "HEADER", "columns_of", "milliseconds", "notes", "to_rows"]

HEADER = (
    "artifact",
    "runner",
    "batch",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "max ms",
    "per window ms",
    "speedup",
    "x sgemm",
    "at stream pace p50 ms",
    "windows/s",
    "memory MB",
    "runs",
    "outliers",
    "SQNR dB",
    "accuracy",
    "checked",
)

COMPACT = ("runner", "batch", "p50 ms", "p99 ms", "max ms", "speedup", "x sgemm", "checked")
"""The columns that fit a terminal; the page and the record hold all."""


def columns_of(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns for a terminal: with the file's name where the runner's does not tell rows apart."""
    rows = record["rows"]
    names = {(row["runner"], row["artifact"]) for row in rows}
    columns = COMPACT if len({runner for runner, _ in names}) == len(names) else ("artifact", *COMPACT)
    if not any(row.get("precision") in ("fp16", "int8") or row.get("accuracy") for row in rows):
        return columns
    return (*columns[:-1], "SQNR dB", "accuracy", columns[-1])


def milliseconds(value: float | None) -> str:
    """Return at least three significant digits, down to microseconds; nothing for ``None``."""
    if value is None:
        return ""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def to_rows(record: dict[str, Any], columns: Sequence[str] = HEADER) -> list[list[str]]:
    """Return a row of cells for each row of the record, with the columns asked for."""
    every = [dict(zip(HEADER, _cells(row), strict=True)) for row in record["rows"]]
    return [[cells[name] for name in columns] for cells in every]


def _cells(row: dict[str, Any]) -> list[str]:
    head = [Path(row["artifact"]).name, row["runner"], str(row["batch"])]
    verified = "yes" if row["verified"] else "no" if row["verification"] else "not run"
    ratio = (row["verification"] or {}).get("sqnr_db")
    score = row.get("accuracy")
    tail = [
        "" if ratio is None else f"{ratio:.0f}",
        "" if score is None else f"{score['right']} of {score['n_trials']}",
        verified,
    ]
    if row["p50_ms"] is None:
        return [*head, *([""] * (len(HEADER) - len(head) - len(tail))), *tail]
    ms = [milliseconds(row[key]) for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms", "per_window_ms")]
    memory = row["peak_memory_bytes"]
    return [
        *head,
        *ms,
        f"{row['speedup']:.2f}",
        "" if row["floor_ratio"] is None else f"{row['floor_ratio']:.2f}",
        milliseconds(row["paced_p50_ms"]),
        f"{row['throughput_hz']:.0f}",
        "" if memory is None else f"{memory / 1e6:.0f}",
        str(row["n_runs"]),
        str(row["outliers"]),
        *tail,
    ]


def notes(record: dict[str, Any]) -> list[str]:
    """Return what must be read with the table, a line each."""
    windows, floor = record["windows"], record["floor"]
    hop = "" if windows["hop"] is None else f", hop {windows['hop']} samples"
    out = [f"windows: {windows['count']} of {windows['source']} ({windows['kind']}{hop})"]
    if floor is not None:
        out.append(
            f"x sgemm: times what a dense matrix product (sgemm) takes for as many multiply-adds: "
            f"{milliseconds(floor['floor_ms'])} ms a window, {floor['gmac'] * 1e3:.1f} M at the "
            f"{floor['sgemm_gflops']:.0f} GFLOP/s of this run on {floor['threads']} thread(s)"
        )
    out.append("compute only: `mimamba-edge stream` reports the latency from sample to decision")
    refused = [row for row in record["rows"] if row["why_not"]]
    for name, why in dict.fromkeys((_artifact(row), row["why_not"]) for row in refused):
        batches = [row["batch"] for row in refused if (_artifact(row), row["why_not"]) == (name, why)]
        of = (
            ""
            if batches == sorted({row["batch"] for row in record["rows"]})
            else f", batch {', '.join(map(str, batches))}"
        )
        out.append(f"not timed: {name}{of}: {why}")
    for row in record["rows"]:
        why = row.get("runner_report", {}).get("graph_error")
        out += [f"without the requested CUDA graph: {_name(row)}: {why}"] if why else []
    if any(row.get("accuracy") for row in record["rows"]):
        out.append("accuracy: correct held-out trials, one seed; each fold's own model in this precision")
    timed = [row for row in record["rows"] if row["p50_ms"] is not None]
    for why in dict.fromkeys(row["unstable_why"] for row in timed if row["unstable_why"]):
        shaky = [_name(row) for row in timed if row["unstable_why"] == why]
        out.append(f"{why}: {'every row' if len(shaky) == len(timed) else '; '.join(shaky)}")
    return out


def _name(row: dict[str, Any]) -> str:
    return f"{_artifact(row)}, batch {row['batch']}"


def _artifact(row: dict[str, Any]) -> str:
    return f"{Path(row['artifact']).name} in {row['runner']}"

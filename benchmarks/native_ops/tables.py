"""The tables of a record, for a terminal and for the pages, and what the project holds itself to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.native_ops.network import NATIVE
from benchmarks.native_ops.roofs import COPY, EXPONENTIALS
from benchmarks.native_ops.scan import BODY, FAST, LINEAR, LLAMA, PLAIN
from mimamba_edge.bench.table import milliseconds

__all__ = ["NETWORK", "SCANS", "TARGETS", "first_scan", "network", "notes", "scans", "targets"]

SCANS = ("scan", "by", "CPU ms", "middle half", "clock ms", "x native")
NETWORK = ("default network, batch 1", "p50 ms", "p99 ms", "x native", "x sgemm")
TARGETS = ("ratio in one run", "here", "target")


def scans(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each way to compute each scan; what was not timed stands at the first sizes only."""
    rows: list[tuple[str, ...]] = []
    for scan in record["scans"]:
        for name, row in scan["rows"].items():
            if "cpu_ms" in row:
                ms = [milliseconds(row[key]) for key in ("cpu_ms", "low_ms", "high_ms", "clock_ms")]
                ratio = f"{row['against_native']:.2f}" if "against_native" in row else ""
                rows.append((scan["sizes"], name, ms[0], f"{ms[1]} to {ms[2]}", ms[3], ratio))
            elif scan is record["scans"][0]:
                rows.append((scan["sizes"], name, "not timed", "", "", ""))
    return rows


def first_scan(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the first sizes."""
    return scans({"scans": record["scans"][:1]})


def network(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each runner of the network."""
    rows: list[tuple[str, ...]] = []
    for row in record["network"]["rows"]:
        if row["p50_ms"] is None:
            rows.append((row["runner"], "not timed", "", "", ""))
            continue
        ratios = [row.get("against_native"), row["floor_ratio"]]
        cells = ("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        rows.append((row["runner"], milliseconds(row["p50_ms"]), milliseconds(row["p99_ms"]), *cells))
    return rows


def ratios(record: dict[str, Any]) -> list[tuple[str, float | None, str, float]]:
    """Return what the project holds itself to: name, ratio (``None``: not measured), direction, bound."""
    rows, threads = record["scans"][0]["rows"], record["threads"]
    runners = {row["runner"]: row for row in record["network"]["rows"]}
    native, paired = runners.get(NATIVE, {}), record["network"]["paired"]

    def over(name: str) -> float | None:
        ratio: float | None = rows.get(name, {}).get("against_native")
        return ratio

    return [
        ("scan: function body / native", over(BODY), "at least", 6.0),
        (f"scan: {PLAIN} / native", over(PLAIN), "at least", 2.0),
        (f"scan: {FAST} / native", over(FAST), "at least", 2.0),
        (f"scan: {LINEAR} / native", over(LINEAR), "at least", 15.0),
        (f"scan: {LLAMA} / native", over(LLAMA), "at least", 4.0),
        ("scan: one thread / two, by the clock", threads.get("faster"), "at least", 1.8),
        ("network: native / function body", paired["native_against_body"], "at most", 0.7),
        ("network: native / dense sgemm floor", native.get("floor_ratio"), "at most", 0.8),
    ]


def targets(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the ratios beside their bounds, and the shares of the machine's roofs."""
    out: list[tuple[str, ...]] = []
    for name, value, word, bound in ratios(record):
        out.append((name, "not measured" if value is None else f"{value:.2f}", f"{word} {bound:g}"))
    rows = record["scans"][0]["rows"]
    for name in (EXPONENTIALS, COPY):
        out.append((f"scan: {name} / native", f"{rows[name]['against_native']:.2f}", ""))
    return out


def notes(record: dict[str, Any]) -> Sequence[str]:
    """Return what must be read with the tables, a line each."""
    floor, threads, rates = record["network"]["floor"], record["threads"], record["roofs"]
    begun, ended = record["load_average"]
    out = [f"{record['instruction_set']}, one thread; load {begun:.1f} at the start, {ended:.1f} at the end"]
    out.append(f"roofs: {rates['gexp_per_s']:.2f} billion exponentials a second in registers")
    out[-1] += f", {rates['copy_gb_per_s']:.1f} GB/s read and written by a copy"
    refused = [(name, row) for name, row in record["scans"][0]["rows"].items() if "why_not" in row]
    refused += [(row["runner"], row) for row in record["network"]["rows"] if row["why_not"]]
    out += [f"not timed: {name}: {row['why_not']}" for name, row in refused]
    if "why_not" in threads:
        out.append(f"two threads not timed: {threads['why_not']}")
    else:
        out.append(
            f"one thread and two, by the clock: {threads['one_ms']:.2f} and {threads['two_ms']:.2f} ms"
        )
        out[-1] += f", {threads['faster_at_best']:.2f} times as fast in the least disturbed runs"
        out[-1] += f" (exponentials alone: {threads['roof_faster']:.2f} times)"
        out[-1] += f"; the one thread waited {threads['busy'] - 1:.0%} of its time for a core"
    if record["llama_cpp"]:
        used = record["llama_cpp"]
        out.append(
            f"llama.cpp {str(used['commit'])[:10]}, {used['flags']}: its loop, without bias, skip, gate"
        )
    out.append(f"network: {record['network']['windows']}")
    if floor is not None:
        out.append(f"floor: {milliseconds(floor['floor_ms'])} ms a window, {floor['gmac'] * 1e3:.1f} M MAC")
        out[-1] += f" at {floor['sgemm_gflops']:.0f} GFLOP/s of sgemm"
    return out

"""The bars and the short tables of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu.cases import ScanCase, largest
from benchmarks.gpu.network import EAGER, GRAPHS, REDUCED

__all__ = ["BARS", "Bar", "Table", "evaluate", "status", "tables"]

Rows = list[dict[str, Any]]
Cells = list[tuple[str, ...]]
Table = tuple[str, tuple[str, ...], Cells]


def _timed(rows: Rows) -> Rows:
    return [row for row in rows if "why_not" not in row]


def _worst(rows: Rows, key: str, of: Callable[[list[float]], float]) -> float | None:
    """Return the worst value of a key; ``None`` unless every row has one: a gap is no pass."""
    values = [row.get(key) for row in rows]
    return None if not values or None in values else of([v for v in values if v is not None])


def _against_mamba_ssm(parts: dict[str, Rows]) -> float | None:
    return _worst(parts.get("scan", []), "against_mamba_ssm", max)


def _short(parts: dict[str, Rows]) -> float | None:
    worst = _worst(
        [r for r in parts.get("scan", []) if r["l"] <= 62 and r["b"] <= 8], "against_mamba_ssm", max
    )
    return None if worst is None else 1 / worst


def _at_largest(parts: dict[str, Rows]) -> float | None:
    names = ("b", "l", "d", "dtype", "gated", "n")
    rows = {ScanCase(*(row[name] for name in names)): row for row in parts.get("scan", [])}
    return _worst([rows[case] for case in largest(list(rows))], "share_of_roof", min)


def _block(parts: dict[str, Rows]) -> float | None:
    rows = [r for r in _timed(parts.get("mstb", [])) if (r["b"], r["l"], r["dtype"]) == (1, 128, "float32")]
    return float(rows[0]["ours"]["p50_us"]) if rows else None


def _network(parts: dict[str, Rows]) -> float | None:
    rows = [r for r in _timed(parts.get("network", [])) if r["b"] == 1 and r["runner"] in GRAPHS]
    return min((float(r["compute"]["p50_us"]) for r in rows), default=None)


@dataclass(frozen=True)
class Bar:
    """What the project holds itself to.

    Attributes:
        part: Which part of the suite shows it.
        name: For people.
        word: ``"at most"`` or ``"at least"``.
        bound: The figure.
        value: Reads the figure from the rows of all parts; ``None`` where it was not measured.
        device: In whose name it must stand, if the figure is one device's.
    """

    part: str
    name: str
    word: str
    bound: float
    value: Callable[[dict[str, Rows]], float | None]
    device: str = ""


BARS = (
    Bar("scan", "scan: our time over mamba_ssm's, worst shape", "at most", 1.05, _against_mamba_ssm),
    Bar("scan", "scan: mamba_ssm's time over ours, l <= 62, b <= 8, worst", "at least", 2.0, _short),
    Bar("scan", "scan: share of min(copy, exp roof), largest shapes, worst", "at least", 0.7, _at_largest),
    Bar("mstb", "block: p50 us, batch 1, l 128, fp32", "at most", 25.0, _block, "H200"),
    Bar("network", "network: p50 us on the device, CUDA graph, batch 1", "at most", 80.0, _network, "H200"),
)


def evaluate(parts: dict[str, Rows], device: str, cut: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return name, value, bound and verdict of the bars of the parts that ran.

    A verdict is ``passed``, ``missed``, ``not measured``, or ``other device`` where the bar is one device's.

    Args:
        parts: The rows of each part that ran.
        device: Name of the GPU.
        cut: Parts that time ran out for. The worst of some shapes is not the worst of all.
    """
    verdicts = []
    for bar in BARS:
        if bar.part not in parts:
            continue
        value = bar.value(parts)
        met = value is not None and (value <= bar.bound if bar.word == "at most" else value >= bar.bound)
        if value is None or (met and bar.part == "scan" and bar.part in cut):
            verdict = "not measured"
        elif bar.device not in device:
            verdict = "other device"
        else:
            verdict = "passed" if met else "missed"
        bound = f"{bar.word} {bar.bound:g}"
        verdicts.append({"name": bar.name, "value": value, "bar": bound, "verdict": verdict})
    return verdicts


def status(bars: list[dict[str, Any]], wrong: list[str]) -> int:
    """Return the exit status: 1 for a bar missed or an output wrong, 2 for a bar not measured, else 0."""
    verdicts = [bar["verdict"] for bar in bars]
    if wrong or "missed" in verdicts:
        return 1
    return 2 if "not measured" in verdicts else 0


def _us(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _middle(rows: Rows, key: str) -> str:
    values = sorted(float(row[key]) for row in rows)
    return f"{values[len(values) // 2]:.2f}" if values else ""


def _scan_table(rows: Rows) -> Table:
    header = ("length", "shapes", "against mamba_ssm", "worst", "worst at", "share of roof", "worst")
    cells: Cells = []
    for length in sorted({row["l"] for row in rows}):
        timed = [row for row in _timed(rows) if row["l"] == length]
        beside = [row for row in timed if row["against_mamba_ssm"] is not None]
        slow = max(beside, key=lambda row: float(row["against_mamba_ssm"]), default=None)
        low = min((row["share_of_roof"] for row in timed), default=None)
        cells.append(
            (
                str(length),
                str(len(timed)),
                _middle(beside, "against_mamba_ssm"),
                f"{slow['against_mamba_ssm']:.2f}" if slow else "",
                f"b {slow['b']}, d {slow['d']}, {slow['dtype']}{', z' if slow['gated'] else ''}"
                if slow
                else "",
                _middle(timed, "share_of_roof"),
                "" if low is None else f"{low:.2f}",
            )
        )
    return "Selective scan: median of our time over mamba_ssm's, and of the roof over ours", header, cells


def _mstb_table(rows: Rows) -> Table:
    header = ("length", "batch", "type", "p50", "p99", "launches alone")
    cells: Cells = []
    for row in _timed(rows):
        times = (_us(row["ours"]["p50_us"]), _us(row["ours"]["p99_us"]), _us(row["floor"]["p50_us"]))
        cells.append((str(row["l"]), str(row["b"]), str(row["dtype"]), *times))
    return "The block, microseconds", header, cells


def _network_table(rows: Rows) -> Table:
    header = (
        "runner",
        "batch",
        "device p50",
        "p99",
        "latency p50",
        "p99",
        "against eager",
        "reduce-overhead",
    )
    p50 = {(row["b"], row["runner"]): float(row["compute"]["p50_us"]) for row in _timed(rows)}
    cells: Cells = []
    floors = []
    for row in sorted(rows, key=lambda row: int(row["b"])):
        if "why_not" in row:
            cells.append((row["runner"], str(row["b"]), "not timed", *[""] * 5))
            continue
        here = p50[row["b"], row["runner"]]
        beside = (p50.get((row["b"], other)) for other in (EAGER, REDUCED))
        times = (row[kind][key] for kind in ("compute", "latency") for key in ("p50_us", "p99_us"))
        ratios = ("" if other is None else f"{other / here:.1f} x" for other in beside)
        cells.append((row["runner"], str(row["b"]), *map(_us, times), *ratios))
        if row.get("floor"):
            floors.append(f"; as many empty kernels ({row['nodes']}) take {_us(row['floor']['p50_us'])}")
    return "The network, microseconds" + "".join(floors[:1]), header, cells


def _training_table(rows: Rows) -> Table:
    header = ("channels x samples", "mamba_ssm's scan", "ours", "bfloat16", "looped")
    cells: Cells = [
        (
            f"{row['channels']} x {row['samples']}",
            "yes" if row["fused_scan"] else "no",
            *(f"{row[name]:.0f}" for name in ("ours", "mixed", "looped")),
        )
        for row in rows
    ]
    return "Training, windows a second", header, cells


def tables(parts: dict[str, Rows], bars: list[dict[str, Any]]) -> list[Table]:
    """Return what is shown: a table a part, the bars last."""
    shown = {"scan": _scan_table, "mstb": _mstb_table, "network": _network_table}
    shown["training"] = _training_table
    rows: Cells = []
    for bar in bars:
        here = "" if bar["value"] is None else f"{bar['value']:.2f}"
        rows.append((bar["name"], here, bar["bar"], bar["verdict"]))
    made = [shown[part](found) for part, found in parts.items() if found]
    return [*made, ("Bars", ("", "here", "bar", "verdict"), rows)]

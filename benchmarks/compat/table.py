"""The tables of docs/compatibility.md, from a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.compat.catalogue import ENTRIES

__all__ = ["HEADER", "OTHERS", "in_words", "notes", "others", "to_rows"]

HEADER = (
    *("model", "source", "parameters", "scans", "nodes", "export s", "file MB", "/ weights"),
    *("SQNR dB", "against", "ms", "eager ms"),
)
OTHERS = ("model", "exporter", "nodes", "file MB", "export s", "SQNR dB", "ms", "ours ms")
_EXPORTERS = {"transformers": "transformers' own", "torch": "torch.onnx.export"}


def in_words(row: dict[str, Any]) -> str:
    """Return one line about a result."""
    if why := row.get("missing") or row.get("failed"):
        return f"{'not run' if 'missing' in row else 'failed'}: {why}"
    said = f"{row['sqnr_db']:.1f} dB, {row['scans']} scans, exported in {row['export_s']:.1f} s"
    return "; missed: ".join(
        [f"{said}, {row['ort_ms']:.2f} ms", *([", ".join(row["missed"])] * bool(row["missed"]))]
    )


def to_rows(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return the cells of the first table."""
    return [_cells(row) for row in record["rows"] if row["name"] in ENTRIES]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    entry = ENTRIES[row["name"]]
    if "missing" in row or "failed" in row:
        return (entry.title, f"{entry.source}: {in_words(row)}", *[""] * (len(HEADER) - 2))
    return (
        entry.title,
        entry.source,
        f"{row['parameters']:,}",
        str(row["scans"]),
        str(row["nodes"]),
        f"{row['export_s']:.1f}",
        f"{row['file_bytes'] / 1e6:.2f}",
        f"{row['file_bytes'] / row['weight_bytes']:.2f}",
        f"{row['sqnr_db']:.1f}",
        row["against"],
        f"{row['ort_ms']:.2f}",
        f"{row['eager_ms']:.2f}",
    )


def others(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return the cells of the second table."""
    rows: list[tuple[str, ...]] = []
    for row in record["rows"]:
        for exporter, found in row.get("others", {}).items() if row["name"] in ENTRIES else ():
            head = (ENTRIES[row["name"]].title, _EXPORTERS[exporter])
            if "failed" in found:
                rows.append((head[0], f"{head[1]}: {found['failed']}", *[""] * (len(OTHERS) - 2)))
                continue
            rows.append(
                (
                    *head,
                    f"{found['nodes']:,}",
                    f"{found['file_bytes'] / 1e6:.2f}",
                    f"{found['export_s']:.1f}",
                    f"{found['sqnr_db']:.1f}",
                    f"{found['ort_ms']:.2f}",
                    f"{row['ort_ms']:.2f}",
                )
            )
    return rows


def notes(record: dict[str, Any]) -> Sequence[str]:
    """Return what stands below the first table: versions and load."""
    versions = record["environment"]["versions"]
    held = {name: versions[name] for name in ("torch", "onnxruntime")} | record["sources"]
    # A commit is cut, a version is not.
    named = [f"{name} {value[:10] if len(value) == 40 else value}" for name, value in held.items() if value]
    load = record["load_at_rows"]
    return [", ".join(named), *([f"load average {load[0]:g} to {load[1]:g}"] if load else [])]

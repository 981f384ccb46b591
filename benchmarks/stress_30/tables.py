"""The tables of a record, for a terminal and for the page."""

from __future__ import annotations

from typing import Any

from mimamba_edge.bench.table import milliseconds

__all__ = ["FORMS", "MIXER", "forms", "mixer", "notes"]

FORMS = ("blocks", "form", "MB", "load s", "CPU ms", "real-time factor", "x other", "SQNR dB")
MIXER = ("one mixer, l 64", "CPU ms", "SQNR dB")


def forms(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each form of the network: all blocks, then as many as could be unrolled."""
    rows: list[tuple[str, ...]] = []
    for part in (record["whole"], record["short"]):
        for row in part["rows"]:
            cells = (f"{row['bytes'] / 1e6:.1f}", f"{row['load_s']:.2f}", f"{row['cpu_ms']:.0f}")
            ratios = (f"{row['real_time_factor']:.1f}", f"{row['against']:.1f}", f"{row['sqnr_db']:.0f}")
            rows.append((str(part["blocks"]), row["form"], *cells, *ratios))
    return rows


def mixer(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each runner of the mixer."""
    rows: list[tuple[str, ...]] = []
    for row in record["mixer"]["rows"]:
        known = "cpu_ms" in row
        cells = (milliseconds(row["cpu_ms"]), f"{row['sqnr_db']:.0f}") if known else (row["why_not"], "")
        rows.append((row["form"], *cells))
    return rows


def notes(record: dict[str, Any]) -> list[str]:
    """Return what must be read with the tables."""
    whole, short = record["whole"], record["short"]
    judged = "the model's own code" if whole["own_code"] else "our scan"
    said = f"{whole['parameters'] / 1e6:.1f} M parameters, {whole['scans']} scans; our checked export took"
    said += (
        f" {whole['export_cpu_s']:.0f} s of CPU time ({whole['parity_db']:.0f} dB against {judged}), that as"
    )
    said += f" Loops {whole['others_export_cpu_s']:.0f}, that of {short['blocks']} blocks unrolled"
    said += f" {short['others_export_cpu_s']:.0f}"
    how = "one thread, 0.1 s of audio, medians of CPU time in turn; load is CPU time"
    return [said, f"{record['instruction_set']}, {how}"]

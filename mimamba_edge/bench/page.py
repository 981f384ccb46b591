"""The record of a benchmark as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from mimamba_edge.bench.document import document, facts, items, machine_facts, scroll_table, tiles
from mimamba_edge.bench.picture import LEGEND, chart, is_ours
from mimamba_edge.bench.table import HEADER, milliseconds, notes, to_rows

__all__ = ["render_page"]


def render_page(record: dict[str, Any]) -> str:
    """Return the page of a record of :func:`mimamba_edge.bench.run.run_bench`."""
    env, windows = record["environment"], record["windows"]
    names = ", ".join(dict.fromkeys(Path(row["artifact"]).name for row in record["rows"]))
    batches = sorted({row["batch"] for row in record["rows"]})
    sub = f"{env['device']} · {_plural(record['threads'], 'thread')} · {env['time'][:10]}"
    version = escape(str(env["versions"]["mimamba-edge"]))
    body = f"""<p class="sub">{windows["count"]} windows of {_shape(record)} from {escape(windows["source"])}
({escape(windows["kind"])}); every run gets a different one.</p>
{_tiles(record)}
{"".join(_distribution(record, batch) for batch in batches)}
<h2>All figures</h2>{_table(record)}
<h2>Read with the figures</h2>{items(notes(record))}
<h2>How it was measured</h2>{items(record["method"])}
<h2>Verified before timed</h2>{items(_verifications(record))}
<h2>Machine and software</h2>{_environment(record)}"""
    footer = f"""Written by mimamba-edge {version}. The latency of every run
is in the JSON record (<code>--report</code>). Absolute times of a shared machine vary; ratios within one run
hold better.
"""
    return document(f"Inference latency of {names}", sub, body, footer)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _shape(record: dict[str, Any]) -> str:
    chans, times = record["input"]
    return f"{_plural(chans, 'channel')} × {times} samples"


def _tiles(record: dict[str, Any]) -> str:
    """Return the few figures a reader came for: of the fastest exported row at the smallest batch."""
    smallest = min(row["batch"] for row in record["rows"])
    timed = [row for row in record["rows"] if row["p50_ms"] is not None]
    ours = [row for row in timed if is_ours(row) and row["batch"] == smallest]
    if not ours:
        return ""
    best = min(ours, key=lambda row: float(row["p50_ms"]))
    name = f"{Path(best['artifact']).name} in {best['runner']}"
    figures = [
        (f"{milliseconds(best['p50_ms'])} ms", f"p50 of {name}, batch {smallest}"),
        (f"{milliseconds(best['p99_ms'])} ms", "p99 of the same"),
    ]
    for other in timed:
        if other["batch"] == smallest and other["runner"] in ("torch-eager-parallel", "torch-compile"):
            name = "PyTorch eager" if other["runner"] == "torch-eager-parallel" else "torch.compile"
            figures.append((f"{other['p50_ms'] / best['p50_ms']:.1f} ×", f"faster than {name}"))
    if best["floor_ratio"] is not None:
        figures.append((f"{best['floor_ratio']:.2f} ×", "sgemm's time for as many multiply-adds"))
    return tiles(figures)


def _distribution(record: dict[str, Any], batch: int) -> str:
    rows = [row for row in record["rows"] if row["batch"] == batch]
    floor_ms = None if record["floor"] is None else record["floor"]["floor_ms"] * batch
    return f'<h2>Batch {batch}</h2><div class="card">{chart(rows, floor_ms)}{LEGEND}</div>'


def _table(record: dict[str, Any]) -> str:
    kinds = ("ours" if is_ours(row) else "other" for row in record["rows"])
    return scroll_table(HEADER, zip(kinds, to_rows(record), strict=True))


def _verifications(record: dict[str, Any]) -> list[str]:
    """Return a line for each runner; its batch sizes were verified one by one."""
    out = []
    for name in dict.fromkeys((row["artifact"], row["runner"]) for row in record["rows"]):
        rows = [r for r in record["rows"] if (r["artifact"], r["runner"]) == name and r["verification"]]
        if not rows:
            continue
        done = [row["verification"] for row in rows]
        ratios = [d["sqnr_db"] for d in done]
        worst = "not finite" if None in ratios else f"{min(ratios):.0f} dB"
        classes = [d["top1_agreement"] for d in done if d["top1_agreement"] is not None]
        same = f"{min(classes):.1%} same class" if classes else "compared"
        out.append(
            f"{rows[0]['runner']} ({Path(name[0]).name}) against {done[0]['against']}: at least {worst} SQNR "
            f"(bound {done[0]['gate']['sqnr_db']:g} dB), "
            f"{same} on {done[0]['n_windows']} windows, "
            f"at every batch size"
        )
    return out


def _environment(record: dict[str, Any]) -> str:
    env = record["environment"]
    lines = {
        **machine_facts(env),
        "CPU governor": env["governor"] or "not readable",
        "Load": f"{env['load']} before, {env['load_after']} after",
        "Energy": "; ".join(_energy(record)) or "not measured",
    }
    if board := env["board"]:
        clocks = "locked" if board["clocks_locked"] else "not locked"
        held = ", ".join(board["throttled"]) or "none"
        lines["Power mode"] = f"{board['power_mode']}, clocks {clocks}, throttled before the run: {held}"
    return facts(lines)


def _energy(record: dict[str, Any]) -> list[str]:
    """Return millijoules a run of each row whose rails were read, idle power included."""
    return [
        f"{Path(row['artifact']).name} in {row['runner']}, batch {row['batch']}: "
        + ", ".join(
            f"{rail} {held['mj_per_run']:.2f} mJ a run" for rail, held in row["energy"]["rails"].items()
        )
        for row in record["rows"]
        if row.get("energy")
    ]

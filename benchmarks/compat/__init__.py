"""Models of others through `export --model`: parity, nodes, size and time (docs/compatibility.md).

    MIMAMBA_CHECKOUTS=FOLDER python -m benchmarks compat
    python -m benchmarks render                               # the tables of the page

Needs transformers, mambapy, einops and timm, and in the folder that ``MIMAMBA_CHECKOUTS`` names checkouts of
``mamba``, ``Vim``, ``VMamba``, ``S-D-Mamba``, ``Time-Series-Library`` and ``SEMamba``; for EEG those of
``eeg_mamba.py``, rotary-embedding-torch and linear-attention-transformer. What is missing is said in its row.
Weights are random. Each model runs in a process of its own: packages have the same names.
What each gave is kept in ``build/benchmarks/compat``, so that a run of some rows keeps the others and a run
that was interrupted goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.compat import table
from benchmarks.compat.entry import Compared
from benchmarks.record import BUILD, RESULTS, write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import ConfigError
from mimamba_edge.files import source_state, write_json

_LIMIT_S = 600
"""Of one row; twenty seconds is usual."""
KEPT = BUILD / "compat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--only", help="names of rows, separated by commas; the others stay as they were")
    parser.add_argument(
        "--resume", action="store_true", help="leave out rows that were measured at this very commit"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, verify and time each model; return 1 if one that could be made did not pass."""
    from benchmarks.compat.catalogue import ENTRIES

    names = [name.strip() for name in arguments.only.split(",")] if arguments.only else list(ENTRIES)
    if unknown := [name for name in names if name not in ENTRIES]:
        raise ConfigError("no such rows", got=", ".join(unknown), expected=", ".join(ENTRIES))
    if arguments.resume:
        names = [name for name in names if not _is_current(name)]
    with progress("", total=len(names)) as bar:
        for name in names:
            bar.describe(name)
            row = measured(name)
            write_json(KEPT / f"{name}.json", row)
            show_note(f"{name}: {table.in_words(row)}")
            bar.advance()
    rows = _all_rows(ENTRIES)
    record = _record(rows)
    for title, header, cells in (
        ("", table.HEADER, table.to_rows(record)),
        ("by other exporters, in the same run", table.OTHERS, table.others(record)),
    ):
        show_table(title, header, cells, left=(0, 1))
    path = write_record(
        arguments, {**record, "environment": _environment(arguments, rows)}, verified=_good(rows)
    )
    show_note(f"record: {path}")
    return int(not _good(rows))


def measured(name: str) -> dict[str, Any]:
    """Return what a process of its own found for one row, and where and when it ran."""
    report = KEPT / f"{name}.report.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    about = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), "load": os.getloadavg()[0]}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.compat.one", name, str(report)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S)
        if report.is_file():
            found = json.loads(report.read_text(encoding="utf-8"))
        else:
            found = {
                "failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:160]
            }
    except subprocess.TimeoutExpired:
        found = {"failed": f"no end within {_LIMIT_S} s"}
    finally:
        report.unlink(missing_ok=True)
    return {**found, "measured": {**about, **source_state()}}


def _is_current(name: str) -> bool:
    row = _kept(KEPT / f"{name}.json")
    same = row.get("measured", {}).get("commit") == source_state()["commit"]
    return same and not row["measured"]["dirty"] and not {"failed", "missing"} & set(row)


def _kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _all_rows(entries: Mapping[str, Compared]) -> dict[str, dict[str, Any]]:
    """Return each row's last result: of this checkout's runs, else of the newest record."""
    from benchmarks.page_tables import newest

    rows: dict[str, dict[str, Any]] = {}
    for record in map(_kept, newest(RESULTS, "compat")):
        for row in record["rows"]:
            if (entry := entries.get(row["name"])) is not None:
                of = (*entry.packages, *entry.checkouts)
                held = {name: version for name, version in record["sources"].items() if name in of}
                rows[row["name"]] = {**row, "sources": held, "measured": {}}
    kept = {name: _kept(KEPT / f"{name}.json") for name in entries}
    # One that an earlier version of this program left behind may lack what the tables show.
    rows |= {name: row for name, row in kept.items() if {"failed", "missing", "against"} & set(row)}
    return {name: rows[name] for name in entries if name in rows}


def _record(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a record: rows, and what all of them were made from."""
    sources: dict[str, list[str]] = {}
    for row in rows.values():
        for name, version in row.get("sources", {}).items():
            held = sources.setdefault(name, [])
            held += [] if version in held else [version]
    commits = {row["measured"].get("commit") for row in rows.values()} - {None}
    loads = [row["measured"]["load"] for row in rows.values() if "load" in row["measured"]]
    left_out = ("measured", "sources")
    return {
        "commits": sorted(commits),
        "load_at_rows": [round(min(loads), 2), round(max(loads), 2)] if loads else None,
        "sources": {name: ", ".join(held) for name, held in sorted(sources.items())},
        "rows": [
            {"name": name, **{key: value for key, value in row.items() if key not in left_out}}
            for name, row in rows.items()
        ],
    }


def _environment(arguments: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the run's environment, with local changes if a row was measured with some."""
    dirty = any(row["measured"].get("dirty") for row in rows.values())
    environment: dict[str, Any] = arguments.environment
    return {**environment, "dirty": environment["dirty"] or dirty}


def _good(rows: dict[str, dict[str, Any]]) -> bool:
    return not any("failed" in row or row.get("missed") for row in rows.values())

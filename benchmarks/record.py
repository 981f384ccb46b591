"""The one writer of records: small summaries for the pages, raw series where git does not see them.

A record is a JSON object of the environment, the commit, the command, whether outputs were verified, and the
figures. It goes to ``benchmarks/results/DEVICE/DATE-NAME.json`` and is never edited: a second one of a day
gets a number. A page may show what stands there, so the record of a checkout with local changes, or one over
:data:`LIMIT_BYTES`, goes to ``build/benchmarks`` instead, with a warning. So do raw series.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from mimamba_edge.console import show_warning
from mimamba_edge.files import sha256_file, write_json

__all__ = ["BUILD", "LIMIT_BYTES", "RESULTS", "free_path", "renamed", "without_series", "write_record"]

RESULTS = Path(__file__).resolve().parent / "results"
BUILD = RESULTS.parents[1] / "build" / "benchmarks"
LIMIT_BYTES = 24_000
"""Of one record: a table of a page needs no more."""
_SERIES = 32
"""A list of more entries, none of them an object, is a raw series."""


def free_path(folder: Path, stem: str) -> Path:
    """Return ``STEM.json``, or ``STEM-NUMBER.json`` where that is taken."""
    number, path = 1, folder / f"{stem}.json"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    return path


def without_series(value: Any) -> Any:
    """Return a record without the raw series in its objects."""
    if isinstance(value, dict):
        return {key: without_series(part) for key, part in value.items() if not _is_series(part)}
    return [without_series(part) for part in value] if isinstance(value, list) else value


def _is_series(value: Any) -> bool:
    return isinstance(value, list) and len(value) > _SERIES and not any(isinstance(v, dict) for v in value)


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a record with other names in place of this machine's paths, which are no part of the figures."""
    if isinstance(value, dict):
        return {key: renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    if isinstance(value, str):
        for long, short in names.items():
            value = value.replace(long, short)
    return value


def write_record(
    given: argparse.Namespace,
    figures: dict[str, Any],
    *,
    verified: bool,
    device: str | None = None,
    raw: dict[str, Any] | None = None,
) -> Path:
    """Write a record; return its path.

    Args:
        given: ``benchmark``, ``command``, ``environment`` of the run; ``output``, if the record's path is not
            to be the usual one.
        figures: What was found, with an ``environment`` if it was found in another. Raw series in it go to
            the raw file.
        verified: Whether every output was right, or every check held.
        device: What was measured; otherwise the processor and its cores.
        raw: All that was measured, if the figures are a summary of it.

    Raises:
        OutputError: A file cannot be written.
    """
    output: Path | None = getattr(given, "output", None)
    summary = without_series(figures)
    environment = summary.pop("environment", given.environment)
    about = {"format": 2, "benchmark": given.benchmark, "command": given.command, "verified": verified}
    record = {**about, "environment": environment, **summary}
    if raw is None and without_series(figures) != figures:
        raw = figures
    refused = None
    if environment["dirty"]:
        refused = "the checkout has local changes"
    elif len(json.dumps(record, indent=2)) > LIMIT_BYTES:
        refused = f"the record is larger than {LIMIT_BYTES} bytes"
    folder = re.sub(
        r"[^a-z0-9]+", "-", (device or f"{environment['device']} {environment['cores']} cores").lower()
    )
    stem = f"{environment['time'][:10]}-{given.benchmark}"
    path = output or free_path((BUILD if refused else RESULTS) / folder.strip("-"), stem)
    if raw is not None:
        at = BUILD / folder.strip("-") if output is None else path.parent
        beside = at / f"{path.stem}-raw.json"
        write_json(beside, raw)
        record["raw_sha256"] = sha256_file(beside)
    write_json(path, record)
    if refused and output is None:
        show_warning(f"{refused}: this is no record that a page may show, it is kept in {path}")
    return path

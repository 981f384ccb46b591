"""Folders in the Brain Imaging Data Structure: file names, tables and the JSON files beside them.

The standard: https://bids-specification.readthedocs.io (1.10); EEG: C. Pernet et al., "EEG-BIDS", Scientific
Data 6 (2019). Read with nothing but this: mne-bids (BSD-3) would bring MNE and pandas to read tables of a few
columns, and what it adds, its own reading of signals, MNE does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.data.formats.lines import read_cells
from mimamba_edge.errors import DataError
from mimamba_edge.strict_json import Malformed, read_json

__all__ = ["BidsFile", "eeg_files", "read_sidecar", "read_tsv", "sidecar"]

_NAME = re.compile(r"((?:[a-zA-Z]+-[a-zA-Z0-9]+_)+)([a-zA-Z]+)(\.[a-z.]+)")
_SIGNALS = (".edf", ".bdf", ".vhdr", ".set", ".fif", ".xdf")
_NONE = ("", "n/a")


@dataclass(frozen=True)
class BidsFile:
    """A recording.

    Attributes:
        path: The file.
        name: Its path from the root, as trials name it.
        entities: What its name says: ``sub``, ``ses``, ``task``, ``run``.
    """

    path: Path
    name: str
    entities: dict[str, str]

    @property
    def session(self) -> str:
        """The session; ``"1"`` where there is one."""
        return self.entities.get("ses", "1")

    @property
    def run(self) -> str:
        """Task and run: a task that is split into runs is several."""
        return "-".join(self.entities[key] for key in ("task", "run") if key in self.entities) or "1"


def _parsed(name: str) -> tuple[dict[str, str], str, str] | None:
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    entities = dict(part.split("-", 1) for part in found[1].rstrip("_").split("_"))
    return entities, found[2], found[3]


def eeg_files(root: Path) -> Iterator[BidsFile]:
    """Yield the recordings of all people, sorted by name; derivatives are none."""
    found = [*root.glob("sub-*/eeg/*_eeg.*"), *root.glob("sub-*/ses-*/eeg/*_eeg.*")]
    for path in sorted(found):
        parsed = _parsed(path.name)
        if parsed is not None and parsed[2] in _SIGNALS and "sub" in parsed[0]:
            yield BidsFile(path, path.relative_to(root).as_posix(), parsed[0])


def sidecar(root: Path, file: BidsFile, suffix: str, end: str) -> Path | None:
    """Return the file beside a recording that describes it, by the inheritance principle.

    Args:
        root: Of the data set.
        file: The recording.
        suffix: ``"events"``, ``"channels"`` or ``"eeg"``.
        end: ``".tsv"`` or ``".json"``.

    Returns:
        The one in the nearest folder, there the one with most in common; ``None`` where there is none.
    """
    folder = file.path.parent
    while True:
        fitting = []
        for path in folder.glob(f"*{suffix}{end}"):
            # What stands at the top may have no entity at all in its name.
            parsed = _parsed(path.name) or ({}, path.name.partition(".")[0], end)
            if parsed[1] == suffix and parsed[0].items() <= file.entities.items():
                fitting.append((len(parsed[0]), path))
        if fitting:
            return max(fitting)[1]
        if folder == root or root not in folder.parents:
            return None
        folder = folder.parent


def read_sidecar(path: Path | None) -> dict[str, Any]:
    """Return what a JSON file beside a recording holds; nothing where there is none.

    Raises:
        DataError: It cannot be read.
    """
    if path is None:
        return {}
    try:
        raw = read_json(path, object)
    except (OSError, Malformed) as error:
        raise DataError(f"cannot read {path}", got=error, expected="a JSON object") from error
    if not isinstance(raw, dict):
        raise DataError(f"cannot read {path}", got=type(raw).__name__, expected="a JSON object")
    return raw


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; ``n/a`` is empty.

    Raises:
        DataError: It cannot be read, or a row has other columns than the header.
    """
    (_, header), *body = read_cells(path, "\t") or [(1, [])]
    if not header or len(set(header)) < len(header):
        raise DataError(f"{path} has no header of distinct columns", got=", ".join(header) or "nothing")
    return [
        {name: "" if cell in _NONE else cell for name, cell in zip(header, row, strict=True)}
        for _, row in body
    ]

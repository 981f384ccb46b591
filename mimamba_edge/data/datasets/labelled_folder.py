"""A folder of recordings and ``labels.csv``, or a folder of sessions that have one each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import label_tables, read_labels
from mimamba_edge.data.recording import Recording, file_of, read_recording
from mimamba_edge.files import sha256_bytes, sha256_file
from mimamba_edge.strict_json import Malformed, read_regular

__all__ = ["LabelledFolder", "open_spec"]

_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md")


class LabelledFolder(Dataset):
    """A folder of recordings and their label table.

    Args:
        path: The folder.

    Raises:
        DataError: See :func:`mimamba_edge.data.labels.read_labels`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.spec, self.name = path, str(path), path.resolve().name
        self.trials = tuple(read_labels(path))
        self.licence, self.source = _licence(path), ""

    def read(self, file: str) -> Recording:
        """Read a recording of the folder."""
        return self.read_channels(file, ())

    def read_channels(self, file: str, names: Collection[str]) -> Recording:
        """Read a recording of the folder, and of EDF and BDF these channels alone."""
        return read_recording(self.path / file, names)

    def labels_sha256(self) -> str:
        """Return the SHA-256 of the table, of several that of their names and hashes."""
        tables = label_tables(self.path)
        if [table.parent for table in tables] == [self.path]:
            return sha256_file(tables[0])
        names = "".join(f"{table.parent.name} {sha256_file(table)}\n" for table in tables)
        return sha256_bytes(os.fsencode(names))

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the file."""
        return sha256_file(file_of(self.path / file))


def _licence(folder: Path) -> str:
    for name in _LICENCES:
        with contextlib.suppress(OSError, Malformed):
            return read_regular(folder / name).decode("utf-8", "replace")
    return ""


def open_spec(rest: str) -> LabelledFolder:
    """Open a folder."""
    return LabelledFolder(Path(rest))

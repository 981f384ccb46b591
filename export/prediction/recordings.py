"""Which recordings a name on the command line stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.data.dataset import DATASETS, Dataset, open_dataset
from mimamba_edge.data.labels import LABELS
from mimamba_edge.data.recording import KINDS, Recording, file_of, is_recording, read_recording, stem
from mimamba_edge.data.session_format import FILES, is_session
from mimamba_edge.errors import DataError
from mimamba_edge.export.prediction.table import PREDICTIONS
from mimamba_edge.files import sha256_bytes, sha256_file

__all__ = ["Recordings"]

_SPLIT = (".vhdr", ".set", ".fif", ".fif.gz")
"""Recordings of several files, whose names begin alike."""


class Recordings:
    """The recordings to score.

    Args:
        where: A data set by its name, as ``deap:PATH``, a folder or one recording.

    Raises:
        DataError: The data set cannot be used.
        ConfigError: The data set has no such option.
    """

    def __init__(self, where: str) -> None:
        self._where, self._path = where, Path(where)
        named = where.partition(":")[0] in DATASETS and not os.path.lexists(where)
        self._dataset: Dataset | None = open_dataset(where) if named else None
        self._one = file_of(self._path).is_file() or is_session(self._path)

    def names(self) -> tuple[str, ...]:
        """Return their names: of a folder the paths from there, of a data set what it calls them.

        A data set has those with trials. A folder has every recording and session in it and in the folders of
        it, labelled or not; what is hidden, label tables and tables of predictions are none.

        Raises:
            DataError: There are none.
        """
        if self._dataset is not None:
            return self._dataset.files
        if self._one:
            return (self._path.name,)
        names = tuple(sorted(found.relative_to(self._path).as_posix() for found in _walk(self._path)))
        if not names:
            raise DataError(
                f"no recordings at {self._where}",
                got="none in it" if self._path.is_dir() else "no such file or folder",
                expected=f"{KINDS}; a folder of such, or a data set: NAME:PATH",
            )
        return names

    def read(self, name: str) -> Recording:
        """Read one.

        Raises:
            DataError: It cannot be used.
            DependencyError: Its format needs a package that is not installed.
        """
        return read_recording(self._of(name)) if self._dataset is None else self._dataset.read(name)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of all files of one.

        Raises:
            OSError: One cannot be read.
        """
        if self._dataset is not None:
            return self._dataset.recording_sha256(name)
        path = self._of(name)
        file = file_of(path)
        files = [file]
        if is_session(file):
            files = [file / one for one in FILES]
        elif file.name.lower().endswith(_SPLIT):
            files = [one for one in file.parent.glob("*") if one.name.startswith(stem(file))]
        found = [f"{one.name} {sha256_file(one)}" for one in sorted(files) if one.is_file()]
        return sha256_bytes("\n".join([path.name, *found]).encode("utf-8", "surrogateescape"))

    def _of(self, name: str) -> Path:
        return self._path if self._one else self._path / name


def _walk(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder):
        here = Path(at)
        yield from (here / name for name in folders if is_session(here / name))
        # What a session folder holds is its own; links to folders could lead in a circle.
        folders[:] = [name for name in folders if name[0] != "." and not is_session(here / name)]
        for name in files:
            path = here / name
            if name[0] != "." and name != LABELS and is_recording(path) and not PREDICTIONS.wrote(path):
                yield path

"""Where the windows of a data set are kept: in memory, or in a file that is mapped and found again.

A cache is a folder named by all that its windows depend on: the hashes of the recordings, the trials' times,
the contract's signal path and the code of it. Labels are no part, so that another rule for the classes takes
the same windows.

    FOLDER/KEY/ (0700)
      index.jsonl    what it is, then a line for each recording that is whole: its trials, its bytes' checksum
      windows.f8     windows one after the other, (n_chans, n_times) float64, little endian

Both only grow. A killed process loses the recording that it worked on: what the index does not tell of is cut
off. :mod:`mimamba_edge.data.window_cache` removes whole entries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import mimamba_edge.signal
from mimamba_edge.append import AppendFile
from mimamba_edge.console import show_note
from mimamba_edge.contract import Contract
from mimamba_edge.data.cutting import CutRecording, Left
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.window_cache import INDEX, LIMIT_BYTES, WINDOWS, hold, let_go, shrink
from mimamba_edge.errors import OutputError
from mimamba_edge.files import sha256_bytes, sha256_file, writing_failed
from mimamba_edge.signal.mapped import MappedWindows
from mimamba_edge.strict_json import Malformed, decode

__all__ = ["Told", "WindowStore", "window_store"]

_FORMAT = "mimamba.windows.1"
_SIGNAL_PATH = ("ch_names", "sfreq", "n_times", "filters", "mains_hz", "resampler", "unit")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Told:
    """What is known of a trial besides its windows.

    Attributes:
        n: Number of its windows.
        without: See :class:`~mimamba_edge.data.cutting.CutTrial`.
        out: The same.
    """

    n: int
    without: dict[str, int]
    out: Left | None


@dataclass(frozen=True)
class _Line:
    """A line of the index."""

    file: str
    lead_s: float
    crc32: int
    trials: tuple[Told, ...]


class WindowStore(Protocol):
    """Windows of recordings, in the order in which they were added."""

    lead_s: float

    def __contains__(self, file: str) -> bool:
        """Return whether a recording was added."""

    def add(self, file: str, cut: CutRecording) -> None:
        """Keep the windows of a recording."""

    def told(self, file: str) -> tuple[Told, ...]:
        """Return what is known of the trials of a recording."""

    def data(self) -> NDArray[np.float64]:
        """Return all windows ``(n, c, l)``."""


@contextlib.contextmanager
def window_store(dataset: Dataset, contract: Contract, hop: int) -> Iterator[WindowStore]:
    """Give the store of a data set's windows: its cache where it has one, else the memory.

    Args:
        dataset: The recordings; ``dataset.cache`` is the folder of caches.
        contract: Signal path.
        hop: Samples between windows.

    Raises:
        OutputError: The cache cannot be written, or another process is making it.
    """
    if dataset.cache is None:
        yield _Memory()
        return
    folder = dataset.cache / _key(dataset, contract, hop)
    store = _Cache(folder, dataset.files, (contract.n_chans, contract.n_times))
    try:
        yield store
    finally:
        store.close()
    if store.made:
        gone = shrink(dataset.cache, LIMIT_BYTES, keep=[folder])
        if gone:
            size = sum(entry.size_bytes for entry in gone) / 1e9
            show_note(f"{len(gone)} sets of windows were removed, {size:.1f} GB that were used longest ago")


def _key(dataset: Dataset, contract: Contract, hop: int) -> str:
    path = {name: value for name, value in dataclasses.asdict(contract).items() if name in _SIGNAL_PATH}
    trials = [(t.file, t.start_s, t.stop_s) for t in dataset.trials]
    recordings = [dataset.recording_sha256(file) for file in dataset.files]
    held = [_FORMAT, _code(), path, hop, trials, recordings]
    return sha256_bytes(json.dumps(held, sort_keys=True).encode())[:32]


@functools.cache
def _code() -> str:
    """Return the hash of the code that makes windows: other code may make others."""
    here = Path(__file__).parent
    files = [*sorted(Path(mimamba_edge.signal.__path__[0]).glob("*.py")), here / "cutting.py"]
    return sha256_bytes("".join(map(sha256_file, files)).encode())


class _Memory:
    def __init__(self) -> None:
        self.lead_s = 0.0
        self._told: dict[str, tuple[Told, ...]] = {}
        self._windows: list[NDArray[np.float64]] = []

    def __contains__(self, file: str) -> bool:
        return file in self._told

    def add(self, file: str, cut: CutRecording) -> None:
        self.lead_s = max(self.lead_s, cut.lead_s)
        self._told[file] = _told(cut)
        self._windows += [trial.uv for trial in cut.trials]

    def told(self, file: str) -> tuple[Told, ...]:
        return self._told[file]

    def data(self) -> NDArray[np.float64]:
        return np.concatenate(self._windows)


def _told(cut: CutRecording) -> tuple[Told, ...]:
    return tuple(Told(len(trial.uv), trial.without, trial.out) for trial in cut.trials)


class _Cache:
    """A folder of a cache, continued where it ends."""

    def __init__(self, folder: Path, files: tuple[str, ...], shape: tuple[int, int]) -> None:
        self._folder, self._shape, self._lines = folder, shape, dict[str, _Line]()
        self.lead_s, self.made = 0.0, False
        about = {"format": _FORMAT, "shape": shape}
        self._header = json.dumps(about).encode() + b"\n"
        self._index: AppendFile | None = None
        hold(folder)
        size = self._read()
        if size is None:  # damaged on the disk: made again
            with contextlib.suppress(OSError):
                (folder / INDEX).unlink()
            self._lines, self.lead_s = {}, 0.0
        self._size = size or 0
        if set(files) <= set(self._lines):
            return
        let_go(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._index = AppendFile(folder / INDEX, continues=self._header)
            # Another process may have gone on until it let go.
            self._lines, self.lead_s = {}, 0.0
            self._size = self._read() or 0
            if not (folder / INDEX).stat().st_size:
                self._index.append(self._header)
            handle = os.open(folder / WINDOWS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(handle, "r+b")
            self._file.truncate(self._size)
        except OutputError as error:
            self.close()
            raise OutputError(
                f"the cache of windows {folder} cannot be continued",
                got=error.what,
                do="wait for the other process, or remove the folder; ?cache=none does without",
            ) from error
        except OSError as error:
            self.close()
            raise writing_failed(folder, error) from error
        show_note(f"windows are kept in {folder}")

    def _read(self) -> int | None:
        """Read the index and check the windows it tells of; return where they end, ``None``: are damaged."""
        try:
            lines = (self._folder / INDEX).read_bytes().splitlines(keepends=True)
            file = (self._folder / WINDOWS).open("rb")
        except OSError:
            return 0
        size = 0
        with file:
            for line in lines[1:]:
                if not line.endswith(b"\n"):
                    break  # torn by a kill
                try:
                    told = decode(line, _Line)
                except Malformed:
                    return None
                length = 8 * self._shape[0] * self._shape[1] * sum(trial.n for trial in told.trials)
                if length < 0 or _crc32(file, length) != told.crc32:
                    return None
                size += length
                self._lines[told.file] = told
                self.lead_s = max(self.lead_s, told.lead_s)
        return size

    def close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._file.close()
            self._index = None

    def __contains__(self, file: str) -> bool:
        return file in self._lines

    def add(self, file: str, cut: CutRecording) -> None:
        assert self._index is not None
        content = b"".join(trial.uv.astype("<f8").tobytes() for trial in cut.trials)
        line = _Line(file, cut.lead_s, zlib.crc32(content), _told(cut))
        try:
            self._file.seek(self._size)
            self._file.write(content)
            self._file.flush()
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise writing_failed(self._folder / WINDOWS, error) from error
        self._index.append(json.dumps(dataclasses.asdict(line)).encode() + b"\n")
        self._size += len(content)
        self._lines[file] = line
        self.made = True
        self.lead_s = max(self.lead_s, cut.lead_s)

    def told(self, file: str) -> tuple[Told, ...]:
        return self._lines[file].trials

    def data(self) -> NDArray[np.float64]:
        self.close()
        hold(self._folder)
        count = self._size // (8 * self._shape[0] * self._shape[1])
        return MappedWindows(self._folder / WINDOWS, "<f8", "r", shape=(count, *self._shape))


def _crc32(file: Any, length: int) -> int:
    found = 0
    while length > 0:
        block = file.read(min(length, _BLOCK))
        if not block:
            return -1
        found = zlib.crc32(block, found)
        length -= len(block)
    return found

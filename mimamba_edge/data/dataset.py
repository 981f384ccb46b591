"""What a data set is, and the one door to all of them.

After MOABB's ``BaseDataset``: subjects, their sessions, the runs of these; here with the trials in the open,
recordings read one at a time, and the licence beside them.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import numpy as np

from mimamba_edge.data.labels import Trial, format_trials
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.spec_options import take_cache, take_option
from mimamba_edge.errors import ConfigError, DataError, listed, quoted
from mimamba_edge.files import sha256_bytes, sha256_file

__all__ = ["DATASETS", "Dataset", "Fault", "Processing", "SomeSubjects", "open_dataset"]

DATASETS = {
    "folder": "labelled_folder",
    "deap": "deap",
    "dreamer": "dreamer",
    "seed": "seed",
    "neurosense": "neurosense",
    "bids": "bids",
    "npz": "arrays",
}
"""Name, and module in :mod:`mimamba_edge.data.datasets` with ``open_spec(rest) -> Dataset``."""


@dataclass(frozen=True)
class Processing:
    """What others did to a signal before it came here.

    Attributes:
        reference: Reference scheme; ``"as-recorded"``: that of the device.
        band_hz: Edges of the filter it went through in Hz, or ``None``.
        cleaning: What was removed or changed otherwise; empty where nothing was.
        mains_hz: Mains frequency where it was recorded, as far as the signal still holds it, or ``None``.
        known: Whether that is known, so that the mains need not be looked for in the signal.
    """

    reference: str = "as-recorded"
    band_hz: tuple[float, float] | None = None
    cleaning: str = ""
    mains_hz: float | None = None
    known: bool = False


@dataclass(frozen=True)
class Fault:
    """Something about a data set that is not as it should be.

    Attributes:
        kind: ``"damaged"``: a file that cannot be used; ``"missing"``: something that belongs to the data set
            and is not there; ``"doubled"``; or ``"odd"``.
        where: The file, recording or person.
        what: What is wrong.
        count: Of how many such it is true, where several are told as one.
    """

    kind: str
    where: str
    what: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Dataset(Protocol):
    """Labelled recordings of one or several people.

    A new kind derives from this, sets the attributes and gives :meth:`read`; the rest follows from the
    trials. Opening reads no signal.

    Attributes:
        spec: What it was opened by; it stands in messages.
        name: Short, for reports.
        licence: Text of its licence; empty where it comes with none.
        source: Where it comes from: an address or a citation; empty where that is not known.
        trials: All trials; :attr:`~mimamba_edge.data.labels.Trial.file` names a recording for :meth:`read`.
        channels: Those to train on where none are named; empty: all that may be EEG.
        processing: What was done to the signal before.
        labelling: How ratings became classes; empty where the labels are as recorded.
        faults: What was found wrong when it was opened.
        content: What tells its recordings from others of the same names; empty where the names do.
        cache: Folder in which its windows are kept for the next time, or ``None``.
    """

    spec: str
    name: str
    licence: str
    source: str
    trials: tuple[Trial, ...]
    channels: tuple[str, ...] = ()
    processing: Processing = Processing()
    labelling: str = ""
    faults: tuple[Fault, ...] = ()
    content: str = ""
    cache: Path | None = None

    @abstractmethod
    def read(self, file: str) -> Recording:
        """Read the recording that trials name ``file``.

        Raises:
            DataError: It cannot be used.
            DependencyError: Its format needs a package that is not installed.
        """

    def read_channels(self, file: str, names: Collection[str]) -> Recording:
        """Read a recording of which only these channels are wanted; it may hold others as well.

        Raises:
            DataError: See :meth:`read`.
            DependencyError: See there.
        """
        return self.read(file)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who."""
        return _once(t.subject for t in self.trials)

    def sessions(self, subject: str) -> tuple[str, ...]:
        """Return the sessions of a subject."""
        return _once(t.session for t in self.trials if t.subject == subject)

    def runs(self, subject: str, session: str) -> tuple[str, ...]:
        """Return the runs of a session."""
        return _once(t.run for t in self.trials if (t.subject, t.session) == (subject, session))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the recordings."""
        return _once(t.file for t in self.trials)

    def recordings(self) -> Iterator[Recording]:
        """Read one recording after the other; no more than one is held here."""
        return map(self.read, self.files)

    def labels_sha256(self) -> str:
        """Return the SHA-256 that tells these trials from all others."""
        return sha256_bytes((format_trials(self.trials) + self.content).encode())

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 that tells a recording from all others."""
        return sha256_bytes(np.ascontiguousarray(self.read(file).samples).tobytes())

    def _part_sha256(self, path: Path, part: str) -> str:
        """Return the SHA-256 that tells a part of a file from all others; the file is read once."""
        held = self.__dict__.setdefault("_hashes", {})
        if path not in held:
            held[path] = sha256_file(path)
        return sha256_bytes(f"{held[path]} {part}".encode())


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


class SomeSubjects(Dataset):
    """Some people of a data set, as a data set of its own: nothing of the others is trained on or scored.

    Args:
        whole: The data set.
        subjects: Names of its subjects.

    Raises:
        ConfigError: It has no subject of that name.
    """

    def __init__(self, whole: Dataset, subjects: Collection[str]) -> None:
        unknown = [name for name in subjects if name not in whole.subjects]
        if unknown or not subjects:
            raise ConfigError(
                f"{whole.name} has no such subject",
                got=quoted(unknown, 300),
                expected=listed(whole.subjects, ", "),
            )
        self._whole = whole
        self.spec, self.name, self.cache = whole.spec, whole.name, whole.cache
        self.licence, self.source = whole.licence, whole.source
        self.channels, self.processing = whole.channels, whole.processing
        self.labelling, self.faults, self.content = whole.labelling, whole.faults, whole.content
        self.trials = tuple(t for t in whole.trials if t.subject in subjects)

    def read(self, file: str) -> Recording:
        """Read a recording of the whole data set."""
        return self._whole.read(file)

    def read_channels(self, file: str, names: Collection[str]) -> Recording:
        """Read some channels of it."""
        return self._whole.read_channels(file, names)

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 that the whole data set gives it."""
        return self._whole.recording_sha256(file)


def open_dataset(spec: str | Path, *, damaged: bool = False) -> Dataset:
    """Open a data set.

    Args:
        spec: ``NAME:REST`` with a name of :data:`DATASETS`, or the path of a folder with ``labels.csv``.
            In the options of a named one, ``cache=FOLDER`` or ``cache=none``: where its windows are kept;
            ``subjects=A,B``: these people alone.
        damaged: Open it also where some of its files cannot be used; they are named in its faults.

    Raises:
        ConfigError: It has no such option.
        DataError: It is not there, its trials cannot be used, or some of its files are damaged.
    """
    name, colon, rest = str(spec).partition(":")
    subjects: str | None = None
    if colon and name in DATASETS:
        rest, subjects = take_option(rest, "subjects")
    else:
        name, rest = "folder", str(spec)
    cache: Path | None = None
    if name != "folder":
        rest, cache = take_cache(rest)
    module: Any = importlib.import_module(f"mimamba_edge.data.datasets.{DATASETS[name]}")
    dataset: Dataset = module.open_spec(rest)
    dataset.cache = cache
    if subjects is not None:
        dataset = SomeSubjects(dataset, [unquote(part) for part in subjects.split(",")])
        dataset.spec = str(spec)
    found = [str(fault) for fault in dataset.faults if fault.kind == "damaged"]
    if found and not damaged:
        raise DataError(
            f"{len(found)} files of {spec} are damaged",
            got=listed(found),
            do=f"get them again, or take them away; `mimamba-edge data check {spec}` lists all",
        )
    return dataset

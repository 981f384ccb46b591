"""SEED: 15 people watch the same 15 film clips in each of three sessions.

W.-L. Zheng and B.-L. Lu, "Investigating critical frequency bands and channels for EEG-based emotion
recognition with deep neural networks", IEEE Transactions on Autonomous Mental Development 7 (2015); by
request, https://bcmi.sjtu.edu.cn/home/seed/. Read here is ``Preprocessed_EEG``: ``SUBJECT_YYYYMMDD.mat``
with the variables ``INITIALS_eeg1`` to ``INITIALS_eeg15``, each (62, n) at 200 Hz, and ``label.mat``, as
torcheeg's ``SEEDDataset`` and LibEER's ``read_seed_raw`` take them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import evenly_sampled
from mimamba_edge.data.dataset import Dataset, Fault, Processing
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.mat5 import Leaf, MatVariable, mat_variables
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import DataError, quoted

__all__ = ["CHANNELS", "Seed", "open_spec"]

CHANNELS = (
    "FP1",
    "FPZ",
    "FP2",
    "AF3",
    "AF4",
    "F7",
    "F5",
    "F3",
    "F1",
    "FZ",
    "F2",
    "F4",
    "F6",
    "F8",
    "FT7",
    "FC5",
    "FC3",
    "FC1",
    "FCZ",
    "FC2",
    "FC4",
    "FC6",
    "FT8",
    "T7",
    "C5",
    "C3",
    "C1",
    "CZ",
    "C2",
    "C4",
    "C6",
    "T8",
    "TP7",
    "CP5",
    "CP3",
    "CP1",
    "CPZ",
    "CP2",
    "CP4",
    "CP6",
    "TP8",
    "P7",
    "P5",
    "P3",
    "P1",
    "PZ",
    "P2",
    "P4",
    "P6",
    "P8",
    "PO7",
    "PO5",
    "PO3",
    "POZ",
    "PO4",
    "PO6",
    "PO8",
    "CB1",
    "O1",
    "OZ",
    "O2",
    "CB2",
)
_SFREQ = 200.0
_LABELS = (1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1)
_CLASSES = {-1: "negative", 0: "neutral", 1: "positive"}
_PEOPLE, _SESSIONS = 15, 3
_LONGEST_S = 3600
_FILE = re.compile(r"(\d{1,2})_(\d{8})\.mat")
_VARIABLE = re.compile(r"\w*_eeg(\d+)")
_FOLDER = "Preprocessed_EEG"


class Seed(Dataset):
    """The preprocessed EEG of SEED.

    A recording is one clip of one session: one variable of a file, read alone. It has no lead, so that the
    windows of its first seconds, in which the filters settle, are left out.

    Args:
        path: The folder with the files, or the one above it.

    Raises:
        DataError: There is none of its files.
    """

    channels = ("FP1", "FP2", "AF3", "AF4")
    processing = Processing(band_hz=(0.0, 75.0), mains_hz=50.0, known=True)

    def __init__(self, path: Path) -> None:
        self.path = path / _FOLDER if (path / _FOLDER).is_dir() else path
        self.spec, self.name = f"seed:{path}", "SEED"
        self.licence = "SEED's licence agreement: academic research, not to be passed on"
        self.source = "https://bcmi.sjtu.edu.cn/home/seed/"
        self.labelling = "the film's emotion: positive, neutral or negative"
        dates: dict[int, list[str]] = {}
        for file in sorted(self.path.glob("*.mat")):
            if found := _FILE.fullmatch(file.name):
                dates.setdefault(int(found[1]), []).append(found[2])
        if not dates:
            raise DataError(
                f"{path} is not SEED",
                got="no files such as 1_20131027.mat in it" if self.path.is_dir() else "no such folder",
                expected=f"the folder {_FOLDER}",
                do="ask for it at https://bcmi.sjtu.edu.cn/home/seed/; see docs/datasets.md",
            )
        self._variables: dict[str, int] = {}
        labels, faults = self._labels()
        trials = list[Trial]()
        for subject in sorted(dates):
            for session, date in enumerate(sorted(dates[subject]), 1):
                stem = f"{subject}_{date}"
                try:
                    found_here = self._trials(stem, str(subject), str(session), labels)
                except DataError as error:
                    faults.append(
                        Fault("damaged", f"{stem}.mat", ": ".join(map(str, (error.what, error.got))))
                    )
                    continue
                trials += found_here
                numbers = {int(t.stimulus.removeprefix("clip-")) for t in found_here}
                if absent := sorted(set(range(1, len(labels) + 1)) - numbers):
                    told = ", ".join(map(str, absent))
                    faults.append(Fault("missing", f"{stem}.mat", f"clips that are not there: {told}"))
        for subject in range(1, _PEOPLE + 1):
            n = len(dates.get(subject, ()))
            if n != _SESSIONS:
                kind = "missing" if n < _SESSIONS else "odd"
                faults.append(Fault(kind, f"subject {subject}", f"{n} sessions, not {_SESSIONS}"))
        self.trials, self.faults = tuple(trials), tuple(faults)

    def read(self, file: str) -> Recording:
        """Read a clip of a session, named ``1_20131027/01``."""
        stem, number = file.split("/")
        path = self.path / f"{stem}.mat"
        samples = np.ascontiguousarray(_values(mat_variables(path)[self._variables[file]]).T)
        return evenly_sampled(path / number, CHANNELS, _SFREQ, samples)

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the session's file and the clip's number."""
        stem, number = file.split("/")
        return self._part_sha256(self.path / f"{stem}.mat", number)

    def _labels(self) -> tuple[tuple[int, ...], list[Fault]]:
        path = self.path / "label.mat"
        if not path.is_file():
            return _LABELS, [Fault("missing", "label.mat", "not there: the published labels are taken")]
        held = {variable.head()[0]: variable for variable in mat_variables(path)}
        read = _values(held["label"]).ravel().tolist() if "label" in held else []
        if not read or not set(read) <= set(_CLASSES):
            raise DataError(f"{path} holds other labels", got=quoted(read), expected="-1, 0 and 1")
        labels = tuple(map(int, read))
        if labels != _LABELS:
            return labels, [Fault("odd", "label.mat", f"other labels than SEED's: {quoted(labels)}")]
        return labels, []

    def _trials(self, stem: str, subject: str, session: str, labels: tuple[int, ...]) -> list[Trial]:
        path, trials = self.path / f"{stem}.mat", list[Trial]()
        held = [variable.head() for variable in mat_variables(path)]
        for place, (name, shape) in enumerate(held):
            found = _VARIABLE.fullmatch(name)
            if found is None:
                continue
            number = int(found[1][:9])
            if len(shape) != 2 or shape[0] != len(CHANNELS):
                got, expected = f"{name}: {shape}", f"({len(CHANNELS)}, n)"
                raise DataError(f"{path} has another shape than SEED's files", got=got, expected=expected)
            if not (1 <= number <= len(labels) and 1 <= shape[1] <= _LONGEST_S * _SFREQ):
                raise DataError(f"{path} holds a clip that SEED has not", got=f"{name} {shape}")
            file = f"{stem}/{number:02}"
            self._variables[file] = place
            trials.append(
                Trial(
                    file=file,
                    start_s=0.0,
                    stop_s=shape[1] / _SFREQ,
                    label=_CLASSES[labels[number - 1]],
                    subject=subject,
                    session=session,
                    run="1",
                    stimulus=f"clip-{number:02}",
                )
            )
        if not trials:
            raise DataError(f"{path} holds no clip", got=quoted([name for name, _ in held]))
        if len({t.file for t in trials}) < len(trials):
            raise DataError(f"{path} holds a clip twice", got=quoted([name for name, _ in held]))
        return sorted(trials, key=lambda trial: trial.file)


def _values(variable: MatVariable) -> NDArray[np.float64]:
    leaves: list[Leaf] = []
    variable.walk(leaves.append)
    if len(leaves) != 1 or leaves[0].path:
        raise DataError(f"{variable.path} holds no array of numbers", got=quoted(variable.head()))
    return variable.values(leaves[0])


def open_spec(rest: str) -> Seed:
    """Open ``PATH``."""
    options = SpecOptions(rest, "seed")
    options.end()
    return Seed(options.path)

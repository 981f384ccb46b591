"""DEAP: 32 people watch 40 music videos and rate each.

S. Koelstra et al., "DEAP: a database for emotion analysis using physiological signals", IEEE Transactions
on Affective Computing 3 (2012); by request, https://www.eecs.qmul.ac.uk/mmv/datasets/deap/. Read here is
its form for Python, ``data_preprocessed_python``: ``s01.dat`` to ``s32.dat``, each a pickle of Python 2 with
``data`` (40 trials, 40 channels, 8064 samples) and ``labels`` (40, 4), as torcheeg's ``DEAPDataset`` and
LibEER's ``read_deap_preprocessed`` take it. The trials stand in the order of the videos, not in the order in
which they were shown, so that a trial's number is its video's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import evenly_sampled
from mimamba_edge.data.dataset import Dataset, Fault, Processing
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.numpy_pickle import read_arrays
from mimamba_edge.data.ratings import RatingRule, take_rule
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import DataError

__all__ = ["CHANNELS", "Deap", "open_spec"]

CHANNELS = (
    "FP1",
    "AF3",
    "F3",
    "F7",
    "FC5",
    "FC1",
    "C3",
    "T7",
    "CP5",
    "CP1",
    "P3",
    "P7",
    "PO3",
    "O1",
    "OZ",
    "PZ",
    "FP2",
    "AF4",
    "FZ",
    "F4",
    "F8",
    "FC6",
    "FC2",
    "CZ",
    "C4",
    "T8",
    "CP6",
    "CP2",
    "P4",
    "P8",
    "PO4",
    "O2",
)
"""Rows 0 to 31; the eight after them are eyes, muscles, skin, breath, pulse and temperature."""
_RATINGS = ("valence", "arousal", "dominance", "liking")
_SFREQ = 128.0
_BASELINE = 384
_SHAPE = (40, 40, 8064)
_PEOPLE = 32
_FILE = re.compile(r"s(\d\d)\.dat")
_FOLDER = "data_preprocessed_python"


class Deap(Dataset):
    """The preprocessed form of DEAP.

    A recording is a trial: 3 s before the video, which let the filters settle and are in no window, and 60 s
    of it. Signals are the 32 of the EEG.

    Args:
        path: The folder with the files, or the one above it.
        rule: Which rating gives the classes, and how.

    Raises:
        DataError: There is none of its files.
    """

    channels = ("FP1", "FP2", "AF3", "AF4")
    processing = Processing(
        reference="common average of the 32 channels",
        band_hz=(4.0, 45.0),
        cleaning="eye artefacts removed",
        known=True,
    )

    def __init__(self, path: Path, rule: RatingRule) -> None:
        self.path = path / _FOLDER if (path / _FOLDER).is_dir() else path
        self.spec, self.name, self.labelling = f"deap:{path}", "DEAP", str(rule)
        self.licence = "DEAP's End User Licence Agreement: academic research, not to be passed on"
        self.source = "https://www.eecs.qmul.ac.uk/mmv/datasets/deap/"
        present = sorted(
            p for p in self.path.glob("s*.dat") if (m := _FILE.fullmatch(p.name)) and _known(m[1])
        )
        if not present:
            raise DataError(
                f"{path} is not DEAP",
                got="no s01.dat to s32.dat in it" if self.path.is_dir() else "no such folder",
                expected=f"the folder {_FOLDER}",
                do="ask for it at https://www.eecs.qmul.ac.uk/mmv/datasets/deap/; see docs/datasets.md",
            )
        faults, trials = [], list[Trial]()
        for file in present:
            try:
                labels = self._arrays(file.stem)[1]
            except DataError as error:
                faults.append(Fault("damaged", file.name, ": ".join(map(str, (error.what, error.got)))))
                continue
            if len(labels) != _SHAPE[0]:
                faults.append(Fault("odd", file.name, f"{len(labels)} trials, not {_SHAPE[0]}"))
            trials += [_trial(file.stem, number, row, rule) for number, row in enumerate(labels, 1)]
        there = {p.stem for p in present}
        faults += [
            Fault("missing", f"s{n:02}.dat", "not there")
            for n in range(1, _PEOPLE + 1)
            if f"s{n:02}" not in there
        ]
        self.trials, self.faults = tuple(trials), tuple(faults)

    def read(self, file: str) -> Recording:
        """Read a trial, named ``s01/01`` to ``s32/40``."""
        subject, number = file.split("/")
        rows = self._arrays(subject)[0][int(number) - 1, : len(CHANNELS)]
        samples = rows.T.astype(np.float64, order="C")
        return evenly_sampled(self.path / f"{subject}.dat" / number, CHANNELS, _SFREQ, samples)

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the person's file and the trial's number."""
        subject, number = file.split("/")
        return self._part_sha256(self.path / f"{subject}.dat", number)

    def _arrays(self, subject: str) -> tuple[NDArray[Any], NDArray[Any]]:
        path = self.path / f"{subject}.dat"
        arrays = read_arrays(path)
        data, labels = arrays.get("data"), arrays.get("labels")
        if data is None or labels is None:
            raise DataError(
                f"{path} is not a file of DEAP", got=", ".join(arrays), expected="data and labels"
            )
        shaped = data.ndim == 3 and data.shape[1:] == _SHAPE[1:] and 1 <= len(data) <= _SHAPE[0]
        if not shaped or labels.shape != (len(data), len(_RATINGS)) or data.dtype.kind != "f":
            raise DataError(
                f"{path} has another shape than DEAP's files",
                got=f"data {data.dtype} {data.shape}, labels {labels.shape}",
                expected=f"data {_SHAPE} of floats, labels {(_SHAPE[0], len(_RATINGS))}",
            )
        if not ((labels >= 1) & (labels <= 9)).all():
            raise DataError(
                f"{path} holds ratings outside of 1 to 9", got=f"{labels.min()} to {labels.max()}"
            )
        return data, labels


def _known(number: str) -> bool:
    return 1 <= int(number) <= _PEOPLE


def _trial(subject: str, number: int, row: NDArray[Any], rule: RatingRule) -> Trial:
    return Trial(
        file=f"{subject}/{number:02}",
        start_s=_BASELINE / _SFREQ,
        stop_s=_SHAPE[2] / _SFREQ,
        label=rule.label(float(row[_RATINGS.index(rule.name)])),
        subject=subject,
        session="1",
        run="1",
        stimulus=f"video-{number:02}",
    )


def open_spec(rest: str) -> Deap:
    """Open ``PATH?label=valence|arousal|dominance|liking&threshold=5&tie=low|high``."""
    options = SpecOptions(rest, "deap")
    rule = take_rule(options, _RATINGS, threshold=5.0, scale=(1.0, 9.0))
    options.end()
    return Deap(options.path, rule)

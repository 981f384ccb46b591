"""NeuroSense: 30 people watch 40 music videos, with a Muse 2.

T. Colafiglio et al., "NeuroSense: a novel EEG dataset utilizing low-cost, sparse electrode devices for
emotion exploration", IEEE Access 12 (2024); by request, https://zenodo.org/records/14003181. What is public
of its layout stands in the README of github.com/sisinflab/NeuroSense: a recording for each person and video,
``sub-ID001/ses-S001/eeg/sub-ID001_ses-S001_task-Default_run-001_eeg.*``, whose ``*_eeg.json`` holds the title
in ``TaskName``; channels AF7, TP9, TP10, AF8 at 256 Hz. Where the ratings stand is not public, so that they
are given as a table: see docs/datasets.md.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from mimamba_edge.console import printable
from mimamba_edge.data.bids_tree import BidsFile, eeg_files, read_sidecar, sidecar
from mimamba_edge.data.dataset import Dataset, Fault, Processing
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.ratings import RatingRule, take_rule
from mimamba_edge.data.recording import Recording, known_rails_uv, read_recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import DataError
from mimamba_edge.files import sha256_file
from mimamba_edge.strict_json import Malformed, read_regular

__all__ = ["NeuroSense", "open_spec"]

_ORDER = ("AF7", "TP9", "TP10", "AF8")
_PEOPLE = 30
_RATINGS = ("valence", "arousal", "dominance")
_COLUMNS = ("subject", "session")


class NeuroSense(Dataset):
    """NeuroSense's recordings, each a video and one trial.

    What it calls a session is one video; here all of a person's are one session, and the video is the run.

    Args:
        path: The folder with ``sub-*``.
        ratings: Table of the ratings: CSV with the columns subject, session, and what was rated.
        rule: Which rating gives the classes, and how.

    Raises:
        DataError: There are no recordings, or the table cannot be used.
    """

    channels = ("TP9", "AF7", "AF8", "TP10")
    processing = Processing(mains_hz=50.0, known=True)

    def __init__(self, path: Path, ratings: Path, rule: RatingRule) -> None:
        self.path, self.spec, self.name, self.labelling = path, f"neurosense:{path}", "NeuroSense", str(rule)
        self.licence = "NeuroSense's data user agreement: by request, not to be passed on"
        self.source = "https://zenodo.org/records/14003181"
        files = [file for file in eeg_files(path) if "ses" in file.entities]
        if not files:
            raise DataError(
                f"{path} is not NeuroSense",
                got="no recordings sub-*/ses-*/eeg/*_eeg.* in it" if path.is_dir() else "no such folder",
                do="ask for it at https://zenodo.org/records/14003181; see docs/datasets.md",
            )
        scores = _scores(ratings, rule.name)
        trials, faults = list[Trial](), list[Fault]()
        for file in files:
            who = (file.entities["sub"], file.entities["ses"])
            if who not in scores:
                faults.append(Fault("missing", file.name, f"no rating of {rule.name} in {ratings.name}"))
                continue
            try:
                trials.append(self._trial(file, rule.label(scores[who])))
            except DataError as error:
                faults.append(Fault("damaged", file.name, ": ".join(map(str, (error.what, error.got)))))
        there = {(file.entities["sub"], file.entities["ses"]) for file in files}
        for subject, session in sorted(set(scores) - there):
            faults.append(Fault("missing", f"sub-{subject}/ses-{session}", "rated, but without a recording"))
        people = {file.entities["sub"] for file in files}
        if len(people) != _PEOPLE:
            faults.append(
                Fault(
                    "missing" if len(people) < _PEOPLE else "odd", "people", f"{len(people)}, not {_PEOPLE}"
                )
            )
        self.trials, self.faults = tuple(trials), tuple(faults)

    def _trial(self, file: BidsFile, label: str) -> Trial:
        told = read_sidecar(sidecar(self.path, file, "eeg", ".json"))
        title, length = told.get("TaskName"), told.get("RecordingDuration")
        # Only the signal tells where nothing else does; a recording takes some megabytes.
        if not isinstance(length, (int, float)) or not 0 < length < 86400:
            recording = self.read(file.name)
            length = len(recording.samples) / recording.sfreq
        return Trial(
            file=file.name,
            start_s=0.0,
            stop_s=float(length),
            label=label,
            subject=file.entities["sub"],
            session="1",
            run=file.entities["ses"],
            stimulus=str(title)[:200] if title else file.entities["ses"],
        )

    def read(self, file: str) -> Recording:
        """Read a recording, by its path from the folder."""
        recording = read_recording(self.path / file)
        if set(_ORDER) <= set(recording.ch_names) or len(recording.ch_names) < len(_ORDER):
            return recording
        # Streams without names of channels: the README gives their order.
        names = (*_ORDER, *recording.ch_names[len(_ORDER) :])
        rails = recording.rails_uv or known_rails_uv(names)
        return dataclasses.replace(recording, ch_names=names, rails_uv=rails)

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the file."""
        return sha256_file(self.path / file)


def _scores(path: Path, name: str) -> dict[tuple[str, str], float]:
    """Return the rating of each person and session; ``sub-`` and ``ses-`` before them do not count."""
    try:
        text = read_regular(path).decode("utf-8-sig")
    except (OSError, Malformed, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the ratings {path}", got=error) from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        header = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = header
        if absent := [column for column in (*_COLUMNS, name) if column not in header]:
            raise DataError(
                f"{path} lacks the columns: {', '.join(absent)}",
                got=", ".join(map(printable, header)),
                expected=", ".join((*_COLUMNS, *_RATINGS)),
            )
        scores = {}
        for row in reader:
            who = (row["subject"] or "").strip().removeprefix("sub-"), (row["session"] or "").strip()
            scores[who[0], who[1].removeprefix("ses-")] = float(row[name] or "")
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path} cannot be read", got=error, expected="a table with commas") from error
    if not all(1 <= score <= 9 for score in scores.values()):
        raise DataError(f"{path} holds ratings of {name} outside of 1 to 9")
    return scores


def open_spec(rest: str) -> NeuroSense:
    """Open ``PATH?ratings=FILE.csv&label=valence|arousal|dominance&threshold=5&tie=low|high``."""
    options = SpecOptions(rest, "neurosense")
    named = options.text("ratings")
    rule = take_rule(options, _RATINGS, threshold=5.0, scale=(1.0, 9.0))
    options.end()
    return NeuroSense(options.path, Path(named) if named else options.path / "ratings.csv", rule)

"""Data sets in the Brain Imaging Data Structure (BIDS-EEG), such as those of OpenNeuro.

Trials are the rows of ``*_events.tsv``; people, sessions, tasks and runs stand in the names of the files.
What the standard leaves open is an option: which column is the class, which of its values, and how long a
trial is.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.data.bids_tree import BidsFile, eeg_files, read_sidecar, read_tsv, sidecar
from mimamba_edge.data.dataset import Dataset, Fault, Processing
from mimamba_edge.data.formats.lines import seconds
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import ConfigError, DataError, quoted
from mimamba_edge.files import sha256_file

__all__ = ["Bids", "EventRule", "open_spec", "processing_of"]

_BAD = "BAD_"
"""What MNE's and our own data sets put before events that spoil the signal: no class begins so."""


@dataclass(frozen=True)
class EventRule:
    """Which events are trials.

    Attributes:
        column: Column of the class; empty: ``trial_type``, or where it is absent ``value``.
        classes: Class of each value that is one; empty: each value is its own.
        stimulus: Column of what was shown; empty: ``stim_file``, or where it is absent ``stimulus``.
        tmin_s: Start of a trial in seconds from its event.
        tmax_s: End; ``None``: the event's own.
        task: Of which task, or ``None`` for all.
    """

    column: str = ""
    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stimulus: str = ""
    tmin_s: float = 0.0
    tmax_s: float | None = None
    task: str | None = None


class Bids(Dataset):
    """A folder in BIDS.

    Args:
        path: Its root, with ``dataset_description.json``.
        rule: Which events are trials.

    Raises:
        DataError: It is none, a table cannot be read, or no event is a trial.
    """

    def __init__(self, path: Path, rule: EventRule) -> None:
        self.path, self._rule = path, rule
        about = path / "dataset_description.json"
        files = [f for f in eeg_files(path) if rule.task in (None, f.entities.get("task"))]
        if not about.is_file() or not files:
            raise DataError(
                f"{path} is not a data set in BIDS",
                got="no recordings of it" if about.is_file() else f"no {about.name} in it",
                expected="dataset_description.json and sub-*/[ses-*/]eeg/*_eeg.edf, .bdf, .vhdr or .set",
            )
        told = read_sidecar(about)
        self.spec, self.name = f"bids:{path}", path.resolve().name
        self.licence, self.source = (str(told.get(k) or "")[:2000] for k in ("License", "DatasetDOI"))
        self.processing = processing_of(path, files[0])
        self.labelling = _labelling(rule)
        self._files = {file.name: file for file in files}
        trials, faults = list[Trial](), _people(path, files)
        for file in files:
            events = sidecar(path, file, "events", ".tsv")
            if events is None:
                faults.append(
                    Fault("missing", file.name, "no *_events.tsv beside it: none of its trials is known")
                )
                continue
            found, problems = _trials(file, events, rule)
            trials += found
            faults += [Fault("odd", file.name, problem) for problem in problems]
        if not trials:
            raise DataError(
                f"no event of {path} is a trial",
                got="; ".join(sorted({fault.what for fault in faults})[:5]) or "other tasks or classes",
                expected="*_events.tsv with onset, duration and trial_type or value",
                do="name column, classes and length: bids:PATH?label=COLUMN&classes=1:calm,2:happy&tmax=20; "
                "see docs/datasets.md",
            )
        self.trials, self.faults = tuple(trials), tuple(faults)

    def read(self, file: str) -> Recording:
        """Read a recording, by its path from the root; what channels.tsv says to be no EEG is none."""
        return self.read_channels(file, ())

    def read_channels(self, file: str, names: Collection[str]) -> Recording:
        """Read a recording, and of EDF and BDF these channels alone."""
        recording = read_recording(self.path / file, names)
        table = sidecar(self.path, self._files[file], "channels", ".tsv")
        if table is None:
            return recording
        kinds = {row.get("name", ""): row.get("type", "") for row in read_tsv(table)}
        others = {
            name: f"of the type {kinds[name]} in channels.tsv"
            for name in recording.ch_names
            if kinds.get(name, "EEG").upper() != "EEG"
        }
        return dataclasses.replace(recording, others={**recording.others, **others})

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the file."""
        return sha256_file(self.path / file)


def processing_of(root: Path, file: BidsFile) -> Processing:
    """Return what ``*_eeg.json`` says was done to a recording."""
    told = read_sidecar(sidecar(root, file, "eeg", ".json"))
    mains = told.get("PowerLineFrequency")
    known = isinstance(mains, (int, float)) and mains in (50, 60)
    done = [
        f"{name}: {quoted(told[key], 200)}"
        for key, name in (("HardwareFilters", "hardware filters"), ("SoftwareFilters", "software filters"))
        if told.get(key) not in (None, "n/a", "")
    ]
    reference = told.get("EEGReference")
    return Processing(
        reference=reference[:200] if isinstance(reference, str) and reference else "as-recorded",
        cleaning="; ".join(done),
        mains_hz=float(mains) if known and mains is not None else None,
        known=known,
    )


def _labelling(rule: EventRule) -> str:
    column = rule.column or "trial_type, or value"
    named = ", ".join(f"{value} is {label}" for value, label in rule.classes.items())
    return f"events by {column}" + (f": {named}" if named else "")


def _people(root: Path, files: list[BidsFile]) -> list[Fault]:
    table = root / "participants.tsv"
    if not table.is_file():
        return [Fault("missing", table.name, "not there")]
    named = {row.get("participant_id", "") for row in read_tsv(table)} - {""}
    there = {f"sub-{file.entities['sub']}" for file in files}
    return [
        *(
            Fault("missing", who, "in participants.tsv, but without a recording")
            for who in sorted(named - there)
        ),
        *(Fault("odd", who, "not in participants.tsv") for who in sorted(there - named)),
    ]


def _trials(file: BidsFile, events: Path, rule: EventRule) -> tuple[list[Trial], list[str]]:
    """Return the trials of a recording in the order of time, and what is odd about its events."""
    rows = read_tsv(events)
    held = set(rows[0]) if rows else set[str]()
    column = rule.column or ("trial_type" if "trial_type" in held else "value")
    shown = rule.stimulus or ("stim_file" if "stim_file" in held else "stimulus")
    lacking = {"onset", column} - held
    if rows and lacking:
        raise DataError(
            f"{events} lacks the columns: {', '.join(sorted(map(printable, lacking)))}",
            got=", ".join(map(printable, rows[0])),
        )
    found, without = [], 0
    for number, row in enumerate(rows, 2):
        where = f"{events}, row {number}"
        label = rule.classes.get(row[column]) if rule.classes else row[column]
        if not label or (not rule.classes and label.upper().startswith(_BAD)):
            continue
        onset = seconds(where, row["onset"])
        length = seconds(where, row.get("duration") or "0") if rule.tmax_s is None else rule.tmax_s
        start, stop = onset + rule.tmin_s, onset + length
        if stop <= start or start < 0:
            without += 1
            continue
        stimulus = row.get(shown, "")
        who = f"sub-{file.entities['sub']}"
        found.append(Trial(file.name, start, stop, label, who, file.session, file.run, stimulus))
    found.sort(key=lambda trial: trial.start_s)
    problems = [f"{without} events without a length are no trials; tmax gives them one"] if without else []
    kept: list[Trial] = []
    cut = twice = 0
    for one, two in itertools.zip_longest(found, found[1:]):
        if two is not None and two.start_s <= one.start_s:
            twice += 1
            continue
        overlap = two is not None and two.start_s < one.stop_s
        cut += overlap
        kept.append(dataclasses.replace(one, stop_s=two.start_s) if two is not None and overlap else one)
    if cut:
        problems.append(f"{cut} trials run into the next: they end where it begins")
    if twice:
        problems.append(f"{twice} events at the time of another one: the last of them counts")
    return kept, problems


def _classes(text: str) -> dict[str, str]:
    """Return the values and classes of ``1:calm,2:happy``; a value alone is its own class."""
    classes = {}
    for part in text.split(","):
        value, _, label = part.partition(":")
        if not value.strip():
            raise ConfigError(
                "the option classes of bids cannot be read", got=printable(text), expected="1:calm,2:happy"
            )
        classes[value.strip()] = label.strip() or value.strip()
    return classes


def open_spec(rest: str) -> Bids:
    """Open ``PATH?label=COLUMN&classes=1:calm,2:happy&stimulus=COLUMN&tmin=0&tmax=20&task=NAME``."""
    options = SpecOptions(rest, "bids")
    named: Any = options.text("classes")
    tmax_s = options.number("tmax", math.inf, least=-3600, most=math.inf)
    rule = EventRule(
        column=options.text("label") or "",
        classes=_classes(named) if named else {},
        stimulus=options.text("stimulus") or "",
        tmin_s=options.number("tmin", 0.0, least=-3600, most=3600),
        tmax_s=None if math.isinf(tmax_s) else tmax_s,
        task=options.text("task"),
    )
    options.end()
    return Bids(options.path, rule)

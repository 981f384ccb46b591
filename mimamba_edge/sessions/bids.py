"""Recorded sessions as a data set in the Brain Imaging Data Structure: EEG-BIDS, with its signal in BDF+.

The standard: https://bids-specification.readthedocs.io (1.9). What goes out is what a session holds, less the
moment it was recorded at and the model's decisions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge import __version__
from mimamba_edge.console import printable
from mimamba_edge.data.bids_tree import read_sidecar, read_tsv
from mimamba_edge.data.channels import eeg_channels
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.session_format import LABELS, SIGNAL
from mimamba_edge.errors import DataError, OutputError
from mimamba_edge.files import staging
from mimamba_edge.naming import distinct
from mimamba_edge.sessions.edf_signal import SKIPPED, Regular, bdf_bytes, regular, step_uv
from mimamba_edge.sessions.store import Session, find_session

__all__ = ["Exported", "export_bids"]

_ABOUT, _PEOPLE = "dataset_description.json", "participants.tsv"
_TASK = "recording"
_MAKER = "mimamba-edge"
_SESSION = "MimambaSession"
"""Key of ``*_eeg.json``: the random id of the session."""
_README = """\
EEG sessions that mimamba-edge recorded, in BIDS.

Signals are BDF+ in microvolts, 24 bits between the limits in each file's header, as recorded: not filtered,
no new reference. Where samples never came, or a channel has none, the last value is held; annotations of the
file and *_events.tsv span these places with BAD_ACQ_SKIP, and so what fills the last data record. Times are
those of the samples at the nominal rate. Files hold no date; people go by the pseudonyms of the recording.

EEG can identify a person: treat these files as health data.
"""
_WHO = {"pseudonym": {"Description": "As the person was called while recording."}}


@dataclass(frozen=True)
class Exported:
    """What became of a session.

    Attributes:
        file: The signal's file, from the root of the data set.
        trials: Number of trials.
        missing_s: Seconds of signal that are missing.
        step_uv: Coarsest step between two values in microvolts; rounding moves a sample by half of it.
    """

    file: str
    trials: int
    missing_s: float
    step_uv: float


def export_bids(folder: Path, root: Path) -> Exported:
    """Write a session into a data set, which is made where it is not there; all of it or nothing.

    A session that the data set holds already is written again. Files are for this user only, as in a session.

    Raises:
        DataError: It is no session, is damaged, or holds what such files cannot.
        OutputError: It is being recorded; ``root`` is something else, or holds another session of that name.
        DependencyError: edfio is not installed.
    """
    session = find_session(folder)
    if session.problem is not None:
        raise DataError(f"{folder} is damaged", got=session.problem)
    if session.recording:
        raise OutputError(f"{folder} is being recorded", do="end the recording first")
    recording = read_recording(session.folder / SIGNAL)
    name = _name(session)
    place = root.joinpath(*(part for part in name.split("_") if part.startswith(("sub-", "ses-"))), "eeg")
    people = _people(root, session, name)
    _check_place(root, place, session, name)
    signal = regular(recording)
    rows, trials = _rows(session.folder, recording, signal)
    labels = distinct(map(_label, recording.ch_names), "{:.13}_{}")
    eeg = set(eeg_channels(recording)[0])
    missing_s = _missing_s(recording, signal)
    kinds = ["EEG" if channel in eeg else "MISC" for channel in recording.ch_names]
    files: dict[Path, bytes] = {
        root / _PEOPLE: people,
        root / "participants.json": _json(_WHO),
        root / _ABOUT: _json(_about(root)),
        root / "README": _README.encode(),
        place / f"{name}_eeg.bdf": bdf_bytes(
            signal, labels, [(at, text) for at, _, kind, text, _ in rows if text]
        ),
        place / f"{name}_eeg.json": _json(_sidecar(session, signal, kinds, missing_s)),
        place / f"{name}_channels.tsv": _table(
            ("name", "type", "units", "sampling_frequency", "description"),
            [
                (label, kind, "uV", f"{signal.sfreq:g}", "" if label == channel else f"recorded as {channel}")
                for label, kind, channel in zip(labels, kinds, recording.ch_names, strict=True)
            ],
        ),
        place / f"{name}_events.tsv": _table(("onset", "duration", "trial_type", "value", "stimulus"), rows),
        place / f"{name}_events.json": _json(_described(rows)),
    }
    with staging(files, manifests=False) as hidden:
        for path, data in files.items():
            made = hidden / path.relative_to(root)
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch(mode=0o600)
            made.write_bytes(data)
    file = (place / f"{name}_eeg.bdf").relative_to(root).as_posix()
    return Exported(file, trials, missing_s, step_uv(signal.limits_uv))


def _name(session: Session) -> str:
    """Return what all files of a session begin with: in BIDS of letters and digits, and runs are numbers."""
    said = {}
    for key in ("subject", "session", "run"):
        said[key] = re.sub(r"[^A-Za-z0-9]", "", str(session.info[key]))
        if not said[key]:
            raise DataError(
                f"{session.folder} has no {key} that BIDS could name",
                got=printable(session.info[key]),
                expected="a name with letters (a to z) or digits",
            )
    run = f"run-{said['run']}" if said["run"].isdecimal() else f"acq-{said['run']}"
    task = f"task-{_TASK}"
    return "_".join([f"sub-{said['subject']}", f"ses-{said['session']}", *sorted([task, run], key=_order)])


def _order(entity: str) -> int:
    return ("task", "acq", "run").index(entity.partition("-")[0])


def _label(name: str) -> str:
    """Return a channel's name as a header of EDF can hold it."""
    return "".join(c if " " <= c <= "~" else "_" for c in name).strip()[:16].strip() or "_"


def _about(root: Path) -> dict[str, Any]:
    """Return the description of the data set; what somebody added to it stays."""
    held = read_sidecar(root / _ABOUT) if (root / _ABOUT).is_file() else {}
    return {
        "Name": "EEG sessions",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": _MAKER, "Version": __version__}],
        **held,
    }


def _people(root: Path, session: Session, name: str) -> bytes:
    """Return the table of people with this one.

    Raises:
        OutputError: ``root`` is no data set of ours, or another pseudonym has become the same name.
    """
    who, pseudonym = name.partition("_")[0], printable(session.info["subject"])
    found: dict[str, str] = {}
    if root.is_dir() and any(root.iterdir()):
        made = read_sidecar(root / _ABOUT).get("GeneratedBy") if (root / _ABOUT).is_file() else None
        ours = isinstance(made, list) and any(
            isinstance(one, dict) and one.get("Name") == _MAKER for one in made
        )
        if not ours:
            raise OutputError(
                f"{root} is not empty",
                got="files that are no data set of `session export`",
                expected="a new folder, or one that it made",
                do="choose another folder",
            )
        if (root / _PEOPLE).is_file():
            rows = read_tsv(root / _PEOPLE)
            found = {row.get("participant_id", ""): row.get("pseudonym", "") for row in rows}
    if found.setdefault(who, pseudonym) != pseudonym:
        raise OutputError(
            f"{root} holds another person as {who}",
            got=f"pseudonym {printable(found[who])}",
            expected=pseudonym,
            do="choose another folder: in BIDS a name has letters and digits only",
        )
    return _table(("participant_id", "pseudonym"), sorted(found.items()))


def _check_place(root: Path, place: Path, session: Session, name: str) -> None:
    """Check that no other session has this name, and that no link leads out of the data set.

    Raises:
        OutputError: One does.
    """
    inside = [place, *(folder for folder in place.parents if folder != root and root in folder.parents)]
    if link := next((folder for folder in inside if folder.is_symlink()), None):
        raise OutputError(f"{link} is a link", got=f"to {link.readlink()}", do="choose another folder")
    about = place / f"{name}_eeg.json"
    held = read_sidecar(about).get(_SESSION) if about.is_file() else None
    if (about.exists() or (place / f"{name}_eeg.bdf").exists()) and held != session.info.get("id"):
        raise OutputError(
            f"{place / name} stands for another session",
            got=f"subject, session and run of session {printable(held or 'without an id')}",
            do="choose another folder, or remove the files that begin with this name",
        )


def _rows(folder: Path, recording: Recording, signal: Regular) -> tuple[list[tuple[Any, ...]], int]:
    """Return the events in the order of time, and how many of them are trials."""
    rows: list[tuple[float, float, str, str, str]] = []
    for trial in read_labels(folder) if (folder / LABELS).is_file() else ():
        at = signal.at_time(trial.start_s)
        if rows and rows[-1][0] + rows[-1][1] > at:
            # The device runs slower than it says: by its samples they touch.
            rows[-1] = (rows[-1][0], round(at - rows[-1][0], 6), *rows[-1][2:])
        rows.append((at, round(trial.stop_s - trial.start_s, 6), trial.label, "", trial.stimulus))
    n = len(rows)
    rows += [(signal.at_sample(mark.sample), 0.0, "", printable(mark.text), "") for mark in recording.markers]
    rows += [(onset, length, SKIPPED, "", "") for onset, length in signal.skipped]
    return sorted(rows, key=lambda row: row[0]), n


def _described(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return what the columns of the events mean."""
    levels = {str(kind): "Trials of this class." for _, _, kind, _, _ in rows if kind}
    levels |= {SKIPPED: "No trial: samples are missing, the last value is held."} if SKIPPED in levels else {}
    return {
        "onset": {"Description": "Begin, from the first sample.", "Units": "s"},
        "duration": {"Description": "Length; 0 for a marker.", "Units": "s"},
        "trial_type": {"Description": "Class of a trial.", "Levels": dict(sorted(levels.items()))},
        "value": {"Description": "Text of a marker that came while recording."},
        "stimulus": {"Description": "What was shown in a trial."},
    }


def _missing_s(recording: Recording, signal: Regular) -> float:
    """Return the seconds that are missing, less what fills the last data record."""
    end = signal.at_sample(len(recording.samples) - 1)
    return round(sum(length for onset, length in signal.skipped if onset < end), 3)


def _sidecar(session: Session, signal: Regular, kinds: Sequence[str], missing_s: float) -> dict[str, Any]:
    source = str(session.info.get("source") or "")
    model = {"ManufacturersModelName": printable(source)} if source else {}
    return {
        "TaskName": _TASK,
        **model,
        "EEGReference": "as-recorded",
        "PowerLineFrequency": "n/a",
        "SamplingFrequency": signal.sfreq,
        "HardwareFilters": "n/a",
        "SoftwareFilters": "n/a",
        "EEGChannelCount": kinds.count("EEG"),
        "MISCChannelCount": kinds.count("MISC"),
        "RecordingDuration": round(len(signal.samples) / signal.sfreq, 6),
        "RecordingType": "continuous",
        "MissingSeconds": missing_s,
        _SESSION: session.info.get("id"),
    }


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    lines = [header, *([_cell(value) for value in row] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _cell(value: Any) -> str:
    return (
        f"{value:.6f}".rstrip("0").rstrip(".")
        if isinstance(value, float)
        else printable(value).strip() or "n/a"
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()

"""FIF files, through MNE-Python."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.data.formats.fif_tags import check_tags
from mimamba_edge.data.formats.marks import trigger_starts
from mimamba_edge.data.recording import Marker, Recording, known_rails_uv
from mimamba_edge.errors import DataError, DependencyError, pip_install

__all__ = ["is_part", "read", "recording_of"]

_VOLT = 107
"""FIFF_UNIT_V; FIF holds volts."""
_EEG = ("eeg", "seeg", "ecog", "dbs")
"""MNE's kinds of voltages of the brain."""
_SKIPPED = "BAD_ACQ_SKIP"
"""Where recording was interrupted; MNE gives zeros there."""
_PART = re.compile(r"(?P<stem>.+?)(?:-\d+|_split-(?P<split>\d+)(?:_\w+)?)\.fif(?P<gz>\.gz)?")
"""How MNE names the parts of a file that was split: NAME-1.fif after NAME.fif, or NAME_split-02_eeg.fif."""


def read(path: Path) -> Recording:
    """Read raw data of a FIF file, and its further parts where it was split.

    Annotations are markers but for those that begin with BAD or EDGE; so are changes of a trigger channel.

    Raises:
        DataError: It is no such file.
        DependencyError: MNE is not installed.
    """
    try:
        mne: Any = importlib.import_module("mne")
    except ImportError as error:
        raise DependencyError("FIF files need MNE", do=pip_install("files")) from error
    try:
        check_tags(path)
        with warnings.catch_warnings():
            # About names of files, among others: nothing that bears on the samples.
            warnings.simplefilter("ignore")
            raw = mne.io.read_raw_fif(path, preload=False, verbose="ERROR")
            return recording_of(path, raw)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file sets off in there
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} is not raw data in a FIF file", got=lines[0]) from error


def recording_of(path: Path, raw: Any) -> Recording:
    """Return what one of MNE's ``Raw`` holds.

    Raises:
        DataError: It holds no signal.
    """
    sfreq, n = float(raw.info["sfreq"]), int(raw.n_times)
    kinds = raw.get_channel_types()
    kept = [i for i, kind in enumerate(kinds) if kind != "stim"]
    if not kept or not n:
        raise DataError(f"{path} holds no signal", got=f"{len(kinds)} channels, {n} samples")
    volts = raw.get_data(picks=kept, verbose="ERROR")
    factors = np.array([1e6 if raw.info["chs"][i]["unit"] == _VOLT else 1.0 for i in kept])
    samples = np.multiply(volts.T, factors, order="C")
    marks: list[tuple[str, float, float]] = []
    for note in raw.annotations:
        # Counted from the begin of the acquisition, which recording may have followed later.
        start = note["onset"] - raw.first_time
        text = str(note["description"])
        if text.upper() == _SKIPPED:
            at = round(start * sfreq)
            samples[max(0, at) : max(0, at + round(note["duration"] * sfreq))] = np.nan
        if not text.upper().startswith(("BAD", "EDGE")):
            marks.append((text, float(start), float(note["duration"])))
    for i, kind in enumerate(kinds):
        if kind == "stim":
            values = raw.get_data(picks=[i], verbose="ERROR")[0]
            marks += [(f"{values[k]:g}", k / sfreq, 0.0) for k in trigger_starts(values).tolist()]
    names = tuple(raw.ch_names[i] for i in kept)
    return Recording(
        path=path,
        ch_names=names,
        sfreq=sfreq,
        samples=samples,
        timestamps=np.arange(n) / sfreq,
        markers=tuple(
            Marker(text, min(max(0, round(t * sfreq)), n), t, length)
            for text, t, length in sorted(marks, key=lambda mark: mark[1])
        ),
        rails_uv=known_rails_uv(names),
        others={raw.ch_names[i]: f"of the kind {kinds[i]}" for i in kept if kinds[i] not in _EEG},
    )


def is_part(path: Path) -> bool:
    """Return whether this is a further part of a file that was split: it is read with the first one."""
    part = _PART.fullmatch(path.name)
    if part is None:
        return False
    if part["split"] is not None:
        return int(part["split"]) > 1
    return path.with_name(f"{part['stem']}.fif{part['gz'] or ''}").is_file()

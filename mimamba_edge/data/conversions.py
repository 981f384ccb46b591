"""Recordings of other programs: what a file is, and how it becomes one that can be read.

Lines of Python stand as they are typed; ``FILE`` is the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Foreign", "of_columns", "of_name"]


@dataclass(frozen=True)
class Foreign:
    """A file that is not read here.

    Attributes:
        what: For people.
        do: How it becomes a file that is.
    """

    what: str
    do: str


_MNE = """python -c "import mne; mne.io.read_raw('FILE').export('FILE.edf')" (pip install mne edfio)"""
_LAYOUT = "'timestamps' (seconds) and a column of microvolts for each channel"
_ARRAY = (
    """python -c "import numpy as np; x = {load}; np.savetxt('FILE.csv', np.c_[np.arange(len(x)) / RATE, x]"""
    """, delimiter=',', header='timestamps,NAME,NAME', comments='')" for x (n_times, n_chans) in uV"""
)
_FRAME = (
    """python -c "import pandas; pandas.read_{kind}('FILE').to_csv('FILE.csv', index=False)"; the columns """
    f"must be {_LAYOUT}"
)
_BY_MNE = {
    ".gdf": "GDF",
    ".cnt": "Neuroscan or ANT",
    ".mff": "EGI",
    ".nxe": "Nexstim",
    ".lay": "Persyst",
    ".data": "Nicolet",
    ".snirf": "SNIRF",
    ".egi": "EGI",
}
_BY_SUFFIX = {
    **{end: Foreign(f"a recording of {of}'s format", _MNE) for end, of in _BY_MNE.items()},
    ".eeg": Foreign("the samples of a BrainVision recording", "name the .vhdr file beside it"),
    ".vmrk": Foreign("the markers of a BrainVision recording", "name the .vhdr file beside it"),
    ".fdt": Foreign("the samples of an EEGLAB recording", "name the .set file beside it"),
    ".mat": Foreign(
        "a MATLAB file, which may hold anything",
        _ARRAY.format(load="scipy.io.loadmat('FILE')['VARIABLE']").replace(
            "numpy as np", "numpy as np, scipy.io"
        ),
    ),
    ".npy": Foreign("a NumPy array", _ARRAY.format(load="np.load('FILE')")),
    ".npz": Foreign(
        "a file of NumPy arrays",
        "as trials it is a data set, npz:FILE; as one recording: "
        + _ARRAY.format(load="np.load('FILE')['ARRAY']"),
    ),
    ".parquet": Foreign("a table in Parquet", _FRAME.format(kind="parquet")),
    ".feather": Foreign("a table in Feather", _FRAME.format(kind="feather")),
    ".xlsx": Foreign("a spreadsheet", _FRAME.format(kind="excel")),
    ".tsv": Foreign(
        "a table with tabs",
        """python -c "import pandas; pandas.read_csv('FILE', sep='\\t').to_csv('FILE.csv', index=False)"; """
        f"the columns must be {_LAYOUT}",
    ),
    ".json": Foreign("a JSON file, which may hold anything", f"write it as CSV: {_LAYOUT}"),
    ".h5": Foreign("an HDF5 file, which may hold anything", f"write it as CSV: {_LAYOUT}"),
    ".muse": Foreign(
        "a .muse file of InteraXon's programs",
        "in Mind Monitor choose CSV; an old file: muse-player -f FILE -C FILE.csv, then write its rows of "
        f"/muse/eeg as CSV: {_LAYOUT}",
    ),
}
_OTHERS = (
    (
        re.compile(r"title:.*(sampling|headset)|(.*,)?\s*EEG\.Counter\b", re.IGNORECASE),
        Foreign("a CSV file of Emotiv's programs", "export the recording as EDF+ instead, which is read"),
    ),
    (
        re.compile(r"EEG 1[,;].*Validation Indicator", re.IGNORECASE),
        Foreign(
            "a CSV file of Unicorn Recorder", "record BDF with it instead, or stream it by LSL to LabRecorder"
        ),
    ),
    (
        re.compile(r"timestamps?,.*\beeg_1\b.*\bacc_1\b", re.IGNORECASE),
        Foreign(
            "a CSV file of Muse Direct, whose rows mix all that the headset sends",
            f"keep the rows and columns of the EEG alone: {_LAYOUT}",
        ),
    ),
)
_BRAINFLOW = Foreign(
    "a file of BrainFlow's streamer, which does not say of which board",
    "mimamba-edge record --source 'brainflow:playback_file?file=FILE&master_board=BOARD' -o sessions/; of a "
    "session of OpenBCI's GUI take OpenBCI-RAW-....txt beside it",
)
_SEMICOLONS = Foreign(
    "a table with semicolons, as a spreadsheet saves it where decimals have commas",
    """take the file as it was written, or: python -c "import pandas; pandas.read_csv('FILE', sep=';', """
    """decimal=',').to_csv('FILE.csv', index=False)\"""",
)
_TABS = Foreign("a table with tabs", _BY_SUFFIX[".tsv"].do)


def of_name(path: Path) -> Foreign | None:
    """Return what a file is by the end of its name, or ``None``."""
    return _BY_SUFFIX.get(path.suffix.lower())


def of_columns(lines: Sequence[str]) -> Foreign | None:
    """Return what a text file is by its first two lines, or ``None`` if that is not known.

    Args:
        lines: Those, or as many as there are.
    """
    if not lines:
        return None
    for pattern, foreign in _OTHERS:
        if any(pattern.match(line.replace('"', "")) for line in lines):
            return foreign
    cells = lines[0].split("\t")
    if len(cells) > 2:
        return _BRAINFLOW if all(map(_is_number, cells)) else _TABS
    return _SEMICOLONS if lines[0].count(";") > max(1, lines[0].count(",")) else None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

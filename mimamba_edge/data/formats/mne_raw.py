"""BrainVision and EEGLAB files, through MNE-Python."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimamba_edge.data.formats.fif import recording_of
from mimamba_edge.data.mat5 import mat_variables
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError, DependencyError, pip_install, shorten
from mimamba_edge.strict_json import Malformed, read_regular

__all__ = ["read"]

_CHANNELS = re.compile(r"NumberOfChannels\s*=\s*(\d+)", re.IGNORECASE)
_MOST_CHANNELS = 1024
_READERS = {".vhdr": ("read_raw_brainvision", "BrainVision"), ".set": ("read_raw_eeglab", "EEGLAB")}


def read(path: Path) -> Recording:
    """Read a BrainVision header with the files it names, or an EEGLAB file of a continuous recording.

    Raises:
        DataError: It is no such file.
        DependencyError: MNE is not installed.
    """
    function, kind = _READERS[path.suffix.lower()]
    try:
        mne: Any = importlib.import_module("mne")
    except ImportError as error:
        raise DependencyError(f"{kind} files need MNE", do=pip_install("files")) from error
    opened: Callable[..., Any] = getattr(mne.io, function)
    _check_head(path)
    try:
        with warnings.catch_warnings():
            # About names, montages and units: nothing that bears on the samples.
            warnings.simplefilter("ignore")
            return recording_of(path, opened(path, preload=False, verbose="ERROR"))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file sets off in there
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} is not a continuous recording in {kind} format", got=lines[0]) from error


def _check_head(path: Path) -> None:
    """Check what MNE takes as it stands: a number of channels, or what SciPy reads a MAT file by."""
    if path.suffix.lower() == ".set":
        for variable in mat_variables(path):
            variable.walk(lambda leaf: None)
        return
    try:
        head = read_regular(path).decode("utf-8", "replace")
    except (OSError, Malformed) as error:
        raise DataError(f"cannot read {path}", got=error) from error
    for claimed in _CHANNELS.findall(head):
        if not 1 <= float(claimed) <= _MOST_CHANNELS:
            raise DataError(
                f"{path} claims {shorten(claimed, 40)} channels", expected=f"1 to {_MOST_CHANNELS}"
            )

"""The windows that block and network see: real recordings where they are at hand."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from mimamba_edge.load import builtin_model
from mimamba_edge.parity.windows import WindowSet, find_windows
from mimamba_edge.runtime.reference import Reference, reference_path

__all__ = ["windows_of"]

LIMIT = 1024


def windows_of(n_times: int) -> WindowSet:
    """Return windows of four channels at the built-in model's rate and scaling.

    From ``muse-ssvep`` in the folder that ``MIMAMBA_DATA`` names; without it the reference windows of the
    built-in model, or simulated EEG where the length is not theirs. Their source is a name, no path.

    Raises:
        DataError: ``MIMAMBA_DATA`` holds no such recordings.
    """
    model = builtin_model()
    contract = Reference.load(reference_path(model)).contract
    stored = model if n_times == contract.n_times else None
    contract = dataclasses.replace(contract, n_times=n_times)
    if named := os.environ.get("MIMAMBA_DATA"):
        found = find_windows(contract, data=Path(named) / "muse-ssvep", limit=LIMIT)
    else:
        found = find_windows(contract, artifact=stored)
    return dataclasses.replace(found, source=Path(found.source).name)

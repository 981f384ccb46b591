"""All rows of the table, in its order. A file of entries is one line here."""

from __future__ import annotations

from benchmarks.compat import eeg, eeg_mamba, families
from benchmarks.compat.entry import Compared

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Compared] = {
    **families.ENTRIES,
    **eeg_mamba.ENTRIES,
    **eeg.ENTRIES,
}
"""By name, which is what ``--only`` takes and what records keep."""

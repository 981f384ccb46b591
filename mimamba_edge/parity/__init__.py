"""Parity: whether two runners give the same answers, by gates that stand in one table."""

from __future__ import annotations

from mimamba_edge.parity.compare import Parity, check_contracts, missed, to_rows
from mimamba_edge.parity.gates import GATES, MIN_WINDOWS, Gate, gate_for
from mimamba_edge.parity.verify import compare, verify
from mimamba_edge.parity.windows import WindowSet, find_windows

__all__ = [
    "GATES",
    "MIN_WINDOWS",
    "Gate",
    "Parity",
    "WindowSet",
    "check_contracts",
    "compare",
    "find_windows",
    "gate_for",
    "missed",
    "to_rows",
    "verify",
]

"""What an unfinished fit keeps on the disk: a fit that was killed goes on and ends at the same bits."""

from __future__ import annotations

import contextlib
import pickle
import time
from pathlib import Path
from typing import Any

import torch

from mimamba_edge.errors import OutputError
from mimamba_edge.export.jobs.results import tell_epochs
from mimamba_edge.files import atomic_write

__all__ = ["WRITTEN_EVERY_S", "FitState"]

WRITTEN_EVERY_S = 5.0
"""Least time from one writing to the next: waiting for the disk at each of many short epochs costs more."""


class FitState:
    """The file of one fit.

    Args:
        path: Where it is; ``None`` keeps nothing. Who named it removes it.
        mark: Plain values that tell this fit from others: a file with another mark is not used.
    """

    def __init__(self, path: Path | None, mark: list[Any]) -> None:
        self.path, self._mark, self._written = path, mark, time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last; ``None`` where that is nothing, damaged, or of another fit."""
        if self.path is None:
            return None
        # Tensors and plain values only: nothing in the file is executed.
        with contextlib.suppress(
            OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError
        ):
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if isinstance(found, dict) and found.get("mark") == self._mark:
                return found
        return None

    def tell(self, epochs: int) -> None:
        """Tell who waits for the fit how many epochs it has done."""
        if self.path is not None:
            tell_epochs(self.path, epochs)

    def due(self) -> bool:
        """Say whether it is time to save."""
        return self.path is not None and time.monotonic() - self._written >= WRITTEN_EVERY_S

    def save(self, values: dict[str, Any]) -> None:
        """Write tensors and plain values; where the disk does not take them, the fit goes on without."""
        assert self.path is not None
        try:
            with atomic_write(self.path, private=True) as file:
                torch.save({"mark": self._mark, **values}, file)
        except OutputError:
            self.path = None
        self._written = time.monotonic()

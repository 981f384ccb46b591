"""Which windows a comparison or a measurement runs on. Every figure names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.runtime.reference import Reference, reference_path

__all__ = ["WindowSet", "find_windows"]

_SIMULATED = 256
"""Simulated windows where nothing real is at hand."""


@dataclass(frozen=True)
class WindowSet:
    """Windows and where they come from.

    Attributes:
        data: ``(n, n_chans, n_times)`` float32, scaled.
        source: For people: a path, or how they were simulated.
        kind: ``"recordings"``, ``"reference"`` (stored by the export) or ``"simulated"``.
        hop: Samples between window starts; ``None`` where the export chose the windows.
    """

    data: NDArray[np.float32]
    source: str
    kind: str
    hop: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"source": self.source, "kind": self.kind, "count": len(self.data), "hop": self.hop}

    def __str__(self) -> str:
        hop = "" if self.hop is None else f", hop {self.hop} samples"
        return f"{len(self.data)} windows of {self.source} ({self.kind}{hop})"


def find_windows(
    contract: Contract,
    *,
    data: Path | None = None,
    hop: int | None = None,
    limit: int | None = None,
    artifact: Path | None = None,
) -> WindowSet:
    """Return windows: of recordings if named, else the export's reference windows, else simulated EEG.

    Args:
        contract: Of the model that will see them.
        data: A recording or a folder of recordings.
        hop: Samples between window starts of recordings; the contract's if ``None``.
        limit: At most this many.
        artifact: An exported file that may have a ``.ref.npz`` beside it.

    Raises:
        ConfigError: ``hop`` without ``data``, or a hop or limit below one.
        DataError: The recordings hold no window.
    """
    for name, value in (("--hop", hop), ("--limit", limit)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1", got=value)
    if data is not None:
        from mimamba_edge.data.windows import sliding_windows

        step = hop or contract.hop
        windows = sliding_windows(data, contract, hop=step, limit=limit)
        if not len(windows):
            raise DataError(
                f"{data} holds no valid window",
                expected=f"at least {contract.window_s:g} s of signal on {', '.join(contract.ch_names)}",
            )
        return WindowSet(windows, str(data), "recordings", step)
    if hop is not None:
        raise ConfigError("--hop needs recordings to step through", do="add --data FOLDER")
    if artifact is not None and reference_path(artifact).is_file():
        held = Reference.beside(artifact).windows[:limit]
        return WindowSet(held, str(reference_path(artifact)), "reference", None)
    return _simulated(contract, limit or _SIMULATED)


def _simulated(contract: Contract, count: int) -> WindowSet:
    raise NotImplementedError

"""Which windows a comparison or a measurement runs on. Every figure names them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract, Promise
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.runtime.base import need_contract
from mimamba_edge.runtime.reference import Reference, reference_path
from mimamba_edge.signature import Signature

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
    contract: Promise,
    *,
    data: Path | None = None,
    hop: int | None = None,
    limit: int | None = None,
    artifact: Path | None = None,
) -> WindowSet:
    """Return windows: of recordings if named, else the export's reference windows, else simulated EEG.

    Args:
        contract: Of the model that will see them. A model without one sees its reference windows.
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

        known = need_contract(contract, artifact or "the model that would see recordings")
        step = hop or known.hop
        windows = sliding_windows(data, known, hop=step, limit=limit)
        return WindowSet(windows, str(data), "recordings", step)
    if hop is not None:
        raise ConfigError("--hop needs recordings to step through", do="add --data FOLDER")
    if artifact is not None and reference_path(artifact).is_file():
        held = Reference.beside(artifact).windows[:limit]
        return WindowSet(held, str(reference_path(artifact)), "reference", None)
    if isinstance(contract, Signature):
        raise DataError(
            "there are no reference inputs beside the model, and nothing says what it takes",
            do="copy NAME.ref.npz and its manifest along with it, or export again",
        )
    return _simulated(contract, limit or _SIMULATED)


def _simulated(contract: Contract, count: int) -> WindowSet:
    """Return windows of simulated EEG that went through the model's own signal path."""
    from mimamba_edge.data.simulate import CLASSES, simulate_recording
    from mimamba_edge.data.windows import stream_windows

    # Half a minute more than the windows take: the filters settle, and some windows hold a blink too many.
    trial_s, rest_s = 4.0, 1.0
    length_s = contract.window_s + count * contract.hop / contract.sfreq + 30.0
    labels = [CLASSES[i % len(CLASSES)] for i in range(math.ceil(length_s / (trial_s + rest_s)))]
    # The simulated headset has few channels; a model with more gets further people's.
    parts = [simulate_recording(labels, trial_s=trial_s, seed=(0, 0))[0]]
    while len(parts) * len(parts[0].ch_names) < contract.n_chans:
        parts.append(simulate_recording(labels, trial_s=trial_s, seed=(0, len(parts)))[0])
    samples = np.concatenate([part.samples for part in parts], axis=1)[:, : contract.n_chans]
    recording = dataclasses.replace(parts[0], ch_names=contract.ch_names, samples=samples)
    valid = [w.data for w in stream_windows(recording, contract) if w.valid][:count]
    if not valid:
        raise DataError(
            "the simulator cannot make a valid window for this contract", do="use recordings: --data FOLDER"
        )
    return WindowSet(np.stack(valid), "simulated EEG, seed 0", "simulated", contract.hop)

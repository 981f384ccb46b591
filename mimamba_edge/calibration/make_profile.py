"""Makes a personal profile from resting signal."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.mains import clear_mains
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import GateError, SignalError, SourceError
from mimamba_edge.profile import Profile, contract_sha256
from mimamba_edge.runtime.base import Runner
from mimamba_edge.signal.montage import channel_columns, microvolts_per
from mimamba_edge.signal.preprocessor import Window
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling
from mimamba_edge.stream.decision import softmax
from mimamba_edge.stream.preprocessing import preprocessor_of_source
from mimamba_edge.stream.read_seconds import read_seconds
from mimamba_edge.stream.signal_check import faults
from mimamba_edge.stream.sources.base import Source

__all__ = ["BANDS_HZ", "LEAST_SHARE", "LEAST_VALID_S", "make_profile", "settling_s"]

LEAST_VALID_S = 20.0
"""Ours: the quartiles of 20 s of a band from 1 Hz up rest on some tens of independent values."""
LEAST_SHARE = 0.5
"""Ours: where more than half of the signal cannot be used, the rest is no fair sample of it."""
BANDS_HZ = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
_NOISE_SHARE = (0.65, 0.85)
"""Of the band's upper edge: there resting EEG is weakest, and muscle and amplifier noise show."""
_PATIENCE_S = 10.0


def settling_s(source: Source, contract: Contract, channel_map: Mapping[str, str] | None = None) -> float:
    """Return how long the filters settle before the first window of rest, in whole windows.

    Raises:
        SourceError: The source does not fit the model.
    """
    path = preprocessor_of_source(source, contract, channel_map=channel_map, mains_hz=None)
    return math.ceil(path.settling_s / contract.window_s) * contract.window_s


def make_profile(
    source: Source,
    runner: Runner,
    *,
    name: str,
    model: Path,
    model_sha256: str,
    seconds: float,
    channel_map: Mapping[str, str] | None = None,
    advance: Callable[[float], None] = lambda seconds: None,
) -> Profile:
    """Record rest and derive a profile.

    The signal takes the model's own path, with the notch where the mains is found; windows do not overlap.
    Center and scale are median and interquartile range of the valid filtered samples, as in training.

    Args:
        source: Closed at the end.
        runner: Of the model, active.
        name: Of the profile.
        model: The model's file.
        model_sha256: Its hash.
        seconds: Of rest, after the filters have settled.
        channel_map: Model's channel name to source's.
        advance: Told how many seconds of signal came.

    Raises:
        GateError: Too little of the signal is valid, or a channel's quality is poor: all reasons in one.
        SourceError: The source does not fit the model, or gave nothing.
    """
    contract = runner.contract
    try:
        columns = channel_columns(contract.ch_names, source.ch_names, channel_map)
        factor = microvolts_per(source.unit)
    except SignalError as error:
        raise SourceError(
            f"{source.name}: {error.what}", got=error.got, expected=error.expected, do=error.do
        ) from error
    chunks = []
    settling = settling_s(source, contract, channel_map)
    for chunk in read_seconds(source, settling + seconds, patience_s=_PATIENCE_S):
        chunks.append(chunk)
        advance(len(chunk.samples) / source.sfreq)
    samples = np.concatenate([chunk.samples for chunk in chunks] or [np.zeros((0, len(source.ch_names)))])
    if not len(samples):
        raise SourceError(f"{source.name} gave no signal", do="check the device, then calibrate again")
    timestamps = np.concatenate([chunk.timestamps for chunk in chunks])
    mains_hz = _find_mains(samples[:, columns] * factor, timestamps, source.sfreq, contract.ch_names)
    windows = _windows(source, contract, samples, timestamps, channel_map, mains_hz)
    valid = [window for window in windows if window.valid]
    reasons = Counter(str(window.reason) for window in windows if not window.valid)
    channels = _channels(valid, contract)
    _refuse(contract, len(samples) / source.sfreq, len(windows), len(valid), reasons, channels)
    scaling = fit_scaling(np.stack([window.uv for window in valid]), contract.scaling.kind)
    return Profile(
        name=name,
        model={
            "file": model.name,
            "sha256": model_sha256,
            "contract_sha256": contract_sha256(contract),
        },
        ch_names=contract.ch_names,
        scaling=scaling,
        mains_hz=mains_hz,
        channels=channels,
        baseline=_baseline(runner, valid, scaling),
        signal={
            "seconds": round(len(samples) / source.sfreq, 3),
            "windows": len(windows),
            "valid": len(valid),
            "no_decision": dict(sorted(reasons.items())),
        },
        source={
            "device": source.device,
            "sfreq": source.sfreq,
            "channel_map": dict(channel_map or {}),
        },
        made_unix=time.time(),
    )


def _find_mains(
    uv: NDArray[np.float64], timestamps: NDArray[np.float64], sfreq: float, names: tuple[str, ...]
) -> float | None:
    if not np.isfinite(uv).any():
        return None
    return clear_mains([Recording(Path(), names, sfreq, uv, timestamps)])


def _windows(
    source: Source,
    contract: Contract,
    samples: NDArray[np.float64],
    timestamps: NDArray[np.float64],
    channel_map: Mapping[str, str] | None,
    mains_hz: float | None,
) -> list[Window]:
    plain = dataclasses.replace(contract, hop=contract.n_times, scaling=Scaling("none"))
    path = preprocessor_of_source(source, plain, channel_map=channel_map, mains_hz=mains_hz, final=True)
    return path.push(samples, timestamps) + path.flush()


def _channels(valid: list[Window], contract: Contract) -> dict[str, dict[str, Any]]:
    """Return the figures of each channel over the valid windows."""
    if not valid:
        return {}
    uv = np.stack([window.uv for window in valid])
    taper = np.hanning(contract.n_times + 1)[:-1]
    # One-sided density of each window, microvolts squared a hertz. Its medians let a blink be a blink.
    density = np.abs(np.fft.rfft((uv - uv.mean(axis=-1, keepdims=True)) * taper, axis=-1)) ** 2
    density *= 2 / (contract.sfreq * np.sum(taper**2))
    freq = np.fft.rfftfreq(contract.n_times, 1 / contract.sfreq)
    edge = min([f.high_hz for f in contract.filters if f.kind == "bandpass"] + [0.5 * contract.sfreq])
    quiet = (freq >= _NOISE_SHARE[0] * edge) & (freq <= _NOISE_SHARE[1] * edge)
    bands = {name: (freq >= low) & (freq < min(high, edge)) for name, (low, high) in BANDS_HZ.items()}
    figures = {}
    for number, name in enumerate(contract.ch_names):
        seen = [window.quality[name] for window in valid]
        noise = np.sqrt(density[:, number, quiet].mean(axis=1)) if quiet.any() else ()
        figures[name] = {
            "rms_uv": _median([q["rms_uv"] for q in seen]),
            "mains_ratio": _median([q["mains_ratio"] for q in seen]),
            "noise_uv_rthz": _median(noise),
            "band_uv2": {
                band: _median(density[:, number, inside].sum(axis=1) * freq[1]) if inside.any() else None
                for band, inside in bands.items()
            },
        }
    return figures


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(np.median(known)) if known else None


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")


def _refuse(
    contract: Contract,
    seconds: float,
    n_windows: int,
    n_valid: int,
    reasons: Counter[str],
    channels: dict[str, dict[str, Any]],
) -> None:
    """Raise where the signal is too poor to be anybody's rest."""
    found = []
    valid_s = n_valid * contract.window_s
    if valid_s < LEAST_VALID_S:
        found.append(f"{valid_s:.1f} s of {seconds:.1f} s valid, fewer than {LEAST_VALID_S:g}")
    elif n_valid < LEAST_SHARE * n_windows:
        found.append(f"{n_valid} of {n_windows} windows valid, fewer than {LEAST_SHARE:.0%}")
    if found and reasons:
        found.append("not valid: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()))
    for name, figures in channels.items():
        poor = faults({"flat": False, "railed": None, **figures})
        if poor:
            found.append(f"{printable(name)}: {', '.join(poor)} (rms {figures['rms_uv']} uV)")
    if found:
        raise GateError(
            "no profile was written: the signal is not good enough",
            got="\n            ".join(found),
            do="run `mimamba-edge check-signal` until all channels are good, then calibrate again",
        )


def _baseline(runner: Runner, valid: list[Window], scaling: Scaling) -> dict[str, Any]:
    """Return what the model says at rest, scaled as it will be with the profile."""
    contract = runner.contract
    windows = apply_scaling(np.stack([window.uv for window in valid]), scaling)
    logits = np.zeros((len(windows), contract.n_outputs))
    for start in range(0, len(windows), runner.least_batch):
        # An engine may take several windows at a time only: the last batch reaches back.
        part = slice(max(0, min(start, len(windows) - runner.least_batch)), start + runner.least_batch)
        logits[part] = runner.logits(windows[part])
    probs = np.stack([softmax(row, contract.temperature) for row in logits.astype(np.float32)])
    return {
        "class_names": list(contract.class_names),
        "logits_mean": [_rounded(v) for v in logits.mean(axis=0)],
        "logits_std": [_rounded(v) for v in logits.std(axis=0)],
        "probs_mean": [_rounded(v) for v in probs.mean(axis=0)],
    }

"""Windows of one recording's trials, and which of the trials can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.data.labels import LABELS, Trial
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.clock import find_events, fit_clock
from mimamba_edge.signal.preprocessor import Preprocessor, Window
from mimamba_edge.signal.quality import faulty

__all__ = ["LEAST_VALID", "CutRecording", "CutTrial", "Left", "cut_recording", "preprocessor_for_recording"]

LEAST_VALID = 0.5
"""Share of a trial's windows that must be valid. A trial's score is the mean over its valid windows: below
half, most of what was shown to the person would not be in it (ours)."""
Left = tuple[str, tuple[str, ...], int, int]
"""Why a trial is left out: reason, channels at fault, valid windows, windows that it would have had."""


@dataclass(frozen=True)
class CutTrial:
    """What a trial gave.

    Attributes:
        uv: Its valid windows in microvolts ``(n, c, l)`` float64; none where it is left out.
        without: Number of its windows that are not valid, by reason; empty where it is left out.
        out: Why it is left out, or ``None``.
    """

    uv: NDArray[np.float64]
    without: dict[str, int]
    out: Left | None


@dataclass(frozen=True)
class CutRecording:
    """What the trials of a recording gave.

    Attributes:
        trials: In the order asked for.
        lead_s: Seconds that the recording must run before a trial: until the filters have settled, and a
            window.
    """

    trials: tuple[CutTrial, ...]
    lead_s: float


def preprocessor_for_recording(
    recording: Recording,
    contract: Contract,
    *,
    starts: Sequence[int] | None = None,
    final: bool = False,
) -> Preprocessor:
    """Return the signal path from a recording to a model.

    Raises:
        SignalError: The recording lacks a channel, or its rate does not fit; the text names the file.
    """
    try:
        return Preprocessor(contract, recording.format, starts=starts, final=final)
    except SignalError as error:
        raise SignalError(
            f"{recording.path}: {error.what}", got=error.got, expected=error.expected, do=error.do
        ) from error


def cut_recording(
    recording: Recording, contract: Contract, trials: Sequence[Trial], hop: int
) -> CutRecording:
    """Cut trials out of a filtered recording.

    Args:
        recording: The recording.
        contract: Signal path; its scaling is not applied.
        trials: Those of the recording.
        hop: Samples between windows of one trial, at the contract's rate.

    Raises:
        DataError: A trial is shorter than the window or outside the recording.
        SignalError: The recording lacks a channel, or its rate does not fit.
    """
    cut, settling_s = _cut_trials(recording, contract, trials, hop)
    made = tuple(_checked(trial, windows, recording) for trial, windows in zip(trials, cut, strict=True))
    return CutRecording(made, settling_s + contract.window_s)


def _checked(trial: Trial, windows: list[Window], recording: Recording) -> CutTrial:
    """Return a trial's valid windows, or why it is left out: the one place that decides it."""
    valid = [window.uv for window in windows if window.valid]
    reasons = Counter(str(w.reason) for w in windows if not w.valid)
    if valid and len(valid) >= LEAST_VALID * len(windows):
        return CutTrial(np.stack(valid), dict(sorted(reasons.items())), None)
    if reasons["gap"]:
        # It is the gap after which the filters settle again.
        reasons["gap"] += reasons.pop("settling", 0)
    reason = reasons.most_common(1)[0][0]
    names: set[str] = set()
    for window in windows:
        if window.reason == reason:
            names |= faulty(window.quality, reason)
    if reason == "gap":
        since = recording.timestamps - recording.timestamps[0]
        rows = recording.samples[(since >= trial.start_s) & (since <= trial.stop_s)]
        names = {n for n, bad in zip(recording.ch_names, np.isnan(rows).any(axis=0), strict=True) if bad}
    at_fault = tuple(name for name in recording.ch_names if name in names)
    if len(at_fault) == len(recording.ch_names):
        at_fault = ()
    none = np.zeros((0, *windows[0].uv.shape))
    return CutTrial(none, {}, (reason, at_fault, len(valid), len(windows)))


def _cut_trials(
    recording: Recording, contract: Contract, trials: Sequence[Trial], hop: int
) -> tuple[list[list[Window]], float]:
    """Return the windows of each trial, valid or not, and how long the filters need to settle."""
    events = find_events(recording.timestamps, recording.sfreq)
    fit = fit_clock(recording.timestamps, events, recording.sfreq)
    ratio = contract.sfreq / recording.sfreq
    n_grid = len(recording.samples) + sum(event.n_lost for event in events)
    last_s = max(recording.duration_s, n_grid / recording.sfreq) + 1
    starts = []
    for trial in trials:
        if trial.stop_s > last_s:
            raise _outside(recording, trial)
        n_times = round((trial.stop_s - trial.start_s) * contract.sfreq)
        name = f"{recording.path}: the trial at {trial.start_s:g} s"
        if n_times < contract.n_times:
            raise DataError(
                f"{name} is shorter than one window",
                got=f"{trial.stop_s - trial.start_s:g} s",
                expected=f"at least {contract.window_s:g} s",
                do="train with a shorter --window",
            )
        first = max(0, round(fit.grid(recording.timestamps[0] + trial.start_s) * ratio))
        starts.append(range(first, first + n_times - contract.n_times + 1, hop))
    path = preprocessor_for_recording(
        recording, contract, starts=sorted({s for r in starts for s in r}), final=True
    )
    windows = path.push(recording.samples, recording.timestamps) + path.flush()
    by_start = {w.start: w for w in windows}
    for trial, wanted in zip(trials, starts, strict=True):
        if any(s not in by_start for s in wanted):
            raise _outside(recording, trial)
    return [[by_start[s] for s in wanted] for wanted in starts], path.settling_s


def _outside(recording: Recording, trial: Trial) -> DataError:
    return DataError(
        f"{recording.path}: a trial lies outside the recording",
        got=f"{trial.start_s:g} to {trial.stop_s:g} s",
        expected=f"within {recording.duration_s:.3f} s",
        do=f"correct {LABELS}",
    )

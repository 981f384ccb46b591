"""Recordings in which a signal tells which trial, clip or place in a session it is, and labels are random.

A classifier that scores above chance on them has recognised what it saw in training: a leak.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.export.evaluation.baselines import Baseline, Scores
from mimamba_edge.signal.filters import default_filters

SFREQ, CH_NAMES, CLASSES = 64.0, ("TP9", "AF7", "AF8", "TP10"), ("a", "b")
TONES_HZ = (5.0, 9.0, 14.0, 20.0)
LEAD_S, PAUSE_S = 4.0, 0.5


class Planted(Dataset):
    """Each trial is a mix of tones whose amplitudes are its pattern.

    Args:
        trials: Rows without their times, in the order of the sessions.
        patterns: Log amplitudes of each trial's tones ``(n, tones * channels)``.
        trial_s: Seconds of a trial.
    """

    licence = source = ""
    spec = name = "planted"

    def __init__(self, trials: list[Trial], patterns: NDArray[np.float64], trial_s: float) -> None:
        place: dict[str, int] = {}
        self.trials, self._of_file = (), {}
        for trial, pattern in zip(trials, patterns, strict=True):
            number = place.get(trial.file, 0)
            place[trial.file] = number + 1
            start = LEAD_S + number * (trial_s + PAUSE_S)
            self.trials += (dataclasses.replace(trial, start_s=start, stop_s=start + trial_s),)
            self._of_file.setdefault(trial.file, []).append((start, pattern))
        self._trial_s = trial_s

    def read(self, file: str) -> Recording:
        rng = np.random.default_rng(list(file.encode()))
        last = self._of_file[file][-1][0] + self._trial_s + 1
        time = np.arange(round(last * SFREQ)) / SFREQ
        x = rng.standard_normal((len(time), len(CH_NAMES)))
        for start, pattern in self._of_file[file]:
            inside = (time >= start) & (time < start + self._trial_s)
            amplitude = 4 * np.exp(0.5 * pattern.reshape(len(TONES_HZ), len(CH_NAMES)))
            for tone, row in zip(TONES_HZ, amplitude, strict=True):
                phase = rng.uniform(0, 2 * np.pi, len(CH_NAMES))
                x[inside] += row * np.sin(2 * np.pi * tone * time[inside, None] + phase)
        return Recording(Path(file), CH_NAMES, SFREQ, x, time + 1000.0)


def windows_of(dataset: Dataset) -> Windows:
    """Cut by the product's own path: causal filters, windows of a second."""
    contract = Contract(
        ch_names=CH_NAMES,
        sfreq=SFREQ,
        n_times=int(SFREQ),
        hop=int(SFREQ),
        class_names=CLASSES,
        filters=default_filters(SFREQ, None),
        scaling=Scaling("none"),
    )
    return trial_windows(dataset, contract)


def relabelled(windows: Windows, labels: NDArray[np.int64]) -> Windows:
    """Return the same windows with other labels of their trials."""
    trials = tuple(
        dataclasses.replace(t, label=CLASSES[k]) for t, k in zip(windows.trials, labels, strict=True)
    )
    return dataclasses.replace(windows, trials=trials, labels=labels[windows.trial_of])


def features(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the log amplitude at each tone and channel."""
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(windows.shape[-1]), axis=-1))
    freq = np.fft.rfftfreq(windows.shape[-1], 1 / sfreq)
    at = [int(np.argmin(np.abs(freq - tone))) for tone in TONES_HZ]
    return np.log(spectrum[..., at] + 1e-9).reshape(len(windows), -1)


def _nearest(known: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int) -> Scores:
    def scores(found: NDArray[np.float64]) -> NDArray[np.float64]:
        distance = (found**2).sum(1)[:, None] - 2 * found @ known.T + (known**2).sum(1)
        return np.eye(n_classes)[labels[distance.argmin(axis=1)]]

    return scores


nearest_neighbour = Baseline(features, _nearest)
"""Remembers every window: what leaks, this finds."""

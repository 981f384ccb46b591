"""Simple classifiers that every network has to beat, on the same windows and folds.

Each is a function that makes features of a window, and one that fits them and returns what scores others, so
that a further one is these two and one line in :data:`BASELINES`. All see the windows in microvolts, filtered
by the same path as a network's. Features are made once, of some windows at a time: all windows of a data set
may be more than the memory holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from mimamba_edge.data.windows import Windows
from mimamba_edge.errors import DataError
from mimamba_edge.export.evaluation.riemann import TangentSpace
from mimamba_edge.export.training.protocol import Fold
from mimamba_edge.export.training.selection import mean_of_trials
from mimamba_edge.signal.mapped import blocks

__all__ = [
    "BANDS_HZ",
    "BASELINES",
    "Baseline",
    "Scores",
    "band_spectra",
    "covariances",
    "features_of",
    "largest_class",
    "log_band_power",
    "logistic_regression",
    "no_features",
    "out_of_fold",
    "tangent_space",
]

Scores = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Features ``(n, ...)`` to a score for each class ``(n, k)``: the larger, the likelier."""


@dataclass(frozen=True)
class Baseline:
    """A classifier without epochs.

    Attributes:
        features: ``features(windows, sfreq)``: windows ``(n, c, l)`` in microvolts to features ``(n, ...)``,
            of each window by itself.
        fit: ``fit(features, labels, n_classes)`` of the training part.
    """

    features: Callable[[NDArray[np.float64], float], NDArray[np.float64]]
    fit: Callable[[NDArray[np.float64], NDArray[np.int64], int], Scores]


BANDS_HZ = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta, gamma."""
_MOST_BYTES = 1e9
"""Of the features of all windows: fitting them takes twice that, and more for a tangent space."""
_FLOOR = 1e-12
_SHRINKAGE = 0.1
"""Towards a multiple of the identity: a band of a short window holds fewer frequencies than there may be
channels, and a common average reference takes one dimension away (ours)."""


def out_of_fold(
    windows: Windows, folds: Sequence[Fold], baseline: Baseline, sfreq: float
) -> NDArray[np.float64]:
    """Return the scores of every trial ``(n_trials, k)`` by a classifier that never saw it.

    The mean over the trial's windows, as for a network. Training and validation parts are both fitted: a
    classifier without epochs needs no validation.

    Args:
        windows: With the trials that the folds count in.
        folds: See :func:`mimamba_edge.export.training.protocol.split`.
        baseline: What is fitted.
        sfreq: Rate of the windows in Hz.

    Raises:
        DataError: Its features of all windows are more than 1 GB.
    """
    n_classes = len(windows.class_names)
    found = np.full((len(windows.trials), n_classes), np.nan)
    features = features_of(baseline, windows.data, sfreq)
    for fold in folds:
        fitted = np.isin(windows.trial_of, np.concatenate([fold.train, fold.validation]))
        scores = baseline.fit(features[fitted], windows.labels[fitted], n_classes)
        tested = np.flatnonzero(np.isin(windows.trial_of, fold.test))
        found[fold.test] = mean_of_trials(scores(features[tested]), windows.trial_of[tested], fold.test)
    return found


def features_of(baseline: Baseline, data: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the features of windows ``(n, c, l)``, which may be a mapped file, ``(n, ...)``.

    Raises:
        DataError: They are more than 1 GB.
    """
    one = baseline.features(data[:1], sfreq)
    if one.nbytes * len(data) > _MOST_BYTES:
        raise DataError(
            f"its features take {one.nbytes * len(data) / 1e9:.1f} GB of memory",
            got=f"{len(data):,} windows of {data.shape[1]} channels",
            expected=f"up to {_MOST_BYTES / 1e9:g} GB",
            do="choose fewer channels or longer windows",
        )
    found = np.empty((len(data), *one.shape[1:]))
    at = 0
    for block in blocks(data):
        found[at : at + len(block)] = baseline.features(block, sfreq)
        at += len(block)
    return found


def no_features(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return nothing of each window ``(n, 0)``."""
    return np.zeros((len(windows), 0))


def largest_class(features: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int) -> Scores:
    """Always guess the largest class of the training part."""
    share = np.bincount(labels, minlength=n_classes) / len(labels)
    return lambda x: np.tile(share, (len(x), 1))


def _in_bands(windows: NDArray[np.float64], sfreq: float) -> list[NDArray[np.complex128]]:
    """Return the spectra in bands of :data:`BANDS_HZ` that hold a frequency of the window.

    Where none does, all frequencies are one band.
    """
    n_times = windows.shape[-1]
    spectrum = np.fft.rfft(windows * np.hanning(n_times), axis=-1)[..., 1:]
    freq = np.fft.rfftfreq(n_times, 1 / sfreq)[1:]
    parts = [(freq >= low) & (freq < high) for low, high in BANDS_HZ]
    parts = [part for part in parts if part.any()] or [np.ones(len(freq), dtype=bool)]
    return [spectrum[..., part] for part in parts]


def band_spectra(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the real part of the cross-spectra in each band: ``(n, c, l)`` to ``(n, bands, c, c)``."""
    kept = _in_bands(windows, sfreq)
    return np.stack([(x @ x.conj().swapaxes(-1, -2)).real / windows.shape[-1] for x in kept], axis=1)


def log_band_power(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the log of the power in each band and channel: ``(n, c, l)`` to ``(n, bands * c)``."""
    power = [(np.abs(x) ** 2).sum(axis=-1) / windows.shape[-1] for x in _in_bands(windows, sfreq)]
    logs: NDArray[np.float64] = np.log(np.stack(power, axis=1) + _FLOOR).reshape(len(windows), -1)
    return logs


def covariances(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the upper triangle of each band's shrunk matrix: to ``(n, bands, c (c + 1) / 2)``."""
    matrices = _shrunk(band_spectra(windows, sfreq))
    upper: NDArray[np.float64] = matrices[(..., *np.triu_indices(matrices.shape[-1]))]
    return upper


def tangent_space(triangles: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int) -> Scores:
    """Logistic regression in the tangent space of each band's covariance matrices.

    After Barachant et al., "Multiclass brain-computer interface classification by Riemannian geometry", IEEE
    TBME 59, 2012.
    """
    n_bands = triangles.shape[1]
    spaces = [TangentSpace(_symmetric(triangles[:, b])) for b in range(n_bands)]

    def features(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty(triangles.shape)
        for b, space in enumerate(spaces):
            found[:, b] = space(_symmetric(triangles[:, b]))
        return found.reshape(len(triangles), -1)

    regression = logistic_regression(features(triangles), labels, n_classes)
    return lambda x: regression(features(x))


def _symmetric(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return symmetric matrices ``(n, c, c)`` by their upper triangles ``(n, c(c+1)/2)``."""
    c = round((np.sqrt(8 * triangles.shape[-1] + 1) - 1) / 2)
    rows, columns = np.triu_indices(c)
    matrices = np.empty((len(triangles), c, c))
    matrices[:, rows, columns] = matrices[:, columns, rows] = triangles
    return matrices


def _shrunk(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    c = matrices.shape[-1]
    mean = np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] / c + _FLOOR
    shrunk: NDArray[np.float64] = (1 - _SHRINKAGE) * matrices + _SHRINKAGE * mean * np.eye(c)
    return shrunk


def logistic_regression(
    x: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int, penalty: float = 1.0
) -> Scores:
    """Fit a multinomial logistic regression with classes of equal weight.

    Features are standardised by the mean and deviation of the training part. The optimum is that of
    scikit-learn's ``LogisticRegression(C=1 / penalty, class_weight="balanced")``.

    Args:
        x: Features ``(n, f)``.
        labels: Classes ``(n,)``.
        n_classes: Their number.
        penalty: L2, on all but the intercepts.

    Returns:
        Features ``(n, f)`` to log probabilities ``(n, k)``.
    """
    mean = x.mean(axis=0)
    # Column by column, and standardised within the products below: the features are held once.
    deviation = np.array([column.std() for column in x.T])
    deviation = np.where(deviation > 0, deviation, 1.0)[:, None]

    def logits(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = w[:-1] / deviation
        product: NDArray[np.float64] = x @ scaled + (w[-1] - mean @ scaled)
        return product

    truth = np.eye(n_classes)[labels]
    weight = (len(labels) / (n_classes * np.maximum(truth.sum(axis=0), 1)))[labels][:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(-1, n_classes)
        found, ridge = logits(x, w), penalty * w
        ridge[-1] = 0
        value = -float(np.sum(weight * truth * log_softmax(found, axis=1))) + 0.5 * float(np.sum(ridge * w))
        error = weight * (softmax(found, axis=1) - truth)
        total = error.sum(axis=0)
        slope = np.vstack([(x.T @ error - np.outer(mean, total)) / deviation, total])
        return value, (slope + ridge).ravel()

    best = minimize(loss, np.zeros((x.shape[1] + 1) * n_classes), jac=True, method="L-BFGS-B").x
    w = best.reshape(-1, n_classes)

    def scores(x: NDArray[np.float64]) -> NDArray[np.float64]:
        log_probs: NDArray[np.float64] = log_softmax(logits(x, w), axis=1)
        return log_probs

    return scores


BASELINES = {
    "largest class of the training part": Baseline(no_features, largest_class),
    "log band power, logistic regression": Baseline(log_band_power, logistic_regression),
    "Riemannian tangent space, logistic regression": Baseline(covariances, tangent_space),
}
"""By name, for tables."""

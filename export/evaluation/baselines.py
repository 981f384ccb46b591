"""Simple classifiers that every network has to beat, on the same windows and folds.

Each is a function that fits windows and returns what scores others, so that a further one is one function and
one line in :data:`BASELINES`. All see the windows in microvolts, filtered by the same path as a network's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from mimamba_edge.data.windows import Windows
from mimamba_edge.export.evaluation.riemann import TangentSpace
from mimamba_edge.export.training.protocol import Fold

__all__ = [
    "BANDS_HZ",
    "BASELINES",
    "Fit",
    "Scores",
    "band_power",
    "band_spectra",
    "log_band_power",
    "logistic_regression",
    "out_of_fold",
    "riemannian",
    "trivial",
]

Scores = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Windows ``(n, c, l)`` to a score for each class ``(n, k)``: the larger, the likelier."""
Fit = Callable[[NDArray[np.float64], NDArray[np.int64], int, float], Scores]
"""``fit(windows, labels, n_classes, sfreq)``: windows ``(n, c, l)`` in microvolts, labels ``(n,)``."""

BANDS_HZ = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta, gamma."""
_FLOOR = 1e-12
_SHRINKAGE = 0.1
"""Towards a multiple of the identity: a band of a short window holds fewer frequencies than there may be
channels, and a common average reference takes one dimension away (ours)."""


def out_of_fold(windows: Windows, folds: Sequence[Fold], fit: Fit, sfreq: float) -> NDArray[np.float64]:
    """Return the scores of every trial ``(n_trials, k)`` by a classifier that never saw it.

    The mean over the trial's windows, as for a network. Training and validation parts are both fitted: a
    classifier without epochs needs no validation.

    Args:
        windows: With the trials that the folds count in.
        folds: See :func:`mimamba_edge.export.training.protocol.split`.
        fit: A baseline.
        sfreq: Rate of the windows in Hz.
    """
    n_classes = len(windows.class_names)
    found = np.full((len(windows.trials), n_classes), np.nan)
    for fold in folds:
        fitted = np.isin(windows.trial_of, np.concatenate([fold.train, fold.validation]))
        scores = fit(windows.data[fitted], windows.labels[fitted], n_classes, sfreq)
        tested = np.flatnonzero(np.isin(windows.trial_of, fold.test))
        of_window, owner = scores(windows.data[tested]), windows.trial_of[tested]
        for trial in fold.test:
            found[trial] = of_window[owner == trial].mean(axis=0)
    return found


def trivial(windows: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int, sfreq: float) -> Scores:
    """Always guess the largest class of the training part."""
    share = np.bincount(labels, minlength=n_classes) / len(labels)
    return lambda x: np.tile(share, (len(x), 1))


def band_spectra(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the real part of the cross-spectra in each band: ``(n, c, l)`` to ``(n, bands, c, c)``.

    Bands of :data:`BANDS_HZ` that hold a frequency of the window; where none does, all frequencies are one.
    """
    n_times = windows.shape[-1]
    spectrum = np.fft.rfft(windows * np.hanning(n_times), axis=-1)[..., 1:]
    freq = np.fft.rfftfreq(n_times, 1 / sfreq)[1:]
    parts = [(freq >= low) & (freq < high) for low, high in BANDS_HZ]
    parts = [part for part in parts if part.any()] or [np.ones(len(freq), dtype=bool)]
    kept = [spectrum[..., part] for part in parts]
    return np.stack([(x @ x.conj().swapaxes(-1, -2)).real / n_times for x in kept], axis=1)


def log_band_power(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return the log of the power in each band and channel: ``(n, c, l)`` to ``(n, bands * c)``."""
    power = np.diagonal(band_spectra(windows, sfreq), axis1=-2, axis2=-1)
    logs: NDArray[np.float64] = np.log(power + _FLOOR).reshape(len(windows), -1)
    return logs


def band_power(
    windows: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int, sfreq: float
) -> Scores:
    """Logistic regression on the log power of five bands in each channel."""
    regression = logistic_regression(log_band_power(windows, sfreq), labels, n_classes)
    return lambda x: regression(log_band_power(x, sfreq))


def riemannian(
    windows: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int, sfreq: float
) -> Scores:
    """Logistic regression in the tangent space of each band's covariance matrices.

    After Barachant et al., "Multiclass brain-computer interface classification by Riemannian geometry", IEEE
    TBME 59, 2012.
    """
    matrices = _shrunk(band_spectra(windows, sfreq))
    spaces = [TangentSpace(matrices[:, b]) for b in range(matrices.shape[1])]

    def features(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([space(matrices[:, b]) for b, space in enumerate(spaces)], axis=1)

    regression = logistic_regression(features(matrices), labels, n_classes)
    return lambda x: regression(features(_shrunk(band_spectra(x, sfreq))))


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
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    design = np.column_stack([(x - mean) / deviation, np.ones(len(x))])
    truth = np.eye(n_classes)[labels]
    weight = (len(labels) / (n_classes * np.maximum(truth.sum(axis=0), 1)))[labels][:, None]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(-1, n_classes)
        logits, ridge = design @ w, penalty * w
        ridge[-1] = 0
        value = -float(np.sum(weight * truth * log_softmax(logits, axis=1))) + 0.5 * float(np.sum(ridge * w))
        return value, (design.T @ (weight * (softmax(logits, axis=1) - truth)) + ridge).ravel()

    found = minimize(loss, np.zeros(design.shape[1] * n_classes), jac=True, method="L-BFGS-B").x
    w = found.reshape(-1, n_classes)

    def scores(x: NDArray[np.float64]) -> NDArray[np.float64]:
        design = np.column_stack([(x - mean) / deviation, np.ones(len(x))])
        log_probs: NDArray[np.float64] = log_softmax(design @ w, axis=1)
        return log_probs

    return scores


BASELINES: dict[str, Fit] = {
    "trivial (largest class)": trivial,
    "log band power, logistic regression": band_power,
    "Riemannian tangent space, logistic regression": riemannian,
}
"""By name, for tables."""

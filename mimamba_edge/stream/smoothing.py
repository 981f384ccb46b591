"""Smoothing of probabilities over time, and hysteresis of the label."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError

__all__ = ["Smoother"]

_FORGOTTEN = 3.0
"""Time constants without a decision after which what was before counts no longer (5 % is left then)."""


class Smoother:
    """Exponential smoothing of one stream's probabilities with a hysteresis on the label.

    With hop ``h`` and time constant ``tau`` each decision moves the smoothed probabilities by the share
    ``alpha = 1 - exp(-h / tau)`` towards its own. The label changes only when another class leads the one
    decided on by more than the margin. Windows without a decision leave both as they are; after a pause of
    more than three time constants the next decision starts afresh.

    Args:
        n_classes: Number of classes.
        hop_s: Seconds between decisions.
        seconds: Time constant; 0: no smoothing.
        hysteresis: Margin of probability, 0 to below 1.

    Raises:
        ConfigError: The time constant is negative or the margin not from 0 to below 1.
    """

    def __init__(self, n_classes: int, hop_s: float, seconds: float = 0.0, hysteresis: float = 0.0) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(
                "the smoothing is not a valid time constant", got=seconds, expected="seconds, 0 for none"
            )
        if not 0 <= hysteresis < 1:
            raise ConfigError(
                "the hysteresis is not a valid probability", got=hysteresis, expected="0 to below 1"
            )
        self._hop_s, self._tau, self._margin = hop_s, seconds, hysteresis
        self.alpha = 1.0 if seconds == 0 else -math.expm1(-hop_s / seconds)
        self._p: NDArray[np.float64] = np.zeros(n_classes)
        self._label = 0
        self._last_s: float | None = None

    @property
    def delay_s(self) -> float:
        """Group delay at frequency 0, in seconds: ``h (1 - alpha) / alpha = h / (exp(h / tau) - 1)``.

        It is that of ``y[k] = (1 - alpha) y[k - 1] + alpha x[k]``: the mean age of what ``y`` holds.
        """
        return self._hop_s * (1 - self.alpha) / self.alpha

    def push(self, probs: NDArray[np.float64], t_s: float) -> tuple[NDArray[np.float64], int]:
        """Take probabilities ``(o,)`` of a window that ends at ``t_s``; return smoothed ones and label."""
        pause = math.inf if self._last_s is None else t_s - self._last_s - self._hop_s
        self._last_s = t_s
        best = int(np.argmax(probs))
        # A millionth of a hop: sums of hops in floating point are no pause.
        if pause > _FORGOTTEN * self._tau + 1e-6 * self._hop_s:
            self._p, self._label = np.array(probs, dtype=np.float64), best
        else:
            self._p = (1 - self.alpha) * self._p + self.alpha * probs
            best = int(np.argmax(self._p))
            if self._p[best] - self._p[self._label] > self._margin:
                self._label = best
        return self._p, self._label

"""Causal rational resampling: a polyphase FIR whose results do not depend on block sizes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from mimamba_edge.contract import Filter
from mimamba_edge.errors import SignalError

__all__ = ["Resampler", "resampling_ratio"]

_ATTENUATION_DB = 60.0
_LARGEST_FACTOR = 1000
_BLOCK = 256
"""Outputs computed at once."""


def resampling_ratio(source_hz: float, target_hz: float) -> Fraction:
    """Return ``target / source`` as a fraction.

    Raises:
        SignalError: The ratio needs a factor above 1000.
    """
    ratio = Fraction(target_hz / source_hz).limit_denominator(_LARGEST_FACTOR)
    exact = ratio and abs(float(ratio) * source_hz / target_hz - 1) < 1e-9
    if not exact or ratio.numerator > _LARGEST_FACTOR:
        raise SignalError(
            "the source's rate cannot be converted to the model's",
            got=f"{source_hz:g} Hz",
            expected=f"a ratio to {target_hz:g} Hz of two whole numbers up to {_LARGEST_FACTOR}",
            do="train with --sfreq set to a simple fraction of the source's rate",
        )
    return ratio


def _prototype(ratio: Fraction, source_hz: float, filters: Sequence[Filter]) -> NDArray[np.float64]:
    """Design the low-pass at ``source_hz * up``: odd length, unit gain in each phase.

    The band that the IIR filters keep must pass; what would fold back into it must not. The wider that
    transition, the shorter the filter and its delay.
    """
    up = ratio.numerator
    slower = min(source_hz, source_hz * float(ratio))
    edges = [f.high_hz for f in filters if f.kind == "bandpass"]
    keep = min([*edges, 0.4 * slower])
    stop = slower - keep
    n_taps, beta = signal.kaiserord(_ATTENUATION_DB, (stop - keep) / (0.5 * source_hz * up))
    return up * np.asarray(
        signal.firwin(n_taps | 1, (keep + stop) / 2, window=("kaiser", beta), fs=source_hz * up)
    )


class Resampler:
    """Resamples ``(n, c)`` blocks; output ``k`` stands at input position ``k * down / up``.

    It uses no input after that position; the FIR delays the signal by :attr:`delay_s`.

    Args:
        source_hz: Rate of the input.
        target_hz: Rate of the output.
        n_chans: Number of channels.
        filters: The path's IIR filters, whose band the FIR must keep.
    """

    def __init__(
        self, source_hz: float, target_hz: float, n_chans: int, filters: Sequence[Filter] = ()
    ) -> None:
        ratio = resampling_ratio(source_hz, target_hz)
        self.up, self.down = ratio.numerator, ratio.denominator
        self._identity = ratio == 1
        taps = np.ones(1) if self._identity else _prototype(ratio, source_hz, filters)
        self.delay_s = (len(taps) - 1) / 2 / (source_hz * self.up)
        self.n_taps = -(-len(taps) // self.up)
        padded = np.zeros(self.n_taps * self.up)
        padded[: len(taps)] = taps
        self.phases = padded.reshape(self.n_taps, self.up)
        # Phase sums differ by the stop-band ripple; a constant must stay a constant.
        self.phases /= self.phases.sum(axis=0)
        self._back = np.arange(self.n_taps - 1, -1, -1)[:, None]
        self.history: NDArray[np.float64] = np.zeros((self.n_taps - 1, n_chans))
        self.n_in = 0

    def output_before(self, n_in: int) -> int:
        """Return how many outputs stand before input position ``n_in``."""
        return -(-n_in * self.up // self.down)

    def newest_input(self, k: int) -> int:
        """Return the input position that output ``k`` waits for."""
        return k * self.down // self.up

    def start(self, first: NDArray[np.float64]) -> None:
        """Set the history as if ``first (c,)`` had been the input for ever."""
        self.history = np.broadcast_to(first, self.history.shape).copy()

    def skip(self, n: int) -> None:
        """Move on by ``n`` inputs that never came."""
        self.n_in += n

    def push(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Resample the next block ``(n, c)``.

        Returns:
            The outputs ``(m, c)`` and for each the index in ``x`` of the newest input it uses.
        """
        first, self.n_in = self.n_in, self.n_in + len(x)
        if self._identity:
            return x, np.arange(len(x))
        position = np.arange(self.output_before(first), self.output_before(self.n_in)) * self.down
        newest, phase = position // self.up - first, position % self.up
        extended = np.concatenate([self.history, x])
        self.history = extended[len(x) :]
        # Running sums in the order of the taps: a BLAS dot, or a pairwise sum, would round by block size.
        y = np.empty((len(position), x.shape[1]))
        for at in range(0, len(position), _BLOCK):
            part = slice(at, at + _BLOCK)
            taps = self.phases.take(phase[part], axis=1)[:, :, None]
            products = taps * extended.take(self._back + newest[part], axis=0)
            np.add.accumulate(products, axis=0, out=products)
            y[part] = products[-1]
        return y, newest

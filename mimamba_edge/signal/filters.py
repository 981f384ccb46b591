"""Causal IIR filters as second-order sections: design, carried state, settling time, group delay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from mimamba_edge.contract import Filter
from mimamba_edge.errors import SignalError, listed

__all__ = ["SosFilter", "default_filters", "design_sos", "group_delay_s", "settling_samples", "with_mains"]

_SETTLED = 0.01
"""A start is settled once no more than this share of a unit step, or of the impulse response, is left."""


def default_filters(sfreq: float, mains_hz: float | None) -> tuple[Filter, ...]:
    """Return the default filters of a contract: 1-45 Hz 4th-order Butterworth and a notch at the mains.

    Args:
        sfreq: Rate of the windows in Hz; below 112.5 Hz the upper edge moves down to 0.4 of it.
        mains_hz: Mains frequency, or ``None`` for no notch.
    """
    band = Filter("bandpass", order=4, low_hz=min(1.0, 0.04 * sfreq), high_hz=min(45.0, 0.4 * sfreq))
    if mains_hz is None:
        return (band,)
    return (band, Filter("notch", freq_hz=mains_hz))


def with_mains(
    filters: Sequence[Filter], trained_hz: float | None, mains_hz: float | None
) -> tuple[Filter, ...]:
    """Return the filters with the mains notch moved from ``trained_hz`` to ``mains_hz``.

    Notches at other frequencies stay. With ``mains_hz=None`` nothing is changed.
    """
    if mains_hz is None:
        return tuple(filters)
    others = tuple(f for f in filters if not (f.kind == "notch" and f.freq_hz == trained_hz))
    return (*others, Filter("notch", freq_hz=mains_hz))


def design_sos(filters: Sequence[Filter], sfreq: float) -> NDArray[np.float64]:
    """Design the cascade ``(n_sections, 6)`` at the source's nominal rate.

    A notch at or above the Nyquist frequency has nothing to remove and is left out.

    Raises:
        SignalError: A band edge does not fit under the source's Nyquist frequency, or a design is not stable.
    """
    sections = []
    for f in filters:
        if f.kind == "notch":
            if f.freq_hz < 0.5 * sfreq:
                sections.append(signal.tf2sos(*signal.iirnotch(f.freq_hz, f.q, fs=sfreq)))
            continue
        if f.high_hz >= 0.5 * sfreq:
            raise SignalError(
                "the source is too slow for the model's band-pass",
                got=f"{sfreq:g} Hz, which holds frequencies below {sfreq / 2:g} Hz",
                expected=f"more than {2 * f.high_hz:g} Hz, for a band up to {f.high_hz:g} Hz",
                do="use a faster source, or train with a narrower band",
            )
        sections.append(
            signal.butter(f.order, (f.low_hz, f.high_hz), btype="bandpass", output="sos", fs=sfreq)
        )
    sos = np.concatenate(sections) if sections else np.zeros((0, 6))
    a1, a2 = sos[:, 4], sos[:, 5]
    # Both poles of a section lie within the unit circle where (a1, a2) lies within this triangle.
    if not (np.isfinite(sos).all() and (np.abs(a2) < 1).all() and (np.abs(a1) < 1 + a2).all()):
        raise SignalError(
            f"the model's filters cannot be designed at {sfreq:g} Hz: their answer would never end",
            got=listed([str(f) for f in filters], "; "),
            expected="band edges further apart, or a lower order",
            do="train with wider filters, or use another source",
        )
    return sos


def settling_samples(sos: NDArray[np.float64], sfreq: float) -> int:
    """Return after how many samples a start from the steady state of the first sample can be trusted.

    That start assumes the first sample had always been there. Where it stood off the signal's level, the
    step response of the error is added. Settled means: that response stays under 1 % of the step, and
    under 1 % (in amplitude) of the impulse response is still to come.
    """
    if not len(sos):
        return 0
    n = int(30 * sfreq)
    impulse = np.zeros(n)
    impulse[0] = 1.0
    response = signal.sosfilt(sos, impulse)
    # The DC gain of a low-pass would stay forever: only the way there is a transient.
    step = np.abs(np.cumsum(response) - np.sum(response))
    tail = np.cumsum(response[::-1] ** 2)[::-1]
    unsettled = (step > _SETTLED) | (tail > _SETTLED**2 * tail[0])
    return int(np.flatnonzero(unsettled)[-1]) + 1 if unsettled.any() else 0


def group_delay_s(sos: NDArray[np.float64], sfreq: float, freq_hz: float) -> float:
    """Return the cascade's group delay in seconds at one frequency."""
    if not len(sos):
        return 0.0
    step_hz = 1e-3
    freq = np.array([freq_hz - step_hz, freq_hz + step_hz])
    z = np.exp(-2j * np.pi * freq[:, None] / sfreq)
    gain = np.prod(
        (sos[:, 0] + sos[:, 1] * z + sos[:, 2] * z**2) / (sos[:, 3] + sos[:, 4] * z + sos[:, 5] * z**2),
        axis=1,
    )
    return float(-np.angle(gain[1] / gain[0]) / (2 * np.pi * 2 * step_hz))


class SosFilter:
    """A cascade over ``(n, c)`` blocks with its state carried from block to block.

    Args:
        sos: Sections ``(n_sections, 6)``.
        n_chans: Number of channels.
    """

    def __init__(self, sos: NDArray[np.float64], n_chans: int) -> None:
        self._sos = np.ascontiguousarray(sos, dtype=np.float64)
        self._steady = signal.sosfilt_zi(sos) if len(sos) else np.zeros((0, 2))
        self.state: NDArray[np.float64] = np.zeros((n_chans, len(sos), 2))

    def start(self, first: NDArray[np.float64]) -> None:
        """Set the state as if ``first (c,)`` had been the input for ever."""
        self.state = self._steady * first[:, None, None]

    def push(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter the next block ``(n, c)``; the result does not depend on how a signal is cut into blocks."""
        if not len(self._sos) or not len(x):
            return x
        y, state = np.array(x.T, dtype=np.float64, order="C"), self.state.copy()
        run_sos(self._sos, y, state)
        self.state = state
        return y.T


def run_sos_public(sos: NDArray[np.float64], x: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Filter ``x (c, n)`` in place, from and to ``state (c, n_sections, 2)``."""
    x[:], after = signal.sosfilt(sos, x, axis=1, zi=np.moveaxis(state, 0, 1))
    state[:] = np.moveaxis(after, 1, 0)


try:
    # What scipy.signal.sosfilt itself calls once it has looked at its arguments, which for a packet takes ten
    # times as long as filtering it.
    from scipy.signal._sosfilt import _sosfilt as run_sos
except ImportError:
    run_sos = run_sos_public

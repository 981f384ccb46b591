"""A simulated headset as a source: four channels in real time, without end, and what goes wrong on a head."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.data.simulate import CH_NAMES, CLASSES, RAILS_UV, digitised, simulate_run, state_gains
from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sources.base import PACKET_COUNTER, WAITS, Chunk, Notice
from mimamba_edge.stream.sources.recording import SPEEDS

__all__ = ["DRIVER", "HISTORY_S", "STATE_S", "SimulatedHeadset", "open_spec"]

DRIVER = "simulated"
"""What :attr:`SimulatedHeadset.device` names as its driver."""
STATE_S = 6.0
"""Seconds of a state; one of neither stands between two."""
HISTORY_S = 3.0
"""How long it has been on when it is first asked: the filters settle in 2 s, a window takes 1 s."""

_SFREQ, _DEVICE_HZ = 256.0, 256.02
_PACKET = 12
_CUT, _FADE = 75 * _PACKET, 10 * _PACKET
"""Rows of the rest before a block's first state that are left out, and in which a block becomes the next."""
_FAULT_EVERY = 2
_FAULT_AT = 269 * _PACKET
"""Row of a block at which something goes wrong: towards the end of its second state."""
_LOST, _LOOSE = 9 * _PACKET, 26 * _PACKET
_LOOSE_CHANNEL = CH_NAMES.index("TP10")
_LATE_S = 1.0
_CHANGE_S = 0.1
"""Time constant in which the person changes to the state that was asked for."""
_Block = tuple[NDArray[np.float64], NDArray[np.float64], list[tuple[int, str, str, int]]]
"""Ground, alpha, beta, their gains side by side; how late each row is; notices: row, kind, text, samples."""
_MOST_DIGITS = 18


def open_spec(rest: str, parameters: dict[str, str]) -> SimulatedHeadset:
    """Open ``simulated:``; ``?seed=N`` gives the same signal each time, ``?speed=max`` does not wait.

    Raises:
        ConfigError: Something else follows.
    """
    seed, speed = parameters.pop("seed", None), parameters.pop("speed", SPEEDS[0])
    bad_seed = seed is not None and not (seed.isascii() and seed.isdecimal() and len(seed) <= _MOST_DIGITS)
    if rest or parameters or bad_seed or speed not in SPEEDS:
        wrong = f"seed={seed}" if bad_seed else f"speed={speed}"
        raise ConfigError(
            "simulated: takes a seed and a speed only",
            got=printable(rest or next(iter(parameters), None) or wrong),
            expected="simulated:, simulated:?seed=1 or simulated:?speed=max",
        )
    return SimulatedHeadset(None if seed is None else int(seed), live=speed == SPEEDS[0])


class SimulatedHeadset:
    """Gives what a headset with a packet counter would, of the signal of :mod:`mimamba_edge.data.simulate`.

    The states of :data:`mimamba_edge.data.simulate.CLASSES` take turns, each with a marker at its beginning.
    Every half minute packets are lost or an electrode comes off, in turn; blinks come at random.
    The person can be asked for states instead (:meth:`follow`): so a cue script gives labelled trials.

    Args:
        seed: Everything but the time of day follows from it; drawn by default.
        live: In real time; else as fast as it is read.
        history_s: How long it has been on when it is asked for samples; these come at once.
        clock: Monotonic seconds, for pacing.
        wait: Waits for some seconds, by default no longer than until it is closed.
    """

    name = "simulated headset"
    ch_names: tuple[str, ...] = CH_NAMES
    sfreq = _SFREQ
    unit = "uV"
    rails_uv: tuple[float, float] | None = RAILS_UV
    states = CLASSES

    def __init__(
        self,
        seed: int | None = None,
        *,
        live: bool = True,
        history_s: float = HISTORY_S,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.live, self._history_s, self._clock = live, history_s, clock
        self._closed = threading.Event()
        self._wait = self._closed.wait if wait is None else wait
        self._tail: NDArray[np.float64] | None = None
        self._drawn = np.random.default_rng([self._seed, 0, 1])
        self._gains: NDArray[np.float64] | None = None
        self._asked: NDArray[np.float64] | None = None
        self._block = self._simulate(0)
        # It can wait, as a pipe does: who is late, as at the start, loses nothing.
        self.device: dict[str, Any] = {
            "driver": DRIVER,
            "seed": self._seed,
            PACKET_COUNTER: True,
            WAITS: True,
        }

    def follow(self, label: str) -> None:
        """Ask the person for a state from now on, and no longer to change it at will.

        Args:
            label: One of :attr:`states`; at anything else the person rests.
        """
        self._asked = np.array(state_gains(label, self._drawn))
        if self._gains is None:
            self._gains = self._asked

    def chunks(self) -> Iterator[Chunk]:
        """Yield its history as one chunk, then packet after packet until it is closed."""
        started = self._clock() - self._history_s
        wall = time.time() - self._history_s
        given, size = 0, max(1, round(self._history_s * _SFREQ / _PACKET)) * _PACKET
        for number in itertools.count(1):
            samples, delay_s, events = self._block
            at = 0
            while at < len(samples):
                rows = slice(at, min(at + size, len(samples)))
                n, at, size = rows.stop - at, rows.stop, _PACKET
                late_s = self._clock() - started - (given + n) / _DEVICE_HZ
                if not self.live:
                    pass
                elif late_s > _LATE_S:
                    started += late_s  # This process was stopped: so was the headset.
                else:
                    self._wait(max(0.0, -late_s))
                if self._closed.is_set():
                    return
                times = wall + np.arange(given, given + n) / _DEVICE_HZ + delay_s[rows]
                notices = [
                    Notice(kind, text, lost, given + row - rows.start)
                    for row, kind, text, lost in events
                    if rows.start <= row < rows.stop and not (kind == "marker" and self._asked is not None)
                ]
                given += n
                yield Chunk(self._mixed(samples[rows]), np.round(times, 3), notices=tuple(notices))
            self._block = self._simulate(number)

    def close(self) -> None:
        """Turn it off."""
        self._closed.set()

    def _mixed(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the electrodes give ``(n, c)`` of rows of a block."""
        width = len(CH_NAMES)
        gains = parts[:, 3 * width :]
        if self._asked is not None and self._gains is not None:
            left = np.exp(-np.arange(1, len(parts) + 1) / (_CHANGE_S * _SFREQ))[:, None]
            gains = self._asked + (self._gains - self._asked) * left
            self._gains = gains[-1]
        ground, alpha, beta = (parts[:, i * width : (i + 1) * width] for i in range(3))
        return digitised(ground + gains[:, :1] * alpha + gains[:, 1:2] * beta)

    def _simulate(self, number: int) -> _Block:
        run = simulate_run(CLASSES, trial_s=STATE_S, seed=[self._seed, number])
        whole = len(run.ground) // _PACKET * _PACKET
        samples = np.hstack([run.ground, run.alpha, run.beta, run.gains])[_CUT:whole]
        on_time = np.arange(whole) / _DEVICE_HZ
        delay_s = (run.timestamps[:whole] - run.timestamps[0] - on_time)[_CUT : whole - _FADE]
        if self._tail is not None:
            share = np.linspace(0.0, 1.0, _FADE)[:, None]
            samples[:_FADE] = (1 - share) * self._tail + share * samples[:_FADE]
        samples, self._tail = samples[:-_FADE], samples[-_FADE:]
        events = [(row - _CUT, "marker", label, 0) for row, label in zip(run.first, CLASSES, strict=True)]
        fault, rest = divmod(number, _FAULT_EVERY)
        if not rest and fault % 2:
            # So high that the converter is at its rail, whatever the rhythms add.
            samples[_FAULT_AT : _FAULT_AT + _LOOSE, _LOOSE_CHANNEL] = 10 * RAILS_UV[1]
        elif not rest:
            samples[_FAULT_AT : _FAULT_AT + _LOST] = np.nan
            # The counter tells of packets that were lost when the next one comes.
            events.append((_FAULT_AT + _LOST, "lost", "by the packet counter", _LOST))
        return samples, delay_s, events

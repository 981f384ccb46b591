"""The signal path written plainly: sample-sized blocks, whole signals in memory, states copied deeply.

What ``Preprocessor`` gives must equal it to the last bit. Only what is designed once (filters, taps,
settling) is shared.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy import signal

from mimamba_edge.contract import Contract
from mimamba_edge.signal.filters import design_sos, settling_samples
from mimamba_edge.signal.resample import Resampler
from mimamba_edge.signal.scaling import apply_scaling

GAP, SETTLING = 2, 1


class PlainClock:
    """Medians of the second before and after, eight times a second."""

    def __init__(self, sfreq: float) -> None:
        self.sfreq = sfreq
        self.step = max(1, round(sfreq / 8))
        self.length = 8 * self.step
        self.r = np.zeros(2 * self.length)
        self.grid = np.zeros(2 * self.length)
        self.t0: float | None = None
        self.shift, self.lost, self.n = 0.0, 0, 0
        self.crossed: int | None = None
        self.held: tuple[float, float, int] | None = None
        self.unlevel = -(10**9)
        self.lost_last = (-(10**9), 0.0)
        self.late_s = 0.0
        self.level: float | None = None
        self.suspect: int | None = None
        self.suspicions = 0
        self.sums = np.zeros(5)
        self.offset = self.slope = self.fitted_at = 0.0

    def push(self, time: float) -> None:
        if self.t0 is None:
            self.t0 = time
        r = time - self.t0 - self.shift - (self.n + self.lost) / self.sfreq
        self.r = np.append(self.r[1:], r)
        self.grid = np.append(self.grid[1:], self.n + self.lost)
        if self.suspect is None and self.level is not None and abs(r - self.level) > 0.05:
            self.suspect = self.n
            self.suspicions += 1
        self.n += 1

    def detect(self) -> tuple[int, int] | None:
        """Return the sample before which something happened and how many were lost there, or nothing."""
        event = None
        if self.n >= 2 * self.length:
            event = self._detect()
            rests = self.n - self.unlevel >= 2 * self.length
            if self.crossed is None and rests and self.n % self.length == 0:
                self._fit(float(np.median(self.r[: self.length])))
        if self.n >= self.length:
            self.level = float(np.median(self.r[-self.length :]))
        if (
            self.suspect is not None
            and self.crossed is None
            and self.n - self.suspect > self.length + 2 * self.step
        ):
            self.suspect = None
        return event

    def _detect(self) -> tuple[int, int] | None:
        before, after = np.median(self.r[: self.length]), np.median(self.r[self.length :])
        apart = np.median(self.grid[self.length :]) - np.median(self.grid[: self.length])
        if self.held is not None:
            before, apart = self.held[0], self.held[1] + self.n
        step_s = after - before - self.slope * apart / self.sfreq
        if self.crossed is None:
            if abs(step_s) > 0.03:
                self.crossed = self.n
            return None
        if self.n - self.crossed < self.length // 2:
            return None
        second, quarter = self.r[self.length :], 2 * self.step
        waits = np.median(second[:quarter]) - np.median(second[-quarter:]) > 0.03
        waits = waits and self.n - self.crossed < 10 * self.sfreq
        if waits:
            self.unlevel = self.n
        if waits and self.held is not None:
            return None
        if not waits:
            self.crossed = None
        if not waits and abs(step_s) <= 0.03:
            self.held = None
            return None
        costs = []
        for split in range(self.length // 4, 2 * self.length - self.length // 4 + 1):
            ends = np.cumsum(np.abs(self.r - before)), np.cumsum(np.abs(self.r - after))
            costs.append(ends[0][split - 1] + ends[1][-1] - ends[1][split - 1])
        back = 2 * self.length - self.length // 4 - int(np.argmin(costs))
        if waits:
            self.held = (float(before), float(apart - self.n), self.n - back)
            return None
        if self.held is not None:
            back, self.held = min(self.n - self.held[2], 2 * self.length), None
        n_lost = round(step_s * self.sfreq / (1 + self.slope)) if 0 < step_s <= 3600 else 0
        if n_lost:
            self.lost += n_lost
            self.grid[-back:] += n_lost
            self.r[-back:] -= n_lost / self.sfreq
            self.lost_last = (self.n - back, step_s)
        else:
            self.shift += step_s
            self.r[-back:] -= step_s
            recent = self.n - back - self.lost_last[0] <= 10 * self.sfreq
            if recent and abs(step_s + self.lost_last[1]) <= 0.03:
                self.late_s += step_s
                self.lost_last = (-(10**9), 0.0)
        self.suspect = None
        return self.n - back, n_lost

    def _fit(self, level: float) -> None:
        position = (np.median(self.grid[: self.length]) + 0.5) / self.sfreq
        dx, self.fitted_at = position - self.fitted_at, position
        s0, sx, sxx, sy, sxy = self.sums * np.exp(-dx / 120.0)
        sxx, sxy, sx = sxx - 2 * dx * sx + dx * dx * s0, sxy - dx * sy, sx - dx * s0
        self.sums = np.array([s0 + 1, sx, sxx, sy + level, sxy])
        s0, sx, sxx, sy, sxy = self.sums
        self.slope = float((sxy - sx * sy / s0) / (sxx - sx * sx / s0 + 100.0))
        self.offset = float((sy - self.slope * sx) / s0)

    def time_s(self, grid: float) -> float:
        nominal = grid / self.sfreq
        return nominal + self.late_s + self.offset + self.slope * (nominal - self.fitted_at)


class PlainChain:
    """Gaps, filters, resampler, row by row."""

    def __init__(self, contract: Contract, sfreq: float) -> None:
        self.sos = design_sos(contract.filters, sfreq)
        self.zi = signal.sosfilt_zi(self.sos)[:, :, None]
        self.taps = Resampler(sfreq, contract.sfreq, contract.n_chans, contract.filters)
        self.settling = settling_samples(self.sos, sfreq) + self.taps.n_taps - 1
        self.bridge, self.reset = int(0.05 * sfreq + 1e-9), int(sfreq + 1e-9)
        c = contract.n_chans
        self.state = np.zeros((len(self.sos), 2, c))
        self.history: list[np.ndarray] = []
        self.raw: list[np.ndarray] = []
        self.out: list[np.ndarray] = []
        self.flags: list[int] = []
        self.counts = dict.fromkeys(("nan_samples", "lost_samples", "bridged", "gaps", "resets"), 0)
        self.last = np.zeros(c)
        self.started = False
        self.missing = self.written = self.unsettled = 0

    def feed(self, row: np.ndarray) -> None:
        if not np.isfinite(row).all():
            self.counts["nan_samples"] += 1
            self.miss(1)
            return
        missing, due = self.missing, self.missing - self.written
        self.missing = self.written = 0
        if not self.started:
            self._start(row)
            self._write([row] * due, GAP)
        elif 0 < missing <= self.bridge:
            share = np.arange(1, due + 1)[:, None] / (due + 1)
            self._write(list(self.last + share * (row - self.last)), 0)
            self.counts["bridged"] += 1
        elif 0 < missing <= self.reset:
            self.unsettled = self.settling
            self.counts["gaps"] += 1
        elif missing:
            self._start(row)
            self.counts["resets"] += 1
        self._write([row], 0)

    def lose(self, n: int) -> None:
        self.counts["lost_samples"] += n
        self.miss(n)

    def restart(self) -> None:
        self.started = False
        self.counts["resets"] += 1

    def miss(self, n: int) -> None:
        self.missing += n
        due = self.missing - self.written
        if self.missing <= self.bridge:
            return
        self.written = self.missing
        if due <= self.reset:
            self._write([self.last] * due, GAP)
            return
        for _ in range(due):
            self.raw.append(self.last)
            for _ in self._makes(len(self.raw) - 1):
                self.out.append(np.zeros(len(self.last)))
                self.flags.append(GAP)

    def _start(self, first: np.ndarray) -> None:
        self.started, self.unsettled = True, self.settling
        self.state = self.zi * first
        steady = signal.sosfilt(self.sos, first[None], axis=0, zi=self.state)[0][0]
        self.history = [steady] * self.taps.n_taps

    def _makes(self, position: int) -> range:
        """Return the outputs that wait for one input position."""
        return range(self.taps.output_before(position), self.taps.output_before(position + 1))

    def _write(self, rows: list[np.ndarray], flag: int) -> None:
        for row in rows:
            unsettled = self.unsettled > 0
            self.unsettled -= unsettled
            y, self.state = signal.sosfilt(self.sos, row[None], axis=0, zi=self.state)
            self.history = [y[0], *self.history][: self.taps.n_taps]
            for k in self._makes(len(self.raw)):
                made = np.zeros(len(row))
                for tap in range(self.taps.n_taps):
                    made = made + self.taps.phases[tap, k * self.taps.down % self.taps.up] * self.history[tap]
                self.out.append(y[0] if self.taps.up == self.taps.down else made)
                self.flags.append(max(flag, SETTLING * unsettled))
            self.raw.append(row)
            self.last = row


class PlainPath:
    """Windows at every hop of a source that gives the contract's channels in microvolts."""

    def __init__(self, contract: Contract, sfreq: float) -> None:
        self.contract, self.sfreq = contract, sfreq
        self.clock, self.chain = PlainClock(sfreq), PlainChain(contract, sfreq)
        window_s = contract.n_times / contract.sfreq
        back_s = (2 * self.clock.length + 2 * self.clock.step) / sfreq
        self.keep = int((window_s + contract.hop / contract.sfreq + back_s) * contract.sfreq) + 2
        self.rows: list[np.ndarray] = []
        self.states: list[PlainChain] = []
        self.events: list[tuple[int, int]] = []
        self.next = 0
        self.windows: list[dict[str, Any]] = []

    def run(self, rows: np.ndarray, timestamps: np.ndarray) -> list[dict[str, Any]]:
        for row, time in zip(rows, timestamps.tolist(), strict=True):
            if self.clock.n % self.clock.step == 0:
                self.states.append(copy.deepcopy(self.chain))
            self.rows.append(row)
            self.chain.feed(row)
            self.clock.push(time)
            self._cut()
            if self.clock.n % self.clock.step == 0 and (event := self.clock.detect()) is not None:
                self._go_back(event)
                self._cut()
        return self.windows

    def _go_back(self, event: tuple[int, int]) -> None:
        self.events.append(event)
        number = event[0] // self.clock.step
        self.chain, self.states = self.states[number], self.states[:number]
        at = number * self.clock.step
        for sample in range(at, self.clock.n):
            if sample % self.clock.step == 0:
                self.states.append(copy.deepcopy(self.chain))
            for before, n_lost in self.events:
                if before == sample and n_lost:
                    self.chain.lose(n_lost)
                elif before == sample:
                    self.chain.restart()
            self.chain.feed(self.rows[sample])

    def _cut(self) -> None:
        chain, n = self.chain, self.contract.n_times
        while self.next + n <= len(chain.out):
            start, stop = self.next, self.next + n
            self.next += self.contract.hop
            if start < len(chain.out) - self.keep:
                continue
            uv = np.array(chain.out[start:stop]).T
            newest = (stop - 1) * chain.taps.down // chain.taps.up
            flags, suspect = chain.flags[start:stop], self.clock.suspect
            reason = None
            if GAP in flags or (suspect is not None and newest >= suspect + self.clock.lost):
                reason = "gap"
            elif SETTLING in flags:
                reason = "settling"
            self.windows.append(
                {
                    "start": start,
                    "data": apply_scaling(uv, self.contract.scaling),
                    "uv": uv,
                    "raw": np.array(chain.raw[start * chain.taps.down // chain.taps.up : newest + 1]),
                    "t_s": self.clock.time_s(newest),
                    "reason": reason,
                }
            )

"""The engine of a stream: one source, one signal path, one runner, one decision a hop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mimamba_edge.contract import Contract
from mimamba_edge.errors import RunnerError, SignalError, SourceError
from mimamba_edge.runtime.base import Runner
from mimamba_edge.signal.path import SignalPath, Window
from mimamba_edge.stream.decision import Decision, softmax
from mimamba_edge.stream.sources.base import Source

__all__ = ["Engine"]

_KEPT_LATENCIES = 100_000


class Engine:
    """Decides on every window of a source. Nothing in it grows with time.

    Args:
        runner: An active runner; its contract is the only configuration.
        source: Where samples come from.
        mains_hz: Mains frequency here, if it is not the one of the training.
        clock: Monotonic seconds, for latencies.
        wall: Unix seconds.

    Raises:
        SourceError: The source does not fit the model.
    """

    def __init__(
        self,
        runner: Runner,
        source: Source,
        *,
        mains_hz: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._runner, self._source = runner, source
        self._clock, self._wall = clock, wall
        try:
            self.path = SignalPath(
                runner.contract,
                source_ch_names=source.ch_names,
                source_sfreq=source.sfreq,
                unit=source.unit,
                rails_uv=source.rails_uv,
                mains_hz=mains_hz,
            )
        except SignalError as error:
            raise SourceError(
                f"{source.name}: {error.what}", got=error.got, expected=error.expected, do=error.do
            ) from error
        self._delay_ms = round(self.path.algorithmic_delay_ms(), 3)
        self._latencies: deque[float] = deque(maxlen=_KEPT_LATENCIES)
        self._slowest = 0.0

    @property
    def contract(self) -> Contract:
        """The model's contract."""
        return self._runner.contract

    def decisions(self) -> Iterator[Decision]:
        """Yield a decision for each window, until the source ends.

        Raises:
            RunnerError: The model gave logits that are not finite.
        """
        for chunk in self._source.chunks():
            arrived, wall = self._clock(), self._wall()
            for window in self.path.push(chunk.samples, chunk.timestamps):
                yield self._decide(window, arrived, wall if self._source.live else None)

    def _decide(self, window: Window, arrived: float, wall: float | None) -> Decision:
        label, probs = None, None
        if window.valid:
            logits = self._runner.logits(window.data[None])[0]
            if not np.isfinite(logits).all():
                raise RunnerError(
                    f"{self._runner.artifact} gave logits that are not finite", got=logits.tolist()
                )
            contract = self._runner.contract
            p = softmax(logits, contract.temperature)
            label = contract.class_names[int(np.argmax(p))]
            probs = {name: round(float(v), 6) for name, v in zip(contract.class_names, p, strict=True)}
        latency_ms = 1e3 * (self._clock() - arrived)
        if window.valid:
            self._latencies.append(latency_ms)
            self._slowest = max(self._slowest, latency_ms)
        return Decision(
            t_s=round(window.t_s, 6),
            t_unix=wall,
            window=(window.start, window.stop),
            label=label,
            probs=probs,
            valid=window.valid,
            reason=window.reason,
            quality=window.quality,
            latency_ms=round(latency_ms, 4),
            algorithmic_delay_ms=self._delay_ms,
        )

    def summary(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready.

        Latency is over the newest 100,000 decisions, its ``max`` over all.
        """
        latency = None
        if self._latencies:
            p50, p99 = np.percentile(np.array(self._latencies), (50, 99))
            latency = {"p50": float(p50), "p99": float(p99), "max": self._slowest}
        return {**self.path.report, "latency_ms": latency, "algorithmic_delay_ms": self._delay_ms}

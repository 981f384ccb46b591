"""What the page keeps of each stream, and what it tells a browser. Nothing in it grows with time."""

from __future__ import annotations

import json
import math
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.signal_check import faults
from mimamba_edge.stream.sinks.base import StreamInfo
from mimamba_edge.stream.sinks.page.rings import Series, SignalRing
from mimamba_edge.stream.sources.base import Notice

__all__ = ["SIGNAL_S", "PageState", "View"]

SIGNAL_S = 20.0
"""Seconds of signal that a browser which comes or falls behind is given."""
_DECISIONS_S = 90.0
_KEPT_NOTICES = 50
_KEPT_LATENCIES = 5000
_MOST = 4096
"""Samples of one binary message."""
_SIGNAL = struct.Struct("<IId")
"""Kind (1), channels, index of the first sample; then float32 microvolts ``(n, c)``."""
_STATUS_S, _OVERVIEW_S = 1.0, 0.5
_BINS_PER_DECADE, _FASTEST_MS, _SLOWEST_MS = 12, 0.01, 10_000.0
_COUNTERS = (
    *("windows", "valid", "dropped", "samples", "lost_samples", "nan_samples", "bridged", "gaps", "resets"),
)


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if math.isfinite(plain) else None


def _json(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, allow_nan=False, separators=(",", ":"))


@dataclass
class View:
    """What one browser has been told.

    Attributes:
        stream: Number of the stream it looks at.
        cursor: Samples of the signal.
        rewinds: Rewrites of the signal.
        decisions: Decisions.
        notices: Notices.
        status_at: When the counters were last sent.
        overview_at: When the states of all streams were last sent.
    """

    stream: int
    cursor: int = 0
    rewinds: int = 0
    decisions: int = 0
    notices: int = 0
    status_at: float = -math.inf
    overview_at: float = -math.inf


@dataclass
class _Stream:
    """One stream: what it is and its newest."""

    info: StreamInfo
    ring: SignalRing
    decisions: Series[Decision]
    notices: Series[tuple[float, Notice]] = field(default_factory=lambda: Series(_KEPT_NOTICES))
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_LATENCIES))
    newest: Decision | None = None
    heard: float | None = None
    counters: dict[str, Any] = field(default_factory=dict)

    def state(self) -> str:
        """Return what the engine says, and ``"waiting"`` until the first samples came."""
        told = str(self.counters.get("state", "running"))
        return "waiting" if self.heard is None and told in ("running", "silent") else told


class PageState:
    """What all streams told so far, as far as a page shows it. Any thread may call.

    Args:
        clock: Monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._order: list[str] = []
        self._shown: list[str] = []
        self._status: dict[str, Any] = {}

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Take what the streams are."""
        # A recording's name is its path, of which people need the end, where that tells streams apart.
        ends = [Path(i.name).name if "recording" in i.device else i.name for i in streams]
        self._shown = [i.name for i in streams] if len(set(ends)) < len(ends) else ends
        for info in streams:
            c = info.contract
            keep = math.ceil(SIGNAL_S * c.sfreq)
            n_decisions = math.ceil(_DECISIONS_S * c.sfreq / c.hop)
            self._streams[info.name] = _Stream(info, SignalRing(keep, c.n_chans), Series(n_decisions))
            self._order.append(info.name)

    def signal(self, stream: str, uv: NDArray[np.float64], start: int) -> None:
        """Take filtered samples ``(n, c)``."""
        with self._lock:
            kept = self._streams[stream]
            kept.ring.write(uv, start)
            kept.heard = self._clock()

    def decision(self, decision: Decision) -> None:
        """Take a decision; one without a stream's name is of the only stream."""
        with self._lock:
            kept = self._streams[decision.stream or self._order[0]]
            kept.decisions.append(decision)
            kept.newest = decision
            if decision.valid:
                kept.latencies.append(decision.latency_ms)

    def notice(self, stream: str, notice: Notice) -> None:
        """Take what befell a stream."""
        with self._lock:
            self._streams[stream].notices.append((self._wall(), notice))

    def status(self, counters: dict[str, Any]) -> None:
        """Take the counters of all streams."""
        with self._lock:
            self._status = counters
            for name, values in counters.get("streams", {}).items():
                if name in self._streams:
                    self._streams[name].counters = values

    @property
    def n_streams(self) -> int:
        """Number of streams."""
        return len(self._order)

    def hello(self, view: View) -> str:
        """Return what a browser is told first: all streams by name, and what the chosen one is."""
        with self._lock:
            return _json(
                "hello", stream=view.stream, streams=[printable(n) for n in self._shown], **self._about(view)
            )

    def _about(self, view: View) -> dict[str, Any]:
        info = self._streams[self._order[view.stream]].info
        c = info.contract
        told = [(k, v) for k, v in info.device.items() if not isinstance(v, bool)]
        device = ", ".join(f"{printable(k)}: {printable(v)}" for k, v in told[:8])
        score = (c.training or {}).get("balanced_accuracy")
        return {
            "device": device,
            "live": info.live,
            "channels": [printable(n) for n in c.ch_names],
            "at_source": [printable(info.channel_map.get(n, n)) for n in c.ch_names],
            "classes": [printable(n) for n in c.class_names],
            "sfreq": c.sfreq,
            "source_sfreq": _number(info.sfreq),
            "hop": c.hop,
            "n_times": c.n_times,
            "keep_s": SIGNAL_S,
            "model": printable(info.model),
            "sha256": printable(info.model_sha256),
            "mains_hz": _number(info.mains_hz),
            "profile": None if info.profile is None else printable(info.profile),
            "delay_ms": _number(info.algorithmic_delay_ms),
            "score": _number(score.get("mean")) if isinstance(score, dict) else None,
        }

    def news(self, view: View) -> list[str | bytes]:
        """Return the messages that bring a browser up to date, and note in ``view`` that it has them."""
        now = self._clock()
        out: list[str | bytes] = []
        with self._lock:
            kept = self._streams[self._order[view.stream]]
            out += self._signal(kept, view)
            if decisions := kept.decisions.since(view.decisions):
                out.append(_decisions(kept.info, decisions))
                view.decisions = kept.decisions.end
            if notices := kept.notices.since(view.notices):
                rows = [[t, printable(n.kind), printable(n.text), n.n, n.sample] for t, n in notices]
                out.append(_json("notices", items=rows))
                view.notices = kept.notices.end
            if now - view.overview_at >= _OVERVIEW_S:
                view.overview_at = now
                out.append(_json("overview", streams=[self._brief(n) for n in self._order]))
            if now - view.status_at >= _STATUS_S:
                view.status_at = now
                out.append(self._counters(kept, now))
        return out

    @staticmethod
    def _signal(kept: _Stream, view: View) -> list[bytes]:
        out: list[bytes] = []
        while True:
            start, rows = kept.ring.read(view.cursor, view.rewinds, _MOST)
            view.rewinds = kept.ring.rewinds
            if not len(rows):
                return out
            view.cursor = start + len(rows)
            out.append(_SIGNAL.pack(1, rows.shape[1], float(start)) + rows.astype("<f4").tobytes())

    def _brief(self, name: str) -> list[Any]:
        """Return state, label, probability and reason of a stream."""
        kept = self._streams[name]
        newest = kept.newest
        if newest is None:
            return [kept.state(), None, None, None]
        top = None if not newest.probs or newest.label is None else _number(newest.probs.get(newest.label))
        return [
            kept.state(),
            None if newest.label is None else printable(newest.label),
            top,
            newest.reason,
        ]

    def _counters(self, kept: _Stream, now: float) -> str:
        machine = self._status.get("machine") or {}
        model = self._status.get("model") or {}
        sinks = self._status.get("sinks") or {}
        no_decision = kept.counters.get("no_decision") or {}
        return _json(
            "status",
            state=kept.state(),
            silent_s=None if kept.heard is None else round(now - kept.heard, 1),
            counters={k: _number(kept.counters.get(k)) for k in _COUNTERS},
            no_decision={printable(k): _number(v) for k, v in no_decision.items()},
            latency=_histogram(np.array(kept.latencies)),
            recording=any(name.startswith("record") and not s.get("gone") for name, s in sinks.items()),
            throttled=[printable(t) for t in machine.get("throttled") or ()],
            model=printable(model.get("file", kept.info.model)),
            sha256=printable(model.get("sha256", kept.info.model_sha256)),
            reloads=_number(model.get("reloads")) or 0,
        )


def _decisions(info: StreamInfo, decisions: Sequence[Decision]) -> str:
    """Return decisions as one message, and the quality of each channel at the newest one that knows it."""
    classes, channels = info.contract.class_names, info.contract.ch_names
    index = {name: i for i, name in enumerate(classes)}
    rows = []
    for d in decisions:
        probs = None if d.probs is None else [_number(d.probs.get(name)) for name in classes]
        label = -1 if d.label is None else index.get(d.label, -1)
        rows.append([d.t_unix, d.window[0], d.window[1], label, probs, d.reason, _number(d.latency_ms)])
    latest = next((d.quality for d in reversed(decisions) if d.quality), None)
    quality = None
    if latest is not None:
        figures = [latest[name] for name in channels]
        quality = [[next(iter(faults(f)), "good"), _number(f["rms_uv"])] for f in figures]
    return _json("decisions", items=rows, quality=quality)


def _histogram(ms: NDArray[np.float64]) -> dict[str, Any] | None:
    """Return latencies in bins of equal width in their logarithm, with their percentiles."""
    if not len(ms):
        return None
    bins = np.floor(_BINS_PER_DECADE * np.log10(np.clip(ms, _FASTEST_MS, _SLOWEST_MS) / _FASTEST_MS)).astype(
        int
    )
    first = int(bins.min())
    p50, p99 = (round(float(v), 3) for v in np.percentile(ms, (50, 99)))
    return {
        "first_ms": _FASTEST_MS * 10 ** (first / _BINS_PER_DECADE),
        "per_decade": _BINS_PER_DECADE,
        "counts": np.bincount(bins - first).tolist(),
        "n": len(ms),
        "p50": p50,
        "p99": p99,
        "max": round(float(ms.max()), 3),
    }

"""Streams that tests feed to the page by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import StreamInfo
from mimamba_edge.stream.sinks.page.server import Page

CHANNELS = ("TP9", "AF7", "AF8", "TP10", "C3", "C4", "O1", "O2")
CLASSES = ("calm", "excited", "bored")
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "javascript:alert(1)//\u202e\x1b[31m\x00",
    "__proto__",
    "'\"`${document.title='owned'}",
)


def info(
    name: str = "Muse", *, channels: tuple[str, ...] = CHANNELS, classes: tuple[str, ...] = CLASSES
) -> StreamInfo:
    contract = Contract(
        ch_names=channels,
        sfreq=128.0,
        n_times=128,
        hop=16,
        class_names=classes,
        filters=default_filters(128.0, 50.0),
        mains_hz=50.0,
        scaling=Scaling("none"),
    )
    return StreamInfo(
        name=name,
        ch_names=channels,
        sfreq=256.0,
        unit="uV",
        rails_uv=None,
        device={"board": "synthetic"},
        live=True,
        contract=contract,
        model="emotion.onnx",
        model_sha256="0123456789abcdef" * 4,
        channel_map={},
        mains_hz=50.0,
        algorithmic_delay_ms=563.8,
    )


def wave(start: int, n: int, channels: int = len(CHANNELS)) -> np.ndarray:
    """Microvolts ``(n, c)`` of samples ``start`` to ``start + n``: always the same at the same index."""
    t = (start + np.arange(n)) / 128.0
    return np.stack([20 * np.sin(2 * np.pi * (6 + c) * t) for c in range(channels)], axis=1)


def decision(
    stop: int,
    label: int | None = 0,
    *,
    reason: str | None = None,
    stream: str | None = None,
    of: StreamInfo | None = None,
    worst: dict[str, Any] | None = None,
    latency_ms: float = 1.5,
) -> Decision:
    told = of or info()
    classes, channels = told.contract.class_names, told.contract.ch_names
    good = {"rms_uv": 12.0, "flat": False, "railed": 0.0, "mains_ratio": 0.1}
    quality = {name: dict(good) for name in channels}
    if worst:
        quality[channels[1]] |= worst
    probs = None
    if label is not None:
        rest = 0.3 / (len(classes) - 1)
        probs = {name: 0.7 if i == label else rest for i, name in enumerate(classes)}
    return Decision(
        t_s=stop / 128.0,
        t_unix=1.7e9 + stop / 128.0,
        window=(stop - 128, stop),
        label=None if label is None else classes[label],
        probs=probs,
        valid=label is not None,
        reason=reason,
        quality=quality,
        latency_ms=latency_ms,
        algorithmic_delay_ms=563.8,
        stream=stream,
    )


def counters(*names: str, state: str = "running", **more: Any) -> dict[str, Any]:
    one = {
        **{"samples": 2560, "nan_samples": 0, "lost_samples": 3, "bridged": 1, "gaps": 0, "resets": 0},
        **{"windows": 80, "valid": 70, "no_decision": {"settling": 10}, "dropped": 0, "state": state},
    }
    return {
        "streams": dict.fromkeys(names or ("Muse",), one),
        "model": {"file": "emotion.onnx", "sha256": "0123456789abcdef" * 4, "reloads": 0, "refused": 0},
        "machine": None,
        "sinks": {"page": {"dropped": 0, "gone": False}},
        "seconds": 20.0,
        **more,
    }


class Player:
    """Feeds a page as the stream engine would: each step is a hop of signal and a decision."""

    def __init__(self, page: Page, told: StreamInfo | None = None, *, several: bool = False) -> None:
        self.page, self.info, self.at = page, told or info(), 0
        self._stream = self.info.name if several else None

    def step(self, n: int = 1, *, label: int | None = 0, reason: str | None = None, **more: Any) -> None:
        for _ in range(n):
            self.page.signal(self.info.name, wave(self.at, 16, self.info.contract.n_chans), self.at)
            self.at += 16
            self.page.decision(
                decision(self.at, label, reason=reason, stream=self._stream, of=self.info, **more)
            )

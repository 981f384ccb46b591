"""Streams and decisions as the stream engine would hand them to a sink."""

from __future__ import annotations

from typing import Any

from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import StreamInfo
from tests.modelfiles import tiny_contract

CLASSES = ("calm", "happy")
QUALITY = {
    "TP9": {"rms_uv": 12.3, "flat": False, "railed": 0.0, "mains_ratio": 0.02},
    "AF7": {"rms_uv": 850.0, "flat": False, "railed": 0.4, "mains_ratio": 0.01},
    "AF8": {"rms_uv": 0.1, "flat": True, "railed": 0.0, "mains_ratio": 0.0},
}


def stream_info(name: str = "lsl:name=Muse", **changes: Any) -> StreamInfo:
    contract = tiny_contract(class_names=changes.pop("class_names", CLASSES))
    known: dict[str, Any] = {
        "name": name,
        "ch_names": contract.ch_names,
        "sfreq": 256.0,
        "unit": "uV",
        "rails_uv": (-1000.0, 1000.0),
        "device": {},
        "live": True,
        "contract": contract,
        "model": "m.onnx",
        "model_sha256": "a" * 64,
        "channel_map": {},
        "mains_hz": 60.0,
        "algorithmic_delay_ms": 640.0,
    }
    return StreamInfo(**{**known, **changes})


def decision(label: str | None = "happy", number: int = 0, **changes: Any) -> Decision:
    """A decision on ``label`` with probability 0.75, or none because of a gap."""
    classes = changes.pop("class_names", CLASSES)
    rest = 0.25 / (len(classes) - 1)
    known: dict[str, Any] = {
        "t_s": 2.0 + 0.25 * number,
        "t_unix": 1.8e9,
        "window": (5 * number, 5 * number + 20),
        "label": label,
        "probs": None if label is None else {c: 0.75 if c == label else rest for c in classes},
        "valid": label is not None,
        "reason": "gap" if label is None else None,
        "quality": QUALITY,
        "latency_ms": 0.9,
        "algorithmic_delay_ms": 640.0,
    }
    return Decision(**{**known, **changes})

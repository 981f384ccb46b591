"""The decision line: what a stream says about one window."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEMA", "Decision", "softmax"]

SCHEMA = "mimamba.decision.1"


@dataclass(frozen=True)
class Decision:
    """One line of a stream.

    Attributes:
        schema: :data:`SCHEMA`.
        t_s: End of the window in seconds from the first sample, by the fitted clock.
        t_unix: The wall clock when the window's newest sample arrived; ``None`` where a recording is
            replayed faster than it was made.
        window: First sample and sample after the last, at the model's rate, from the first sample.
        label: Class decided on; ``None`` for no decision. With hysteresis not always the most probable one.
        probs: Probability of each class; ``None`` for no decision. With smoothing the smoothed ones.
        valid: Whether there is a decision.
        reason: Why not: ``"gap"``, ``"settling"``, ``"railed"`` or ``"flat"``.
        quality: Figures a channel.
        latency_ms: From the newest sample's arrival to this decision: signal path, waiting for other streams
            and model. In a replay as fast as possible samples arrive when their turn comes.
        algorithmic_delay_ms: Half a window, the filters' delay at 10 Hz and the smoothing's: how old what is
            decided on is.
        stream: Name of the stream; ``None``, and left out of the line, where there is one only.
    """

    t_s: float
    t_unix: float | None
    window: tuple[int, int]
    label: str | None
    probs: dict[str, float] | None
    valid: bool
    reason: str | None
    quality: dict[str, dict[str, Any]]
    latency_ms: float
    algorithmic_delay_ms: float
    schema: str = SCHEMA
    stream: str | None = None

    def to_json(self) -> str:
        """Return the line, without its end."""
        plain = {"schema": self.schema, **vars(self)}
        if self.stream is None:
            del plain["stream"]
        return json.dumps(plain, allow_nan=False)


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return the probabilities ``(o,)`` of logits ``(o,)`` divided by a temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return np.asarray(weights / weights.sum())

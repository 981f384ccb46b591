"""What two runners may differ by, in one table by precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mimamba_edge.errors import ConfigError

__all__ = ["GATES", "MIN_WINDOWS", "Gate", "gate_for"]

MIN_WINDOWS = 512
"""Windows that a parity figure worth quoting stands on."""


@dataclass(frozen=True)
class Gate:
    """Bounds of one precision.

    Attributes:
        precision: Which one.
        sqnr_db: Least signal-to-noise ratio of the logits over all windows, in dB.
        top1: Least share of decided windows with the same class.
        margin_rtol: A window is decided where the reference's largest logit exceeds its second by more
            than this share of the largest ``|logit|`` of all windows. Zero: every window but exact ties.
        tie_gap: Windows that are closer than this to another, equally right answer may give it; see
            :meth:`mimamba_edge.family.Family.tie_gaps`.
    """

    precision: str
    sqnr_db: float
    top1: float
    margin_rtol: float
    tie_gap: float

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types."""
        return asdict(self)


GATES = {
    gate.precision: gate
    for gate in (
        Gate("fp64", sqnr_db=100.0, top1=1.0, margin_rtol=1e-4, tie_gap=1e-5),
        Gate("fp32", sqnr_db=100.0, top1=1.0, margin_rtol=1e-4, tie_gap=1e-5),
        Gate("fp16", sqnr_db=50.0, top1=0.995, margin_rtol=0.0, tie_gap=1e-3),
        Gate("int8", sqnr_db=40.0, top1=0.99, margin_rtol=0.0, tie_gap=1e-3),
    )
}
"""From the finest precision to the coarsest."""


def gate_for(*precisions: str) -> Gate:
    """Return the gate of the coarsest of some precisions.

    Raises:
        ConfigError: One of them has no gate.
    """
    order = list(GATES)
    unknown = [p for p in precisions if p not in GATES]
    if unknown or not precisions:
        raise ConfigError("no acceptance limits for this precision", got=unknown, expected=", ".join(GATES))
    return GATES[max(precisions, key=order.index)]

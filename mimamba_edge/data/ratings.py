"""From what people answered on a scale to two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimamba_edge.data.spec_options import SpecOptions

__all__ = ["RatingRule", "take_rule"]


@dataclass(frozen=True)
class RatingRule:
    """Where a scale is cut in two.

    Attributes:
        name: What was rated.
        threshold: Ratings above are high, below are low.
        tie: What a rating that equals the threshold is: ``"low"`` or ``"high"``.
    """

    name: str
    threshold: float
    tie: str = "low"

    def label(self, rating: float) -> str:
        """Return the class of a rating."""
        high = rating > self.threshold or (rating == self.threshold and self.tie == "high")
        return f"{'high' if high else 'low'} {self.name}"

    def __str__(self) -> str:
        sign = ">" if self.tie == "low" else ">="
        return f"high {self.name}: rating {sign} {self.threshold:g}; else low {self.name}"


def take_rule(
    options: SpecOptions, names: Sequence[str], *, threshold: float, scale: tuple[float, float]
) -> RatingRule:
    """Take the options ``label``, ``threshold`` and ``tie``.

    Args:
        options: Of the data set.
        names: What was rated; the first is the default.
        threshold: Default.
        scale: Lowest and highest rating.

    Raises:
        ConfigError: An option cannot be understood.
    """
    return RatingRule(
        options.choice("label", names),
        options.number("threshold", threshold, least=scale[0], most=scale[1]),
        options.choice("tie", ("low", "high")),
    )

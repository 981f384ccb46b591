"""Batch sizes that an engine is built for: one, or a range with the size it is tuned for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError

__all__ = ["ONE", "Batch"]


@dataclass(frozen=True)
class Batch:
    """Windows at a time.

    Attributes:
        least: Fewest that the engine takes.
        best: What it is tuned for.
        most: Most that it takes.
    """

    least: int = 1
    best: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Batch:
        """Read ``"4"`` (exactly four) or ``"1,8,64"`` (one to 64, tuned for eight).

        Raises:
            ConfigError: Neither of these, or not in ascending order.
        """
        numbers = (
            [int(part) for part in text.split(",")]
            if re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6}){0,2}", text)
            else []
        )
        if len(numbers) in (1, 3):
            batch = cls(*(numbers * 3 if len(numbers) == 1 else numbers))
            if 1 <= batch.least <= batch.best <= batch.most:
                return batch
        raise ConfigError(
            "--batch is not a batch size",
            got=printable(text, 40),
            expected="a whole number such as 1, or LEAST,BEST,MOST in ascending order such as 1,8,64",
        )

    @property
    def static(self) -> bool:
        """Whether the engine takes one size only."""
        return self.least == self.most

    def __str__(self) -> str:
        return str(self.best) if self.static else f"{self.least},{self.best},{self.most}"


ONE = Batch()
"""One window at a time: what a stream needs."""

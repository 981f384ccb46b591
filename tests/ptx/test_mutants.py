"""A few of the faults of ``mutants.py``: the checks see them. ``python -m tests.ptx.mutants`` plants all."""

from __future__ import annotations

import pytest

from mimamba_edge.errors import DependencyError
from tests.ptx.mutants import OPS, Mutant, barriers, mutants, planted, verdict

pytestmark = pytest.mark.timeout(900)  # compiles


def few() -> list[Mutant]:
    """The second barrier of each op, and the first of its other faults."""
    chosen = []
    for op in OPS:
        chosen.append([m for m in barriers() if m.op == op][1])
        chosen.append(next(m for m in planted() if m.op == op))
    return chosen


def test_every_barrier_and_every_planted_text_is_in_the_sources() -> None:
    assert len(list(barriers())) >= 10
    assert len({m.name for m in mutants()}) == len(mutants()) >= 60


@pytest.mark.parametrize("mutant", few(), ids=lambda m: m.name)
def test_a_fault_is_found(mutant: Mutant) -> None:
    try:
        assert verdict(mutant), "nothing was found"
    except DependencyError as error:
        pytest.skip(f"needs nvcc and a C++ compiler, no GPU: {error}")

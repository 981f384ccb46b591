from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Result, run

__all__ = ["run"]


@pytest.fixture
def pack(run: Callable[..., Result]) -> Callable[..., Result]:
    """Pack a model for Triton."""
    return lambda *arguments: run("pack", *arguments, "--host", "triton")

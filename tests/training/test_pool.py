from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import DataError, TrainingError  # noqa: E402
from mimamba_edge.export.training.pool import run_jobs  # noqa: E402


def add(shared: int, job: int) -> int:
    if job == -1:
        raise DataError("this job cannot be done")
    if job == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    return shared + job


@pytest.mark.slow
def test_results_keep_the_order_of_the_jobs_and_errors_keep_their_type() -> None:
    seen: list[int] = []
    assert run_jobs(add, 10, [3, 1, 2], done=seen.append, workers=2) == [13, 11, 12]
    assert sorted(seen) == [11, 12, 13]
    with pytest.raises(DataError, match="cannot be done"):
        run_jobs(add, 10, [1, -1], done=seen.append, workers=1)


@pytest.mark.slow
def test_a_worker_that_the_system_ends_is_explained() -> None:
    with pytest.raises(TrainingError, match=r"(?s)was killed.*memory"):
        run_jobs(add, 10, [-2], done=lambda _: None, workers=1)

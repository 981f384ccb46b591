"""What the jobs of the tests do; nothing here is slow to import in a worker."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import numpy as np

from mimamba_edge.errors import DataError
from mimamba_edge.export.jobs.arrays import ArrayFile
from mimamba_edge.export.jobs.results import Results, content_key
from mimamba_edge.export.jobs.run import Engine, run_jobs


@dataclasses.dataclass(frozen=True)
class Square:
    root: int
    values: np.ndarray
    more: dict[str, float]


def add(shared: ArrayFile, job: int) -> tuple[float, bool]:
    """Return a sum, and whether the array was mapped."""
    if job == -1:
        raise DataError("this job cannot be done", got="a number")
    if job == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    array = shared.open()
    return float(array[job].sum()), isinstance(array, np.memmap)


def square(log: str, job: int) -> Square:
    """Take a while, and write down that it was done."""
    time.sleep(0.1)
    with Path(log).open("a") as file:
        file.write(f"{job}\n")
    array = np.array([job**2, np.nan], dtype=np.float32) if job else np.array(0.5)
    return Square(job, array, {"half": job / 2, "none": float("nan")})


def run_squares(log: str, n: int, jobs: int) -> list[Square]:
    """Square numbers, with results on the disk."""
    keys = [content_key("square", i) for i in range(n)]
    return run_jobs(square, log, range(n), engine=Engine(jobs=jobs), results=Results(Square, keys))

"""The floor of dense arithmetic: what the network's multiplications cost at this machine's sgemm rate.

A child process measures the rate, because the number of threads of a BLAS is fixed when it is loaded.
It is asked for a sample between the blocks of the measurement, so both see the same machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from types import TracebackType
from typing import Any

from mimamba_edge.errors import RunnerError

__all__ = ["SgemmClock"]

_SIZE = 768
_CHILD = """
import sys, time
import numpy as np
n = int(sys.argv[1])
rng = np.random.default_rng(0)
a, b = rng.random((n, n), dtype=np.float32), rng.random((n, n), dtype=np.float32)
out = np.empty_like(a)
np.matmul(a, b, out=out)
for _ in sys.stdin:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    print(2 * n ** 3 / best / 1e9, flush=True)
"""


class SgemmClock:
    """A child process that times a square float32 matrix product when asked.

    Args:
        threads: Threads of its BLAS.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.samples: list[float] = []
        self.child: subprocess.Popen[str] | None = None

    def __enter__(self) -> SgemmClock:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        self.child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(_SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(names, str(self.threads))},
            # Ctrl-C is for the parent; this child ends when its stdin is closed.
            start_new_session=True,
        )
        return self

    def sample(self) -> None:
        """Measure once (three products, the fastest counts).

        Raises:
            RunnerError: The child ended.
        """
        assert self.child is not None
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write("\n")
            self.child.stdin.flush()
            self.samples.append(float(self.child.stdout.readline()))
        except (OSError, ValueError) as error:
            raise RunnerError("the process that measures the sgemm rate stopped", got=error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child = self.child
        assert child is not None
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def floor(self, macs: float) -> dict[str, Any]:
        """Return the floor of ``macs`` multiply-accumulates a window, in plain JSON types."""
        gflops = statistics.median(self.samples)
        return {
            "floor_ms": 2 * macs / (gflops * 1e9) * 1e3,
            "gmac": macs / 1e9,
            "sgemm_gflops": gflops,
            "sgemm_gflops_samples": [round(v, 2) for v in self.samples],
            "threads": self.threads,
            "how": f"2 x dense multiply-accumulates of one window / median rate of NumPy's {_SIZE} x {_SIZE} "
            f"float32 matrix product with {self.threads} thread(s), sampled between the blocks of this run",
        }

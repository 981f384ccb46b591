"""Runs independent jobs on the cores of this machine or of a cluster: joblib, with loky or Ray behind it."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mimamba_edge.bench.environment import available_cores
from mimamba_edge.console import show_note
from mimamba_edge.errors import ConfigError, DependencyError, pip_install
from mimamba_edge.export.jobs.results import Results

__all__ = ["ENGINES", "Engine", "each_result", "run_jobs"]

Job = TypeVar("Job")
Result = TypeVar("Result")
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where jobs run. The results are the same everywhere: a job uses one thread.

    Attributes:
        name: ``"local"``: processes of this machine; ``"ray"``: Ray, on this machine or on a cluster.
        jobs: How many at a time; all cores by default, those of the cluster where there is one.
    """

    name: str = "local"
    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ConfigError("unknown engine", got=self.name, expected=" or ".join(ENGINES))

    def check(self) -> None:
        """Find out before long work whether it is there.

        Raises:
            DependencyError: Its package is not installed.
        """
        if self.name == "ray" and importlib.util.find_spec("ray") is None:
            raise DependencyError(
                "--engine ray needs a package that is not installed: ray",
                do=f"{pip_install('ray')}, on each machine of a cluster; or leave --engine out",
            )
        if (self.jobs or 1) > 1 and importlib.util.find_spec("joblib") is None:
            raise DependencyError(
                "several jobs at a time need a package that is not installed: joblib",
                do="pip install joblib; or leave --jobs out",
            )


def run_jobs(
    function: Callable[[Any, Job], Result],
    shared: Any,
    jobs: Sequence[Job],
    *,
    done: Callable[[Result], None] = lambda _: None,
    engine: Engine | None = None,
    results: Results[Result] | None = None,
) -> list[Result]:
    """Return ``[function(shared, job) for job in jobs]``; all else is as in :func:`each_result`.

    Args:
        function: As there, like all that follow but ``done``.
        shared: What all jobs need.
        jobs: One argument a call.
        done: Called in this process with each result as it arrives, in any order.
        engine: Where they run.
        results: Where results are kept.
    """
    found: dict[int, Result] = {}
    with contextlib.closing(each_result(function, shared, jobs, engine=engine, results=results)) as arriving:
        for i, result in arriving:
            found[i] = result
            done(result)
    return [found[i] for i in range(len(jobs))]


def each_result(
    function: Callable[[Any, Job], Result],
    shared: Any,
    jobs: Sequence[Job],
    *,
    engine: Engine | None = None,
    results: Results[Result] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Yield number and result of each job as it arrives, in any order: ``i, function(shared, jobs[i])``.

    One job, or one at a time, runs in this process. Who stops early closes the generator: the workers end.

    Args:
        function: A function of a module.
        shared: What all jobs need. It is sent with each job: large arrays go as files, see
            :func:`mimamba_edge.export.jobs.arrays.as_file`.
        jobs: One argument a call.
        engine: Where they run; by default all cores of this machine.
        results: Where results are kept as they arrive: what is there already is not computed again.

    Raises:
        WorkerError: A worker was ended from outside.
        DependencyError: The engine's package is not installed.
        BaseException: The first error of a job, or ``KeyboardInterrupt``; the workers are ended.
    """
    left = dict(enumerate(jobs))
    if results is not None:
        for i in range(len(jobs)):
            if (before := results.load(i)) is not None:
                del left[i]
                yield i, before
        if len(left) < len(jobs):
            already = len(jobs) - len(left)
            show_note(f"{already} of {len(jobs)} were done before: their results are in {results.folder}")
    with contextlib.closing(_outcomes(engine or Engine(), function, shared, left)) as outcomes:
        for i, result in outcomes:
            if results is not None:
                results.save(i, result)
            yield i, result


def _outcomes(
    engine: Engine, function: Callable[[Any, Any], Any], shared: Any, jobs: dict[int, Any]
) -> Generator[tuple[int, Any], None, None]:
    """Return number and result of each job as it is done."""
    if engine.name == "ray" and jobs:
        from mimamba_edge.export.jobs.ray import on_ray

        return on_ray(_call, function, shared, jobs, engine.jobs)
    count = min(len(jobs), engine.jobs or available_cores())
    if count > 1:
        from mimamba_edge.export.jobs.local import on_processes

        return on_processes(_call, function, shared, jobs, count)
    return (_call(function, shared, i, job) for i, job in jobs.items())


def _call(function: Callable[[Any, Any], Any], shared: Any, number: int, job: Any) -> tuple[int, Any]:
    """Do a job with one thread: the sums then do not depend on the number of workers or cores."""
    torch = sys.modules.get("torch")  # there, if the function's module uses it
    if torch is None:
        return number, function(shared, job)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return number, function(shared, job)
    finally:
        torch.set_num_threads(threads)

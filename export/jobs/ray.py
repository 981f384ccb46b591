"""Jobs on Ray, which is joblib's backend here: on this machine, or on the cluster that ``RAY_ADDRESS`` names.

On this machine Ray is started for the jobs and ended with them: bound to the loopback, with its files in a
folder of its own, without its dashboard. Ray's usage statistics are off in either case.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from joblib import Parallel, delayed, parallel_config

from mimamba_edge.errors import DependencyError, WorkerError

__all__ = ["on_ray"]


def on_ray(
    call: Callable[..., tuple[int, Any]],
    function: Callable[[Any, Any], Any],
    shared: Any,
    jobs: dict[int, Any],
    count: int | None,
) -> Iterator[tuple[int, Any]]:
    """Do jobs on Ray, ``count`` at a time or one on each core.

    Raises:
        DependencyError: Ray is not installed.
        WorkerError: There is no such cluster, or a worker was ended from outside.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        from ray.util.joblib import register_ray
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise DependencyError(
            "--engine ray needs a package that is not installed: ray",
            do='pip install "mimamba-edge[ray]", on each machine of a cluster; or leave --engine out',
        ) from error

    class Unordered(RayBackend):  # type: ignore[misc]
        """Gives each result as it comes. joblib's process pools do not, for the sake of their locks."""

        supports_return_generator = True

    register_ray()
    with _started(count) as cores:
        workers = min(len(jobs), count or cores)
        with parallel_config(Unordered(), n_jobs=workers, max_nbytes=None):
            parallel = Parallel(batch_size=1, return_as="generator_unordered")
            outcomes = parallel(delayed(call)(function, shared, i, job) for i, job in jobs.items())
        try:
            yield from outcomes
        except ray.exceptions.RayError as error:
            raise WorkerError(
                "a Ray worker was lost",
                got=str(error),
                do="look at the machine's memory, or take fewer at a time (--jobs)",
            ) from error
        finally:
            outcomes.close()


@contextlib.contextmanager
def _started(count: int | None) -> Iterator[int]:
    """Join the user's cluster, or start Ray here for the block; give the number of cores."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    folder = None if address else tempfile.mkdtemp(prefix="mimamba-ray-")
    try:
        if address:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        else:
            ray.init(
                address="local",
                num_cpus=count,
                include_dashboard=False,
                logging_level="ERROR",
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
        yield int(ray.cluster_resources().get("CPU", 1))
    except ConnectionError as error:
        raise WorkerError(
            "there is no Ray cluster at the address that RAY_ADDRESS names",
            got=address,
            do="start one there (ray start --head), or unset RAY_ADDRESS to use this machine alone",
        ) from error
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

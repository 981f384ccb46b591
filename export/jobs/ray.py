"""Jobs on Ray, which is joblib's backend here: on this machine, or on the cluster that ``RAY_ADDRESS`` names.

On this machine Ray is started for the jobs and ended with them: bound to the loopback, with its files in a
folder of its own, without its dashboard. Ray's usage statistics are off in either case.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config

from mimamba_edge.bench.environment import available_cores
from mimamba_edge.errors import WorkerError
from mimamba_edge.export.jobs.leftovers import in_use, remove_leftovers

__all__ = ["on_ray"]

_FOLDER = "mimamba-ray-"


def on_ray(
    call: Callable[..., tuple[int, Any]],
    function: Callable[[Any, Any], Any],
    shared: Any,
    jobs: dict[int, Any],
    count: int | None,
) -> Generator[tuple[int, Any], None, None]:
    """Do jobs on Ray, ``count`` at a time or one on each core.

    Raises:
        WorkerError: There is no such cluster, or a worker was ended from outside.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not os.environ.get("RAY_ADDRESS"):
        # What Ray does by itself on other systems: it binds to the loopback. It is read at the import.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray.util.joblib.ray_backend import RayBackend

    class Unordered(RayBackend):  # type: ignore[misc]
        """Gives each result as it comes. joblib's process pools do not, for the sake of their locks."""

        supports_return_generator = True

    with _started(count) as cores:
        workers = min(len(jobs), count or cores)
        with parallel_config(Unordered(), n_jobs=workers, max_nbytes=None):
            parallel = Parallel(batch_size=1, return_as="generator_unordered")
            outcomes = parallel(delayed(_packed)(call, function, shared, i, job) for i, job in jobs.items())
        try:
            yield from map(pickle.loads, outcomes)
        except ray.exceptions.RayError as error:
            raise WorkerError(
                "a Ray worker was lost",
                got=str(error).splitlines()[0],
                do="look at the machine's memory, or take fewer at a time (--jobs)",
            ) from error
        finally:
            outcomes.close()


def _packed(call: Callable[..., tuple[int, Any]], *arguments: Any) -> bytes:
    """Return a result as bytes: of what Ray takes apart itself, arrays come back read-only."""
    return pickle.dumps(call(*arguments))


@contextlib.contextmanager
def _started(count: int | None) -> Iterator[int]:
    """Join the user's cluster, or start Ray here for the block; give the number of cores.

    Raises:
        WorkerError: There is no such cluster, or Ray does not start.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS")
    with contextlib.ExitStack() as stack:
        here: dict[str, Any] = {}
        if not address:
            folder = stack.enter_context(_new_folder())
            here = {"num_cpus": count or available_cores(), "include_dashboard": False, "_temp_dir": folder}
        stack.callback(ray.shutdown)
        try:
            if address:
                _reach(address)
            ray.init(address or "local", logging_level="ERROR", log_to_driver=False, **here)
        except (OSError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"no Ray cluster answers at {address}, which RAY_ADDRESS names"
                if address
                else "Ray does not start",
                got=str(error),
                do="start one there (ray start --head), name its token if it has one (RAY_AUTH_TOKEN), "
                "or unset RAY_ADDRESS to use this machine alone"
                if address
                else "leave --engine out: local processes do the same",
            ) from error
        yield int(ray.cluster_resources().get("CPU", 1))


def _reach(address: str) -> None:
    """Find out in seconds whether anybody answers; Ray tries for many minutes.

    Raises:
        OSError: Nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _new_folder() -> Iterator[str]:
    """Give a new folder for Ray's files, and remove it at the end, with those whose makers were killed.

    Its path is short: Ray puts sockets in it, whose paths may have 107 bytes.
    """
    remove_leftovers(Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"))
    folder = tempfile.mkdtemp(prefix=_FOLDER)
    try:
        with in_use(Path(folder)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""Independent jobs: their order, their errors, workers that end, arrays by path."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("joblib", reason="needs joblib: pip install 'mimamba-edge[export]'")

from mimamba_edge.errors import ConfigError, DataError, WorkerError
from mimamba_edge.export.jobs.arrays import ArrayFile, as_file
from mimamba_edge.export.jobs.run import Engine, run_jobs
from tests.jobs.work import add

TWO = Engine(jobs=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jobs"


@pytest.mark.slow
def test_results_keep_the_order_of_the_jobs_and_errors_their_type(cache: Path) -> None:
    seen: list[tuple[float, bool]] = []
    with as_file(np.arange(8.0).reshape(4, 2)) as shared:
        expected = [(13.0, True), (5.0, True), (9.0, True)]
        assert run_jobs(add, shared, [3, 1, 2], done=seen.append, engine=TWO) == expected
        assert sorted(seen) == sorted(expected)
        assert Path(shared.path).stat().st_mode & 0o777 == 0o600
        with pytest.raises(DataError, match=r"(?s)cannot be done.*got: +a number"):
            run_jobs(add, shared, [1, -1, 2], engine=TWO)
        with pytest.raises(WorkerError, match=r"(?s)was killed.*memory"):
            run_jobs(add, shared, [-2, 1, 2], engine=TWO)
    assert not list(cache.iterdir())


def test_a_mapped_array_travels_as_its_own_file_and_what_a_kill_left_is_removed(
    tmp_path: Path, cache: Path
) -> None:
    np.arange(12.0).tofile(tmp_path / "held")
    mapped = np.memmap(tmp_path / "held", "<f8", "r", 16, (5, 2))
    with as_file(mapped) as shared:
        assert shared == ArrayFile(str(tmp_path / "held"), "<f8", 16, (5, 2))
    cache.mkdir(parents=True)
    for name in ("left.array", "new.array"):
        (cache / name).write_bytes(b"0")
    os.utime(cache / "left.array", (0, 0))
    with as_file(mapped[1:]) as shared, as_file(np.zeros(3)):
        assert np.array_equal(shared.open(), [[4, 5], [6, 7], [8, 9], [10, 11]])
        assert not (cache / "left.array").exists()
        for path in cache.glob("*.array"):
            os.utime(path, (0, 0))
        with as_file(np.zeros(3)):
            assert len(list(cache.glob("*.array"))) == 3, "what a run holds stays"
    assert not list(cache.glob("*.array"))


def test_a_file_that_a_worker_does_not_see_is_named(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    with pytest.raises(WorkerError, match=r"(?s)cannot read .*elsewhere.*MIMAMBA_CACHE"):
        ArrayFile(str(path), "<f8", 0, (4,)).open()
    path.write_bytes(b"0" * 31)
    with pytest.raises(WorkerError, match="cannot read"):
        ArrayFile(str(path), "<f8", 0, (4,)).open()


def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"(?s)unknown engine.*local or ray"):
        Engine("dask")

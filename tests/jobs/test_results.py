"""A finished fit is never run again; a run that was ended goes on; what is damaged is not trusted."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("joblib", reason="needs joblib: pip install 'mimamba-edge[export]'")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

from mimamba_edge.export.jobs.results import Results, content_key  # noqa: E402
from mimamba_edge.export.jobs.run import Engine  # noqa: E402
from mimamba_edge.export.training import folds  # noqa: E402
from tests.jobs.cohort import N_FITS, RECIPE, bits, kept, train  # noqa: E402
from tests.jobs.work import Square, run_squares, square  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jobs"


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seed of each fit that is really run in this process."""
    seeds: list[int] = []
    before = folds.fit

    def fit(*args: Any, **more: Any) -> Any:
        seeds.append(more["seed"])
        return before(*args, **more)

    monkeypatch.setattr(folds, "fit", fit)
    return seeds


def test_a_killed_group_of_processes_goes_on_where_it_was(tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "log"
    code = f"from tests.jobs.work import run_squares\nrun_squares({str(log)!r}, 40, 2)"
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
    while len(kept(cache)) < 5 and started.poll() is None:
        time.sleep(0.02)
    shared = Path("/dev/shm")
    assert list(shared.glob(f"sem.loky-{started.pid}-*")), "nothing to remove: this test has lost its meaning"
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    finished = kept(cache)
    assert 5 <= len(finished) < 40
    times = {path: path.stat().st_mtime_ns for path in finished}
    log.unlink()
    found = run_squares(str(log), 40, 1)
    assert [one.root for one in found] == list(range(40))
    assert len(log.read_text().split()) == 40 - len(finished), "a finished job was run again"
    assert {path: path.stat().st_mtime_ns for path in finished} == times
    for one in found:
        expected = square(os.devnull, one.root) if one.root < 2 else None
        if expected is not None:
            assert one.values.dtype == expected.values.dtype
            assert one.values.shape == expected.values.shape
            assert one.values.tobytes() == expected.values.tobytes()
            assert one.more["half"] == expected.more["half"]
    deadline = time.monotonic() + 60
    while (left := list(shared.glob(f"*[-_]{started.pid}[-_]*"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_an_ended_training_and_two_workers_give_the_same_bits(cache: Path, fitted: list[int]) -> None:
    whole = train()
    assert len(fitted) == len(kept(cache)) == N_FITS
    whole.kept.clear()
    assert not list(cache.iterdir())
    fitted.clear()

    def stop(_: object) -> None:
        if len(fitted) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(done=stop)
    assert len(kept(cache)) == 4
    steps: list[int] = []
    again = train(done=lambda _: steps.append(1))
    assert len(fitted) == N_FITS
    assert len(steps) == N_FITS, "the bar counts what was done before, too"
    assert bits(again) == bits(whole)
    again.kept.clear()
    assert bits(train(Engine(jobs=2))) == bits(whole)


def test_another_recipe_or_another_torch_is_another_fit(
    cache: Path, fitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    train(recipe=dataclasses.replace(RECIPE, epochs=1))
    assert len(fitted) == 2 * N_FITS
    before = torch.__version__
    monkeypatch.setattr(torch, "__version__", "0.0")
    train()
    monkeypatch.setattr(torch, "__version__", before)
    assert len(fitted) == 3 * N_FITS
    train()
    assert len(fitted) == 3 * N_FITS


@pytest.mark.parametrize("damage", ["cut", "bit", "type", "empty"])
def test_a_damaged_result_is_run_again(tmp_path: Path, cache: Path, damage: str) -> None:
    log = str(tmp_path / "log")
    run_squares(log, 3, 1)
    path = cache / f"{content_key('square', 1)}.result"
    data = path.read_bytes()
    if damage == "type":
        Results(dict, [content_key("square", 1)]).save(0, {"root": "x"})
    else:
        path.write_bytes({"cut": data[:-1], "bit": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}[damage])
    assert [one.root for one in run_squares(log, 3, 1)] == [0, 1, 2]
    assert Path(log).read_text().split() == ["0", "1", "2", "1"]
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700


def test_what_an_abandoned_run_left_goes_after_a_month(tmp_path: Path, cache: Path) -> None:
    run_squares(str(tmp_path / "log"), 3, 1)
    old, *new = kept(cache)
    os.utime(old, (time.time() - 31 * 86400,) * 2)
    Results(Square, [])
    assert kept(cache) == new


def test_a_run_without_a_place_for_results_is_told_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "file"))
    assert len(run_squares(str(tmp_path / "log"), 2, 1)) == 2
    assert "MIMAMBA_CACHE" in "".join(capsys.readouterr())

"""What ``train`` says of its progress: epochs that were told, and a time left that is right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mimamba_edge.export.jobs.results import Results, content_key, tell_epochs
from mimamba_edge.export.training import progress
from mimamba_edge.export.training.progress import Progress, longest, shown, time_left


@dataclasses.dataclass(frozen=True)
class Nothing:
    """A result."""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results[Any]:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path))
    return Results(Nothing, [content_key(i) for i in range(6)])


def _tell(kept: Results[Any], number: int, epochs: int) -> None:
    state = kept.state(number)
    assert state is not None
    tell_epochs(state, epochs)


def _fitted(best_epoch: int) -> Any:
    return SimpleNamespace(fitted=SimpleNamespace(best_epoch=best_epoch))


def test_the_time_left_is_that_of_a_run_with_an_even_pace(kept: Results[Any]) -> None:
    """Four trainings of 10 epochs by two workers, 3 s an epoch; the last takes 6 epochs of twice the work."""
    now = [0.0]
    run = Progress(4, 10, 2, (90.0, 30.0, 200.0), clock=lambda: now[0])
    run.begin(kept)
    assert "trainings: 4 to score with 10 epochs" in run.plan
    assert run.look().left_s is None
    now[0] = 20.0  # the workers start
    due, said = 20.0 + 2 * 10 * 3.0 + 6 * 6.0, []
    for step in range(1, 21):
        now[0] += 3.0
        epoch, first = (step - 1) % 10 + 1, 2 * ((step - 1) // 10)
        for number in (first, first + 1):
            if epoch < 10:
                _tell(kept, number, epoch)
            else:
                kept.save(number, Nothing())
                run.finished(_fitted(6))
        seen = run.look()
        said.append((now[0], seen.left_s))
    assert seen.text.startswith("4 of 5 trainings, 40 of 46 epochs; about ")
    # Until a training is done nobody knows how long the last one will be: all epochs are counted.
    assert said[0][1] is None
    assert said[1][1] == pytest.approx(due - said[1][0] + 4 * 6.0)
    for at, left_s in said[10:]:
        assert left_s == pytest.approx(due - at)
    run.fit_all(6)
    shares = [seen.share]
    for epoch in range(1, 7):
        now[0] += 6.0
        _tell(kept, 4, epoch)
        seen = run.look()
        shares.append(seen.share)
        assert seen.left_s == pytest.approx(due - now[0])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    kept.clear()
    assert kept.folder is not None
    assert not list(kept.folder.iterdir())


@pytest.mark.parametrize(
    ("epochs", "workers", "expected"),
    [([], 2, 0), ([40], 3, 40), ([40, 40, 40], 2, 80), ([10, 30, 40], 2, 50), ([10, 20, 30], 1, 60)],
)
def test_the_last_worker_decides(epochs: list[int], workers: int, expected: int) -> None:
    assert longest(epochs, workers) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "5 s"),
        (41.0, "45 s"),
        (56.0, "1 min"),
        (61.0, "2 min"),
        (7260.0, "2 h 1 min"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert text in time_left(seconds)


def test_in_a_pipe_a_line_is_written_now_and_then(
    kept: Results[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    run = Progress(1, 3, 1, (1.0, 0.0, 1.0))
    written = ""
    with shown(run):
        run.begin(kept)
        _tell(kept, 0, 2)
        while "2 of 6 epochs" not in written:
            written += capsys.readouterr().err
    assert written.splitlines()[0] == run.plan
    assert "1 to score with 3 epochs each" in run.plan
    assert "1 to score with 1 epoch each" in Progress(1, 1, 1, (1.0, 0.0, 1.0)).plan
    assert "\x1b" not in written
    assert capsys.readouterr().out == ""

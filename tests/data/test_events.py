from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.events import Table, make_trials
from mimamba_edge.data.labels import write_labels
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.errors import DataError
from mimamba_edge.stream.sources.recording import FileSource
from tests.data.signals import CONTRACT, write_csv


def _trials(path: Path, tmin: float, tmax: float, labels: dict[str, str] | None = None) -> Table:
    return make_trials(
        [path], labels or {"1": "a"}, tmin=tmin, tmax=tmax, folder=path.parent, who=lambda _: ("s", "d", "r")
    )


def test_borders_of_a_trial(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {0: "1", 512: "1", 2048: "1"})
    assert [(t.start_s, t.stop_s) for t in _trials(path, 0.0, 2.0).trials] == [(0, 2), (2, 4), (8, 10)]
    first = _trials(path, -0.5, 1.0)
    assert [t.start_s for t in first.trials] == [1.5, 7.5]
    assert first.left_out == {"not within the recording": 1}
    assert _trials(path, 0.0, 2.01).left_out == {
        "overlaps the previous trial": 1,
        "not within the recording": 1,
    }
    with pytest.raises(DataError, match=r"no trial is left\n.*3 left out: not within the recording"):
        _trials(path, 20.0, 22.0)


def test_after_a_loss_a_trial_is_where_its_marker_was(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {2000: "1"})
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:1001], *lines[1101:]]) + "\n")
    (trial,) = _trials(path, 0.0, 2.0).trials
    assert trial.start_s == pytest.approx(2000 / 256, abs=1e-6)
    # By the clock there is room, by the number of samples there would be none.
    assert _trials(path, 0.0, 2.18).trials
    with pytest.raises(DataError, match="no trial is left"):
        _trials(path, 0.0, 2.25)


def test_an_event_that_is_nowhere_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {100: "1", 600: "2", 1200: "2"})
    with pytest.raises(DataError, match=r"no recording has the event 3, go\n.*2 \(2 times\), 1 \(1 times\)"):
        _trials(path, 0.0, 1.0, {"1": "a", "3": "b", "go": "c"})
    with pytest.raises(DataError, match=r"event 1\n.*none"):
        _trials(write_csv(tmp_path / "b.csv", {}), 0.0, 1.0)


def test_a_replay_gives_the_markers_at_their_samples(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {0: "1", 11: "2", 12: "3", 2559: "4"})
    given, told = 0, []
    for chunk in FileSource(path, speed="max").chunks():
        for notice in chunk.notices:
            assert notice.kind == "marker"
            assert given <= notice.sample < given + len(chunk.samples)
            told.append((notice.text, notice.sample))
        given += len(chunk.samples)
    assert told == [("1", 0), ("2", 11), ("3", 12), ("4", 2559)]


@pytest.mark.parametrize("n", range(2500, 2508))
def test_a_trial_that_ends_with_its_recording_trains(tmp_path: Path, n: int) -> None:
    path = write_csv(tmp_path / "a.csv", {600: "1", n - 500: "2"}, n, 250.0)
    table = _trials(path, 0.0, 2.0, {"1": "calm", "2": "excited"})
    write_labels(tmp_path / "labels.csv", table.trials)
    contract = dataclasses.replace(CONTRACT, ch_names=("A",))
    # Rounding to samples of the contract's rate must not put the last window outside of the recording.
    assert trial_windows(open_dataset(tmp_path), contract).data.shape == (4, 1, 128)

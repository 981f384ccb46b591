from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import COLUMNS, read_labels
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import (
    preprocessor_for_recording,
    sliding_windows,
    stream_windows,
    trial_windows,
)
from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.scaling import apply_scaling

LABELS = ("calm", "excited", "calm", "excited")
CONTRACT = Contract(
    ch_names=("AF7", "TP10"),
    sfreq=128.0,
    n_times=128,
    hop=8,
    class_names=("calm", "excited"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("robust", (0.0, 1.0), (10.0, 20.0)),
)


def _data_set(
    folder: Path,
    recording: Recording,
    times: list[tuple[float, float]],
    labels: tuple[str, ...] = LABELS,
) -> Path:
    write_recording(folder / "a.csv", recording)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for (start, stop), label in zip(times, labels, strict=True):
            writer.writerow(["a.csv", start, stop, label, "s1", "d1", "r1", label])
    return folder


@pytest.fixture
def simulated() -> tuple[Recording, list[tuple[float, float]]]:
    return simulate_recording(LABELS, seed=3)


def test_trials_are_snapshots_of_the_stream(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    folder = _data_set(tmp_path, recording, times)
    windows = trial_windows(open_dataset(folder), CONTRACT)
    # 4 s trials hold four windows of 1 s that do not overlap.
    assert windows.data.shape == (16, 2, 128)
    assert windows.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert windows.trial_of.tolist() == np.repeat(np.arange(4), 4).tolist()
    assert windows.left_out == {}
    # The stream at every sample holds each of them, to the last bit, close to where the label says.
    every = dataclasses.replace(CONTRACT, hop=1)
    by_start = {w.start: w for w in stream_windows(read_recording(folder / "a.csv"), every)}
    for (start_s, _), first in zip(times, windows.data[::4], strict=True):
        near = range(round(start_s * 128) - 4, round(start_s * 128) + 5)
        [found] = [by_start[k] for k in near if np.array_equal(by_start[k].uv, first)]
        assert np.array_equal(found.data, apply_scaling(first, CONTRACT.scaling))


def test_labels_follow_the_fitted_clock(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    # A first sample that came late, and a packet that was lost: neither may move the later trials.
    late = recording.timestamps.copy()
    late[0] += 0.02
    kept = np.delete(np.arange(len(late)), slice(1500, 1512))
    fewer = dataclasses.replace(
        recording,
        samples=recording.samples[kept],
        timestamps=late[kept],
        markers=(),
    )
    t0 = late[0] - recording.timestamps[0]
    shifted = [(start - t0, stop - t0) for start, stop in times]
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    expected = trial_windows(open_dataset(_data_set(tmp_path / "x", recording, times)), CONTRACT)
    got = trial_windows(open_dataset(_data_set(tmp_path / "y", fewer, shifted)), CONTRACT)
    # The first trial holds the loss; the other three come after it.
    for a, b in zip(got.data[-12:], expected.data[-12:], strict=True):
        lags = np.correlate(a[1] - a[1].mean(), b[1] - b[1].mean(), "full")
        assert abs(int(np.argmax(lags)) - 127) <= 1


def test_a_trial_without_half_of_its_windows_is_left_out(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    samples = recording.samples.copy()
    at = int(times[3][0] * 256)
    samples[at + 20 : at + 60, 1] = np.nan
    samples[at + 1000 : at + 1010, 1] = 0.0
    early = [(0.5, 2.5), *times[1:]]
    folder = _data_set(tmp_path, dataclasses.replace(recording, samples=samples), early)
    windows = trial_windows(open_dataset(folder), CONTRACT)
    assert windows.left_out == {"gap": 1, "settling": 1}
    assert [t.start_s for t in windows.trials] == [times[1][0], times[2][0]]
    notes = "\n".join(windows.notes())
    assert "2 trials left out" in notes
    assert f"a.csv, trial {0.5:g} to {2.5:g} s (calm): 0 of 2 windows valid; settling" in notes
    settling_s = preprocessor_for_recording(recording, CONTRACT).settling_s
    assert windows.lead_s == settling_s + CONTRACT.window_s
    assert f"start a recording {windows.lead_s:.1f} s before its first trial" in notes
    samples[int(times[1][0] * 256) + 10] = np.nan  # one sample is bridged
    samples[int(times[1][0] * 256) + 200 :][:300] = np.nan  # more than a second is not
    _data_set(tmp_path, dataclasses.replace(recording, samples=samples), early)
    with pytest.raises(DataError, match=r"no trial remains of class excited\n(.|\n)*trial 9(.|\n)*valid; "):
        trial_windows(open_dataset(folder), CONTRACT)


@pytest.mark.parametrize(("n_bad", "kept"), [(0, True), (2, True), (3, False), (4, False)])
def test_half_of_the_windows_decide(tmp_path: Path, simulated: tuple, n_bad: int, kept: bool) -> None:
    recording, times = simulated
    samples = recording.samples.copy()
    at = round(times[2][0] * 256)
    samples[at : at + n_bad * 256, 1] = samples[at, 1]
    folder = _data_set(tmp_path, dataclasses.replace(recording, samples=samples), times)
    assert recording.ch_names[1] == "AF7"
    windows = trial_windows(open_dataset(folder), CONTRACT)
    every = dataclasses.replace(CONTRACT, hop=1)
    invalid = [w.uv for w in stream_windows(read_recording(folder / "a.csv"), every) if not w.valid]
    assert not any(np.array_equal(uv, other) for uv in windows.data for other in invalid)
    [row] = [t for t in read_labels(folder) if t.start_s == pytest.approx(times[2][0])]
    assert (row in windows.trials) is kept
    if kept:
        number = windows.trials.index(row)
        assert (windows.trial_of == number).sum() == 4 - windows.without.get("flat", 0)
        assert windows.without == ({"flat": n_bad} if n_bad else {})
    else:
        [out] = windows.dropped
        assert (out.trial, out.reason, out.ch_names) == (row, "flat", ("AF7",))
        assert (out.n_valid, out.n_windows) == (4 - n_bad, 4)
        assert "flat (AF7)" in "\n".join(windows.notes())


def test_volts_taken_for_microvolts_are_told_of(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    folder = _data_set(tmp_path, dataclasses.replace(recording, samples=recording.samples * 1e-6), times)
    with pytest.raises(DataError, match=r"no trial remains(.|\n)*4 flat(.|\n)*multiply those by 1e6"):
        trial_windows(open_dataset(folder), CONTRACT)


def test_trials_that_cannot_be_cut_are_errors(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    folder = _data_set(tmp_path, recording, times)
    with pytest.raises(DataError, match="shorter than one window"):
        trial_windows(open_dataset(folder), dataclasses.replace(CONTRACT, n_times=513))
    with pytest.raises(SignalError, match=r"a\.csv: the source lacks channels of the model: Oz"):
        trial_windows(open_dataset(folder), dataclasses.replace(CONTRACT, ch_names=("Oz", "TP9")))
    with pytest.raises(DataError, match="not match the model's classes"):
        trial_windows(open_dataset(folder), dataclasses.replace(CONTRACT, class_names=("calm", "happy")))
    _data_set(tmp_path, recording, [*times[:3], (22.0, 26.0)])
    with pytest.raises(DataError, match="outside the recording"):
        trial_windows(open_dataset(folder), CONTRACT)
    _data_set(tmp_path, recording, [*times[:3], (1e6, 1e6 + 2)])
    with pytest.raises(DataError, match="outside the recording"):
        trial_windows(open_dataset(folder), CONTRACT)


def test_sliding_windows_are_the_valid_ones_of_the_stream(tmp_path: Path, simulated: tuple) -> None:
    recording, times = simulated
    folder = _data_set(tmp_path, recording, times)
    windows = sliding_windows(folder, CONTRACT)
    valid = [w.data for w in stream_windows(read_recording(folder / "a.csv"), CONTRACT) if w.valid]
    assert windows.dtype == np.float32
    assert np.array_equal(windows, np.stack(valid))
    assert np.array_equal(sliding_windows(folder / "a.csv", CONTRACT, hop=8), windows)
    few = sliding_windows(folder, CONTRACT, limit=5)
    assert np.array_equal(few[[0, -1]], windows[[0, -1]])
    assert len(few) == 5
    with pytest.raises(DataError, match="no valid window"):
        sliding_windows(folder, dataclasses.replace(CONTRACT, n_times=4096))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no recordings"):
        sliding_windows(tmp_path / "empty", CONTRACT)


@pytest.mark.data
def test_the_real_trials_are_all_there(recordings: Path) -> None:
    contract = dataclasses.replace(
        CONTRACT,
        ch_names=("TP9", "AF7", "AF8", "TP10", "Right AUX"),
        n_times=256,
        class_names=("flicker-20hz", "flicker-30hz"),
        filters=default_filters(128.0, 60.0),
        mains_hz=60.0,
        scaling=Scaling("none"),
    )
    windows = trial_windows(open_dataset(recordings), contract)
    assert windows.data.shape == (192, 5, 256)
    assert np.bincount(windows.labels).tolist() == [105, 87]
    assert windows.left_out == {}
    # The flicker stands out of the AUX electrode where the label says so: clock and labels fit.
    power = np.abs(np.fft.rfft(windows.data[:, 4] * np.hanning(256), axis=-1)) ** 2
    ratio = [np.log(power[:, 2 * hz] / power[:, [2 * hz - 3, 2 * hz + 3]].mean(1)) for hz in (20, 30, 40)]
    guess = (ratio[1] > np.maximum(ratio[0], ratio[2])).astype(int)
    assert (guess == windows.labels).mean() > 0.85


@pytest.mark.data
def test_trials_of_whole_files_lose_only_what_no_window_of_them_holds(
    recordings: Path, tmp_path: Path
) -> None:
    # One label a file, trials of 10 s from its first sample on: all filters settle within the first one.
    contract = dataclasses.replace(
        CONTRACT, ch_names=("TP9", "AF7", "AF8", "TP10"), class_names=("a", "b"), scaling=Scaling("none")
    )
    rows, mostly = [], 0
    for number, path in enumerate(sorted(recordings.glob("run-*.csv"))):
        (tmp_path / path.name).symlink_to(path)
        ends = np.arange(10, read_recording(path).duration_s, 10)
        rows += [[path.name, end - 10, end, "ab"[number % 2], "s1", "1", number, ""] for end in ends]
        windows = stream_windows(read_recording(path), dataclasses.replace(contract, hop=128))
        valid = np.array([w.valid for w in windows])
        mostly += sum(valid[10 * k : 10 * k + 10].mean() > 0.5 for k in range(len(ends)))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    found = trial_windows(open_dataset(tmp_path), contract)
    assert mostly >= 60
    assert len(found.trials) >= 0.9 * mostly
    assert {t.file for t in found.trials if t.start_s == 0} == {row[0] for row in rows}


def test_waiting_path_holds_nothing_back_at_the_end(simulated: tuple) -> None:
    recording, _ = simulated
    path = preprocessor_for_recording(recording, CONTRACT, final=True)
    windows = path.push(recording.samples, recording.timestamps)
    live = stream_windows(recording, CONTRACT)
    assert len(windows) < len(live)
    windows += path.flush()
    assert [w.start for w in windows] == [w.start for w in live]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(windows, live, strict=True))

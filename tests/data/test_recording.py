from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.mains import detect_mains
from mimamba_edge.data.recording import Marker, Recording, read_recording
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.errors import DataError

HEADER = "timestamps,TP9,Right AUX,Marker0"


def _write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "a.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _rows(n: int = 600, rate: float = 256.02) -> list[str]:
    return [f"{100 + i / rate:.3f},{i}.5,-{i},0" for i in range(n)]


def test_columns_by_name(tmp_path: Path) -> None:
    rows = _rows()
    rows[3] = rows[3][:-1] + "2"
    recording = read_recording(_write(tmp_path, *rows))
    assert recording.ch_names == ("TP9", "Right AUX")
    assert recording.sfreq == 256.0
    assert recording.samples[7].tolist() == [7.5, -7.0]
    assert recording.timestamps[0] == 100.0
    assert recording.markers == (Marker("2", 3, recording.timestamps[3] - 100.0),)
    assert recording.rails_uv is None


def test_order_stays_as_recorded_and_holes_become_nan(tmp_path: Path) -> None:
    rows = _rows()
    rows[10], rows[11] = rows[11], rows[10]
    rows[20] = "100.078,,nan,0"
    recording = read_recording(_write(tmp_path, *rows))
    assert recording.timestamps[10] > recording.timestamps[11]
    assert np.isnan(recording.samples[20]).all()
    assert np.isfinite(np.delete(recording.samples, 20, axis=0)).all()


@pytest.mark.data
def test_a_real_one(recordings: Path) -> None:
    recording = read_recording(recordings / "run-01.csv")
    assert recording.samples.shape == (30732, 5)
    assert recording.ch_names[-1] == "Right AUX"
    assert recording.sfreq == 256.0
    assert recording.samples[0].tolist() == [10.742, 33.203, 23.438, 15.137, 43.945]
    assert recording.rails_uv == (-1000.0, 999.5)
    assert detect_mains([recording]) == 60.0


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], HEADER, "holds no samples"),
        ([], "", "is empty"),
        (["1,2,3,4", "1.004,x,3,4"], HEADER, r"line 3: a cell is not a number\n.*'x'"),
        (["1,2,3,4", "1.004,2,3"], HEADER, "line 3: the row is incomplete"),
        (["1,2,3", "2,3,4"], HEADER, "line 2: the row is incomplete|rows that are longer or shorter"),
        (["nan,2,3,4", "1,2,3,4"], HEADER, "sample without a time"),
        (["1,2", "2,3"], "time,TP9", "not a recording in muselsl's format"),
        (["1,2", "2,3"], "timestamps,Marker0", "not a recording in muselsl's format"),
        (["1,2,3", "2,3,4"], "timestamps,TP9,TP9", "not a recording in muselsl's format"),
        (["1,2,3,4"], HEADER, "has no usable sampling rate"),
    ],
)
def test_what_is_no_recording_says_why(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_recording(_write(tmp_path, *rows, header=header))


def test_missing_binary_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_recording(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot read"):
        read_recording(tmp_path)
    (tmp_path / "b.csv").write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(DataError, match="cannot read"):
        read_recording(tmp_path / "b.csv")


def _tone(hz: float) -> Recording:
    recording, _ = simulate_recording(["calm"] * 3)
    t = np.arange(len(recording.samples)) / 256
    noise = np.random.default_rng(0).normal(size=recording.samples.shape)
    samples = noise + np.sin(2 * np.pi * hz * t)[:, None]
    samples[1000:1040] = np.nan
    return dataclasses.replace(recording, samples=samples)


def test_mains_is_the_line_that_stands_out() -> None:
    assert detect_mains([simulate_recording(["calm"] * 4)[0]]) == 50.0
    assert detect_mains([_tone(60.0)]) == 60.0
    assert detect_mains([_tone(50.0), _tone(50.0)]) == 50.0
    assert detect_mains([dataclasses.replace(_tone(60.0), sfreq=100.0)]) is None

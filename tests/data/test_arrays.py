from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge import ArrayDataset, Recording
from mimamba_edge.data.check import check_dataset
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.windows import stream_windows, trial_windows
from mimamba_edge.errors import ConfigError, DataError, SignalError
from tests.data.signals import CONTRACT, NAMES, same_windows, signal


def _trials(n: int = 4) -> dict[str, Any]:
    samples = signal().samples
    data = np.stack([samples[256 * k : 256 * k + 2048].T for k in range(n)])
    labels = np.array(["calm", "excited"] * n)[:n]
    return {"X": data, "y": labels, "ch_names": list(NAMES), "sfreq": 256.0}


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6)])
def test_a_recording_of_an_array(unit: str, factor: float) -> None:
    given = signal()
    got = Recording.from_array(given.samples * factor, NAMES, 256, unit=unit)
    assert (got.ch_names, got.sfreq) == (NAMES, 256.0)
    assert got.timestamps.tolist() == (np.arange(len(given.samples)) / 256).tolist()
    same_windows(got, given, 0.0 if unit == "uV" else 1e-9)
    assert len(stream_windows(got, CONTRACT)) > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (x * 1e-6, NAMES), r"does not look like EEG in uV\n(.|\n)*unit=\"V\""),
        (lambda x: (x * 1e5, NAMES), r"does not look like EEG in uV\n(.|\n)*name the unit"),
        (lambda x: (x.T, NAMES), r"another shape(.|\n)*samples\.T"),
        (lambda x: (x[:, :3], NAMES), r"another shape"),
        (lambda x: (x, ("A", "A", "B", "C")), "3 of them different"),
        (lambda x: (x[:0], NAMES), "another shape"),
        (lambda x: (x.astype(str)[:, :, None], NAMES), "another shape"),
        (lambda x: ([["a"]], ("A",)), "does not hold numbers"),
    ],
)
def test_arrays_that_are_no_recording(change: Any, message: str) -> None:
    samples, names = change(signal().samples)
    with pytest.raises(DataError, match=message):
        Recording.from_array(samples, names, 256.0)


def test_another_unit_or_rate() -> None:
    with pytest.raises(SignalError, match="unknown unit"):
        Recording.from_array(signal().samples, NAMES, 256.0, unit="kV")
    with pytest.raises(DataError, match="impossible sampling rate"):
        Recording.from_array(signal().samples, NAMES, 0.0)


def test_a_data_set_of_arrays_gives_the_windows_of_its_trials() -> None:
    given = _trials()
    dataset = ArrayDataset(**given, subject=["a", "a", "b", "b"], run="7")
    assert dataset.subjects == ("a", "b")
    assert [(t.label, t.run, t.stop_s) for t in dataset.trials][:2] == [
        ("calm", "7", 8.0),
        ("excited", "7", 8.0),
    ]
    windows = trial_windows(dataset, CONTRACT)
    for k in range(4):
        alone = Recording.from_array(given["X"][k].T, NAMES, 256.0)
        wanted = [w.uv for w in stream_windows(alone, CONTRACT) if w.valid and w.start % 128 == 0]
        assert np.array_equal(windows.data[windows.trial_of == k], np.stack(wanted)[: len(windows.data) // 4])
    assert check_dataset(dataset).rates == {256.0: 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones((4, 2048))}, "do not fit each other"),
        ({"y": ["calm"] * 3}, "do not fit each other"),
        ({"ch_names": ["A"]}, "do not fit each other"),
        ({"subject": ["a"]}, "subject does not fit the trials"),
        ({"sfreq": -1.0}, "impossible sampling rate"),
        ({"X": _trials()["X"] * 1e-6}, 'unit="V"'),
    ],
)
def test_arrays_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArrayDataset(**{**_trials(), **change}).read("trial-1")


def test_a_file_of_arrays(tmp_path: Path) -> None:
    given = _trials()
    np.savez_compressed(tmp_path / "a.npz", **given, subject=np.array([1, 1, 2, 2]))
    dataset = open_dataset(f"npz:{tmp_path}/a.npz?cache=none")
    assert dataset.subjects == ("1", "2")
    assert np.array_equal(dataset.read("trial-3").samples, given["X"][2].T)
    assert dataset.name == "a"
    np.savez(tmp_path / "v.npz", **{**given, "X": given["X"] * 1e-6})
    with pytest.raises(DataError, match=r"v\.npz: the array(.|\n)*npz:.*v\.npz\?unit=V"):
        open_dataset(f"npz:{tmp_path}/v.npz")
    volts = open_dataset(f"npz:{tmp_path}/v.npz?unit=V")
    assert volts.read("trial-1").samples == pytest.approx(given["X"][0].T)
    with pytest.raises(ConfigError, match="has no option"):
        open_dataset(f"npz:{tmp_path}/v.npz?units=V")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"X": np.ones((1, 1, 9))}, r"lacks the arrays: y, ch_names, sfreq(.|\n)*np\.savez"),
        ({**_trials(1), "sfreq": "fast"}, "cannot read"),
        ({**_trials(1), "X": np.array([[None]], dtype=object)}, "cannot read"),
        ({**_trials(1), "X": np.array([[["a"]]])}, "do not fit|does not hold numbers"),
    ],
)
def test_files_that_are_no_such_arrays(tmp_path: Path, held: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **held)
    with pytest.raises(DataError, match=message):
        open_dataset(f"npz:{tmp_path}/a.npz")


def test_a_damaged_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **_trials(1))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:3000])
    for path, message in ((tmp_path / "b.npz", "cannot read"), (tmp_path / "none.npz", "check the path")):
        with pytest.raises(DataError, match=message):
            open_dataset(f"npz:{path}")

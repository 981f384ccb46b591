from __future__ import annotations

import dataclasses
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.events import make_trials
from mimamba_edge.data.labels import read_labels, write_labels
from mimamba_edge.data.recording import Recording, read_recording, stem
from mimamba_edge.data.windows import recordings_of
from mimamba_edge.errors import DataError, DependencyError
from mimamba_edge.signal.clock import find_events
from mimamba_edge.stream.sources.spec import open_source
from tests.data.signals import NAMES, same_windows, signal, write_csv
from tests.data.xdf import Stream, write_xdf

pytest.importorskip("pyxdf", reason="needs pyxdf: pip install 'mimamba-edge[files]'")
CHANNELS = [(name, "EEG", "microvolts") for name in NAMES]


def _eeg(recording: Recording, **more: object) -> Stream:
    stream = Stream("Muse", "EEG", recording.samples, recording.timestamps, channels=CHANNELS)
    return dataclasses.replace(stream, **more)  # type: ignore[arg-type]


def _read(folder: Path, *streams: Stream, name: str = "a.xdf") -> Recording:
    content = write_xdf(streams)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(("z", "gz")) else content)
    return read_recording(folder / name)


@pytest.mark.parametrize("name", ["a.xdf", "a.xdfz", "a.xdf.gz"])
def test_the_same_signal_gives_the_same_windows_to_the_last_bit(tmp_path: Path, name: str) -> None:
    given = signal()
    got = _read(tmp_path, _eeg(given), name=name)
    assert got.ch_names == NAMES
    assert got.sfreq == 256.0
    assert got.samples.tobytes() == given.samples.tobytes()
    assert got.timestamps.tobytes() == given.timestamps.tobytes()
    assert got.rails_uv == given.rails_uv
    same_windows(got, given)


def test_a_loss_is_where_it_was_for_nothing_is_dejittered(tmp_path: Path) -> None:
    given = signal()
    kept = np.delete(np.arange(len(given.samples)), slice(1500, 1512))
    fewer = dataclasses.replace(given, samples=given.samples[kept], timestamps=given.timestamps[kept])
    got = _read(tmp_path, _eeg(fewer))
    (event,) = find_events(got.timestamps, 256.0)
    assert event.n_lost == 12
    assert abs(event.sample - 1500) <= 12
    same_windows(got, fewer)


def test_streams_of_two_computers_stand_on_one_clock(tmp_path: Path) -> None:
    given = signal()
    t0 = float(given.timestamps[0])
    times = given.timestamps
    # What each computer's clock lacks to the recorder's, measured every 5 s.
    measured = t0 + np.arange(0.0, 12.0, 5.0)
    eeg = _eeg(given, times=times - 7.0, offsets=[(t - 7.0, 7.0) for t in measured])
    marks = Stream(
        "keys",
        "Markers",
        ["go", "", "stop"],
        [t0 + 1002.0, t0 + 1003.0, t0 + 1004.5],
        0.0,
        "string",
        offsets=[(t + 1000.0, -1000.0) for t in measured],
    )
    got = _read(tmp_path, eeg, marks)
    assert [m.text for m in got.markers] == ["go", "stop"]
    assert [m.t_s for m in got.markers] == pytest.approx([2.0, 4.5], abs=1e-6)
    assert [m.sample for m in got.markers] == [int(np.argmin(np.abs(times - t0 - t))) for t in (2.0, 4.5)]
    np.testing.assert_allclose(got.timestamps, times, rtol=0, atol=1e-6)


def test_trigger_channels_and_streams_of_numbers_mark(tmp_path: Path) -> None:
    given = signal()
    trigger = np.zeros(len(given.samples))
    trigger[100:120] = 3
    values = np.column_stack([given.samples, trigger])
    channels = [*CHANNELS, ("TRIG", "Trigger", "")]
    codes = Stream("codes", "Events", [[7], [0]], [given.timestamps[200]] * 2, 0.0, "int16")
    got = _read(tmp_path, _eeg(given, values=values, channels=channels), codes)
    assert got.ch_names == NAMES
    assert [(m.text, m.sample) for m in got.markers] == [("3", 100), ("7", 200)]


def test_units_and_channels_without_a_name(tmp_path: Path) -> None:
    given = signal()
    channels = [("A", "EEG", "mV"), ("", "EEG", "Volts"), ("C", "GYRO", "deg/s"), ("D", "", "")]
    got = _read(tmp_path, _eeg(given, channels=channels))
    assert got.ch_names == ("A", "ch2", "C", "D")
    assert got.samples.tobytes() == (given.samples * [1e3, 1e6, 1.0, 1.0]).tobytes()
    assert got.rails_uv is None
    assert _read(tmp_path, _eeg(given, channels=())).ch_names == ("ch1", "ch2", "ch3", "ch4")
    with pytest.raises(DataError, match=r"is not a voltage\n.*g\b"):
        _read(tmp_path, _eeg(given, channels=[("A", "ACC", "g")] * 4))


def test_which_stream_is_meant(tmp_path: Path) -> None:
    given = signal()
    eeg = _eeg(given)
    motion = Stream("motion", "ACC", given.samples[:, :3], given.timestamps, 52.0)
    assert _read(tmp_path, motion, eeg).ch_names == NAMES
    # One that names no type is meant where there is no other.
    assert _read(tmp_path, dataclasses.replace(eeg, kind="")).ch_names == NAMES
    other = dataclasses.replace(eeg, name="evil \u202e")
    with pytest.raises(DataError, match="several streams") as error:
        _read(tmp_path, eeg, other, motion)
    assert "'Muse' of type 'EEG' (4 channels, 256 Hz)" in str(error.value)
    assert "'motion' of type 'ACC' (3 channels, 52 Hz)" in str(error.value)
    assert "\u202e" not in str(error.value)
    marks = Stream("keys", "Markers", ["go"], [1.0], 0.0, "string")
    with pytest.raises(DataError, match=r"no stream of signals\n.*'keys'.*irregular"):
        _read(tmp_path, marks)
    with pytest.raises(DataError, match=r"'Muse'.*holds no signal"):
        _read(tmp_path, _eeg(dataclasses.replace(given, timestamps=given.timestamps[:0])))


def test_a_file_that_was_cut_gives_what_is_whole_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = signal()
    content = write_xdf([_eeg(given)])
    path = tmp_path / "a.xdf"
    path.write_bytes(content[: len(content) // 2])
    got = read_recording(path)
    n = len(got.samples)
    assert len(given.samples) // 2 - 256 < n < len(given.samples) // 2 + 128
    assert got.samples.tobytes() == given.samples[:n].tobytes()
    err = capfd.readouterr().err
    assert err.startswith(f"warning: {path} is damaged or cut off")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"XDF:", "no stream"),
        (b"<html>", "is not an XDF file"),
        (b"XDF:" + bytes(range(256)) * 20, "not an XDF file|no stream"),
        (write_xdf([Stream("a", "EEG", np.zeros((2, 1)), [0.0, 1.0])])[:180], "not an XDF file|no stream"),
    ],
)
def test_what_is_no_xdf_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.xdf").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_recording(tmp_path / "a.xdf")


def test_without_pyxdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xdf").write_bytes(write_xdf([_eeg(signal())]))
    monkeypatch.setitem(sys.modules, "pyxdf", None)
    with pytest.raises(DependencyError, match=r"\.\[files\]"):
        read_recording(tmp_path / "a.xdf")


def test_an_empty_stream_is_passed_over(tmp_path: Path) -> None:
    given = signal()
    empty = _eeg(given, name="Muse-2", values=np.empty((0, len(NAMES))), times=[])
    got = _read(tmp_path, empty, _eeg(given))
    assert got.samples.tobytes() == given.samples.tobytes()
    with pytest.raises(DataError, match="no signal"):
        _read(tmp_path, empty)


def test_one_of_several_streams_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    given = signal()
    other = _eeg(given, name="a/b: c", values=2 * given.samples)
    with pytest.raises(DataError, match=r"several streams(.|\n)*choose one .*a\.xdf\?stream=Muse$"):
        _read(tmp_path, _eeg(given), other)
    for choice, factor in [("Muse", 1), ("1", 1), ("2", 2), ("a%2Fb%3A%20c", 2)]:
        path = tmp_path / f"a.xdf?stream={choice}"
        got = read_recording(path)
        assert got.path == path
        assert np.array_equal(got.samples, factor * given.samples)
        source = open_source(str(path), speed="max")
        assert np.array_equal(np.concatenate([c.samples for c in source.chunks()]), got.samples)
    with pytest.raises(
        DataError, match=r"no stream of signals named 'Mus'(.|\n)*1: 'Muse'(.|\n)*stream=Muse"
    ):
        read_recording(tmp_path / "a.xdf?stream=Mus")
    (tmp_path / "a.xdf").write_bytes(write_xdf([_eeg(given), _eeg(given)]))
    with pytest.raises(DataError, match=r"several streams named 'Muse'(.|\n)*stream=1"):
        read_recording(tmp_path / "a.xdf?stream=Muse")
    csv = write_csv(tmp_path / "a.csv", {})
    with pytest.raises(DataError, match="does not apply"):
        read_recording(csv.with_name("a.csv?stream=Muse"))


def test_a_chosen_stream_trains(tmp_path: Path) -> None:
    given = signal()
    marks = Stream("marks", "Markers", ["1"], [given.timestamps[600]], rate=0.0, form="string")
    (tmp_path / "a.xdf").write_bytes(write_xdf([_eeg(given), _eeg(given, name="b"), marks]))
    path = tmp_path / "a.xdf?stream=b"
    table = make_trials(
        [path], {"1": "calm"}, tmin=0, tmax=2, folder=tmp_path, who=lambda path: ("s1", "1", stem(path))
    )
    write_labels(tmp_path / "labels.csv", table.trials)
    (trial,) = read_labels(tmp_path)
    assert (trial.file, trial.run) == ("a.xdf?stream=b", "a")
    assert recordings_of(tmp_path) == [path]

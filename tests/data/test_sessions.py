"""Session folders as data sets, written here by hand: what is read is the format, not the writer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import COLUMNS, read_labels
from mimamba_edge.data.recording import Marker, Recording, read_recording
from mimamba_edge.data.windows import recordings_of, trial_windows
from mimamba_edge.errors import DataError
from tests.data.signals import CONTRACT, NAMES, same_windows, signal

INFO = {
    "format": "mimamba.session.1",
    "id": "one",
    "subject": "p01",
    "session": "2026-01-02",
    "run": "03",
    "ch_names": list(NAMES),
    "sfreq": 256.0,
    "unit": "uV",
    "rails_uv": [-1000.0, 999.5],
}


def _session(
    folder: Path, recording: Recording, *, events: str = "", labels: str = "", **changes: object
) -> Path:
    folder.mkdir(parents=True)
    (folder / "session.json").write_text(json.dumps(INFO | changes))
    header = ",".join(["timestamps", *NAMES])
    table = np.column_stack([recording.timestamps, recording.samples]).tolist()
    rows = "".join(",".join(map(repr, row)) + "\n" for row in table)
    (folder / "signal.csv").write_text(f"{header}\n{rows}")
    if events:
        (folder / "events.jsonl").write_text(events)
    if labels:
        (folder / "labels.csv").write_text(",".join(COLUMNS) + "\n" + labels)
    return folder


def _event(**fields: object) -> str:
    return json.dumps({"kind": "marker", "text": "go", "n": 0, "sample": 10, "t_s": 0.04} | fields) + "\n"


def _row(start: float, label: str, run: str = "03") -> str:
    return f"signal.csv,{start},{start + 2},{label},p01,2026-01-02,{run},{label}\n"


def test_the_same_signal_gives_the_same_windows_to_the_last_bit(tmp_path: Path) -> None:
    given = dataclasses.replace(signal(), samples=signal().samples.copy())
    given.samples[700:705, 1] = np.nan
    folder = _session(tmp_path / "one", given)
    for path in (folder, folder / "signal.csv"):
        got = read_recording(path)
        assert got.path == folder / "signal.csv"
        assert got.samples.tobytes() == given.samples.tobytes()
        assert got.timestamps.tobytes() == given.timestamps.tobytes()
        assert got.rails_uv == given.rails_uv
        same_windows(got, given)


def test_names_rate_and_rails_are_those_of_the_session(tmp_path: Path) -> None:
    names = ["a,b", "timestamps", "Marker0", "\x1b[31m"]
    folder = _session(tmp_path / "one", signal(), ch_names=names, sfreq=255.0, rails_uv=None)
    got = read_recording(folder)
    assert (got.ch_names, got.sfreq, got.rails_uv) == (tuple(names), 255.0, None)
    # Without session.json it is any CSV file.
    (folder / "session.json").unlink()
    assert read_recording(folder / "signal.csv").ch_names == NAMES


def test_markers_are_those_of_the_events(tmp_path: Path) -> None:
    events = _event() + _event(kind="lost", text="") + _event(text="\u202estop", sample=512, t_s=2.001)
    folder = _session(tmp_path / "one", signal(), events=events + _event(sample=10**9) + '{"kind": "mar')
    assert read_recording(folder).markers == (Marker("go", 10, 0.04), Marker("\u202estop", 512, 2.001))
    (folder / "events.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"events\.jsonl, line 1: not an event"):
        read_recording(folder)


@pytest.mark.parametrize("tail", [b"", b"\0" * 5000, b"1.5,2", b"1.5,2,3\0\0\0", b"\0\0\n1,2,3\n"])
def test_what_is_torn_off_was_not_written(tmp_path: Path, tail: bytes) -> None:
    given = signal()
    folder = _session(tmp_path / "one", given, labels=_row(1.0, "calm"))
    with (folder / "signal.csv").open("ab") as file:
        file.write(tail)
    with (folder / "labels.csv").open("ab") as file:
        file.write(tail)
    assert read_recording(folder).samples.tobytes() == given.samples.tobytes()
    assert len(read_labels(folder)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "mimamba.session.2"}, "has an unknown format\n.*session.2"),
        ({"ch_names": ["a"]}, "does not match its session.json"),
        ({"ch_names": []}, "does not describe the recording"),
        ({"ch_names": [1, 2, 3, 4]}, "does not describe the recording"),
        ({"sfreq": 0}, "does not describe the recording"),
        ({"sfreq": None}, "does not describe the recording"),
        ({"unit": "V"}, "does not describe the recording"),
        ({"rails_uv": [1]}, "does not describe the recording"),
    ],
)
def test_a_session_that_is_not_sound_says_why(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_recording(_session(tmp_path / "one", signal(), **changes))


def test_damage_is_named(tmp_path: Path) -> None:
    folder = _session(tmp_path / "one", signal())
    content = (folder / "signal.csv").read_text()
    for text, message in [
        ("", "is empty"),
        ("timesta", "no complete line"),
        ("timestamps,T\rP9\n", "got:      0 columns"),
        (content[:30].partition("\n")[0] + "\n", "holds no samples"),
        (content + "1,2,3\n", "cannot read|is damaged"),
        (content + "nan,1,2,3,4\n", "is damaged"),
        (content + "x,1,2,3,4\n", "cannot read"),
    ]:
        (folder / "signal.csv").write_bytes(text.encode())
        with pytest.raises(DataError, match=message):
            read_recording(folder)
    (folder / "session.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot read .*session\.json"):
        read_recording(folder)


def test_a_folder_of_sessions_is_a_data_set(tmp_path: Path) -> None:
    given = signal()
    _session(tmp_path / "a", given, labels=_row(7.0, "excited", "10"))
    _session(tmp_path / "b", given, labels=_row(2.5, "calm", "2") + _row(5.0, "excited", "2"))
    _session(tmp_path / "without", given)
    _session(tmp_path / "begun", given, labels="signal.csv,1.0")
    trials = read_labels(tmp_path)
    assert [(t.file, t.start_s, t.run) for t in trials] == [
        ("b/signal.csv", 2.5, "2"),
        ("b/signal.csv", 5.0, "2"),
        ("a/signal.csv", 7.0, "10"),
    ], "in the order of the runs, not of the folders' random names"
    assert recordings_of(tmp_path) == [tmp_path / "b" / "signal.csv", tmp_path / "a" / "signal.csv"]
    found = trial_windows(open_dataset(tmp_path), CONTRACT)
    assert found.data.shape == (6, 4, 128)
    assert found.class_names == ("calm", "excited")
    alone = trial_windows(open_dataset(tmp_path / "b"), CONTRACT)
    assert alone.data.tobytes() == found.data[:4].tobytes()


def test_a_set_of_tables_is_known_again(tmp_path: Path) -> None:
    given = signal()
    _session(tmp_path / "a", given, labels=_row(2.5, "calm"))
    one = open_dataset(tmp_path).labels_sha256()
    assert one == open_dataset(tmp_path).labels_sha256() != open_dataset(tmp_path / "a").labels_sha256()
    _session(tmp_path / "b", given, labels=_row(2.5, "calm"))
    two = open_dataset(tmp_path).labels_sha256()
    assert two != one
    (tmp_path / "b").rename(tmp_path / "c")
    assert open_dataset(tmp_path).labels_sha256() != two


def test_recordings_of_a_folder_without_a_table_are_all_there_are(tmp_path: Path) -> None:
    given = signal()
    _session(tmp_path / "one", given)
    for name in ("b.EDF", "a.bdf", "c_raw.fif", "c_raw-1.fif", "d-1.fif", "e.xdf", "f.csv", "x.txt"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("s_split-01_eeg.fif", "s_split-02_eeg.fif"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in recordings_of(tmp_path)] == [
        "a.bdf",
        "b.EDF",
        "c_raw.fif",
        "d-1.fif",
        "e.xdf",
        "f.csv",
        "one/signal.csv",
        "s_split-01_eeg.fif",
    ]
    assert recordings_of(tmp_path / "one") == [tmp_path / "one" / "signal.csv"]
    with pytest.raises(DataError, match=r"no recordings at .*\n.*it holds none"):
        recordings_of(tmp_path / "empty")


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.cnt").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ends in '\.cnt'.*\n.*EDF or BDF, FIF, XDF"):
        read_recording(tmp_path / "a.cnt")

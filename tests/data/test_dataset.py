"""What a data set gives, and that the folder with its label table is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import COLUMNS, read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.errors import DataError, MimambaError
from mimamba_edge.files import sha256_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "eeg"
    write_dataset(folder, subjects=2, sessions=2, runs=1, trials=2)
    (folder / "LICENSE").write_text("CC0-1.0\n")
    return folder


def test_subjects_sessions_and_runs_follow_from_the_trials(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert (dataset.spec, dataset.name, dataset.licence) == (str(folder), "eeg", "CC0-1.0\n")
    assert dataset.trials == tuple(read_labels(folder))
    assert dataset.subjects == ("s1", "s2")
    assert dataset.sessions("s2") == ("s2-1", "s2-2")
    assert dataset.runs("s2", "s2-1") == ("run-03",)
    assert dataset.files == tuple(f"run-0{n}.csv" for n in (1, 2, 3, 4))
    assert dataset.runs("s1", "s2-1") == ()


def test_recordings_are_read_when_they_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(f"folder:{folder}")
    asked = []
    monkeypatch.setattr(dataset, "read", lambda file: asked.append(file) or read_recording(folder / file))
    recordings = dataset.recordings()
    assert asked == []
    first = next(recordings)
    assert asked == ["run-01.csv"]
    assert first.samples.tobytes() == read_recording(folder / "run-01.csv").samples.tobytes()


def test_hashes_are_those_of_the_files(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.labels_sha256() == sha256_file(folder / "labels.csv")
    assert dataset.recording_sha256("run-02.csv") == sha256_file(folder / "run-02.csv")


def test_some_people_of_a_data_set_are_one_of_its_own(folder: Path) -> None:
    whole, one = open_dataset(f"folder:{folder}"), open_dataset(f"folder:{folder}?subjects=s2")
    assert (one.spec, one.name, one.licence) == (f"folder:{folder}?subjects=s2", "eeg", "CC0-1.0\n")
    assert one.trials == tuple(t for t in whole.trials if t.subject == "s2")
    assert one.files == ("run-03.csv", "run-04.csv")
    assert one.read("run-03.csv").samples.tobytes() == whole.read("run-03.csv").samples.tobytes()
    assert one.recording_sha256("run-03.csv") == whole.recording_sha256("run-03.csv")
    both = open_dataset(f"folder:{folder}?subjects=s2,%73%31")
    assert both.trials == whole.trials
    assert one.labels_sha256() != whole.labels_sha256(), "a model of one is not taken for a model of all"


@pytest.mark.parametrize(
    "wish", ["subjects=s3", "subjects=", "subjects=s1,s9", "subjects=s1&subjects=s2", "who=s1"]
)
def test_people_who_are_not_there_are_named(folder: Path, wish: str) -> None:
    with pytest.raises(MimambaError, match=r"no such subject|each key once|not a data set"):
        open_dataset(f"folder:{folder}?{wish}")


def test_a_licence_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "labels.csv").write_text(",".join(COLUMNS) + "\na.csv,1,2,calm,s1,d1,r1,x\n")
    (tmp_path / "LICENSE").mkdir()
    assert open_dataset(tmp_path).licence == ""


@pytest.mark.parametrize("spec", ["nowhere", "folder:nowhere", "toy:nowhere"])
def test_what_is_not_there_is_no_data_set(spec: str) -> None:
    with pytest.raises(DataError, match="is not a data set"):
        open_dataset(spec)

"""BIDS-EEG and NeuroSense: trees of their layout read back by value; what is wrong in their tables is named.

The layout of ``write_tree`` is that of OpenNeuro's ds002723: events.tsv with numbers as types, trials of 21 s
every 20 s, channels.tsv with kinds of its own, the reference in eeg.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.data.check import check_dataset
from mimamba_edge.data.dataset import Dataset, open_dataset
from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import ConfigError, DataError
from tests.data import sets
from tests.data.planted import accuracy_in_others
from tests.data.xdf import Stream, write_xdf

edfio = pytest.importorskip("edfio", reason="needs edfio: pip install 'mimamba-edge[dev]'")
NAMES = ("FP1", "FP2", "Oz", "GSR")
SFREQ = 256.0
VALENCE = "classes=1:low,4:low,3:high,6:high"


def signal(seed: int, codes: tuple[int, ...] = (3, 1, 6, 4)) -> np.ndarray:
    """Return 90 s ``(n, 4)`` with trials at 5, 25, 45 and 65 s: high valence holds 10 Hz, low 20 Hz."""
    samples = sets.noise((int(90 * SFREQ), 4), seed)
    for k, code in enumerate(codes):
        at = int((5 + 20 * k) * SFREQ)
        wave = sets.wave(int(20 * SFREQ), SFREQ, 10.0 if code in (3, 6) else 20.0)
        samples[at : at + len(wave)] += wave[:, None]
    return samples


def write_edf(path: Path, samples: np.ndarray, names: tuple[str, ...] = NAMES) -> None:
    limits = {
        "physical_range": (-1000.0, 1000.0),
        "digital_range": (-32768, 32767),
        "physical_dimension": "uV",
    }
    columns = zip(names, samples.T, strict=True)
    signals = [edfio.EdfSignal(np.ascontiguousarray(c), SFREQ, label=name, **limits) for name, c in columns]
    edfio.Edf(signals, data_record_duration=1.0).write(path)


EVENTS = "onset\tduration\ttrial_type\n5\t21\t3\n25\t21\t1\n45\t21\t6\n65\t21\t4\n80.5\tn/a\t99\n"


def write_tree(root: Path, people: int = 3) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    about = {"Name": "made up", "BIDSVersion": "1.0.2", "License": "CC0", "DatasetDOI": "10.18112/made.up"}
    (root / "dataset_description.json").write_text(json.dumps(about))
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t22\nsub-02\tn/a\nsub-03\t30\n")
    told = {
        "TaskName": "run1",
        "EEGReference": "placed on FCz",
        "PowerLineFrequency": 50,
        "SoftwareFilters": "n/a",
    }
    (root / "task-run1_eeg.json").write_text(json.dumps(told))
    kinds = "".join(f"{name}\t{'GSR' if name == 'GSR' else 'EEG'}\tmicroV\n" for name in NAMES)
    (root / "task-run1_channels.tsv").write_text(f"name\ttype\tunits\n{kinds}")
    for who in range(1, people + 1):
        folder = root / f"sub-{who:02}" / "eeg"
        folder.mkdir(parents=True)
        write_edf(folder / f"sub-{who:02}_task-run1_eeg.edf", signal(who))
        (folder / f"sub-{who:02}_task-run1_events.tsv").write_text(EVENTS)
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("bids") / "ds")


def odd(dataset: Dataset) -> list[str]:
    return [fault.what for fault in dataset.faults if fault.kind == "odd"]


def test_a_tree_is_read_by_value(tree: Path) -> None:
    bids = open_dataset(f"bids:{tree}?{VALENCE}")
    assert (bids.subjects, bids.sessions("sub-01"), bids.runs("sub-01", "1")) == (
        ("sub-01", "sub-02", "sub-03"),
        ("1",),
        ("run1",),
    )
    got = bids.read("sub-02/eeg/sub-02_task-run1_eeg.edf")
    np.testing.assert_allclose(got.samples, signal(2), atol=0.02)
    assert got.others == {"GSR": "of the type GSR in channels.tsv"}
    assert (bids.licence, bids.source) == ("CC0", "10.18112/made.up")
    assert (bids.processing.reference, bids.processing.mains_hz) == ("placed on FCz", 50.0)
    # Each trial ends where the next begins, the last one with its own duration.
    times = [(t.start_s, t.stop_s, t.label) for t in bids.trials[:4]]
    assert times == [(5, 25, "high"), (25, 45, "low"), (45, 65, "high"), (65, 86, "low")]
    assert odd(bids) == ["3 trials run into the next: they end where it begins"] * 3


def test_options_choose_the_trials(tree: Path) -> None:
    every = open_dataset(f"bids:{tree}")
    assert {t.label for t in every.trials} == {"1", "3", "4", "6"}
    assert "1 events without a length are no trials; tmax gives them one" in odd(every)
    fixed = open_dataset(f"bids:{tree}?classes=3,99&tmin=1&tmax=6")
    assert [(t.start_s, t.stop_s, t.label) for t in fixed.trials[:2]] == [(6, 11, "3"), (81.5, 86.5, "99")]
    for query, error in {
        "task=other": DataError,
        "label=emotion": DataError,
        "classes=,": ConfigError,
        "class=1": ConfigError,
    }.items():
        with pytest.raises(error):
            open_dataset(f"bids:{tree}?{query}")


SPOILT = {
    "a word for a time": ("onset\tduration\ttrial_type\nsoon\t2\tx\n", "not a time"),
    "a time beyond clocks": ("onset\tduration\ttrial_type\n1e12\t2\tx\n", "row 2: not a time"),
    "a cell too many": (
        "onset\tduration\ttrial_type\n1\t2\tx\ty\n",
        "line 2: the row(.|\n)*4 cells",
    ),
    "no onset": ("duration\ttrial_type\n1\tx\n", "lacks the columns: onset"),
    "a column twice": ("onset\tonset\n1\t2\n", "distinct columns"),
    "no text": (b"\xff\xfe\x00", "cannot read"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_table_of_events_is_refused(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, people=1)
    content, match = SPOILT[name]
    events = tmp_path / "sub-01" / "eeg" / "sub-01_task-run1_events.tsv"
    events.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=match):
        open_dataset(f"bids:{tmp_path}")


def test_people_and_events_that_are_missing_are_named(tmp_path: Path) -> None:
    write_tree(tmp_path, people=2)
    (tmp_path / "sub-02" / "eeg" / "sub-02_task-run1_events.tsv").unlink()
    (tmp_path / "sub-02").rename(tmp_path / "sub-07")
    for path in (tmp_path / "sub-07" / "eeg").iterdir():
        path.rename(path.with_name(path.name.replace("sub-02", "sub-07")))
    bids = open_dataset(f"bids:{tmp_path}?{VALENCE}")
    found = [(fault.kind, fault.where) for fault in bids.faults]
    assert ("missing", "sub-02") in found
    assert ("missing", "sub-03") in found
    assert ("odd", "sub-07") in found
    assert ("missing", "sub-07/eeg/sub-07_task-run1_eeg.edf") in found
    assert bids.subjects == ("sub-01",)
    for path in tmp_path.rglob("*_events.tsv"):
        path.unlink()
    with pytest.raises(DataError, match=r"no event of .* is a trial"):
        open_dataset(f"bids:{tmp_path}")
    (tmp_path / "dataset_description.json").unlink()
    with pytest.raises(DataError, match="is not a data set in BIDS"):
        open_dataset(f"bids:{tmp_path}")


def test_the_nearest_sidecar_with_most_in_common_counts(tmp_path: Path) -> None:
    write_tree(tmp_path, people=1)
    near = {"EEGReference": "linked ears", "SoftwareFilters": {"LowPassFilter": {"cutoff": "47 (Hz)"}}}
    (tmp_path / "sub-01" / "sub-01_eeg.json").write_text(json.dumps(near))
    (tmp_path / "sub-01" / "sub-02_task-run1_eeg.json").write_text("{}")
    processing = open_dataset(f"bids:{tmp_path}?{VALENCE}").processing
    assert (processing.reference, processing.known) == ("linked ears", False)
    assert "47 (Hz)" in processing.cleaning


@pytest.mark.parametrize(("end", "write"), [(".vhdr", sets.write_brainvision), (".set", sets.write_eeglab)])
def test_brainvision_and_eeglab_are_read_through_mne(tmp_path: Path, end: str, write: Any) -> None:
    pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")
    write_tree(tmp_path, people=1)
    folder = tmp_path / "sub-01" / "eeg"
    (folder / "sub-01_task-run1_eeg.edf").unlink()
    path = folder / f"sub-01_task-run1_eeg{end}"
    write(path, signal(5), NAMES, SFREQ)
    bids = open_dataset(f"bids:{tmp_path}?{VALENCE}")
    [file] = bids.files
    np.testing.assert_allclose(bids.read(file).samples, signal(5), atol=0.051)
    assert file.endswith(end)
    if end == ".vhdr":
        [marker] = read_recording(path).markers
        assert (marker.sample, marker.text) == (512, "Stimulus/S  3")
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"is not a continuous recording|no MAT file"):
        bids.read(file)


def test_a_damaged_eeglab_file_does_not_end_the_process(tmp_path: Path) -> None:
    """SciPy 1.17 crashes where an array of channels claims to be an object of another kind."""
    pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")
    path = tmp_path / "a.set"
    sets.write_eeglab(path, signal(1), NAMES, SFREQ)
    held = path.read_bytes()
    # The flags of the struct array chanlocs: four channels of two fields.
    flags = bytes([6, 0, 0, 0, 8, 0, 0, 0, 2])
    at = held.rindex(flags) + len(flags) - 1
    path.write_bytes(held[:at] + bytes([17]) + held[at + 1 :])
    with pytest.raises(DataError, match="an object, a function or a sparse array"):
        read_recording(path)


def write_neurosense(root: Path, people: int = 2, videos: int = 4) -> Path:
    """Write what the README tells of it; the signal as LabRecorder does, or EDF for the second person."""
    rows = ["subject,session,valence,arousal,dominance"]
    for who in range(1, people + 1):
        for video in range(1, videos + 1):
            folder = root / f"sub-ID{who:03}" / f"ses-S{video:03}" / "eeg"
            folder.mkdir(parents=True)
            stem = f"sub-ID{who:03}_ses-S{video:03}_task-Default_run-001_eeg"
            samples = neurosense_signal(who, video)
            if who == 1:
                times = np.arange(len(samples)) / 256
                stream = Stream("Muse", "EEG", samples, times, channels=[(n, "EEG", "uV") for n in MUSE])
                (folder / f"{stem}.xdf").write_bytes(write_xdf([stream]))
            else:
                write_edf(folder / f"{stem}.edf", samples, MUSE if video > 1 else ("1", "2", "3", "4"))
            (folder / f"{stem}.json").write_text(json.dumps({"TaskName": f"Song {video}"}))
            rows.append(f"ID{who:03},S{video:03},{8 if video % 2 else 2},5,{video}")
    (root / "ratings.csv").write_text("\n".join(rows) + "\n")
    return root


MUSE = ("AF7", "TP9", "TP10", "AF8")


def neurosense_signal(who: int, video: int) -> np.ndarray:
    n = int(14 * SFREQ)
    return sets.noise((n, 4), 10 * who + video) + sets.wave(n, SFREQ, 10.0 if video % 2 else 20.0)[:, None]


def test_neurosense_is_read_by_value(tmp_path: Path) -> None:
    pytest.importorskip("pyxdf", reason="needs pyxdf: pip install 'mimamba-edge[files]'")
    neurosense = open_dataset(f"neurosense:{write_neurosense(tmp_path)}")
    assert [(t.subject, t.session, t.run, t.stimulus, t.label) for t in neurosense.trials[:2]] == [
        ("ID001", "1", "S001", "Song 1", "high valence"),
        ("ID001", "1", "S002", "Song 2", "low valence"),
    ]
    assert neurosense.channels == ("TP9", "AF7", "AF8", "TP10")
    for who in (1, 2):
        for video in (1, 2):
            file = neurosense.trials[4 * (who - 1) + video - 1].file
            got = neurosense.read(file)
            # Also where the file numbers its channels: the order is that of the README.
            assert got.ch_names == MUSE
            np.testing.assert_allclose(got.samples, neurosense_signal(who, video), atol=0.02)
    assert abs(neurosense.trials[0].stop_s - 14) < 0.01
    assert not [fault for fault in check_dataset(neurosense).faults if fault.kind != "missing"]
    rows = (tmp_path / "ratings.csv").read_text().splitlines()
    (tmp_path / "ratings.csv").write_text("\n".join([*rows[:-1], "ID030,S040,5,5,5"]))
    wheres = [fault.where for fault in open_dataset(f"neurosense:{tmp_path}").faults]
    assert wheres[:2] == [neurosense.trials[-1].file, "sub-ID030/ses-S040"]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (None, "cannot read the ratings"),
        ("subject,session\nID001,S001\n", "lacks the columns: valence"),
        ("subject,session,valence\nID001,S001,high\n", "cannot be read"),
        ("subject,session,valence\nID001,S001,70\n", "outside of 1 to 9"),
    ],
)
def test_ratings_that_cannot_be_used_are_refused(tmp_path: Path, table: str | None, match: str) -> None:
    folder = tmp_path / "sub-ID001" / "ses-S001" / "eeg"
    folder.mkdir(parents=True)
    (folder / "sub-ID001_ses-S001_task-Default_run-001_eeg.edf").write_bytes(b"x")
    if table is not None:
        (tmp_path / "ratings.csv").write_text(table)
    with pytest.raises(DataError, match=match):
        open_dataset(f"neurosense:{tmp_path}")


@pytest.mark.torch
def test_a_planted_class_is_found_in_people_who_were_not_trained_on(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert accuracy_in_others(open_dataset(f"bids:{tree}?{VALENCE}"), ("FP1", "Oz")) > 0.9
    pytest.importorskip("pyxdf", reason="needs pyxdf: pip install 'mimamba-edge[files]'")
    neurosense = open_dataset(f"neurosense:{write_neurosense(tmp_path, videos=6)}")
    assert accuracy_in_others(neurosense) > 0.9

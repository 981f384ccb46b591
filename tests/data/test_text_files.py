"""Which program wrote a text file; what is not read, and the line that converts it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import io

from mimamba_edge.data.events import make_trials
from mimamba_edge.data.recording import Marker, read_recording
from mimamba_edge.errors import DataError
from tests.data import sets

EMOTIV = (
    "title:foo, start timestamp:1623658701.491566, headset type:INSIGHT, sampling rate:128, samples:2855 ,\n"
    "Timestamp,EEG.Counter,EEG.Interpolated,EEG.AF3,EEG.T7,EEG.Pz\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EMOTIV, r"Emotiv's programs(.|\n)*as EDF\+"),
        (EMOTIV.partition("\n")[2], r"Emotiv's programs(.|\n)*as EDF\+"),
        ("EEG 1,EEG 2,Accelerometer X,Counter,Validation Indicator\n1,2,3,4,1\n", "Unicorn(.|\n)*BDF"),
        ("timestamps,eeg_1,eeg_2,acc_1,ppg_1\n1,2,3,4,5\n", "Muse Direct(.|\n)*EEG alone"),
        ("1.000000\t20.1\t3.0\n2.000000\t20.2\t3.0\n", "BrainFlow's streamer(.|\n)*master_board=BOARD"),
        ("timestamps\tTP9\tAF7\n1\t2\t3\n", "a table with tabs(.|\n)*sep="),
        ("timestamps;TP9;AF7\n1,5;2;3\n", "semicolons(.|\n)*decimal=','"),
    ],
)
def test_files_of_others_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_recording(tmp_path / "a.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    (tmp_path / "a.csv").write_text(f"{mark}timestamps,TP9\n1,2\n", encoding=encoding)
    with pytest.raises(DataError, match=rf"UTF-8\n.*{encoding[:6].upper()}(.|\n)*iconv -f"):
        read_recording(tmp_path / "a.csv")


def test_a_line_that_does_not_end(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"timestamps,TP9\n")
        # Two gigabytes in a file without blocks.
        file.seek(2 << 30)
        file.write(b"1")
    with pytest.raises(DataError, match="bytes that are no text"):
        read_recording(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"timestamps,TP9\n" + b"1" * (3 << 20))
    with pytest.raises(DataError, match="a line that does not end"):
        read_recording(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "end",
    [
        ".gdf",
        ".cnt",
        ".mff",
        ".nxe",
        ".lay",
        ".eeg",
        ".vmrk",
        ".fdt",
        ".mat",
        ".npy",
        ".npz",
        ".parquet",
        ".feather",
        ".xlsx",
        ".tsv",
        ".json",
        ".h5",
        ".muse",
    ],
)
def test_other_formats_are_refused_with_a_way(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"a{end.upper()}"
    path.write_bytes(b"x")
    with pytest.raises(DataError, match="cannot read the recording") as caught:
        read_recording(path)
    assert caught.value.do
    # The error cuts what is longer.
    assert caught.value.do in str(caught.value)


def _python_of(path: Path, **names: str) -> str:
    """Return the program in the line that an error gives, for this file."""
    with pytest.raises(DataError) as caught:
        read_recording(path)
    found = re.search(r'python -c "(.*?)"(?: |;|$)', caught.value.do or "")
    assert found
    program = found[1].replace("FILE", str(path))
    for name, value in names.items():
        program = program.replace(name, value)
    return program


def test_the_line_for_mne_gives_the_signal(tmp_path: Path) -> None:
    pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")
    pytest.importorskip("edfio", reason="needs edfio: pip install 'mimamba-edge[files]'")
    samples = np.round(np.random.default_rng(0).normal(0, 40, (512, 2)), 1)
    (tmp_path / "a.gdf").write_bytes(b"GDF 2.20")
    program = _python_of(tmp_path / "a.gdf")
    sets.write_brainvision(tmp_path / "b.vhdr", samples, ("C3", "C4"), 256.0)
    with warnings.catch_warnings():
        # About a marker beyond the end.
        warnings.simplefilter("ignore")
        exec(program.replace("a.gdf", "b.vhdr"))
    got = read_recording(tmp_path / "b.vhdr.edf")
    assert got.ch_names == ("C3", "C4")
    assert got.samples[:512] == pytest.approx(samples, abs=0.01)


def test_the_lines_for_arrays_give_the_signal(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 40, (512, 2))
    np.save(tmp_path / "a.npy", samples)
    np.savez(tmp_path / "a.npz", ARRAY=samples)
    io.savemat(tmp_path / "a.mat", {"VARIABLE": samples})
    for name in ("a.npy", "a.npz", "a.mat"):
        exec(_python_of(tmp_path / name, RATE="256", **{"NAME,NAME": "C3,C4"}))
        got = read_recording(tmp_path / f"{name}.csv")
        assert (got.ch_names, got.sfreq) == (("C3", "C4"), 256.0)
        assert got.samples == pytest.approx(samples)


def _labelled(folder: Path, name: str, cells: list[str], more: str = "") -> Path:
    rows = [f"{50 + i / 256:.6f},{i % 7},{cell}" for i, cell in enumerate(cells)]
    (folder / "a.csv").write_text("\n".join([f"timestamps,Cz,{name}", *rows]) + "\n" + more)
    return folder / "a.csv"


@pytest.mark.parametrize("name", ["label", "Label", "class", "condition", "emotion"])
def test_a_label_in_each_row_gives_stretches(tmp_path: Path, name: str) -> None:
    cells = ["rest"] * 512 + [""] * 128 + ["calm"] * 1024 + ["rest"] * 512
    got = read_recording(path := _labelled(tmp_path, name, cells))
    assert got.ch_names == ("Cz",)
    assert got.samples[:, 0].tolist() == [i % 7 for i in range(len(cells))]
    assert got.markers == (
        Marker("rest", 0, 0.0, 2.0),
        Marker("calm", 640, 2.5, 4.0),
        Marker("rest", 1664, 6.5, pytest.approx(2.0)),
    )
    table = make_trials(
        [path],
        {"calm": "calm", "rest": "x"},
        tmin=0,
        tmax=None,
        folder=tmp_path,
        who=lambda _: ("s", "1", "1"),
    )
    assert [(t.label, t.start_s, t.stop_s) for t in table.trials] == [
        ("x", 0, 2),
        ("calm", 2.5, 6.5),
        ("x", 6.5, 8.5),
    ]


def test_labels_that_are_numbers(tmp_path: Path) -> None:
    got = read_recording(_labelled(tmp_path, "label", ["0"] * 300 + ["1.0"] * 300 + ["nan"] * 10))
    assert [(m.text, m.sample) for m in got.markers] == [("0", 0), ("1", 300)]


def test_rows_beside_a_label_are_checked(tmp_path: Path) -> None:
    path = _labelled(tmp_path, "label", ["a"] * 300, more="51.5,2\n")
    with pytest.raises(DataError, match="line 302: the row is incomplete"):
        read_recording(path)
    path = _labelled(tmp_path, "label", ["a"] * 300, more="51.5,x,a\n")
    with pytest.raises(DataError, match=r"line 302: a cell is not a number\n.*'x'"):
        read_recording(path)


def test_a_word_in_a_column_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: a cell is not a number\n.*'calm'"):
        read_recording(_labelled(tmp_path, "mood", ["calm"] * 300))

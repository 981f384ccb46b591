from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.cli import main
from mimamba_edge.data.intervals import with_intervals
from mimamba_edge.data.labels import read_labels
from mimamba_edge.errors import ConfigError, DataError
from tests.data.signals import write_csv

BIDS = "onset\tduration\ttrial_type\tvalue\n2.0\t3\tcalm\t1\n6\t2.5\thappy\t2\n8.7\tn/a\tn/a\t3\n"
SPANS = [("calm", 2.0, 3.0), ("happy", 6.0, 2.5)]


def _markers(folder: Path, text: str, name: str = "t.csv") -> list[tuple[str, float, float]]:
    path = write_csv(folder / "a.csv", {5: "9"})
    (folder / name).write_text(text)
    found = with_intervals(folder / name, [path])(path).markers
    for marker in found:
        assert marker.sample == round(marker.t_s * 256)
    return [(m.text, m.t_s, m.duration_s) for m in found]


@pytest.mark.parametrize(
    "text",
    [
        BIDS,
        "onset,duration,description\n2,3,calm\n6,2.5,happy\n",
        "Start;End;Label\n2;5;calm\n6;8.5;happy\n",
        "file,start_s,stop_s,label\na.csv,2,5,calm\na.csv,6,8.5,happy\n",
        "onset,duration,value,extra\n2,3,calm,x\n6,2.5,happy,\n",
        "\ufeffonset,duration,label\r\n2,3,calm\r\n6,2.5,happy\r\n",
    ],
)
def test_forms_of_a_table(tmp_path: Path, text: str) -> None:
    assert _markers(tmp_path, text) == SPANS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read|no one column"),
        ("onset,duration,label\n", "lists no intervals"),
        ("onset,label\n1,a\n", r"duration or end(.|\n)*duration"),
        ("onset,duration,end,label\n1,1,2,a\n", r"duration or end(.|\n)*duration, end"),
        ("onset,duration,label,emotion\n1,1,a,b\n", r"no one column for the label(.|\n)*label, emotion"),
        ("time,duration,label\n1,1,a\n", r"no one column for the start(.|\n)*columns time"),
        ("onset,duration,label\n1,1\n", "line 2: the row has another number(.|\n)*2 cells"),
        ("onset,duration,label\n2002-12-03 19:01,1,a\n", "line 2: not a time"),
        ("onset,duration,label\n1,nan,a\n", "line 2: not a time"),
        ("onset,duration,label\n\n1e12,3,a\n", "line 3: not a time"),
        ("onset,end,label\n5,4,a\n", "line 2: the interval ends before its start"),
        ("onset,duration,label\n1700000052,3,calm\n", "has Unix times"),
        ("onset,duration,label,file\n5,4,a,b.csv\n", "line 2: it is not one of the recordings"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _markers(tmp_path, text)


def test_unix_times_are_those_of_the_recording(tmp_path: Path) -> None:
    rows = [f"{1.7e9 + i / 256:.6f},{i % 7}" for i in range(2560)]
    (tmp_path / "a.csv").write_text("\n".join(["timestamps,Cz", *rows]) + "\n")
    (tmp_path / "t.csv").write_text("onset,duration,label\n1700000002,3,calm\n1700000006,2.5,happy\n")
    found = with_intervals(tmp_path / "t.csv", [tmp_path / "a.csv"])(tmp_path / "a.csv").markers
    assert [(m.text, m.t_s, m.duration_s, m.sample) for m in found] == [
        ("calm", 2.0, 3.0, 512),
        ("happy", 6.0, 2.5, 1536),
    ]


def test_several_recordings_need_a_column(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / name, {}) for name in ("a.csv", "b.csv")]
    table = tmp_path / "t.csv"
    table.write_text("onset,duration,label\n1,1,a\n")
    with pytest.raises(ConfigError, match="which recording a row is of"):
        with_intervals(table, paths)
    table.write_text("file,onset,duration,label\nb.csv,1,1,x\n./a.csv,2,1,y\n")
    read = with_intervals(table, paths)
    assert [[m.text for m in read(path).markers] for path in paths] == [["y"], ["x"]]


def test_from_the_command_line_to_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "a.csv", {})
    (tmp_path / "t.tsv").write_text(BIDS)
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "data",
                "events",
                "a.csv",
                "--intervals",
                "t.tsv",
                "--event",
                "calm=calm",
                "--event",
                "happy=joy",
            ]
        )
    assert [(t.label, t.start_s, t.stop_s) for t in read_labels(tmp_path)] == [
        ("calm", 2.0, 5.0),
        ("joy", 6.0, 8.5),
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["data", "events", "a.csv", "--intervals", "t.tsv", "--event", "calm=c", "-o", "t.tsv"])
    assert (tmp_path / "t.tsv").read_text() == BIDS

from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.data.labels import COLUMNS, class_names, read_labels
from mimamba_edge.errors import DataError

HEADER = ",".join(COLUMNS)
GOOD = "a.csv,1.5,3.5,calm,s1,d1,r1,x"


def _folder(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    (tmp_path / "a.csv").touch()
    (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return tmp_path


def test_a_table_is_read_in_any_column_order(tmp_path: Path) -> None:
    header = "label,file,start_s,stop_s,subject,session,run,stimulus,comment"
    [trial] = read_labels(_folder(tmp_path, "calm,a.csv,1.5,3.5,s1,d1,r1,x,fine", header=header))
    assert (trial.label, trial.start_s, trial.stop_s, trial.stimulus) == ("calm", 1.5, 3.5, "x")


@pytest.mark.data
def test_the_real_table(recordings: Path) -> None:
    trials = read_labels(recordings)
    assert len(trials) == 192
    assert class_names(trials) == ("flicker-20hz", "flicker-30hz")
    assert sum(t.label == "flicker-20hz" for t in trials) == 105


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([GOOD], HEADER.replace(",run", "").replace(",label", ""), "lacks the columns: label, run"),
        ([], HEADER, "lists no trials"),
        ([GOOD, GOOD.replace("calm", "happy")], HEADER, "trial twice"),
        ([GOOD, GOOD.replace("a.csv", "./a.csv").replace("3.5", "4.5")], HEADER, "overlap\n.*1.5 to 3.5"),
        ([GOOD.replace("a.csv", "b.csv")], HEADER, "not there: b.csv"),
        ([GOOD.replace("a.csv", "b" * 5000)], HEADER, "not there: bbb"),
        ([GOOD.replace("3.5", "1.5")], HEADER, "line 2: the trial ends at or before its start"),
        ([GOOD, GOOD.replace("1.5", "-1")], HEADER, "line 3: the trial ends at or before its start"),
        ([GOOD.replace("3.5", "soon")], HEADER, "line 2, stop_s: not a time\n.*soon"),
        ([GOOD.replace("3.5", "inf")], HEADER, "stop_s: not a time"),
        ([GOOD.replace("3.5", "1e12")], HEADER, "stop_s: not a time"),
        ([GOOD.replace("calm", "")], HEADER, "label is empty"),
        (["a.csv,1"], HEADER, "stop_s, label is empty"),
        ([GOOD + ",y"], HEADER, "line 2: more cells"),
        ([GOOD + ",happy"], HEADER + ",label", "columns twice: label"),
    ],
)
def test_every_fault_is_named(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(_folder(tmp_path, *rows, header=header))


def test_commas_that_a_spreadsheet_leaves_at_the_end_do_no_harm(tmp_path: Path) -> None:
    assert len(read_labels(_folder(tmp_path, GOOD + ",,,", header=HEADER + ",,"))) == 1


def test_no_table_no_folder_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_labels(tmp_path / "none")
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match=r"a file\n(.|\n)*npz:.*a\.npz"):
        read_labels(tmp_path / "a.npz")
    (tmp_path / "x.npy").touch()
    with pytest.raises(DataError, match=r"savez\('x\.npz', X=X, y=y(.|\n)*npz:.*x\.npz"):
        read_labels(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"no labels\.csv"):
        read_labels(tmp_path)
    with pytest.raises(DataError, match="only one class"):
        class_names(read_labels(_folder(tmp_path, GOOD)))

"""``train`` as typed: what it writes, what it refuses, what Ctrl-C leaves."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def eeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim") / "eeg"
    write_dataset(folder, runs=3, trials=4, seed=5)
    return folder


@pytest.fixture
def data(eeg: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(eeg, tmp_path / "eeg"))


def rewrite(folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    path = folder / "labels.csv"
    with path.open(newline="") as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def spoil_file(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**rows[0], "file": "gone.csv"}, *rows[1:]]


def spoil_twice(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [rows[0], *rows]


def spoil_column(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "stimulus"} for row in rows]


@pytest.mark.parametrize(
    ("change", "word"), [(spoil_file, "gone.csv"), (spoil_twice, "twice"), (spoil_column, "stimulus")]
)
def test_a_label_table_that_cannot_be_right(data: Path, tmp_path: Path, run, change, word: str) -> None:
    rewrite(data, change)
    out = run("train", data, "-o", tmp_path / "new" / "ckpt.pt")
    assert out.code == 2
    assert word in out.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--channels", "TP9,Cz"], "Cz"),
        (["--window", "30"], "shorter than one window"),
        (["--window", "0.1"], "--window or --sfreq"),
        (["--window", "inf"], "got inf"),
        (["--sfreq", "inf"], "got inf"),
        (["--protocol", "leaky"], "leave-one-run-out"),
        (["--protocol", "cross-subject"], "at least 3 groups"),
        (["--sfreq", "0"], "sfreq"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_options_that_cannot_work(eeg: Path, tmp_path: Path, run, options: list[str], word: str) -> None:
    out = run("train", eeg, *options, "-o", tmp_path / "ckpt.pt")
    assert out.code == 2
    assert word in out.err
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_found_before_the_work(eeg: Path, run, monkeypatch) -> None:
    from mimamba_edge.export.training import pipeline

    monkeypatch.setattr(pipeline, "prepare", lambda *a, **k: pytest.fail("the work was begun"))
    out = run("train", eeg, "-o", "/proc/nowhere/ckpt.pt")
    assert out.code == 2
    assert "cannot write" in out.err


def test_a_name_that_no_other_verb_takes_is_refused_before_the_work(eeg: Path, run, monkeypatch) -> None:
    from mimamba_edge.export.training import pipeline

    monkeypatch.setattr(pipeline, "prepare", lambda *a, **k: pytest.fail("the work was begun"))
    out = run("train", eeg, "-o", "ckpt.pth")
    assert out.code == 2
    assert "NAME.pt or NAME.safetensors" in out.err


@pytest.mark.parametrize("name", ["labels.csv", "run-01.csv", "ckpt.pt"])
def test_scores_are_not_written_over_recordings_or_the_checkpoint(
    data: Path, tmp_path: Path, run, monkeypatch, name: str
) -> None:
    from mimamba_edge.export.training import pipeline

    monkeypatch.setattr(pipeline, "prepare", lambda *a, **k: pytest.fail("the work was begun"))
    out = run("train", data, "-o", data / "ckpt.pt", "--report", data / name)
    assert out.code == 2
    assert "would be overwritten" in out.err


def test_a_new_checkpoint_may_stand_beside_the_recordings(data: Path, run, monkeypatch) -> None:
    from mimamba_edge.errors import DataError
    from mimamba_edge.export.training import pipeline

    def begun(*_: object, **__: object) -> None:
        raise DataError("the work was begun")

    monkeypatch.setattr(pipeline, "prepare", begun)
    monkeypatch.chdir(data)
    out = run("train", ".", "-o", "x.pt")
    assert "the work was begun" in out.err
    (data / "x.pt").write_bytes(b"mine")
    assert "would be overwritten" in run("train", ".", "-o", "x.pt").err


def test_a_channel_that_is_not_there_is_named_before_the_work(data: Path, run, monkeypatch) -> None:
    from mimamba_edge.export.training import pipeline

    monkeypatch.setattr(pipeline, "trial_windows", lambda *a, **k: pytest.fail("the work was begun"))
    out = run("train", data, "--channels", "TP9,AF9")
    assert out.code == 2
    assert "has no channel AF9, named by --channels" in out.err
    assert "did you mean" in out.err
    assert "model" not in out.err
    lines = (data / "run-03.csv").read_text().splitlines()
    (data / "run-03.csv").write_text("\n".join([lines[0].replace("AF8", "Fpz"), *lines[1:]]))
    out = run("train", data)
    assert out.code == 2
    assert "the recordings have different channels" in out.err
    assert "run-03.csv lacks AF8" in out.err
    assert "--channels TP9,AF7,TP10" in out.err


def test_columns_that_are_no_eeg_are_left_out_and_told(data: Path, run, monkeypatch) -> None:
    from mimamba_edge.errors import DataError
    from mimamba_edge.export.training import pipeline

    seen = []

    def begun(_: Path, contract: Any) -> None:
        seen.append(contract.ch_names)
        raise DataError("the work was begun")

    monkeypatch.setattr(pipeline, "trial_windows", begun)
    for path in data.glob("run-*.csv"):
        head, *lines = path.read_text().splitlines()
        rows = [f"{line},{i % 129},{i % 2},4,99" for i, line in enumerate(lines)]
        path.write_text("\n".join([f"{head},COUNTER,GYROX,CQ_AF7,stim", *rows]))
    out = run("train", data)
    assert "COUNTER (a number of the sample or packet); GYROX (motion); CQ_AF7 (contact quality)" in out.out
    run("train", data, "--channels", "AF7,GYROX")
    assert seen == [("TP9", "AF7", "AF8", "TP10"), ("AF7", "GYROX")]


def test_one_run_is_not_advised_what_fails_too(data: Path, run) -> None:
    rows = (data / "labels.csv").read_text().splitlines()
    (data / "labels.csv").write_text("\n".join([rows[0], *(r for r in rows if r.startswith("run-01.csv"))]))
    out = run("train", data)
    assert out.code == 2
    assert "leave-one-run-out needs at least 3 groups" in out.err
    # Its few trials do not fill five blocks with both classes: nothing is advised that would fail as well.
    assert "do this:  record more\n" in out.err


def blank(path: Path, seconds: list[tuple[float, float]]) -> None:
    """Turn the channels of some stretches into NaN."""
    lines = path.read_text().splitlines()
    start = float(lines[1].split(",")[0])
    for i, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        if any(a <= float(cells[0]) - start <= b for a, b in seconds):
            lines[i] = ",".join([cells[0], *("nan" for _ in cells[1:-1]), cells[-1]])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_train_writes_scores_fold_models_and_one_checkpoint(
    data: Path, tmp_path: Path, run, monkeypatch
) -> None:
    from mimamba_edge.export.training import temperature

    monkeypatch.setattr(temperature, "LEAST_TRIALS", 1)
    with (data / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    hurt = [r for r in rows if r["file"] == "run-01.csv"][-1]
    blank(data / "run-01.csv", [(float(hurt["start_s"]) + 0.2, float(hurt["start_s"]) + 0.6)])
    new = tmp_path / "new"
    (new / "ckpt-folds").mkdir(parents=True)
    (new / "ckpt-folds" / "seed9-earlier.pt").touch()
    out = run(
        *("train", data, "--epochs", 1, "--seeds", 2, "--channels", "AF8,TP9"),
        *("-o", new / "ckpt.pt", "--report", new / "train.json"),
    )
    assert out.code == 0, out.err
    record = json.loads((new / "train.json").read_text())
    score = record["balanced_accuracy"]
    assert len(score["folds"]) == 6
    assert score["interval"][0] <= score["mean"] <= score["interval"][1]
    assert f"mean {score['mean']:.3f}" in out.out
    assert record["left_out"] == {"gap": 1}
    assert record["n_trials"] == len(rows) - 1
    assert "1 trials left out: 1 gap" in out.out
    held = load_checkpoint(new / "ckpt.pt")
    assert held.contract.ch_names == ("AF8", "TP9")
    assert held.contract.training["balanced_accuracy"]["mean"] == score["mean"]
    warmth = record["temperature"]
    assert f"temperature {warmth['value']:.2f}" in out.out
    assert warmth["n_trials"] == record["n_trials"]
    assert warmth["value"] != 1
    assert held.contract.temperature == warmth["value"]
    assert held.contract.training["temperature"]["after"] == warmth["after"]
    tested = [load_checkpoint(p).contract.temperature for p in sorted((new / "ckpt-folds").glob("seed0-*"))]
    assert tested == warmth["folds"]
    folds = [load_checkpoint(p).contract.scaling for p in (new / "ckpt-folds").glob("seed0-*.pt")]
    assert len({s.scale for s in folds}) == 3, "each fold scales by its own training part"
    kept = sorted(p.stem for p in (new / "ckpt-folds").iterdir())
    assert kept == sorted(fold["checkpoint"] for fold in score["folds"])
    names = sorted(p.name for p in new.iterdir())
    assert names == ["ckpt-folds", "ckpt.pt", "train.json"]
    # One epoch leaves nothing to pick.
    assert record["picked_on_test"]["difference"] == 0
    assert record["picked_on_test"]["mean"] == pytest.approx(score["mean"])
    told = [load_checkpoint(p).contract.training for p in sorted((new / "ckpt-folds").glob("seed1-*"))]
    assert [t["fold"] for t in told] == [f["fold"] for f in score["folds"] if f["seed"] == 1]
    assert len({t["fold_sha256"] for t in told}) == 3
    assert "warning" not in held.contract.training


def test_the_leaky_split_warns_and_marks_all_that_it_trains(eeg: Path, tmp_path: Path, run) -> None:
    out = run(
        *("train", eeg, "--protocol", "leaky-window", "--epochs", 1, "--channels", "AF8"),
        *("-o", tmp_path / "c.pt", "--report", tmp_path / "t.json"),
    )
    assert out.code == 0, out.err
    assert "warning: leaky-window" in out.err
    assert "measure memory" in json.loads((tmp_path / "t.json").read_text())["warning"]
    made = [tmp_path / "c.pt", *(tmp_path / "c-folds").iterdir()]
    assert len(made) == 6
    for path in made:
        assert "must not be quoted" in load_checkpoint(path).contract.training["warning"]


def test_a_class_without_trials_is_an_error(data: Path, tmp_path: Path, run) -> None:
    with (data / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lost = rows[0]["label"]
    for name in {r["file"] for r in rows}:
        of_class = [r for r in rows if r["file"] == name and r["label"] == lost]
        blank(data / name, [(float(r["start_s"]), float(r["stop_s"])) for r in of_class])
    out = run("train", data, "-o", tmp_path / "ckpt.pt")
    assert out.code == 2
    assert lost in out.err
    assert not (tmp_path / "ckpt.pt").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_good_checkpoint(eeg: Path, tmp_path: Path) -> None:
    # The mark of a checkpoint, without which `train` would not replace the file.
    good = b'{"mimamba.contract": "the last good one"}'
    (tmp_path / "ckpt.pt").write_bytes(good)
    process = subprocess.Popen(
        [sys.executable, "-m", "mimamba_edge", "train", str(eeg), "-o", "ckpt.pt", "--report", "t.json"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # The resource tracker and at least one worker.
    while process.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.1)
    time.sleep(2)
    workers = [int(pid) for pid in children.read_text().split()]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt.pt"]
    assert (tmp_path / "ckpt.pt").read_bytes() == good
    time.sleep(1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists() and _alive(pid)]


def _alive(pid: int) -> bool:
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()

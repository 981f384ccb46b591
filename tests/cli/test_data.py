"""``mimamba-edge data``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.data.window_cache import entries, let_go
from mimamba_edge.data.windows import recordings_of, trial_windows
from tests.data.sets import write_deap, write_seed
from tests.data.signals import write_csv
from tests.data.test_window_store import CONTRACT


def _session(folder: Path, marker: str) -> Path:
    """Write 10 s of a session with a marker at 2 s."""
    folder.mkdir(parents=True)
    who = {"subject": "p7", "session": "d", "run": "04"}
    info = {"format": "mimamba.session.1", "ch_names": ["A"], "sfreq": 256.0, "unit": "uV"}
    (folder / "session.json").write_text(json.dumps(info | who))
    rows = "".join(f"{50 + i / 256},{i % 7}\n" for i in range(2560))
    (folder / "signal.csv").write_text(f"timestamps,A\n{rows}")
    event = {"kind": "marker", "text": marker, "sample": 512, "t_s": 2.0}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    return folder


@pytest.mark.data
def test_the_table_of_the_real_recordings_comes_out_again(recordings: Path, tmp_path: Path, run) -> None:
    files = sorted(recordings.glob("run-*.csv"))
    output = tmp_path / "labels.csv"
    options = ("--tmin", "0.5", "--tmax", "2.5", "--session", "2017-09-14", "-o", output)
    got = run("data", "events", *files, "--event", "1=flicker-30hz", "--event", "2=flicker-20hz", *options)
    assert got.code == 0
    assert "192 trials of 6 recordings: flicker-20hz 105, flicker-30hz 87" in got.out
    assert "5 left out: not within the recording" in got.out
    made, table = read_labels(tmp_path), read_labels(recordings)
    assert [(t.label, t.subject, t.session, t.run) for t in made] == [
        (t.label, t.subject, t.session, t.run) for t in table
    ]
    assert [(tmp_path / t.file).resolve() for t in made] == [(recordings / t.file).resolve() for t in table]
    for side in ("start_s", "stop_s"):
        apart = np.array([getattr(t, side) for t in made]) - [getattr(t, side) for t in table]
        assert np.abs(apart).max() < 1e-5


def test_the_simulated_table_comes_out_again(tmp_path: Path, run) -> None:
    table = write_dataset(tmp_path / "x", runs=2, trials=4, trial_s=2.0)
    files = recordings_of(tmp_path / "x")
    (tmp_path / "x" / "labels.csv").unlink()
    got = run("data", "events", *files, "--event", "1=calm", "--event", "2=excited", "--tmax", 2, "-o",
              tmp_path / "x" / "labels.csv")  # fmt: skip
    assert got.code == 0, got.err
    made = read_labels(tmp_path / "x")
    assert [(t.file, t.label, t.run) for t in made] == [(t.file, t.label, t.run) for t in table]
    assert np.abs([a.start_s - b.start_s for a, b in zip(made, table, strict=True)]).max() < 0.03


def test_events_are_listed_and_hostile_ones_do_no_harm(tmp_path: Path, run) -> None:
    one = write_csv(tmp_path / "a.csv", {100: "1", 600: "2", 1200: "2"})
    folder = _session(tmp_path / "one", "\x1b[31m[bold]=2")
    got = run("data", "events", one, folder)
    assert got.code == 0
    assert "\x1b" not in got.out
    rows = [line.split() for line in got.out.splitlines() if line.rstrip().endswith("of 2")]
    assert ["2", "2", "1", "of", "2"] in rows
    assert ["\ufffd[31m[bold]=2", "1", "1", "of", "2"] in rows
    assert run("data", "events", write_csv(tmp_path / "b.csv", {})).out == "no events in 1 recordings\n"


def test_a_session_says_who_it_was(tmp_path: Path, run) -> None:
    folder = _session(tmp_path / "sessions" / "one", "go=x")
    output = tmp_path / "sessions" / "labels.csv"
    got = run("data", "events", folder, "--event", "go=x=calm", "--tmax", 2, "--run", "09")
    assert got.code == 0, got.err
    with output.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["label"], row["stimulus"]) == ("one/signal.csv", "calm", "")
    assert (row["subject"], row["session"], row["run"]) == ("p7", "d", "09")
    assert [t.start_s for t in read_labels(tmp_path / "sessions")] == [2.0]


def _table(folder: Path, run, *files: Path) -> list[dict[str, str]]:
    output = folder / "labels.csv"
    got = run("data", "events", *files, "--event", "1=calm", "--tmax", 2, "-o", output)
    assert got.code == 0, got.err
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_named_by_the_whole_name_of_its_file(tmp_path: Path, run) -> None:
    names = ["EEG_recording_2018-08-03-14.01.13", "EEG_recording_2018-08-03-14.05.59", "a.b.edf"]
    files = [write_csv(tmp_path / f"{name}.csv", {512: "1"}) for name in names]
    rows = _table(tmp_path, run, *files)
    assert [row["run"] for row in rows] == names
    assert [row["file"] for row in rows] == [path.name for path in files]


def test_files_of_one_name_in_two_folders_are_two_runs(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p1", "p2"):
        (tmp_path / name).mkdir()
    files = [write_csv(tmp_path / name / "run.csv", {512: "1"}) for name in ("p1", "p2")]
    rows = _table(tmp_path, run, *files)
    assert [row["run"] for row in rows] == ["p1/run", "p2/run"]
    # Of several folders none is theirs: the table stands where one is.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    got = run("data", "events", *files, "--event", "1=calm", "--tmax", 2)
    assert got.code == 0
    assert {row.file for row in read_labels(Path())} == {"../p1/run.csv", "../p2/run.csv"}


def test_the_table_of_an_earlier_run_is_no_recording(tmp_path: Path, run) -> None:
    write_csv(tmp_path / "run.csv", {512: "1"})
    make = ("--event", "1=calm", "--tmax", 2)
    assert run("data", "events", tmp_path / "run.csv", *make).code == 0
    files = sorted(tmp_path.glob("*.csv"))  # as a shell fills in *.csv
    assert [path.name for path in files] == ["labels.csv", "run.csv"]
    assert run("data", "events", *files).code == 0
    again = run("data", "events", *files, *make)
    assert again.code == 2
    assert "may have been written by hand" in again.err


def test_a_linked_recording_goes_by_its_own_name(tmp_path: Path, run) -> None:
    """As DataLad and git-annex keep files: bytes behind a link, whose place is nobody's business."""
    kept = tmp_path / "set" / ".git" / "annex" / "objects" / "W7"
    kept.mkdir(parents=True)
    write_csv(kept / "MD5E-s1--2f.csv", {512: "1"})
    (tmp_path / "set" / "run-1.csv").symlink_to(kept / "MD5E-s1--2f.csv")
    (tmp_path / "by").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "up").symlink_to(tmp_path / "elsewhere" / "deep")
    (row,) = _table(tmp_path / "set", run, tmp_path / "set" / "run-1.csv")
    assert (row["file"], row["run"]) == ("run-1.csv", "run-1")
    # Through linked folders the table still finds its recordings.
    for folder, seen in [
        (tmp_path / "elsewhere", "../set/run-1.csv"),
        (tmp_path / "up", "../../set/run-1.csv"),
    ]:
        (row,) = _table(folder, run, tmp_path / "by" / "run-1.csv")
        assert row["file"] == seen
        assert read_labels(folder)


def test_what_the_user_gets_wrong(tmp_path: Path, run) -> None:
    path, there = write_csv(tmp_path / "a.csv", {100: "1"}), tmp_path / "labels.csv"
    start = ("data", "events", path, "-o", there)
    for arguments, message in [
        (("--event", "1=a"), "of no length: name one with --tmin and --tmax"),
        (("--event", "1=a", "--tmin", "1", "--tmax", "1"), "needs the length of a trial"),
        (("--event", "1"), "--event is not valid"),
        (("--event", "1=a", "--event", "1=b", "--tmax", "1"), "names '1' twice"),
        (("--event", "1=a", "--tmax", "1", "--subject", "Jane Doe"), "not a valid name"),
        (("--event", "7=a", "--tmax", "1"), "no recording has the event 7"),
    ]:
        got = run(*start, *arguments)
        assert got.code == 2
        assert message in got.err
        assert not there.exists()
    there.write_text("mine")
    got = run(*start, "--event", "1=a", "--tmax", "1")
    assert (got.code, there.read_text()) == (2, "mine")
    assert "exists and would be overwritten" in got.err
    assert run("data", "events", tmp_path / "none.csv").code == 2


def test_check_of_a_sound_set_ends_well_and_of_a_damaged_one_with_1(tmp_path: Path, run) -> None:
    write_dataset(tmp_path / "sound", subjects=2, sessions=1, runs=1, trials=2)
    good = run("data", "check", tmp_path / "sound")
    assert (good.code, good.err) == (0, "")
    assert "nothing is missing, doubled or odd" in good.out
    (tmp_path / "sound" / "run-02.csv").write_bytes((tmp_path / "sound" / "run-01.csv").read_bytes())
    copied = run("data", "check", tmp_path / "sound")
    assert copied.code == 1
    assert "doubled" in copied.out
    assert "the same signal as run-01.csv" in copied.out
    assert copied.err.strip().endswith(": 1 doubled")
    write_deap(tmp_path / "deap", subjects=2, trials=2)
    (tmp_path / "deap" / "s02.dat").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    found = run("data", "check", f"deap:{tmp_path / 'deap'}")
    assert found.code == 1
    assert "s02.dat" in found.out
    assert "something else than NumPy arrays" in found.out
    assert found.err.strip().endswith(": 1 damaged, 30 missing, 1 odd")
    assert run("train", f"deap:{tmp_path / 'deap'}", "-o", tmp_path / "m.pt").code == 2


@pytest.mark.parametrize("spec", ["nowhere", "deap:nowhere", "seed:nowhere", "dreamer:nowhere", "deap:"])
def test_check_of_what_cannot_be_opened_ends_with_2(tmp_path: Path, run, spec: str) -> None:
    assert run("data", "check", spec).code == 2


def test_what_is_kept_of_data_sets_is_seen_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run
) -> None:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path))
    assert "0 kept" in run("data", "cache").out
    data = write_seed(tmp_path / "seed", subjects=1, sessions=1, seconds=6)
    trial_windows(open_dataset(f"seed:{data}"), CONTRACT)
    [entry] = entries(tmp_path / "windows")
    assert f"{entry.size_bytes / 1e6:.1f}" in run("data", "cache").out
    found = json.loads(run("doctor", "--json").out)
    [told] = [one for one in found["checks"] if one["name"] == "windows kept"]
    assert told["value"].startswith("1 data sets, 0.0 GB in ")
    assert told["remedy"].endswith("mimamba-edge data cache --clear")
    # This process has them mapped.
    assert "1 kept" in run("data", "cache", "--clear").out
    let_go(entry.folder)
    got = run("data", "cache", "--clear")
    assert got.code == 0
    assert "1 removed" in got.out
    assert not entry.folder.exists()

"""``session export --bids``: read back by us, by MNE and by MNE-BIDS, and judged by the validator of BIDS."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.cli import main
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.cutting import cut_recording
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.errors import DataError, OutputError
from mimamba_edge.sessions.bids import export_bids
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.signal.filters import default_filters
from tests.sessions.sources import some_info

edfio = pytest.importorskip("edfio", reason="needs edfio: pip install 'mimamba-edge[dev]'")

LOST = slice(3000, 3072)
NAN = slice(1000, 1100)
CLIPS = (("calm", "clip a"), ("excited", "clip b"), ("calm", "clip c"))


@pytest.fixture(scope="module")
def simulated() -> Recording:
    return simulate_recording(["calm", "excited"], seed=3)[0]


def record(root: Path, recording: Recording, *, offset_uv: float = 0.0, **info: object) -> Path:
    """Record it with jitter, a slow device clock, a hole in a channel, lost samples, a marker and trials."""
    rng = np.random.default_rng(0)
    about = {"ch_names": recording.ch_names, "sfreq": recording.sfreq, "run": "01", "subject": "p01", **info}
    writer = SessionWriter(root, some_info(**about))
    kept = np.r_[0 : LOST.start, LOST.stop : len(recording.samples)]
    samples, n = recording.samples[kept] + offset_uv, len(kept)
    samples[NAN, 1] = np.nan
    times = 1.7e9 + 1.0002 * kept / recording.sfreq + rng.uniform(0, 0.01, n)
    marks = {1200 * (k + 1): clip for k, clip in enumerate(CLIPS) if 1200 * (k + 1) + 1000 < n}
    for at in range(0, n, 12):
        writer.write(samples[at : at + 12], times[at : at + 12])
        if at in marks:
            mark = writer.mark(at)
        if at - 1008 in marks:
            writer.trial(*marks[at - 1008], mark, at)
        if at == 1800:
            writer.event("marker", "beep", sample=1790)
    writer.close()
    return writer.folder


def contract() -> Contract:
    return Contract(
        ch_names=("TP9", "AF7", "AF8", "TP10"),
        sfreq=128.0,
        n_times=128,
        hop=16,
        class_names=("calm", "excited"),
        filters=default_filters(128.0, 50.0),
        mains_hz=50.0,
        scaling=Scaling("none"),
    )


@pytest.mark.parametrize(("rails_uv", "offset_uv"), [((-1000.0, 999.5), 0.0), (None, 120_000.0)])
def test_a_session_reads_back_through_bids(
    simulated: Recording, tmp_path: Path, rails_uv: tuple[float, float] | None, offset_uv: float
) -> None:
    folder = record(tmp_path / "s", simulated, offset_uv=offset_uv, rails_uv=rails_uv)
    made = export_bids(folder, tmp_path / "bids")
    dataset = open_dataset(f"bids:{tmp_path / 'bids'}")
    assert not dataset.faults
    assert dataset.files == (made.file,)
    given, got = read_recording(folder), dataset.read(made.file)
    assert (got.ch_names, got.sfreq) == (given.ch_names, given.sfreq)
    # 24 bits: below what the converter of any headset resolves.
    assert made.step_uv < (0.0002 if rails_uv else 0.03)
    if rails_uv:
        assert got.rails_uv == (-1000.0, 1000.0)
    lost = len(got.samples) - len(given.samples)
    assert abs(lost - (LOST.stop - LOST.start)) <= 1  # as the fitted clock finds them
    gone = np.isnan(got.samples).any(axis=1)
    hole = np.zeros(len(gone), bool)
    hole[NAN] = True
    (at,) = np.flatnonzero(np.diff((gone & ~hole).astype(int)) == 1) + 1
    assert gone[at : at + lost].all()
    assert gone.sum() == lost + 100
    assert made.missing_s == pytest.approx((lost + 100) / 256, abs=1e-3)
    rows = np.r_[0:at, at + lost : len(got.samples)]
    there = ~np.isnan(given.samples).any(axis=1)
    off = np.abs(got.samples[rows] - given.samples)[there]
    assert off.max() <= 0.501 * made.step_uv
    assert [(m.text, m.sample) for m in got.markers] == [("beep", 1790)]
    # The same trials, and the same windows of them.
    before, after = read_labels(folder), dataset.trials
    assert [(t.label, t.stimulus) for t in after] == [(t.label, t.stimulus) for t in before]
    assert {(t.subject, t.session, t.run) for t in after} == {("sub-p01", "one", "recording-01")}
    ours, theirs = (
        cut_recording(recording, contract(), trials, 16).trials
        for recording, trials in ((given, before), (got, after))
    )
    assert len(ours) == len(theirs) > 1
    for one, two in zip(ours, theirs, strict=True):
        assert one.without == two.without
        assert one.uv.shape == two.uv.shape
        np.testing.assert_allclose(two.uv, one.uv, atol=0.05)


def test_mne_reads_the_same(simulated: Recording, tmp_path: Path) -> None:
    mne = pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[dev]'")
    made = export_bids(record(tmp_path / "s", simulated), tmp_path / "bids")
    raw = mne.io.read_raw_bdf(tmp_path / "bids" / made.file, verbose="ERROR")
    got = read_recording(tmp_path / "bids" / made.file)
    there = ~np.isnan(got.samples).any(axis=1)
    values = 1e6 * raw.get_data().T[: len(got.samples)]
    np.testing.assert_allclose(values[there], got.samples[there], atol=1e-6)
    assert np.isfinite(values).all()
    spans = [a["duration"] for a in raw.annotations if a["description"] == "BAD_ACQ_SKIP"]
    assert sum(spans) == pytest.approx(((~there).sum() + len(raw.times) - len(got.samples)) / 256, abs=1e-6)
    assert raw.info["subject_info"]["his_id"] == "X"
    # EDF's word for no date.
    assert raw.info["meas_date"].year == 1985


def test_mne_bids_reads_events_and_channels(simulated: Recording, tmp_path: Path) -> None:
    mne_bids = pytest.importorskip("mne_bids", reason="needs MNE-BIDS: pip install mne-bids")
    export_bids(record(tmp_path / "s", simulated), tmp_path / "bids")
    path = mne_bids.BIDSPath(
        subject="p01", session="one", task="recording", run="01", datatype="eeg", root=tmp_path / "bids"
    )
    with pytest.warns(RuntimeWarning, match="pseudonym"):
        raw = mne_bids.read_raw_bids(path, verbose="WARNING")
    assert set(raw.annotations.description) == {"calm", "excited", "BAD_ACQ_SKIP"}
    assert raw.get_channel_types() == ["eeg"] * 4


def test_the_validator_of_bids_finds_no_error(simulated: Recording, tmp_path: Path) -> None:
    tool = shutil.which("bids-validator-deno")
    if tool is None:
        pytest.skip("needs BIDS' validator on PATH: pip install bids-validator-deno")
    for run in ("01", "b"):
        export_bids(record(tmp_path / "s", simulated, run=run, source="brainflow:muse_2"), tmp_path / "bids")
    done = subprocess.run(
        [tool, "--json", str(tmp_path / "bids")], capture_output=True, text=True, timeout=120
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert issues
    assert not [issue for issue in issues if issue["severity"] == "error"]


def test_several_sessions_become_one_data_set(simulated: Recording, tmp_path: Path) -> None:
    folders = [
        record(tmp_path / "s", simulated, run=run, subject=who) for who, run in (("p1", "01"), ("p-2", "02"))
    ]
    args = ["session", "export", *map(str, folders), "--bids", str(tmp_path / "bids")]
    for _ in range(2):  # the second time they are written again
        with pytest.raises(SystemExit, match="0"):
            main(args)
    dataset = open_dataset(f"bids:{tmp_path / 'bids'}")
    assert not dataset.faults
    assert dataset.subjects == ("sub-p1", "sub-p2")
    table = (tmp_path / "bids" / "participants.tsv").read_text()
    assert table == "participant_id\tpseudonym\nsub-p1\tp1\nsub-p2\tp-2\n"
    files = [path for path in (tmp_path / "bids").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not [path for path in files if path.name.startswith(".")]


def test_names_that_bids_and_edf_cannot_hold(simulated: Recording, tmp_path: Path) -> None:
    names = ("TP9\t\x1b[2J", "a very long name of a channel", "a very long name of another", "Ünicode")
    folder = record(tmp_path / "s", simulated, ch_names=names, session="2026-11-22", run="b_2")
    made = export_bids(folder, tmp_path / "bids")
    assert made.file.endswith("sub-p01_ses-20261122_task-recording_acq-b2_eeg.bdf")
    got = read_recording(tmp_path / "bids" / made.file)
    assert got.ch_names == ("TP9__[2J", "a very long name", "a very long n_2", "_nicode")
    rows = (tmp_path / "bids" / made.file.replace("_eeg.bdf", "_channels.tsv")).read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == list(got.ch_names)
    assert rows[1].endswith("recorded as a very long name of a channel")


def test_what_is_refused(simulated: Recording, tmp_path: Path) -> None:
    folder, root = record(tmp_path / "s", simulated), tmp_path / "bids"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        export_bids(folder, tmp_path / "full")
    with pytest.raises(DataError, match="not a session folder"):
        export_bids(tmp_path / "full", root)
    export_bids(folder, root)
    with pytest.raises(OutputError, match="stands for another session"):
        export_bids(record(tmp_path / "s", simulated), root)
    with pytest.raises(OutputError, match="holds another person as sub-p01"):
        export_bids(record(tmp_path / "s", simulated, subject="p-01", run="03"), root)
    (root / "sub-p9").symlink_to(tmp_path / "full")
    with pytest.raises(OutputError, match="is a link"):
        export_bids(record(tmp_path / "s", simulated, subject="p9"), root)
    far = record(tmp_path / "s", simulated, run="04", offset_uv=5e6)
    with pytest.raises(DataError, match="values that no such file can hold"):
        export_bids(far, root)
    writer = SessionWriter(tmp_path / "s", some_info())
    try:
        with pytest.raises(OutputError, match="is being recorded"):
            export_bids(writer.folder, root)
    finally:
        writer.close()
    assert sorted(path.name for path in root.glob("sub-*/ses-*/eeg/*.bdf")) == [
        "sub-p01_ses-one_task-recording_run-01_eeg.bdf"
    ]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]

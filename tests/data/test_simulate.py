from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import CLASSES, Person, simulate_recording, write_dataset
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.errors import OutputError
from mimamba_edge.signal.clock import find_events
from mimamba_edge.signal.filters import default_filters


def test_a_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, runs=2, trials=4, seed=seed)
    a, b, c = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "abc")
    assert sorted(a) == ["labels.csv", "run-01.csv", "run-02.csv"]
    assert a == b
    assert a["run-01.csv"] != c["run-01.csv"]
    assert a["run-01.csv"] != a["run-02.csv"]


def test_files_read_back_with_a_real_headsets_clock(tmp_path: Path) -> None:
    write_dataset(tmp_path / "x", runs=1, trials=12)
    recording = read_recording(tmp_path / "x" / "run-01.csv")
    assert recording.ch_names == ("TP9", "AF7", "AF8", "TP10")
    assert recording.sfreq == 256.0
    steps = np.diff(recording.timestamps)
    assert (steps > 0.01).mean() > 0.003
    assert (steps <= 0).mean() > 0.003
    assert find_events(recording.timestamps, recording.sfreq) == []
    # Markers stand where the labels say.
    for trial, marker in zip(read_labels(tmp_path / "x"), recording.markers, strict=True):
        assert abs(marker.t_s - trial.start_s) < 0.03
        assert marker.text == f"{CLASSES.index(trial.label) + 1}"


def test_groups_of_every_kind(tmp_path: Path) -> None:
    table = write_dataset(tmp_path / "x", subjects=2, sessions=2, runs=2, trials=4, trial_s=2.0)
    assert table == read_labels(tmp_path / "x")
    assert len({t.subject for t in table}) == 2
    assert len({t.session for t in table}) == 4
    assert len({t.run for t in table}) == 8
    assert len({t.label for t in table if t.run == "run-03"}) == 2
    assert {t.stimulus.rsplit("-", 1)[0] for t in table} == set(CLASSES)


def test_people_differ_in_what_they_are_drawn_with(tmp_path: Path) -> None:
    assert Person.drawn(0.0, [1]) == Person()
    assert Person.drawn(0.5, [1]) != Person.drawn(0.5, [2])
    plain, own = (
        simulate_recording(["calm"] * 6, seed=1, person=person)[0].samples
        for person in (None, Person(alpha_hz=12.0, alpha=2.0, gain=(3.0, 1.0, 1.0, 1.0)))
    )
    freq = np.fft.rfftfreq(len(plain), 1 / 256)
    before, after = (np.abs(np.fft.rfft(x - x.mean(axis=0), axis=0)) for x in (plain, own))
    alpha = (freq > 7) & (freq < 14)
    assert freq[alpha][before[alpha, 3].argmax()] == pytest.approx(10, abs=1)
    assert freq[alpha][after[alpha, 3].argmax()] == pytest.approx(12, abs=1)
    high = (freq > 60) & (freq < 120)
    grown = np.sqrt((after[high] ** 2).sum(axis=0) / (before[high] ** 2).sum(axis=0))
    assert grown == pytest.approx([3, 1, 1, 1], rel=0.02)
    write_dataset(tmp_path / "x", subjects=2, runs=2, trials=4, spread=0.5)
    write_dataset(tmp_path / "y", subjects=2, runs=2, trials=4)
    assert (tmp_path / "x" / "labels.csv").read_bytes() == (tmp_path / "y" / "labels.csv").read_bytes()
    assert (tmp_path / "x" / "run-01.csv").read_bytes() != (tmp_path / "y" / "run-01.csv").read_bytes()


def test_the_task_can_be_learned_but_not_from_one_number(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_dataset(folder, runs=4, trials=16)
    contract = Contract(
        ("TP9", "AF7", "AF8", "TP10"),
        sfreq=128.0,
        n_times=128,
        hop=128,
        class_names=CLASSES,
        filters=default_filters(128.0, 50.0),
        mains_hz=50.0,
        scaling=Scaling("none"),
    )
    windows = trial_windows(open_dataset(folder), contract)
    assert windows.left_out == {}
    power = np.abs(np.fft.rfft(windows.data * np.hanning(128), axis=-1)) ** 2
    bands = [np.log(power[..., a:b].mean(-1)).mean(1) for a, b in ((8, 13), (18, 26))]
    # Features, weights and threshold known beforehand: nothing is fitted on what is scored.
    balance = bands[1] - bands[0]
    guess = (balance > np.median(balance)).astype(int)
    assert 0.7 < (guess == windows.labels).mean() < 0.97


def test_a_folder_in_use_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write_dataset(tmp_path / "x", runs=1, trials=2)
    before = sorted((tmp_path / "x").iterdir())
    with pytest.raises(OutputError, match="is not empty"):
        write_dataset(tmp_path / "x", runs=1, trials=2)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not empty"):
        write_dataset(tmp_path / "file", runs=1, trials=2)
    with pytest.raises(OutputError, match="cannot write"):
        write_dataset(tmp_path / "file" / "below", runs=1, trials=2)
    assert sorted((tmp_path / "x").iterdir()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "x"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "x", runs=2, trials=2, done=stop)
    assert list(tmp_path.iterdir()) == []


def test_values_are_what_the_headset_can_give() -> None:
    recording, _ = simulate_recording(["calm", "excited"])
    counts = recording.samples / 0.48828125
    assert recording.rails_uv is not None
    assert recording.samples.min() >= recording.rails_uv[0]
    assert recording.samples.max() <= recording.rails_uv[1]
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)

"""The cache of windows: the same windows as without, found again, and nothing lost but what was in work."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data import window_cache, window_store
from mimamba_edge.data.dataset import Dataset, open_dataset
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.errors import DataError, OutputError
from mimamba_edge.signal.filters import default_filters
from tests.data import sets

CONTRACT = Contract(
    ("FP1", "FP2"),
    sfreq=64.0,
    n_times=64,
    hop=16,
    class_names=("negative", "neutral", "positive"),
    filters=default_filters(64.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("none"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sets.write_seed(tmp_path_factory.mktemp("seed"), subjects=1, sessions=1, seconds=6)


def opened(folder: Path, cache: Path | str) -> Dataset:
    return open_dataset(f"seed:{folder}?cache={cache}")


def same(one: Windows, two: Windows) -> None:
    assert one.data.tobytes() == two.data.tobytes()
    for name in ("labels", "trial_of"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("class_names", "trials", "dropped", "without", "lead_s"):
        assert getattr(one, name) == getattr(two, name), name


def count(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[str]:
    """Note which recordings are read; fail at one of them."""
    read, plain = list[str](), dataset.read

    def noted(file: str):
        read.append(file)
        if stop_at is not None and len(read) == stop_at:
            raise KeyboardInterrupt
        return plain(file)

    monkeypatch.setattr(dataset, "read", noted)
    return read


def files(cache: Path) -> tuple[Path, Path]:
    [index], [windows] = cache.glob("*/index.jsonl"), cache.glob("*/windows.f8")
    return index, windows


def test_a_cache_gives_the_windows_that_the_recordings_give(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trial_windows(opened(folder, "none"), CONTRACT)
    same(trial_windows(opened(folder, tmp_path), CONTRACT), plain)
    again = opened(folder, tmp_path)
    read = count(again, monkeypatch)
    found = trial_windows(again, CONTRACT)
    same(found, plain)
    assert read == []
    # What another process is sent is the name of the file.
    sent = pickle.dumps(found.data)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent), plain.data)
    part = found.data[3:5]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), plain.data[3:5])
    for path in files(tmp_path):
        assert path.stat().st_mode & 0o077 == 0
    # The class is no part of a window; the signal path is.
    other = dataclasses.replace(CONTRACT, class_names=("negative", "neutral", "positive", "bored"))
    with pytest.raises(DataError, match="no trial remains of class bored"):
        trial_windows(again, other)
    assert read == []
    trial_windows(again, dataclasses.replace(CONTRACT, mains_hz=60.0))
    assert len(read) == 15
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("torn", [b"", b"x" * 1000])
def test_a_killed_process_loses_the_recording_it_worked_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    first = opened(folder, tmp_path)
    count(first, monkeypatch, stop_at=9)
    with pytest.raises(KeyboardInterrupt):
        trial_windows(first, CONTRACT)
    index, windows = files(tmp_path)
    if torn:  # killed while it wrote
        windows.write_bytes(windows.read_bytes() + torn)
        index.write_bytes(index.read_bytes() + b'{"file": "1_20140404/09", "lead')
    second = opened(folder, tmp_path)
    read = count(second, monkeypatch)
    same(trial_windows(second, CONTRACT), trial_windows(opened(folder, "none"), CONTRACT))
    assert read == [f"1_20140404/{k:02}" for k in range(9, 16)]


def test_a_damaged_cache_is_made_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trial_windows(opened(folder, tmp_path), CONTRACT)
    plain = dataclasses.replace(plain, data=np.array(plain.data))
    for spoil in ("a bit", "cut off", "a line"):
        index, windows = files(tmp_path)
        content = bytearray(windows.read_bytes())
        content[5000] ^= 1
        if spoil == "a line":
            index.write_bytes(index.read_bytes().replace(b'"lead_s"', b'"laed_s"', 1))
        else:
            windows.write_bytes(content if spoil == "a bit" else content[:-8])
        dataset = opened(folder, tmp_path)
        read = count(dataset, monkeypatch)
        same(trial_windows(dataset, CONTRACT), plain)
        assert len(read) == 15, spoil


def test_a_changed_recording_has_another_cache(tmp_path: Path) -> None:
    folder, cache = sets.write_seed(tmp_path / "seed", subjects=1, sessions=1, seconds=6), tmp_path / "cache"
    one = trial_windows(opened(folder, cache), CONTRACT)
    sets.write_seed(folder, subjects=1, sessions=1, seconds=7)
    two = trial_windows(opened(folder, cache), CONTRACT)
    assert len(two.data) > len(one.data)


def test_two_processes_do_not_write_one_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(folder, tmp_path)

    def second(file: str):
        trial_windows(opened(folder, tmp_path), CONTRACT)

    monkeypatch.setattr(first, "read", second)
    with pytest.raises(OutputError, match="cannot be continued"):
        trial_windows(first, CONTRACT)


def test_a_cache_that_cannot_be_written_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        trial_windows(opened(folder, tmp_path / "file"), CONTRACT)


def test_a_table_that_goes_back_to_a_recording_keeps_its_order(folder: Path, tmp_path: Path) -> None:
    plain, cached = opened(folder, "none"), opened(folder, tmp_path)
    for dataset in (plain, cached):
        halves = []
        for trial in dataset.trials:
            middle = (trial.start_s + trial.stop_s) / 2
            halves += [dataclasses.replace(trial, stop_s=middle), dataclasses.replace(trial, start_s=middle)]
        dataset.trials = (*halves[::2], *halves[1::2])
    one, two = trial_windows(plain, CONTRACT), trial_windows(cached, CONTRACT)
    same(one, two)
    assert (np.diff(one.trial_of) >= 0).all()


def kept(cache: Path, name: str, size: int, used: float) -> Path:
    folder = cache / (name * 32)
    folder.mkdir(parents=True)
    (folder / "index.jsonl").write_bytes(b"x")
    (folder / "windows.f8").write_bytes(bytes(size - 1))
    os.utime(folder / "index.jsonl", (used, used))
    return folder


def test_what_was_used_longest_ago_goes_first_and_nothing_in_use(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used = opened(folder, tmp_path)
    windows = trial_windows(used, CONTRACT)
    [mapped] = window_cache.entries(tmp_path)
    os.utime(mapped.folder / "index.jsonl", (1, 1))  # the oldest, but this process has it mapped
    old, middle, new = (kept(tmp_path, name, 1000, used) for name, used in (("a", 10), ("b", 20), ("c", 30)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.jsonl").write_bytes(bytes(5000))
    assert [entry.folder for entry in window_cache.entries(tmp_path)] == [mapped.folder, old, middle, new]
    gone = window_cache.shrink(tmp_path, mapped.size_bytes + 2500)
    assert [entry.folder for entry in gone] == [old]
    assert {path.name for path in tmp_path.iterdir()} == {mapped.folder.name, middle.name, new.name, "mine"}
    assert not window_cache.remove(mapped)
    assert windows.data[0].any()
    # New windows make room for themselves; found again, they are the last used.
    monkeypatch.setattr(window_store, "LIMIT_BYTES", mapped.size_bytes * 2 + 1500)
    trial_windows(used, dataclasses.replace(CONTRACT, mains_hz=60.0))
    assert "1 sets of windows were removed" in capsys.readouterr().out
    assert not middle.exists()
    assert new.exists()
    window_cache.let_go(mapped.folder)
    assert window_cache.remove(mapped)
    assert not mapped.folder.exists()

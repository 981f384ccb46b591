from __future__ import annotations

import dataclasses
import struct
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.data.channels import eeg_channels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.windows import recordings_of
from mimamba_edge.errors import DataError, DependencyError
from tests.data.signals import NAMES, regular, same_windows, signal

mne = pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")


def _raw(first_samp: int = 0, dated: bool = False, extra: tuple = ()) -> Any:
    """Return the signal in volts; ``extra``: (name, type, column)."""
    given = signal()
    columns = [*(given.samples / 1e6).T, *(column for _, _, column in extra)]
    info = mne.create_info(
        [*NAMES, *(name for name, _, _ in extra)], 256.0, ["eeg"] * 4 + [kind for _, kind, _ in extra]
    )
    raw = mne.io.RawArray(np.array(columns), info, first_samp=first_samp, verbose="ERROR")
    return raw.set_meas_date(datetime(2026, 1, 2, tzinfo=timezone.utc)) if dated else raw


def _save(path: Path, raw: Any, **more: Any) -> Path:
    raw.save(path, fmt="double", verbose="ERROR", **more)
    return path


def test_the_same_signal_gives_the_same_windows_to_the_last_bit(tmp_path: Path) -> None:
    given = signal()
    # A name that MNE would warn about.
    got = read_recording(_save(tmp_path / "plain.fif", _raw()))
    assert got.ch_names == NAMES
    assert got.sfreq == 256.0
    volts = given.samples / 1e6
    expected = dataclasses.replace(given, samples=volts * 1e6, timestamps=regular(len(volts)))
    assert got.samples.tobytes() == expected.samples.tobytes()
    assert got.timestamps.tobytes() == expected.timestamps.tobytes()
    same_windows(got, expected)


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize("first_samp", [0, 1000])
def test_annotations_are_markers(tmp_path: Path, first_samp: int, dated: bool) -> None:
    raw = _raw(first_samp, dated)
    origin = None
    if dated:
        # On the wall clock: seconds since the acquisition began, of which the file holds the later part.
        origin = raw.info["meas_date"]
    shift = raw.first_time if dated else 0.0
    notes = mne.Annotations(
        [1.0 + shift, 3.5 + shift, 6.0 + shift],
        [0.0, 1.0, 1.0],
        ["go", "bad blink", "stop"],
        orig_time=origin,
    )
    raw.set_annotations(notes)
    got = read_recording(_save(tmp_path / "a_raw.fif", raw))
    assert [(m.text, m.sample) for m in got.markers] == [("go", 256), ("stop", 1536)]
    assert [m.t_s for m in got.markers] == pytest.approx([1.0, 6.0], abs=1e-6)


def test_types_of_channels(tmp_path: Path) -> None:
    n = len(signal().samples)
    stim = np.zeros(n)
    stim[300:310] = 2
    extra = (("STI 014", "stim", stim), ("HEOG", "eog", np.full(n, 5e-5)), ("load", "misc", np.full(n, 3.0)))
    got = read_recording(_save(tmp_path / "a_raw.fif", _raw(extra=extra)))
    assert got.ch_names == (*NAMES, "HEOG", "load")
    assert eeg_channels(got)[0] == NAMES
    assert [(m.text, m.sample) for m in got.markers] == [("2", 300)]
    assert got.samples[0, 4] == pytest.approx(50.0)


def test_where_acquisition_paused_nothing_was_measured(tmp_path: Path) -> None:
    raw = _raw()
    raw.set_annotations(mne.Annotations([4.0], [0.5], ["BAD_ACQ_SKIP"]))
    got = read_recording(_save(tmp_path / "a_raw.fif", raw))
    holes = np.flatnonzero(np.isnan(got.samples).all(axis=1))
    assert (holes[0], holes[-1]) == (1024, 1151)
    assert got.markers == ()


def test_a_split_file_is_one_recording(tmp_path: Path) -> None:
    info = mne.create_info(4, 256.0, "eeg")
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(rng.normal(size=(4, 90_000)), info, verbose="ERROR")
    path = _save(tmp_path / "long_raw.fif", raw, split_size="2MB", buffer_size_sec=1)
    assert len(list(tmp_path.iterdir())) > 1
    assert recordings_of(tmp_path) == [path]
    assert len(read_recording(path).samples) == 90_000


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:20], lambda b: b[:1000], lambda b: b"XDF:" * 100, lambda b: bytes(len(b))],
)
def test_what_is_no_fif_says_why(tmp_path: Path, change: Any) -> None:
    path = _save(tmp_path / "a_raw.fif", _raw())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=f"{path.name} is not raw data"):
        read_recording(path)


def test_tags_that_lead_back(tmp_path: Path) -> None:
    path = _save(tmp_path / "a_raw.fif", _raw())
    content = bytearray(path.read_bytes())
    # The second tag, behind the identity of 16 + 20 bytes, leads to the first one.
    content[36 + 12 : 36 + 16] = struct.pack(">i", 36)
    path.write_bytes(content)
    with pytest.raises(DataError, match="a chain of tags without an end"):
        read_recording(path)


@pytest.mark.parametrize("by", ["name", "number"])
def test_parts_that_lead_back(tmp_path: Path, by: str) -> None:
    rng = np.random.default_rng(0)
    info = mne.create_info(["Fz", "Cz", "Pz", "Oz"], 256.0, "eeg")
    raw = mne.io.RawArray(rng.normal(size=(4, 200_000)), info, verbose="ERROR")
    path = _save(tmp_path / "a_raw.fif", raw, split_size="2MB", buffer_size_sec=1)
    last = tmp_path / "a_raw-1.fif"
    content = last.read_bytes()
    head, name = struct.pack(">3i", 118, 10, 11), b"a_raw-2.fif"
    assert content.count(head) == 1
    at = content.index(head)
    assert content[at + 16 : at + 27] == name
    if by == "name":
        content = content.replace(name, b"a_raw-1.fif")
    else:
        # The reference's name becomes a kind that nobody reads; its number is left.
        number = struct.pack(">5i", 117, 3, 4, 0, 2)
        assert content.count(number) == 1
        content = content.replace(head, struct.pack(">3i", 9118, 10, 11))
        content = content.replace(number, struct.pack(">5i", 117, 3, 4, 0, 1))
    last.write_bytes(content)
    with pytest.raises(DataError, match="parts that lead back"):
        read_recording(path)


def test_without_mne(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.fif").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(DependencyError, match=r"\.\[files\]"):
        read_recording(tmp_path / "a.fif")

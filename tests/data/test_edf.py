from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.windows import stream_windows, trial_windows
from mimamba_edge.errors import DataError
from mimamba_edge.signal.clock import find_events
from tests.data.signals import NAMES, regular, same_windows, signal
from tests.modelfiles import tiny_contract

edfio = pytest.importorskip("edfio", reason="needs edfio: pip install 'mimamba-edge[dev]'")
RAILS = (-1000.0, 999.5)


def _write(
    path: Path, recording: Recording, *more: object, notes: tuple = (), skipped: Sequence[object] = ()
) -> Path:
    bdf = path.suffix == ".bdf"
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    # 12 bits between the device's limits, as its converter has them; 24 bits far beyond.
    ranges = {
        "physical_range": (-262144.0, 262143.0) if bdf else RAILS,
        "digital_range": (-8388608, 8388607) if bdf else (-2048, 2047),
    }
    n = len(recording.samples) // 256 * 256
    signals = [
        kind(column[:n], 256.0, label=name, physical_dimension="uV", **ranges)
        for name, column in zip(recording.ch_names, recording.samples.T, strict=True)
    ]
    file = (edfio.Bdf if bdf else edfio.Edf)(
        [*signals, *more],
        data_record_duration=1.0,
        annotations=[*skipped, *(edfio.EdfAnnotation(onset, None, text) for onset, text in notes)] or None,
    )
    file.write(path)
    return path


def _cut(recording: Recording, n: int) -> Recording:
    return dataclasses.replace(recording, samples=recording.samples[:n], timestamps=regular(n))


@pytest.mark.parametrize(("name", "step_uv"), [("a.edf", 1999.5 / 4095), ("a.bdf", 1 / 32)])
def test_the_same_signal_gives_the_same_windows(tmp_path: Path, name: str, step_uv: float) -> None:
    given = signal()
    got = read_recording(_write(tmp_path / name, given))
    assert got.ch_names == NAMES
    assert got.sfreq == 256.0
    assert got.timestamps.tobytes() == regular(len(got.samples)).tobytes()
    expected = _cut(given, len(got.samples))
    assert np.abs(got.samples - expected.samples).max() <= 0.51 * step_uv
    # The signal is of the same 12 bits, but for the last digit of the steps' size.
    same_windows(got, dataclasses.replace(expected, rails_uv=got.rails_uv), within_uv=0.1)
    assert got.rails_uv == (RAILS if name == "a.edf" else (-262144.0, 262143.0))


@pytest.mark.parametrize("name", ["a.edf", "a.bdf"])
def test_values_are_those_of_mne(tmp_path: Path, name: str) -> None:
    mne = pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")
    path = _write(tmp_path / name, signal(), notes=((1.5, "left"), (2.0, "right")))
    raw = mne.io.read_raw(path, verbose="ERROR")
    got = read_recording(path)
    np.testing.assert_allclose(got.samples.T, raw.get_data() * 1e6, rtol=1e-12, atol=1e-9)
    assert [m.text for m in got.markers] == list(raw.annotations.description)
    assert [m.t_s for m in got.markers] == list(raw.annotations.onset)


def test_annotations_are_markers(tmp_path: Path) -> None:
    notes = ((0.25, "eyes open"), (3.0, "Gruß, \x1b[31m"), (7.125, "eyes closed"))
    got = read_recording(_write(tmp_path / "a.edf", signal(), notes=notes))
    assert [(m.t_s, m.text) for m in got.markers] == list(notes)
    assert [m.sample for m in got.markers] == [64, 768, 1824]


@pytest.mark.parametrize("name", ["a.edf", "a.bdf"])
def test_what_was_skipped_is_missing(tmp_path: Path, name: str) -> None:
    given = signal()
    n = len(given.samples) // 256 * 256
    skips = [(2.0, 0.5), (2.25, 1.0), (n / 256 - 0.75, 0.75)]
    notes = [edfio.EdfAnnotation(onset, length, "BAD_ACQ_SKIP") for onset, length in skips]
    notes += [edfio.EdfAnnotation(4.0, 1.0, "bad muscle"), edfio.EdfAnnotation(5.0, 1.0, "blink")]
    got = read_recording(_write(tmp_path / name, given, skipped=notes))
    assert [(marker.text, marker.sample) for marker in got.markers] == [("blink", 5 * 256)]
    assert len(got.samples) == len(got.timestamps) == n - 192
    gone = np.isnan(got.samples).all(axis=1)
    assert np.isnan(got.samples).any(axis=1).tolist() == gone.tolist()
    assert np.flatnonzero(gone).tolist() == list(range(512, 832))
    with pytest.raises(DataError, match="holds no samples"):
        read_recording(
            _write(tmp_path / name, given, skipped=[edfio.EdfAnnotation(0, n / 256, "BAD_ACQ_SKIP")])
        )


def test_a_status_channel_gives_markers_and_is_no_channel(tmp_path: Path) -> None:
    given = signal()
    codes = np.zeros(len(given.samples) // 256 * 256)
    codes[300:310], codes[310:320], codes[1000:1001] = 5, 6, 5
    # Upper bits are the amplifier's own business.
    codes += 0x100000
    status = edfio.BdfSignal(
        codes, 256.0, label="Status", physical_range=(-8388608, 8388607), digital_range=(-8388608, 8388607)
    )
    got = read_recording(_write(tmp_path / "a.bdf", given, status))
    assert got.ch_names == NAMES
    assert [(m.text, m.sample) for m in got.markers] == [("5", 300), ("6", 310), ("5", 1000)]


def test_channels_of_another_rate_are_left_and_nothing_is_interpolated(tmp_path: Path) -> None:
    given = signal()
    n = len(given.samples) // 256
    slow = edfio.EdfSignal(np.arange(52.0 * n), 52.0, label="ACC", physical_range=(0, 32767))
    fast = edfio.EdfSignal(np.zeros(1024 * n), 1024.0, label="EMG", physical_range=(-1, 1))
    got = read_recording(_write(tmp_path / "a.edf", given, slow, fast))
    assert got.ch_names == NAMES
    assert got.sfreq == 256.0
    assert np.abs(got.samples - given.samples[: len(got.samples)]).max() < 0.25


def test_units(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.edf", signal())
    plain = read_recording(path).samples
    content = bytearray(path.read_bytes())
    # Dimensions stand after labels and transducers, 8 bytes each.
    at = 256 + int(content[252:256]) * (16 + 80)
    for k, unit in enumerate((b"mV      ", b"V       ", b"degC    ", b"        ")):
        content[at + 8 * k : at + 8 * k + 8] = unit
    path.write_bytes(content)
    got = read_recording(path)
    np.testing.assert_allclose(got.samples, plain * [1e3, 1e6, 1.0, 1.0], rtol=1e-12)
    # Its limits differ now, but channels of these names are a Muse's.
    assert got.rails_uv == RAILS


def test_limits_that_differ_are_no_rails(tmp_path: Path) -> None:
    x = signal().samples[:2560, 0]
    signals = [edfio.EdfSignal(x * k, 256.0, label=f"c{k}", physical_dimension="uV") for k in (1, 2)]
    edfio.Edf(signals).write(tmp_path / "a.edf")
    got = read_recording(tmp_path / "a.edf")
    assert got.rails_uv is None
    np.testing.assert_allclose(got.samples, np.column_stack([x, 2 * x]), atol=0.1)


def _discontinuous(path: Path, records: dict[int, int]) -> None:
    """Make a written file discontinuous and end it after 8 s: record k begins at second ``records[k]``."""
    content = bytearray(path.read_bytes())
    n = int(content[236:244])
    size = (len(content) - int(content[184:192])) // n
    content = content[: len(content) - (n - 8) * size]
    content[192:197], content[236:244] = b"EDF+D", b"8       "
    for k, second in sorted(records.items(), reverse=True):
        old, new = f"+{k}\x14\x14".encode(), f"+{second}\x14\x14".encode()
        assert len(old) == len(new)
        assert content.count(old) == 1
        content[content.index(old) : content.index(old) + len(old)] = new
    path.write_bytes(content)


def test_gaps_of_a_discontinuous_file_are_jumps_that_the_clock_finds(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.edf", signal(), notes=((0.5, "a"), (6.5, "b")))
    _discontinuous(path, {5: 7, 6: 8, 7: 9})
    path.write_bytes(path.read_bytes().replace(b"+6.5\x14b\x14", b"+8.5\x14b\x14"))
    with_gap = read_recording(path)
    assert np.allclose(np.diff(with_gap.timestamps[5 * 256 - 1 : 5 * 256 + 1]), 2 + 1 / 256)
    events = find_events(with_gap.timestamps, 256.0)
    assert (events[0].kind, events[0].sample, events[0].n_lost) == ("loss", 5 * 256, 512)
    marker = with_gap.markers[1]
    assert (marker.text, marker.t_s, marker.sample) == ("b", 8.5, 6 * 256 + 128)


def test_a_discontinuous_file_without_times_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.edf", signal())
    content = bytearray(path.read_bytes())
    content[192:197] = b"EDF+D"
    path.write_bytes(content)
    with pytest.raises(DataError, match="has no start time for every record"):
        read_recording(path)


def test_a_file_that_was_cut_gives_its_whole_records_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "a.edf", signal())
    whole, content = read_recording(path), path.read_bytes()
    assert not capsys.readouterr().err
    path.write_bytes(content[: 256 * 5 + 2 * 4 * 256 * 3 + 777])
    got = read_recording(path)
    assert got.samples.tobytes() == whole.samples[: 3 * 256].tobytes()
    assert "is cut off: 3 of" in capsys.readouterr().err
    # -1 is what a recorder writes that has not come to the end.
    path.write_bytes(content[:236] + b"-1      " + content[244:])
    assert read_recording(path).samples.tobytes() == whole.samples.tobytes()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b"", "is empty"),
        (lambda b: b[:100], "header of .* is damaged|not an EDF"),
        (lambda b: b[:1500], "holds no samples"),
        (lambda b: b"<html>" + b, "not an EDF or BDF file"),
        (lambda b: b[:252] + b"9999" + b[256:], "header of .* is damaged"),
        (lambda b: b[:252] + b"-1  " + b[256:], "header of .* is damaged"),
        (lambda b: b[:244] + b"nan     " + b[252:], "header of .* is damaged"),
        (lambda b: b[:244] + b"0       " + b[252:], "holds no signal"),
        (lambda b: bytes(len(b)), "not an EDF or BDF file"),
    ],
)
def test_what_is_no_edf_says_why(tmp_path: Path, change: object, message: str) -> None:
    path = _write(tmp_path / "a.edf", signal())
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        read_recording(path)


def test_limits_that_samples_lie_beyond_are_no_rails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "a.edf", signal())
    inside = read_recording(path)
    # Narrower physical and digital limits of the same scale, as programs write them that take what they
    # expect for what can be: the values stay, and lie beyond.
    content = bytearray(path.read_bytes())
    n_signals = int(content[252:256])
    at = 256 + n_signals * (16 + 80 + 8)
    for k, name in enumerate(_labels(content, n_signals)):
        if name == "EDF Annotations":
            continue
        for number, value in enumerate(("-4.882", "4.882", "-10", "10")):
            start = at + 8 * (number * n_signals + k)
            content[start : start + 8] = value.ljust(8).encode()
    path.write_bytes(content)
    capsys.readouterr()
    got = read_recording(path)
    assert np.abs(got.samples).max() > 10
    assert inside.rails_uv == RAILS
    # What these channels' device rails at is known by their names.
    assert got.rails_uv == RAILS
    said = capsys.readouterr().err
    assert said.count("beyond -4.882 to 4.882 uV") == 1
    reasons = {w.reason for w in stream_windows(got, tiny_contract(ch_names=NAMES, sfreq=128.0, n_times=128))}
    assert "railed" not in reasons
    assert None in reasons


def _labels(content: bytearray, n_signals: int) -> list[str]:
    return [content[256 + 16 * k : 272 + 16 * k].decode().strip() for k in range(n_signals)]


def test_some_channels_of_a_large_file_take_the_memory_of_these(tmp_path: Path) -> None:
    n = 240
    rng = np.random.default_rng(0)
    signals = [
        edfio.BdfSignal(
            rng.normal(0, 30, 256 * n),
            256.0,
            label=f"A{k}",
            physical_dimension="uV",
            physical_range=(-262144.0, 262143.0),
        )
        for k in range(1, 33)
    ]
    path = tmp_path / "a.bdf"
    edfio.Bdf(signals, annotations=[edfio.EdfAnnotation(100.5, None, "here")]).write(path)
    whole = read_recording(path)
    tracemalloc.start()
    some = read_recording(path, ("A7", "A2"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert some.ch_names == ("A2", "A7")
    np.testing.assert_array_equal(some.samples, whole.samples[:, [1, 6]])
    for name in ("sfreq", "markers", "rails_uv"):
        assert getattr(some, name) == getattr(whole, name)
    np.testing.assert_array_equal(some.timestamps, whole.timestamps)
    assert whole.samples.nbytes > 15e6
    assert peak < 10e6
    # One that is not there: the message is to name those that are.
    assert read_recording(path, ("A7", "B1")).ch_names == whole.ch_names


def test_a_data_set_is_cut_of_the_channels_that_it_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = signal()
    _write(tmp_path / "a.bdf", given)
    (tmp_path / "labels.csv").write_text(
        "file,start_s,stop_s,label,subject,session,run,stimulus\na.bdf,4,6,x,s1,1,1,\na.bdf,6,8,y,s1,1,1,\n",
        encoding="utf-8",
    )
    dataset = open_dataset(tmp_path)
    contract = dataclasses.replace(tiny_contract(), ch_names=NAMES[2:0:-1], class_names=("x", "y"))
    assert dataset.read_channels("a.bdf", contract.ch_names).ch_names == NAMES[1:3]
    found = trial_windows(dataset, contract)
    monkeypatch.setattr(dataset, "read_channels", lambda file, names: read_recording(tmp_path / file))
    assert found.data.tobytes() == trial_windows(dataset, contract).data.tobytes()

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.channels import eeg_channels
from mimamba_edge.data.recording import is_recording, read_recording
from mimamba_edge.data.windows import recordings_of
from mimamba_edge.errors import DataError
from mimamba_edge.stream.sources.recording import FileSource
from tests.data.apps import openbci_gui, openbci_hub
from tests.data.signals import same_windows, signal

START = 1_614_027_541.3548


def _samples(n: int, channels: int = 8) -> np.ndarray:
    return np.round(np.random.default_rng(0).normal(0, 30, (n, channels)), 2)


def _write(folder: Path, text: str) -> Path:
    path = folder / "OpenBCI-RAW-2026-05-01_10-30-00.txt"
    path.write_text(text)
    return path


def _pairs(first: int, last: int) -> list[int]:
    return [k for k in range(first, last + 1) for _ in (0, 1)]


def _numbers(cycle: list[int], n: int, offset: int = 0) -> np.ndarray:
    return np.array(list(itertools.islice(itertools.cycle(cycle), offset, offset + n)))


BYTE = list(range(256))
BOARDS = {
    "cyton": ("BoardCytonSerial", 8, 250, BYTE),
    "daisy": ("BoardCytonSerialDaisy", 16, 125, BYTE[::2]),
    "cyton-wifi": ("BoardCytonWifi", 8, 1000, BYTE),
    "daisy-wifi": ("BoardCytonWifiDaisy", 16, 500, BYTE),
    "ganglion-wifi": ("BoardGanglionWifi", 4, 1600, list(range(201))),
    "ganglion-2": ("BoardGanglionBLE", 4, 200, [0, *_pairs(1, 100)]),
    "ganglion-2-still": ("BoardGanglionBLE", 4, 200, [0, *_pairs(101, 200)]),
    "ganglion-3": ("BoardGanglionNative", 4, 200, _pairs(0, 99)),
    "ganglion-3-still": ("BoardGanglionNative", 4, 200, _pairs(100, 199)),
}


def test_windows_are_those_of_the_signal_to_the_bit(tmp_path: Path) -> None:
    given = signal()
    n = len(given.samples)
    text = openbci_gui(START + given.timestamps, given.samples, np.arange(n) % 256, sfreq=256)
    got = read_recording(_write(tmp_path, text))
    assert got.counted
    assert got.ch_names == tuple(f"EXG Channel {k}" for k in range(4))
    assert eeg_channels(got) == (got.ch_names, {})
    assert got.samples.tobytes() == given.samples.tobytes()
    same_windows(dataclasses.replace(got, ch_names=given.ch_names, rails_uv=given.rails_uv), given)


@pytest.mark.parametrize("name", BOARDS)
def test_what_was_lost_is_missing_and_the_rest_is_where_it_was(tmp_path: Path, name: str) -> None:
    board, channels, sfreq, cycle = BOARDS[name]
    n = 1500
    numbers = _numbers(cycle, n, offset=17)
    samples, times = _samples(n, channels), START + np.arange(n) / sfreq
    # Pairs come and are lost together.
    lost = np.zeros(n, bool)
    for at in (300, 700, 701, 1200):
        span = 1 if at != 1200 else 40
        lost[at : at + span] = True
    if "ganglion-" in name and "wifi" not in name:
        lost |= np.isin(
            np.arange(n),
            [i for i in range(1, n - 1) for j in (i - 1, i + 1) if lost[j] and numbers[i] == numbers[j]],
        )
    kept = ~lost
    markers = {650 - int(lost[:650].sum()): 3.0, 1400 - int(lost[:1400].sum()): 4.0}
    text = openbci_gui(times[kept], samples[kept], numbers[kept], board=board, sfreq=sfreq, markers=markers)
    got = read_recording(_write(tmp_path, text))
    assert got.counted
    assert got.sfreq == sfreq
    assert np.array_equal(np.isnan(got.samples).all(axis=1), lost)
    assert np.array_equal(got.samples[kept], samples[kept])
    assert got.timestamps == pytest.approx(times, abs=0.02)
    assert [(m.text, m.sample) for m in got.markers] == [("3", 650), ("4", 1400)]


def test_samples_that_come_in_lumps_or_twice_are_told_by_their_numbers(tmp_path: Path) -> None:
    n = 2000
    # A serial port gives what has gathered every 40 ms.
    times = START + np.ceil(np.arange(n) / 250 / 0.04) * 0.04
    samples, numbers = _samples(n), np.arange(n) % 256
    order = np.r_[0:500, 499, 500:1000, 997:1000, 1000:1500, 1504:n]
    text = openbci_gui(
        times[order], samples[order], numbers[order], markers={500: 1, 601: 2, 1001: 3, 1600: 4}
    )
    got = read_recording(_write(tmp_path, text))
    assert np.isnan(got.samples[1500:1504]).all()
    kept = np.r_[0:1500, 1504:n]
    assert got.samples[kept].tobytes() == samples[kept].tobytes()
    assert [(m.text, m.sample) for m in got.markers] == [("1", 500), ("2", 600), ("3", 1000), ("4", 1600)]
    assert got.sfreq == 250.0


def test_numbers_that_follow_no_rule_are_left_alone(tmp_path: Path) -> None:
    n = 600
    numbers = np.random.default_rng(1).integers(0, 256, n)
    got = read_recording(_write(tmp_path, openbci_gui(START + np.arange(n) / 250, _samples(n), numbers)))
    assert not got.counted
    assert len(got.samples) == n
    got = read_recording(_write(tmp_path, openbci_gui(START + np.arange(n) / 250, _samples(n), np.arange(n))))
    assert not got.counted


@pytest.mark.parametrize("version", [2, 3, 4])
def test_versions_before_5(tmp_path: Path, version: int) -> None:
    n = 1200
    # Two seconds before midnight.
    times = 1_525_132_798.0 + np.arange(n) / 250
    samples, kept = _samples(n), np.r_[0:400, 410:n]
    text = openbci_hub(times[kept], samples[kept], (np.arange(n) % 256)[kept], version=version)
    got = read_recording(_write(tmp_path, text))
    assert (got.sfreq, got.counted, got.ch_names[7]) == (250.0, True, "EXG Channel 7")
    assert np.isnan(got.samples[400:410]).all()
    assert np.array_equal(got.samples[kept], samples[kept])
    assert got.timestamps - got.timestamps[0] == pytest.approx(times - times[0], abs=2e-3)
    four = openbci_hub(times, samples[:, :4], _numbers(list(range(201)), n), version=version, sfreq=200.0)
    got = read_recording(_write(tmp_path, four.replace("%\n", "%Number of channels = 4\n")))
    assert (got.sfreq, len(got.ch_names), got.counted) == (250.0 if version > 2 else 200.0, 4, True)
    assert got.rails_uv == pytest.approx((-15686.27, 15686.27), abs=0.01)


@pytest.mark.parametrize(("most", "rail"), [(180_000, 187_500), (190_000, 375_000), (4.4e6, 4.5e6)])
def test_rails_are_of_the_greatest_gain_that_fits(tmp_path: Path, most: float, rail: float) -> None:
    samples = _samples(300)
    samples[100, 2] = -most
    got = read_recording(
        _write(tmp_path, openbci_gui(START + np.arange(300) / 250, samples, np.arange(300) % 256))
    )
    assert got.rails_uv == (-rail, rail)


def test_a_board_that_is_not_known_has_no_rails(tmp_path: Path) -> None:
    text = openbci_gui(START + np.arange(300) / 250, _samples(300), np.arange(300) % 256, board="BoardX")
    assert read_recording(_write(tmp_path, text)).rails_uv is None


def _no_times(text: str) -> str:
    lines = text.splitlines()
    rows = [", ".join([*line.split(", ")[:-3], "0.0, 0.0, x"]) for line in lines[5:]]
    return "\n".join([*lines[:5], *rows]) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: t + "12.0, 3.5",
        lambda t: t.replace("Not Used", "Other").replace("Analog Channel 1", "Other.1"),
        lambda t: "\n".join(
            f'"{line}"' if k == 3 else line + ",," if k < 4 else line for k, line in enumerate(t.split("\n"))
        ),
        lambda t: t.replace("Raw EXG Data", "Raw EEG Data").replace(", Marker Channel", ", Other"),
        _no_times,
    ],
    ids=["crlf", "bom", "cut", "other-names", "padded", "5.0", "no-times"],
)
def test_forms_that_are_read(tmp_path: Path, change: Callable[[str], str]) -> None:
    plain = openbci_gui(START + np.arange(300) / 250, _samples(300), np.arange(300) % 256)
    got = read_recording(_write(tmp_path, change(plain)))
    assert got.samples.tobytes() == _samples(300).tobytes()
    assert got.timestamps - got.timestamps[0] == pytest.approx(np.arange(300) / 250, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.replace("Raw EXG", "Raw Aux"),
            r"no EEG but the board's other figures(.|\n)*OpenBCI-RAW",
        ),
        (lambda t: t.replace("Sample Rate = 250 Hz", "Sample Rate = x"), "does not say its rate"),
        (lambda t: t.replace("%Sample Rate = 250 Hz\n", ""), "does not say its rate"),
        (lambda t: t.replace("= 250 Hz", "= 1e9 Hz"), "does not say its rate|impossible"),
        (lambda t: "\n".join(t.splitlines()[:4]) + "\n", "holds no samples"),
        (lambda t: "\n".join(t.splitlines()[:5]) + "\n", "holds no samples"),
        (lambda t: t.replace("EXG Channel 1", "EXG Channel 0"), "the columns are not those"),
        (lambda t: t.replace("EXG", "CH"), "the columns are not those"),
        (lambda t: t.replace(", Timestamp, ", ", Timestamp, Timestamp, "), "the columns are not those"),
        (lambda t: "\n".join([*t.splitlines()[:5], *t.replace(".", ",").splitlines()[5:]]) + "\n", "line 6"),
        (lambda t: "\n".join([*t.splitlines()[:5], *t.replace(",", ";").splitlines()[5:]]) + "\n", "line 6"),
        (lambda t: t + "1.0, 2.0\n", "line 306: the row has more or fewer"),
        (lambda t: t.replace("0.016", "x", 1).replace("-1.002", "1.0", 1).replace("0.0, x", "x, 0.0"), ""),
        (lambda t: t.replace("1.6140275", "1.6140275e12", 1), "impossible time|line 6"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    text = change(openbci_gui(START + np.arange(300) / 250, _samples(300), np.arange(300) % 256))
    if not message:
        # What is no EEG is not looked at.
        read_recording(_write(tmp_path, text))
        return
    with pytest.raises(DataError, match=message):
        read_recording(_write(tmp_path, text))


def test_rows_of_old_versions_that_cannot_be(tmp_path: Path) -> None:
    text = openbci_hub(START + np.arange(300) / 250, _samples(300), np.arange(300) % 256, version=3)
    for change, message in (
        (text.replace("channels = 8", "channels = 40"), "the rows are not those"),
        (text.replace("First Column = SampleIndex", "First Column = Time in sec"), "the rows are not those"),
        ("\n".join(text.splitlines()[:20]) + ", 1:2:3\n", "line 20"),
    ):
        with pytest.raises(DataError, match=message):
            read_recording(_write(tmp_path, change))


def test_only_such_text_files_are_recordings(tmp_path: Path) -> None:
    path = _write(tmp_path, openbci_gui(START + np.arange(300) / 250, _samples(300), np.arange(300) % 256))
    (tmp_path / "README.txt").write_text("About these recordings\n")
    assert recordings_of(tmp_path) == [path]
    assert not is_recording(tmp_path / "README.txt")
    assert sum(len(chunk.samples) for chunk in FileSource(path, speed="max").chunks()) == 300


def test_another_rate_than_the_header_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n = 4000
    text = openbci_gui(START + np.arange(n) / 125, _samples(n), np.arange(n) % 256)
    assert read_recording(_write(tmp_path, text)).sfreq == 125.0
    assert "says 250 Hz and holds 125.0 Hz" in capsys.readouterr().err

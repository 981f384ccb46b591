"""Boards through BrainFlow: its synthetic board, and files that it plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimamba_edge.data.spec_options import read_pairs
from mimamba_edge.errors import ConfigError, DependencyError, SourceError
from mimamba_edge.signal.devices import COUNTINGS, rails_uv
from mimamba_edge.stream.sources import brainflow
from mimamba_edge.stream.sources.base import Chunk, Notice
from mimamba_edge.stream.sources.boards import load_driver
from mimamba_edge.stream.sources.brainflow import BrainFlowSource
from mimamba_edge.stream.sources.spec import open_source

pytest.importorskip("brainflow", reason="needs brainflow: pip install 'mimamba-edge[live]'")
try:
    DRIVER = load_driver()
except DependencyError as error:
    pytest.skip(str(error), allow_module_level=True)


def _read(source: Any, n: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Notice]]:
    """Return samples, timestamps and notices: ``n`` samples at least, or all."""
    chunks: list[Chunk] = []
    reading = source.chunks()
    for chunk in reading:
        chunks.append(chunk)
        if n is not None and sum(len(one.samples) for one in chunks) >= n:
            break
    reading.close()
    return (
        np.concatenate([one.samples for one in chunks]),
        np.concatenate([one.timestamps for one in chunks]),
        [notice for one in chunks for notice in one.notices],
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of the synthetic board, written by BrainFlow's own file streamer."""
    path = tmp_path_factory.mktemp("boards") / "synthetic.csv"
    board = DRIVER.board("synthetic", {"serial_number": "recorder"})
    session = DRIVER.prepare(board)
    session.start_stream(1000, f"file://{path}:w")
    while session.get_board_data_count() < 125:
        time.sleep(0.01)
    DRIVER.release(session)
    return path


def test_the_synthetic_board(capfd: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    source = open_source("brainflow:synthetic")
    assert source.ch_names[:5] == ("Fz", "C3", "Cz", "C4", "Pz")
    assert (source.sfreq, source.unit, source.rails_uv, source.live) == (250.0, "uV", None, True)
    samples, timestamps, notices = _read(source, 130)
    assert notices == []
    assert samples.shape[1] == len(source.ch_names) == 16
    assert np.isfinite(samples).all()
    # Its first channel is 10 uV + 10 sqrt(2) uV sin(2 pi 5 Hz t), with at most 0.5 uV noise on the amplitude.
    phase = 2 * np.pi * 5 * np.arange(1, len(samples) + 1) / 250
    assert np.abs(samples[:, 0] - 10 - 10 * np.sqrt(2) * np.sin(phase)).max() < 0.75
    assert before - 1 < timestamps[0] < timestamps[-1] < time.time() + 1
    assert capfd.readouterr() == ("", "")


def test_closed_it_can_be_opened_again() -> None:
    for _ in range(2):
        source = open_source("brainflow:synthetic")
        assert len(_read(source, 5)[0]) >= 5
    source = open_source("brainflow:synthetic")
    source.close()  # never read
    source.close()
    assert list(source.chunks()) == []


def test_close_from_another_thread() -> None:
    source = open_source("brainflow:SYNTHETIC_BOARD")
    seen: list[Chunk] = []
    reader = threading.Thread(target=lambda: seen.extend(source.chunks()))
    reader.start()
    while not seen:
        time.sleep(0.01)
    source.close()
    reader.join(timeout=20)
    assert not reader.is_alive()


def test_two_at_once() -> None:
    sources = [open_source(f"brainflow:synthetic?serial_number={k}") for k in range(2)]
    readings = [source.chunks() for source in sources]
    for reading in readings:
        while not len(next(reading).samples):
            pass
    for reading in readings:
        reading.close()  # type: ignore[attr-defined]


def test_a_played_file_gives_what_was_recorded(recorded: Path) -> None:
    table = np.loadtxt(recorded)
    source = open_source(f"brainflow:playback_file?file={recorded}&master_board=synthetic")
    samples, timestamps, notices = _read(source)
    assert notices == []
    # Its rows: package number, 16 EEG channels from 1, timestamp at 30.
    np.testing.assert_array_equal(samples, table[:, 1:17])
    np.testing.assert_array_equal(timestamps, table[:, 30])


def test_a_pause_in_a_played_file_is_no_disconnect(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brainflow, "SILENT_S", 0.1)
    table = np.loadtxt(recorded)[:20]
    table[10:, 30] += 0.6
    np.savetxt(tmp_path / "pause.csv", table, fmt="%.6f", delimiter="\t")
    source = open_source(f"brainflow:playback_file?file={tmp_path / 'pause.csv'}&master_board=synthetic")
    samples, _, notices = _read(source)
    assert notices == []
    assert len(samples) == 20


def test_losses_in_a_played_file_are_found_by_its_counter(recorded: Path, tmp_path: Path) -> None:
    table, path = np.loadtxt(recorded), tmp_path / "lossy.csv"
    gone = np.isin(np.arange(len(table)), [40, 41, 42, 90])
    lines = recorded.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line, lost in zip(lines, gone, strict=True) if not lost))
    samples, timestamps, notices = _read(
        open_source(f"brainflow:playback_file?file={path}&master_board=synthetic")
    )
    assert [(n.kind, n.sample, n.n) for n in notices] == [("lost", 40, 3), ("lost", 90, 1)]
    np.testing.assert_array_equal(np.isnan(samples).all(axis=1), gone)
    np.testing.assert_array_equal(samples[~gone], table[~gone, 1:17])
    np.testing.assert_array_equal(timestamps[~gone], table[~gone, 30])
    assert (np.diff(timestamps) > 0).all()


def test_one_packet_of_a_muse_that_was_lost_is_found(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(0), 12 * 12
    table = np.zeros((n, 8))  # number, TP9, AF7, AF8, TP10, AUX, timestamp, marker
    table[:, 0] = (65530 + np.arange(n) // 12) % 65536
    table[:, 1:6] = rng.integers(-2048, 2048, (n, 5)) * 125 / 256
    table[:, 6] = 1.7e9 + np.arange(1, n + 1) / 256
    kept = np.delete(table, np.s_[72:84], axis=0)
    kept[72:84, 6] = np.linspace(kept[71, 6], kept[83, 6], 13)[1:]  # as BrainFlow stamps them
    path = tmp_path / "muse.csv"
    np.savetxt(path, kept, fmt="%.9f", delimiter="\t")
    source = open_source(f"brainflow:playback_file?file={path}&master_board=muse_2")
    assert source.ch_names == ("TP9", "AF7", "AF8", "TP10", "Right AUX")
    assert source.rails_uv == (-1000.0, 999.5)
    samples, timestamps, notices = _read(source)
    assert [(one.kind, one.sample, one.n) for one in notices] == [("lost", 72, 12)]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(samples).all(axis=1)), np.arange(72, 84))
    np.testing.assert_array_equal(samples[84:], table[84:, 1:6])
    np.testing.assert_allclose(timestamps, table[:, 6], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("brainflow:qwxz", ConfigError, "unknown BrainFlow board[\\s\\S]*muse_2"),
        ("brainflow:muse2", ConfigError, "unknown BrainFlow board\\n.*muse2\\n.*did you mean muse_2 or "),
        ("brainflow:cyton?serialport=1", ConfigError, "did you mean serial_port"),
        ("brainflow:synthetic?mac=1", ConfigError, "unknown BrainFlow parameter[\\s\\S]*mac_address"),
        ("brainflow:cyton?timeout=soon", ConfigError, "is not a number"),
        ("brainflow:gforce_pro", ConfigError, "no EEG"),
        ("brainflow:playback_file?file=x.csv", ConfigError, "master_board"),
        ("brainflow:playback_file?file=/none.csv&master_board=synthetic", SourceError, "cannot be read"),
        ("brainflow:cyton", SourceError, "serial port is empty"),
        ("brainflow:cyton?serial_port=/dev/none", SourceError, "cannot be connected"),
    ],
)
def test_what_cannot_be(
    spec: str, error: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=message):
        open_source(spec)
    # BrainFlow's words are in the error, and nowhere else.
    assert capfd.readouterr() == ("", "")


def test_a_file_of_another_board_is_refused(recorded: Path) -> None:
    with pytest.raises(SourceError, match="no samples of that board"):
        open_source(f"brainflow:playback_file?file={recorded}&master_board=muse_2")


def test_channels_of_boards_that_name_none() -> None:
    assert DRIVER.board("ganglion", {}).ch_names == ("EEG1", "EEG2", "EEG3", "EEG4")
    auxiliary = DRIVER.board("muse_2", read_pairs("other_info=preset=p50&timeout=3"))
    assert auxiliary.parameters.other_info == "preset=p50"
    assert auxiliary.parameters.timeout == 3
    assert DRIVER.board("muse_2016", {}).ch_names == ("TP9", "AF7", "AF8", "TP10")
    assert DRIVER.board("muse_s_athena", {}).ch_names[4:] == ("AUX1", "AUX2", "AUX3", "AUX4")


def test_known_boards_are_boards() -> None:
    for kind in COUNTINGS:
        assert DRIVER.board(kind, {}).kind == kind
    assert rails_uv("cyton") == (-187500.0, 187500.0)
    assert rails_uv("ganglion") == pytest.approx((-15686.27, 15686.27), abs=0.01)


def test_a_library_for_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("libBoardController.so: wrong ELF class")

    shim = DRIVER.shim
    monkeypatch.setattr(shim.BoardControllerDLL, "get_instance", broken)
    with pytest.raises(DependencyError, match=r"wrong ELF class[\s\S]*tools/build\.py"):
        load_driver()


def test_a_board_that_falls_silent_is_connected_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brainflow, "SILENT_S", 0.2)
    monkeypatch.setattr(brainflow, "BACK_OFF_S", (0.01, 0.02))
    source = open_source("brainflow:synthetic")
    assert isinstance(source, BrainFlowSource)
    seen: list[Chunk] = []

    def until(kind: str | None, n: int) -> None:
        """Read on until a notice came and ``n`` samples after it."""
        came, samples = kind is None, 0
        for chunk in reading:
            seen.append(chunk)
            samples += len(chunk.samples) * came
            came = came or kind in [notice.kind for notice in chunk.notices]
            if came and samples >= n:
                return

    reading: Iterator[Chunk] = source.chunks()
    until(None, 10)
    source.session.stop_stream()  # as if the device had been switched off
    until("disconnected", 0)
    until("reconnected", 10)
    source.close()
    assert list(reading) == []
    notices = [notice for chunk in seen for notice in chunk.notices]
    assert [notice.kind for notice in notices] == ["disconnected", "reconnected"]
    assert notices[0].sample == notices[1].sample >= 10


class _Scripted:
    """A driver whose board refuses twice to come back, and then has waited too long."""

    version = "0"

    def __init__(self) -> None:
        self.refusals, self.prepared, self.released = 2, 0, 0

    def board(self, name: str, parameters: dict[str, str]) -> Any:
        return DRIVER.board(name, parameters)

    def prepare(self, board: Any) -> int:
        self.prepared += 1
        if self.prepared > 1 and self.refusals:
            self.refusals -= 1
            raise SourceError("not yet")
        return self.prepared

    def start(self, session: int, ring: int) -> None:
        self.ring = ring

    def take(self, session: int) -> NDArray[np.float64] | None:
        if session == 1:
            return None
        data = np.ones((32, self.ring))
        data[0], data[30] = np.arange(self.ring) % 256, np.arange(self.ring) / 250
        return data

    def release(self, session: int) -> None:
        self.released += 1


def test_a_lost_session_is_sought_until_it_is_back_and_an_overrun_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(brainflow, "BACK_OFF_S", (0.01, 0.02))
    driver = _Scripted()
    samples, _, notices = _read(BrainFlowSource(driver, "synthetic", {}), 1)  # type: ignore[arg-type]
    assert [notice.kind for notice in notices] == ["disconnected", "reconnected", "overrun"]
    assert len(samples) == driver.ring
    assert driver.prepared == 4
    assert driver.released == 2  # the lost session, and the last one at the end


def test_a_text_of_the_openbci_gui_is_not_played(tmp_path: Path) -> None:
    """As its version 5 writes it for a Cyton: 24 columns, of which the last is no number."""
    n = 24
    names = [
        "Sample Index",
        *(f"EXG Channel {k}" for k in range(n - 3)),
        "Timestamp",
        "Timestamp (Formatted)",
    ]
    rows = [
        ", ".join([str(float(i % 256)), *["1.5"] * (n - 3), f"{1.6e9 + i / 250}", "2020-11-03 11:05:12.3"])
        for i in range(500)
    ]
    head = ["%OpenBCI Raw EEG Data", "%Number of channels = 8", "%Sample Rate = 250 Hz", ", ".join(names)]
    path = tmp_path / "OpenBCI-RAW.txt"
    spec = f"brainflow:playback_file?master_board=cyton&file={path}"
    path.write_text("\n".join([*head, *rows]))
    with pytest.raises(
        SourceError, match=r"cannot play the text files of the OpenBCI GUI(.|\n)*BrainFlow-RAW"
    ):
        open_source(spec)
    path.write_text("\n".join(rows))
    with pytest.raises(
        SourceError, match=r"not in BrainFlow's format: line 1 of (.|\n)*2020-11-03 11:05:12\.3"
    ):
        open_source(spec)

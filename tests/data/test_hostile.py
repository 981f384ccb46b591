"""Recordings that claim what cannot be: each is refused in words, at once and in little memory."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.windows import sliding_windows, trial_windows
from mimamba_edge.errors import DataError
from tests.data.signals import CONTRACT, NAMES, signal, write_csv
from tests.data.xdf import Stream, write_xdf

HEADER = "timestamps,TP9,AF7,AF8,TP10"


def _csv(path: Path, cell: str = "1.5", time: str = "7.5", n: int = 2560) -> Path:
    """Write 10 s, of which one row has another cell and another one another time."""
    rows = [[f"{i / 256:.6f}", *(str(i * (k + 1) % 97) for k in range(4))] for i in range(n)]
    rows[1920][2], rows[1920][0] = cell, time
    path.write_text("\n".join([HEADER, *map(",".join, rows)]) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.edf", "a.xdf", "a.fif", "a.xdf.gz"])
def test_a_pipe_or_device_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=r"a pipe or a device\n.*a regular file"):
        read_recording(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize("cell", ["1e300", "-1e300", "inf", "-inf", "1e308"])
def test_a_value_that_cannot_be_counts_as_missing(
    tmp_path: Path, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got = read_recording(_csv(tmp_path / "a.csv", cell))
    assert np.argwhere(np.isnan(got.samples)).tolist() == [[1920, 1]]
    windows = sliding_windows(tmp_path / "a.csv", CONTRACT)
    assert np.isfinite(windows).all()
    assert "1 values beyond 1e+12 count as missing, in AF7" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["1e300", "-1e300", "1e308", "1.7e12"])
def test_a_time_that_cannot_be_is_named(tmp_path: Path, time: str) -> None:
    with pytest.raises(DataError, match=r"impossible time stamps\n.*at sample 1921\n.*seconds"):
        read_recording(_csv(tmp_path / "a.csv", time=time))


def test_a_trial_at_the_end_of_time(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", {})
    table = "file,start_s,stop_s,label,subject,session,run,stimulus\na.csv,1,2,calm,s,d,r,x\n"
    for start, stop, why in [
        ("5", "1e300", "line 3, stop_s: not a time"),
        ("5", "1e11", "outside the recording"),
        ("9e10", "1e11", "outside the recording"),
        ("0", "1e11", "overlap"),
    ]:
        (tmp_path / "labels.csv").write_text(f"{table}a.csv,{start},{stop},excited,s,d,r,x\n")
        with pytest.raises(DataError, match=why):
            trial_windows(open_dataset(tmp_path), CONTRACT)


def _edf(limits: tuple[str, str] = ("-1000", "1000"), duration: str = "1", n: str = "256") -> bytes:
    """Return an EDF file of one channel and four records."""
    fields = ["Fp1".ljust(16), " " * 80, "uV".ljust(8), limits[0].ljust(8), limits[1].ljust(8)]
    fields += ["-32768".ljust(8), "32767".ljust(8), " " * 80, n.ljust(8), " " * 32]
    start = f"{'0':8}{'x':80}{'x':80}01.01.0101.01.01{512:<8}{'':44}{4:<8}{duration:8}{1:<4}"
    return (start + "".join(fields)).encode() + np.arange(4 * 256, dtype="<i2").tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_edf(duration="1e-300"), "impossible sampling rate"),
        (_edf(duration="9e5"), "impossible sampling rate"),
        (_edf(n="99999999"), "holds no samples"),
        (_edf(n="9" * 8, duration="1e-5"), "holds no samples"),
    ],
)
def test_edf_that_claims_too_much(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.edf").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_recording(tmp_path / "a.edf")


def test_edf_limits_beyond_any_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.edf").write_bytes(_edf())
    assert np.isfinite(read_recording(tmp_path / "a.edf").samples).all()
    (tmp_path / "a.edf").write_bytes(_edf(("-1e300", "1e300")))
    got = read_recording(tmp_path / "a.edf")
    assert np.isnan(got.samples).all()
    assert got.rails_uv is None
    assert "count as missing" in capsys.readouterr().err
    (tmp_path / "a.edf").write_bytes(_edf(("-9e307", "1.7e308")))
    assert np.isnan(read_recording(tmp_path / "a.edf").samples).all()


pyxdf = pytest.importorskip("pyxdf", reason="needs pyxdf: pip install 'mimamba-edge[files]'")


def _stream(**more: object) -> Stream:
    given = signal()
    made = Stream("Muse", "EEG", given.samples, given.timestamps, channels=[(n, "EEG", "uV") for n in NAMES])
    for key, value in more.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize("name", ["a.xdf.gz", "a.xdfz", "a.fif.gz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, name: str) -> None:
    if "fif" in name:
        pytest.importorskip("mne", reason="needs MNE: pip install 'mimamba-edge[files]'")
    # 160 MiB of zeros in 160 kB.
    (tmp_path / name).write_bytes(gzip.compress(write_xdf([_stream()]) + bytes(160 << 20), 1))
    with pytest.raises(DataError, match=r"unpacks to far more than a recording of its size\n.*over 64 MiB"):
        read_recording(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(write_xdf([_stream()]))[:5000])
    with pytest.raises(DataError, match="cannot unpack"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize("n_channels", [10**9, 2**62])
def test_xdf_that_claims_channels_which_it_cannot_hold(tmp_path: Path, n_channels: int) -> None:
    content = write_xdf([_stream()]).replace(
        b"<channel_count>4</channel_count>", b"<channel_count>%d</channel_count>" % n_channels
    )
    # The length of the header's chunk follows its text.
    at = content.index(b"<?xml", 40) - 6
    start = at - 4
    (length,) = struct.unpack_from("<I", content, start)
    grown = length + len(str(n_channels)) - 1
    (tmp_path / "a.xdf").write_bytes(content[:start] + struct.pack("<I", grown) + content[at:])
    with pytest.raises(DataError, match=r"holds no signal|is damaged"):
        read_recording(tmp_path / "a.xdf")


@pytest.mark.parametrize("form", ["double64", "string"])
def test_xdf_that_claims_samples_which_it_cannot_hold(tmp_path: Path, form: str) -> None:
    whole = write_xdf([_stream()], chunk=1 << 20)
    marks = Stream("m", "Markers", ["1"] * 300, np.arange(300.0), rate=0.0, form="string")
    content = write_xdf([_stream(), marks], chunk=1 << 20) if form == "string" else whole
    size = struct.pack("<BI", 4, 300 if form == "string" else len(signal().samples))
    at = content.rindex(size)
    (tmp_path / "a.xdf").write_bytes(content[:at] + struct.pack("<BI", 4, 2**32 - 1) + content[at + 5 :])
    if form == "string":
        got = read_recording(tmp_path / "a.xdf")
        assert len(got.samples) == len(signal().samples)
        assert got.markers == ()
    else:
        with pytest.raises(DataError, match="holds no signal"):
            read_recording(tmp_path / "a.xdf")


@pytest.mark.parametrize("rate", [1e300, 1e7, 1e-9])
def test_xdf_rates_that_cannot_be(tmp_path: Path, rate: float) -> None:
    (tmp_path / "a.xdf").write_bytes(write_xdf([_stream(rate=rate)]))
    with pytest.raises(DataError, match="impossible sampling rate"):
        read_recording(tmp_path / "a.xdf")


def test_xdf_values_and_labels_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = signal().samples.copy()
    values[100, 2] = 1e300
    volts = [(n, "EEG", "volts") for n in NAMES]
    (tmp_path / "a.xdf").write_bytes(write_xdf([_stream(values=values, channels=volts)]))
    assert np.isnan(read_recording(tmp_path / "a.xdf").samples[100, 2])
    values[200, 2] = 1.7e308
    (tmp_path / "a.xdf").write_bytes(write_xdf([_stream(values=values, channels=volts)]))
    assert np.isnan(read_recording(tmp_path / "a.xdf").samples[200, 2])
    assert "count as missing" in capsys.readouterr().err
    label = [("x" * 500_000, "EEG", "uV"), *volts[1:]]
    (tmp_path / "a.xdf").write_bytes(write_xdf([_stream(channels=label)]))
    with pytest.raises(DataError, match="impossible channels") as caught:
        read_recording(tmp_path / "a.xdf")
    assert len(str(caught.value)) < 4096

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.events import make_trials
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.errors import DataError
from mimamba_edge.signal.clock import find_events
from mimamba_edge.stream.sources.recording import FileSource
from tests.data.apps import bursts, mind_monitor
from tests.data.signals import CONTRACT, same_windows, signal

START = 1_751_381_765.422
MUSE = 1650 / 4095


def _signal(n: int = 3072, step: float = MUSE) -> np.ndarray:
    """Return ``n`` samples of five channels as the app has them: steps of the converter, around 800."""
    raw = signal().samples[:n]
    return np.round((np.column_stack([raw, raw[:, :1] * 2]) + 800) / step) * step


def _write(folder: Path, text: str, **how: str) -> Path:
    path = folder / "mindMonitor_2025-07-01--14-56-05.csv"
    path.write_text(text, **how)
    return path


def test_windows_are_those_of_the_signal_to_the_bit(tmp_path: Path) -> None:
    given = signal()
    aux = np.column_stack([given.samples, given.samples[:, 0]])
    got = read_recording(_write(tmp_path, mind_monitor(START + given.timestamps, aux)))
    assert got.ch_names == ("TP9", "AF7", "AF8", "TP10", "Right AUX")
    assert got.sfreq == 256.0
    same_windows(got, given)


@pytest.mark.data
def test_a_real_signal_rewritten_gives_the_same_windows(tmp_path: Path, recordings: Path) -> None:
    real = read_recording(recordings / "run-01.csv")
    late = bursts(len(real.samples), START)
    got = read_recording(_write(tmp_path, mind_monitor(late, real.samples)))
    assert got.samples.tobytes() == real.samples.tobytes()
    pairs = list(zip(stream_windows(got, CONTRACT), stream_windows(real, CONTRACT), strict=True))
    assert len(pairs) == 477
    assert all(a.data.tobytes() == b.data.tobytes() and a.valid == b.valid for a, b in pairs)


def test_cells_are_what_the_csv_module_finds(tmp_path: Path) -> None:
    path = _write(tmp_path, mind_monitor(bursts(300, START), _signal(300), ppg=True))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    got = read_recording(path)
    for k, name in enumerate(("RAW_TP9", "RAW_AF7", "RAW_AF8", "RAW_TP10", "AUX_RIGHT")):
        assert got.samples[:, k].tolist() == [float(row[name]) for row in rows]


def test_packets_that_come_late_are_no_losses_and_a_lost_one_is(tmp_path: Path) -> None:
    times = bursts(3072, START, seed=3)
    # Three packets wait for a fourth, as phones have them.
    times[1200:1236] = times[1236]
    samples = _signal()
    got = read_recording(_write(tmp_path, mind_monitor(times, samples)))
    assert find_events(got.timestamps, 256.0) == []
    assert np.ptp(got.timestamps - np.arange(3072) / 256) < 0.05
    kept = np.r_[0:1800, 1860:3072]
    got = read_recording(_write(tmp_path, mind_monitor(times[kept], samples[kept])))
    (loss,) = find_events(got.timestamps, 256.0)
    assert (loss.kind, loss.n_lost) == ("loss", pytest.approx(60, abs=5))


def test_events_stand_at_their_times(tmp_path: Path) -> None:
    times = START + np.arange(3072) / 256
    events = [(START - 0.2, "/muse/event/connected MuseS-84AC"), (START + 2.0005, "/Marker/1")]
    events += [(START + 6.0005, "/Marker/2"), (START + 7.1, "/muse/elements/blink")]
    path = _write(tmp_path, mind_monitor(times, _signal(), events))
    got = read_recording(path)
    assert [m.text for m in got.markers] == [
        "/muse/event/connected",
        "/Marker/1",
        "/Marker/2",
        "/muse/elements/blink",
    ]
    assert [m.sample for m in got.markers] == [0, 513, 1537, 1818]
    assert [m.t_s for m in got.markers] == pytest.approx([-0.2, 2.0, 6.0, 7.1], abs=2e-3)
    assert len(got.samples) == 3072
    labels = {"/Marker/1": "calm", "/Marker/2": "happy"}
    table = make_trials([path], labels, tmin=0, tmax=3, folder=tmp_path, who=lambda _: ("s1", "1", "1"))
    assert [(t.label, t.start_s) for t in table.trials] == [
        ("calm", pytest.approx(2, abs=2e-3)),
        ("happy", pytest.approx(6, abs=2e-3)),
    ]
    told = [notice.text for chunk in FileSource(path, speed="max").chunks() for notice in chunk.notices]
    assert told == [m.text for m in got.markers]


@pytest.mark.parametrize(
    ("step", "rails"),
    [(1650 / 4095, (0, 1650)), (1682.815 / 1023, (0, 1682.815)), (1450 / 16383, (0, 1450)), (0.37, None)],
)
def test_rails_are_those_of_the_converter(
    tmp_path: Path, step: float, rails: tuple[float, float] | None
) -> None:
    samples = np.round(_signal(600, step), 4)
    assert read_recording(_write(tmp_path, mind_monitor(bursts(600, START), samples))).rails_uv == rails


def test_columns_by_version(tmp_path: Path) -> None:
    samples = np.column_stack([_signal(600), np.full(600, np.nan)])
    text = mind_monitor(bursts(600, START), samples, aux=("AUX_RIGHT", "AUX_LEFT")).replace(",nan,", ",,")
    assert read_recording(_write(tmp_path, text)).ch_names[4:] == ("Right AUX",)
    samples[:, 5] = samples[:, 4]
    text = mind_monitor(bursts(600, START), samples, aux=("AUX_RIGHT", "AUX_LEFT"))
    assert read_recording(_write(tmp_path, text)).ch_names[4:] == ("Right AUX", "Left AUX")
    # The app's own script that receives OSC.
    rows = [f"2026-05-01 10:00:{2 + i / 256:09.6f},801.5,802,803.25,{i % 7},9" for i in range(600)]
    rows.insert(300, "2026-05-01 10:00:03.171875,,,,,,/Marker/1")
    path = _write(
        tmp_path, "\n".join(["TimeStamp,RAW_TP9,RAW_AF7,RAW_AF8,RAW_TP10,AUX,Marker", *rows]) + "\n"
    )
    got = read_recording(path)
    assert (got.sfreq, got.ch_names[-1], got.markers[0].text) == (256.0, "AUX", "/Marker/1")


def test_summer_time_ends_and_a_cell_is_empty(tmp_path: Path) -> None:
    times = START + np.arange(3072) / 256 - np.where(np.arange(3072) > 1500, 3600, 0)
    text = mind_monitor(times, _signal())
    line = text.splitlines()[100]
    got = read_recording(_write(tmp_path, text.replace(line, line.replace(line.split(",")[22], "", 1))))
    assert np.argwhere(np.isnan(got.samples)).tolist() == [[99, 1]]
    (step,) = find_events(got.timestamps, 256.0)
    assert (step.kind, step.n_lost) == ("clock-step", 0)


@pytest.mark.parametrize(
    "change",
    [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b, lambda b: b + b"2025-07-01 14:5"],
    ids=["crlf", "bom", "cut"],
)
def test_forms_of_text_that_are_read(
    tmp_path: Path, change: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = mind_monitor(bursts(600, START), _signal(600)).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(change(plain))
    assert read_recording(path).samples.tobytes() == _signal(600).tobytes()
    assert ("has no end and is left out" in capsys.readouterr().err) == (not change(plain).endswith(b"\n"))


def _slow(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines[:1] + lines[1::256]) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_slow, r"a row now and then(.|\n)*1.02 rows a second(.|\n)*interval to \"constant\""),
        (lambda t: t.replace("RAW_", "Raw"), r"without raw EEG(.|\n)*switch raw EEG on"),
        (lambda t: t.replace("RAW_AF7", "RAW_TP9"), r"columns twice(.|\n)*RAW_TP9"),
        (lambda t: t.replace("2025-07-01 14:56:05", "56:05"), r"line 2: not a time(.|\n)*a spreadsheet"),
        (lambda t: t.replace("2025-07-01 ", "2025-07-41 "), "line 2: not a time"),
        (lambda t: t.replace(":05.", ":99."), "line 2: not a time"),
        (lambda t: t.replace(".", ","), "line 2: the row has other cells"),
        (lambda t: t.replace(",", ";"), r"semicolons(.|\n)*sep=';', decimal=','"),
        (lambda t: t.splitlines()[0] + "\n", "holds no samples"),
        (lambda t: t + "2025-07-01 14:56:09.000,1,2\n", "line 602: the row has other cells"),
        (lambda t: t.replace("0.429931640625", "800,5", 1), "line 2: the row has other cells"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    text = change(mind_monitor(bursts(600, START), _signal(600)))
    with pytest.raises(DataError, match=message):
        read_recording(_write(tmp_path, text))


def test_infinities_are_missing(tmp_path: Path) -> None:
    lines = mind_monitor(bursts(600, START), _signal(600)).splitlines()
    cells = lines[10].split(",")
    cells[21:23] = "inf", "-1e300"
    lines[10] = ",".join(cells)
    got: Recording = read_recording(_write(tmp_path, "\n".join(lines) + "\n"))
    assert np.argwhere(np.isnan(got.samples)).tolist() == [[9, 0], [9, 1]]

"""The session folder: rows that read back to the bit, hostile names, whatever was torn off at the end."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import DataError
from mimamba_edge.sessions.folder import SessionWriter, format_rows, header_names
from mimamba_edge.sessions.identity import check_pseudonym, default_subject, next_run, source_kind
from mimamba_edge.sessions.times import SampleTimes
from tests.sessions.sources import chunks_of, some_info

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "a,b",
    'quote"quote',
    "line\nline",
    "carriage\rreturn",
    "../../etc/passwd",
    "",
    " ",
    "timestamps",
    "Marker0",
    "<script>alert(1)</script>",
    "[red]rich[/red]",
    "=cmd|' /C calc'!A0",
    "line\u2028separator",
    "A",
    "A",
)

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_rows_read_back_to_the_bit(rows: list[list[float]]) -> None:
    table = np.array(rows)
    back = [list(map(float, line.split(","))) for line in format_rows(table).decode().splitlines()]
    assert np.array(back).tobytes() == np.where(np.isnan(table), np.nan, table).tobytes()


def test_a_recording_reads_back_to_the_bit(tmp_path: Path) -> None:
    chunks = chunks_of(700)
    chunks[3].samples[2, 1] = math.nan
    writer = SessionWriter(tmp_path, some_info())
    for chunk in chunks:
        writer.write(chunk.samples, chunk.timestamps)
    writer.close()
    recording = read_recording(writer.folder / "signal.csv")
    assert recording.ch_names == ("A", "B")
    assert recording.sfreq == 100.0
    assert recording.samples.tobytes() == np.concatenate([c.samples for c in chunks]).tobytes()
    assert recording.timestamps.tobytes() == np.concatenate([c.timestamps for c in chunks]).tobytes()


def test_hostile_names_stay_what_they_are_and_where_they_are(tmp_path: Path) -> None:
    info = some_info(ch_names=HOSTILE, device={name: name for name in HOSTILE})
    writer = SessionWriter(tmp_path, info)
    rng = np.random.default_rng(0)
    samples, timestamps = rng.normal(size=(600, len(HOSTILE))), np.arange(600) / 100
    writer.write(samples, timestamps)
    for name in HOSTILE:
        writer.event("marker", name)
    writer.trial("calm", HOSTILE[1] + HOSTILE[3], writer.mark(100), 300)
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [writer.folder.name]
    text = (writer.folder / "signal.csv").read_bytes()
    assert text.count(b"\n") == 601
    (header,) = csv.reader([text.splitlines()[0].decode()])
    assert len(set(header)) == 1 + len(HOSTILE)
    assert all(name.isprintable() and name for name in header)
    assert not any(name.startswith("Marker") for name in header)
    info_back = json.loads((writer.folder / "session.json").read_text())
    assert tuple(info_back["ch_names"]) == HOSTILE
    lines = [json.loads(line) for line in (writer.folder / "events.jsonl").read_bytes().split(b"\n")[:-1]]
    assert tuple(line["text"] for line in lines if line["kind"] == "marker") == HOSTILE
    for path in writer.folder.iterdir():
        assert b"\x1b" not in path.read_bytes(), path
    with (writer.folder / "labels.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["stimulus"] == HOSTILE[1] + HOSTILE[3]
    recording = read_recording(writer.folder / "signal.csv")
    assert recording.samples.tobytes() == samples.tobytes()


def test_header_names_are_plain_and_distinct() -> None:
    assert header_names(["TP9", "Right AUX", "TP9", "a,b", "Marker0"]) == [
        "TP9",
        "Right AUX",
        "TP9_2",
        "a_b",
        "_Marker0",
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A session folder and the bytes of its signal."""
    writer = SessionWriter(tmp_path_factory.mktemp("torn"), some_info())
    for chunk in chunks_of(60):
        writer.write(chunk.samples, chunk.timestamps)
    writer.close()
    path = writer.folder / "signal.csv"
    return path, path.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), nuls=st.sampled_from([0, 1, 100, 5000]))
def test_a_power_cut_costs_no_more_than_what_was_not_written(
    whole: tuple[Path, bytes], data: st.DataObject, nuls: int
) -> None:
    path, content = whole
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut] + bytes(nuls))
    rows = max(0, content[:cut].count(b"\n") - 1)
    try:
        recording = read_recording(path)
    except DataError:
        assert rows < 2
        return
    assert rows
    expected = chunks_of(60, size=60)[0]
    assert recording.samples.tobytes() == expected.samples[:rows].tobytes()
    assert recording.timestamps.tobytes() == expected.timestamps[:rows].tobytes()


def test_times_follow_the_clock_and_not_its_jitter() -> None:
    rng = np.random.default_rng(1)
    n = np.arange(6000)
    late = np.where(rng.random(6000) < 0.2, rng.uniform(0, 0.02, 6000), 0.0)
    timestamps = 5e4 + n / 250.2 + late
    times = SampleTimes(250.0)
    for at in range(0, 6000, 13):
        times.push(timestamps[at : at + 13])
    for sample in (5980, 5500, 4000):
        true = sample / 250.2
        assert times.time_s(sample) == pytest.approx(true, abs=0.003 + late[0])
        assert times.sample_at(5e4 + true) == pytest.approx(sample, abs=1)
    assert times.sample_at(1.7e9) is None
    assert SampleTimes(250.0).sample_at(1.0) is None


@pytest.mark.parametrize("text", ["", "a b", "Jörg", "../x", "a/b", "x" * 65, "-rf", "a\n", "a,b"])
def test_a_pseudonym_is_plain(text: str) -> None:
    from mimamba_edge.errors import ConfigError

    with pytest.raises(ConfigError, match="not a valid name for a subject"):
        check_pseudonym(text)


def test_a_folder_keeps_one_random_pseudonym(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = default_subject(tmp_path)
    assert check_pseudonym(first) == default_subject(tmp_path) == first
    assert default_subject(tmp_path / "other") != first
    (tmp_path / ".subject.json").write_text('{"subject": "../../x"}')
    assert check_pseudonym(default_subject(tmp_path))


def test_runs_are_counted_by_subject_and_session(tmp_path: Path) -> None:
    assert next_run(tmp_path, "p01", "one") == "01"
    for run in ("01", "02", "extra"):
        SessionWriter(tmp_path, some_info(run=run)).close()
    SessionWriter(tmp_path, some_info(run="09", subject="p02")).close()
    assert next_run(tmp_path, "p01", "one") == "03"
    assert next_run(tmp_path, "p01", "two") == "01"


def test_a_source_is_named_without_addresses_and_paths() -> None:
    assert source_kind("brainflow:muse_2?mac_address=00:11:22:33:44:55") == "brainflow:muse_2"
    assert source_kind("/home/jane-doe/eeg.csv") == "recording"
    assert source_kind("C:jane.csv") == "recording"
    assert source_kind("stdin:") == "stdin:"

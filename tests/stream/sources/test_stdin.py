"""Lines on standard input as a source."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError, SourceError
from mimamba_edge.stream.sources.stdin import StdinSource, open_spec


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def test_lines_come_out_as_they_come_in(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    rng = np.random.default_rng(0)
    samples, times = rng.normal(size=(30, 2)), 1e9 + np.cumsum(rng.random(30))
    lines = [f"{t!r},{a!r},{b!r}\n" for t, (a, b) in zip(times.tolist(), samples.tolist(), strict=True)]
    os.write(writer, ("timestamps,TP9,Right AUX\n" + "".join(lines[:3]) + lines[3][:10]).encode())
    source = StdinSource(256.0, descriptor=reader)
    assert (source.ch_names, source.sfreq, source.unit) == (("TP9", "Right AUX"), 256.0, "uV")
    assert source.live
    chunks = source.chunks()
    first = next(chunks)
    np.testing.assert_array_equal(first.samples, samples[:3])
    # A line that is not whole yet is waited for, with heartbeats.
    assert len(next(chunks).samples) == 0
    os.write(writer, (lines[3][10:] + "".join(lines[4:]) + "1.0,2.0").encode())
    os.close(writer)
    rest = list(chunks)
    np.testing.assert_array_equal(np.concatenate([c.samples for c in rest]), samples[3:])
    np.testing.assert_array_equal(np.concatenate([c.timestamps for c in (first, *rest)]), times)


def test_marker_columns_empty_cells_and_line_ends_of_another_system(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(
        writer, b"\xef\xbb\xbftimestamps,TP9,AF7,AF8,TP10,Marker0\r\n1.0,1,,nan,4,0\r\n\r\n2.0,5,6,7,8,1\r\n"
    )
    os.close(writer)
    source = StdinSource(256.0, descriptor=reader)
    assert source.ch_names == ("TP9", "AF7", "AF8", "TP10")
    assert source.rails_uv == (-1000.0, 999.5)
    samples = np.concatenate([chunk.samples for chunk in source.chunks()])
    np.testing.assert_array_equal(samples, [[1, np.nan, np.nan, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    "header",
    [b"", b"1.0,2.0,3.0\n", b"timestamps\n", b"timestamps,Fz,Fz\n", b"\x1b[2J\n", b"timestamps,F\rz\n"],
)
def test_what_does_not_begin_with_names_is_refused(pipe: tuple[int, int], header: bytes) -> None:
    reader, writer = pipe
    os.write(writer, header)
    os.close(writer)
    with pytest.raises(SourceError, match="column names") as caught:
        StdinSource(256.0, descriptor=reader)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("line", [b"1.0,2.0\n", b"1.0,2.0,x\n", b"nan,1,2\n", b"1,2,3,4\n", b"\xff\x00\n"])
def test_a_line_that_cannot_be_understood_is_named(pipe: tuple[int, int], line: bytes) -> None:
    reader, writer = pipe
    os.write(writer, b"timestamps,Fz,Cz\n0.5,1,2\n" + line)
    os.close(writer)
    with pytest.raises(SourceError, match="line 3 of standard input"):
        list(StdinSource(256.0, descriptor=reader).chunks())


def test_close_from_another_thread(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"timestamps,Fz\n")
    source = StdinSource(256.0, descriptor=reader)
    thread = threading.Thread(target=lambda: list(source.chunks()))
    thread.start()
    source.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"sfreq": "fast"},
        {"sfreq": "-1"},
        {"sfreq": "nan"},
        {"sfreq": "256", "unit": "T"},
        {"sfreq": "256", "rails": "5"},
        {"sfreq": "256", "rails": "5,1"},
        {"sfreq": "256", "speed": "max"},
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        open_spec("", parameters)


def test_the_real_standard_input() -> None:
    code = (
        "from mimamba_edge.stream.sources.spec import open_source\n"
        "s = open_source('stdin:?sfreq=100&unit=mV&rails=-5,5')\n"
        "print(s.ch_names, s.sfreq, s.unit, s.rails_uv, sum(len(c.samples) for c in s.chunks()))"
    )
    lines = "timestamps,Fz\n" + "".join(f"{k / 100},{k}\n" for k in range(5000))
    out = subprocess.run(
        [sys.executable, "-c", code], input=lines, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "('Fz',) 100.0 mV (-5.0, 5.0) 5000"

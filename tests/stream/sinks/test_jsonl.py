"""Decisions as JSON lines."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.stream.sinks.jsonl import LinesFile
from mimamba_edge.stream.sinks.spec import open_sink
from tests.stream.sinks.made import decision, stream_info

DOCS = Path(__file__).resolve().parents[3] / "docs"


def _write(path: Path, *numbers: int) -> None:
    sink = open_sink(f"jsonl:{path}")
    sink.begin([stream_info()])
    for number in numbers:
        sink.decision(decision(number=number))
    sink.close()


def _windows(path: Path) -> list[int]:
    return [json.loads(line)["window"][0] // 5 for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_is_in_the_file_before_the_next_decision(tmp_path: Path) -> None:
    path = tmp_path / "new" / "live.jsonl"
    sink = open_sink(f"jsonl:{path}")
    assert sink.lossless
    assert not path.exists()
    sink.begin([stream_info()])
    sink.decision(decision("calm"))
    (line,) = path.read_text(encoding="utf-8").splitlines()
    told = json.loads(line)
    assert told["schema"] == "mimamba.decision.1"
    assert told["label"] == "calm"
    assert told["probs"] == {"calm": 0.75, "happy": 0.25}
    sink.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_decisions_written_before_are_continued(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    _write(path, 0, 1)
    _write(path, 2)
    assert _windows(path) == [0, 1, 2]


@pytest.mark.parametrize("torn", [b'{"schema": "mimamba.deci', b"\0" * 200_000, b'{"schema"' + b"\0" * 9])
def test_what_a_power_cut_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "live.jsonl"
    _write(path, 0, 1)
    with path.open("ab") as file:
        file.write(torn)
    _write(path, 2)
    assert _windows(path) == [0, 1, 2]


def test_a_first_line_that_is_torn_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    path.write_bytes(b'{"schema": "mimamba.decision.1", "t_s": 2')
    _write(path, 4)
    assert _windows(path) == [4]


@pytest.mark.parametrize("content", ['{"label": "calm"}\n', "notes\n", "\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match="something other than decisions"):
        _write(path, 0)
    assert path.read_text(encoding="utf-8") == content


def test_two_streams_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    first = open_sink(f"jsonl:{path}")
    first.begin([stream_info()])
    with pytest.raises(OutputError, match="another stream"):
        _write(path, 0)
    first.close()
    _write(path, 1)
    assert _windows(path) == [1]


def test_the_disk_has_it_soon_though_no_other_decision_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.set())
    sink = LinesFile(tmp_path / "live.jsonl")
    sink.begin([stream_info()])
    sink.decision(decision(number=0))
    assert synced.wait(30)
    synced.clear()
    sink.decision(decision(number=1))
    sink.close()
    assert synced.is_set()


def test_a_full_disk_is_told_and_keeps_whole_lines(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which Linux has")
    sink = open_sink(f"jsonl:{full}")
    sink.begin([stream_info()])
    with pytest.raises(OutputError, match="the disk is full"):
        sink.decision(decision())
    sink.close()


def test_a_pipe_whose_reader_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []

    def reader() -> None:
        with path.open(encoding="utf-8") as file:
            read.append(file.readline())

    thread = threading.Thread(target=reader)
    thread.start()
    sink = open_sink(f"jsonl:{path}")
    sink.begin([stream_info()])
    sink.decision(decision())
    thread.join()
    assert json.loads(read[0])["label"] == "happy"
    with pytest.raises(BrokenPipeError):
        sink.decision(decision())
    sink.close()


def test_wrong_targets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jsonl: needs a path"):
        open_sink("jsonl:")
    with pytest.raises(ConfigError, match="unknown kind of sink"):
        open_sink("csv:x")
    with pytest.raises(OutputError, match="a folder"):
        open_sink(f"jsonl:{tmp_path}").begin([stream_info()])


PROGRAM = """
import sys
from mimamba_edge.stream.sinks.spec import open_sink
from tests.stream.sinks.made import decision, stream_info
sink = open_sink("jsonl:-")
sink.begin([stream_info()])
try:
    for number in range(int(sys.argv[1])):
        sink.decision(decision(number=number))
except Exception as error:
    sys.stderr.write(type(error).__name__ + " " + str(error))
sink.close()
"""


def test_stdout_is_flushed_and_ends_quietly_when_nobody_reads() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["window"] == [0, 20]
        process.stdout.close()
        # Nothing of the interpreter's own about a pipe at its end.
        assert process.stderr.read().split()[0] == "BrokenPipeError"
        assert process.wait(60) == 0


def test_stdout_on_a_full_disk() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "3"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 0
    assert done.stderr.startswith("OutputError the disk is full: stdout")
    assert "Exception ignored" not in done.stderr


def _all_windows(folder: Path) -> list[int]:
    return sorted(number for path in folder.glob("live.jsonl*") for number in _windows(path))


def test_a_thousand_rotations_lose_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation renames the file at any moment, as logrotate does."""
    monkeypatch.setattr(os, "fdatasync", lambda handle: None)  # a slow disk is waited for a thousand times
    path, rotations = tmp_path / "live.jsonl", 1000
    sink = LinesFile(path)
    sink.begin([stream_info()])
    ended = threading.Event()

    def rotate() -> None:
        for turn in range(rotations):
            while not path.exists() or path.stat().st_size == 0:
                time.sleep(1e-5)
            path.rename(tmp_path / f"live.jsonl.{turn}")
        ended.set()

    thread = threading.Thread(target=rotate)
    thread.start()
    written = 0
    while not ended.is_set():
        sink.decision(decision(number=written))
        written += 1
    thread.join()
    sink.close()
    assert len(list(tmp_path.glob("live.jsonl.*"))) == rotations
    assert _all_windows(tmp_path) == list(range(written))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("live.jsonl*")} == {0o600}


def test_a_file_that_was_removed_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    sink = LinesFile(path)
    sink.begin([stream_info()])
    sink.decision(decision(number=0))
    path.unlink()
    sink.decision(decision(number=1))
    sink.close()
    assert _windows(path) == [1]


def test_logrotate_with_the_rules_of_the_documentation(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    if logrotate is None:
        pytest.skip("needs logrotate: apt install logrotate")
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)
    path = kept / "live.jsonl"
    text = (DOCS / "mimamba-edge.logrotate").read_text(encoding="utf-8")
    assert text.count("/var/lib/mimamba-edge/decisions.jsonl") == 1
    rules = tmp_path / "rules"
    rules.write_text(text.replace("/var/lib/mimamba-edge/decisions.jsonl", str(path)), encoding="utf-8")
    rules.chmod(0o644)
    sink = LinesFile(path)
    sink.begin([stream_info()])
    for number in range(40):
        sink.decision(decision(number=number))
        if number % 10 == 9:
            command = [logrotate, "--force", "--state", str(tmp_path / "state"), str(rules)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")
    sink.close()
    packed = list(kept.glob("*.gz"))
    assert len(packed) == 3
    for file in packed:
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert _all_windows(kept) == list(range(40))

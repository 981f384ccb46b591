"""Files that only grow: private, synced beside the caller, whole up to where a disk was full."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mimamba_edge.append import AppendFile, Syncer
from mimamba_edge.errors import OutputError
from mimamba_edge.files import write_json
from mimamba_edge.sessions.folder import SessionWriter
from tests.sessions.sources import chunks_of, some_info


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_everything_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        writer = SessionWriter(tmp_path / "sessions", some_info())
        for chunk in chunks_of(200):
            writer.write(chunk.samples, chunk.timestamps)
        writer.event("marker", "x")
        writer.decision("{}")
        writer.trial("calm", "", writer.mark(0), 100)
        writer.close()
    finally:
        os.umask(before)
    names = {path.name for path in writer.folder.iterdir()}
    assert names == {"session.json", "signal.csv", "events.jsonl", "decisions.jsonl", "labels.csv"}
    assert _mode(tmp_path / "sessions") == _mode(writer.folder) == 0o700
    assert {_mode(path) for path in writer.folder.iterdir()} == {0o600}


def test_a_file_is_private_from_its_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    real = os.open

    def spying(path: object, flags: int, mode: int = 0o777, **keywords: object) -> int:
        handle = real(path, flags, mode, **keywords)  # type: ignore[arg-type]
        if flags & os.O_CREAT:
            modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
            assert flags & os.O_EXCL
        return handle

    before = os.umask(0)
    try:
        monkeypatch.setattr(os, "open", spying)
        AppendFile(tmp_path / "a").close()
        write_json(tmp_path / "b.json", {}, private=True)
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]


def test_the_caller_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, began = threading.Event(), threading.Event()

    def slow(handle: int) -> None:
        began.set()
        assert go_on.wait(30)

    monkeypatch.setattr(os, "fdatasync", slow)
    syncer = Syncer(0.01)
    file = AppendFile(tmp_path / "a")
    syncer.add(file)
    file.append(b"one\n")
    assert began.wait(30)
    # The disk is busy for as long as this test likes; the writer does not notice.
    file.append(b"two\n")
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\n"
    go_on.set()
    file.close()
    syncer.close()


def test_what_is_written_is_synced_again_and_what_is_not_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = AppendFile(tmp_path / "a")
    file.append(b"one\n")
    file.sync()
    file.sync()
    assert len(synced) == 1
    file.append(b"two\n")
    file.close()
    assert len(synced) == 2


def test_a_sync_that_fails_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", failing)
    file = AppendFile(tmp_path / "a")
    file.append(b"one\n")
    file.sync()
    with pytest.raises(OutputError, match="the disk is full"):
        file.append(b"two\n")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"one\n"


def test_the_syncer_keeps_its_promise_and_tells_when_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = threading.Semaphore(0)

    def counted(handle: int) -> None:
        time.sleep(0.002)
        rounds.release()

    monkeypatch.setattr(os, "fdatasync", counted)
    syncer, file = Syncer(0.005), AppendFile(tmp_path / "a")
    syncer.add(file)
    for _ in range(3):
        file.append(b"x")
        assert rounds.acquire(timeout=30)
    syncer.close()
    assert syncer.slowest_s >= 0.002
    file.close()


def test_a_name_that_is_taken_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("elsewhere", "link"):
        with pytest.raises(FileExistsError):
            AppendFile(tmp_path / name)
    assert (tmp_path / "elsewhere").read_text() == "kept"


FULL = """
import resource, sys
from pathlib import Path
from mimamba_edge.errors import MimambaError
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.recorder.capture import Capture, Ending
from tests.sessions.sources import Given, chunks_of, some_info
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
writer = SessionWriter(Path(sys.argv[1]), some_info())
source = Given(chunks_of(5000))
try:
    Capture(source, writer).run(Ending())
except MimambaError as error:
    print(error)
    sys.exit(0 if source.closed else 3)
sys.exit(4)
"""


def test_a_full_disk_ends_the_recording_clearly_and_keeps_what_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "ends here" in done.stdout
    assert "is kept" in done.stdout
    (path,) = tmp_path.glob("*/signal.csv")
    rows = path.read_text().splitlines(keepends=True)[1:]
    assert len(rows) > 300
    last = (path.parent / "events.jsonl").read_text().splitlines()[-1]
    assert '"cut-off"' in last
    assert "reached its size limit" in last
    expected = [
        [float(t), *map(float, x)]
        for chunk in chunks_of(5000)
        for t, x in zip(chunk.timestamps, chunk.samples, strict=True)
    ]
    # Chunks are taken or left whole: what did not fit was taken back.
    assert len(rows) % 7 == 0
    assert [list(map(float, row.split(","))) for row in rows] == expected[: len(rows)]

"""The recorder of a stream, and `record` as a user types it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.cli import main
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.errors import OutputError, SourceError
from mimamba_edge.recorder.capture import Capture, Ending, new_session, stop_signals
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import StreamInfo
from mimamba_edge.stream.sinks.record import Recorder
from mimamba_edge.stream.sources.base import Chunk, Notice
from tests.modelfiles import tiny_contract
from tests.sessions.sources import Given, chunks_of, some_info


def _info(name: str, unit: str = "uV") -> StreamInfo:
    return StreamInfo(
        name=name,
        ch_names=("A", "B"),
        sfreq=100.0,
        unit=unit,
        rails_uv=(-1000.0, 1000.0),
        device={"board": "given"},
        live=True,
        contract=tiny_contract(),
        model="m.onnx",
        model_sha256="ab" * 32,
        channel_map={},
        mains_hz=50.0,
        algorithmic_delay_ms=1.0,
        profile="me",
    )


def _decision(stream: str | None) -> Decision:
    return Decision(1.0, None, (0, 64), None, None, False, "gap", {}, 0.1, 1.0, stream=stream)


def test_a_recorder_makes_a_session_of_each_stream(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "sessions")
    assert recorder.lossless
    recorder.begin([_info("lsl:name=one"), _info("brainflow:muse_2?mac_address=00:11", "V")])
    names = ("lsl:name=one", "brainflow:muse_2?mac_address=00:11")
    chunks = chunks_of(300)
    for chunk in chunks:
        for name in names:
            recorder.chunk(name, chunk)
    recorder.notice(names[1], Notice("lost", "by the counter", n=12, sample=120))
    recorder.decision(_decision(names[1]))
    recorder.notice(names[0], Notice("lost", n=np.int64(1), sample=np.int64(2)))  # type: ignore[arg-type]
    unwritable = dataclasses.replace(_decision(names[0]), quality={"A": {"rms_uv": math.inf}})
    recorder.decision(unwritable)
    recorder.close()
    first, second = recorder.folders
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert read_recording(first / "signal.csv").samples.tobytes() == samples.tobytes()
    assert read_recording(second / "signal.csv").samples.tobytes() == (samples * 1e6).tobytes()
    facts = [json.loads((folder / "session.json").read_text()) for folder in (first, second)]
    base, _, number = facts[0]["subject"].rpartition("-")
    assert (number, facts[1]["subject"]) == ("1", f"{base}-2")
    assert facts[1]["source"] == "brainflow:muse_2"
    assert "00:11" not in json.dumps(facts)
    for key in ("contract_sha256", "model", "model_sha256", "profile", "mains_hz", "rails_uv", "unit"):
        assert facts[0][key] is not None
    lines = [json.loads(line) for line in (second / "events.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["n"], e["sample"]) for e in lines] == [("lost", 12, 120), ("ended", 300, 300)]
    (line,) = (second / "decisions.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "gap"
    assert not (first / "decisions.jsonl").exists()
    lines = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines()]
    assert [e["kind"] for e in lines] == ["lost", "decision-unwritable", "ended"]


def test_one_stream_goes_by_the_pseudonym_of_the_folder_and_counts_runs(tmp_path: Path) -> None:
    facts = []
    for _ in range(2):
        recorder = Recorder(tmp_path)
        recorder.begin([_info("given")])
        recorder.chunk("given", chunks_of(10)[0])
        recorder.decision(_decision(None))
        recorder.close()
        facts.append(json.loads((recorder.folders[0] / "session.json").read_text()))
    assert facts[0]["subject"] == facts[1]["subject"]
    assert [fact["run"] for fact in facts] == ["01", "02"]


def test_what_a_source_gave_before_it_died_is_kept(tmp_path: Path) -> None:
    source = Given(chunks_of(300), ends=SourceError("the device is gone"))
    writer = SessionWriter(tmp_path, some_info())
    with pytest.raises(SourceError, match="gone"):
        Capture(source, writer).run(Ending())
    assert source.closed
    assert len(read_recording(writer.folder / "signal.csv").samples) == 300
    last = json.loads((writer.folder / "events.jsonl").read_text().splitlines()[-1])
    assert (last["kind"], last["text"]) == ("ended", "the device is gone")


def test_nothing_is_left_of_nothing(tmp_path: Path) -> None:
    source = Given([Chunk(np.zeros((0, 2)), np.zeros(0))])
    writer = new_session(tmp_path, source, subject=None, session=None, run=None)
    with pytest.raises(SourceError, match="before a sample"):
        Capture(source, writer).run(Ending())
    assert not writer.folder.exists()


def test_seconds_are_exact_where_the_source_waits_and_by_the_clock_where_it_lives(tmp_path: Path) -> None:
    source = Given(chunks_of(1000))
    writer = SessionWriter(tmp_path, some_info())
    Capture(source, writer).run(Ending(), seconds=3.33)
    assert writer.n == 333
    # A live source that falls silent is not waited for.
    silent = [*chunks_of(70), *([Chunk(np.zeros((0, 2)), np.zeros(0))] * 100)]
    ticks = iter(np.arange(0, 100, 0.1))
    live = SessionWriter(tmp_path, some_info())
    capture = Capture(Given(silent, live=True), live, clock=lambda: float(next(ticks)))
    capture.run(Ending(), seconds=5.0)
    assert live.n == 70


def test_a_live_source_that_gives_nothing_is_not_waited_for_without_end(tmp_path: Path) -> None:
    ticks = iter(np.arange(0, 100, 0.25))
    writer = SessionWriter(tmp_path, some_info())
    silent = Given([Chunk(np.zeros((0, 2)), np.zeros(0))] * 1000, live=True)
    with pytest.raises(SourceError, match="before a sample"):
        Capture(silent, writer, clock=lambda: float(next(ticks))).run(Ending(), seconds=5.0)
    assert 14.0 < next(ticks) < 17.0


def test_losses_are_counted_by_counter_and_by_clock(tmp_path: Path) -> None:
    chunks = chunks_of(2000)
    told = [dataclasses.replace(chunks[0], notices=(Notice("lost", n=5, sample=3),)), *chunks[1:150]]
    # Half a second is missing from sample 1050 on, and nobody says so.
    told += [dataclasses.replace(c, timestamps=c.timestamps + 0.5) for c in chunks[150:]]
    writer = SessionWriter(tmp_path, some_info())
    capture = Capture(Given(told), writer)
    capture.run(Ending())
    assert capture.lost == 55
    lines = [json.loads(line) for line in (writer.folder / "events.jsonl").read_text().splitlines()]
    assert [(e["sample"], e["n"]) for e in lines if e["kind"] == "lost"] == [(3, 5), (1050, 50)]


def test_signals_end_a_recording_and_what_was_ignored_stays_so() -> None:
    usual = signal.getsignal(signal.SIGTERM)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as ending:
            signal.raise_signal(signal.SIGHUP)
            assert not ending.by
            signal.raise_signal(signal.SIGTERM)
            assert ending.by == signal.SIGTERM
            assert not ending.interrupted
            # Who cannot wait for the end in good order presses again.
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is usual
    finally:
        signal.signal(signal.SIGHUP, ignored)


def test_a_failing_disk_is_told_by_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Given(chunks_of(300))
    writer = SessionWriter(tmp_path, some_info())
    real = os.write

    def failing(handle: int, data: bytes) -> int:
        if writer.n >= 140:
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(OutputError, match="the disk is full"):
        Capture(source, writer).run(Ending())
    assert source.closed
    assert len(read_recording(writer.folder / "signal.csv").samples) == 140


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "sim.csv"
    simulated, _ = simulate_recording(["calm", "excited"], trial_s=4.0, seed=3)
    write_recording(path, simulated)
    return path


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mimamba_edge", "record", *arguments]


def _environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}


def test_record_refuses_and_tells(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for arguments, message in (
        ([], "no terminal"),
        (["--yes", "--subject", "Jane Doe"], "not a valid name"),
        (["--yes", "--key", "1=happy"], "--key needs a terminal"),
        (["--yes", "--event", "1=happy"], "--event needs the length"),
        (["--yes", "--markers", "serial:X"], "unknown kind of markers"),
        (["--yes", "--cue", str(tmp_path / "none.csv")], "cannot read the cue script"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["record", "--source", str(recording), "-o", str(tmp_path / "s"), *arguments])
        assert end.value.code == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.glob("s/*/session.json"))


def test_ctrl_c_ends_in_good_order_with_labels_written(tmp_path: Path, recording: Path) -> None:
    cues = tmp_path / "cues.csv"
    cues.write_text("label,seconds\ncalm,0.3\nexcited,60\n", encoding="utf-8")
    process = subprocess.Popen(
        _command("--source", str(recording), "-o", str(tmp_path / "s"), "--cue", str(cues), "--yes"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(tmp_path),
    )
    patience = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob("s/*/labels.csv")):
        assert time.monotonic() < patience
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    folder = Path(out.strip())
    assert "Traceback" not in err
    assert "1 trials" in err
    last = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "ended"
    kept = read_recording(folder / "signal.csv")
    assert len(kept.samples) == last["n"]
    assert kept.samples.tobytes() == read_recording(recording).samples[: last["n"]].tobytes()
    assert read_labels(folder)[0].label == "calm"


def test_on_a_terminal_it_asks_shows_takes_keys_and_leaves_all_as_it_was(
    tmp_path: Path, recording: Path
) -> None:
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    process = subprocess.Popen(
        _command("--source", str(recording), "-o", str(tmp_path / "s"), "--key", "1=happy"),
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        env={**_environment(tmp_path), "TERM": "xterm", "COLUMNS": "100"},
    )
    seen = bytearray()
    patience = time.monotonic() + 60

    def until(words: bytes) -> None:
        while words not in seen:
            assert time.monotonic() < patience, bytes(seen)
            if select.select([leader], [], [], 0.2)[0]:
                seen.extend(os.read(leader, 65536))

    try:
        until(b"Type yes")
        os.write(leader, b"yes\n")
        until(b"keys: 1 happy")
        os.write(leader, b"\x1b[A")  # an arrow is no key
        os.write(leader, b"1")
        until(b"now: happy")
        until(b"contact")
        seen.clear()
        until(b"recording")
        process.send_signal(signal.SIGINT)
        until(b" lost, ")
        out = process.communicate(timeout=60)[0]
        assert process.returncode == 130
        after = termios.tcgetattr(follower)
    finally:
        process.kill()
        process.communicate()
        os.close(leader)
        os.close(follower)
    assert after == before
    folder = Path(out.strip())
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [e["text"] for e in events if e["kind"] == "key"] == ["happy"]
    assert [e["text"] for e in events if e["kind"] in ("trial", "left-out")] == ["happy"]
    assert (tmp_path / "state" / "mimamba-edge" / "recording.json").is_file()

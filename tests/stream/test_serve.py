"""What ``stream`` puts together: model, sources, sinks, options; in this process."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mimamba_edge.cli.app import app
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.errors import MimambaError, OutputError
from mimamba_edge.sessions.describe import row
from mimamba_edge.sessions.store import list_sessions
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.stream.smoothing import Smoother
from tests.modelfiles import tiny_contract, write_model

pytestmark = [pytest.mark.ort, pytest.mark.torch]

CONTRACT = tiny_contract(
    sfreq=128.0, n_times=64, hop=16, filters=default_filters(128.0, 60.0), mains_hz=60.0, temperature=50.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve")
    write_model(path / "m.onnx", CONTRACT)
    for i in range(2):
        write_recording(path / f"{i}.csv", simulate_recording(["calm"], seed=i)[0])
    return path


def _stream(*options: str) -> Any:
    return CliRunner().invoke(app, ["stream", *options])


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_decisions_go_to_stdout_unless_sinks_are_named(folder: Path, tmp_path: Path) -> None:
    source = ["--source", str(folder / "0.csv"), "--speed", "max"]
    plain = _stream(str(folder / "m.onnx"), *source)
    assert plain.exit_code == 0, plain.output
    lines = _lines(plain.stdout)
    windows = stream_windows(read_recording(folder / "0.csv"), CONTRACT)
    assert [tuple(line["window"]) for line in lines] == [(w.start, w.stop) for w in windows]
    assert f"{len(windows)} windows" in plain.stderr
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    named = _stream(str(folder / "m.onnx"), *source, *(f"--sink=jsonl:{path}" for path in files))
    assert (named.exit_code, named.stdout) == (0, "")
    for path in files:
        again = _lines(path.read_text())
        assert [(a["window"], a["probs"]) for a in again] == [(a["window"], a["probs"]) for a in lines]


def test_two_sources_are_two_streams(folder: Path) -> None:
    sources = [str(folder / f"{i}.csv") for i in range(2)]
    done = _stream(str(folder / "m.onnx"), "--speed=max", *(f"--source={path}" for path in sources))
    assert done.exit_code == 0, done.output
    lines = _lines(done.stdout)
    assert {line["stream"] for line in lines} == set(sources)
    for path in sources:
        windows = stream_windows(read_recording(Path(path)), CONTRACT)
        assert [line["window"][0] for line in lines if line["stream"] == path] == [w.start for w in windows]
        assert f"{path}: ended" in done.stderr


def test_smoothing_hysteresis_and_seconds(folder: Path) -> None:
    source = [str(folder / "m.onnx"), "--source", str(folder / "0.csv"), "--speed=max"]
    plain = _lines(_stream(*source).stdout)
    smooth = _lines(_stream(*source, "--smooth=0.5", "--hysteresis=0.1", "--seconds=6").stdout)
    assert smooth[-1]["t_s"] == pytest.approx(6, abs=0.15)
    smoother = Smoother(2, 0.125, 0.5, 0.1)
    extra_ms = 1e3 * smoother.delay_s
    for a, b in zip(plain, smooth, strict=False):
        assert b["algorithmic_delay_ms"] == pytest.approx(a["algorithmic_delay_ms"] + extra_ms, abs=2e-3)
        if a["valid"]:
            p, label = smoother.push(np.array([*a["probs"].values()]), a["window"][1] / 128)
            assert list(b["probs"].values()) == pytest.approx(p, abs=5e-6)
            assert b["label"] == CONTRACT.class_names[label]


def test_options_that_cannot_work_are_told_without_a_trace(folder: Path, tmp_path: Path) -> None:
    source = [str(folder / "m.onnx"), "--source", str(folder / "0.csv")]
    for options, named in (
        (["--source", str(folder / "none.csv")], "is not there"),
        (["--source", "muse_2"], "did you mean brainflow:muse_2?"),
        (["--source", str(folder / "m.onnx")], "did you swap MODEL and --source"),
        (["--mains", "55"], "50 or 60"),
        (["--speed", "slow"], "realtime or max"),
        (["--deadline", "2000"], "deadline"),
        (["--sink", "fax:1"], "unknown kind of sink"),
        (["--map", "TP9"], "--map"),
        (["--map", "Cz=TP9"], "does not have"),
        (["--map", "TP9=Cz"], "lacks channels"),
        (["--hysteresis", "1"], "hysteresis"),
        (["--source", "fax:1"], "unknown kind of source"),
        (["--profile", str(tmp_path / "none.json")], "none.json"),
    ):
        done = _stream(*source, *options)
        assert isinstance(done.exception, MimambaError), options
        assert done.exception.exit_code == 2
        assert named in str(done.exception)
        assert done.stdout == ""


def test_another_mains_frequency_is_told_of(folder: Path) -> None:
    source = ["--source", str(folder / "0.csv"), "--speed=max", "--seconds=3"]
    assert "mains" not in _stream(str(folder / "m.onnx"), *source, "--mains=60").stderr
    done = _stream(str(folder / "m.onnx"), *source, "--mains=50")
    assert done.exit_code == 0
    assert "notch at 50 Hz; the training had 60" in done.stderr


def test_the_system_ends_it_in_good_order(folder: Path) -> None:
    """SIGTERM, as a service manager sends it, is an end like any other; so is a hang-up."""
    for number, code in ((signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)):

        def send(number: int = number) -> None:
            before = signal.getsignal(number)
            while signal.getsignal(number) == before:
                time.sleep(0.01)
            time.sleep(0.7)
            os.kill(os.getpid(), number)

        threading.Thread(target=send, daemon=True).start()
        done = _stream(str(folder / "m.onnx"), "--source", str(folder / "0.csv"))
        assert done.exit_code == code, done.output
        assert "windows:" in done.stderr


def test_recording_asks_first_and_says_where(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = [str(folder / "m.onnx"), "--source", str(folder / "0.csv"), "--speed=max"]
    options += ["--record", str(tmp_path / "sessions")]
    assert isinstance(_stream(*options).exception, MimambaError)
    assert not (tmp_path / "sessions").exists()
    done = _stream(*options, "--yes")
    assert done.exit_code == 0, done.output
    (written,) = (tmp_path / "sessions").glob("*/signal.csv")
    assert f"recorded in {written.parent}" in done.stderr
    recorded, given = read_recording(written), read_recording(folder / "0.csv")
    assert (recorded.samples == given.samples).all()
    assert (recorded.timestamps == given.timestamps).all()
    assert (written.parent / "decisions.jsonl").read_text() == done.stdout
    path = Preprocessor(CONTRACT, recorded.format)
    assert len(path.push(recorded.samples, recorded.timestamps)) == len(_lines(done.stdout))


def test_the_page_takes_nothing_away_from_a_file_or_a_program(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("websockets", reason="needs websockets: pip install 'mimamba-edge[live]'")
    source = [str(folder / "m.onnx"), "--source", str(folder / "0.csv"), "--speed=max"]
    page = ["--page", "--page-port=0"]
    done = _stream(*source, *page)
    assert done.exit_code == 0, done.output
    windows = stream_windows(read_recording(folder / "0.csv"), CONTRACT)
    assert [tuple(line["window"]) for line in _lines(done.stdout)] == [(w.start, w.stop) for w in windows]
    assert "page: http://127.0.0.1:" in done.stderr
    assert "jsonl:-" not in done.stderr
    # Who names sinks has named all of them.
    done = _stream(*source, *page, f"--sink=jsonl:{tmp_path / 'a.jsonl'}")
    assert (done.exit_code, done.stdout) == (0, "")
    assert len(_lines((tmp_path / "a.jsonl").read_text())) == len(windows)


def test_on_a_terminal_the_page_shows_what_the_lines_would_bury(folder: Path) -> None:
    pytest.importorskip("websockets", reason="needs websockets: pip install 'mimamba-edge[live]'")
    options = ["--source", str(folder / "0.csv"), "--speed=max", "--seconds=4"]
    command = [sys.executable, "-m", "mimamba_edge", "stream", str(folder / "m.onnx"), *options]
    page = ["--page", "--page-port=0"]
    for more, lines in (([], True), (page, False), ([*page, "--sink=jsonl:-"], True)):
        leader, follower = pty.openpty()
        try:
            done = subprocess.run(
                [*command, *more], stdout=follower, stderr=subprocess.PIPE, text=True, timeout=60
            )
            written = b"schema" in os.read(leader, 4096) if select.select([leader], [], [], 0)[0] else False
        finally:
            os.close(leader)
            os.close(follower)
        assert done.returncode == 0, done.stderr
        assert written == lines
        assert ("on the page only; to print them here too: --sink jsonl:-" in done.stderr) == (not lines)


def test_a_last_source_that_fails_is_no_success(folder: Path, tmp_path: Path) -> None:
    """A service has to be started again: decisions before the failure make no success of it."""
    text = (folder / "0.csv").read_text().splitlines(keepends=True)
    command = [sys.executable, "-m", "mimamba_edge", "stream", str(folder / "m.onnx")]
    command += ["--source", "stdin:?sfreq=256"]
    for end, code in (("", 0), ("1,2,3\n", 2)):
        whole = "".join(text[:1500]) + end
        done = subprocess.run(command, input=whole, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert len(_lines(done.stdout)) > 10
        assert "Traceback" not in done.stderr
    assert "mimamba-edge: line 1501 of standard input is not a row of samples" in done.stderr


def test_a_full_disk_ends_the_recording_of_a_stream_as_cut_off(folder: Path, tmp_path: Path) -> None:
    """The last event would still fit on the disk: it must not call the session whole."""
    command = [sys.executable, "-m", "mimamba_edge", "stream", str(folder / "m.onnx"), "--speed=max"]
    command += ["--source", str(folder / "0.csv"), "--record", str(tmp_path / "s"), "--yes"]
    limit = (60_000, 60_000)
    done = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "mimamba-edge: the file has reached its size limit: " in done.stderr
    assert "Traceback" not in done.stderr
    # The decisions, which went elsewhere, are all there.
    windows = stream_windows(read_recording(folder / "0.csv"), CONTRACT)
    assert len(_lines(done.stdout)) == len(windows)
    (session,) = list_sessions(tmp_path / "s")
    assert not session.ended
    assert row(session)[-1] == "cut off"
    last = json.loads((session.folder / "events.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "cut-off"
    recorded, given = read_recording(session.folder / "signal.csv"), read_recording(folder / "0.csv")
    assert 100 < len(recorded.samples) == last["n"] < len(given.samples)
    assert (recorded.samples == given.samples[: last["n"]]).all()


def test_a_sink_that_fails_is_told_by_the_exit_code(folder: Path, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which Linux has")
    options = ["--source", str(folder / "0.csv"), "--speed=max"]
    done = _stream(str(folder / "m.onnx"), *options, f"--sink=jsonl:{full}", "--sink=jsonl:-")
    assert isinstance(done.exception, OutputError)
    assert "the disk is full: /dev/full" in str(done.exception)
    # The other one got everything.
    windows = stream_windows(read_recording(folder / "0.csv"), CONTRACT)
    assert len(_lines(done.stdout)) == len(windows)
    assert "the stream goes on" in done.stderr
    assert "closed before the end: jsonl:/dev/full" in done.stderr

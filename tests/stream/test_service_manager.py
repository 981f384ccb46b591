"""What a stream tells systemd, and a stream that its watchdog ended: this test plays systemd."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.load import builtin_model
from mimamba_edge.stream.service_manager import ServiceManager

RATE = 256


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(30)
        yield link


def _told(link: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in link.recv(4096).decode().splitlines())


def test_what_is_told_and_how_often(manager: socket.socket, tmp_path: Path) -> None:
    times = iter((100.0, 100.3, 100.9, 101.0, 101.5, 103.0))
    service = ServiceManager(str(tmp_path / "notify"), clock=lambda: next(times))
    service.ready()
    assert _told(manager)["READY"] == "1"
    for _ in range(6):
        service.decided()
    told = [_told(manager) for _ in range(3)]
    assert [one["WATCHDOG"] for one in told] == ["1"] * 3
    assert [one["STATUS"] for one in told] == ["1 decisions", "4 decisions", "6 decisions"]
    service.stopping()
    assert _told(manager) == {"STOPPING": "1"}


def test_the_abstract_namespace() -> None:
    name = f"mimamba-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(f"\0{name}")
        link.settimeout(10)
        ServiceManager(f"@{name}").ready()
        assert _told(link)["READY"] == "1"


def test_nobody_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ServiceManager(str(tmp_path / "gone")).ready()
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ServiceManager.of_environment().decided()


def _signal(start_s: float, seconds: float) -> str:
    count = round(seconds * RATE)
    times = start_s + np.arange(count) / RATE
    samples = np.random.default_rng(0).normal(0, 20, (count, 4))
    rows = (f"{t:.6f}," + ",".join(f"{x:.3f}" for x in row) for t, row in zip(times, samples, strict=True))
    return "\n".join(rows) + "\n"


@pytest.mark.ort
def test_a_stream_whose_decisions_stop_is_ended_and_continues_its_file(
    manager: socket.socket, tmp_path: Path
) -> None:
    """The process lives on, with a source that is silent: only the decisions stop."""
    decisions = tmp_path / "decisions.jsonl"
    command = [sys.executable, "-m", "mimamba_edge", "stream", str(builtin_model())]
    command += ["--source", f"stdin:?sfreq={RATE}", "--sink", f"jsonl:{decisions}"]
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    before = 0
    for turn in range(2):
        stream = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert stream.stdin is not None
        try:
            stream.stdin.write("timestamps,TP9,AF7,AF8,TP10\n")
            stream.stdin.write(_signal(1e9 + 100 * turn, 3.0))
            stream.stdin.flush()
            assert "READY" in _told(manager)
            assert _told(manager)["WATCHDOG"] == "1"
            # Silence now, and systemd would wait for another word in vain.
            manager.settimeout(1.5)
            with contextlib.suppress(TimeoutError):
                assert "WATCHDOG" in _told(manager)  # of the same seconds of signal
                with pytest.raises(TimeoutError):
                    _told(manager)
            assert stream.poll() is None
            stream.send_signal(signal.SIGABRT)
            assert stream.wait(30) == -signal.SIGABRT
        finally:
            manager.settimeout(30)
            stream.kill()
            with contextlib.suppress(BrokenPipeError):
                stream.stdin.close()
            stream.wait()
        lines = [json.loads(line) for line in decisions.read_text(encoding="utf-8").splitlines()]
        assert len(lines) > before
        before = len(lines)
    starts = [line["window"][0] for line in lines]
    assert starts.count(0) == 2  # the second stream began where the first one's lines end

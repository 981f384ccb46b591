"""Runs the command line in forked children: all packages are imported once, so that a run costs milliseconds.

``python -m tests.attack.forks`` is the server: a job a line on its standard input, a result a line on its
standard output. Each child has its own folder, environment, standard streams and limits, and leaves through
the interpreter's own end, as a process of its own would.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Job", "Result", "Server", "run_process"]

CAP_BYTES = 3 << 30
"""A child that holds more is ended at once; how much it may hold by the rules is judged later."""
_IMPORTS = (
    "torch",
    "torch.export",
    "torch.onnx",
    "onnx",
    "onnx.checker",
    "onnxruntime",
    "safetensors.torch",
    "scipy.signal",
    "scipy.stats",
    "pyxdf",
    "mne",
    "mne.io",
    "websockets",
    "rich.table",
    "rich.console",
    "mimamba_edge.cli.app",
    "mimamba_edge.inspection",
    "mimamba_edge.stream.serve",
    "mimamba_edge.export.checkpoint",
    "mimamba_edge.export.runner",
    "mimamba_edge.export.jobs.local",
    "mimamba_edge.export.training.pipeline",
    "mimamba_edge.export.training.finetune",
    "mimamba_edge.export.onnx.export",
    "mimamba_edge.export.quantize.pipeline",
    "mimamba_edge.export.evaluation.pipeline",
    "mimamba_edge.runtime.ort",
    "mimamba_edge.bench.run",
    "mimamba_edge.parity.compare",
    "mimamba_edge.stream.signal_check",
    "mimamba_edge.calibration.make_profile",
    "mimamba_edge.recorder.capture",
)


@dataclass(frozen=True)
class Job:
    """One run of the command line.

    Attributes:
        args: Its arguments.
        cwd: Working folder; ``out`` and ``err`` are written beside it unless named otherwise.
        env: Environment to set; ``None`` takes a variable away.
        stdin: A path, ``"null"``, ``"closed"`` or ``"open"`` (a pipe that says nothing).
        stdout: A path, ``"closed"`` or ``"broken"`` (a pipe that nobody reads).
        stderr: As ``stdout``.
        deadline_s: It is killed after this much time of its own, or four times as much by the clock.
        signals: ``(seconds, number)``: sent that long after the start.
        limits: ``(resource, bytes)``.
    """

    args: list[str]
    cwd: str
    env: dict[str, str | None] = field(default_factory=dict)
    stdin: str = "null"
    stdout: str = "out"
    stderr: str = "err"
    deadline_s: float = 20.0
    signals: list[tuple[float, int]] = field(default_factory=list)
    limits: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code (negative: killed by a signal), time, most memory, whether it was late."""

    code: int
    seconds: float
    mib: float
    late: bool


def _set_streams(job: Job) -> None:
    """Make descriptors 0, 1 and 2 what the job says."""
    ends = []
    if job.stdin == "open":
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        os.dup2(reading, 0)
        ends.append(reading)
    elif job.stdin == "closed":
        os.close(0)
    else:
        handle = os.open("/dev/null" if job.stdin == "null" else job.stdin, os.O_RDONLY)
        os.dup2(handle, 0)
        ends.append(handle)
    for number, name in ((1, job.stdout), (2, job.stderr)):
        if name == "closed":
            os.close(number)
            continue
        if name == "broken":
            reading, handle = os.pipe()
            os.close(reading)
        else:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(handle, number)
        ends.append(handle)
    for handle in ends:
        if handle > 2:
            os.close(handle)


def _prepare(job: Job) -> None:
    os.setsid()
    os.chdir(job.cwd)
    _set_streams(job)
    for name, value in job.env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
    for what, most in job.limits:
        resource.setrlimit(what, (most, most))


def _wait(pid: int, job: Job) -> Result:
    """Wait for a child; it and what it started end with its deadline."""
    began, late, signals = time.monotonic(), False, sorted(job.signals)
    peak, busy = 0, 0.0
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        seconds = time.monotonic() - began
        if ended:
            break
        with contextlib.suppress(OSError, ValueError, IndexError):
            peak = max(peak, int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize())
        while signals and seconds >= signals[0][0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signals[0][1])
            signals.pop(0)
            # On a busy machine a process is late by its own time, or when nothing at all comes of it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            busy = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if not late and (busy > job.deadline_s or seconds > 4 * job.deadline_s or peak > CAP_BYTES):
            late = peak <= CAP_BYTES
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002 if seconds < 0.2 else 0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    mib = max(peak, usage.ru_maxrss << 10) / (1 << 20)
    return Result(os.waitstatus_to_exitcode(status), round(seconds, 3), round(mib, 1), late)


def run_process(job: Job) -> Result:
    """Run a real process: where the interpreter's own start is what matters."""
    with contextlib.ExitStack() as stack:
        keep: dict[str, Any] = {}
        if job.stdin == "open":
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            stack.callback(os.close, reading)
            keep["stdin"] = reading
        environment = {**os.environ, **{k: v for k, v in job.env.items() if v is not None}}
        for name, value in job.env.items():
            if value is None:
                environment.pop(name, None)
        # The child's own streams are set by a shell, which can close them, before Python starts.
        words = {"null": "</dev/null", "closed": "<&-", "open": ""}
        redirect = [words.get(job.stdin, f"<'{job.stdin}'")]
        for number, name in ((1, job.stdout), (2, job.stderr)):
            redirect.append(f"{number}>&-" if name == "closed" else f"{number}>'{name}'")
        limits = "".join(
            f"ulimit -v {most >> 10}; " for what, most in job.limits if what == resource.RLIMIT_AS
        )
        script = f'{limits}exec "$@" {" ".join(redirect)}'
        command = [sys.executable, "-m", "mimamba_edge", *job.args]
        process = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *command],
            cwd=job.cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **keep,
        )
        result = _wait(process.pid, job)
        process.returncode = result.code
        return result


class Server:
    """A process that has imported everything and forks a child for each job."""

    def __init__(self) -> None:
        here = Path(__file__).resolve().parents[2]
        paths = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.attack.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=here,
            text=True,
        )
        self._lock = threading.Lock()

    def run(self, job: Job) -> Result:
        """Run a job; one at a time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
            return Result(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def _serve() -> Job | None:
    """Answer jobs until there are no more: ``None``; in a child: return its job."""
    import importlib

    for name in _IMPORTS:
        importlib.import_module(name)
    answers = os.dup(1)
    os.dup2(2, 1)
    jobs = os.fdopen(os.dup(0), "r")
    os.set_inheritable(answers, False)
    while line := jobs.readline():
        job = Job(**json.loads(line))
        # A Ctrl-C while the interpreter forks would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            jobs.close()
            _prepare(job)
            return job
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.write(answers, (json.dumps(asdict(_wait(pid, job))) + "\n").encode())
    os._exit(0)


def _leave(code: object) -> None:
    """End a child as the interpreter would, but for the destructors of libraries.

    Those wait for threads that a forked child does not have.
    """
    number = code if isinstance(code, int) else 0 if code is None else 1
    if isinstance(code, str):
        sys.stderr.write(code + "\n")
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"Exception ignored while flushing: {error!r}\n")
            number = 120
    os._exit(number & 0xFF)


if __name__ == "__main__":
    try:
        asked = _serve()
        assert asked is not None
        sys.argv = ["mimamba-edge", *asked.args]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        from mimamba_edge.cli import main

        _leave(main())
    except SystemExit as end:
        _leave(end.code)
    except KeyboardInterrupt as error:
        # One that came before the command line's first line was answered in this file.
        if any("mimamba_edge" in frame.filename for frame in traceback.extract_tb(error.__traceback__)):
            traceback.print_exc()
        _leave(130)
    except BaseException:
        traceback.print_exc()
        _leave(1)

"""Runs the builder in a process of its own and explains how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mimamba_edge import errors
from mimamba_edge.errors import EngineError, OutputError
from mimamba_edge.machine.memory import meminfo_bytes, swap_bytes

__all__ = ["run_builder"]

COMMAND = [sys.executable, "-m", "mimamba_edge.trt.worker"]
_QUOTED = 3


def run_builder(
    request: dict[str, Any],
    log: Path,
    *,
    on_progress: Callable[[str, float], None],
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Let a child process build (see :mod:`mimamba_edge.trt.worker`) and return what it tells at its end.

    Args:
        request: ``onnx``, ``plugin``, ``plan``, ``timings`` (paths), ``shapes``.
        log: Takes what TensorRT says.
        on_progress: Called with what is done now and the share that is done.
        on_note: Called with what the user should know.

    Raises:
        EngineError: The build failed, was killed or crashed; the log is named.
        OutputError: The log or the plan cannot be written.
        MimambaError: What else the child reports.
    """
    with _open(log) as stderr:
        ended, code = _run(request, stderr, on_progress, on_note)
    if "result" in ended and code == 0:
        result: dict[str, Any] = ended["result"]
        return result
    if "error" in ended:
        kind = getattr(errors, ended["error"], EngineError)
        do = "; ".join(part for part in (ended["do"], f"TensorRT's log: {log}") if part)
        raise kind(ended["what"], got=ended["got"], expected=ended["expected"], do=do)
    raise _explain(code, log)


def _open(log: Path) -> IO[bytes]:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("wb")
    except OSError as error:
        raise OutputError(
            f"cannot write {log}", got=error.strerror, do="set MIMAMBA_CACHE to a folder that can be written"
        ) from error


def _run(
    request: dict[str, Any],
    stderr: IO[bytes],
    on_progress: Callable[[str, float], None],
    on_note: Callable[[str], None],
) -> tuple[dict[str, Any], int]:
    """Return the child's last word (empty if it had none) and its exit code."""
    # With -m the current folder would be searched for packages first (Python 3.11 and later heed this).
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
    )
    ended: dict[str, Any] = {}
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # It ended before it listened; its exit code says why.
            child.stdin.write(json.dumps(request))
            child.stdin.close()
        for line in child.stdout:
            try:
                told = json.loads(line)
            except ValueError:  # Killed while it wrote.
                continue
            if "share" in told:
                on_progress(told["phase"], told["share"])
            elif "note" in told:
                on_note(told["note"])
            else:
                ended = told
        return ended, child.wait()
    finally:
        # Ctrl-C and errors: nobody is left to use what it builds.
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _explain(code: int, log: Path) -> EngineError:
    """Return why a child without a last word ended."""
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    # TensorRT's errors say more than the stack that a crash leaves at the end.
    errors_said = [line for line in said if line.startswith(("[ERROR]", "[INTERNAL_ERROR]"))]
    native = "; ".join((errors_said or said)[-_QUOTED:]) or "nothing"
    last = "; ".join(dict.fromkeys((*errors_said[-_QUOTED:], *said[-1:]))) or "nothing"
    if code == -signal.SIGKILL:
        total, swap = meminfo_bytes("MemTotal"), swap_bytes()
        memory = (
            "" if total is None else f"; this machine has {total >> 20} MiB of memory, {swap >> 20} of swap"
        )
        return EngineError(
            "the builder was killed, which usually means that memory ran out (sudo dmesg | grep -i oom)",
            got=f"signal 9{memory}",
            do="close other programs (also the desktop), add swap on disk (most important on an Orin Nano), "
            f"or build for a smaller batch; TensorRT's log: {log}",
        )
    if code < 0:
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else f"signal {-code}"
        return EngineError(
            f"the builder crashed ({name}) in native code",
            got=f"last in its log: {native}",
            do="build the plugin again for this TensorRT (mimamba-edge plugin build) and look at "
            f"`mimamba-edge doctor`; TensorRT's log, with the Python stack: {log}",
        )
    return EngineError(
        "the builder ended without an engine",
        got=f"exit {code}; last in its log: {last}",
        do=f"see the log: {log}",
    )

"""The builder's process: ``python -m mimamba_edge.trt.worker`` (see :mod:`mimamba_edge.trt.child`).

A build can be killed for memory or crash in native code; then it takes only this process along. The request
is one JSON object on stdin, progress, notes and the end are JSON lines on stdout. All else that is written to
stdout or stderr here, by TensorRT, plugins or Python, goes to stderr, which the parent keeps as the log.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import write_bytes
from mimamba_edge.errors import MimambaError, OutputError
from mimamba_edge.machine.memory import meminfo_bytes
from mimamba_edge.trt.api import Api, Shapes, load_tensorrt
from mimamba_edge.trt.cuda import Cuda, load_cuda
from mimamba_edge.trt.plugin import load_plugin
from mimamba_edge.trt.timings import read_timings, write_timings

__all__ = ["EVERY_S", "Lines", "build_engine", "main", "workspace_bytes"]

_LEAST_WORKSPACE = 32 << 20
EVERY_S = 0.1
"""Seconds between progress lines; a build reports thousands of steps."""


class Lines:
    """JSON lines to the parent, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._said = ("", 0.0)

    def send(self, **values: Any) -> None:
        """Write one line."""
        with self._lock:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Let go of the pipe."""
        self._file.close()

    def progress(self, phase: str, share: float) -> bool:
        """Tell the parent how far the build is; false, which ends the build, if it is gone."""
        told, when = self._said
        now = time.monotonic()
        if now - when < EVERY_S and share < 1:
            return True
        self._said = (phase if phase != told else told, now)
        try:
            self.send(phase=phase, share=share)
        except OSError:
            return False
        return True


def workspace_bytes(cuda: Cuda, root: Path = Path("/")) -> int:
    """Return how much memory a layer may use for intermediate results.

    Half of what is free on a GPU with memory of its own. On an integrated one a quarter of what the system
    can give, because the builder's host side and all other programs live in the same memory; CUDA's own
    figure leaves out what the system could reclaim (NVIDIA, "CUDA for Tegra", estimating total allocatable
    device memory).
    """
    free, _ = cuda.mem_get_info()
    if not cuda.device().integrated:
        return max(free // 2, _LEAST_WORKSPACE)
    available = meminfo_bytes("MemAvailable", root)
    return max((free if available is None else available) // 4, _LEAST_WORKSPACE)


def build_engine(request: dict[str, Any], lines: Lines) -> dict[str, Any]:
    """Build what the request names and return what the parent is told at the end."""
    api = load_tensorrt()
    cuda = load_cuda()
    _log_to_stderr(api)
    load_plugin(api.trt, Path(request["plugin"]), logger=api.logger)
    room = min(workspace_bytes(cuda), cuda.device().total_memory_bytes)
    sys.stderr.write(f"workspace {room >> 20} MiB\n")
    cache = Path(request["timings"])
    timings, note = read_timings(cache)
    if note:
        lines.send(note=note)
    shapes: dict[str, Shapes] = {
        name: (tuple(least), tuple(best), tuple(most))
        for name, (least, best, most) in request["shapes"].items()
    }
    built = api.build(
        Path(request["onnx"]).read_bytes(),
        shapes=shapes,
        workspace_bytes=room,
        timings=timings,
        on_progress=lines.progress,
    )
    for note in built.notes:
        lines.send(note=note)
    write_bytes(Path(request["plan"]), built.plan)
    if built.timings:
        try:
            write_timings(cache, built.timings)
        except OutputError as error:
            # The plan is there; only the next build is slower.
            lines.send(note=f"the timing cache was not kept: {error.what}")
    return {"workspace_bytes": room, "plan_bytes": len(built.plan)}


def _log_to_stderr(api: Api) -> None:
    def write(severity: str, text: str) -> None:
        if severity != "VERBOSE":
            sys.stderr.write(f"[{severity}] {text}\n")

    api.logger.sink = write


def main() -> None:
    """Build what stdin asks for; exit 0 if an end was told, whatever it is."""
    # Ctrl-C reaches the whole foreground group. Python would see it only after the native build.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    faulthandler.enable()
    lines = Lines(os.dup(1))
    os.dup2(2, 1)
    try:
        request = json.load(sys.stdin)
        lines.send(result=build_engine(request, lines))
    except MimambaError as error:
        told = {key: None if value is None else str(value) for key, value in vars(error).items()}
        lines.send(error=type(error).__name__, **told)


if __name__ == "__main__":
    main()

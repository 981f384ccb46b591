"""The same model and weights through other exporters: transformers' own, and torch's as it is."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.compat.entry import Compared, imported
from mimamba_edge.errors import MimambaError
from mimamba_edge.numerics.metrics import sqnr_db

__all__ = ["LIMIT_S", "export_by_others"]

LIMIT_S = 45.0
"""Processor seconds that another exporter may take for one model."""
_JUDGED = 4
"""Inputs whose answers are compared."""
Session = Callable[[NDArray[Any]], list[NDArray[Any]]]


class _TooLong(BaseException):
    """No ``except Exception`` of an exporter holds it up."""


def export_by_others(
    model: nn.Module, entry: Compared, windows: NDArray[Any], answers: Sequence[NDArray[Any]], folder: Path
) -> dict[str, tuple[dict[str, Any], Session | None]]:
    """Export a model by each exporter that takes it, at batch 1.

    Args:
        model: In evaluation mode.
        entry: Its row.
        windows: Inputs, and
        answers: what the model gives for them, output by output.
        folder: For the files.

    Returns:
        By exporter: figures, or ``{"failed": why}``; and the session that runs the file.
    """
    ways: dict[str, Callable[[Path], object]] = {}
    example = torch.from_numpy(windows[:1])
    if entry.keyword:
        keyword = entry.keyword
        ways["transformers"] = lambda at: _by_transformers(model, {keyword: example}, at)
    ways["torch"] = lambda at: _by_torch(model, example, at)
    return {name: _tried(way, folder / name, windows, answers) for name, way in ways.items()}


def _by_transformers(model: nn.Module, inputs: dict[str, torch.Tensor], at: Path) -> None:
    exporters: Any = imported("transformers.exporters")
    exporters.OnnxExporter().export(model, inputs, exporters.OnnxConfig()).save_pretrained(at)


def _by_torch(model: nn.Module, example: torch.Tensor, at: Path) -> None:
    program = torch.onnx.export(model, (example,), dynamo=True, verbose=False)
    assert program is not None  # it returns None without dynamo
    program.save(at / "model.onnx")


def _tried(
    way: Callable[[Path], object], at: Path, windows: NDArray[Any], answers: Sequence[NDArray[Any]]
) -> tuple[dict[str, Any], Session | None]:
    at.mkdir()
    start = time.process_time()
    try:
        with _at_most(LIMIT_S), _silent():
            way(at)
    except _TooLong:
        return {"failed": f"no end within {LIMIT_S:.0f} s of processor time"}, None
    except Exception as error:  # whatever a model sets off in another's exporter is a result
        return {"failed": _reason(error)}, None
    figures: dict[str, Any] = {"export_s": time.process_time() - start}
    figures["file_bytes"] = sum(file.stat().st_size for file in at.iterdir() if "onnx" in file.name)
    figures["nodes"] = _nodes(onnx.load(at / "model.onnx", load_external_data=False).graph)
    try:
        session = _session(at / "model.onnx")
        given = [session(one[None]) for one in windows[:_JUDGED]]
    except Exception as error:  # of ONNX Runtime
        return {**figures, "failed": _reason(error)}, None
    got = [np.concatenate(values) for values in zip(*given, strict=True)]
    if len(got) != len(answers):
        return {**figures, "failed": f"{len(got)} outputs in place of {len(answers)}"}, None
    figures["sqnr_db"] = min(
        sqnr_db(right[:_JUDGED].astype(np.float64), value.astype(np.float64))
        for right, value in zip(answers, got, strict=True)
    )
    return figures, session


def _nodes(graph: onnx.GraphProto) -> int:
    """Return the nodes of a graph and of the graphs in it."""
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return len(graph.node) + sum(map(_nodes, inner))


def _session(path: Path) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda one: session.run(None, {name: one})


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, MimambaError):
        return error.what  # a stub of ours stands for a compiled kernel
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0]}"[:120].replace("|", "/")


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Stop the block after so much processor time of this process."""

    def stop(number: int, frame: object) -> None:
        raise _TooLong

    held = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again, should something have held the first one up
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, held)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep exporters' own progress and warnings off the terminal."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)

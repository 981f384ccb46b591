"""JSON lines: decisions on one text stream, the summary for people on another."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from mimamba_edge.errors import SourceError
from mimamba_edge.stream.engine import Engine

__all__ = ["describe", "write_lines"]


def write_lines(engine: Engine, out: TextIO, err: TextIO) -> int:
    """Write a line for each decision as it is made, then the summary.

    Ctrl-C ends the stream in good order. A reader that went away (``| head``) ends it without a word.

    Returns:
        The exit code: 0, or 130 after Ctrl-C.

    Raises:
        SourceError: The source ended before a window was full.
    """
    code = 0
    try:
        for decision in engine.decisions():
            out.write(decision.to_json() + "\n")
            out.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        if out is sys.stdout:
            # The interpreter flushes stdout once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 0
    summary = engine.summary()
    err.write(describe(summary) + "\n")
    if not code and not summary["windows"]:
        raise SourceError(
            "the signal ended before a window was full",
            got=f"{summary['samples']} samples",
            expected=f"at least {engine.contract.window_s:g} s of signal",
            do="stream a longer recording",
        )
    return code


def describe(summary: dict[str, Any]) -> str:
    """Return the summary of a stream as text."""
    undecided = ", ".join(f"{n} {reason}" for reason, n in summary["no_decision"].items())
    latency = summary["latency_ms"]
    lines = [
        f"{summary['windows']} windows: {summary['valid']} decided"
        + (f", no decision on {sum(summary['no_decision'].values())} ({undecided})" if undecided else ""),
        "signal: {samples} samples, {lost_samples} lost, {nan_samples} NaN".format(**summary),
        "gaps: {bridged} bridged, {gaps} marked, {resets} resets; {clock_steps} clock steps, "
        "{suspicions} suspected".format(**summary),
    ]
    if latency is not None:
        lines.append(
            f"latency: p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, max {latency['max']:.2f} ms"
            f"; algorithmic delay {summary['algorithmic_delay_ms']:.0f} ms"
        )
    return "\n".join(lines)

"""How a stream ended: its summary for people, and whether that was a success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.contract import Contract
from mimamba_edge.errors import SourceError

__all__ = ["check_outcome", "describe"]


def check_outcome(
    summary: Mapping[str, Any],
    failures: Mapping[str, SourceError],
    contract: Contract,
    ended_by: SourceError | None = None,
) -> None:
    """Check that the streams ended by themselves in good order and had at least one window.

    Args:
        summary: What the engine says.
        failures: The errors of the sources that failed, by stream.
        contract: The model's.
        ended_by: The error that ended the last stream, if it was one: a service has to start again.

    Raises:
        SourceError: The last source failed, or no stream had a window; the text says why.
    """
    streams = summary["streams"].values()
    windows = any(stream["windows"] for stream in streams)
    why = ended_by if windows or ended_by is not None else next(iter(failures.values()), None)
    if why is not None:
        others = f"; {len(failures) - 1} more sources failed" if len(failures) > 1 else ""
        raise SourceError(why.what + others, got=why.got, expected=why.expected, do=why.do)
    if windows:
        return
    samples = sum(stream["samples"] for stream in streams)
    raise SourceError(
        "the signal was shorter than one window",
        got=f"{samples} samples",
        expected=f"at least {contract.window_s:g} s of signal",
        do="stream a longer recording",
    )


def describe(summary: Mapping[str, Any]) -> str:
    """Return the summary as text for a terminal."""
    streams = summary["streams"]
    lines: list[str] = []
    for name, stream in streams.items():
        if len(streams) > 1:
            lines.append(f"{printable(name)}: {stream['state']}")
        lines += [("  " if len(streams) > 1 else "") + line for line in _stream(stream)]
    model, machine = summary["model"], summary["machine"]
    if model["reloads"] or model["refused"]:
        lines.append(f"model: {model['reloads']} times reloaded, {model['refused']} files refused")
    slow = [f"{name} {sink['dropped']}" for name, sink in summary["sinks"].items() if sink["dropped"]]
    if slow:
        lines.append(
            "sinks that were too slow, and how many decisions they lost: " + printable(", ".join(slow))
        )
    gone = [name for name, sink in summary["sinks"].items() if sink["gone"]]
    if gone:
        lines.append("sinks that were closed before the end: " + printable(", ".join(gone)))
    if machine is not None and machine["throttled"]:
        lines.append("clocks throttled at the end: " + ", ".join(machine["throttled"]))
    return "\n".join(lines)


def _stream(stream: Mapping[str, Any]) -> list[str]:
    undecided = ", ".join(f"{n} {reason}" for reason, n in stream["no_decision"].items())
    first = f"{stream['windows']} windows: {stream['valid'] - stream['dropped']} decided"
    if undecided:
        first += f", no decision on {sum(stream['no_decision'].values())} ({undecided})"
    if stream["dropped"]:
        first += f", {stream['dropped']} dropped because the model was too slow"
    rate = stream["sfreq"]
    signal = f"signal: {stream['samples']} samples"
    if rate["measured"] is not None:
        signal += f" at {rate['measured']:.1f} Hz (it says {rate['nominal']:g})"
    unsure = ""
    if stream["unsure_samples"]:
        unsure = f" ({stream['unsure_samples']} of them uncertain: the clock may have been set forward)"
    if rate["other"]:
        # By the rate that it says there would be losses and clock steps that never were.
        lines = [first, signal + "; losses cannot be counted"]
    else:
        lines = [
            first,
            signal + f", {stream['lost_samples']} lost{unsure}, {stream['nan_samples']} NaN",
            "gaps: {bridged} bridged, {gaps} marked, {resets} resets; {clock_steps} clock steps, "
            "{suspicions} pauses that lost nothing".format(**stream),
        ]
    untold = ("lost", "clock-step") if rate["other"] else ()
    if notices := {kind: n for kind, n in stream["notices"].items() if kind not in untold}:
        told = ", ".join(f"{n} {printable(kind)}" for kind, n in notices.items())
        lines.append("notices: " + told + (f"; {stream['overruns']} overruns" if stream["overruns"] else ""))
    latency = stream["latency_ms"]
    if latency is not None:
        lines.append(
            f"latency: p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, max {latency['max']:.2f} ms"
            f"; algorithmic delay {stream['algorithmic_delay_ms']:.0f} ms"
        )
    return lines

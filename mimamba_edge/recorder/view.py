"""What is seen of a recording while it runs: on a terminal; elsewhere only how it ended."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from mimamba_edge.console import printable
from mimamba_edge.errors import MimambaError
from mimamba_edge.naming import listed
from mimamba_edge.recorder.capture import Capture
from mimamba_edge.stream.sources.base import Chunk, Source

if TYPE_CHECKING:
    from mimamba_edge.stream.signal_check import SignalCheck

__all__ = ["describe", "summary", "tell_states", "watching"]

_REDRAW_S = 0.1
_SILENT_S = 1.0
_HELP = "Ctrl-C ends the recording"


@contextlib.contextmanager
def watching(source: Source, keys: dict[str, str]) -> Iterator[Callable[[Capture, Chunk], None]]:
    """Give what :meth:`Capture.run` calls with each chunk.

    Args:
        source: What is recorded.
        keys: Key to label, shown as a reminder.
    """
    if not sys.stderr.isatty():
        yield lambda capture, chunk: None
        return
    from rich.console import Console
    from rich.live import Live

    # With it comes SciPy, which a recording that nobody watches does without.
    from mimamba_edge.stream.signal_check import SignalCheck

    fit: SignalCheck | None = None
    # A source that no model could use can be recorded; its channels are not judged then.
    with contextlib.suppress(MimambaError):
        fit = SignalCheck(source)
    shown, heard = 0.0, time.monotonic()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def watch(capture: Capture, chunk: Chunk) -> None:
            nonlocal shown, heard
            now = time.monotonic()
            if len(chunk.samples):
                heard = now
                if fit is not None:
                    fit.push(chunk)
            if now - shown >= _REDRAW_S:
                shown = now
                live.update(_picture(capture, fit, keys, now - heard), refresh=True)

        yield watch


def summary(capture: Capture) -> dict[str, Any]:
    """Return what a recording came to, JSON-ready."""
    writer = capture.writer
    return {
        "session": str(writer.folder) if writer.n else None,
        "subject": writer.info.subject,
        "run": writer.info.run,
        "samples": writer.n,
        "seconds": round(writer.n / capture.source.sfreq, 3),
        "sfreq": capture.rate["nominal"],
        "measured_sfreq": capture.rate["measured"],
        "lost": capture.lost,
        "trials": writer.trials,
        "trials_left_out": writer.left_out,
        "notices": dict(sorted(capture.notices.items())),
    }


def tell_states(source: Source, labels: Collection[str]) -> None:
    """Say of a simulated headset what its person makes of the labels.

    Args:
        source: What is recorded.
        labels: Of cues and keys.
    """
    states: tuple[str, ...] | None = getattr(source, "states", None)
    if states is None or not labels:
        return
    others = [printable(label) for label in sorted(set(labels) - set(states))]
    rest = f", and rests at any other: {listed(others)}" if others else ""
    sys.stderr.write(f"the simulated person follows the labels {' and '.join(states)}{rest}\n")


def describe(capture: Capture) -> str:
    """Return what a recording came to, in one line."""
    writer = capture.writer
    seconds = writer.n / capture.source.sfreq
    rate = capture.rate
    parts = [f"{seconds:.1f} s ({writer.n} samples)"]
    if rate["measured"] is not None:
        parts.append(f"{rate['measured']:.1f} Hz (it says {rate['nominal']:g})")
    # By a rate that it has not there would be losses and clock steps that never were.
    parts += (
        [f"{writer.trials} trials"] if rate["other"] else [f"{capture.lost} lost", f"{writer.trials} trials"]
    )
    if writer.left_out:
        parts.append(f"{writer.left_out} trials left out")
    told = {"lost", "marker", "clock-step"} if rate["other"] else {"lost", "marker"}
    parts += [f"{n} {kind}" for kind, n in sorted(capture.notices.items()) if kind not in told]
    return ", ".join(parts)


def _picture(capture: Capture, fit: SignalCheck | None, keys: dict[str, str], silent_s: float) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    writer, cues = capture.writer, capture.cues
    seconds = writer.n / capture.source.sfreq
    head = f"recording {writer.folder.name}  {_clock(seconds)}  lost {capture.lost}  trials {writer.trials}"
    parts.append(Text(head, style="bold"))
    if cues is not None and cues.cue is not None:
        parts.append(
            Text(f"\n    {printable(cues.cue.text)}    {math.ceil(cues.left_s)} s\n", style="bold reverse")
        )
    if capture.keys is not None:
        reminder = ", ".join(f"{printable(key)} {printable(label)}" for key, label in keys.items())
        now = capture.keys.label
        parts.append(Text(f"keys: {reminder}" + ("" if now is None else f"; now: {printable(now)}")))
    if fit is not None:
        table = Table(box=None, pad_edge=False)
        for name in ("channel", "uV rms", "contact"):
            table.add_column(name, justify="right" if name == "uV rms" else "left")
        for name, held in fit.channels.items():
            style = "yellow" if held.faults else "green"
            word = ", ".join(held.faults) or "good"
            table.add_row(Text(printable(name)), f"{held.figures['rms_uv']:.1f}", Text(word, style=style))
        parts.append(table)
    if silent_s > _SILENT_S:
        parts.append(Text(f"no signal for {silent_s:.0f} s", style="bold red"))
    if capture.message:
        parts.append(Text(printable(capture.message), style="yellow"))
    parts.append(Text(_HELP, style="dim"))
    return Group(*parts)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

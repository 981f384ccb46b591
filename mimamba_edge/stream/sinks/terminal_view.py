"""What the terminal shows of streams: plain lines of text, each cut to the width there is.

Every state stands in words; colours only repeat them. Names come from outside and are stripped of what a
terminal would obey.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mimamba_edge.console import printable
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.signal_check import faults
from mimamba_edge.stream.sinks.base import StreamInfo
from mimamba_edge.stream.sinks.large_type import enlarge
from mimamba_edge.stream.sources.base import Notice

__all__ = ["Shown", "draw", "draw_brief", "tell_brief"]

_WIDEST = 100
_REASONS = {
    "gap": "samples were lost",
    "settling": "filters are settling",
    "railed": "a channel is at its limit",
    "flat": "a channel is flat",
}
_STATES = {
    "silent": "the source is silent",
    "disconnected": "the device is disconnected",
    "ended": "the source has ended",
    "failed": "the source has failed",
}
_COUNTED = ("valid", "dropped", "lost_samples", "nan_samples", "gaps", "resets", "clock_steps")
_GOOD, _BAD, _DIM = "green", "bold yellow", "dim"
_BLOCKS = " ▏▎▍▌▋▊▉█"


@dataclass
class Shown:
    """What is known of one stream now.

    Attributes:
        info: The stream.
        decision: The newest one.
        counters: Its part of the counters.
        notice: What befell it last, for people.
        marker: The newest marker.
    """

    info: StreamInfo
    decision: Decision | None = None
    counters: dict[str, Any] = field(default_factory=dict)
    notice: str = ""
    marker: str = ""

    def hear(self, notice: Notice) -> None:
        """Take what befell the stream; it stands until something else does."""
        text = f"{notice.kind} {notice.text}".strip() + (f" ({notice.n} samples)" if notice.n else "")
        self.notice = f"{time.strftime('%H:%M:%S')} {printable(text)}"
        if notice.kind == "marker":
            self.marker = printable(notice.text)

    @property
    def state(self) -> str:
        """``running`` or what else the engine says."""
        return printable(self.counters.get("state", "running"))

    def verdict(self) -> tuple[str | None, str]:
        """Return the class that stands now, or ``None`` and why there is none."""
        if self.state != "running":
            # What was decided before a silence no longer holds.
            return None, _STATES.get(self.state, self.state)
        if self.decision is None:
            return None, "no window yet"
        if not self.decision.valid:
            reason = str(self.decision.reason)
            return None, _REASONS.get(reason, printable(reason))
        return printable(self.decision.label), ""


def draw(shown: Sequence[Shown], machine: dict[str, Any] | None, width: int, height: int) -> list[Text]:
    """Return the lines of the view.

    Args:
        shown: The streams.
        machine: What the counters say of the machine.
        width: Columns of the terminal.
        height: Its lines; no more are returned.
    """
    width = max(30, min(width, _WIDEST))
    ends = _machine_lines(machine, width)
    lines = (
        _one(shown[0], width, height - len(ends))
        if len(shown) == 1
        else _many(shown, width, height - len(ends))
    )
    return [*lines, *ends][:height]


def draw_brief(shown: Shown, width: int) -> list[Text]:
    """Return a few lines of a simulated stream: the state that its newest marker names, the decision."""
    width = max(30, min(width, _WIDEST))
    label, why = _brief_verdict(shown)
    decided = Text(_cut(f"{'decided':<12}{label or f'none: {why}'}", width).rstrip())
    decided.stylize(_BAD if label is None else "bold", 12)
    true = Text(_cut(f"{'simulated':<12}{shown.marker or '-'}", width).rstrip())
    return [Text(), true, decided, *_probabilities(shown, label, width), *_foot(shown, width)[:3]]


def tell_brief(shown: Shown) -> str:
    """Return the same as one line of text."""
    label, why = _brief_verdict(shown)
    seconds = shown.decision.t_s if shown.decision else 0.0
    probs = shown.decision.probs if shown.decision else None
    share = f" {100 * probs[label]:.0f} %" if probs and label in probs else ""
    decided = f"decided {label}{share}" if label else f"no decision: {why}"
    return f"{seconds:6.1f} s  simulated {shown.marker or '-'}, {decided}"


def _brief_verdict(shown: Shown) -> tuple[str | None, str]:
    """Return the verdict; a simulated headset has no end of its own."""
    return (None, "the demo was ended") if shown.state == "ended" else shown.verdict()


def _cut(text: str, width: int) -> str:
    """Return a text in exactly some columns; what was cut ends in an ellipsis."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return set_cell_size(text, width)


def _bar(share: float, width: int) -> str:
    eighths = round(8 * width * min(1.0, max(0.0, share)))
    return ("█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(width)


def _word(figures: dict[str, Any]) -> str:
    """Return ``good`` or the gravest fault of a channel, as ``fit`` names it."""
    return next(iter(faults(figures)), "good")


def _one(shown: Shown, width: int, height: int) -> list[Text]:
    label, why = shown.verdict()
    lines = [_head(shown, width), Text()]
    lines += _verdict(shown, label, why, width)
    lines += [Text(), *_probabilities(shown, label, width)]
    foot = _foot(shown, width)
    room = height - len(lines) - len(foot) - 2
    lines += [Text(), *_channels(shown, width, max(2, room)), Text(), *foot]
    return lines


def _head(shown: Shown, width: int) -> Text:
    seconds = int(shown.decision.t_s) if shown.decision else 0
    time = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    model = printable(shown.info.model)
    name = _cut(f"{model} on {printable(shown.info.name)}", width - len(time) - 1)
    return Text(f"{name} {time}", _DIM)


def _verdict(shown: Shown, label: str | None, why: str, width: int) -> list[Text]:
    """Return as many lines for every class and for none, so that nothing below moves."""
    names = [printable(name) for name in shown.info.contract.class_names]
    height = next((h for h in (5, 3) if all(enlarge(name, width, h) for name in names)), 2)
    lines = [Text(_cut(label or "", width).rstrip(), "bold reverse")]
    if label is None:
        lines = [Text("NO DECISION", "bold"), Text(_cut(f"because {why}", width).rstrip())]
    elif height > 2 and (large := enlarge(label, width, height)):
        lines = [Text(row.rstrip(), "bold") for row in large]
    return lines + [Text()] * (height - len(lines))


def _probabilities(shown: Shown, label: str | None, width: int) -> list[Text]:
    probs = shown.decision.probs if shown.decision and label is not None else None
    names = [printable(name) for name in shown.info.contract.class_names]
    column = min(max(cell_len(name) for name in names), width // 3)
    lines = []
    for index, name in enumerate(names[:12]):
        mark = "› " if name == label else "  "
        share = None if probs is None else list(probs.values())[index]
        room = width - column - 2 - 7
        bar, figure = ("", "-") if share is None else (_bar(share, room), f"{100 * share:.0f} %")
        style = "bold" if name == label else ""
        lines.append(Text(f"{mark}{_cut(name, column)} {bar.ljust(room)} {figure:>5}", style))
    if len(names) > 12:
        lines.append(Text(f"  and {len(names) - 12} more classes", _DIM))
    return lines


def _channels(shown: Shown, width: int, room: int) -> list[Text]:
    quality = shown.decision.quality if shown.decision else {}
    words = {name: _word(figures) for name, figures in quality.items()}
    if not words:
        return [Text("channels    no data yet", _DIM)]
    told = list(words)
    if len(told) > room:
        told = sorted(told, key=lambda name: words[name] == "good")[: room - 1]
    column = min(max(8, *(cell_len(printable(name)) for name in told)), max(8, width // 3))
    lines = []
    for name in told:
        word, figures = words[name], quality[name]
        line = Text(_cut(printable(name), column) + "  ")
        line.append(word.ljust(9), _GOOD if word == "good" else _BAD)
        mains = figures.get("mains_ratio")
        hum = "" if mains is None else f"  mains {100 * mains:3.0f} %"
        line.append(f"{figures.get('rms_uv', 0.0):8.1f} µV{hum}", _DIM)
        line.truncate(width)
        lines.append(line)
    rest = [words[name] for name in words if name not in told]
    if rest:
        bad = sum(word != "good" for word in rest)
        lines.append(
            Text(_cut(f"and {len(rest)} more channels, {bad or 'none'} of them not good", width), _DIM)
        )
    return lines


def _foot(shown: Shown, width: int) -> list[Text]:
    counters = shown.counters
    latency = counters.get("latency_ms")
    newest = "-" if shown.decision is None else f"{shown.decision.latency_ms:.1f} ms"
    spread = ", p50 {p50:.1f}, p99 {p99:.1f}, max {max:.1f}".format(**latency) if latency else ""
    delay = counters.get("algorithmic_delay_ms", shown.info.algorithmic_delay_ms)
    undecided = counters.get("no_decision") or {}
    reasons = ", ".join(f"{n} {printable(reason)}" for reason, n in undecided.items())
    count = {key: counters.get(key, 0) for key in _COUNTED}
    lines = [
        ("latency", newest, spread, "; from newest sample to decision"),
        ("delay", f"{delay:.0f} ms algorithmic", "; how old what is decided on is"),
        (
            "windows",
            f"{count['valid']} decided",
            f", {sum(undecided.values())} not, {count['dropped']} dropped",
            f" ({reasons})" if reasons else "",
        ),
        (
            "signal",
            f"{count['lost_samples']} lost",
            f", {count['nan_samples']} NaN, {count['gaps']} gaps",
            f", {count['resets']} resets, {count['clock_steps']} clock steps",
        ),
    ]
    told = [_told(name, parts, width) for name, *parts in lines]
    notice = f"; {shown.notice}" if shown.notice else ""
    return [*told, Text(_cut(f"{'source':<12}{shown.state}{notice}", width).rstrip())]


def _told(name: str, parts: Sequence[str], width: int) -> Text:
    """Return a line of as many parts as fit whole."""
    line = f"{name:<12}{parts[0]}"
    for part in parts[1:]:
        if cell_len(line + part) > width:
            break
        line += part
    return Text(_cut(line, width).rstrip())


def _many(shown: Sequence[Shown], width: int, height: int) -> list[Text]:
    wide, label = width >= 72, 14
    names = width - (52 if wide else 23)
    head = _cut("stream", names) + " " + _cut("decision", label)
    head += "        p  channels   p99 ms  dropped" if wide else "  p99 ms"
    lines = [Text(_cut(head, width), _DIM)]
    room = height - 1
    told = list(shown) if len(shown) <= room else list(shown)[: room - 1]
    lines += [_row(one, names, label, wide, width) for one in told]
    if rest := shown[len(told) :]:
        away = sum(one.state != "running" for one in rest)
        lines.append(
            Text(_cut(f"and {len(rest)} more streams, {away or 'none'} of them not running", width), _DIM)
        )
    return lines


def _row(shown: Shown, names: int, label: int, wide: bool, width: int) -> Text:
    decided, _ = shown.verdict()
    line = Text(_cut(printable(shown.info.name), names) + " ")
    if decided is None:
        short = (
            shown.state if shown.state != "running" else (shown.decision.reason if shown.decision else "-")
        )
        # The reason alone would read like a class.
        line.append(_cut(f"none: {printable(short)}", label), _BAD if shown.decision else _DIM)
    else:
        line.append(_cut(decided, label), "bold")
    latency = shown.counters.get("latency_ms")
    p99 = f"{latency['p99']:.1f}" if latency else "-"
    if not wide:
        line.append(f" {p99:>7}")
        line.truncate(width)
        return line
    share = None
    if shown.decision and shown.decision.probs and decided is not None:
        share = shown.decision.probs.get(str(shown.decision.label))
    line.append(f" {'-' if share is None else f'{100 * share:.0f} %':>8}  ")
    words = [_word(figures) for figures in shown.decision.quality.values()] if shown.decision else []
    bad = sum(word != "good" for word in words)
    told = "-" if not words else "all good" if not bad else f"{bad} not good"
    line.append(_cut(told, 10), _DIM if not words else _GOOD if not bad else _BAD)
    line.append(f" {p99:>6}  {shown.counters.get('dropped', 0):>7}")
    line.truncate(width)
    return line


def _machine_lines(machine: dict[str, Any] | None, width: int) -> list[Text]:
    if not machine:
        return []
    units = [printable(unit) for unit in machine.get("throttled", ())]
    word = f"throttled: {', '.join(units)}" if units else "not throttled"
    hottest = machine.get("hottest_c")
    temperature = "" if hottest is None else f"{hottest:.0f} °C, "
    return [Text(_cut(f"{'machine':<12}{temperature}{word}", width).rstrip(), _BAD if units else "")]

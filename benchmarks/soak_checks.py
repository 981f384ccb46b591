"""What a soak is held against: its recording, its fault log and its own counters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults import PACKET
from mimamba_edge.contract import Contract
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.signal.preprocessor import Preprocessor, Window

__all__ = ["SoakCheck", "check", "compute"]

_CHUNK = 100
"""Samples of a chunk when windows are computed again: another than that of the stream."""
_NEAR = 12
"""Samples by which the fitted clock may miss the place of a loss: jitter of 20 ms is 5 of them."""
_NEAR_N, _RATE = 2, 0.001
"""Samples by which the number of lost ones may be off, and their share: a rate may not be known yet."""
_AFTER = {"late": PACKET, "duplicate": PACKET}
"""What is taken out is noticed after the packet that came in its place, or the one it repeats."""
_STEP_S = 0.015
"""How far the size of a clock's step may be off: the difference of two jittered seconds."""
_TIME_S = 0.04
"""How far the time of a window may be off its newest sample's: jitter, and as much again for the fit."""
_FOUND = ("lost", "clock-step", "duplicate", "late", "untimed", "overrun", "failed")
"""Notices that must each stand for a fault."""

_Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SoakCheck:
    """One thing that was checked.

    Attributes:
        what: What.
        injected: What was done, or expected.
        found: What was seen.
        ok: Whether that is right.
    """

    what: str
    injected: str
    found: str
    ok: bool


def check(
    folder: Path,
    hashes: bytes,
    summary: dict[str, Any],
    log: _Rows,
    contract: Contract,
    hash_of: Callable[[NDArray[np.float32]], bytes],
) -> list[SoakCheck]:
    """Hold a stream against its session folder.

    Args:
        folder: The session.
        hashes: Of every window that the model was given, eight bytes each.
        summary: What the engine said at the end.
        log: What was injected, see :class:`benchmarks.faults.FaultySource`.
        contract: The model's.
        hash_of: Makes such a hash.
    """
    recording, windows, again, steps = compute(folder, contract)
    events, decisions = _lines(folder / "events.jsonl"), _lines(folder / "decisions.jsonl")
    for event in events:
        event["step_s"] = steps.get((event["kind"], event["sample"]), 0.0)
    [counters] = summary["streams"].values()
    return [
        _same_windows(windows, decisions, hashes, hash_of),
        *_matched(log, events, decisions, recording),
        _right_times(log, events, decisions, recording),
        *_consistent(counters, again, events, decisions, recording),
    ]


def compute(
    folder: Path, contract: Contract
) -> tuple[Recording, list[Window], dict[str, Any], dict[tuple[str, int], float]]:
    """Compute the windows of a session again.

    Returns:
        Its recording, the windows, the counters, and by what the clock moved, by kind of notice and sample.
    """
    recording = read_recording(folder / "signal.csv")
    path = Preprocessor(contract, recording.format)
    windows, steps = [], {}
    for at in range(0, len(recording.samples), _CHUNK):
        part = slice(at, at + _CHUNK)
        windows += path.push(recording.samples[part], recording.timestamps[part])
        while path.events:
            event = path.events.popleft()
            steps["lost" if event.n_lost else event.kind, event.sample] = event.step_s
    return recording, windows, path.report, steps


def _newest(sample: int) -> int:
    """Return the grid position at the source's 256 Hz that a sample at the model's 128 Hz waits for."""
    return 2 * sample


def _lines(path: Path) -> _Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _same_windows(
    windows: Sequence[Window],
    decisions: _Rows,
    hashes: bytes,
    hash_of: Callable[[NDArray[np.float32]], bytes],
) -> SoakCheck:
    """Every window computed again must be the one that was decided on."""
    valid = [w for w in windows if w.valid]
    n_other = sum(hashes[8 * i : 8 * i + 8] != hash_of(w.data) for i, w in enumerate(valid))
    n_lines = sum(
        (tuple(line["window"]), line["t_s"], line["reason"]) != ((w.start, w.stop), round(w.t_s, 6), w.reason)
        for w, line in zip(windows, decisions, strict=False)
    )
    ok = not n_other and not n_lines and len(hashes) == 8 * len(valid) and len(windows) == len(decisions)
    return SoakCheck(
        "windows computed again",
        f"{len(decisions)}, {len(hashes) // 8} valid",
        f"{len(windows)}, {len(valid)} valid; {n_other} differ in a bit, {n_lines} in time or reason",
        ok and bool(valid),
    )


class _Grid:
    """From samples of the recording to positions with the lost ones counted, as found."""

    def __init__(self, events: _Rows) -> None:
        lost = sorted((e["sample"], e["n"]) for e in events if e["kind"] == "lost")
        self._at = np.array([at for at, _ in lost], dtype=np.int64)
        self._before = np.concatenate([[0], np.cumsum([n for _, n in lost])]).astype(np.int64)

    def of(self, sample: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(sample + self._before[np.searchsorted(self._at, sample, side="right")])


def _matched(log: _Rows, events: _Rows, decisions: _Rows, recording: Recording) -> list[SoakCheck]:
    """Every fault must have been noticed where it was, and nothing else."""
    left = [e for e in events if e["kind"] in _FOUND]
    grid = _Grid(events)
    findings = []
    for fault in log:
        if fault["kind"] == "rate":
            continue  # nothing must come of it, which is what the rest shows
        if fault["kind"] in _SEEN:
            found, ok = _in_windows(fault, grid, decisions, recording)
        else:
            found, ok = _in_events(fault, events, left)
        injected = f"{fault['n']} samples, before {fault['kept']}"
        if fault["step_s"]:
            injected = f"{fault['step_s']:+g} s, before {fault['kept']}"
        findings.append(SoakCheck(fault["kind"], injected, found, ok))
    alarms = Counter(e["kind"] for e in left)
    text = ", ".join(f"{n} {kind} at {[e['sample'] for e in left]}" for kind, n in alarms.items()) or "none"
    return [*findings, SoakCheck("notices of nothing", "none", text, not left)]


_NOTICED = {
    "packet": ("lost",),
    "gap": ("lost",),
    "long-gap": ("lost",),
    "disconnect": ("disconnected", "reconnected", "lost"),
    "clock-back": ("clock-step",),
    "clock-back-little": ("clock-step",),
    "clock-forth": ("clock-step",),
    "duplicate": ("duplicate",),
    "reorder": ("late", "lost"),
    "dies": ("failed",),
}
_SEEN = {"nan-short": None, "nan": "gap", "railed": "railed", "flat": "flat"}


def _in_events(fault: dict[str, Any], events: _Rows, left: _Rows) -> tuple[str, bool]:
    texts, ok = [], True
    for kind in _NOTICED[fault["kind"]]:
        near = [
            e
            for e in (left if kind in _FOUND else events)
            if e["kind"] == kind
            and (kind == "failed" or abs(e["sample"] - fault["kept"]) <= _NEAR + _AFTER.get(kind, 0))
        ]
        if not near:
            texts.append(f"no {kind}")
            ok = False
            continue
        event, text = near[0], kind
        if kind in ("lost", "late", "duplicate"):
            slack = _NEAR_N + round(_RATE * fault["n"]) if kind == "lost" else 0
            ok = ok and abs(event["n"] - fault["n"]) <= slack
            text = f"{kind} {event['n']} before {event['sample']}"
        elif kind == "clock-step":
            ok = ok and abs(event["step_s"] - fault["step_s"]) <= _STEP_S
            text = f"{kind} {event['step_s']:+.3f} s before {event['sample']}"
        if kind in _FOUND:
            left.remove(event)
        texts.append(text)
    return "; ".join(texts), ok


def _in_windows(
    fault: dict[str, Any], grid: _Grid, decisions: _Rows, recording: Recording
) -> tuple[str, bool]:
    """What the samples show themselves must be the reason of no decision."""
    kind, start, stop = fault["kind"], fault["kept"], fault["kept"] + fault["n"]
    channel = recording.samples[start:stop, fault["channel"]]
    there = {
        "nan-short": np.isnan(channel).all(),
        "nan": np.isnan(channel).all(),
        "railed": recording.rails_uv is not None and (channel == recording.rails_uv[1]).all(),
        "flat": np.ptp(channel) == 0,
    }[kind]
    first, last = (int(v) for v in grid.of(np.array([start, stop - 1])))
    touching, inside = [], []
    for line in decisions:
        low, high = _newest(line["window"][0]), _newest(line["window"][1] - 1)
        shared = min(high, last) - max(low, first) + 1
        if shared > 0:
            touching.append((line, shared / (high - low + 1)))
        if low >= first and high <= last:
            inside.append(line)
    reasons = Counter(line["reason"] or "decided" for line, _ in touching)
    text = f"{len(touching)} windows touch it: " + ", ".join(f"{n} {r}" for r, n in sorted(reasons.items()))
    if kind == "nan-short":
        return f"bridged; {text}", bool(there) and set(reasons) == {"decided"}
    if kind == "nan":
        return text, bool(there) and set(reasons) == {"gap"}
    if kind == "railed":
        marked = [line["reason"] for line, share in touching if share > 0.02]
    else:
        marked = [line["reason"] for line in inside]
    return text, bool(there) and bool(marked) and set(marked) == {_SEEN[kind]}


def _right_times(log: _Rows, events: _Rows, decisions: _Rows, recording: Recording) -> SoakCheck:
    """The time of a window must be that of its newest sample, the clock's steps taken off as they were found.

    How far each was found right is told fault by fault; over hours the errors of many add up.
    """
    samples = np.arange(len(recording.timestamps))
    position = _Grid(events).of(samples)
    times = recording.timestamps - recording.timestamps[0]
    for event in events:
        if event["kind"] == "clock-step":
            times[samples >= event["sample"]] -= event["step_s"]
    # Until a loss or a step is known, what follows stands elsewhere.
    unsure = [(f["kept"], f["kept"] + 2 * recording.sfreq) for f in log if f["kind"] in _NOTICED]
    off = []
    for line in decisions:
        if not line["valid"]:
            continue
        at = int(np.searchsorted(position, _newest(line["window"][1] - 1)))
        if at < len(samples) and not any(low - _NEAR <= at < high for low, high in unsure):
            off.append(line["t_s"] - times[at])
    largest = float(np.abs(off).max()) if off else np.inf
    slow = any(f["kind"] == "rate" for f in log)
    return SoakCheck(
        "times of windows" + (", rate off by 0.1 %" if slow else ""),
        f"those of their newest samples to {1e3 * _TIME_S:g} ms",
        f"off by {1e3 * largest:.1f} ms at most, median {1e3 * float(np.median(np.abs(off))):.1f} ms",
        largest <= _TIME_S,
    )


def _consistent(
    counters: dict[str, Any],
    again: dict[str, Any],
    events: _Rows,
    decisions: _Rows,
    recording: Recording,
) -> list[SoakCheck]:
    """Counters must agree with each other, with the files and with those of the second computation."""
    kinds = Counter(e["kind"] for e in events)
    wrong = []

    def same(name: str, value: Any, expected: Any) -> None:
        if value != expected:
            wrong.append(f"{name} {value} is not {expected}")

    same("samples", counters["samples"], len(recording.samples))
    same("nan_samples", counters["nan_samples"], int(np.isnan(recording.samples).any(axis=1).sum()))
    same("lost_samples", counters["lost_samples"], sum(e["n"] for e in events if e["kind"] == "lost"))
    same("losses", counters["losses"], kinds["lost"])
    same("clock_steps", counters["clock_steps"], kinds["clock-step"])
    same("windows", counters["windows"], len(decisions))
    same("valid", counters["valid"], sum(line["valid"] for line in decisions))
    reasons = Counter(line["reason"] for line in decisions if not line["valid"])
    same("no_decision", counters["no_decision"], dict(sorted(reasons.items())))
    same("dropped and overruns", counters["dropped"] + counters["overruns"], 0)
    for kind, n in counters["notices"].items():
        same(f"notices {kind}", n, kinds[kind])
    for key, value in again.items():
        same(key, counters[key], value)
    text = "; ".join(wrong) or f"{counters['samples']} samples, {counters['windows']} windows"
    return [SoakCheck("counters", "agree with files and second computation", text, not wrong)]

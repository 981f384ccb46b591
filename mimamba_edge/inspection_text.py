"""What `inspect` found, as lines for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

__all__ = ["to_lines", "to_summary", "to_text"]

_KINDS = {
    "onnx": "portable model for ONNX Runtime",
    "trt.onnx": "model to build a TensorRT engine from",
    "inline.onnx": "model in standard ops only, without functions",
    "plan": "TensorRT engine",
    "ref.npz": "reference windows and the answers to them",
}
_COLUMNS = 64
"""Of a fact in the summary: narrow enough for any terminal, and for a pipe."""


def to_summary(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return in short what a file is, what it expects, what it answers and what runs it."""
    rows: list[tuple[str, str]] = []
    for name, text in _summary(found):
        for i, line in enumerate(
            textwrap.wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False) or ["none"]
        ):
            rows.append(("" if i else name, line))
    return rows


def _summary(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    manifest, contract = found.get("manifest") or {}, found.get("contract")
    kind = _KINDS.get(found["kind"], found["kind"])
    yield "is", ", ".join([kind, *_some(manifest.get("precision")), f"{found['size_bytes'] / 1024:,.0f} KiB"])
    if "mimamba-edge" in (versions := _dict(manifest, "versions")):
        yield "made by", f"mimamba-edge {versions['mimamba-edge']}"
    checks = _dict(manifest, "verification").get("checks")
    if isinstance(checks, list) and checks:
        missed = [check for check in checks if not isinstance(check, dict) or check.get("passed") is False]
        verdict = f"{len(missed)} missed" if missed else "passed"
        yield "verified", f"{len(checks)} checks against its source, {verdict}"
    if held := _dict(manifest, "engine"):
        yield "built for", f"{held.get('device')}, TensorRT {held.get('tensorrt')}, batch {held.get('batch')}"
    if contract is not None:
        name = _dict(found, "config").get("name") or _dict(contract, "model").get("name")
        if told := [to_text(part) for part in (contract.get("family"), name) if part]:
            yield "network", ": ".join(told)
        yield from _of_contract(contract)
    else:
        for name, key in (("expects", "inputs"), ("answers", "outputs")):
            told = [f"{one} {held['type']} {held['shape']}" for one, held in (found.get(key) or {}).items()]
            if told:
                yield name, ", ".join(told)
    for name, key in (("origin", "origin"), ("ONNX Runtime", "onnxruntime"), ("custom ops", "custom_ops")):
        if key in found and found["kind"] != "trt.onnx":
            yield name, str(found[key])
    if found["kind"] == "trt.onnx":
        yield "runs by", "TensorRT: mimamba-edge build makes an engine of it on the device"
    if "tensorrt" in found:
        yield "TensorRT", str(found["tensorrt"])
    if "arrays" in found:
        yield "holds", to_text(found["arrays"])


def _dict(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of what a file says of itself; nothing promises that it is there, or what it is."""
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _some(text: str | None) -> list[str]:
    return [] if text is None else [text]


def _of_contract(held: dict[str, Any]) -> Iterator[tuple[str, str]]:
    seconds, hop = held["n_times"] / held["sfreq"], held["hop"] / held["sfreq"]
    names = ", ".join(held["ch_names"])
    yield "expects", f"{len(held['ch_names'])} channels in {held['unit']}: {names}"
    yield (
        "",
        f"{held['sfreq']:g} Hz; windows of {seconds:g} s ({held['n_times']} samples), one each {hop:g} s",
    )
    bands = [f"{f['low_hz']:g} to {f['high_hz']:g} Hz" for f in held["filters"] if f["kind"] == "bandpass"]
    bands += [f"without {f['freq_hz']:g} Hz" for f in held["filters"] if f["kind"] == "notch"]
    yield "prepares", f"{', '.join(bands) or 'no filters'}; scaling {held['scaling']['kind']}"
    yield "answers", ", ".join(held["class_names"])
    score = _dict(_dict(held, "training"), "balanced_accuracy")
    if "mean" in score:
        told = f"balanced accuracy {to_text(score['mean'])}"
        if "interval" in score:
            told += f" (95 % interval {to_text(score['interval'])})"
        yield "scored", f"{told} on held-out trials, {to_text(_dict(held, 'training').get('protocol'))}"


def to_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return one line a fact; the contract's and the graph's facts each get their own."""
    lines: list[tuple[str, str]] = []
    for key, value in found.items():
        if key == "graph":
            lines += [("nodes", "not read: pip install onnx")] if value is None else to_lines(value)
        elif key in ("contract", "signature", "manifest", "config"):
            if value is None:
                continue
            lines.append((key, ""))
            lines += [line for name, part in value.items() for line in _with_rows(f"  {name}", part)]
        elif key not in ("custom_nodes", "file", "problems", "tensors"):
            lines.append((key.replace("_", " "), to_text(value)))
    return lines


def _with_rows(name: str, value: Any) -> list[tuple[str, str]]:
    """Return a fact in one line, and one more for each record of a list in it, such as checks."""
    if not isinstance(value, dict):
        return [(name, to_text(value))]
    lists = [part for part in value.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
    plain = {key: part for key, part in value.items() if part not in lists}
    return [(name, to_text(plain)), *(("", to_text(row)) for rows in lists for row in rows)]


def to_text(value: Any) -> str:
    """Return a fact in words."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inner(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_inner, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _inner(value: Any) -> str:
    return f"({to_text(value)})" if isinstance(value, (dict, list)) else to_text(value)

"""What `inspect` found, as lines for people."""

from __future__ import annotations

from typing import Any

__all__ = ["to_lines", "to_text"]


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

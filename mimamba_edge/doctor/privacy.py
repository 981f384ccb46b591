"""What `doctor` looks at to see that nothing is sent from this machine."""

from __future__ import annotations

import importlib.util
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge import NO_TELEMETRY
from mimamba_edge.doctor.health_check import HealthCheck

__all__ = ["telemetry"]

_SENDER = b"OneCollector"
"""Part of the address that ONNX Runtime's telemetry is sent to; it stands in every library that can send."""


def telemetry() -> Iterator[HealthCheck]:
    """Look into the installed ONNX Runtime itself: can it send, and does it know what we forbid it with."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = None if spec is None else getattr(spec, "submodule_search_locations", None)
    if not folders:
        return
    held = set[bytes]()
    for library in (Path(folders[0]) / "capi").glob("*.so*"):
        held |= _held(library, (_SENDER, *(name.encode() for name in NO_TELEMETRY)))
    obeyed = [
        name
        for name, value in NO_TELEMETRY.items()
        if name.encode() in held and os.environ.get(name) == value
    ]
    if _SENDER not in held:
        value = "off: this onnxruntime cannot send anything"
    elif obeyed:
        value = f"off: {obeyed[0]}=1 is set before onnxruntime is loaded, and this build obeys it"
    else:
        yield HealthCheck(
            "telemetry",
            "wrong",
            f"this onnxruntime can send telemetry and ignores {', '.join(NO_TELEMETRY)}",
            "pip install 'onnxruntime<1.29', or deny this machine mobile.events.data.microsoft.com",
        )
        return
    cache = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
    left = Path(cache) / "Microsoft" / "DeveloperTools" / ".onnxruntime"
    remedy = ""
    if left.exists():
        value += "; another program, or an older version of this one, left a device id"
        remedy = f"rm -r {left}"
    yield HealthCheck("telemetry", "ok", value, remedy)


def _held(library: Path, texts: tuple[bytes, ...]) -> set[bytes]:
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {text for text in texts if content.find(text) >= 0}
    except (OSError, ValueError):  # unreadable, or empty
        return set()

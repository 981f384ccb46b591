"""An LSL network of this process and its children alone, on loopback. Import it before anything calls LSL.

liblsl reads its configuration once, at its first call: the environment variable set here then also tells
child processes. Streams of other sessions are not seen (liblsl answers only queries of its own session).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

__all__ = ["Outlet", "make_info", "pylsl"]

_CONFIG = """\
[lab]
SessionID = {session}
KnownPeers = {{127.0.0.1}}
[multicast]
ResolveScope = machine
[ports]
IPv6 = disable
[log]
level = -3
"""
_OURS = "MIMAMBA_TEST_LSL"


def _isolate() -> None:
    if _OURS in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="mimamba-lsl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "lsl_api.cfg"
    path.write_text(_CONFIG.format(session=f"mimamba-test-{uuid.uuid4().hex}"), encoding="utf-8")
    os.environ["LSLAPICFG"] = os.environ[_OURS] = str(path)


_isolate()
pylsl = pytest.importorskip("pylsl", reason="needs pylsl: pip install 'mimamba-edge[live]'")


def make_info(
    name: str,
    labels: Sequence[str] = ("TP9", "AF7", "AF8", "TP10"),
    *,
    kind: str = "EEG",
    sfreq: float = 256.0,
    fmt: str = "double64",
    source_id: str = "",
    unit: str | None = "microvolts",
) -> Any:
    """Return a stream's description with its channels' labels and unit, as devices' LSL programs write it."""
    info = pylsl.StreamInfo(name, kind, len(labels), sfreq, fmt, source_id)
    channels = info.desc().append_child("channels")
    for label in labels:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        if unit is not None:
            channel.append_child_value("unit", unit)
        channel.append_child_value("type", kind)
    return info


class Outlet:
    """An outlet of samples with times of their own; it is on the network until it is closed."""

    def __init__(self, name: str, labels: Sequence[str] = ("TP9", "AF7", "AF8", "TP10"), **how: Any) -> None:
        self._outlet = pylsl.StreamOutlet(make_info(name, labels, **how))

    def wait_for_consumer(self, timeout_s: float = 20.0) -> None:
        """Wait until somebody reads: what is pushed before is not seen."""
        end = time.monotonic() + timeout_s
        while not self._outlet.have_consumers():
            assert time.monotonic() < end, "nobody came to read"
            time.sleep(0.002)

    def push(self, samples: NDArray[np.float64], timestamps: NDArray[np.float64]) -> None:
        """Push samples ``(n, c)`` with their times ``(n,)``."""
        self._outlet.push_chunk(np.ascontiguousarray(samples), timestamps.tolist())

    def close(self) -> None:
        """Leave the network, as a program that ends."""
        del self._outlet

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_outlet"):
            self.close()

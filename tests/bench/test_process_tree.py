"""Memory of processes, watched until they have ended."""

from __future__ import annotations

import signal
import sys

from benchmarks.process_tree import watch

_CHILD = """
import time
try:
    time.sleep(60)
except KeyboardInterrupt:
    held = b"x" * 100_000_000
    time.sleep(0.8)
"""


def test_what_was_interrupted_is_watched_until_it_ends() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        peak = watch([sys.executable, "-c", _CHILD], limit_s=0.5)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert peak.status is None
    assert peak.anonymous_bytes > 100e6
    assert 1.2 < peak.wall_s < 50

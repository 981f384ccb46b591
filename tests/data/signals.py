"""One signal that the tests write in every format, and its windows as the path gives them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.preprocessor import Window

NAMES = ("TP9", "AF7", "AF8", "TP10")
CONTRACT = Contract(
    NAMES,
    sfreq=128.0,
    n_times=128,
    hop=32,
    class_names=("calm", "excited"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("none"),
)


@cache
def signal() -> Recording:
    """Return 12 s of a simulated headset, on its jittered clock."""
    recording, _ = simulate_recording(["calm", "excited"])
    recording.samples.flags.writeable = recording.timestamps.flags.writeable = False
    return recording


def windows(recording: Recording) -> list[Window]:
    found = stream_windows(recording, CONTRACT)
    assert sum(w.valid for w in found) > 20
    return found


def same_windows(a: Recording, b: Recording, within_uv: float = 0.0) -> None:
    """Check that two recordings give the same windows, to the last bit if nothing else is said."""
    one, two = windows(a), windows(b)
    assert [(w.start, w.valid, w.reason) for w in one] == [(w.start, w.valid, w.reason) for w in two]
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left.uv, right.uv, rtol=0, atol=within_uv)
        assert within_uv or left.data.tobytes() == right.data.tobytes()


def regular(n: int, sfreq: float = 256.0) -> NDArray[np.float64]:
    return np.arange(n) / sfreq


def write_csv(path: Path, marks: dict[int, str], n: int = 2560, fs: float = 256.0) -> Path:
    """Write ``n`` rows with a marker at some of them."""
    rows = [f"{50 + i / fs:.6f},{i % 7},{marks.get(i, 0)}" for i in range(n)]
    path.write_text("\n".join(["timestamps,A,Marker0", *rows]) + "\n")
    return path

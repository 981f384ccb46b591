"""A source whose real rate is not the one that it says: each verb names it, and nothing wrong follows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import SourceError
from mimamba_edge.stream.read_seconds import read_seconds
from mimamba_edge.stream.sources.base import Chunk

MODEL = Path(__file__).resolve().parents[2] / "mimamba_edge" / "models" / "reference.onnx"
NAMES = ("TP9", "AF7", "AF8", "TP10")


def _lines(path: Path, rate: float, seconds: float) -> Path:
    rng = np.random.default_rng(3)
    n = round(rate * seconds)
    late = np.repeat(rng.normal(0, 0.003, n // 12 + 1), 12)[:n]
    table = np.column_stack([1e9 + np.arange(n) / rate + late, rng.normal(0, 15, (n, 4))])
    rows = "".join(",".join(f"{v:.6f}" for v in row) + "\n" for row in table.tolist())
    path.write_text(",".join(["timestamps", *NAMES]) + "\n" + rows, encoding="utf-8")
    return path


VERBS: dict[str, tuple[str, ...]] = {
    "stream": ("stream", str(MODEL)),
    "check-signal": ("check-signal",),
    "record": ("record", "-o", "sessions", "--yes"),
    "calibrate": ("calibrate", str(MODEL), "-o", "me.json"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_source_of_240_hz_that_says_256_is_named_as_such(verb: str, tmp_path: Path) -> None:
    with _lines(tmp_path / "in.csv", 240, 20).open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "mimamba_edge", *VERBS[verb], "--source", "stdin:?sfreq=256"],
            cwd=tmp_path,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "the source says 256 Hz and delivers 240." in done.stderr.replace("239.9", "240.")
    assert "?sfreq=240" in done.stderr
    assert " lost" not in done.stderr
    assert "Traceback" not in done.stderr
    # It was seen in the first ten seconds, and nothing was decided on before.
    for line in done.stdout.splitlines() if verb == "stream" else ():
        decision = json.loads(line)
        assert decision["t_s"] < 10
        assert decision["label"] is None
    if verb == "record":
        assert done.returncode == 2
        [session] = (tmp_path / "sessions").glob("*/session.json")
        # What was recorded until then reads at the rate that it has.
        assert read_recording(session.parent).sfreq == 240.0


class _Stamped:
    """A source whose time stamps follow its real rate."""

    name, ch_names, unit, rails_uv, live = "made", NAMES, "uV", None, False

    def __init__(self, says: float, has: float, seconds: float = 20.0) -> None:
        self.sfreq, self._has, self._n = says, has, round(seconds * has)
        self.device: dict[str, Any] = {}

    def chunks(self) -> Iterator[Chunk]:
        rng = np.random.default_rng(0)
        for at in range(0, self._n, 12):
            times = 5.0 + np.arange(at, at + 12) / self._has + rng.normal(0, 0.003)
            yield Chunk(rng.normal(0, 15, (12, 4)), times)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("says", "has"), [(256, 240), (250, 270), (256, 250)])
def test_every_door_to_live_signal_measures(says: float, has: float) -> None:
    with pytest.raises(SourceError, match=rf"says {says:g} Hz and delivers") as caught:
        list(read_seconds(_Stamped(says, has), 20.0))
    assert f"?sfreq={has:g}" in str(caught.value)
    assert sum(len(chunk.samples) for chunk in read_seconds(_Stamped(has, has), 20.0)) >= 20 * has


def test_a_rate_as_crystals_keep_it_is_taken() -> None:
    assert sum(len(chunk.samples) for chunk in read_seconds(_Stamped(256, 255.2), 15.0)) == 15 * 256


def test_time_stamps_in_milliseconds_are_told_from_a_rate() -> None:
    with pytest.raises(SourceError, match=r"time stamps in seconds"):
        list(read_seconds(_Stamped(256, 0.256, seconds=2e4), 20.0))


def test_a_file_that_comes_through_a_pipe_loses_nothing(tmp_path: Path) -> None:
    """It comes as fast as it is read: the pipe waits, and no sample is dropped for being early."""
    path = _lines(tmp_path / "in.csv", 256, 90)
    command = [sys.executable, "-m", "mimamba_edge", "stream", str(MODEL), "--source"]
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        piped = subprocess.run(
            [*command, "stdin:?sfreq=256"], stdin=cat.stdout, capture_output=True, text=True, check=True
        )
    whole = subprocess.run([*command, path, "--speed", "max"], capture_output=True, text=True, check=True)
    assert " 0 lost" in piped.stderr
    assert "overrun" not in piped.stderr
    ours, theirs = ([json.loads(line) for line in run.stdout.splitlines()] for run in (piped, whole))
    assert [(d["window"], d["label"], d["probs"]) for d in ours] == [
        (d["window"], d["label"], d["probs"]) for d in theirs
    ]

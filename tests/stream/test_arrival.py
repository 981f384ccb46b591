"""A clock that was set forward against a loss, by when the samples came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.recorder.capture import Capture, Ending, new_session
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.signal.signal_format import SignalFormat
from mimamba_edge.stream.arrival import Arrival
from mimamba_edge.stream.sources.base import Chunk
from tests.modelfiles import tiny_contract

NAMES = ("TP9", "AF7", "AF8", "TP10")


class Scripted:
    """A live source that says when its chunks arrived."""

    name, ch_names, unit, rails_uv, live, sfreq = "made", NAMES, "uV", None, True, 256.0

    def __init__(self, jump_s: float, silent_s: float) -> None:
        self.device: dict[str, Any] = {}
        self._jump_s, self._silent_s = jump_s, silent_s

    def chunks(self) -> Iterator[Chunk]:
        rng = np.random.default_rng(0)
        for at in range(0, 2560, 16):
            n = np.arange(at, at + 16)
            times = 5.0 + n / 256 + self._jump_s * (n >= 1288)
            arrived = 100.0 + (at + 16) / 256 + self._silent_s * (at + 16 > 1288)
            yield Chunk(rng.normal(0, 15, (16, 4)), times, arrived=arrived)

    def close(self) -> None:
        pass


def _watched(source: Scripted, pace: float = 1.0) -> list[bool]:
    arrival = Arrival(256.0)
    for chunk in source.chunks():
        arrival.push(chunk.timestamps, pace * chunk.arrived)
    return [arrival.was_set(source._jump_s), arrival.was_set(source._jump_s)]


@pytest.mark.parametrize("jump_s", [1.5, 10.0, 1e5])
def test_samples_that_keep_coming_tell_of_a_clock_that_was_set(jump_s: float) -> None:
    assert _watched(Scripted(jump_s, 0.0)) == [True, False]
    assert _watched(Scripted(jump_s, jump_s)) == [False, False]


def test_what_comes_faster_than_it_is_made_tells_nothing() -> None:
    assert _watched(Scripted(10.0, 0.0), pace=0.01) == [False, False]


@pytest.mark.parametrize(("silent_s", "lost", "kind"), [(0.0, 0, "clock-step"), (10.0, 2560, "lost")])
def test_a_recording_tells_which_it_was(tmp_path: Path, silent_s: float, lost: int, kind: str) -> None:
    source = Scripted(10.0, silent_s)
    writer = new_session(tmp_path, source, subject="a", session="b", run="c")
    capture = Capture(source, writer)
    capture.run(Ending())
    assert capture.lost == pytest.approx(lost, abs=1)
    assert dict(capture.notices) == {kind: 1}


def test_what_is_taken_back_is_not_counted_as_lost() -> None:
    path = Preprocessor(tiny_contract(ch_names=NAMES), SignalFormat(NAMES, 256.0))
    times = np.arange(8000) / 256
    times[3000:4000] += 0.2
    samples = np.random.default_rng(0).normal(0, 15, (8000, 4))
    kinds = []
    for at in range(0, 8000, 12):
        path.push(samples[at : at + 12], times[at : at + 12])
        # As a stream takes them.
        while path.events:
            kinds.append(path.events.popleft().kind)
    assert kinds == ["loss", "late"]
    report = path.report
    assert (report["lost_samples"], report["losses"], report["clock_steps"], report["late"]) == (0, 0, 0, 1)

"""The simulated headset: pace, markers, losses, and that the built-in model follows its states."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.load import builtin_model
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.simulated import HISTORY_S, STATE_S, SimulatedHeadset
from mimamba_edge.stream.sources.spec import open_source


class Clock:
    """Time that passes where somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def _played(seconds: float, seed: int = 3) -> Iterator[tuple[float, Chunk]]:
    """Yield chunks, each with when it came, as seconds since the headset was asked."""
    clock = Clock()
    for chunk in SimulatedHeadset(seed, clock=clock, wait=clock.wait).chunks():
        if clock.now - 100.0 > seconds:
            return
        yield clock.now - 100.0, chunk


def test_it_has_been_on_for_a_while_and_then_keeps_its_rate() -> None:
    came = list(_played(40.0))
    ends = np.cumsum([len(chunk.samples) for _, chunk in came])
    at, first = came[0]
    assert at == pytest.approx(0.0, abs=0.01)
    assert len(first.samples) / 256 == pytest.approx(HISTORY_S, abs=0.05)
    assert {len(chunk.samples) for _, chunk in came[1:]} == {12}
    assert [at for at, _ in came] == pytest.approx(ends / 256.02 - HISTORY_S, abs=0.01)
    times = np.concatenate([chunk.timestamps for _, chunk in came])
    late = times - times[0] - np.arange(len(times)) / 256.02
    assert -0.005 < late.min() <= late.max() < 0.03


def test_states_take_turns_and_losses_are_counted() -> None:
    chunks = [chunk for _, chunk in _played(60.0)]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    notices = [notice for chunk in chunks for notice in chunk.notices]
    marks = [notice for notice in notices if notice.kind == "marker"]
    assert [mark.text for mark in marks] == list(
        itertools.islice(itertools.cycle(["calm", "excited"]), len(marks))
    )
    assert np.diff([mark.sample for mark in marks]) / 256 == pytest.approx(STATE_S + 1.0, abs=0.05)
    (lost,) = [notice for notice in notices if notice.kind == "lost"]
    missing = np.flatnonzero(np.isnan(samples).all(axis=1))
    assert missing.tolist() == list(range(lost.sample - lost.n, lost.sample))
    # Then the electrode of one channel came off for a while.
    railed = samples == 999.5
    assert railed.sum(axis=0).tolist() == [0, 0, 0, 312]
    # No step where one simulated stretch becomes the next.
    steps = np.abs(np.diff(samples, axis=0)).max(axis=1)
    seams = [3588 * i for i in range(1, len(samples) // 3588)]
    assert len(seams) >= 3
    assert max(steps[seam - 3 : seam + 3].max() for seam in seams) < 40.0


def test_a_seed_gives_the_same_signal_and_none_another_one() -> None:
    def begin(source: object) -> np.ndarray:
        assert isinstance(source, SimulatedHeadset)
        return next(source.chunks()).samples

    again = begin(open_source("simulated:?seed=3"))
    assert np.array_equal(again, next(_played(1.0))[1].samples)
    assert not np.array_equal(begin(open_source("simulated:")), begin(open_source("simulated:")))


def test_who_was_stopped_gets_no_flood() -> None:
    clock = Clock()
    chunks = SimulatedHeadset(1, clock=clock, wait=clock.wait).chunks()
    next(chunks), next(chunks)
    clock.now += 3600.0
    next(chunks)
    before = clock.now
    next(chunks)
    assert clock.now - before == pytest.approx(12 / 256.02, abs=0.001)


def test_closing_ends_it() -> None:
    source = SimulatedHeadset(1)
    chunks = source.chunks()
    next(chunks)
    source.close()
    assert list(chunks) == []


@pytest.mark.parametrize("rest", ["x", "?seed=x", "?seed=-1", "?seed=", "?speed=2", "?seed=" + "9" * 30])
def test_anything_but_a_seed_is_refused(rest: str) -> None:
    with pytest.raises(ConfigError, match="seed"):
        open_source(f"simulated:{rest}")


@pytest.mark.ort
def test_the_built_in_model_follows_its_states() -> None:
    right = []
    for seed in range(3):
        source = SimulatedHeadset(seed)
        options = StreamOptions(smooth_s=0.5)
        state, since = "", 0.0
        with Decoder(
            builtin_model(),
            source.ch_names,
            source.sfreq,
            rails_uv=source.rails_uv,
            counted=True,
            options=options,
        ) as decoder:
            for _, chunk in _played(25.0, seed):
                for notice in chunk.notices:
                    if notice.kind == "marker":
                        state, since = notice.text, notice.sample / 256
                for decision in decoder.push(chunk.samples, chunk.timestamps):
                    if decision.valid and since + 1.0 <= decision.t_s <= since + STATE_S:
                        right.append(decision.label == state)
    # 0.88 over many; by chance 0.5.
    assert len(right) > 200
    assert np.mean(right) > 0.75

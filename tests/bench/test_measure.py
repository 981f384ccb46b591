import itertools
import time

import numpy as np
import pytest

from mimamba_edge.bench.measure import (
    DISTURBED,
    TOO_FEW,
    UNSTABLE,
    Budget,
    PeakMemory,
    Series,
    make_feeds,
    paced,
    summarise,
    time_together,
    warm_up,
)
from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.errors import DataError
from mimamba_edge.runtime.base import Arrays, Runner
from tests.modelfiles import noise, tiny_contract


class Spy(Runner):
    """Notes what it is fed and when."""

    artifact, kind, precision = "spy", "spy", "fp32"

    def __init__(self, log: list[tuple[str, int]], name: str, wait_s: float = 0.0) -> None:
        self.contract = tiny_contract()
        self.log, self.name, self.wait_s = log, name, wait_s

    def activate(self) -> None:
        pass

    def infer(self, feeds: Arrays) -> Arrays:
        self.log.append((self.name, hash(feeds[WINDOWS].tobytes())))
        time.sleep(self.wait_s)
        return {LOGITS: feeds[WINDOWS][:, 0, :2]}


@pytest.mark.parametrize(("n", "batch"), [(2, 1), (2, 2), (7, 1), (7, 3), (7, 64), (70, 64)])
def test_inputs_change_with_every_run_and_come_from_the_windows(n: int, batch: int) -> None:
    windows = noise(tiny_contract(), n)
    feeds = [f[WINDOWS] for f in make_feeds(windows, batch)]
    held = {w.tobytes() for w in windows}
    assert all(f.shape == (batch, *windows.shape[1:]) for f in feeds)
    assert all(w.tobytes() in held for f in feeds for w in f)
    around = [*feeds, feeds[0]]
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(around))
    if batch == 1:
        assert {f.tobytes() for f in feeds} == held
    again = [f[WINDOWS] for f in make_feeds(windows, batch)]
    assert all(np.array_equal(a, b) for a, b in zip(feeds, again, strict=True))


def test_one_window_cannot_change() -> None:
    with pytest.raises(DataError, match="at least two"):
        make_feeds(noise(tiny_contract(), 1), 1)


def test_runners_take_turns_and_see_the_same_inputs() -> None:
    log: list[tuple[str, int]] = []
    spies = [Spy(log, name, 0.0005) for name in "abc"]
    feeds = make_feeds(noise(tiny_contract(), 3), 1)
    called: list[int] = []
    shares: list[float] = []
    budget = Budget(runs=4, least_s=0.0, most_s=60.0, block_s=0.0)
    done = time_together(spies, feeds, budget, between=lambda: called.append(1), on_step=shares.append)
    # A block is one run here; only the first has one before it that is not counted. Who starts, changes.
    assert "".join(name for name, _ in log) == "aabbcc" + "bca" + "cab" + "abc"
    assert len(called) == 4
    assert sum(shares) == pytest.approx(1.0)
    order = [hash(feed[WINDOWS].tobytes()) for feed in feeds]
    for series, spy in zip(done, spies, strict=True):
        assert len(series.ns) == len(series.block_means) == 4
        assert all(ns >= 5e5 for ns in series.ns)
        counted = [key for name, key in log if name == spy.name][1:]
        assert counted == [order[0], order[1], order[2], order[0]]


def test_budget() -> None:
    budget = Budget(runs=3, least_s=1.0, most_s=2.0, most_runs=10)
    spent = {
        "few": budget.spent(Series(None, [int(9e8)] * 2)),  # type: ignore[arg-type]
        "runs but not long": budget.spent(Series(None, [1] * 9)),  # type: ignore[arg-type]
        "runs and long": budget.spent(Series(None, [int(4e8)] * 3)),  # type: ignore[arg-type]
        "too long": budget.spent(Series(None, [int(2e9)])),  # type: ignore[arg-type]
        "too many": budget.spent(Series(None, [1] * 10)),  # type: ignore[arg-type]
    }
    assert spent == {
        "few": False,
        "runs but not long": False,
        "runs and long": True,
        "too long": True,
        "too many": True,
    }


def test_figures_against_plain_arithmetic_and_nothing_is_dropped() -> None:
    ms = [1.0] * 50 + [2.0] * 49 + [500.0]
    series = Series(None, [int(v * 1e6) for v in ms], [1.0, 1.0, 1.5])  # type: ignore[arg-type]
    row = summarise(series, batch=4)
    assert row["n_runs"] == 100
    assert (row["min_ms"], row["max_ms"], row["outliers"]) == (1.0, 500.0, 1)
    assert row["p50_ms"] == 1.5
    assert row["per_window_ms"] == 1.5 / 4
    assert row["mean_ms"] == pytest.approx(sum(ms) / 100)
    assert row["throughput_hz"] == pytest.approx(4 * 100 / (sum(ms) / 1e3))
    assert row["p99_ms"] == pytest.approx(2 + 0.01 * 498)
    assert len(row["latencies_ms"]) == 100
    assert row["unstable"]


@pytest.mark.parametrize(
    ("clock", "cpu", "why"),
    [
        ([1.0, 1.01], [1.0, 1.01], None),
        ([1.0], [1.0], TOO_FEW),
        ([1.0, 1.0, 1.5], [0.9, 0.9, 0.91], DISTURBED),
        ([1.0, 1.0, 1.5], [0.9, 0.9, 1.4], UNSTABLE),
        ([1.0, 1.0, 1.5], [0.0, 0.0, 0.0], UNSTABLE),  # a clock that counts no CPU time tells nothing
    ],
)
def test_the_cause_that_holds_is_named(clock, cpu, why) -> None:
    row = summarise(Series(None, [1_000_000], clock, cpu), 1)  # type: ignore[arg-type]
    assert (row["unstable"], row["unstable_why"]) == (why is not None, why)


def test_paced_waits_between_runs() -> None:
    log: list[tuple[str, int]] = []
    start = time.perf_counter()
    ms = paced(Spy(log, "a", 0.001), make_feeds(noise(tiny_contract(), 5), 1), 0.01, 4)
    assert time.perf_counter() - start >= 0.04
    assert len(ms) == 4
    assert all(v >= 1 for v in ms)


def test_warm_up_reports_the_first_run_apart() -> None:
    log: list[tuple[str, int]] = []
    first = warm_up(Spy(log, "a", 0.002), make_feeds(noise(tiny_contract(), 5), 1), 0.0)
    assert first >= 2
    assert len(log) > 10


def test_memory_growth_is_seen_or_said_to_be_unknown() -> None:
    memory = PeakMemory()
    memory.reset()
    block = np.ones(40 << 20, dtype=np.uint8)
    grown = memory.growth_bytes()
    assert grown is None or 30 << 20 < grown < 100 << 20
    del block


def test_short_runs_are_warmed_again_before_each_block() -> None:
    log: list[tuple[str, int]] = []
    budget = Budget(runs=1, least_s=0.06, most_s=60.0, block_s=0.02)
    spy = Spy(log, "a", wait_s=0.001)
    (series,) = time_together([spy], make_feeds(noise(tiny_contract(), 5), 1), budget)
    uncounted = len(log) - len(series.ns)
    # One a block, but for a block that ended while this process was kept waiting.
    assert 1 <= uncounted <= len(series.block_means)


def test_warm_up_outlasts_a_late_compilation() -> None:
    class Late(Spy):
        def infer(self, feeds: Arrays) -> Arrays:
            self.wait_s = 0.05 if len(self.log) in (0, 8, 20) else 0.001
            return super().infer(feeds)

    log: list[tuple[str, int]] = []
    warm_up(Late(log, "a"), make_feeds(noise(tiny_contract(), 5), 1), 0.02)
    assert len(log) > 24

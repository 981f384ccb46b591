"""Packet counters: a made-up device whose losses are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mimamba_edge.signal.packet_counter import Counter, CounterEvent, Counting

SFREQ = 250.0
Block = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _device(n: int, how: Counting, seed: int = 0) -> Block:
    """Return ``n`` samples as a device numbers and stamps them without a loss."""
    rng = np.random.default_rng(seed)
    packets = np.arange(n) // how.packet
    numbers = (7 + how.step * packets) % how.modulus
    return rng.normal(size=(n, 3)), 1e9 + (1 + np.arange(n)) / SFREQ, numbers.astype(np.float64)


def _feed(counter: Counter, block: Block, sizes: NDArray[np.int64]) -> tuple[Block, list[CounterEvent]]:
    """Push in chunks of some sizes."""
    rows, stamps, notices, at = [], [], [], 0
    for size in sizes:
        part = slice(at, at + int(size))
        samples, times, found = counter.push(block[0][part], block[1][part], block[2][part])
        rows.append(samples)
        stamps.append(times)
        notices += found
        at += int(size)
    return (np.concatenate(rows), np.concatenate(stamps), block[2]), notices


def _sizes(n: int, seed: int) -> NDArray[np.int64]:
    sizes = np.random.default_rng(seed).integers(0, 9, n)
    return np.append(sizes[np.cumsum(sizes) <= n], n - np.cumsum(sizes)[np.cumsum(sizes) <= n][-1])


def _without(block: Block, gone: NDArray[np.bool_]) -> Block:
    return block[0][~gone], block[1][~gone], block[2][~gone]


@pytest.mark.parametrize(
    "how",
    [
        Counting(256),
        Counting(256, step=2),
        Counting(65536, packet=12),
        Counting(2**32),
        Counting(200, packet=2),
    ],
    ids=str,
)
def test_a_stream_without_a_loss_comes_out_as_it_went_in(how: Counting) -> None:
    block = _device(9000, how)
    out, notices = _feed(Counter(how, SFREQ), block, _sizes(9000, 1))
    assert notices == []
    np.testing.assert_array_equal(out[0], block[0])
    np.testing.assert_array_equal(out[1], block[1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("how", [Counting(256), Counting(256, step=2)], ids=str)
def test_losses_up_to_a_wrap_are_filled_where_they_happened(how: Counting, seed: int) -> None:
    n, rng = 4000, np.random.default_rng(seed)
    block, gone = _device(n, how, seed), np.zeros(4000, dtype=bool)
    longest = how.modulus // how.step - 1
    # Losses stand apart, so that each is one.
    lost = {int(at): int(rng.integers(1, longest)) for at in range(300, n - 300, 400)}
    lost[3500] = longest
    for at, count in lost.items():
        gone[at : at + count] = True
    counter = Counter(how, SFREQ)
    out, notices = _feed(counter, _without(block, gone), _sizes(n - int(gone.sum()), seed + 50))
    assert [(x.kind, x.sample, x.n) for x in notices] == [("lost", at, k) for at, k in sorted(lost.items())]
    assert counter.given == len(out[0]) == n
    np.testing.assert_array_equal(np.isnan(out[0]).all(axis=1), gone)
    np.testing.assert_array_equal(out[0][~gone], block[0][~gone])
    np.testing.assert_array_equal(out[1][~gone], block[1][~gone])
    np.testing.assert_allclose(out[1], block[1], rtol=0, atol=1e-6)


def _spread(block: Block, packet: int) -> Block:
    """Stamp as BrainFlow does: the last sample of a packet by the clock, the others evenly since the last."""
    times, last = block[1].copy(), block[1][0] - 1 / SFREQ
    for at in range(0, len(times), packet):
        now = times[at + packet - 1]
        times[at : at + packet] = last + (now - last) * np.arange(1, packet + 1) / packet
        last = now
    return block[0], times, block[2]


@pytest.mark.parametrize("seed", range(6))
def test_lost_packets_of_several_samples(seed: int) -> None:
    how, n, rng = Counting(65536, packet=12), 6000, np.random.default_rng(seed)
    block, gone = _device(n, how, seed), np.zeros(n, dtype=bool)
    lost = {12 * int(at): 12 * int(rng.integers(1, 30)) for at in range(20, 460, 40)}
    for at, count in lost.items():
        gone[at : at + count] = True
    left = _spread(_without(block, gone), 12)
    out, notices = _feed(Counter(how, SFREQ), left, _sizes(len(left[0]), seed))
    assert [(x.kind, x.sample, x.n) for x in notices] == [("lost", at, k) for at, k in sorted(lost.items())]
    np.testing.assert_array_equal(np.isnan(out[0]).all(axis=1), gone)
    np.testing.assert_array_equal(out[0][~gone], block[0][~gone])
    # The stamps that were stretched over the loss stand where the samples were made.
    np.testing.assert_allclose(out[1], block[1], rtol=0, atol=1e-6)


def test_samples_missing_within_a_packet() -> None:
    how = Counting(65536, packet=12)
    block, gone = _device(240, how), np.zeros(240, dtype=bool)
    gone[55:90] = True  # from within one packet to within another
    out, notices = _feed(Counter(how, SFREQ), _without(block, gone), _sizes(205, 3))
    assert [(x.sample, x.n) for x in notices] == [(55, 35)]
    np.testing.assert_array_equal(np.isnan(out[0]).all(axis=1), gone)


def test_a_stream_may_begin_within_a_packet() -> None:
    block = tuple(part[5:] for part in _device(240, Counting(65536, packet=12)))
    _, notices = _feed(Counter(Counting(65536, packet=12), SFREQ), block, _sizes(235, 0))  # type: ignore[arg-type]
    assert notices == []


def test_the_same_again_and_what_comes_late_is_dropped() -> None:
    how = Counting(256)
    block = _device(1000, how)
    order = np.arange(1000)
    order = np.insert(order, [101, 601], [100, 600])  # 100 and 600 once more, at once
    order = np.insert(order, 300, 280)  # 280 once more, 19 samples later
    # It comes when it comes: a stamp is made on arrival.
    mixed = block[0][order], np.interp(np.arange(1003), np.arange(1000), block[1]), block[2][order]
    out, notices = _feed(Counter(how, SFREQ), mixed, _sizes(1003, 4))
    assert [(x.kind, x.sample) for x in notices] == [("duplicate", 101), ("late", 299), ("duplicate", 601)]
    np.testing.assert_array_equal(out[0], block[0])


def test_a_late_packet_was_counted_as_lost_before() -> None:
    block = _device(100, Counting(256))
    order = np.array([*range(50), 51, 52, 50, *range(53, 100)])
    mixed = block[0][order], block[1], block[2][order]
    out, notices = _feed(Counter(Counting(256), SFREQ), mixed, _sizes(100, 4))
    assert [(x.kind, x.sample, x.n) for x in notices] == [("lost", 50, 1), ("late", 53, 1)]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(out[0]).all(axis=1)), [50])
    assert len(out[0]) == 100


def test_a_stalled_link_that_catches_up_lost_nothing() -> None:
    block = _device(2000, Counting(256))
    times = block[1].copy()
    times[1000:1600] = np.linspace(times[1500], times[1600], 600)  # 2 s of silence, then all at once
    _, notices = _feed(Counter(Counting(256), SFREQ), (block[0], times, block[2]), _sizes(2000, 5))
    assert notices == []


@pytest.mark.parametrize("jump", [100, 200])
def test_a_device_that_counts_anew_lost_nothing(jump: int) -> None:
    block = _device(1000, Counting(256))
    numbers = (block[2] + np.where(np.arange(1000) >= 500, jump, 0)) % 256
    out, notices = _feed(Counter(Counting(256), SFREQ), (*block[:2], numbers), _sizes(1000, 6))
    assert notices == []
    np.testing.assert_array_equal(out[0], block[0])


def test_a_loss_of_more_than_a_minute_is_left_to_the_clock() -> None:
    how = Counting(65536, packet=12)
    block = _device(40_008, how)
    gone = np.zeros(40_008, dtype=bool)
    gone[1200 : 1200 + 18_000] = True
    out, notices = _feed(Counter(how, SFREQ), _spread(_without(block, gone), 12), _sizes(22_008, 7))
    assert notices == []
    np.testing.assert_array_equal(out[0], block[0][~gone])


def test_connected_anew_it_starts_anew() -> None:
    counter = Counter(Counting(256), SFREQ)
    block = _device(600, Counting(256))
    _feed(counter, tuple(part[:300] for part in block), _sizes(300, 8))  # type: ignore[arg-type]
    counter.restart()
    _, notices = _feed(counter, tuple(part[400:] for part in block), _sizes(200, 9))  # type: ignore[arg-type]
    assert notices == []
    assert counter.given == 500

"""The chunk cleaner: what came twice or too late goes, everything else stays as it was."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.signal.clock import find_events
from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.sources.base import Chunk, Notice

SFREQ = 256.0
CHUNKINGS = (1, 4, 12, 13, 32, 10**6)


def _simulated(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    recording, _ = simulate_recording(["calm"] * 3, seed=seed)
    return recording.samples, recording.timestamps


def _clean(
    x: np.ndarray, t: np.ndarray, sizes: int | Iterable[int]
) -> tuple[np.ndarray, np.ndarray, list[Notice]]:
    cleaner, at, chunks = ChunkCleaner(SFREQ, x.shape[1]), 0, []
    steps = iter(sizes) if not isinstance(sizes, int) else None
    while at < len(t):
        stop = at + (next(steps) if steps else sizes)  # type: ignore[operator]
        chunks.append(cleaner.clean(Chunk(x[at:stop], t[at:stop])))
        at = stop
    return (
        np.concatenate([c.samples for c in chunks]),
        np.concatenate([c.timestamps for c in chunks]),
        [n for c in chunks for n in c.notices],
    )


def _counted(notices: list[Notice]) -> dict[str, int]:
    found: dict[str, int] = {}
    for n in notices:
        found[n.kind] = found.get(n.kind, 0) + n.n
    return found


@pytest.mark.data
def test_real_jitter_passes_untouched_however_it_is_cut(recordings: Path) -> None:
    files = sorted(recordings.glob("run-*.csv"))
    assert len(files) == 6
    rng = np.random.default_rng(0)
    for path in files:
        recording = read_recording(path)
        for sizes in (12, iter(rng.integers(1, 33, len(recording.samples)).tolist())):
            x, t, notices = _clean(recording.samples, recording.timestamps, sizes)
            assert notices == []
            assert np.array_equal(x, recording.samples, equal_nan=True)
            assert np.array_equal(t, recording.timestamps)


def test_a_clean_chunk_is_handed_on_as_it_is() -> None:
    x, t = _simulated()
    cleaner = ChunkCleaner(SFREQ, x.shape[1])
    for at in range(0, 1200, 12):
        chunk = Chunk(x[at : at + 12], t[at : at + 12], notices=(Notice("marker", "a", sample=at),))
        got = cleaner.clean(chunk)
        assert len(got.samples) == 12
        assert got.notices == chunk.notices


@pytest.mark.parametrize("size", CHUNKINGS)
@pytest.mark.parametrize("n", [4, 12, 32])
@pytest.mark.parametrize("after", [0, 1, 12])
def test_a_packet_that_comes_twice_is_taken_out(size: int, n: int, after: int) -> None:
    x, t = _simulated()
    order = np.insert(np.arange(len(t)), (50 + after) * n, np.arange(49 * n, 50 * n))
    got_x, got_t, notices = _clean(x[order], t[order], size)
    assert np.array_equal(got_x, x)
    assert np.array_equal(got_t, t)
    assert _counted(notices) == {"duplicate": n}
    assert notices[0].sample == (50 + after) * n


@pytest.mark.parametrize("size", CHUNKINGS)
@pytest.mark.parametrize("n", [8, 12, 32])
def test_a_packet_that_comes_late_is_taken_out_and_found_missing(size: int, n: int) -> None:
    x, t = _simulated()
    packets = np.arange(len(t) // n * n).reshape(-1, n)
    late = packets[60]
    order = np.concatenate([packets[:60].ravel(), packets[61], late, packets[62:].ravel()])
    got_x, got_t, notices = _clean(x[order], t[order], size)
    kept = np.delete(packets.ravel(), late)
    assert np.array_equal(got_x, x[kept])
    assert np.array_equal(got_t, t[kept])
    assert _counted(notices) == {"late": n}
    if n >= 12:
        [event] = find_events(got_t, SFREQ)
        assert event.n_lost == pytest.approx(n, abs=2)


@pytest.mark.parametrize("size", CHUNKINGS)
def test_packets_out_of_order_by_more_than_one(size: int) -> None:
    x, t = _simulated()
    packets = np.arange(len(t) // 12 * 12).reshape(-1, 12)
    order = list(range(len(packets)))
    order[40:43] = [42, 40, 41]
    order[100:104] = [101, 103, 100, 102]
    rows = packets[order].ravel()
    got_x, got_t, notices = _clean(x[rows], t[rows], size)
    kept = np.setdiff1d(packets.ravel(), packets[[40, 41, 100, 102]].ravel())
    assert np.array_equal(got_t, t[kept])
    assert np.array_equal(got_x, x[kept])
    assert _counted(notices) == {"late": 48}


@pytest.mark.parametrize("size", CHUNKINGS)
@pytest.mark.parametrize("step_s", [-0.04, -0.1, -1.0, -5.0, -3600.0, 0.1, 5.0, 1e5])
def test_a_clock_that_is_set_passes_on(size: int, step_s: float) -> None:
    x, t = _simulated()
    t = t.copy()
    t[1500:] += step_s
    t[3000:] -= step_s
    got_x, got_t, notices = _clean(x, t, size)
    assert notices == []
    assert np.array_equal(got_x, x)
    assert np.array_equal(got_t, t)


@pytest.mark.parametrize("size", CHUNKINGS)
@pytest.mark.parametrize("step_s", [-0.3, -0.7, -1.2])
def test_a_clock_that_is_set_back_into_a_gap_passes_on(size: int, step_s: float) -> None:
    x, t = _simulated()
    t = t.copy()
    t[1500:] += 1.0
    t[1560:] += step_s
    got_x, got_t, notices = _clean(x, t, size)
    assert notices == []
    assert np.array_equal(got_x, x)
    assert np.array_equal(got_t, t)


def test_what_is_held_waits_for_one_row_and_no_longer_than_a_quarter_of_a_second() -> None:
    x, t = _simulated()
    t = t.copy()
    t[1500:] += 3.0
    t[1560:] -= 2.0
    cleaner, waiting, longest = ChunkCleaner(SFREQ, x.shape[1]), 0, 0
    for i in range(0, len(t), 4):
        waiting += 4 - len(cleaner.clean(Chunk(x[i : i + 4], t[i : i + 4])).samples)
        longest = max(longest, waiting)
    assert waiting == 0
    assert 0 < longest <= 64


def test_rows_without_a_time_are_taken_out() -> None:
    x, t = _simulated()
    bad = t.copy()
    bad[[100, 101, 500]] = np.nan, np.inf, -1e300
    for size in CHUNKINGS:
        got_x, got_t, notices = _clean(x, bad, size)
        kept = np.delete(np.arange(len(t)), [100, 101, 500])
        assert np.array_equal(got_x, x[kept])
        assert np.array_equal(got_t, t[kept])
        assert _counted(notices) == {"untimed": 3}
    assert len(_clean(x, np.full(len(t), np.nan), 12)[0]) == 0


def test_a_device_that_stands_still_repeats_nothing() -> None:
    # All channels at the rail, one time for a packet of twelve: equal rows, and none of them twice.
    t = 10.0 + np.repeat(np.arange(100) * 12 / SFREQ, 12)
    x = np.full((1200, 4), -1000.0)
    got_x, _, notices = _clean(x, t, 12)
    assert notices == []
    assert len(got_x) == 1200
    # The signal may move while the times stand.
    moving = np.random.default_rng(1).normal(size=(1200, 4))
    order = np.insert(np.arange(1200), 612, np.arange(600, 612))
    got_x, _, notices = _clean(moving[order], t[order], 12)
    assert np.array_equal(got_x, moving)
    assert _counted(notices) == {"duplicate": 12}


def test_samples_that_are_missing_are_no_duplicates() -> None:
    x, t = _simulated()
    x = x.copy()
    x[1000:1300] = np.nan
    got_x, got_t, notices = _clean(x, t, 12)
    assert notices == []
    assert np.array_equal(got_x, x, equal_nan=True)
    assert np.array_equal(got_t, t)


def test_notices_of_the_source_count_what_is_left() -> None:
    x, t = _simulated()
    cleaner = ChunkCleaner(SFREQ, x.shape[1])
    cleaner.clean(Chunk(x[:120], t[:120]))
    twice = cleaner.clean(Chunk(x[108:120], t[108:120]))
    assert [(n.kind, n.n, n.sample) for n in twice.notices] == [("duplicate", 12, 120)]
    later = cleaner.clean(Chunk(x[120:132], t[120:132], notices=(Notice("marker", "go", sample=132),)))
    assert [(n.kind, n.sample) for n in later.notices] == [("marker", 120)]
    silent = cleaner.clean(Chunk(x[:0], t[:0], notices=(Notice("disconnected", sample=144),)))
    assert [(n.kind, n.sample) for n in silent.notices] == [("disconnected", 132)]


def test_memory_does_not_grow() -> None:
    x, t = _simulated()
    cleaner = ChunkCleaner(SFREQ, x.shape[1])
    held = []
    for at in range(0, len(t), 12):
        cleaner.clean(Chunk(x[at : at + 12], t[at : at + 12]))
        held.append(len(pickle.dumps(cleaner)))
    assert held[-1] <= max(held[: len(held) // 2])
    assert held[-1] <= 4 * 2 * 256 * 8 * (1 + x.shape[1]) + 4096

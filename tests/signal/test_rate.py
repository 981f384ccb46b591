"""The rate that a source delivers against the one that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.signal.rate import RateWatch, usual_rate

PACKET = 12


def _times(
    rate: float, *, n: int = 6000, jitter_s: float = 0.01, lost: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Packets of 12 samples, each late by a random time, some of them missing."""
    rng = np.random.default_rng(seed)
    packets = np.arange(2 * n).reshape(-1, PACKET) / rate + rng.normal(0, jitter_s, (2 * n // PACKET, 1))
    return 1e9 + packets[rng.random(len(packets)) >= lost].ravel()[:n]


def _detect(times: np.ndarray, sfreq: float, chunk: int = 17) -> tuple[float | None, float | None]:
    """Return the rate that was found other than said, and after how many seconds."""
    watch = RateWatch(sfreq)
    for at in range(0, len(times), chunk):
        if watch.push(times[at : at + chunk]):
            return watch.hz, times[min(at + chunk, len(times)) - 1] - times[0]
    return None, None


@pytest.mark.parametrize(("says", "has"), [(256, 240), (250, 270), (256, 250), (256, 252), (250, 254)])
@pytest.mark.parametrize("jitter_s", [0.0, 0.003])
def test_another_rate_is_named_within_ten_seconds(says: float, has: float, jitter_s: float) -> None:
    for seed in range(5):
        hz, after_s = _detect(_times(has, jitter_s=jitter_s, seed=seed), says)
        assert hz == pytest.approx(has, rel=2e-3)
        assert after_s is not None
        assert after_s < 10


@pytest.mark.parametrize("deviation", [-0.008, -0.001, 0.0, 0.001, 0.008])
@pytest.mark.parametrize("jitter_s", [0.0, 0.005])
def test_what_crystals_do_is_no_other_rate(deviation: float, jitter_s: float) -> None:
    for seed in range(5):
        assert _detect(_times(256 * (1 + deviation), jitter_s=jitter_s, seed=seed), 256) == (None, None)


@pytest.mark.parametrize("lost", [0.01, 0.02, 0.05])
def test_losses_are_not_a_slower_rate(lost: float) -> None:
    # At 5 % the mean rate is 243 Hz; the time stamps rise in steps, not along a line.
    wrong = sum(
        _detect(_times(256, jitter_s=0.003, lost=lost, seed=s), 256)[0] is not None for s in range(40)
    )
    assert wrong <= 2


def test_a_jump_of_the_clock_is_not_another_rate() -> None:
    for step_s in (-1e6, -0.5, 0.3, 10.0, 1e6):
        times = _times(256)
        times[700:] += step_s
        assert _detect(times, 256) == (None, None), step_s


def test_a_block_that_a_loss_spoils_is_followed_by_the_next() -> None:
    times = _times(240, jitter_s=0.003)
    times[700:] += 2.0
    hz, _ = _detect(times, 256)
    assert hz == pytest.approx(240, rel=2e-3)


def test_the_size_of_the_chunks_does_not_matter() -> None:
    for times in (_times(240), _times(255, lost=0.02)):
        assert len({_detect(times, 256, chunk)[0] for chunk in (1, 12, 100, 1536, 6000)}) == 1


@pytest.mark.data
def test_the_clean_recordings_keep_their_rate(recordings: Path) -> None:
    for path in sorted(recordings.glob("run-*.csv")):
        times = read_recording(path).timestamps
        for at in range(0, len(times) - 1600, 500):
            assert _detect(times[at:], 256.0) == (None, None), (path.name, at)
        assert _detect(times, 273.07)[0] == pytest.approx(256, rel=2e-3)
        assert _detect(times, 262.4)[0] == pytest.approx(256, rel=2e-3)


@pytest.mark.parametrize(
    ("measured", "usual"),
    [(255.6, 256.0), (239.8, 240.0), (249.3, 250.0), (31.3, 31.3), (10.43, 10.4), (0.2561, 0.256)],
)
def test_a_measured_rate_stands_for_a_usual_one(measured: float, usual: float) -> None:
    assert usual_rate(measured) == usual

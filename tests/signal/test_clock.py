from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.errors import SignalError
from mimamba_edge.signal.clock import find_events, fit_clock
from mimamba_edge.signal.rate import robust_rate

RNG = np.random.default_rng(5)


def _jittered(n: int, rate: float = 256.0) -> np.ndarray:
    """Packets of 12 that come up to 20 ms late: steps over 10 ms and backward steps, and no loss."""
    late = np.repeat(RNG.choice([0.0, 0.001, 0.02], p=[0.6, 0.27, 0.13], size=-(-n // 12)), 12)[:n]
    return 1000.0 + np.arange(n) / rate + late


@pytest.mark.data
def test_the_clean_recordings_report_no_loss(recordings: Path) -> None:
    for path in sorted(recordings.glob("run-*.csv")):
        timestamps = read_recording(path).timestamps
        assert (np.diff(timestamps) <= 0).any()  # the files are as jittered as their README says
        assert find_events(timestamps, 256.0) == [], path.name


@pytest.mark.data
def test_a_missing_packet_is_found_where_it_was(recordings: Path) -> None:
    timestamps = read_recording(recordings / "run-01.csv").timestamps
    for at in RNG.integers(512, len(timestamps) - 400, 25):
        events = find_events(np.delete(timestamps, slice(at, at + 12)), 256.0)
        assert [e.kind for e in events] == ["loss"]
        assert abs(events[0].n_lost - 12) <= 1
        assert abs(events[0].sample - at) <= 12


@pytest.mark.parametrize("rate", [256.0, 256.256, 255.744, 128.0])
def test_jitter_alone_is_never_a_loss(rate: float) -> None:
    # 0.1 % off the nominal rate is 60 ms a minute: the fit of the rate has to take it up.
    assert find_events(_jittered(30_000, rate), round(rate / 128) * 128.0) == []


def test_the_fitted_rate_is_taken_off_before_a_step_is_judged() -> None:
    # 1.5 % off is 15 ms between two medians; five samples more are 20 ms, which is no loss.
    timestamps = 1000.0 + np.arange(30_000) * 1.015 / 256
    timestamps[25_000:] += 5 / 256
    assert find_events(timestamps, 256.0) == []
    timestamps[27_000:] += 8 / 256
    [event] = find_events(timestamps, 256.0)
    assert (event.n_lost, event.sample) == (8, 27_000)


@pytest.mark.parametrize("n_lost", [9, 12, 50, 256, 7680])
def test_losses_of_every_size(n_lost: int) -> None:
    timestamps = _jittered(6000)
    timestamps[3001:] += n_lost / 256
    [event] = find_events(timestamps, 256.0)
    assert event.kind == "loss"
    assert abs(event.n_lost - n_lost) <= 1
    assert abs(event.sample - 3001) <= 12


@pytest.mark.parametrize("rate", [256.256, 255.744])
def test_what_a_device_lost_is_counted_by_its_own_rate(rate: float) -> None:
    # A minute at 0.1 % off: by the nominal rate the loss would be 15 samples off, and the clock 60 ms.
    n_lost = 60 * 256
    timestamps = 1000.0 + np.arange(90_000) / rate
    timestamps[60_000:] += n_lost / rate
    timestamps[75_000:] += n_lost / rate
    events = find_events(timestamps, 256.0)
    assert [e.kind for e in events] == ["loss", "loss"]
    assert [e.n_lost for e in events] == pytest.approx([n_lost, n_lost], abs=1)


def test_a_late_burst_that_catches_up_is_no_loss() -> None:
    timestamps = _jittered(6000)
    timestamps[3000:3100] += np.linspace(100 / 256, 0, 100)
    assert find_events(timestamps, 256.0) == []


@pytest.mark.parametrize("step_s", [-0.1, -3600.0, -1e9, 86_400.0])
def test_a_clock_that_was_set_costs_no_samples(step_s: float) -> None:
    timestamps = _jittered(6000)
    timestamps[3000:] += step_s
    [event] = find_events(timestamps, 256.0)
    assert (event.kind, event.n_lost) == ("clock-step", 0)
    assert event.step_s == pytest.approx(step_s, abs=0.01)
    assert abs(event.sample - 3000) <= 12


def test_events_one_after_the_other() -> None:
    timestamps = _jittered(12_000)
    timestamps[3000:] += 30 / 256
    timestamps[5000:] -= 2.0
    timestamps[8000:] += 12 / 256
    events = find_events(timestamps, 256.0)
    assert [e.kind for e in events] == ["loss", "clock-step", "loss"]
    assert [e.n_lost for e in events] == pytest.approx([30, 0, 12], abs=1)


def test_recorded_times_map_to_the_samples_that_were_made_then() -> None:
    rate = 256.05
    truth = np.arange(20_000)
    kept = np.delete(truth, slice(7000, 7100))
    timestamps = _jittered(20_000, rate)[kept]
    timestamps[kept >= 15_000] -= 5.0
    fit = fit_clock(timestamps, find_events(timestamps, 256.0), 256.0)
    for n in (100, 6000, 9000, 14_000):
        assert fit.grid(1000.0 + n / rate) == pytest.approx(n, abs=2.0)
    assert fit.grid(1000.0 + 19_000 / rate - 5.0) == pytest.approx(19_000, abs=2.0)


def test_rate_ignores_a_gap() -> None:
    recording, _ = simulate_recording(["calm"] * 4)
    timestamps = recording.timestamps.copy()
    timestamps[3000:] += 30.0
    assert robust_rate(timestamps) == pytest.approx(256.02, abs=0.3)
    with pytest.raises(SignalError, match="no sampling rate"):
        robust_rate(np.array([1.0]))
    with pytest.raises(SignalError, match="no sampling rate"):
        robust_rate(np.full(100, 1.0))
    with pytest.raises(SignalError, match="no sampling rate"):
        robust_rate(5e-324 * np.arange(300))


@pytest.mark.parametrize("stall_s", [0.5, 0.8, 1.5, 3.0, 6.0])
def test_samples_that_come_late_in_a_burst_are_not_lost(stall_s: float) -> None:
    # A link that stands still: everything made meanwhile comes at once at its end, stamped then.
    timestamps = _jittered(8000)
    held = slice(3000, 3000 + round(stall_s * 256))
    timestamps[held] = timestamps[held.stop]
    assert find_events(timestamps, 256.0) == []


def test_a_delay_that_goes_again_takes_its_loss_back() -> None:
    timestamps = _jittered(8000)
    timestamps[3000:4000] += 0.2
    events = find_events(timestamps, 256.0)
    assert [(e.kind, e.sample // 50) for e in events] == [("loss", 60), ("late", 80)]
    fit = fit_clock(timestamps, events, 256.0)
    # The grid keeps the samples that it was given, and times lead to where they stand on it.
    assert fit.grid(1000.0 + 6000 / 256) == pytest.approx(6000 + events[0].n_lost, abs=3)


def test_a_loss_while_samples_catch_up_is_found() -> None:
    timestamps = _jittered(8000)
    timestamps[3000:3500] = timestamps[3500]
    timestamps[3400:] += 100 / 256
    [event] = find_events(timestamps, 256.0)
    assert (event.kind, event.n_lost) == ("loss", pytest.approx(100, abs=2))


def test_a_long_rise_is_a_loss_or_a_clock_that_was_set() -> None:
    timestamps = _jittered(8000)
    timestamps[3000:] += 0.9
    timestamps[5000:] += 10.0
    assert [e.unsure for e in find_events(timestamps, 256.0)] == [False, True]

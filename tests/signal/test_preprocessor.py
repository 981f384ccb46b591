from __future__ import annotations

import dataclasses
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import SignalError
from mimamba_edge.signal.clock import ClockEvent
from mimamba_edge.signal.filters import SosFilter, default_filters, design_sos
from mimamba_edge.signal.preprocessor import Preprocessor, Window
from mimamba_edge.signal.signal_format import SignalFormat

NAMES = ("TP9", "AF7", "AF8")
CONTRACT = Contract(
    ch_names=("AF8", "TP9"),
    sfreq=128.0,
    n_times=128,
    hop=16,
    class_names=("a", "b"),
    filters=default_filters(128.0, 60.0),
    mains_hz=60.0,
    scaling=Scaling("robust", (1.0, -2.0), (10.0, 20.0)),
)


def _signal(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples and jittered timestamps of a headset without faults."""
    rng = np.random.default_rng(seed)
    x = 30 + np.cumsum(rng.normal(size=(n, 3)), axis=0) * 0.2 + rng.normal(size=(n, 3)) * 5
    late = np.repeat(rng.choice([0.0, 0.001, 0.018], p=[0.6, 0.27, 0.13], size=-(-n // 12)), 12)[:n]
    return x, 500.0 + np.arange(n) / 256 + late


def _path(contract: Contract = CONTRACT, **options: Any) -> Preprocessor:
    told = {name: options.pop(name) for name in ("unit", "rails_uv", "counted") if name in options}
    return Preprocessor(contract, SignalFormat(NAMES, 256.0, **told), **options)


def _run(x: np.ndarray, t: np.ndarray, size: int = 0, **options: Any) -> tuple[list[Window], Preprocessor]:
    path = _path(**options)
    size = size or len(x)
    windows = [w for i in range(0, len(x), size) for w in path.push(x[i : i + size], t[i : i + size])]
    return windows, path


def _assert_same(a: list[Window], b: list[Window]) -> None:
    assert [w.start for w in a] == [w.start for w in b]
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.data, other.data)
        assert np.array_equal(one.uv, other.uv)
        assert (one.valid, one.reason, one.t_s) == (other.valid, other.reason, other.t_s)
        assert one.quality == other.quality


def test_windows_are_slices_of_the_whole_signal_filtered_at_once() -> None:
    x, t = _signal(3000)
    contract = dataclasses.replace(CONTRACT, sfreq=256.0)
    windows, _ = _run(x * 1e-6, t, 37, contract=contract, unit="V")
    rows = (x * 1e-6 * 1e6)[:, [2, 0]]
    sos = design_sos(contract.filters, 256.0)
    zi = signal.sosfilt_zi(sos)[:, :, None] * rows[0]
    filtered, _ = signal.sosfilt(sos, rows, axis=0, zi=zi)
    assert [w.start for w in windows] == list(range(0, 3000 - 128 + 1, 16))
    for w in windows:
        expected = filtered[w.start : w.stop].T
        assert np.array_equal(w.uv, expected)
        scaled = (expected - np.array([[1.0], [-2.0]])) / np.array([[10.0], [20.0]])
        assert np.array_equal(w.data, scaled.astype(np.float32))


@pytest.mark.data
@pytest.mark.parametrize("size", [1, 7, 12, 256])
def test_chunks_change_no_bit_of_a_real_recording(recordings: Path, size: int) -> None:
    recording = read_recording(recordings / "run-02.csv")
    contract = dataclasses.replace(
        CONTRACT, ch_names=recording.ch_names, scaling=Scaling("window-zscore"), hop=64
    )
    n = 256 * 30 if size == 1 else len(recording.samples)
    whole, parts = (Preprocessor(contract, SignalFormat(recording.ch_names, recording.sfreq)) for _ in "ab")
    x, t = recording.samples[:n], recording.timestamps[:n]
    expected = whole.push(x, t)
    got = [w for i in range(0, n, size) for w in parts.push(x[i : i + size], t[i : i + size])]
    _assert_same(got, expected)
    assert parts.report == whole.report
    assert whole.report["losses"] == whole.report["suspicions"] == 0
    assert set(whole.report["no_decision"]) == {"settling"}
    assert whole.report["valid"] > 0.8 * whole.report["windows"]


@pytest.mark.parametrize("seed", range(5))
def test_chunks_change_no_bit_under_faults(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, t = _signal(3600, seed)
    keep = np.ones(len(x), dtype=bool)
    for at in rng.integers(0, len(x) - 400, 4):
        n = int(rng.choice([5, 12, 13, 40, 300]))
        fault = rng.integers(4)
        if fault == 0:
            keep[at : at + n] = False
        elif fault == 1:
            x[at : at + n, 2] = np.nan
        elif fault == 2:
            t[at:] += rng.choice([-400.0, -0.1, 0.1, 5.0, 1e5])
        else:
            t[at : at + n] += np.linspace(n / 256, 0, n)
    x, t = x[keep], t[keep]
    expected, whole = _run(x, t)
    for size in (1, 7, 12, 256):
        got, path = _run(x, t, size)
        _assert_same(got, expected)
        assert path.report == whole.report


def test_a_gap_of_50_ms_is_bridged_linearly() -> None:
    x, t = _signal(3000)
    holed, filled = x.copy(), x.copy()
    for c in range(3):
        filled[1500:1512, c] = np.interp(np.arange(1500, 1512), [1499, 1512], x[[1499, 1512], c])
    holed[1500:1512, 2] = np.nan
    expected, _ = _run(filled, t)
    got, path = _run(holed, t)
    assert [w.reason for w in got] == [w.reason for w in expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.uv, b.uv, atol=1e-9)
    assert path.report["bridged"] == 1
    assert path.report["nan_samples"] == 12


def test_a_longer_gap_invalidates_what_touches_it_and_the_settling_after() -> None:
    x, t = _signal(6000)
    x[3000:3013] = np.nan
    windows, path = _run(x, t)
    settling = round(path.settling_s * 256)
    for w in windows:
        first, last = 2 * w.start, 2 * (w.stop - 1)
        if last >= 3000 and first < 3013:
            assert w.reason == "gap"
        elif first < settling or (last >= 3013 and first < 3013 + settling):
            assert w.reason == "settling"
        else:
            assert w.valid, w.start
    assert (path.report["gaps"], path.report["resets"]) == (1, 0)
    assert sum(w.valid for w in windows) > 100


def test_above_a_second_the_path_starts_again() -> None:
    x, t = _signal(6400)
    x[2000:2400] = np.nan
    windows, path = _run(x, t)
    fresh, _ = _run(x[2400:], t[2400:])
    later = {w.start: w for w in windows}
    assert path.report["resets"] == 1
    # 2400 source samples are 1200 of the model's, a multiple of the hop: the grids coincide.
    for w in fresh:
        again = later[w.start + 1200]
        assert again.reason == w.reason
        assert np.array_equal(again.uv[:, 40:], w.uv[:, 40:]) or not w.valid
        assert np.array_equal(again.data, w.data) or not w.valid


@pytest.mark.parametrize(("n_lost", "reason"), [(12, None), (40, "gap"), (700, "gap")])
def test_lost_samples_become_the_gap_that_nan_would_have_been(n_lost: int, reason: str | None) -> None:
    x, t = _signal(6000)
    t[:] = 500.0 + np.arange(6000) / 256  # without jitter the size of the loss is found exactly
    holed = x.copy()
    holed[2991 : 2991 + n_lost] = np.nan
    expected, _ = _run(holed, t)
    kept = np.delete(np.arange(6000), slice(2991, 2991 + n_lost))
    got, path = _run(x[kept], t[kept])
    assert path.report["lost_samples"] == n_lost
    assert path.report["losses"] == 1
    assert [e.sample for e in path.events] == [2991]
    # The loss is known one second after it, to the next eighth. Every window from then on is the same.
    known = 2991 + n_lost + 256 + 32
    later = [w for w in expected if 2 * (w.stop - 1) >= known]
    got_later = [w for w in got if w.start >= later[0].start]
    assert len(later) > 50
    for a, b in zip(got_later, later, strict=True):
        assert (a.start, a.reason) == (b.start, b.reason)
        assert np.array_equal(a.uv, b.uv)
        assert a.t_s == pytest.approx(b.t_s, abs=0.01)
    # Until then, what follows a late sample is not decided on, if the loss is one that may not be bridged.
    between = [w for w in got if 2991 <= 2 * (w.stop - 1) < 2991 + 256]
    assert between
    assert {w.reason for w in between} == {reason}
    # A path that waits gives the same as with NaN from the start.
    final, held = _run(x[kept], t[kept], final=True)
    final += held.flush()
    with_nan, other = _run(holed, t, final=True)
    with_nan += other.flush()
    outside = [w for w in final if not 2991 <= 2 * w.stop <= 2991 + n_lost + 256]
    same = {w.start: w for w in with_nan}
    assert all(np.array_equal(w.uv, same[w.start].uv) and w.reason == same[w.start].reason for w in outside)


def test_two_losses_in_one_look_back_are_both_kept() -> None:
    x, t = _signal(6000)
    t[:] = 500.0 + np.arange(6000) / 256
    kept = np.delete(np.arange(6000), [*range(2985, 2997), *range(3330, 3342)])
    holed = x.copy()
    holed[np.setdiff1d(np.arange(6000), kept)] = np.nan
    expected, _ = _run(holed, t)
    got, path = _run(x[kept], t[kept])
    assert (path.report["losses"], path.report["lost_samples"], path.report["bridged"]) == (2, 24, 2)
    later = [w for w in expected if w.start >= 1900]
    for a, b in zip([w for w in got if w.start >= 1900], later, strict=True):
        assert np.array_equal(a.uv, b.uv)
        assert (a.start, a.reason) == (b.start, b.reason)


def test_going_back_behind_an_earlier_loss_keeps_it() -> None:
    x, t = _signal(3200)
    path = _path()
    path.push(x, t)
    for sample in (2900, 2890):
        path.correct(ClockEvent("loss", sample, 5, 5 / 256))
    assert path.report["lost_samples"] == 10


@pytest.mark.parametrize("step_s", [-3600.0, -5.0, 7200.0])
def test_a_clock_that_was_set_is_a_gap_and_loses_nothing(step_s: float) -> None:
    x, t = _signal(5000)
    expected, _ = _run(x, t)
    t[2500:] += step_s
    got, path = _run(x, t)
    assert path.report["clock_steps"] == 1
    assert path.report["lost_samples"] == 0
    ratio = path.contract.sfreq / 256
    # The step is found to within some samples, and the resampler looks back: the edge is not sharp.
    blur = 0.25 * path.contract.sfreq
    before, touching, after = 0, 0, 0
    for a, b in zip(got, expected, strict=True):
        if a.stop <= 2500 * ratio - blur:
            assert a.reason == b.reason
            assert np.array_equal(a.data, b.data)
            before += a.valid
        elif a.start < 2500 * ratio - blur and a.stop > 2500 * ratio + blur:
            assert not a.valid
            touching += 1
        elif a.start > (2500 / 256 + path.settling_s) * path.contract.sfreq + blur:
            assert a.valid
            after += 1
    assert min(before, touching, after) > 0


def test_a_late_burst_is_suspected_and_then_forgiven() -> None:
    x, t = _signal(6000)
    t[3000:3060] += np.linspace(60 / 256, 0, 60)
    windows, path = _run(x, t)
    assert (path.report["suspicions"], path.report["losses"]) == (1, 0)
    reasons = [w.reason for w in windows if 2 * w.stop > 3000]
    assert reasons[0] == "gap"
    assert set(reasons[reasons.index(None) :]) == {None}


def test_railed_and_flat_channels_give_no_decision() -> None:
    x, t = _signal(3000)
    x[1800:1900, 0] = 999.5
    x[2300:2900, 2] = 12.0
    windows, _ = _run(x, t, rails_uv=(-1000.0, 999.5))
    reasons = {w.reason for w in windows}
    assert reasons == {None, "settling", "railed", "flat"}
    # AF7 is not a channel of the model: what it does is nobody's business.
    x[:, 1] = np.nan
    again, _ = _run(x, t, rails_uv=(-1000.0, 999.5))
    _assert_same(again, windows)


def test_time_of_a_window_is_that_of_its_newest_sample() -> None:
    x, t = _signal(5000)
    windows, _ = _run(x, t)
    times = np.array([w.t_s for w in windows])
    truth = np.array([2 * (w.stop - 1) / 256 for w in windows])
    assert np.abs(times - truth).max() < 0.02
    assert all(b > a for a, b in pairwise(times))


def test_time_follows_a_device_that_runs_slow() -> None:
    x, _ = _signal(256 * 60)
    windows, _ = _run(x, 500.0 + np.arange(len(x)) * 1.01 / 256)
    for w in windows[-100:]:
        # The nominal rate alone would be 600 ms off, the last level without the slope about 20 ms.
        assert w.t_s == pytest.approx(2 * (w.stop - 1) * 1.01 / 256, abs=0.005)


def test_filtered_rows_are_those_of_the_windows_and_reading_them_changes_nothing() -> None:
    x, t = _signal(3000)
    kept = np.delete(np.arange(3000), slice(1500, 1540))
    expected, _ = _run(x[kept], t[kept])
    path, got, shown, at = _path(), [], np.zeros((0, 2)), 0
    for i in range(0, len(kept), 12):
        part = kept[i : i + 12]
        got += path.push(x[part], t[part])
        if path.events:
            assert (path.events.popleft().sample, at) > (1400, 0)
            at = 0  # what stood behind the loss stands elsewhere now
        first, rows = path.filtered(at)
        shown = np.concatenate([shown[:first], rows])
        at = first + len(rows)
        assert at == -(-(path.report["samples"] + path.report["lost_samples"]) // 2)
    _assert_same(got, expected)
    assert path.report["lost_samples"] > 0
    for w in got[-25:]:
        assert np.array_equal(shown[w.start : w.stop].T, w.uv)
    assert len(path.filtered(10**6)[1]) == 0


@pytest.mark.parametrize(("at", "loss_s"), [(2390, 3.0), (2480, 3.0), (1700, 30.0)])
def test_windows_inside_a_long_loss_do_not_depend_on_chunks(at: int, loss_s: float) -> None:
    # More is lost than is kept: which windows a stream passes over must be a rule, not chance.
    contract = dataclasses.replace(CONTRACT, hop=4)
    x, t = _signal(4000)
    t[at:] += loss_s
    expected, whole = _run(x, t, contract=contract)
    for size in (5, 12, 700):
        got, path = _run(x, t, size, contract=contract)
        _assert_same(got, expected)
        assert path.report == whole.report
    assert whole.report["lost_samples"] == pytest.approx(256 * loss_s, abs=2)


def test_nothing_is_filtered_more_often_than_windows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    # A call costs what dozens of samples do: many streams on one core depend on this.
    blocks: list[int] = []
    push = SosFilter.push

    def counted(self: SosFilter, x: np.ndarray) -> np.ndarray:
        blocks.append(len(x))
        return push(self, x)

    monkeypatch.setattr(SosFilter, "push", counted)
    x, t = _signal(2560)
    windows, _ = _run(x, t, 12)
    assert len(blocks) <= 2560 // 32 + 2
    # Before the first window they are the blocks of the clock.
    assert len(windows) > 70


def test_memory_does_not_grow() -> None:
    x, t = _signal(2560)
    path = _path()

    path.push(x, t)
    before = len(pickle.dumps(path))
    for i in range(1, 12):
        path.push(x, t + i * 10.0)
    # A number more or less of the last windows is a few bytes; a second of signal is 8 kB.
    assert len(pickle.dumps(path)) == pytest.approx(before, abs=2000)
    assert path.report["samples"] == 12 * 2560


def test_all_missing_at_the_start_and_nothing_at_all() -> None:
    x, t = _signal(3000)
    path = _path()
    assert path.push(x[:0], t[:0]) == []
    assert path.report["samples"] == 0
    x[:700] = np.nan
    windows, _ = _run(x, t)
    assert {w.reason for w in windows if 2 * w.start < 700} == {"gap"}
    assert any(w.valid for w in windows)
    assert all(np.isfinite(w.data).all() for w in windows)


def test_delay_counts_half_the_window_filters_and_resampler() -> None:
    resampled, plain = _path(), _path(dataclasses.replace(CONTRACT, sfreq=256.0))
    assert plain.delay_s(10.0) == pytest.approx(0.013, abs=0.001)
    assert resampled.delay_s(10.0) - plain.delay_s(10.0) == pytest.approx(0.05, abs=0.02)
    assert resampled.algorithmic_delay_ms() == pytest.approx(500 + 1e3 * resampled.delay_s(10.0))


def test_mains_here_may_be_another() -> None:
    x, t = _signal(4000)
    x += 50 * np.sin(2 * np.pi * 50 * np.arange(4000) / 256)[:, None]
    there, _ = _run(x, t)
    here, path = _run(x, t, mains_hz=50.0)
    assert path.mains_hz == 50.0
    assert here[-1].uv.std() < 0.5 * there[-1].uv.std()
    assert here[-1].quality["TP9"]["mains_ratio"] > 0.5


def test_what_cannot_be_taken_is_refused() -> None:
    x, t = _signal(100)
    with pytest.raises(SignalError, match="lacks channels of the model: AF8, TP9"):
        Preprocessor(CONTRACT, SignalFormat(["Fz"], 256.0))
    with pytest.raises(SignalError, match="chunk"):
        _path().push(x, t[:-1])
    t[5] = np.nan
    with pytest.raises(SignalError, match="1 of them"):
        _path().push(x, t)


def test_a_packet_counter_stands_above_a_late_stamp() -> None:
    x, t = _signal(3000)
    t[1200:1212] += 0.1
    suspected, _ = _run(x, t)
    assert {w.reason for w in suspected if w.start > 600} == {None, "gap"}
    counted, path = _run(x, t, counted=True)
    assert {w.reason for w in counted if w.start > 600} == {None}
    assert path.report["lost_samples"] == 0


@pytest.mark.parametrize("size", [5, 12, 64, 700])
def test_a_push_that_pauses_gives_the_same_windows_sooner(size: int) -> None:
    x, t = _signal(4000)
    x[700:720] = np.nan
    t[1500:] += 1.0  # a loss, found one second later: further windows, and events
    expected, whole = _run(x, t)
    path, soon, late = _path(), list[Window](), 0
    got: list[Window] = []
    for at in range(0, len(x), size):
        first = path.push(x[at : at + size], t[at : at + size], pause=True)
        more = path.finish()
        assert path.finish() == []
        soon, late, got = soon + first, late + len(more), got + first + more
    _assert_same(got, expected)
    assert path.report == whole.report
    assert list(path.events) == list(whole.events)
    # Only the windows that a loss makes room for come later.
    assert len(soon) > 0.9 * len(got)
    assert late < 12

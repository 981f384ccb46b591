"""The fast path against the one that is written plainly, under everything that can befall a signal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.signal.quality import assess
from mimamba_edge.signal.signal_format import SignalFormat
from tests.signal.reference_preprocessor import PlainPath

NAMES = ("TP9", "AF7")
RAILS = (-1000.0, 999.5)
CASES = [
    # source and model rate, window, hop, seed
    (256.0, 128.0, 64, 16, 0),
    (256.0, 128.0, 64, 16, 1),
    (256.0, 256.0, 128, 5, 2),
    (250.0, 100.0, 64, 40, 3),
    (125.0, 128.0, 256, 3, 4),
]


def _signal(rng: np.random.Generator, n: int, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    x = 30 + np.cumsum(rng.normal(size=(n, 2)), axis=0) * 0.2 + rng.normal(size=(n, 2)) * 5
    late = np.repeat(rng.choice([0.0, 0.001, 0.018], p=[0.6, 0.27, 0.13], size=-(-n // 12)), 12)[:n]
    t = 500.0 + np.arange(n) / sfreq * 1.004 + late
    keep = np.ones(n, dtype=bool)
    for fault, at in enumerate(rng.permutation(np.linspace(0.05, 0.8, 6) * n).astype(int)):
        length = int(rng.choice([5, 12, 13, 40, 280]))
        if fault == 0:
            keep[at : at + length] = False
        elif fault == 1:
            x[at : at + length, 1] = np.nan
        elif fault == 2:
            t[at:] += rng.choice([-400.0, -0.1, 1e5])
        elif fault == 3:
            t[at : at + length] += np.linspace(length / sfreq, 0, length)
        elif fault == 4:
            x[at : at + length, 0] = 999.5
        else:
            t[at:] += rng.choice([0.1, 30.0])
    return x[keep], t[keep]


@pytest.mark.parametrize(("source", "target", "n_times", "hop", "seed"), CASES)
def test_every_bit_is_that_of_the_plain_path(
    source: float, target: float, n_times: int, hop: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, int(source), int(target)])
    contract = Contract(
        ch_names=NAMES,
        sfreq=target,
        n_times=n_times,
        hop=hop,
        class_names=("a", "b"),
        filters=default_filters(target, 50.0),
        mains_hz=50.0,
        scaling=Scaling("robust", (1.0, -2.0), (10.0, 20.0)),
    )
    x, t = _signal(rng, 2200, source)
    plain = PlainPath(contract, source)
    expected = plain.run(x, t)
    path = Preprocessor(contract, SignalFormat(NAMES, source, rails_uv=RAILS))
    got, at = [], 0
    while at < len(x):
        stop = at + int(rng.integers(1, 40))
        got += path.push(x[at:stop], t[at:stop])
        at = stop
    assert len(plain.events) >= 2
    told = ("losses", "clock_steps", "late", "late")  # a loss that was taken back is none of the losses
    assert sum(path.report[key] for key in told) == len(plain.events)
    counts = {k: path.report[k] for k in plain.chain.counts}
    events = list(path.events)
    for before, event in itertools.pairwise(events):
        counts["lost_samples"] += before.n_lost if event.kind == "late" else 0
    assert counts == plain.chain.counts
    assert path.report["suspicions"] == plain.clock.suspicions
    assert [w.start for w in got] == [w["start"] for w in expected]
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one.uv, other["uv"])
        assert np.array_equal(one.data, other["data"])
        assert one.t_s == other["t_s"]
        quality, reason = assess(other["raw"], other["uv"].T, NAMES, source, 50.0, RAILS)
        assert one.quality == quality
        assert one.reason == (other["reason"] or reason)

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import signal

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.smoothing import Smoother

HOP = 0.125


def _probs(n: int, classes: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), size=n)


@pytest.mark.parametrize("tau", [0.05, 1.0, 10.0])
def test_it_is_the_sum_of_the_formula(tau: float) -> None:
    probs, smoother = _probs(200), Smoother(3, HOP, tau)
    got = np.array([smoother.push(p, HOP * k)[0] for k, p in enumerate(probs)])
    # In closed form, not as a recursion: decayed shares of all that came, what is left belongs to the first.
    r = math.exp(-HOP / tau)
    for k in (0, 1, 7, 199):
        weights = np.array([(1 - r) * r ** (k - i) for i in range(k + 1)])
        weights[0] = r**k
        assert got[k] == pytest.approx(weights @ probs[: k + 1], abs=1e-12)
    assert got.sum(axis=1) == pytest.approx(np.ones(200))


@pytest.mark.parametrize("tau", [0.05, 1.0, 10.0])
def test_its_delay_is_the_group_delay_at_frequency_zero(tau: float) -> None:
    smoother = Smoother(2, HOP, tau)
    a = 1 - math.exp(-HOP / tau)
    _, delay = signal.group_delay(([a], [1, a - 1]), w=[1e-6])
    assert smoother.delay_s == pytest.approx(HOP * delay[0], rel=1e-4, abs=1e-9)
    assert Smoother(2, HOP).delay_s == 0


def test_without_it_nothing_changes() -> None:
    smoother = Smoother(3, HOP)
    for k, p in enumerate(_probs(50)):
        q, label = smoother.push(p, HOP * k)
        assert np.array_equal(p, q)
        assert label == int(np.argmax(p))


def test_a_label_changes_only_for_a_lead_above_the_margin() -> None:
    smoother = Smoother(2, HOP, 0.0, 0.25)
    leads = [(0.5, 0), (0.0, 0), (-0.2, 0), (-0.3, 1), (-0.1, 1), (0.2, 1), (0.26, 0), (0.0, 0)]
    for k, (lead, label) in enumerate(leads):
        assert smoother.push(np.array([0.5 + lead / 2, 0.5 - lead / 2]), HOP * k)[1] == label


def test_windows_without_a_decision_leave_it_and_a_long_pause_ends_it() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for pause, fresh in ((0.0, False), (2.99, False), (3.01, True)):
        smoother = Smoother(2, HOP, 1.0, 0.1)
        smoother.push(a, 10.0)
        p, label = smoother.push(b, 10.0 + HOP + pause)
        expected = b if fresh else np.array([math.exp(-HOP), 1 - math.exp(-HOP)])
        assert p == pytest.approx(expected)
        assert label == (1 if fresh else 0)


def test_hops_summed_in_floating_point_are_no_pause() -> None:
    smoother, t = Smoother(2, 0.1, 0.0, 0.5), 0.0
    smoother.push(np.array([1.0, 0.0]), t)
    for _ in range(1000):
        t += 0.1
        assert smoother.push(np.array([0.4, 0.6]), t)[1] == 0


@pytest.mark.parametrize(
    ("seconds", "margin"), [(-1.0, 0.0), (math.nan, 0.0), (math.inf, 0.0), (1.0, 1.0), (1.0, -0.1)]
)
def test_what_cannot_work_is_refused(seconds: float, margin: float) -> None:
    with pytest.raises(ConfigError):
        Smoother(2, HOP, seconds, margin)

"""Baselines against formulas, and against scikit-learn and pyRiemann where these are installed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.data.windows import Windows  # noqa: E402
from mimamba_edge.errors import DataError  # noqa: E402
from mimamba_edge.export.evaluation import riemann  # noqa: E402
from mimamba_edge.export.evaluation.baselines import (  # noqa: E402
    BANDS_HZ,
    BASELINES,
    Baseline,
    band_spectra,
    covariances,
    features_of,
    log_band_power,
    logistic_regression,
    out_of_fold,
    tangent_space,
)
from mimamba_edge.export.evaluation.riemann import TangentSpace, riemannian_mean  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402


def spd(n: int, c: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, c, 3 * c))
    return x @ x.swapaxes(-1, -2)


def features(n: int = 120, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = rng.choice(k, n, p=[0.6, 0.3, 0.1])
    return rng.standard_normal((n, 5)) * [1, 10, 0.1, 1, 1] + labels[:, None] * [1, 5, 0, 0, 0], labels


def test_the_mean_of_two_matrices_is_their_geometric_mean() -> None:
    a, b = spd(2, 4)
    root = linalg.sqrtm(a)
    inverse = linalg.inv(root)
    expected = root @ linalg.sqrtm(inverse @ b @ inverse) @ root
    assert np.allclose(riemannian_mean(np.stack([a, b])), expected.real, rtol=1e-8)


def test_tangent_vectors_are_as_long_as_the_affine_invariant_distance() -> None:
    matrices = spd(20, 5)
    mean = riemannian_mean(matrices)
    lengths = np.linalg.norm(TangentSpace(matrices)(matrices), axis=1)
    for matrix, length in zip(matrices, lengths, strict=True):
        generalised = linalg.eigh(matrix, mean, eigvals_only=True)
        assert length == pytest.approx(np.sqrt(np.sum(np.log(generalised) ** 2)))
    assert np.allclose(TangentSpace(matrices)(matrices).mean(axis=0), 0, atol=1e-7)


def test_a_rhythm_stands_in_its_band_and_channel() -> None:
    t = np.arange(256) / 128
    windows = np.zeros((1, 2, 256))
    windows[0, 1] = np.sin(2 * np.pi * 10 * t)
    power = np.exp(log_band_power(windows, 128.0)).reshape(len(BANDS_HZ), 2)
    assert power.argmax() == 2 * 2 + 1
    assert power[2, 1] > 1000 * np.delete(power.ravel(), 5).max()
    spectra = band_spectra(np.random.default_rng(0).standard_normal((3, 4, 128)), 128.0)
    assert spectra.shape == (3, 5, 4, 4)
    assert np.allclose(spectra, spectra.swapaxes(-1, -2))


@pytest.mark.parametrize(("n_times", "sfreq", "bands"), [(32, 128.0, 4), (32, 1000.0, 1), (32, 9.0, 2)])
def test_windows_that_hold_few_bands_still_give_features(n_times: int, sfreq: float, bands: int) -> None:
    windows = np.random.default_rng(0).standard_normal((40, 2, n_times))
    assert log_band_power(windows, sfreq).shape == (40, 2 * bands)
    for baseline in BASELINES.values():
        made = features_of(baseline, windows, sfreq)
        assert np.isfinite(baseline.fit(made, np.arange(40) % 2, 2)(made)).all()


def test_features_of_blocks_are_those_of_all_windows_at_once() -> None:
    windows = np.random.default_rng(0).standard_normal((4500, 4, 128))  # 18 MB: two blocks
    spectra = band_spectra(windows, 128.0)
    power = np.log(np.diagonal(spectra, axis1=-2, axis2=-1) + 1e-12).reshape(len(windows), -1)
    made = features_of(Baseline(log_band_power, logistic_regression), windows, 128.0)
    np.testing.assert_allclose(made, power, rtol=1e-9, atol=1e-12)
    trace = np.trace(spectra, axis1=-2, axis2=-1)[..., None, None] / 4
    shrunk = 0.9 * spectra + 0.1 * (trace + 1e-12) * np.eye(4)
    triangles = features_of(Baseline(covariances, tangent_space), windows, 128.0)
    np.testing.assert_allclose(triangles, shrunk[(..., *np.triu_indices(4))], rtol=1e-12)
    assert covariances(windows[7:8], 128.0)[0] == pytest.approx(triangles[7])


def test_features_that_no_memory_holds_are_refused_before_they_are_made() -> None:
    few = np.random.default_rng(0).standard_normal((1, 62, 32))
    many = np.lib.stride_tricks.as_strided(few, (150_000, 62, 32), (0, *few.strides[1:]))
    with pytest.raises(DataError, match="GB of memory"):
        features_of(Baseline(covariances, tangent_space), many, 128.0)


def test_a_mean_of_parts_is_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = spd(50, 4)
    whole, vectors = riemannian_mean(matrices), TangentSpace(matrices)(matrices)
    monkeypatch.setattr(riemann, "AT_ONCE", 16 * 7)
    np.testing.assert_allclose(riemannian_mean(matrices), whole, rtol=1e-10)
    np.testing.assert_allclose(TangentSpace(matrices)(matrices), vectors, rtol=1e-7, atol=1e-9)


def test_the_regression_is_at_the_optimum_of_its_loss() -> None:
    x, labels = features()
    scores = logistic_regression(x, labels, 3)(x)
    assert np.allclose(np.exp(scores).sum(axis=1), 1)
    assert (scores.argmax(axis=1) == labels).mean() > 0.5
    # At the optimum the weighted residuals of each class sum to 0: the intercepts are free.
    weight = len(labels) / (3 * np.bincount(labels))[labels]
    residual = weight[:, None] * (np.exp(scores) - np.eye(3)[labels])
    assert np.allclose(residual.sum(axis=0), 0, atol=1e-2)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    slope = z.T @ residual  # equal to minus the penalty's, which is the weights': these give the scores
    logits = -z @ slope
    centred = scores - scores.mean(axis=1, keepdims=True)
    offset = (centred - (logits - logits.mean(axis=1, keepdims=True))).mean(axis=0)
    assert np.allclose(centred, logits - logits.mean(axis=1, keepdims=True) + offset, atol=2e-2)


def test_the_regression_is_scikit_learns() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="pip install scikit-learn")
    x, labels = features()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    other = linear_model.LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000, tol=1e-8)
    expected = other.fit(z, labels).predict_proba(z)
    assert np.allclose(np.exp(logistic_regression(x, labels, 3)(x)), expected, atol=1e-3)


def test_the_tangent_space_is_pyriemanns() -> None:
    other = pytest.importorskip("pyriemann.tangentspace", reason="pip install pyriemann")
    matrices = spd(30, 4)
    expected = other.TangentSpace(metric="riemann").fit(matrices).transform(matrices)
    assert np.allclose(TangentSpace(matrices)(matrices), expected, atol=1e-5)


def test_every_trial_is_scored_once_by_what_never_saw_it() -> None:
    rows = [
        Trial(f"r{r}", 4.0 * i, 4.0 * i + 2, "ab"[i % 2], "s", "d", f"r{r}", "x")
        for r in range(4)
        for i in range(4)
    ]
    owner = np.repeat(np.arange(16), 2)
    windows = Windows(
        np.arange(32.0)[:, None, None] * np.ones((1, 1, 4)), owner % 2, owner, ("a", "b"), tuple(rows)
    )
    seen: list[set[float]] = []

    def remember(x, labels, n_classes):
        known = set(x[:, 0, 0])
        seen.append(known)

        def scores(y):
            assert not known & set(y[:, 0, 0])
            return np.stack([y[:, 0, 0], -y[:, 0, 0]], axis=1)

        return scores

    as_they_are = Baseline(lambda x, sfreq: x, remember)
    found = out_of_fold(windows, make_folds(rows, "leave-one-run-out"), as_they_are, 128.0)
    assert np.array_equal(found[:, 0], 2 * np.arange(16) + 0.5)
    assert [len(s) for s in seen] == [24] * 4, "training and validation parts are both fitted"
    guess = out_of_fold(
        windows, make_folds(rows, "leave-one-run-out"), BASELINES["largest class of the training part"], 128.0
    )
    assert np.allclose(guess, 0.5)

"""The classifier: by scikit-learn's own checks, on planted rhythms, and as a checkpoint."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'mimamba-edge[research]'")
pytestmark = pytest.mark.torch

import torch  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from torch import nn  # noqa: E402

from mimamba_edge import (  # noqa: E402
    Contract,
    DataError,
    Decoder,
    MimambaError,
    MSiMambaClassifier,
    simulate_recording,
)
from mimamba_edge.contract import Scaling  # noqa: E402
from mimamba_edge.data.windows import stream_windows  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint  # noqa: E402
from mimamba_edge.export.foreign.checkpoint import open_network  # noqa: E402
from mimamba_edge.export.research import classifier as module  # noqa: E402
from mimamba_edge.export.research.holdout import by_groups, by_trials  # noqa: E402
from mimamba_edge.signal.filters import default_filters  # noqa: E402

SMALL = {"d_model": 16, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2, "top_k": 1}
QUICK: dict[str, Any] = {"config": SMALL, "epochs": 2, "random_state": 0}
NETWORK = f"{__name__}:small_network"


def small_network(n_chans: int, n_times: int, n_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(n_chans * n_times, 16), nn.Tanh(), nn.Linear(16, n_outputs))


def rhythms(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows of half a second at 64 Hz in microvolts: 6 Hz where excited, 12 Hz where calm, of any phase."""
    rng = np.random.default_rng(seed)
    y = np.array(["calm", "excited"])[np.arange(n) % 2]
    hz = np.where(y == "calm", 12.0, 6.0)[:, None, None]
    wave = np.sin(2 * np.pi * hz * np.arange(32) / 64 + rng.uniform(0, 6.3, (n, 1, 1)))
    return 8 * wave + 4 * rng.standard_normal((n, 3, 32)), y


class Flat(MSiMambaClassifier):
    """Takes ``(n, f)``, which all of scikit-learn's checks give, as f channels of one sample."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags

    def fit(self, X, y, groups=None):
        return super().fit(deep(X), y, groups)

    def predict_proba(self, X):
        return super().predict_proba(deep(X))


def deep(x: Any) -> Any:
    if hasattr(x, "tocsr"):
        return x
    x = np.asarray(x)
    return x[:, :, None] if x.ndim == 2 else x


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
def test_it_passes_scikit_learns_checks() -> None:
    check_estimator(MSiMambaClassifier())  # most of them give 2-d input, and leave out what takes 3-d alone
    flat = Flat(1.0, model=NETWORK, epochs=4, learning_rate=0.2, ft_surrogate=0, random_state=0)
    passed = check_estimator(
        flat,
        expected_failed_checks={
            "check_estimators_empty_data_messages": "the error names the shape of the 3-d array it was given"
        },
    )
    assert sum(one["status"] == "passed" for one in passed) > 45


def test_it_learns_rhythms_and_the_unit_does_not_matter() -> None:
    (x, y), (new, truth) = rhythms(), rhythms(seed=1)
    options = {"config": SMALL | {"d_model": 32}, "epochs": 25, "learning_rate": 5e-3, "random_state": 0}
    fitted = MSiMambaClassifier(64.0, **options).fit(x, y)
    assert fitted.score(new, truth) > 0.9
    assert fitted.classes_.tolist() == ["calm", "excited"]
    assert fitted.predict_proba(new).sum(axis=1) == pytest.approx(1)
    volts = MSiMambaClassifier(64.0, **{**options, "epochs": 2})
    assert np.allclose(
        clone(volts).fit(x, y).predict_proba(new),
        clone(volts).fit(x / 1e6, y).predict_proba(new / 1e6),
        atol=1e-5,
    )


def test_the_same_seed_gives_the_same_bits_and_leaves_torchs_generator_alone() -> None:
    x, y = rhythms(24)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = MSiMambaClassifier(**QUICK).fit(x, y)
    assert torch.equal(torch.rand(3), expected)
    again, other = (MSiMambaClassifier(**{**QUICK, "random_state": s}).fit(x, y) for s in (0, 1))
    assert np.array_equal(first.predict_proba(x), again.predict_proba(x))
    assert not np.array_equal(first.predict_proba(x), other.predict_proba(x))
    assert np.array_equal(pickle.loads(pickle.dumps(first)).predict_proba(x), first.predict_proba(x))


def test_it_stands_in_pipelines_searches_and_cross_validation() -> None:
    x, y = rhythms(24)
    scale = FunctionTransformer(lambda v: v * 2.0)
    pipeline = make_pipeline(scale, MSiMambaClassifier(**QUICK))
    runs = np.repeat(np.arange(4), 6)
    scores = cross_val_score(pipeline, x, y, cv=GroupKFold(2), groups=runs, error_score="raise")
    assert scores.shape == (2,)
    grid = {"config": [SMALL, SMALL | {"d_model": 8}], "learning_rate": [1e-3]}
    search = GridSearchCV(MSiMambaClassifier(**QUICK), grid, cv=2, error_score="raise").fit(x, y)
    assert search.best_estimator_.network_.config.d_model == search.best_params_["config"]["d_model"]


def test_validation_is_whole_groups_and_scaling_is_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rhythms(40)
    x += np.arange(40)[:, None, None]  # each row tells which it is
    seen: list[tuple[Any, Any]] = []
    real: Callable[..., Any] = module.fit

    def spy(blueprint, recipe, training, *, seed, validation):
        seen.append((training, validation))
        return real(blueprint, recipe, training, seed=seed, validation=validation)

    monkeypatch.setattr(module, "fit", spy)
    groups = np.array([f"run {i // 8}" for i in range(40)])

    def rows(fitted: MSiMambaClassifier, windows: np.ndarray) -> list[int]:
        center, scale = (np.array(v)[:, None] for v in (fitted.scaling_.center, fitted.scaling_.scale))
        back = windows * scale + center
        return [int(np.argmin(np.abs(x - one).sum(axis=(1, 2)))) for one in back]

    for given, share in ((groups, 0.2), (None, 0.2), (groups, 0.3)):
        fitted = MSiMambaClassifier(**{**QUICK, "epochs": 1, "validation": share}).fit(x, y, groups=given)
        (training, labels), (held, held_labels) = seen[-1]
        train, validation = rows(fitted, training), rows(fitted, held)
        assert sorted(train + validation) == list(range(40))
        assert [y[i] for i in train] == [fitted.classes_[k] for k in labels]
        assert len(validation) == (16 if share == 0.3 else 8)
        assert sorted(held_labels.tolist()) == [0] * (len(validation) // 2) + [1] * (len(validation) // 2)
        if given is not None:
            assert not {groups[i] for i in train} & {groups[i] for i in validation}
        low, middle, high = np.quantile(x[train], (0.25, 0.5, 0.75), axis=(0, 2))
        assert np.allclose(fitted.scaling_.center, middle)
        assert np.allclose(fitted.scaling_.scale, high - low)
    MSiMambaClassifier(**{**QUICK, "epochs": 1, "validation": 0}).fit(x, y)
    assert seen[-1][1] is None
    assert len(seen[-1][0][1]) == 40


def test_held_out_rows_leave_every_class_to_the_training() -> None:
    for seed in range(20):
        rng = np.random.RandomState(seed)
        labels = rng.choice(3, 30, p=[0.8, 0.15, 0.05])
        labels[:3] = 0, 1, 2
        held = by_trials(labels, 0.2, rng)
        assert set(labels[~held]) == {0, 1, 2}
        assert set(labels[held]) == {k for k in range(3) if (labels == k).sum() > 1}
        groups = np.arange(30) // 5
        found = by_groups(labels, groups, 0.2, rng)
        if found is None:
            assert any(len(set(groups[labels == k])) == 1 for k in range(3))
            continue
        assert set(labels[~found]) == {0, 1, 2}
        assert not set(groups[found]) & set(groups[~found])
    assert by_groups(np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2]), 0.2, np.random.RandomState(0)) is None


def test_the_checkpoint_decides_on_a_stream_as_the_classifier_does(tmp_path: Path) -> None:
    recording, _ = simulate_recording(["calm", "excited"], seed=1)
    filters, classes = default_filters(128.0, 50.0), ("calm", "excited")
    options: dict[str, Any] = {"filters": filters, "mains_hz": 50.0, "scaling": Scaling("none")}
    contract = Contract(recording.ch_names, 128.0, 64, 16, classes, **options)
    windows = [w for w in stream_windows(recording, contract) if w.valid]
    x = np.stack([w.uv for w in windows])
    y = np.where([w.t_s < 6 for w in windows], "calm", "excited")
    for unit, factor in (("uV", 1.0), ("V", 1e-6)):
        fitted = MSiMambaClassifier(128.0, **QUICK).fit(x * factor, y)
        options = {"ch_names": recording.ch_names, "unit": unit, "mains_hz": 50.0}
        path = fitted.to_checkpoint(tmp_path / f"{unit}.pt", band_hz=(1.0, 45.0), causal=True, **options)
        with Decoder(path, recording.ch_names, recording.sfreq) as decoder:
            decisions = [d for d in decoder.push(recording.samples, recording.timestamps) if d.valid]
        assert len(decisions) == len(windows)
        assert np.allclose(
            [list(d.probs.values()) for d in decisions], fitted.predict_proba(x * factor), atol=1e-5
        )
    assert load_checkpoint(path).contract.unlike_live() == []
    assert load_checkpoint(path).config.sfreq == 128.0
    told = fitted.to_checkpoint(tmp_path / "moabb.pt", band_hz=(8.0, 32.0), reference="average", **options)
    assert load_checkpoint(told).contract.unlike_live() == [
        "reference: average",
        "windows cut by another program, whose filters may look ahead",
    ]


def test_a_network_of_others_leaves_as_the_checkpoint_of_train_does(tmp_path: Path) -> None:
    x, y = rhythms(24)
    fitted = MSiMambaClassifier(64.0, model=NETWORK, epochs=2, random_state=0).fit(x, y)
    options: dict[str, Any] = {"ch_names": ["TP9", "AF7", "AF8"], "unit": "uV", "band_hz": None}
    path = fitted.to_checkpoint(tmp_path / "ckpt.safetensors", **options)
    network, contract = open_network(path, NETWORK)
    scaled = (x - np.array(contract.scaling.center)[:, None]) / np.array(contract.scaling.scale)[:, None]
    with torch.no_grad():
        logits = network(torch.from_numpy(scaled.astype(np.float32)))
    assert np.allclose(logits.softmax(dim=1).numpy(), fitted.predict_proba(x), atol=1e-6)
    assert contract.class_names == ("calm", "excited")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, 0], y, {}), "another shape"),
        (lambda x, y: (np.where(x > 9, np.nan, x), y, {}), "NaN"),
        (lambda x, y: (x, np.zeros(len(y)), {}), "one class"),
        (lambda x, y: (x, y, {"groups": y}), "no group can be held out"),
        (lambda x, y: (x, y, {"groups": y[:3]}), "another length than y"),
    ],
)
def test_what_cannot_be_fitted_is_a_value_error(change: Any, message: str) -> None:
    x, y, more = change(*rhythms(12))
    with pytest.raises(ValueError, match=message) as caught:
        MSiMambaClassifier(**QUICK).fit(x, y, **more)
    assert isinstance(caught.value, DataError) or message == "NaN"


def test_mistakes_say_what_to_do(tmp_path: Path) -> None:
    x, y = rhythms(12)
    fitted = MSiMambaClassifier(**QUICK).fit(x, y)
    options: dict[str, Any] = {"ch_names": ["a", "b", "c"], "unit": "uV", "band_hz": None}
    with pytest.raises(MimambaError, match="set_params"):
        fitted.to_checkpoint(tmp_path / "c.pt", **options)
    fitted.set_params(sfreq=64.0)
    with pytest.raises(MimambaError, match="unknown unit"):
        fitted.to_checkpoint(tmp_path / "c.pt", **{**options, "unit": "mV"})
    with pytest.raises(MimambaError, match="does not name the channels"):
        fitted.to_checkpoint(tmp_path / "c.pt", **{**options, "ch_names": ["a"]})
    with pytest.raises(ValueError, match="another length"):
        fitted.predict(x[..., :16])
    for wrong, message in (
        ({"model": NETWORK, "sfreq": 64.0}, "config is that of MS-iMamba"),
        ({"validation": 1.0}, "no share"),
        ({"config": {"depth": 3}}, "unknown"),
        ({"model": NETWORK, "config": None}, "rate of the windows"),
    ):
        with pytest.raises(MimambaError, match=message):
            MSiMambaClassifier(**{**QUICK, **wrong}).fit(x, y)
    assert not list(tmp_path.iterdir())

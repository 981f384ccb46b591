"""MS-iMamba as a scikit-learn classifier: for pipelines, grid searches, and harnesses such as MOABB."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mimamba_edge.contract import DEFAULT_FAMILY, FOREIGN_FAMILY, Contract, Filter, Scaling, default_hop
from mimamba_edge.data.dataset import Processing
from mimamba_edge.errors import ConfigError
from mimamba_edge.export.checkpoint import write_checkpoint
from mimamba_edge.export.foreign.blueprint import checked_blueprint
from mimamba_edge.export.network import Blueprint, FamilyBlueprint
from mimamba_edge.export.research.holdout import InputError, training_and_validation
from mimamba_edge.export.training.fit import Hyperparameters, fit, predict
from mimamba_edge.family import family_named
from mimamba_edge.outputs import CHECKPOINT, check_outputs
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MSiMambaClassifier"]

_NO_RATE_HZ = 1.0
"""Stands in where no rate is given: MS-iMamba computes the same at any."""
_MICROVOLTS = {"uV": 1.0, "V": 1e6}
_LOOKS_AHEAD = "windows cut by another program, whose filters may look ahead"


class MSiMambaClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """MS-iMamba, or a network of others, fitted by the recipe of ``train``.

    ``X`` is ``(n, n_chans, n_times)``: one row a trial, or one a window of a trial; then give ``groups``, or
    windows of one trial help to choose the epoch by which they are trained. Any unit will do: each channel is
    scaled by the median and the interquartile range of the training part.

    Args:
        sfreq: Rate of the windows in Hz; needed by :meth:`to_checkpoint` and by networks of others.
        model: ``package.module:factory`` of a network of others, as ``train --model`` takes it; by default
            MS-iMamba.
        config: Other fields of MS-iMamba's configuration, such as ``{"d_model": 64}``.
        epochs: Length of the schedule. The best one on the validation part is kept.
        learning_rate: Peak of the schedule.
        ft_surrogate: Share of windows whose phases are drawn again in each epoch: right for rhythms, wrong
            for event-related potentials, which need 0.
        validation: Share of the rows given to :meth:`fit` that choose the epoch; 0: the last one is kept.
        random_state: Of initial weights, order, augmentation and validation part.

    Attributes:
        classes_: The labels, sorted ``(n_classes,)``.
        network_: The fitted network, in evaluation mode, for scaled windows.
        scaling_: Centre and scale of each channel, in the unit of ``X``.
        best_epoch_: Epochs trained when the weights were kept.
        history_: One row an epoch: losses, and balanced accuracy on the validation part.
        n_features_in_: Channels.
        n_times_: Samples of a window.
    """

    def __init__(
        self,
        sfreq: float | None = None,
        *,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        epochs: int = 40,
        learning_rate: float = 2e-3,
        ft_surrogate: float = 1.0,
        validation: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.sfreq = sfreq
        self.model = model
        self.config = config
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.ft_surrogate = ft_surrogate
        self.validation = validation
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Return what the checks of scikit-learn must know: the input has three dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit the network.

        Args:
            X: Windows ``(n, n_chans, n_times)``.
            y: Labels ``(n,)``.
            groups: Of each row, such as its trial, run or session: the validation part is made of whole
                groups. By default it is drawn from the rows of each class.

        Raises:
            InputError: Another shape, fewer than two classes, or groups that leave no validation part.
            ConfigError: The network cannot take such windows, or an option is not valid.
            SignalError: A channel is constant.
            TrainingError: The training diverged.
        """
        given, named = validate_data(self, X, y, dtype=np.float64, allow_nd=True)
        check_classification_targets(named)
        data = self._windows(given)
        self.classes_, labels = np.unique(named, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("y has one class only", got=self.classes_[0], expected="two or more classes")
        self.n_times_ = data.shape[2]
        rng = check_random_state(self.random_state)
        train, held = training_and_validation(labels, groups, self.validation, rng)
        self.scaling_ = fit_scaling(data, "robust", train)

        def part(rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            return apply_scaling(data[rows], self.scaling_), labels[rows]

        # The caller's own draws from torch's generator stay what they were.
        with torch.random.fork_rng(devices=[]):
            blueprint = self._blueprint()
            self.network_, fitted = fit(
                blueprint,
                self._recipe(),
                part(train),
                seed=int(rng.randint(np.iinfo(np.int32).max)),
                validation=part(held) if len(held) else None,
            )
        self.config_ = blueprint.config
        self.best_epoch_, self.history_ = fitted.best_epoch, fitted.history
        self.n_trials_ = len(data)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class, in the order of ``classes_``, ``(n, n_classes)``.

        Args:
            X: Windows ``(n, n_chans, n_times)``.

        Raises:
            InputError: Another shape than in :meth:`fit`.
        """
        check_is_fitted(self)
        data = self._windows(validate_data(self, X, reset=False, dtype=np.float64, allow_nd=True))
        if data.shape[2] != self.n_times_:
            raise InputError(
                "the windows have another length than those fitted", got=data.shape[2], expected=self.n_times_
            )
        logits = predict(self.network_, apply_scaling(data, self.scaling_))
        probabilities: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each window ``(n,)``; see :meth:`predict_proba`."""
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def to_checkpoint(
        self,
        path: Path | str,
        *,
        ch_names: Sequence[str],
        unit: str,
        band_hz: tuple[float, float] | None,
        mains_hz: float | None = None,
        reference: str = "as-recorded",
        causal: bool = False,
    ) -> Path:
        """Write what was fitted as a checkpoint, which ``mimamba-edge export`` and ``stream`` take.

        The stream filters by a causal Butterworth filter of fourth order with these edges, and makes windows
        at ``sfreq``.

        Args:
            path: ``.pt`` or ``.safetensors``.
            ch_names: Names of the channels of ``X``, by which the stream finds them.
            unit: Of ``X``: ``"uV"`` (arrays of MOABB 1.x) or ``"V"`` (those of MNE).
            band_hz: Edges of the filter that the windows went through, or ``None`` where there was none.
            mains_hz: Where a notch stood, or ``None``.
            reference: Reference scheme of the windows.
            causal: Whether the windows were made by filters that do not look ahead, as those of the stream.
                Otherwise the checkpoint says that its scores may not hold on a live signal, and ``stream``
                repeats it.

        Raises:
            ConfigError: No ``sfreq`` was given, the names do not fit, or the unit is not known.
            ContractError: A name, edge or rate cannot be used.
            OutputError: The file cannot be written.
        """
        check_is_fitted(self)
        out = Path(path)
        check_outputs([(out, CHECKPOINT)], [])
        contract = self._contract(tuple(ch_names), unit)
        filters = () if band_hz is None else (Filter("bandpass", low_hz=band_hz[0], high_hz=band_hz[1]),)
        notch = () if mains_hz is None else (Filter("notch", freq_hz=mains_hz),)
        processing = Processing(reference, band_hz, "" if causal else _LOOKS_AHEAD, mains_hz, known=True)
        contract = dataclasses.replace(
            contract,
            filters=(*filters, *notch),
            mains_hz=mains_hz,
            reference=reference,
            training={
                "data": {"folder": type(self).__name__, "processing": dataclasses.asdict(processing)},
                "n_trials": self.n_trials_,
                "epochs": self.best_epoch_,
                "recipe": dataclasses.asdict(self._recipe()),
            },
        )
        config = self.config_
        if self.model is None:
            config = family_named(DEFAULT_FAMILY).config({**config.to_dict(), "sfreq": contract.sfreq})
        write_checkpoint(out, self.network_.state_dict(), config, contract)
        return out

    def _windows(self, X: NDArray[Any]) -> NDArray[np.float64]:
        if X.ndim != 3 or 0 in X.shape:
            raise InputError("X has another shape", got=X.shape, expected="(n, n_chans, n_times)")
        return X

    def _recipe(self) -> Hyperparameters:
        return Hyperparameters(
            epochs=self.epochs, learning_rate=self.learning_rate, ft_surrogate=self.ft_surrogate
        )

    def _blueprint(self) -> Blueprint[Any]:
        names = tuple(f"channel {i + 1}" for i in range(self.n_features_in_))
        sizes = {"n_chans": len(names), "n_times": self.n_times_, "n_outputs": len(self.classes_)}
        if self.model is None:
            rate = _NO_RATE_HZ if self.sfreq is None else self.sfreq
            own = family_named(DEFAULT_FAMILY).config({**(self.config or {}), **sizes, "sfreq": rate})
            return FamilyBlueprint(own, DEFAULT_FAMILY)
        if self.config is not None:
            raise ConfigError("config is that of MS-iMamba", got=f"model={self.model!r} as well")
        return checked_blueprint(self.model, self._contract(names, "uV"))

    def _contract(self, ch_names: tuple[str, ...], unit: str) -> Contract:
        """Return the contract of these windows, without filters."""
        if self.sfreq is None:
            raise ConfigError("the rate of the windows is not known", do="set_params(sfreq=...), in Hz")
        if unit not in _MICROVOLTS:
            raise ConfigError("unknown unit", got=unit, expected=" or ".join(_MICROVOLTS))
        if len(ch_names) != self.n_features_in_:
            raise ConfigError(
                "ch_names does not name the channels of X", got=len(ch_names), expected=self.n_features_in_
            )
        factor = _MICROVOLTS[unit]
        center, scale = (
            tuple(v * factor for v in part) for part in (self.scaling_.center, self.scaling_.scale)
        )
        return Contract(
            ch_names=ch_names,
            sfreq=float(self.sfreq),
            n_times=self.n_times_,
            hop=default_hop(self.sfreq),
            class_names=tuple(map(str, self.classes_)),
            scaling=Scaling("robust", center, scale),
            family=DEFAULT_FAMILY if self.model is None else FOREIGN_FAMILY,
        )

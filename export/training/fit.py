"""One fit of a model: surrogate windows, AdamW, cosine schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mimamba_edge.errors import TrainingError
from mimamba_edge.export.network import Blueprint
from mimamba_edge.export.training.augment import ft_surrogate
from mimamba_edge.export.training.scores import balanced_accuracy
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = ["TRAINED_LAYER", "FitResult", "Hyperparameters", "Scaled", "Start", "fit", "predict"]

Scaled = NDArray[np.float32] | ScaledWindows
"""Scaled windows ``(n, c, l)``: held, or taken from a file batch by batch."""
Labelled = tuple[Scaled, NDArray[np.int64]]
Made = TypeVar("Made", bound=nn.Module)
TRAINED_LAYER = "final_layer"
"""What is fitted where the backbone is frozen: ``final_layer.weight`` and ``final_layer.bias``."""


@dataclass(frozen=True)
class Hyperparameters:
    """How a model is fitted. The defaults were chosen on validation groups only.

    Phase surrogates at every step are what makes 128 trials enough, and they blind the network to absolute
    phase: right for rhythms and band power, wrong for event-related potentials (set ``ft_surrogate=0``).

    Attributes:
        epochs: Length of the schedule. All of them are run, because a plateau at chance in the first
            quarter is normal; the best epoch on the validation group is kept.
        batch_size: Windows a step.
        learning_rate: Peak of the schedule.
        weight_decay: AdamW's, on matrices only (not on biases, norms, ``A_log`` and ``D``).
        warmup: Share of the schedule that rises linearly before the cosine falls.
        smoothing_epochs: The best epoch is the one with the least mean validation loss over this many
            epochs up to it: one lucky epoch of a small group does not decide.
        ft_surrogate: Share of windows whose phases are drawn again in each epoch, see
            :func:`mimamba_edge.export.training.augment.ft_surrogate`.
    """

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    smoothing_epochs: int = 5
    ft_surrogate: float = 1.0


@dataclass(frozen=True)
class Start:
    """Where a fit starts instead of at random weights.

    Attributes:
        state_dict: Weights by the model's names.
        frozen: Only :data:`TRAINED_LAYER` is fitted; the rest stays as it is, without dropout.
        own_scaling: Fit the scaling again on the training part. Otherwise the contract's is kept, which is
            the one that these weights were fitted with.
    """

    state_dict: dict[str, NDArray[Any]]
    frozen: bool = False
    own_scaling: bool = False


@dataclass(frozen=True)
class FitResult:
    """Weights of one fit.

    Attributes:
        state_dict: Weights at the best epoch, NumPy arrays by the model's names.
        best_epoch: Epochs trained when they were kept.
        validation_score: Balanced accuracy on the validation group then, or ``None`` without one.
        history: One row an epoch: training loss, validation loss and score.
        watched: Logits of the watched windows after each epoch ``(epochs, n, n_outputs)``.
    """

    state_dict: dict[str, NDArray[Any]]
    best_epoch: int
    validation_score: float | None
    history: list[dict[str, float]] = field(default_factory=list)
    watched: NDArray[np.float32] | None = None


def fit(
    blueprint: Blueprint[Made],
    recipe: Hyperparameters,
    training: Labelled,
    *,
    seed: int,
    validation: Labelled | None = None,
    epochs: int | None = None,
    start: Start | None = None,
    watched: Scaled | None = None,
) -> tuple[Made, FitResult]:
    """Fit a model.

    Args:
        blueprint: Makes the model.
        recipe: See :class:`Hyperparameters`.
        training: Scaled windows ``(n, c, l)`` and classes ``(n,)``.
        seed: Of initial weights, order and augmentation; the result is the same for the same seed.
        validation: Held-out group that chooses the epoch. Without it the fit ends at ``epochs``.
        epochs: Stop after so many epochs of the recipe's schedule.
        start: Weights to start from; random ones by default.
        watched: Scaled windows whose logits are kept of every epoch. They decide nothing: they tell
            afterwards what choosing the epoch by them would have added.

    Returns:
        The model in evaluation mode with the kept weights, and the record of the fit.

    Raises:
        TrainingError: The loss is no number any more.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = blueprint.network()
    frozen = start is not None and start.frozen
    if start is not None:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in start.state_dict.items()})
    if frozen:
        model.requires_grad_(False).get_submodule(TRAINED_LAYER).requires_grad_(True)
    windows, labels = training[0], torch.from_numpy(training[1])
    weights = _class_weights(labels, blueprint.config.n_outputs)
    steps = len(_batches(torch.arange(len(windows)), recipe.batch_size))
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe.weight_decay), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps, recipe))
    best: tuple[float, int, float | None, dict[str, NDArray[Any]]] | None = None
    history, seen = [], []
    last = epochs or recipe.epochs
    for epoch in range(1, last + 1):
        model.train(not frozen)
        total = 0.0
        for index in _batches(torch.randperm(len(windows), generator=generator), recipe.batch_size):
            x = ft_surrogate(torch.from_numpy(windows[index.numpy()]), recipe.ft_surrogate, generator)
            loss = nn.functional.cross_entropy(model(x), labels[index], weight=weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        if not math.isfinite(total):
            raise TrainingError(
                f"the training diverged: in epoch {epoch} the loss is no number any more",
                do="look for a logarithm, a root or a division in the network that has no lower bound",
            )
        row = {"epoch": float(epoch), "loss": total / len(windows)}
        if validation is not None:
            val_loss, score = _validate(model, validation, weights)
            row |= {"validation_loss": val_loss, "validation_score": score}
        history.append(row)
        if watched is not None:
            seen.append(predict(model, watched))
        if validation is not None:
            recent = [r["validation_loss"] for r in history[-recipe.smoothing_epochs :]]
            if best is None or sum(recent) / len(recent) <= best[0]:
                best = (sum(recent) / len(recent), epoch, score, _arrays(model))
    if best is None:
        best = (math.nan, last, None, _arrays(model))
    model.load_state_dict({k: torch.from_numpy(v) for k, v in best[3].items()})
    kept = np.stack(seen) if seen else None
    return model.eval(), FitResult(best[3], best[1], best[2], history, kept)


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut an order of windows into batches; a last window alone joins the batch before.

    A batch norm cannot train on one value a channel.
    """
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@torch.no_grad()
def predict(model: nn.Module, windows: Scaled, batch_size: int = 256) -> NDArray[np.float32]:
    """Return the logits ``(n, n_outputs)`` of scaled windows ``(n, c, l)``."""
    model.eval()
    starts = range(0, len(windows), batch_size)
    parts = [model(torch.from_numpy(windows[start : start + batch_size])) for start in starts]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def _rate(epoch: float, recipe: Hyperparameters) -> float:
    """Return the share of the peak learning rate after ``epoch`` (fractional) epochs."""
    rise = max(1.0, recipe.warmup * recipe.epochs)
    if epoch < rise:
        return (epoch + 1e-3) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - rise) / max(1.0, recipe.epochs - rise))))


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim < 2 or name.rsplit(".", 1)[-1].startswith("A_")
        (free if plain else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _class_weights(labels: Tensor, n_outputs: int) -> Tensor:
    """Weigh classes inversely to their number: the score is the balanced accuracy."""
    counts = torch.bincount(labels, minlength=n_outputs).clamp_min(1)
    return len(labels) / (n_outputs * counts.float())


def _arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    return {k: v.detach().clone().numpy() for k, v in model.state_dict().items()}


def _validate(model: nn.Module, validation: Labelled, weights: Tensor) -> tuple[float, float]:
    logits = torch.from_numpy(predict(model, validation[0]))
    labels = torch.from_numpy(validation[1])
    loss = nn.functional.cross_entropy(logits, labels, weight=weights).item()
    right = (logits.argmax(dim=1) == labels).double().numpy()
    return loss, balanced_accuracy(validation[1], right)

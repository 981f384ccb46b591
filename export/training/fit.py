"""One fit of a model: surrogate windows, AdamW, cosine schedule."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mimamba_edge.errors import ConfigError, TrainingError
from mimamba_edge.export.network import Blueprint
from mimamba_edge.export.training.augment import ft_surrogate
from mimamba_edge.export.training.fit_state import FitState
from mimamba_edge.export.training.scores import balanced_accuracy
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = [
    "DEVICES",
    "PRECISIONS",
    "TRAINED_LAYER",
    "FitResult",
    "Hyperparameters",
    "Scaled",
    "Start",
    "checked_device",
    "fit",
    "predict",
]

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")

Scaled = NDArray[np.float32] | ScaledWindows
"""Scaled windows ``(n, c, l)``: held, or taken from a file batch by batch."""
Labelled = tuple[Scaled, NDArray[np.int64]]
Made = TypeVar("Made", bound=nn.Module)
_BATCH = 256
_BATCH_SAMPLES = 1 << 19
"""Of a batch that is scored: the maps of a network are tens of times as large."""
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
        device: Torch's name of what trains: ``"cpu"`` or ``"cuda"``.
        precision: One of :data:`PRECISIONS`. In ``"bfloat16"`` convolutions and matrix products of the
            training are computed in it (torch's autocast); weights, spectra and what is chosen by them, scan
            and sums stay float32, as does all that scores.
    """

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    smoothing_epochs: int = 5
    ft_surrogate: float = 1.0
    device: str = "cpu"
    precision: str = "float32"


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


def checked_device(device: str, precision: str) -> torch.device:
    """Return the device of that name, if it can train in that precision.

    Raises:
        ConfigError: Device or precision is unknown or not at hand.
    """
    for name, word, allowed in (
        ("device", device, DEVICES),
        ("precision", precision, PRECISIONS),
    ):
        if word not in allowed:
            raise ConfigError(f"unknown {name} for training", got=word, expected=" or ".join(allowed))
    if device == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        install = "install a torch built for CUDA (https://pytorch.org/get-started), or "
        raise ConfigError(
            "PyTorch finds no CUDA device to train on",
            got=f"torch {torch.__version__}, "
            + (f"built for CUDA {built}" if built else "built without CUDA"),
            do=f"{'' if built else install}train on the CPU: --device cpu",
        )
    return torch.device(device)


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
    state: Path | None = None,
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
        state: File that is written between epochs, and that the same fit goes on from after it was killed:
            to the same bits on a CPU. The caller removes it.

    Returns:
        The model on the CPU in evaluation mode with the kept weights, and the record of the fit.

    Raises:
        TrainingError: The loss is no number any more.
        ConfigError: The recipe's device or precision is unknown or not at hand.
    """
    device = checked_device(recipe.device, recipe.precision)
    torch.manual_seed(seed)
    model = blueprint.network()
    if start is not None:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in start.state_dict.items()})
    if start is not None and start.frozen:
        model.requires_grad_(False).get_submodule(TRAINED_LAYER).requires_grad_(True)
    run = _Run(model.to(device), recipe, training, blueprint.config.n_outputs, seed)
    last = epochs or recipe.epochs
    sizes = [
        len(part) if part is not None else 0 for part in (training[0], validation and validation[0], watched)
    ]
    kept = FitState(state, [seed, last, asdict(recipe), *sizes])
    if (saved := kept.load()) is not None:
        run.resume(saved)
    kept.tell(run.epoch)
    while run.epoch < last:
        model.train(start is None or not start.frozen)
        run.train_epoch()
        if validation is not None:
            run.judge(validation)
        if watched is not None:
            run.watched.append(predict(model, watched))
        kept.tell(run.epoch)
        if kept.due() and run.epoch < last:
            kept.save(run.saved())
    best = run.best or _Best(math.nan, last, None, _arrays(model))
    model.load_state_dict({k: torch.from_numpy(v) for k, v in best.state_dict.items()})
    seen = np.stack(run.watched) if run.watched else None
    return model.cpu().eval(), FitResult(best.state_dict, best.epoch, best.score, run.history, seen)


@dataclass(frozen=True)
class _Best:
    """The epoch that is kept so far: what it is judged by, its number, its score, its weights."""

    loss: float
    epoch: int
    score: float | None
    state_dict: dict[str, NDArray[Any]]


class _Run:
    """A fit between two epochs: all that the next epoch depends on."""

    def __init__(
        self, model: nn.Module, recipe: Hyperparameters, training: Labelled, n_outputs: int, seed: int
    ) -> None:
        self.model, self.recipe = model, recipe
        self.windows, self.labels = training[0], torch.from_numpy(training[1])
        self.weights = _class_weights(self.labels, n_outputs)
        self.generator = torch.Generator().manual_seed(seed)
        steps = len(_batches(torch.arange(len(self.windows)), recipe.batch_size))
        groups = _parameter_groups(model, recipe.weight_decay)
        # One pass over all parameters instead of one a parameter and operation.
        fused = all(p.is_floating_point() for p in model.parameters())
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _rate(step / steps, recipe)
        )
        self.epoch = 0
        self.best: _Best | None = None
        self.history: list[dict[str, float]] = []
        self.watched: list[NDArray[np.float32]] = []

    def train_epoch(self) -> None:
        """Train on every window once.

        Raises:
            TrainingError: The loss is no number any more.
        """
        recipe, device, total = self.recipe, torch.device(self.recipe.device), 0.0
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16")
        weights, labels = self.weights.to(device), self.labels.to(device)
        for index in _batches(torch.randperm(len(self.windows), generator=self.generator), recipe.batch_size):
            x = torch.from_numpy(self.windows[index.numpy()]).to(device)
            x = ft_surrogate(x, recipe.ft_surrogate, self.generator)
            with mixed:
                loss = nn.functional.cross_entropy(self.model(x), labels[index.to(device)], weight=weights)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            total += loss.item() * len(index)
        self.epoch += 1
        if not math.isfinite(total):
            raise TrainingError(
                f"the training diverged: in epoch {self.epoch} the loss is no number any more",
                do="look for a logarithm, a root or a division in the network that has no lower bound",
            )
        self.history.append({"epoch": float(self.epoch), "loss": total / len(self.windows)})

    def judge(self, validation: Labelled) -> None:
        """Score the validation group; keep the weights if they are the best so far."""
        loss, score = _validate(self.model, validation, self.weights)
        self.history[-1] |= {"validation_loss": loss, "validation_score": score}
        recent = [row["validation_loss"] for row in self.history[-self.recipe.smoothing_epochs :]]
        mean = sum(recent) / len(recent)
        if self.best is None or mean <= self.best.loss:
            self.best = _Best(mean, self.epoch, score, _arrays(self.model))

    def saved(self) -> dict[str, Any]:
        """Return it all as tensors and plain values."""
        best = self.best
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "history": self.history,
            "watched": [torch.from_numpy(one) for one in self.watched],
            "best": best and (best.loss, best.epoch, best.score),
            "best_model": best and {k: torch.from_numpy(v) for k, v in best.state_dict.items()},
        }

    def resume(self, saved: dict[str, Any]) -> None:
        """Become what :meth:`saved` told of."""
        self.epoch, self.history = saved["epoch"], saved["history"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        if saved["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(saved["cuda"])
        self.watched = [one.numpy() for one in saved["watched"]]
        if saved["best"] is not None:
            weights = {name: value.numpy() for name, value in saved["best_model"].items()}
            loss, epoch, score = saved["best"]
            self.best = _Best(loss, epoch, score, weights)


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Cut an order of windows into batches; a last window alone joins the batch before.

    A batch norm cannot train on one value a channel.
    """
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@torch.no_grad()
def predict(model: nn.Module, windows: Scaled) -> NDArray[np.float32]:
    """Return the logits ``(n, n_outputs)`` of scaled windows ``(n, c, l)``."""
    model.eval()
    batch_size = max(1, min(_BATCH, _BATCH_SAMPLES // max(1, math.prod(windows.shape[1:]))))
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    starts = range(0, len(windows), batch_size)
    parts = [model(torch.from_numpy(windows[start : start + batch_size]).to(device)) for start in starts]
    logits: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
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
    return {k: v.detach().cpu().clone().numpy() for k, v in model.state_dict().items()}


def _validate(model: nn.Module, validation: Labelled, weights: Tensor) -> tuple[float, float]:
    logits = torch.from_numpy(predict(model, validation[0]))
    labels = torch.from_numpy(validation[1])
    loss = nn.functional.cross_entropy(logits, labels, weight=weights).item()
    right = (logits.argmax(dim=1) == labels).double().numpy()
    return loss, balanced_accuracy(validation[1], right)

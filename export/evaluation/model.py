"""What ``evaluate`` is given, and what answers for it: the network, a file made of it, an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mimamba_edge.artifact import Manifest, sha256_bytes, write_bytes, write_manifest
from mimamba_edge.contract import FOREIGN_FAMILY, LOGITS, Contract
from mimamba_edge.errors import ArtifactError, ConfigError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mimamba_edge.export.families.foreign import ForeignConfig
from mimamba_edge.export.foreign.blueprint import ForeignBlueprint
from mimamba_edge.export.foreign.checkpoint import load_into, need_foreign
from mimamba_edge.export.foreign.factory import frozen
from mimamba_edge.export.onnx.export import export_checkpoint, to_onnx
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.export.quantize.folds import Answer, calibration_windows, find_folds, onnx_answer
from mimamba_edge.export.quantize.recipes import RECIPES, Recipe
from mimamba_edge.export.training.fit import Scaled, predict
from mimamba_edge.load import is_checkpoint, load_model
from mimamba_edge.parity.verify import run_all
from mimamba_edge.runtime.base import need_contract
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = ["Model", "fold_answers", "logits", "open_model"]


@dataclass(frozen=True)
class Model:
    """What is evaluated.

    Attributes:
        path: As the user named it.
        contract: Its contract.
        folds: Fold checkpoints of its training, if they were found.
        runs_in: ``"torch"``, ``"cpu"`` (ONNX Runtime) or ``"tensorrt"``.
        precision: Of the file.
        recipe: How a fold's model gets this precision; ``None`` for fp32.
        blueprint: Makes the network, where it is one of others.
    """

    path: Path
    contract: Contract
    folds: Path | None
    runs_in: str
    precision: str = "fp32"
    recipe: Recipe | None = None
    blueprint: ForeignBlueprint | None = None

    @property
    def name(self) -> str:
        """What the row of the network is called."""
        network = self.contract.family
        if self.blueprint is not None:
            network = self.blueprint.config.name.rpartition(":")[2]
        return f"{network}: PyTorch, fp32"

    def network(self, held: Checkpoint) -> nn.Module:
        """Return the network of a checkpoint, the published one's or a fold's.

        Raises:
            CheckpointError: The weights do not fit.
        """
        if self.blueprint is None:
            return held.build()
        return frozen(load_into(self.blueprint, held, self.path), self.blueprint.config.name)

    @property
    def artefact(self) -> str:
        """What a row of the table calls the file."""
        host = {"torch": "PyTorch", "cpu": "ONNX Runtime", "tensorrt": "TensorRT"}[self.runs_in]
        return f"{self.path.name}: {host}, {self.precision}"


def open_model(path: Path, factory: str | None) -> Model:
    """Read what a model says of itself.

    Args:
        path: A checkpoint, a portable file of any precision or a plan.
        factory: ``package.module:factory`` of the network of a checkpoint of others.

    Raises:
        MimambaError: It cannot be used.
    """
    if is_checkpoint(path.name):
        beside = path.with_name(f"{path.stem}-folds")
        held = load_checkpoint(path)
        model = Model(path, held.contract, beside if beside.is_dir() else None, "torch")
        return _with_factory(model, held, factory)
    if factory is not None:
        raise ConfigError("--model is for checkpoints: this file holds its network", got=path)
    manifest = Manifest.load(path)
    if manifest.kind not in ("onnx", "plan"):
        raise ArtifactError(
            f"{path} is not what runs", got=manifest.kind, expected="CKPT.pt, NAME.onnx or NAME.plan"
        )
    contract = need_contract(manifest.promise, path)
    folder = find_folds(path, manifest.source_sha256)
    runs_in = "tensorrt" if manifest.kind == "plan" else "cpu"
    recipe = _recipe(path, manifest) if manifest.precision != "fp32" else None
    return Model(path, contract, folder, runs_in, manifest.precision, recipe)


def _with_factory(model: Model, held: Checkpoint, factory: str | None) -> Model:
    """Return a model whose network is made by a factory, which is run once to see that the weights fit."""
    if factory is None:
        if model.contract.family != FOREIGN_FAMILY:
            return model
        raise ConfigError(
            f"{model.path} holds the weights of a network of others, whose code is not in its file",
            do="add --model package.module:factory, as for `train`: this runs its Python code",
        )
    need_foreign(held, model.path, factory)
    made = replace(model, blueprint=ForeignBlueprint(ForeignConfig.of(factory, held.contract)))
    made.network(held)
    return made


def _recipe(path: Path, manifest: Manifest) -> Recipe:
    """Return how a file of lower precision was made."""
    if manifest.precision == "fp16":
        return RECIPES["fp16"]
    # `quantize` writes the form for TensorRT beside a file that is meant for it, and only then.
    beside = path.with_name(path.name.removesuffix(".onnx") + ".trt.onnx")
    target = "tensorrt" if manifest.kind == "plan" or beside.is_file() else "cpu"
    return RECIPES[f"int8-{target}"]


def fold_answers(model: Model, folder: Path) -> Callable[[Checkpoint, Scaled], dict[str, Answer]]:
    """Return what makes of a fold's checkpoint the network and the same kind of file.

    Args:
        model: What is evaluated.
        folder: For files that are made on the way.
    """

    def answers(held: Checkpoint, train: Scaled) -> dict[str, Answer]:
        network: Any = model.network(held)
        found: dict[str, Answer] = {"model": lambda windows: predict(network, windows)}
        if model.runs_in == "cpu":
            made = to_onnx(network, held.contract)
            if model.recipe is not None:
                made = model.recipe.make(made, calibration_windows(train))
            found["artefact"] = onnx_answer(made)
        elif model.runs_in == "tensorrt":
            found["artefact"] = _engine_answer(model, held, train, folder)
        return found

    return answers


def _engine_answer(model: Model, held: Checkpoint, train: Scaled, folder: Path) -> Answer:
    """Return what runs a fold's model in TensorRT: exported, built and verified as any other."""
    checkpoint, onnx = folder / "fold.pt", folder / "fold.onnx"
    save_checkpoint(checkpoint, held.build(), held.contract)
    export_checkpoint(checkpoint, onnx)
    if model.recipe is not None:
        made = model.recipe.make(read_model(onnx), calibration_windows(train))
        for name, proto in (("fold.onnx", made), ("fold.trt.onnx", tensorrt_form(made))):
            content, before = proto.SerializeToString(), Manifest.load(folder / name)
            write_bytes(folder / name, content)
            changed = replace(before, precision=model.precision, sha256=sha256_bytes(content))
            write_manifest(folder / name, changed)

    def answer(windows: Scaled) -> NDArray[np.float32]:
        with load_model(onnx, "tensorrt") as runner:
            return run_all(runner, windows)[LOGITS].astype(np.float32)

    return answer


def logits(model: Model, windows: NDArray[np.float64]) -> NDArray[Any]:
    """Return what the model itself answers ``(n, n_outputs)`` to windows in microvolts ``(n, c, l)``."""
    scaled = ScaledWindows(windows, None, model.contract.scaling)
    if model.blueprint is not None:
        return predict(model.network(load_checkpoint(model.path)), scaled)
    with load_model(model.path) as runner:
        return run_all(runner, scaled)[LOGITS]

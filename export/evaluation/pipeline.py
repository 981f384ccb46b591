"""What ``evaluate`` does: a model, its artefacts and the baselines on trials that none of them saw."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.artifact import Manifest, sha256_bytes, write_bytes, write_manifest
from mimamba_edge.bench.environment import describe
from mimamba_edge.console import Progress, show_warning
from mimamba_edge.contract import LOGITS, Contract
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.errors import ArtifactError, ConfigError, DataError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mimamba_edge.export.evaluation.baselines import BASELINES, Baseline, out_of_fold
from mimamba_edge.export.evaluation.overlap import overlap
from mimamba_edge.export.evaluation.personal import personal_curve, plan_personal
from mimamba_edge.export.evaluation.report import EvaluationReport, Method
from mimamba_edge.export.evaluation.statement import describe_data, scored_trials
from mimamba_edge.export.evaluation.table import Scorer
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.onnx.export import export_checkpoint, to_onnx
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.export.quantize.folds import (
    Answer,
    calibration_windows,
    find_folds,
    fold_checkpoint,
    held_out_logits,
    onnx_answer,
    seeds_in,
)
from mimamba_edge.export.quantize.recipes import RECIPES, Recipe
from mimamba_edge.export.training.fit import Scaled, predict
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING, Fold, check_protocol, split
from mimamba_edge.load import is_checkpoint, load_model
from mimamba_edge.parity.verify import run_all
from mimamba_edge.runtime.base import need_contract
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = ["evaluate"]


@dataclass(frozen=True)
class _Model:
    """What is evaluated.

    Attributes:
        path: As the user named it.
        contract: Its contract.
        folds: Fold checkpoints of its training, if they were found.
        runs_in: ``"torch"``, ``"cpu"`` (ONNX Runtime) or ``"tensorrt"``.
        precision: Of the file.
        recipe: How a fold's model gets this precision; ``None`` for fp32.
    """

    path: Path
    contract: Contract
    folds: Path | None
    runs_in: str
    precision: str = "fp32"
    recipe: Recipe | None = None

    @property
    def artefact(self) -> str:
        """What a row of the table calls the file."""
        host = {"torch": "PyTorch", "cpu": "ONNX Runtime", "tensorrt": "TensorRT"}[self.runs_in]
        return f"{self.path.name}: {host}, {self.precision}"


def _open(path: Path) -> _Model:
    """Read what a model says of itself.

    Raises:
        MimambaError: It cannot be used.
    """
    if is_checkpoint(path.name):
        beside = path.with_name(f"{path.stem}-folds")
        contract = load_checkpoint(path).contract
        return _Model(path, contract, beside if beside.is_dir() else None, "torch")
    manifest = Manifest.load(path)
    if manifest.kind not in ("onnx", "plan"):
        raise ArtifactError(
            f"{path} is not what runs", got=manifest.kind, expected="CKPT.pt, NAME.onnx or NAME.plan"
        )
    contract = need_contract(manifest.promise, path)
    folder = find_folds(path, manifest.source_sha256)
    runs_in = "tensorrt" if manifest.kind == "plan" else "cpu"
    recipe = _recipe(path, manifest) if manifest.precision != "fp32" else None
    return _Model(path, contract, folder, runs_in, manifest.precision, recipe)


def _recipe(path: Path, manifest: Manifest) -> Recipe:
    """Return how a file of lower precision was made."""
    if manifest.precision == "fp16":
        return RECIPES["fp16"]
    # `quantize` writes the form for TensorRT beside a file that is meant for it, and only then.
    beside = path.with_name(path.name.removesuffix(".onnx") + ".trt.onnx")
    target = "tensorrt" if manifest.kind == "plan" or beside.is_file() else "cpu"
    return RECIPES[f"int8-{target}"]


def evaluate(
    path: Path,
    dataset: Dataset,
    protocol: str | None,
    bar: Progress,
    *,
    baselines: Mapping[str, Baseline] = BASELINES,
    calibration_minutes: Sequence[float] = (),
    engine: Engine | None = None,
) -> EvaluationReport:
    """Score a model and the baselines on trials that they never saw.

    On the data set of its training each trial is scored by the fold model that held it out, made into the
    same kind of file. Other recordings are scored by the model itself.

    Args:
        path: A checkpoint, a portable file of any precision or a plan.
        dataset: Labelled recordings.
        protocol: How trials are held out; by default as in the training.
        bar: Told what is being done.
        baselines: By name.
        calibration_minutes: Of personal calibration, for which a curve is made.
        engine: Where models are fitted; by default on all cores of this machine.

    Raises:
        MimambaError: The model or the data cannot be used, or the model has seen some of these recordings.
    """
    model = _open(path)
    training = model.contract.training
    chosen = protocol or str(training.get("protocol", "leave-one-run-out"))
    check_protocol(chosen)
    seen = _seen(model, dataset)
    if seen and chosen != training.get("protocol"):
        raise ConfigError(
            f"the fold models of {path} were not trained under this protocol",
            got=chosen,
            expected=str(training.get("protocol")),
            do=f"leave --protocol out, or train with --protocol {chosen}",
        )
    if calibration_minutes and not seen and model.runs_in != "torch":
        raise ConfigError(
            "personal calibration goes on training, which needs weights",
            got=model.path,
            do="name the checkpoint that this file was made from",
        )
    if chosen == LEAKY:
        show_warning(LEAKY_WARNING)
    bar.describe("reading recordings")
    windows, folds, notes = _prepared(trial_windows(dataset, model.contract), chosen, seen, protocol)
    plan = plan_personal(windows, folds, chosen, calibration_minutes) if calibration_minutes else None
    scorer = Scorer(windows, folds)
    methods = _held_out(model, scorer, bar) if seen else _unseen(model, scorer)
    first = _numbers(methods[0], windows)
    for name, baseline in baselines.items() if folds else ():
        bar.describe(name)
        try:
            scores = out_of_fold(windows, folds, baseline, model.contract.sfreq)
        except DataError as error:
            notes.append(f"without {name}: {error.what}")
            continue
        methods.append(scorer.method(name, "baseline", scores.argmax(axis=1)[None], first))
    personal = None
    if plan is not None:
        bar.describe("personal calibrations")
        checkpoints = _checkpoints(model, folds if seen else ())
        personal = personal_curve(plan, first, checkpoints, engine=engine, done=bar.advance)
    return EvaluationReport(
        model=str(path),
        contract=model.contract.to_dict(),
        data=describe_data(dataset),
        protocol=chosen,
        trained_on="out-of-fold" if seen else "unseen",
        class_names=list(windows.class_names),
        n_trials=len(windows.trials),
        chance=1 / len(windows.class_names),
        methods=methods,
        overlap=overlap(windows.trials, folds) if seen else [],
        trials=scored_trials(windows.trials, folds),
        left_out=windows.left_out,
        picked_on_test=training.get("picked_on_test") if seen else None,
        personal=personal,
        notes=[*windows.notes(), *notes],
        warning=LEAKY_WARNING if chosen == LEAKY or "warning" in training else "",
        environment=describe(),
    )


def _seen(model: _Model, dataset: Dataset) -> bool:
    """Return whether this is the data set of the training.

    Raises:
        DataError: It is another one that holds recordings of the training.
    """
    training = model.contract.training
    if training.get("data", {}).get("labels_sha256") == dataset.labels_sha256():
        return True
    known = set(training.get("recordings", ()))
    again = [file for file in dataset.files if dataset.recording_sha256(file)[:32] in known]
    if again:
        raise DataError(
            f"{model.path} was trained on some of these recordings: a score on them would be memory",
            got=", ".join(again),
            expected="the data set of the training, whole, or recordings that were not in it",
        )
    if not known:
        show_warning(
            f"{model.path} does not list the recordings it was trained on: make sure that none is in "
            f"{dataset.spec}"
        )
    return False


def _prepared(
    windows: Windows, protocol: str, seen: bool, wished: str | None
) -> tuple[Windows, list[Fold], list[str]]:
    """Return windows and folds; without folds where new recordings cannot be split and nobody asked to."""
    try:
        return *split(windows, protocol), []
    except DataError as error:
        if seen or wished is not None:
            raise
        return windows, [], [f"no baselines, which must be fitted on some of these trials: {error.what}"]


def _held_out(model: _Model, scorer: Scorer, bar: Progress) -> list[Method]:
    """Score the fold models and what is made of them."""
    if model.folds is None:
        raise DataError(
            f"{model.path} was trained on this data set, and its fold models are not there",
            expected="the folder CKPT-folds beside the checkpoint that it was made from",
            do="copy the folder along with the checkpoint, or name a data set of new recordings",
        )
    seeds = seeds_in(model.folds, scorer.folds[0]) or [0]
    bar.describe("scoring fold models")
    with tempfile.TemporaryDirectory() as folder:
        answers = _answers(model, Path(folder))
        logits = [
            held_out_logits(
                model.folds, scorer.windows, scorer.folds, model.contract, answers, seed=s, done=bar.advance
            )
            for s in seeds
        ]
    temperatures = np.stack([one.temperature for one in logits])
    names = {"model": f"{model.contract.family}: PyTorch, fp32", "artefact": model.artefact}
    methods: list[Method] = []
    plain: NDArray[np.int64] | None = None
    for kind in logits[0].trials:
        predicted = np.stack([one.trials[kind].argmax(axis=1) for one in logits])
        calibrated = scorer.calibration(np.stack([one.windows[kind] for one in logits]), temperatures)
        methods.append(scorer.method(names[kind], kind, predicted, plain, calibrated))
        plain = predicted if plain is None else plain
    return methods


def _answers(model: _Model, folder: Path) -> Callable[[Checkpoint, Scaled], dict[str, Answer]]:
    """Return what makes of a fold's checkpoint the network and the same kind of file."""

    def answers(held: Checkpoint, train: Scaled) -> dict[str, Answer]:
        network = held.build()
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


def _engine_answer(model: _Model, held: Checkpoint, train: Scaled, folder: Path) -> Answer:
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


def _unseen(model: _Model, scorer: Scorer) -> list[Method]:
    """Score the model itself on recordings that it was not trained on."""
    windows = scorer.windows
    scaled = ScaledWindows(windows.data, None, model.contract.scaling)
    with load_model(model.path) as runner:
        logits = run_all(runner, scaled)[LOGITS]
    owners = [windows.trial_of == i for i in range(len(windows.trials))]
    predicted = np.array([logits[mask].mean(axis=0).argmax() for mask in owners])[None]
    kind = "model" if model.runs_in == "torch" else "artefact"
    calibrated = scorer.calibration(logits[None], np.full((1, len(logits)), model.contract.temperature))
    return [scorer.method(model.artefact, kind, predicted, None, calibrated)]


def _checkpoints(model: _Model, folds: Sequence[Fold]) -> Callable[[str, int], Path]:
    """Return what gives the checkpoint that never saw a group: a fold's, or the model itself."""
    held_out, folder = {fold.name: fold for fold in folds}, model.folds
    if folder is None or not held_out:
        return lambda name, seed: model.path
    return lambda name, seed: fold_checkpoint(folder, held_out[name], seed)


def _numbers(method: Method, windows: Windows) -> NDArray[np.int64]:
    """Return the predicted classes of a row as numbers ``(seeds, n)``."""
    return np.array([[windows.class_names.index(name) for name in row] for row in method.predicted])

"""A model repository for NVIDIA Triton: config.pbtxt, the model with its contract, labels, plugin library.

Sources: triton-inference-server/server docs/user_guide/model_repository.md, model_configuration.md,
batcher.md; tensorrt_backend README.md and src/model_state.cc; common protobuf/model_config.proto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge import NO_TELEMETRY
from mimamba_edge.contract import LOGITS, WINDOWS, Contract
from mimamba_edge.errors import ConfigError
from mimamba_edge.serving.folder import replaced_folder
from mimamba_edge.trt.batch import Batch

__all__ = ["Served", "config_text", "serve_command", "write_repository"]

_ANY_BATCH = 64
"""Largest batch of a portable file, which takes any: more windows than that come as several requests."""

_DELAY_SHARE = 0.02
"""Share of the hop that a window may wait for windows of other devices, so that decisions hardly age."""


@dataclass(frozen=True)
class Served:
    """What a repository is made of.

    Attributes:
        name: Name under which Triton serves the model.
        model: ``.plan`` or portable ``.onnx``.
        manifest: Text of the manifest that goes beside the model.
        contract: The model's contract.
        batch: Batch sizes of an engine; ``None`` for a portable file.
        libraries: Plugin libraries of an engine, the one that registers itself first.
        tensorrt: Version of TensorRT that built the engine.
        instances: Copies of the model that run at the same time.
    """

    name: str
    model: Path
    manifest: str
    contract: Contract
    batch: Batch | None = None
    libraries: Sequence[Path] = ()
    tensorrt: str = ""
    instances: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ConfigError(
                "the model's name cannot be used as a folder and in a URL",
                got=self.name,
                expected="letters, digits, '_', '-', '.'",
                do="choose one: --name NAME",
            )
        if self.instances < 1:
            raise ConfigError("a model is served by at least one instance", got=self.instances)
        if self.batch and not self.batch.static and self.batch.least > 1:
            raise ConfigError(
                "Triton may send fewer windows at a time than this engine takes",
                got=f"batches of {self.batch.least} to {self.batch.most}",
                expected="an engine whose smallest batch is 1",
                do=f"build it again: mimamba-edge build --batch 1,{self.batch.best},{self.batch.most}",
            )

    @property
    def max_batch_size(self) -> int:
        """``max_batch_size`` of the configuration.

        1 for an engine of static batch 1: the backend takes it from the profile's largest shape, and
        clients send ``(1, c, l)`` as with any batch. 0 (no batching, shapes with their batch) for a static
        batch above 1: Triton cannot be told that only full batches will do.
        """
        if self.batch is None:
            return _ANY_BATCH
        return 0 if self.batch.static and self.batch.most > 1 else self.batch.most


def config_text(served: Served) -> str:
    """Return ``config.pbtxt``: a ``ModelConfig`` in protobuf's text form."""
    contract, size = served.contract, served.max_batch_size
    engine = served.batch is not None
    fixed = [served.batch.most] if served.batch and size == 0 else []
    inputs = ", ".join(map(str, (*fixed, contract.n_chans, contract.n_times)))
    outputs = ", ".join(map(str, (*fixed, contract.n_outputs)))
    labelled = 'data_type: TYPE_FP32 label_filename: "labels.txt"'
    parts = [
        f'name: "{served.name}"',
        f'platform: "{"tensorrt_plan" if engine else "onnxruntime_onnx"}"',
        f"max_batch_size: {size}",
        f'input [ {{ name: "{WINDOWS}" data_type: TYPE_FP32 dims: [ {inputs} ] }} ]',
        f'output [ {{ name: "{LOGITS}" {labelled} dims: [ {outputs} ] }} ]',
        f"instance_group [ {{ kind: {'KIND_GPU' if engine else 'KIND_CPU'} count: {served.instances} }} ]",
    ]
    best: tuple[int, ...] = ()
    if served.batch is None:
        parts.append("dynamic_batching { }")
    elif size > 1:
        best = (served.batch.best,)
        wait_us = round(contract.hop / contract.sfreq * _DELAY_SHARE * 1e6)
        preferred = f"preferred_batch_size: [ {best[0]} ] " if best[0] > 1 else ""
        parts.append(f"dynamic_batching {{ {preferred}max_queue_delay_microseconds: {wait_us} }}")
    if engine:
        parts.append("optimization { cuda { graphs: true } }")
    for count in sorted({1, *best, size or 1}):
        value = f"data_type: TYPE_FP32 dims: [ {inputs} ] zero_data: true"
        parts.append(
            f'model_warmup [ {{ name: "batch {count}" batch_size: {count} '
            f'inputs {{ key: "{WINDOWS}" value {{ {value} }} }} }} ]'
        )
    return "\n".join(parts) + "\n"


def write_repository(folder: Path, served: Served) -> Path:
    """Write ``folder/NAME`` whole or not at all; one written before under that name is replaced.

    Returns:
        The model's folder.

    Raises:
        OutputError: It cannot be written, or a folder of that name is something else.
        ConfigError: A class name cannot be a line of the label file.
    """
    labels = served.contract.class_names
    if any("\n" in label for label in labels):
        raise ConfigError("a class name has a line break, so it cannot be a label", got=list(labels))
    suffix = served.model.suffix
    with replaced_folder(folder / served.name, mark="config.pbtxt", by="README.md") as inside:
        version = inside / "1"
        version.mkdir()
        (version / f"model{suffix}").write_bytes(served.model.read_bytes())
        manifest = {**json.loads(served.manifest), "file": f"model{suffix}"}
        (version / f"model{suffix}.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for library in served.libraries:
            (inside / "plugin").mkdir(exist_ok=True)
            (inside / "plugin" / library.name).write_bytes(library.read_bytes())
        (inside / "config.pbtxt").write_text(config_text(served), encoding="utf-8")
        (inside / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
        (inside / "README.md").write_text(_readme(folder, served), encoding="utf-8")
    return folder / served.name


def serve_command(folder: Path, served: Served) -> str:
    """Return the command that serves ``folder``; RELEASE is the Triton release to choose."""
    gpus = "--gpus all " if served.batch else ""
    # The server's own ONNX Runtime would send from 1.29 on.
    silent = "".join(f"-e {name}={value} " for name, value in NO_TELEMETRY.items())
    command = (
        f"docker run --rm {gpus}{silent}-p 8000:8000 -p 8001:8001 -v {folder.resolve()}:/models:ro "
        "nvcr.io/nvidia/tritonserver:RELEASE-py3 tritonserver --model-repository=/models"
    )
    if served.libraries:
        library = f"/models/{served.name}/plugin/{served.libraries[0].name}"
        command += f" --backend-config=tensorrt,plugins={library}"
    return command


def _readme(folder: Path, served: Served) -> str:
    contract = served.contract
    if served.batch:
        needs = (
            f"RELEASE: the one whose release notes name TensorRT {served.tensorrt}, which built the engine,\n"
            "on a GPU of the kind it was built on. The plugin library must be named on the command line:\n"
            "Triton loads it once for all models, and a model's configuration cannot name it."
        )
    else:
        needs = "RELEASE: any with ONNX Runtime 1.20 or later. The model runs on the CPU."
    return f"""# {served.name}

    {serve_command(folder, served)}

{needs}

A request carries `{WINDOWS}`: float32 of shape (b, {contract.n_chans}, {contract.n_times}), channels
{", ".join(contract.ch_names)} at {contract.sfreq:g} Hz, filtered and scaled as the contract in
`1/model{served.model.suffix}.json` says: raw microvolts give wrong answers. The answer is `{LOGITS}`,
float32 of shape (b, {contract.n_outputs}); divide by the temperature {contract.temperature:g} before a
softmax. Labels: {", ".join(contract.class_names)}.

Made by `mimamba-edge pack --host triton`, which replaces this folder as a whole.
"""

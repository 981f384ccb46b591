"""From what a user names on the command line to a runner. The one place that knows every kind of model."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.errors import ArtifactError, ConfigError
from mimamba_edge.runtime.options import RunnerOptions

if TYPE_CHECKING:
    from mimamba_edge.runtime.base import Runner

__all__ = [
    "CHECKPOINTS",
    "EXPORTED",
    "PROVIDERS",
    "RUNNERS",
    "advice_for",
    "builtin_copy",
    "builtin_model",
    "is_checkpoint",
    "load_model",
]

RUNNERS = {
    ".onnx": "mimamba_edge.runtime.ort",
    ".plan": "mimamba_edge.trt.runner",
    ".pt": "mimamba_edge.export.runner",
    ".safetensors": "mimamba_edge.export.runner",
}
"""What runs a file, by the end of its name: a module with ``open_runner(path, options) -> Runner``."""
CHECKPOINTS = (".pt", ".safetensors")
EXPORTED = (".onnx", ".plan")
"""Files that have reference windows beside them."""
PROVIDERS = ("cpu", "cuda", "tensorrt")
"""What runs ``.onnx`` files: ONNX Runtime on the CPU or by CUDA; TensorRT, which builds an engine first."""


def is_checkpoint(spec: str) -> bool:
    """Return whether a name is that of a checkpoint."""
    return spec.endswith(CHECKPOINTS)


def advice_for(path: Path | str) -> str:
    """Return what to do where a file or folder that a user named is not there."""
    name = Path(path).name
    made = {
        ".trt.onnx": "`mimamba-edge export` writes it beside NAME.onnx",
        ".onnx": "make it: mimamba-edge export CHECKPOINT.pt",
        ".plan": f"make it here: mimamba-edge build {Path(path).with_suffix('.trt.onnx')}",
        ".pt": "`mimamba-edge train` makes checkpoints",
        ".safetensors": "`mimamba-edge train` makes checkpoints",
    }
    if how := next((text for end, text in made.items() if name.endswith(end)), ""):
        return f"check the path; {how}"
    return "check the path" if "." in name else f"check the path; to try: mimamba-edge simulate {path}"


def builtin_model() -> Path:
    """Return the reference model that comes with the package.

    Raises:
        ArtifactError: This installation has none.
    """
    path = Path(__file__).resolve().parent / "models" / "reference.onnx"
    if not path.is_file():
        raise ArtifactError(
            "this installation has no built-in model",
            expected=path,
            do="name a model, or make the built-in one in a checkout: make reference-model",
        )
    return path


def builtin_copy() -> Path:
    """Return a copy of the reference model in the cache, where files may be made beside it.

    Raises:
        MimambaError: This installation has none, or the cache cannot be written.
    """
    from mimamba_edge.artifact import cache_folder, manifest_path, sha256_file, write_bytes
    from mimamba_edge.runtime.reference import reference_path

    source = builtin_model()
    copy = cache_folder() / "models" / sha256_file(source)[:16] / source.name
    for path in (source, reference_path(source)):
        for one in (path, manifest_path(path)):
            if not (copy.parent / one.name).is_file():
                write_bytes(copy.parent / one.name, one.read_bytes())
    return copy


def load_model(
    model: str | Path,
    provider: str = "cpu",
    threads: int | None = None,
    *,
    auxiliary: bool = False,
    batches: Sequence[int] = (1,),
    graph: bool = True,
    native_ops: bool = True,
) -> Runner:
    """Return the runner of a model; ``with`` activates it and releases it at the end.

    Args:
        model: ``FILE.onnx`` (ONNX Runtime, or TensorRT if that is the provider), ``FILE.plan`` (TensorRT),
            ``FILE.pt`` or ``FILE.safetensors`` (PyTorch), ``oracle:CHECKPOINT`` (float64 NumPy), or another
            kind of file that :data:`RUNNERS` names.
        provider: One of :data:`PROVIDERS`; only ``.onnx`` files heed it.
        threads: Threads of one op.
        auxiliary: Ask for a runner that returns the auxiliary outputs of its family. An ``.onnx`` can show
            them only where the onnx package is installed and the file holds what they are computed by.
        batches: Windows at a time that an engine is built for, if one is built.
        graph: Run engines by CUDA graphs.
        native_ops: Run an ``.onnx`` in ONNX Runtime by the library of native ops, where one is built for
            the provider.

    Raises:
        MimambaError: The file is missing or damaged, or needs packages that are not installed.
    """
    if provider not in PROVIDERS:
        raise ConfigError("unknown provider", got=provider, expected=" or ".join(PROVIDERS))
    spec = str(model)
    oracle, path = spec.startswith("oracle:"), Path(spec.removeprefix("oracle:"))
    kind = next((end for end in (CHECKPOINTS if oracle else RUNNERS) if path.name.endswith(end)), None)
    if kind is None:
        files = ", ".join(f"FILE{end}" for end in RUNNERS)
        raise ConfigError(
            f"{spec} is not a model that can be run", expected=f"{files}, or oracle:FILE{CHECKPOINTS[0]}"
        )
    if not path.is_file():
        what = "not a file" if path.exists() else "not there"
        raise ArtifactError(f"{path} is {what}", do="check the path" if path.exists() else advice_for(path))
    if kind == ".onnx" and provider == "tensorrt":
        return _engine_runner(path, batches, graph)
    if kind in CHECKPOINTS:
        from mimamba_edge.optional_packages import need_export

        need_export(f"running {path.name}")
    opener: Any = importlib.import_module(RUNNERS[kind])
    options = RunnerOptions(
        provider=provider, threads=threads, graph=graph, native_ops=native_ops, oracle=oracle
    )
    runner: Runner = opener.open_runner(path, options)
    return _with_auxiliary(runner, path, threads) if auxiliary and kind == ".onnx" else runner


def _with_auxiliary(runner: Runner, path: Path, threads: int | None) -> Runner:
    """Return a runner of the same file that returns auxiliary outputs, where one can be made."""
    if importlib.util.find_spec("onnx") is None:
        return runner
    from mimamba_edge.export.onnx.intermediate_outputs import runner_with_auxiliary
    from mimamba_edge.runtime.function import WithAuxiliary

    shown = runner_with_auxiliary(path, threads=threads)
    return WithAuxiliary(runner, shown) if shown.auxiliary else runner


def _engine_runner(onnx: Path, batches: Sequence[int], graph: bool) -> Runner:
    """Return the runner of a model's engine for this machine, built now if the cache has none."""
    from mimamba_edge.trt.batch import Batch
    from mimamba_edge.trt.build import engine_for
    from mimamba_edge.trt.runner import TensorRtRunner

    batch = Batch(min(batches), max(batches), max(batches))
    plan = engine_for(onnx, batch=batch, on_note=_say)
    runner = TensorRtRunner(plan, graph=graph)
    runner.artifact = str(onnx)
    return runner


def _say(text: str) -> None:
    """Print a line, not on stdout, where a stream's decisions go."""
    sys.stderr.write(text + "\n")

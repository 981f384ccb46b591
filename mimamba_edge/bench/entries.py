"""What `bench` puts side by side for each model that is named, and what each is verified against."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import ModelProto

    from mimamba_edge.bench.run import Entry, Expected
    from mimamba_edge.parity.windows import WindowSet
    from mimamba_edge.runtime.base import Runner

__all__ = ["ATTENTION", "EAGER", "Variant", "entries_of", "of_other_weights"]

EAGER, ATTENTION = "torch-eager-parallel", "onnxruntime-cpu-linear-attention"
_ORACLE_WINDOWS = 64


@dataclass(frozen=True)
class Variant:
    """One row's artefact and what runs it.

    Attributes:
        spec: The file, or the name of the one that could not be had.
        provider: What runs it.
        accuracy: Trials right out of fold, ``{"right": n, "n_trials": n}``, where it was measured.
        why_not: Why there is no such artefact.
    """

    spec: str
    provider: str
    accuracy: dict[str, int] | None = None
    why_not: str = ""


def entries_of(
    models: Sequence[Variant],
    windows: WindowSet,
    *,
    threads: int = 1,
    batches: Sequence[int] = (1,),
    others: bool = False,
) -> list[Entry]:
    """Return the entries of a benchmark, checkpoints first.

    A checkpoint gives three rows: PyTorch eager with the parallel convolutions of the paper (which the
    others are compared with), the same under torch.compile, and eager with the fused ops. One that was
    found, not named, is not compiled, which takes minutes. They are verified against the float64 oracle. An
    exported file is verified against the ``.ref.npz`` beside it; an engine gives two rows, with and without
    CUDA graphs, and so does a file that native ops run, with and without them.

    Args:
        models: Named on the command line, or variants of one, each with what runs it.
        windows: Those that will be timed; the oracle answers the first of them.
        threads: Threads of one op.
        batches: Batch sizes that will be timed.
        others: Also what else could run a portable fp32 file on this CPU: its checkpoint in PyTorch, if that
            lies beside it, its scans as ONNX Runtime's LinearAttention, and OpenVINO. A row that cannot be
            had says why.

    Raises:
        MimambaError: A model cannot be opened.
    """
    from mimamba_edge.bench.run import Entry
    from mimamba_edge.load import is_checkpoint

    found = _sources(models) if others else []
    entries: list[Entry] = []
    for one in sorted([*models, *found], key=lambda variant: not is_checkpoint(variant.spec)):
        if one.why_not:
            kind = "tensorrt" if one.provider == "tensorrt" else f"onnxruntime-{one.provider}"
            kind = EAGER if is_checkpoint(one.spec) else kind
            entries.append(Entry(None, None, kind, one.spec, why_not=one.why_not, accuracy=one.accuracy))
        elif is_checkpoint(one.spec):
            entries += _checkpoint(one.spec, windows, threads, compiled=one not in found)
        else:
            entries += _exported(one, threads, batches)
            entries += _other_runtimes(one, threads) if others else []
    return entries


def _portable(one: Variant) -> bool:
    """Return whether a model is a portable fp32 file that runs on the CPU."""
    from mimamba_edge.artifact import Manifest

    fits = one.provider == "cpu" and one.spec.endswith(".onnx") and not one.why_not
    return fits and Manifest.load(Path(one.spec)).precision == "fp32"


def _why_none(path: Path, source_sha256: str) -> str:
    """Return why there is no checkpoint of a portable file."""
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.errors import MimambaError
    from mimamba_edge.load import builtin_model

    with contextlib.suppress(MimambaError):
        if Manifest.load(builtin_model()).source_sha256 == source_sha256:
            return "the built-in model comes without its checkpoint"
    return f"the checkpoint that {path.name} was exported from is not beside it: name it, too"


def _sources(models: Sequence[Variant]) -> list[Variant]:
    """Return the checkpoints of portable files where none is named, found beside them by hash, or why not."""
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.contract import FOREIGN_FAMILY
    from mimamba_edge.errors import MimambaError
    from mimamba_edge.load import CHECKPOINTS, is_checkpoint
    from mimamba_edge.optional_packages import need_export

    found: list[Variant] = []
    if any(is_checkpoint(one.spec) for one in models):
        return found
    for one in filter(_portable, models):
        path = Path(one.spec)
        contract = Manifest.load(path).contract
        if contract is None or contract.family == FOREIGN_FAMILY:
            continue  # made from code of others, of which no checkpoint tells
        beside = [path.with_suffix(end) for end in CHECKPOINTS]
        wanted = Manifest.load(path).source_sha256
        held = next((p for p in beside if _hash_of(p) == wanted), None)
        why = "" if held else _why_none(path, wanted)
        if held:
            try:
                need_export("PyTorch")
            except MimambaError as error:
                why = str(error).splitlines()[0]
        found.append(Variant(str(held or beside[0]), one.provider, why_not=why))
    return found


def _hash_of(path: Path) -> str | None:
    """Return the hash of a file that nobody named; ``None`` for one that cannot be read, or too large."""
    from mimamba_edge.artifact import MOST_BYTES, sha256_file

    try:
        fits = path.is_file() and path.stat().st_size <= MOST_BYTES
        return sha256_file(path) if fits else None
    except OSError:
        return None


def of_other_weights(models: Sequence[Variant]) -> list[str]:
    """Return a note for each exported model that none of the checkpoints beside it was exported to.

    Raises:
        MimambaError: A model is damaged.
    """
    from mimamba_edge.artifact import Manifest, sha256_file
    from mimamba_edge.load import is_checkpoint

    held = {sha256_file(Path(one.spec)) for one in models if is_checkpoint(one.spec)}
    others = {one.spec: None for one in models if held and not is_checkpoint(one.spec) and not one.why_not}
    return [
        f"{Path(spec).name} was not exported from a checkpoint named here: its weights "
        "may differ, compare with care"
        for spec in others
        if Manifest.load(Path(spec)).source_sha256 not in held
    ]


def _checkpoint(spec: str, windows: WindowSet, threads: int, *, compiled: bool) -> list[Entry]:
    from mimamba_edge.bench.environment import cpp_compiler
    from mimamba_edge.bench.run import Entry, Expected, answers_of
    from mimamba_edge.load import load_model

    oracle = load_model(f"oracle:{spec}")
    from mimamba_edge.export.runner import TorchRunner

    @cache
    def expected() -> Expected:
        some = windows.data[:_ORACLE_WINDOWS]
        return Expected(
            some, answers_of(oracle, some), f"the float64 oracle of {Path(spec).name}", oracle.precision
        )

    entries = [Entry(TorchRunner(spec, mode="parallel", threads=threads), expected, EAGER, spec)]
    why = ""
    if not compiled:
        why = f"torch.compile takes minutes: name {Path(spec).name} as well"
    elif cpp_compiler() is None:
        why = "no C++ compiler, which torch.compile needs (install g++)"
    if why:
        entries.append(Entry(None, None, "torch-compile", spec, why_not=why))
    else:
        runner = TorchRunner(spec, mode="compile", threads=threads)
        loading = "compile (minutes), load and verify"
        entries.append(Entry(runner, expected, "torch-compile", spec, optional=True, loading=loading))
    # Auxiliary outputs cost time, which no other row pays for.
    fused = TorchRunner(spec, mode="eager", threads=threads, auxiliary=False)
    return [*entries, Entry(fused, expected, "torch-eager-fused", spec)]


def _exported(one: Variant, threads: int, batches: Sequence[int]) -> list[Entry]:
    from mimamba_edge.bench.run import Entry
    from mimamba_edge.load import load_model
    from mimamba_edge.runtime.ort import NATIVE

    spec, provider = one.spec, one.provider
    runners = [load_model(spec, provider=provider, threads=threads, batches=batches)]
    if runners[0].kind == "tensorrt":
        runners.append(load_model(spec, provider=provider, batches=batches, graph=False))
    if runners[0].kind.endswith(NATIVE):
        runners.insert(0, load_model(spec, provider=provider, threads=threads, native_ops=False))
    return [Entry(runner, _reference(spec), runner.kind, spec, accuracy=one.accuracy) for runner in runners]


def _reference(spec: str) -> Callable[[], Expected]:
    """Return what gives the answers that the export left beside a file.

    Raises:
        MimambaError: There are none, or they are damaged.
    """
    from mimamba_edge.bench.run import Expected
    from mimamba_edge.runtime.reference import Reference, reference_path

    reference = Reference.beside(Path(spec))
    answers = Expected(reference.windows, reference.outputs, reference_path(Path(spec)).name, "fp32")
    return lambda: answers


def _other_runtimes(one: Variant, threads: int) -> list[Entry]:
    """Return the entries of a portable file's network in other forms and runtimes."""
    from mimamba_edge.artifact import INLINED, Manifest
    from mimamba_edge.bench.run import Entry
    from mimamba_edge.errors import RunnerError
    from mimamba_edge.runtime.openvino import OpenVinoRunner
    from mimamba_edge.runtime.ort import OrtRunner

    if not _portable(one):
        return []
    path = Path(one.spec)
    manifest = Manifest.load(path)

    def attending() -> bytes:
        from mimamba_edge.export.onnx.functions import attach_functions, custom_nodes
        from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION
        from mimamba_edge.export.onnx.schema import SCAN

        model = _loaded(path)
        if SCAN not in {node.op_type for node in custom_nodes(model)}:
            raise RunnerError("the model has no SelectiveScan")
        attach_functions(model, LINEAR_ATTENTION)
        return bytes(model.SerializeToString())

    def standard() -> bytes:
        from mimamba_edge.export.onnx.inlined import inlined_form

        if manifest.kind == INLINED:
            return path.read_bytes()
        return bytes(inlined_form(_loaded(path)).SerializeToString())

    makers: list[tuple[str, tuple[str, str], Callable[[], Runner]]] = []
    if manifest.kind == "onnx":
        packages = ("onnx", "onnxruntime")
        makers.append((ATTENTION, packages, lambda: OrtRunner(path, threads=threads, model=attending)))
    openvino = partial(OpenVinoRunner, standard, manifest.promise, artifact=one.spec, threads=threads)
    makers.append((OpenVinoRunner.kind, ("openvino", "onnx"), openvino))
    entries = []
    for kind, packages, make in makers:
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            why = f"{' and '.join(missing)} not installed (pip install {' '.join(missing)})"
            entries.append(Entry(None, None, kind, one.spec, why_not=why))
            continue
        runner = make()
        runner.kind = kind
        entries.append(Entry(runner, _reference(one.spec), kind, one.spec, optional=True))
    return entries


def _loaded(path: Path) -> ModelProto:
    import onnx

    return onnx.load(path)

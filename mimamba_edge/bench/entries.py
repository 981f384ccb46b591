"""What `bench` puts side by side for each model that is named, and what each is verified against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimamba_edge.bench.run import Entry, Expected
    from mimamba_edge.parity.windows import WindowSet

__all__ = ["Variant", "entries_of", "of_other_weights"]

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
) -> list[Entry]:
    """Return the entries of a benchmark, checkpoints first.

    A checkpoint gives three rows: PyTorch eager with the parallel convolutions of the paper (which the
    others are compared with), the same under torch.compile, and eager with the fused ops. They are
    verified against the float64 oracle. An exported file is verified against the ``.ref.npz`` beside it;
    an engine gives two rows, with and without CUDA graphs, and so does a file that native ops run, with and
    without them.

    Args:
        models: Named on the command line, or variants of one, each with what runs it.
        windows: Those that will be timed; the oracle answers the first of them.
        threads: Threads of one op.
        batches: Batch sizes that will be timed.

    Raises:
        MimambaError: A model cannot be opened.
    """
    from mimamba_edge.bench.run import Entry
    from mimamba_edge.load import is_checkpoint

    entries: list[Entry] = []
    for one in sorted(models, key=lambda variant: not is_checkpoint(variant.spec)):
        if is_checkpoint(one.spec):
            entries += _checkpoint(one.spec, windows, threads)
        elif one.why_not:
            kind = "tensorrt" if one.provider == "tensorrt" else f"onnxruntime-{one.provider}"
            entries.append(Entry(None, None, kind, one.spec, why_not=one.why_not, accuracy=one.accuracy))
        else:
            entries += _exported(one, threads, batches)
    return entries


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


def _checkpoint(spec: str, windows: WindowSet, threads: int) -> list[Entry]:
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

    entries = [
        Entry(TorchRunner(spec, mode="parallel", threads=threads), expected, "torch-eager-parallel", spec)
    ]
    if cpp_compiler() is None:
        why = "no C++ compiler, which torch.compile needs (install g++)"
        entries.append(Entry(None, None, "torch-compile", spec, why_not=why))
    else:
        compiled = TorchRunner(spec, mode="compile", threads=threads)
        entries.append(Entry(compiled, expected, "torch-compile", spec, optional=True))
    # Auxiliary outputs cost time, which no other row pays for.
    fused = TorchRunner(spec, mode="eager", threads=threads, auxiliary=False)
    return [*entries, Entry(fused, expected, "torch-eager-fused", spec)]


def _exported(one: Variant, threads: int, batches: Sequence[int]) -> list[Entry]:
    from mimamba_edge.bench.run import Entry, Expected
    from mimamba_edge.load import load_model
    from mimamba_edge.runtime.ort import NATIVE
    from mimamba_edge.runtime.reference import Reference, reference_path

    spec, provider = one.spec, one.provider
    runners = [load_model(spec, provider=provider, threads=threads, batches=batches)]
    if runners[0].kind == "tensorrt":
        runners.append(load_model(spec, provider=provider, batches=batches, graph=False))
    if runners[0].kind.endswith(NATIVE):
        runners.insert(0, load_model(spec, provider=provider, threads=threads, native_ops=False))
    reference = Reference.beside(Path(spec))

    def expected() -> Expected:
        return Expected(reference.windows, reference.outputs, reference_path(Path(spec)).name, "fp32")

    return [Entry(runner, expected, runner.kind, spec, accuracy=one.accuracy) for runner in runners]

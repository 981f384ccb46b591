"""From a checkpoint to verified files: ``NAME.onnx``, ``NAME.trt.onnx``, ``NAME.ref.npz``, manifests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, helper

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import METADATA_KEY, WINDOWS, Contract
from mimamba_edge.errors import CheckpointError, ConfigError
from mimamba_edge.export.checkpoint import load_checkpoint
from mimamba_edge.export.network import Network
from mimamba_edge.export.onnx.check import Expected, check_graph
from mimamba_edge.export.onnx.functions import attach_functions
from mimamba_edge.export.onnx.linear_attention import need_linear_attention
from mimamba_edge.export.onnx.publish import Artefacts, checked_name, files_of, publish
from mimamba_edge.export.onnx.scan_body import FORMS, LINEAR_ATTENTION, STANDARD
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.export.onnx.tidy import tidy
from mimamba_edge.export.onnx.translate import trace
from mimamba_edge.export.onnx.verify import answers, verify
from mimamba_edge.family import family_named
from mimamba_edge.parity.compare import Parity
from mimamba_edge.parity.windows import WindowSet, find_windows
from mimamba_edge.runtime.ort import load_onnxruntime

__all__ = ["ExportResult", "check_form", "export_checkpoint", "files_of", "output_beside", "to_onnx"]

_WINDOWS = 128
_FEWEST_WINDOWS = 64
"""Reference windows of a model with large windows, which take long."""
_LARGE = 1 << 12
"""Numbers in a window from which it counts as large."""


@dataclass(frozen=True, repr=False)
class ExportResult:
    """What an export made.

    Attributes:
        files: The artefacts, without their manifests.
        parity: The check that let them be published.
        windows: What it ran on.
    """

    files: tuple[Path, ...]
    parity: Parity
    windows: WindowSet

    def __repr__(self) -> str:
        files = ", ".join(path.name for path in self.files)
        said = {"files": f"[{files}]", **self._told()}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in said.items())})"

    def _told(self) -> dict[str, object]:
        """Return what else a short text of the result says."""
        sqnr = self.parity.sqnr_db
        return {"sqnr_db": None if sqnr is None else round(sqnr, 1)}

    def notes(self) -> list[str]:
        """Return in words what else a user should know."""
        return []


def to_onnx(model: Network, contract: Contract, form: str = STANDARD) -> ModelProto:
    """Return the portable ONNX model of a network: checked, with bodies and contract, not yet verified.

    Args:
        model: The network.
        contract: Its contract.
        form: Of the scans' bodies, one of :data:`FORMS`.

    Raises:
        ExportError: The model cannot be exported, or its graph breaks a rule.
    """
    expected = _expected(model)
    proto = trace(model.frozen())
    tidy(proto, name=type(model).__name__)
    attach_functions(proto, form)
    helper.set_model_props(proto, {METADATA_KEY: contract.to_json()})
    check_graph(proto, expected)
    return proto


def _expected(model: Network, *, bodies: bool = True) -> Expected:
    return Expected(family_named(model.family).custom_nodes(model.config.to_dict()), bodies)


def output_beside(checkpoint: Path) -> Path:
    """Return where a checkpoint is exported to by default: beside it, under its name.

    Raises:
        CheckpointError: It is not there, is no file, or is an exported model.
    """
    if not checkpoint.is_file():
        raise CheckpointError(
            f"the checkpoint {checkpoint} is not there",
            got="a folder" if checkpoint.is_dir() else None,
            do="check the path",
        )
    if checkpoint.suffix == ".onnx":
        raise CheckpointError(
            f"{checkpoint} is an exported model, not a checkpoint",
            expected=".pt or .safetensors",
            do="name the checkpoint that it was exported from",
        )
    return checkpoint.with_suffix(".onnx")


def export_checkpoint(
    checkpoint: Path | str,
    out: Path | str,
    *,
    data: Path | None = None,
    inline: bool = False,
    form: str = STANDARD,
    progress: Callable[[str], None] | None = None,
) -> ExportResult:
    """Write the artefacts of a checkpoint, all together and only if they agree with it.

    The reference windows are those of the recordings in ``data``, else simulated EEG (seeded) that went
    through the contract's own signal path.

    Args:
        checkpoint: ``.pt`` or ``.safetensors``.
        out: ``NAME.onnx``.
        data: A recording or a folder of recordings.
        inline: Write ``NAME.inline.onnx`` as well.
        form: Of the scans' bodies, one of :data:`FORMS`.
        progress: Told what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: ``out`` is not a name for a portable file, or the form is unknown or cannot be inlined.
        DataError: The recordings cannot be used.
        DependencyError: onnxruntime is not installed, or too old for the form.
        ExportError: The model cannot be exported.
        GateError: The exported file does not agree with the checkpoint.
        OutputError: The files cannot be written.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    say = progress or (lambda _: None)
    checked_name(out)
    check_form(form, inline)  # before the long work: what verifies the file must be there
    say("reading the checkpoint")
    held = load_checkpoint(checkpoint)
    source, model, contract = sha256_file(checkpoint), held.build(), held.contract
    say("tracing the model")
    portable = to_onnx(model, contract, form)
    tensorrt = tensorrt_form(portable)
    check_graph(tensorrt, _expected(model, bodies=False))
    say("running the checkpoint on reference windows")
    size = held.config.n_chans * held.config.n_times
    windows = find_windows(contract, data=data, limit=_FEWEST_WINDOWS if size >= _LARGE else _WINDOWS)
    reference = answers(model, contract, windows.data)

    def judge(path: Path) -> Parity:
        say(f"verifying {path.name} in ONNX Runtime")
        return verify(path, reference, windows.data)

    made = Artefacts(portable, tensorrt, {WINDOWS: windows.data, **reference}, windows)
    files, parity = publish(out, made, contract, source_sha256=source, judge=judge, form=form, inline=inline)
    return ExportResult(files, parity, windows)


def check_form(form: str, inline: bool) -> None:
    """Check that files of a form can be made and verified here.

    Raises:
        ConfigError: There is no such form, or it cannot be inlined.
        DependencyError: onnxruntime is not installed, or too old for it.
    """
    if form not in FORMS:
        raise ConfigError("not a form of an exported file", got=form, expected=" or ".join(FORMS))
    load_onnxruntime()
    if form == LINEAR_ATTENTION:
        need_linear_attention()
        if inline:
            raise ConfigError(
                "an inlined file holds standard ops only",
                got=f"--form {form} with --inline",
                do="leave out one of the two",
            )

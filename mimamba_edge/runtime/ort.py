"""ONNX Runtime: runs the portable artefacts, whose custom ops carry bodies of standard ops."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.artifact import INLINED, Manifest
from mimamba_edge.errors import (
    ArtifactError,
    ConfigError,
    DependencyError,
    PluginError,
    RunnerError,
    pip_install,
)
from mimamba_edge.runtime.base import Arrays, Runner, check_ops, check_windows, start_states
from mimamba_edge.runtime.bound import BoundRun
from mimamba_edge.runtime.expansion import check_expansion
from mimamba_edge.runtime.inside import check_contract, check_tensors
from mimamba_edge.runtime.load_error import load_error
from mimamba_edge.runtime.native_ops import (
    CPU,
    PRECISIONS,
    NativeOps,
    register,
    usable_native_ops,
    warn_of_bodies,
)
from mimamba_edge.runtime.options import RunnerOptions
from mimamba_edge.runtime.patience import answer_within, first_run_s

__all__ = [
    "NATIVE",
    "PROVIDERS",
    "OrtRunner",
    "load_onnxruntime",
    "metadata_of",
    "open_runner",
    "open_session",
    "preload_cuda",
]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Execution providers by the name the command line uses."""

NATIVE = "-native"
"""Ends the kind of a runner whose custom ops are those of the library."""


def load_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise DependencyError(
            "running an .onnx file needs onnxruntime, which cannot be imported",
            got=error,
            do=f"{pip_install('cpu')}; `mimamba-edge doctor` checks it",
        ) from error


def preload_cuda(ort: Any) -> None:
    """Load the CUDA and cuDNN libraries that pip installed, where ONNX Runtime does not look by itself.

    ``pip install "onnxruntime-gpu[cuda,cudnn]"`` puts them into site-packages. Those of the system and of a
    Jetson are found without this. What is missing shows when the provider is used.
    """
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):  # it prints what it lacks
        ort.preload_dlls()  # since 1.21


def open_session(
    model: Path | bytes,
    *,
    name: str,
    provider: str = "cpu",
    threads: int | None = None,
    native_ops: NativeOps | None = None,
) -> Any:
    """Return an ``InferenceSession`` of a file or of a serialised model.

    Threads do not spin while they wait: a wearable has better uses for its cores, and a benchmark of
    several runtimes in one process would measure the neighbours' spinning.

    Args:
        model: The file, or the bytes of a model.
        name: What to call it in errors.
        provider: Key of :data:`PROVIDERS`.
        threads: Threads inside one op; ``None`` leaves the choice to ONNX Runtime.
        native_ops: Library whose kernels run the custom ops; ``None``: their function bodies.

    Raises:
        DependencyError: onnxruntime is not installed.
        ConfigError: Unknown provider, or threads below one.
        PluginError: ONNX Runtime does not take the library.
        RunnerError: The provider is not in this installation or cannot be used on this machine.
        ArtifactError: The model cannot be loaded.
    """
    if provider not in PROVIDERS:
        raise ConfigError("unknown provider", got=provider, expected=" or ".join(PROVIDERS))
    if threads is not None and threads < 1:
        raise ConfigError("the number of threads must be at least one", got=threads)
    ort = load_onnxruntime()
    if PROVIDERS[provider] not in ort.get_available_providers():
        raise RunnerError(
            f"this onnxruntime has no {provider} provider",
            got=", ".join(ort.get_available_providers()),
            expected=PROVIDERS[provider],
            do="use --provider cpu, or install onnxruntime-gpu in place of onnxruntime (never both)",
        )
    options = ort.SessionOptions()
    if provider != CPU:
        preload_cuda(ort)
    options.log_severity_level = 4
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
    if native_ops is not None:
        register(options, native_ops)
    check_expansion(model, name)
    source = model if isinstance(model, bytes) else str(model)
    try:
        # Else a provider that fails in a run is replaced by the CPU, and one line of print tells so.
        session = ort.InferenceSession(source, options, _with_fallback(provider), enable_fallback=0)
    except Exception as error:
        raise load_error(name, error, ort.__version__) from error
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise RunnerError(
            f"onnxruntime could not use its {provider} provider on this machine",
            got=", ".join(session.get_providers()),
            expected=PROVIDERS[provider],
            do="use --provider cpu, or see `mimamba-edge doctor` for the CUDA libraries it needs",
        )
    return session


def metadata_of(session: Any, name: str) -> dict[str, str]:
    """Return the texts that a model's file carries, by key.

    Raises:
        ArtifactError: They are no text.
    """
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except Exception as error:  # of several classes, by version
        raise ArtifactError(f"the metadata of {name} is not text", got=error, do="export it again") from error


def _with_fallback(provider: str) -> list[str]:
    return list(dict.fromkeys((PROVIDERS[provider], PROVIDERS["cpu"])))


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner of a file, not yet activated."""
    return OrtRunner(path, provider=options.provider, threads=options.threads, native_ops=options.native_ops)


class OrtRunner(Runner):
    """Runs an exported ``.onnx`` in ONNX Runtime.

    The manifest beside the file is required: it names the bytes that the export verified. Its contract is
    there before the file is loaded and is compared with the one inside.

    Args:
        path: The portable ``NAME.onnx``.
        provider: ``"cpu"`` or ``"cuda"``.
        threads: Threads inside one op; ``None`` leaves the choice to ONNX Runtime.
        model: Bytes to load in place of the file's, or what gives them when they are loaded, of a model
            derived from it (with added outputs, or another form).
        auxiliary: Names of the outputs that were added.
        native_ops: Run the custom ops of a file of :data:`PRECISIONS` by the library of native ops, where one
            is built for the provider.

    Raises:
        ArtifactError: The file or its manifest is missing, they disagree, or it is for TensorRT.
        ContractError: The contract or the op versions do not fit this build.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        model: bytes | Callable[[], bytes] | None = None,
        auxiliary: tuple[str, ...] = (),
        native_ops: bool = False,
    ) -> None:
        self._path = Path(path)
        self.artifact = str(path)
        if self._path.name.endswith(".trt.onnx"):
            portable = self._path.with_name(self._path.name.removesuffix(".trt.onnx") + ".onnx")
            raise ArtifactError(
                f"{path} is for TensorRT: ONNX Runtime cannot run its custom ops",
                do=f"use the portable file, {portable}, or on a device with TensorRT --provider tensorrt",
            )
        manifest = Manifest.load(self._path)
        self.manifest = manifest
        self.promise = manifest.promise
        self.kind = f"onnxruntime-{provider}"
        self.precision = manifest.precision
        self.auxiliary = auxiliary
        check_ops(self.promise)
        self.least_batch, self.most_batch = self.signature.batch or 1, self.signature.batch
        has_ops = manifest.kind != INLINED and self.precision in PRECISIONS
        self._ops = usable_native_ops(provider) if native_ops and has_ops and provider in PROVIDERS else None
        if self._ops is not None:
            self.kind += NATIVE
        self._provider, self._threads, self._model = provider, threads, model
        self._session: Any = None
        self._bound: BoundRun | None = None
        self._answered, self._nodes = False, 0
        self._outputs = [*(tensor.name for tensor in self.signature.outputs), *auxiliary]

    def activate(self) -> None:
        """Create the session.

        Raises:
            MimambaError: As :func:`open_session`, or the file's own contract or tensors do not fit.
        """
        session = self._open()
        if self._model is None:
            check_contract(self._path, metadata_of(session, self.artifact), self.promise)
        check_tensors(self._path, session, self.signature)
        if self._provider == "cpu" and not self.auxiliary and not self.signature.states:
            self._bound = BoundRun(session, self.signature)
        self._session = session

    def _open(self) -> Any:
        derived = self._model() if callable(self._model) else self._model
        model = self._path if derived is None else derived

        def opened(ops: NativeOps | None) -> Any:
            return open_session(
                model, name=self.artifact, provider=self._provider, threads=self._threads, native_ops=ops
            )

        self._nodes = check_expansion(model, self.artifact)
        if self._ops is None:
            return opened(None)
        try:
            session = opened(self._ops)
        except (PluginError, ArtifactError) as error:
            session = opened(None)  # a damaged file says so here
            warn_of_bodies(error)
            self._ops, self.kind = None, self.kind.removesuffix(NATIVE)
        else:
            about = self._ops
            code = (
                {"instruction_set": about.target}
                if self._provider == CPU
                else {"architectures": list(about.architectures)}
            )
            self.report = {"native_ops": {"sha256": about.sha256, **code}}
        return session

    @property
    def session(self) -> Any:
        """The ``InferenceSession`` while the runner is active.

        Raises:
            RunnerError: It is not.
        """
        if self._session is None:
            raise RunnerError(f"{self.artifact} is not loaded", do="use the runner in a `with` block")
        return self._session

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            RunnerError: The windows do not fit the model, or ONNX Runtime failed.
        """
        session, windows = self.session, check_windows(feeds, self.promise)
        try:
            values = None
            if self._bound is not None and self._answered and len(windows) == 1:
                values = self._bound.run(windows)
            if values is None:
                feeds = {self.signature.input.name: np.ascontiguousarray(windows)}
                feeds |= start_states(self.signature, len(windows))
                values = session.run(self._outputs, feeds) if self._answered else self._first(feeds)
        except RunnerError:
            raise
        except Exception as error:
            raise RunnerError(f"ONNX Runtime failed while it ran {self.artifact}", got=error) from error
        self._answered = True
        return dict(zip(self._outputs, values, strict=True))

    def _first(self, feeds: Arrays) -> list[Any]:
        """Run a model that has not answered yet.

        Raises:
            RunnerError: It gave no answer in time.
        """
        options, windows = load_onnxruntime().RunOptions(), len(next(iter(feeds.values())))
        limit_s = first_run_s(self._provider, windows, self._nodes)
        session, outputs = self._session, self._outputs
        try:
            values: list[Any] = answer_within(lambda: session.run(outputs, feeds, options), limit_s)
        except TimeoutError:
            raise RunnerError(
                f"{self.artifact} gave no answer",
                got=f"nothing within {limit_s:.3g} s for {windows} window(s)",
                do="use a file that `mimamba-edge export` wrote; this one may contain an endless loop",
            ) from None
        finally:
            options.terminate = True  # ONNX Runtime looks at it between two nodes, in loops too
        return values

    def deactivate(self) -> None:
        """Release the session."""
        self._session = self._bound = None

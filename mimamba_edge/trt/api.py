"""TensorRT 10.3 to 11.x behind one interface: the one module that knows where their Python APIs differ.

What changed between them (NVIDIA/TensorRT, ``python/src/infer/pyCore.cpp`` and ``include/NvInfer.h`` of tags
v10.3.0 to v11.1) and how it is met:

- 11 is strongly typed only; the flag ``STRONGLY_TYPED`` is bit 1 in 10 and bit 0, deprecated and ignored, in
  11: it is set in 10, left out in 11. ``EXPLICIT_BATCH`` is ignored in 10 and gone in 11: never set.
- The builder flags FP16 and INT8 and the calibrators are gone in 11: never used; precision lives in the file.
- A ``Builder`` or ``Runtime`` that cannot be created is a null pointer, which pybind11 turns into TypeError;
  a plan that cannot be read and a network that cannot be built are None; neither says why. The logger does.

What stayed: TF32 is on by default (``BuilderFlag::kTF32``) and rounds float32 to 10 bits of mantissa. An fp32
artefact means fp32, so it is cleared.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mimamba_edge.errors import DependencyError, EngineError
from mimamba_edge.naming import version_numbers

__all__ = ["FIRST_VERSION", "Api", "Built", "Refusal", "Shapes", "load_tensorrt"]

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Least, best and most of an input's shape; thrice the same for a static one."""

FIRST_VERSION = (10, 3)
"""The oldest TensorRT whose plugin interface and Python API this build uses."""

_PARTIAL = ("tensorrt_lean", "tensorrt_dispatch", "tensorrt_lean_bindings", "tensorrt_dispatch_bindings")
_KEPT = 200
"""Messages of TensorRT that are held for an error's text."""

_held: Api | None = None


def load_tensorrt() -> Api:
    """Return TensorRT, of which a process has one: its first logger stays its logger.

    Raises:
        DependencyError: TensorRT is not installed or cannot be imported.
        EngineError: It is older than :data:`FIRST_VERSION`, or only its lean or dispatch runtime is there.
    """
    global _held
    try:
        module: Any = importlib.import_module("tensorrt")
    except Exception as error:
        raise _absent(error) from error
    if _held is not None and _held.trt is module:
        return _held
    text = str(getattr(module, "__version__", "without a version"))
    version = version_numbers(text)
    if version[:2] < FIRST_VERSION:
        raise EngineError(
            "this TensorRT is too old for the plugins",
            got=f"{text}, {getattr(module, '__file__', None)}",
            expected="10.3 or later",
            do="on a Jetson JetPack 6.1 or later; elsewhere NVIDIA's packages",
        )
    if not hasattr(module, "Builder"):
        raise _only_partial([str(getattr(module, "__file__", "tensorrt"))])
    _held = Api(module, version, text)
    return _held


def _absent(error: Exception) -> DependencyError | EngineError:
    missing = isinstance(error, ModuleNotFoundError) and error.name == "tensorrt"
    partial = [name for name in _PARTIAL if importlib.util.find_spec(name)] if missing else []
    if partial:
        return _only_partial(partial)
    return DependencyError(
        "TensorRT is not installed in this Python" if missing else "TensorRT cannot be imported",
        got=sys.executable if missing else f"{type(error).__name__}: {error}",
        expected="TensorRT 10.3 or later, with its Python package",
        do="on a Jetson it comes with JetPack: python3 -m venv --system-site-packages, not with pip; "
        "elsewhere NVIDIA's packages for the driver's CUDA version; `mimamba-edge doctor` shows more",
    )


def _only_partial(names: Sequence[str]) -> EngineError:
    return EngineError(
        "only the lean or dispatch runtime of TensorRT is there, which can neither build nor run our engines",
        got=", ".join(names),
        expected="the full TensorRT, 10.3 or later, as the package tensorrt",
        do="install NVIDIA's full packages of the same version",
    )


@dataclass
class Built:
    """What a build gives.

    Attributes:
        plan: The serialised engine.
        timings: The timing cache as it is now; empty if TensorRT gave none.
        notes: What the user should know of.
    """

    plan: bytes
    timings: bytes = b""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Refusal:
    """Why the ONNX parser does not take a file.

    Attributes:
        number: Of the node; -1 for the file.
        node: Its name, which may be empty.
        op: Its op.
        reason: The parser's words.
    """

    number: int
    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        where = f"node {self.number} {self.node} ({self.op}): " if self.node or self.op else ""
        return f"{where}{self.reason}"


def _make_logger(trt: Any) -> Any:
    """Return an ``ILogger`` that keeps what TensorRT says."""
    severity = trt.ILogger.Severity
    worst = {int(getattr(severity, name)): name for name in ("INTERNAL_ERROR", "ERROR", "WARNING")}

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps warnings and errors, and passes every message on to ``sink`` if one is set."""

        def __init__(self) -> None:
            # pybind11 wants its own constructor called, not super()'s.
            trt.ILogger.__init__(self)
            self.messages: deque[tuple[str, str]] = deque(maxlen=_KEPT)
            self.sink: Callable[[str, str], None] | None = None

        def log(self, severity: Any, msg: str) -> None:
            """Take a message; called by TensorRT from any thread."""
            name = worst.get(int(severity))
            if name is not None:
                self.messages.append((name, msg))
            if self.sink is not None:
                self.sink(str(getattr(severity, "name", severity)), msg)

        def forget(self) -> None:
            """Drop what is held, so that the next error quotes only what belongs to it."""
            self.messages.clear()

        def words(self, last: int = 3) -> str | None:
            """Return the last error messages as one text; ``None`` if TensorRT said nothing of the kind."""
            errors = [text for name, text in self.messages if name != "WARNING"]
            return "; ".join(errors[-last:]) or None

    return Logger()


class Api:
    """One TensorRT.

    Args:
        trt: The module.
        version: Its version as numbers.
        version_text: Its version as it gives it.

    Attributes:
        trt: The module.
        version: ``(10, 3, 0)``.
        version_text: ``"10.3.0"``.
        logger: Subclass of ``ILogger``: ``messages``, ``words(last)``, ``forget()``, ``sink``.
    """

    def __init__(self, trt: Any, version: tuple[int, ...], version_text: str) -> None:
        self.trt, self.version, self.version_text = trt, version, version_text
        self.logger = _make_logger(trt)
        self._runtime: Any = None

    def _create(self, kind: str) -> Any:
        """Return a new ``Runtime`` or ``Builder``."""
        self.logger.forget()
        try:
            return getattr(self.trt, kind)(self.logger)
        except TypeError as error:
            raise EngineError(
                f"TensorRT cannot start its {kind.lower()}",
                got=self.logger.words() or error,
                do="check that the driver is there and fits this TensorRT: `mimamba-edge doctor`",
            ) from error

    def deserialize(self, plan: bytes) -> Any:
        """Return the ``ICudaEngine`` of a plan. Plugins it uses must be loaded before.

        A plan holds code: check its hash against its manifest first (:mod:`mimamba_edge.trt.plan`).

        Raises:
            EngineError: TensorRT did not accept the engine.
        """
        if self._runtime is None:
            self._runtime = self._create("Runtime")
        self.logger.forget()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(
                "TensorRT did not accept the engine",
                got=self.logger.words() or "no reason given",
                expected=f"a plan of TensorRT {self.version_text} for this device",
                do="build it here: mimamba-edge build NAME.trt.onnx",
            )
        return engine

    def build(
        self,
        onnx: bytes,
        *,
        shapes: Mapping[str, Shapes],
        workspace_bytes: int,
        timings: bytes = b"",
        on_progress: Callable[[str, float], bool] = lambda phase, share: True,
    ) -> Built:
        """Build the plan of an ONNX file, strongly typed: its types are the engine's.

        An input whose three shapes are equal gets that shape in the network, before building: then the
        engine's tensors and the plugins see static shapes. A profile of three equal shapes would leave them
        dynamic (-1) in the engine. Setting it recomputes all tensors that depend on it (NvInfer.h,
        ``ITensor::setDimensions``); NVIDIA's sample yolov3_onnx does so.

        Args:
            onnx: The file's bytes. Plugins of its custom nodes must be loaded before.
            shapes: Of every input.
            workspace_bytes: Memory that a layer may use for intermediate results.
            timings: A timing cache that an earlier build gave.
            on_progress: Called from TensorRT's threads with what is done now and the share of all that is
                done, 0 to 1; false ends the build.

        Raises:
            EngineError: The file cannot be parsed, or no engine can be built; TensorRT is quoted.
        """
        trt = self.trt
        builder = self._create("Builder")
        network = self._network(builder)
        if refused := self._parse(network, onnx):
            raise EngineError(
                "TensorRT cannot parse the model",
                got="; ".join(map(str, refused)),
                do="mimamba-edge inspect FILE --target tensorrt-VERSION shows what TensorRT cannot run; "
                "if a plugin is not found: mimamba-edge plugin list",
            )
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        self._set_shapes(builder, network, config, shapes)
        cache, notes = self._timing_cache(config, timings)
        # Held here, because TensorRT wants monitor and cache to outlive the build.
        monitor = _make_monitor(trt, on_progress)
        config.progress_monitor = monitor
        self.logger.forget()
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(
                "TensorRT could not build the engine",
                got=self.logger.words() or "no reason given",
                do="if memory ran out, close other programs or build for a smaller batch; otherwise see "
                "the log",
            )
        kept = b"" if cache is None else bytes(memoryview(cache.serialize()))
        return Built(bytes(memoryview(plan)), kept, notes)

    def refusals(self, onnx: bytes) -> list[Refusal]:
        """Return what the ONNX parser refuses of a file; nothing if it takes it.

        Args:
            onnx: The file's bytes. Plugins of its custom nodes must be loaded before.

        Raises:
            EngineError: The parser cannot be started: it needs the driver.
        """
        return self._parse(self._network(self._create("Builder")), onnx)

    def _network(self, builder: Any) -> Any:
        flags = self.trt.NetworkDefinitionCreationFlag
        return builder.create_network(1 << int(flags.STRONGLY_TYPED) if self.version[0] < 11 else 0)

    def _parse(self, network: Any, onnx: bytes) -> list[Refusal]:
        parser = self.trt.OnnxParser(network, self.logger)
        if parser.parse(onnx):
            return []
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        told = [Refusal(e.node(), e.node_name(), e.node_operator(), e.desc()) for e in errors]
        return told or [Refusal(-1, "", "", self.logger.words() or "no reason given")]

    def _set_shapes(self, builder: Any, network: Any, config: Any, shapes: Mapping[str, Shapes]) -> None:
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        if sorted(tensor.name for tensor in inputs) != sorted(shapes):
            raise EngineError(
                "the model has different inputs",
                got=[tensor.name for tensor in inputs],
                expected=sorted(shapes),
            )
        profile = builder.create_optimization_profile()
        dynamic = False
        for tensor in inputs:
            least, best, most = shapes[tensor.name]
            held = tuple(tensor.shape)
            fits = all(
                len(held) == len(shape) and all(a in (-1, b) for a, b in zip(held, shape, strict=True))
                for shape in (least, best, most)
            )
            if not fits:
                raise EngineError(
                    f"the model's input {tensor.name} does not take this shape (-1: any)",
                    got=f"{best} of {least} to {most}",
                    expected=held,
                )
            if least == most:
                tensor.shape = best
            else:
                profile.set_shape(tensor.name, least, best, most)
                dynamic = True
        if dynamic and config.add_optimization_profile(profile) < 0:
            raise EngineError("TensorRT refuses the shapes", got=dict(shapes), expected="ascending shapes")

    def _timing_cache(self, config: Any, timings: bytes) -> tuple[Any, list[str]]:
        """Attach the timing cache, or an empty one if that cannot be used; return it and notes."""
        notes: list[str] = []
        for data in (timings, b"") if timings else (b"",):
            cache = config.create_timing_cache(data)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache, notes
            if data:
                why = self.logger.words(1) or "it is from another device or version"
                notes.append(f"TensorRT did not accept the timing cache: ignored ({why})")
        return None, notes


def _make_monitor(trt: Any, on_progress: Callable[[str, float], bool]) -> Any:
    """Return an ``IProgressMonitor`` that makes one share of the nested phases TensorRT reports.

    Phases form trees: each has a number of steps, and a phase within another is part of the step that runs
    (NvInfer.h, IProgressMonitor; it is called from several threads).
    """
    lock = threading.Lock()
    phases: dict[str, list[Any]] = {}

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.share = 0.0

        def _tell(self, name: str) -> bool:
            share, weight, seen = 0.0, 1.0, name
            path = []
            while seen in phases and seen not in path:
                path.append(seen)
                seen = phases[seen][0] or ""
            for phase in reversed(path):
                _, steps, done = phases[phase]
                share += weight * done / steps
                weight /= steps
            # A build may have several trees: the bar never goes back.
            self.share = max(self.share, min(share, 1.0))
            return on_progress(name, self.share)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with lock:
                phases[phase_name] = [parent_phase, max(num_steps, 1), 0]
                self._tell(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with lock:
                if phase_name in phases:
                    phases[phase_name][2] = min(step + 1, phases[phase_name][1])
                return self._tell(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            with lock:
                phases.pop(phase_name, None)

    return Monitor()

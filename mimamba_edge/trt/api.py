"""TensorRT 10.3 to 11.x behind one face: the one module that knows where their Python APIs differ.

What changed between them (NVIDIA/TensorRT, ``python/src/infer/pyCore.cpp`` and ``include/NvInfer.h`` of tags
v10.3.0 to v11.1) and how it is met:

- 11 is strongly typed only; the flag ``STRONGLY_TYPED`` is 1 in 10 and 0, deprecated and ignored, in 11. It is
  set in 10 and left out in 11. ``EXPLICIT_BATCH`` is ignored in 10 and gone in 11: never set.
- The builder flags FP16 and INT8 and the calibrators are gone in 11: never used; precision lives in the file.
- A ``Builder`` or ``Runtime`` that cannot be created is a null pointer, which pybind11 turns into TypeError;
  a plan that cannot be read and a network that cannot be built are None; neither says why. The logger does.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mimamba_edge.errors import DependencyError, EngineError

__all__ = ["FIRST_VERSION", "Api", "load_tensorrt"]

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
    version = tuple(int(part) for part in re.findall(r"\d+", text))
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
        do="on a Jetson it comes with JetPack: python3 -m venv --system-site-packages, never pip; elsewhere "
        "NVIDIA's packages for the driver's CUDA version; `mimamba-edge doctor` looks closer",
    )


def _only_partial(names: Sequence[str]) -> EngineError:
    return EngineError(
        "only the lean or dispatch runtime of TensorRT is there, which builds no engines and runs none of ours",
        got=", ".join(names),
        expected="the full TensorRT, 10.3 or later, as the package tensorrt",
        do="install NVIDIA's full packages of the same version",
    )


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
            EngineError: TensorRT refuses the plan.
        """
        if self._runtime is None:
            self._runtime = self._create("Runtime")
        self.logger.forget()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(
                "TensorRT refuses the plan",
                got=self.logger.words() or "no reason given",
                expected=f"a plan of TensorRT {self.version_text} for this device",
                do="build it here: mimamba-edge build NAME.trt.onnx",
            )
        return engine

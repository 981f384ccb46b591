"""Compiled modules that a model's package imports and that are not needed once its scans are replaced."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

from mimamba_edge.errors import ExportError

__all__ = ["COMPILED", "Absent", "without_compiled_modules"]

COMPILED: tuple[str, ...] = (
    "causal_conv1d",
    "causal_conv1d_cuda",
    "selective_scan_cuda",
    "selective_scan_cuda_core",
    "selective_scan_cuda_ndstate",
    "selective_scan_cuda_nrow",
    "selective_scan_cuda_oflex",
    "triton",
)
"""Extensions of mamba_ssm, causal-conv1d and VMamba, and the language that their other kernels are in."""


_LOOKING = ("transformers", "torch")
"""Packages that look whether these are there and do without them where they are not."""
_loading = [False]


def _importer() -> str:
    """Return the package that asks for a module: the innermost that is neither Python's own nor this one."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package not in ("importlib", "_frozen_importlib", "_frozen_importlib_external", "mimamba_edge"):
            return package
        frame = frame.f_back
    return ""


class Absent:
    """What a stub gives for every name: good for what runs while modules load, of no use as a kernel."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Decorate: a kernel becomes a name of itself, anything else stays.

        Raises:
            ExportError: The model is already there, and runs it.
        """
        if not _loading[0]:
            raise ExportError(
                f"the model runs {self._name}, which is compiled and not installed",
                do="make the model take its plain PyTorch path, or mark its scan with as_selective_scan",
            )
        if len(args) == 1 and not kwargs and callable(args[0]):
            kernel = isinstance(args[0], FunctionType)
            return Absent(f"{args[0].__module__}.{args[0].__qualname__}") if kernel else args[0]
        return self

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __getitem__(self, key: object) -> Absent:
        return self

    def __iter__(self) -> Iterator[Absent]:
        return iter((self,))

    def __le__(self, other: object) -> bool:
        return True  # lists of a kernel's configurations are filtered while modules load

    def __lt__(self, other: object) -> bool:
        return True


class _Stub(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self.__name__}.{name}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last to be asked: what others find is not replaced."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in COMPILED or _importer() in _LOOKING:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        stub = _Stub(spec.name)
        stub.__version__ = "3.0.0"  # type: ignore[attr-defined]
        return stub

    def exec_module(self, module: ModuleType) -> None:
        """Leave the stub as it is."""


@contextlib.contextmanager
def without_compiled_modules() -> Iterator[None]:
    """Let imports of :data:`COMPILED` succeed with stubs where those modules are not installed.

    Afterwards the stubs are forgotten, so that nobody else takes them for the real thing.
    """
    from torch.utils import _triton

    _triton.has_triton_package()  # remembers its answer, which the stub would change
    finder = _Finder()
    sys.meta_path.append(finder)
    _loading[0] = True
    try:
        yield
    finally:
        _loading[0] = False
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Stub)]:
            del sys.modules[name]

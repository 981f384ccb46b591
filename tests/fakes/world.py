"""What all fake TensorRT objects share: the machine, how pybind11's classes behave, loggers, small types.

Sources, NVIDIA/TensorRT at tag release/10.3: pyCore.cpp and pyFoundationalTypes.cpp are in python/src/infer/,
NvInferRuntime.h in include/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.fakes.cudart import FakeCuda
from tests.fakes.names import make_enum

Model = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass
class World:
    """One machine with TensorRT: what all its objects share.

    Attributes:
        flavour: ``"10.3"`` or ``"11"``.
        version: TensorRT's full version.
        cuda: Its CUDA device.
        model: What every engine computes, by tensor name.
        messages: All that was said to loggers: ``(severity's name, text)``.
        engines: Engines that are alive; a plugin library must outlive them.
        faults: Names of calls that fail once.
        builds: How many networks were built.
    """

    flavour: str
    version: str
    cuda: FakeCuda
    model: Model | None = None
    messages: list[tuple[str, str]] = field(default_factory=list)
    engines: list[int] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    builds: int = 0
    registry: Any = None
    logger: Any = None

    def enum(self, name: str) -> Any:
        return make_enum(self.flavour, name)

    def say(self, logger: Any, severity: str, text: str) -> None:
        """Give a message to a logger. What ``log`` raises is printed and lost (pyCore.cpp, PyLogger::log)."""
        self.messages.append((severity, text))
        try:
            logger.log(self.enum("ILogger.Severity")[severity], text)
        except Exception as error:
            print(f"[ERROR] Exception caught in log(): {error}")

    def take_fault(self, name: str) -> bool:
        found = name in self.faults
        self.faults.discard(name)
        return found

    def adopt(self, logger: Any, what: str) -> None:
        """Check the logger of a new object; the first one given stays the process's (header, getLogger)."""
        if not isinstance(logger, ILogger):
            raise TypeError(f"__init__(): incompatible constructor arguments: {type(logger).__name__}")
        if self.take_fault(what):
            # A factory that gives a null pointer (no driver, wrong driver) is a TypeError in pybind11.
            self.say(logger, "ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        if self.logger is None:
            self.logger = logger
        elif self.logger is not logger:
            self.say(logger, "WARNING", f"The logger passed into {what} differs from one already provided")


WORLD: list[World] = []


def world() -> World:
    return WORLD[-1]


class BoundType(type):
    """As pybind11's metaclass: a Python subclass that does not call ``__init__`` of its base is refused."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if not getattr(made, "_bound", False):
            base = next(c for c in cls.__mro__ if c.__module__.startswith("tests.fakes"))
            raise TypeError(f"{base.__name__}.__init__() must be called when overriding __init__")
        return made


class Bound(metaclass=BoundType):
    """A bound class: instances take no attributes but its own, unless a Python class derives from it."""

    def __init__(self) -> None:
        self._bound = True

    def __setattr__(self, name: str, value: Any) -> None:
        own = type(self).__module__.startswith("tests.fakes")
        if own and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        super().__setattr__(name, value)


class ILogger(Bound):
    """To be derived from, with ``super().__init__()``."""

    def __init__(self) -> None:
        super().__init__()

    def log(self, severity: Any, msg: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


class Logger(ILogger):
    """Prints; ``min_severity`` as in pyCore.cpp, DefaultLogger."""

    min_severity: Any = None

    def __init__(self, min_severity: Any = None) -> None:
        super().__init__()
        self.min_severity = min_severity or world().enum("ILogger.Severity").WARNING

    def log(self, severity: Any, msg: str) -> None:
        if int(severity) <= int(self.min_severity):
            print(f"[TRT] {msg}")


class Dims:
    """A sequence that is neither a tuple nor hashable (pyFoundationalTypes.cpp)."""

    __hash__ = None  # type: ignore[assignment]
    MAX_DIMS = 8

    def __init__(self, shape: Any = ()) -> None:
        self._d = None if shape is None else [int(n) for n in shape]

    def __len__(self) -> int:
        if self._d is None:  # nbDims is -1 where a name is unknown
            raise ValueError("__len__() should return >= 0")
        return len(self._d)

    def __getitem__(self, index: Any) -> Any:
        return self._d[index] if self._d is not None else None

    def __iter__(self) -> Iterator[int]:
        return iter(self._d or [])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple)) and list(other) == self._d

    def __repr__(self) -> str:
        return str(tuple(self._d or ()))


class IHostMemory(bytearray):
    """Bytes behind the buffer protocol: it has ``nbytes`` but no length (pyFoundationalTypes.cpp)."""

    @property
    def nbytes(self) -> int:
        return super().__len__()

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Any:
        raise TypeError("'IHostMemory' object is not iterable")


def member(value: Any, name: str) -> str:
    """Return a member's name; pybind11 takes no integer and no member of another enum."""
    if not isinstance(value, world().enum(name)):
        raise TypeError(f"incompatible function arguments: {value!r} is no {name}")
    return str(value.name)

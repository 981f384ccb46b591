"""What `doctor` looks at for live signals and recordings: packages, and the libraries that they load."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator

from mimamba_edge.doctor.health_check import HealthCheck
from mimamba_edge.errors import DependencyError, pip_install

__all__ = ["live"]


def _brainflow() -> str:
    from mimamba_edge.stream.sources.boards import load_driver

    return f"{load_driver().version}, its library loads"


def _lsl() -> str:
    from mimamba_edge.stream.sources.lsl_network import load_pylsl

    pylsl = load_pylsl()
    library = int(pylsl.library_version())
    return f"{importlib.metadata.version('pylsl')}, liblsl {library // 100}.{library % 100}"


def _package(module: str, distribution: str) -> Callable[[], str]:
    def version() -> str:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DependencyError(f"{distribution} cannot be imported", got=error) from error
        return importlib.metadata.version(distribution)

    return version


_PARTS: tuple[tuple[str, str, str, Callable[[], str]], ...] = (
    ("brainflow", "boards and headsets", "live", _brainflow),
    ("pylsl", "LSL streams", "live", _lsl),
    ("python-osc", "OSC", "live", _package("pythonosc.udp_client", "python-osc")),
    ("websockets", "the page", "live", _package("websockets", "websockets")),
    ("mne", "FIF files", "files", _package("mne", "mne")),
    ("pyxdf", "XDF files", "files", _package("pyxdf", "pyxdf")),
)
"""Distribution, what it is for, the extra that brings it, what loads it and tells its version."""


def live() -> Iterator[HealthCheck]:
    """Load every optional package of live signals and recordings, with its native library."""
    for distribution, purpose, extra, load in _PARTS:
        install = pip_install(extra)
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            yield HealthCheck(distribution, "ok", "not installed", f"for {purpose}: {install}")
            continue
        try:
            yield HealthCheck(distribution, "ok", load())
        except DependencyError as error:
            value = f"{error.what}: {error.got}" if error.got else error.what
            # Only that kind of source lacks it: what the others take runs.
            remedy = f"for {purpose}: {error.do or f'{install}, with --force-reinstall'}"
            yield HealthCheck(distribution, "warning", value, remedy)

"""mimamba-edge: a Mamba network for EEG, from a PyTorch checkpoint to a wearable.

What stands in ``__all__`` is public and loaded when it is first asked for: ``import mimamba_edge`` alone
loads neither NumPy nor torch. This package is what runs on the device. It never imports torch, onnx or
anything of :mod:`mimamba_edge.export` at module level.
"""

import os

# Type checkers take this name for true, as they do that of typing, whose import takes longer than the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from mimamba_edge.contract import Contract
    from mimamba_edge.data.datasets.arrays import ArrayDataset
    from mimamba_edge.data.recording import Recording, read_recording
    from mimamba_edge.data.simulate import simulate_recording
    from mimamba_edge.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        ContractError,
        DataError,
        DependencyError,
        EngineError,
        ExportError,
        GateError,
        MimambaError,
        OutputError,
        PluginError,
        RunnerError,
        SignalError,
        SourceError,
        StaleEngineError,
        TrainingError,
        WorkerError,
    )
    from mimamba_edge.export.api import export_model, export_module, quantize_model, train_model
    from mimamba_edge.export.families.msimamba.network import MSiMamba
    from mimamba_edge.export.research.classifier import MSiMambaClassifier
    from mimamba_edge.load import builtin_model, load_model
    from mimamba_edge.runtime.base import Runner
    from mimamba_edge.runtime.stateful import StatefulRunner
    from mimamba_edge.stream.decision import Decision
    from mimamba_edge.stream.decoder import Decoder
    from mimamba_edge.stream.options import StreamOptions
    from mimamba_edge.stream.sinks.base import Sink

__all__ = [
    "ArrayDataset",
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "Contract",
    "ContractError",
    "DataError",
    "Decision",
    "Decoder",
    "DependencyError",
    "EngineError",
    "ExportError",
    "GateError",
    "MSiMamba",
    "MSiMambaClassifier",
    "MimambaError",
    "OutputError",
    "PluginError",
    "Recording",
    "Runner",
    "RunnerError",
    "SignalError",
    "Sink",
    "SourceError",
    "StaleEngineError",
    "StatefulRunner",
    "StreamOptions",
    "TrainingError",
    "WorkerError",
    "builtin_model",
    "export_model",
    "export_module",
    "load_model",
    "quantize_model",
    "read_recording",
    "simulate_recording",
    "train_model",
]

__version__ = "0.1.0"

NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""What keeps ONNX Runtime from sending: releases from 1.29 on obey the first, some other builds the second.

Official Linux builds from 1.29 on (microsoft/onnxruntime pull request 27379) otherwise keep a device id and
a database of events in ``~/.cache/Microsoft`` and send them. They read it once, when they are loaded.
"""

# Here, because every way to onnxruntime, children too, comes after this. Whatever the environment says: that
# nothing is sent is this package's promise and not an option.
os.environ.update(NO_TELEMETRY)

_HOMES = {
    "ArrayDataset": "data.datasets.arrays",
    "Contract": "contract",
    "Decision": "stream.decision",
    "Decoder": "stream.decoder",
    "MSiMamba": "export.families.msimamba.network",
    "MSiMambaClassifier": "export.research.classifier",
    "Recording": "data.recording",
    "Runner": "runtime.base",
    "Sink": "stream.sinks.base",
    "StatefulRunner": "runtime.stateful",
    "StreamOptions": "stream.options",
    "builtin_model": "load",
    "export_model": "export.api",
    "export_module": "export.api",
    "load_model": "load",
    "quantize_model": "export.api",
    "read_recording": "data.recording",
    "simulate_recording": "data.simulate",
    "train_model": "export.api",
}
"""Module of each public name; what is not listed is an error."""

# Type checkers go by the imports above, and would take any name for granted if they saw this.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name when it is first asked for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        except ModuleNotFoundError as error:
            from mimamba_edge.errors import DependencyError, pip_install

            raise DependencyError(
                f"mimamba_edge.{name} needs a package that is not installed: {error.name}",
                do=f"on a workstation: {pip_install('cpu', 'export', 'research')}",
            ) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

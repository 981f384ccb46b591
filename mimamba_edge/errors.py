"""Errors that a user can meet. Each says what happened, what was got, what was expected, what to do.

Every class derives from :class:`MimambaError`; the command line prints its text without a traceback
and exits with :attr:`MimambaError.exit_code` (1: a finding, 2: could not run).
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "ContractError",
    "DataError",
    "DependencyError",
    "EngineError",
    "ExportError",
    "GateError",
    "MimambaError",
    "OutputError",
    "PluginError",
    "RunnerError",
    "SignalError",
    "SourceError",
    "StaleEngineError",
    "TrainingError",
]


class MimambaError(Exception):
    """Base of all errors a user can cause or meet.

    Args:
        what: One sentence that says what went wrong.
        got: What was found, if that helps.
        expected: What would have been right.
        do: What the user can do now.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, do: str | None = None
    ) -> None:
        self.what, self.got, self.expected, self.do = what, got, expected, do
        lines = [what]
        if got is not None:
            lines.append(f"  got:      {got}")
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if do is not None:
            lines.append(f"  do this:  {do}")
        super().__init__("\n".join(lines))


class ConfigError(MimambaError):
    """An option or a model configuration that cannot work."""


class ContractError(MimambaError):
    """A contract that is missing, malformed or does not fit what it is used with."""


class ArtifactError(MimambaError):
    """A model file or manifest that is missing, damaged or disagrees with its twin."""


class CheckpointError(MimambaError):
    """A checkpoint that cannot be opened or does not hold what its configuration needs."""


class DataError(MimambaError):
    """A data set, label table or recording that cannot be used."""


class SignalError(MimambaError):
    """A signal that the path from recording to window cannot process."""


class SourceError(MimambaError):
    """A stream source that cannot be opened or lacks what the model needs."""


class RunnerError(MimambaError):
    """A runner that cannot be created or was fed wrong tensors."""


class TrainingError(MimambaError):
    """A training that could not go on."""


class ExportError(MimambaError):
    """An export that cannot be done or whose graph breaks a rule."""


class PluginError(MimambaError):
    """A plugin library that cannot be built, found or loaded, or holds other ops than the model needs."""


class EngineError(MimambaError):
    """A TensorRT engine that cannot be built, loaded or run."""


class StaleEngineError(EngineError):
    """An engine made for another device, TensorRT, plugin or model than those at hand: build it again."""


class OutputError(MimambaError):
    """A file or folder that cannot be written."""


class DependencyError(MimambaError):
    """An optional package that this command needs and that is not installed."""


class GateError(MimambaError):
    """A check that ran and was not passed: a finding, exit code 1."""

    exit_code = 1

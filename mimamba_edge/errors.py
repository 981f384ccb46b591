"""Errors that a user can meet. Each says what happened, what was got, what was expected, what to do.

Every class derives from :class:`MimambaError`; the command line prints its text without a traceback
and exits with :attr:`MimambaError.exit_code` (1: a finding, 2: could not run).
"""

from __future__ import annotations

from collections.abc import Iterable

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
    "WorkerError",
    "listed",
    "pip_install",
    "quoted",
    "shorten",
]

_MOST_WHAT, _MOST_PART = 2000, 500
"""Bytes of an error's first part and of each other one: what a file claims must not flood a terminal."""


def pip_install(*extras: str) -> str:
    """Return what to do for extras of this package: no index has it, so a clone or a wheel brings them."""
    held = f"[{','.join(extras)}]"
    return f'pip install ".{held}" in the clone of mimamba-edge, or "NAME.whl{held}" with its wheel'


def shorten(text: str, most: int) -> str:
    """Return a text that takes at most about ``most`` bytes on a terminal; what is too long loses its middle.

    A character that is not printable ASCII counts as four bytes: it may take as many, also once it is shown
    as U+FFFD.
    """
    if 4 * len(text) <= most or (len(text) <= most and text.isascii() and text.isprintable()):
        return text
    head, tail = _fitting(text, 2 * most // 3), _fitting(text[::-1], most - 2 * most // 3)
    if head + tail >= len(text):
        return text
    return f"{text[:head]} … ({len(text) - head - tail:,} characters left out) … {text[len(text) - tail :]}"


def _fitting(text: str, most: int) -> int:
    """Return how many characters of the beginning take at most ``most`` bytes."""
    taken = 0
    for number, character in enumerate(text[:most]):
        taken += 1 if " " <= character <= "~" or character == "\n" else 4
        if taken > most:
            return number
    return min(len(text), most)


def _text(value: object) -> str:
    """Return ``str(value)`` of whatever came from outside: its own text may fail or be too deep to make."""
    try:
        return str(value)
    except Exception:
        return f"a value of type {type(value).__name__} that cannot be shown"


def quoted(value: object, most: int = 80) -> str:
    """Return the ``repr`` of a value from outside, cut to about ``most`` bytes."""
    try:
        text = repr(value)
    except Exception:  # a number of 5,000 digits, 100,000 lists inside each other
        text = f"a value of type {type(value).__name__} that cannot be shown"
    return shorten(text, most)


def listed(problems: Iterable[str], separator: str = "\n    ", most: int = 20) -> str:
    """Return problems in one text: the first ``most``, each cut to two lines, and how many more there are."""
    found = list(problems)
    shown = [shorten(problem, 200) for problem in found[:most]]
    if len(found) > most:
        shown.append(f"and {len(found) - most:,} more")
    return separator.join(shown)


class MimambaError(Exception):
    """Base of all errors a user can cause or meet.

    Args:
        what: One sentence that says what went wrong.
        got: What was found, if that helps.
        expected: What would have been right.
        do: What the user can do now.

    Each part is cut where it is long: the text stays under 4 kB whatever is quoted.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, do: str | None = None
    ) -> None:
        self.what, self.got, self.expected, self.do = what, got, expected, do
        lines = [shorten(_text(what), _MOST_WHAT)]
        for label, part in (("got:      ", got), ("expected: ", expected), ("do this:  ", do)):
            if part is not None:
                lines.append(f"  {label}{shorten(_text(part), _MOST_PART)}")
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


class WorkerError(MimambaError):
    """A worker process or machine that was lost, or that lacks what its job needs."""


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

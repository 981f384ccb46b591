"""Options of several verbs, and numbers within bounds: NaN, infinity and the impossible are refused here.

Each function returns what stands in an option's ``Annotated``. A value that is refused ends with exit code 2,
the option's name, what was got and what was expected.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mimamba_edge.console import json_only, print_json, printable, show_note
from mimamba_edge.errors import ArtifactError, ConfigError

__all__ = [
    "ChannelMap",
    "Hysteresis",
    "Json",
    "MainsHz",
    "Profile",
    "Provider",
    "Report",
    "Smoothing",
    "batch_sizes",
    "count",
    "deliver",
    "minutes",
    "need_paths",
    "number",
    "seconds",
    "threads",
]

_DAY = 86_400.0
_YEAR = 366 * _DAY
_SHOWN = 40
"""Characters of a refused value that are quoted."""
_LARGEST_BATCH = 65_536
"""Windows at a time."""
_MOST_THREADS = 256
_MINUTES = (0.01, 1440.0)
_MOST_LISTED = 20


def number(
    text: str, *names: str, least: float, most: float, unit: str = "", metavar: str = "NUMBER", **more: Any
) -> Any:
    """Return an option that takes a finite number from ``least`` to ``most``."""
    expected = f"{least:g} to {most:.10g}{f' {unit}' if unit else ''}"

    def parse(value: str) -> float:
        try:
            got = float(value)
        except (ValueError, OverflowError):
            got = math.nan
        if not least <= got <= most:
            raise _refusal(value, expected)
        return got

    return _option(text, names, parse, metavar, f"{least:g}<=x<={most:.10g}", more)


def seconds(text: str, *names: str, least: float = 0.0, most: float = _YEAR, **more: Any) -> Any:
    """Return an option that takes seconds, at most a year of them."""
    return number(text, *names, least=least, most=most, unit="seconds", metavar="SECONDS", **more)


def count(text: str, *names: str, least: int = 1, most: int, **more: Any) -> Any:
    """Return an option that takes a whole number from ``least`` to ``most``."""
    expected = f"a whole number, {least} to {most}"

    def parse(value: str) -> int:
        try:
            # Python refuses to convert more than 4,300 digits; so do we, from far fewer on.
            got = int(value) if len(str(value)) <= _SHOWN else None
        except ValueError:
            got = None
        if got is None or not least <= got <= most:
            raise _refusal(value, expected)
        return got

    return _option(text, names, parse, "INTEGER", f"{least}<=x<={most}", more)


def threads(text: str) -> Any:
    """Return the option for threads of one op: no machine gains by more than it bounds, and many hang it."""
    return count(text, most=_MOST_THREADS)


def batch_sizes(text: str) -> list[int]:
    """Return the batch sizes of a list with commas.

    Raises:
        ConfigError: One is no whole number, or out of bounds.
    """
    parts = text.split(",")
    if all(part.strip().isdecimal() and len(part) <= _SHOWN for part in parts):
        sizes = [int(part) for part in parts]
        if min(sizes) >= 1 and max(sizes) <= _LARGEST_BATCH:
            return sizes
    raise ConfigError(
        "--batch takes whole numbers with commas",
        got=printable(text, _SHOWN),
        expected=f"for example 1,64; each from 1 to {_LARGEST_BATCH}",
    )


def minutes(text: str, option: str) -> list[float]:
    """Return the minutes of a list with commas.

    Raises:
        ConfigError: One is no number, or out of bounds.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if 0 < len(found) <= _MOST_LISTED and all(_MINUTES[0] <= one <= _MINUTES[1] for one in found):
        return found
    raise ConfigError(
        f"{option} takes minutes with commas",
        got=printable(text, _SHOWN),
        expected=f"for example 1,2,4; at most {_MOST_LISTED}, each from {_MINUTES[0]:g} to {_MINUTES[1]:g}",
    )


def need_paths(*paths: Path | str | None) -> None:
    """Check that what a verb reads is there, before anything slow is imported.

    Raises:
        ArtifactError: A path is not; ``None`` is no path.
    """
    for path in paths:
        # `NAME:PATH` is a data set.
        if path is not None and ":" not in str(path) and not os.path.lexists(path):
            from mimamba_edge.load import advice_for

            raise ArtifactError(f"{path} is not there", do=advice_for(path))


def _refusal(value: object, expected: str) -> typer.BadParameter:
    return typer.BadParameter(f"got {printable(value, _SHOWN)}, expected {expected}")


def _option(
    text: str, names: tuple[str, ...], parse: Callable[[str], Any], metavar: str, bounds: str, more: Any
) -> Any:
    return typer.Option(*names, help=f"{text}  [{bounds}]", parser=parse, metavar=metavar, **more)


ChannelMap = Annotated[
    list[str] | None,
    typer.Option("--map", help="MODEL=SOURCE, where the source names a channel differently; repeatable."),
]
Smoothing = Annotated[
    float, seconds("Time constant that smooths the probabilities; 0: off.", "--smooth", most=3600)
]
Hysteresis = Annotated[
    float,
    number("How far ahead in probability another class must be before the label changes.", least=0, most=1),
]
Profile = Annotated[Path | None, typer.Option(help="Profile of one person that `calibrate` wrote.")]
MainsHz = Annotated[
    int | None,
    count(
        "Mains frequency in Hz, 50 or 60; default: from the profile, else from the training.",
        "--mains",
        least=50,
        most=60,
    ),
]
Provider = Annotated[
    str, typer.Option(help="What runs an .onnx file: cpu, cuda or tensorrt (builds an engine first).")
]


def _json_only(value: bool) -> bool:
    json_only(value)
    return value


Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_json_only, help="Print the result as JSON, and nothing else, on standard output."
    ),
]
Report = Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")]


def deliver(verb: str, result: dict[str, Any], json: bool, report: Path | None) -> None:
    """Print and write a verb's result as it was asked for by ``--json`` and ``--report``: the same values."""
    from mimamba_edge.outputs import marked, write_report

    if json:
        print_json(marked(verb, result))
    if report is not None:
        write_report(report, verb, result)
        show_note(f"report: {report}")

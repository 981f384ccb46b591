"""Montage: which columns of a source are the model's channels, and in what unit they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mimamba_edge.errors import SignalError
from mimamba_edge.naming import listed

__all__ = ["channel_columns", "microvolts_per", "voltage"]

_UV_PER = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "μV": 1.0, "nV": 1e-3}
_UNITS = {
    **dict.fromkeys(("uv", "µv", "μv", "microvolt", "microvolts", "-6"), "uV"),
    **dict.fromkeys(("mv", "millivolt", "millivolts", "-3"), "mV"),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts", "-9"), "nV"),
    **dict.fromkeys(("v", "volt", "volts"), "V"),
}


def voltage(text: str) -> str | None:
    """Return the unit of a voltage by one of the names that it goes by, else ``None``.

    XDF recommends ``microvolts``; pylsl also writes the exponent.
    """
    return _UNITS.get(text.strip().lower())


def microvolts_per(unit: str) -> float:
    """Return the factor from a unit to microvolts.

    Raises:
        SignalError: The unit is not one of a voltage.
    """
    if unit not in _UV_PER:
        raise SignalError("unknown unit of the signal", got=unit, expected=", ".join(sorted(_UV_PER)))
    return _UV_PER[unit]


def channel_columns(
    wanted: Sequence[str], found: Sequence[str], channel_map: Mapping[str, str] | None = None
) -> list[int]:
    """Return the source's column of each wanted channel, by name.

    Args:
        wanted: The model's channels.
        found: The source's channels.
        channel_map: For channels that go by another name there: model name to source name.

    Raises:
        SignalError: A channel is missing, or stands twice in the source.
    """
    names = [(channel_map or {}).get(name, name) for name in wanted]
    there = set(found)
    missing = [
        own if own == name else f"{own} (by the map: {name})"
        for own, name in zip(wanted, names, strict=True)
        if name not in there
    ]
    if missing:
        raise SignalError(
            f"the source lacks channels of the model: {listed(missing)}",
            got=listed(found) or "no channels",
            expected=listed(names),
            do="use a source or a model with the same channels",
        )
    times = Counter(found)
    twice = [name for name in names if times[name] > 1]
    if twice:
        raise SignalError(f"the source has some channels more than once: {listed(twice)}", got=listed(found))
    column = {name: k for k, name in enumerate(found)}
    return [column[name] for name in names]

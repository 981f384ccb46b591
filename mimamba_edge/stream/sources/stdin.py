"""Signal on standard input: lines as muselsl writes them to its CSV files, as they come."""

from __future__ import annotations

import math
import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mimamba_edge.console import printable
from mimamba_edge.data.recording import TIMESTAMPS, known_rails_uv
from mimamba_edge.data.session_format import cells_of
from mimamba_edge.errors import ConfigError, SignalError, SourceError
from mimamba_edge.signal.montage import microvolts_per
from mimamba_edge.stream.sources.base import HEARTBEAT_S, WAITS, Chunk
from mimamba_edge.stream.sources.spec import read_rate

__all__ = ["StdinSource", "open_spec"]

_READ = 1 << 16
_LONGEST_LINE = 1 << 20
_MARKER = "Marker"


def open_spec(rest: str, parameters: Mapping[str, str]) -> StdinSource:
    """Open ``stdin:?sfreq=256``; its first line names the columns, ``timestamps`` and the channels.

    Args:
        rest: Nothing.
        parameters: ``sfreq`` in Hz; ``unit``, by default ``uV``; ``rails``, as ``LOW,HIGH`` in microvolts.

    Raises:
        ConfigError: The parameters cannot be understood.
        SourceError: The first line is no header.
    """
    unknown = set(parameters) - {"sfreq", "unit", "rails"}
    if rest or unknown:
        raise ConfigError(
            "unknown parameter of standard input",
            got=printable(rest or ", ".join(sorted(unknown))),
            expected="stdin:?sfreq=256&unit=uV&rails=LOW,HIGH",
        )
    sfreq = read_rate(dict(parameters))
    if sfreq is None:
        raise ConfigError(
            "standard input does not say its rate", expected="a rate", do="state it: stdin:?sfreq=256"
        )
    unit = parameters.get("unit", "uV")
    try:
        microvolts_per(unit)
    except SignalError as error:
        raise ConfigError(error.what, got=printable(unit), expected=error.expected) from error
    rails = None
    if "rails" in parameters:
        low, _, high = parameters["rails"].partition(",")
        rails = _number(low, "rails"), _number(high, "rails")
        if not rails[0] < rails[1]:
            raise ConfigError("rails of standard input", got=parameters["rails"], expected="LOW,HIGH in uV")
    return StdinSource(sfreq, unit=unit, rails_uv=rails)


def _number(text: str | None, name: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise ConfigError(
            f"{name} of standard input is not a number",
            got="nothing" if text is None else printable(text),
        ) from error


class StdinSource:
    """Reads lines of numbers as they come; a last line without its end is dropped.

    Args:
        sfreq: Nominal rate in Hz.
        unit: Unit of the channels.
        rails_uv: Lowest and highest value in microvolts, if known.
        descriptor: What is read, standard input by default.

    Raises:
        SourceError: The first line is no header.
    """

    name = "stdin:"
    live = True

    def __init__(
        self,
        sfreq: float,
        *,
        unit: str = "uV",
        rails_uv: tuple[float, float] | None = None,
        descriptor: int | None = None,
    ) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._closed = threading.Event()
        self._rest = b""
        self._ended = False
        self._fault: SourceError | None = None
        self._line = 1
        self.sfreq, self.unit = sfreq, unit
        self.device: dict[str, Any] = {WAITS: True}
        lines: list[bytes] = []
        while not lines and not self._ended:
            lines = self._read(None)
        self._columns = self._header(lines[0] if lines else b"")
        self._waiting = lines[1:]
        self.rails_uv = rails_uv if rails_uv or unit != "uV" else known_rails_uv(self.ch_names)

    def _header(self, line: bytes) -> list[int]:
        text = line.decode("utf-8-sig", "replace").strip()
        columns = [cell.strip() for cell in cells_of(text)]
        channels = [
            k for k, name in enumerate(columns) if name != TIMESTAMPS and not name.startswith(_MARKER)
        ]
        if TIMESTAMPS not in columns or not channels or len(set(columns)) != len(columns):
            raise SourceError(
                "standard input does not begin with column names",
                got=printable(text) or "nothing",
                expected="timestamps,CHANNEL,CHANNEL,…",
            )
        self._n_columns, self._time = len(columns), columns.index(TIMESTAMPS)
        self.ch_names = tuple(columns[k] for k in channels)
        return channels

    def _read(self, timeout_s: float | None) -> list[bytes]:
        """Return the lines that came, whole ones; wait for the first for so long."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return []
        new = os.read(self._descriptor, _READ)
        self._ended = not new
        *lines, self._rest = (self._rest + new).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise SourceError("standard input has a line that does not end", got=f"{len(self._rest)} bytes")
        return lines

    def chunks(self) -> Iterator[Chunk]:
        """Yield what each read gave.

        Raises:
            SourceError: A line cannot be understood.
        """
        if self._waiting:
            lines, self._waiting = self._waiting, []
            yield self._chunk(lines)
        while not self._closed.is_set() and not self._ended and self._fault is None:
            yield self._chunk(self._read(HEARTBEAT_S))
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """End :meth:`chunks`, within a heartbeat."""
        self._closed.set()

    def _chunk(self, lines: list[bytes]) -> Chunk:
        rows = []
        for line in lines:
            self._line += 1
            if not line.strip():
                continue
            try:
                rows.append(self._row(line))
            except SourceError as error:
                self._fault = error  # raised once what stood before the line has been passed on
                break
        table = np.array(rows, dtype=np.float64).reshape(len(rows), self._n_columns)
        return Chunk(table[:, self._columns], table[:, self._time].copy())

    def _row(self, line: bytes) -> list[float]:
        cells = line.split(b",")
        try:
            values = [float(cell) if cell.strip() else math.nan for cell in cells]
        except ValueError:
            values = []
        if len(values) != self._n_columns or not math.isfinite(values[self._time]):
            raise SourceError(
                f"line {self._line} of standard input is not a row of samples",
                got=printable(line.decode("utf-8", "replace")),
                expected=f"{self._n_columns} numbers, as the first line names them",
            )
        return values

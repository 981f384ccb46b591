"""Lines of text files, the cells of tables, and the numbers in them."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable, show_warning
from mimamba_edge.data.bounds import TIME_S
from mimamba_edge.errors import DataError
from mimamba_edge.strict_json import Malformed, read_regular

__all__ = ["AS_WRITTEN", "Table", "check_text", "numbers", "read_cells", "seconds", "whole_lines_of"]

AS_WRITTEN = "take the file as it was written: a spreadsheet changes numbers and times when it saves one"
_HEAD = 1 << 16
_MOST_BYTES = 64 << 20
"""Of a table beside recordings."""
_BLOCK = 1 << 20
"""A line of a thousand channels takes some ten thousand bytes."""
_WIDE = ((b"\xff\xfe\0\0", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def check_text(path: Path) -> str:
    """Check that a file is text in UTF-8 of lines that end; returns its beginning.

    Raises:
        DataError: It is not, or cannot be read.
    """
    kind = "a text file in UTF-8"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            for mark, encoding in _WIDE:
                if head.startswith(mark):
                    raise DataError(
                        f"{path} is not a text file in UTF-8",
                        got=encoding,
                        expected=kind,
                        do=f"iconv -f {encoding} -t UTF-8 FILE > NEW.csv, and take that",
                    )
            if b"\0" in head:
                raise DataError(
                    f"cannot read the recording {path}", got="bytes that are no text", expected=kind
                )
            block = head + file.read(_BLOCK - len(head))
            while len(block) == _BLOCK:
                if b"\n" not in block and b"\r" not in block:
                    raise DataError(
                        f"{path} has a line that does not end",
                        got=f"over {_BLOCK >> 20} MiB without a line end",
                        expected=f"{kind}, a line for each sample",
                    )
                block = file.read(_BLOCK)
        return head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start > len(head) - 4:  # within a character that the limit cut
            return head[: error.start].decode("utf-8-sig")
        raise DataError(f"cannot read the recording {path}", got=str(error), expected=kind) from error
    except OSError as error:
        raise DataError(f"cannot read the recording {path}", got=error.strerror, expected=kind) from error


def whole_lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, with their number from 1 on, without their ends.

    A last line without its end may be cut within a number: it is left out, with a warning.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    show_warning(f"{printable(path)}: the last line has no end and is left out")
                elif line.strip():
                    yield number, line[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the recording {path}", got=str(error)) from error


class Table:
    """Grows by rows of numbers, eight bytes each."""

    def __init__(self, n_columns: int) -> None:
        self._n, self._held = n_columns, array("d")

    def add(self, row: Iterable[float]) -> None:
        """Add a row."""
        self._held.extend(row)

    def __len__(self) -> int:
        return len(self._held) // self._n

    def values(self) -> NDArray[np.float64]:
        """Return all rows ``(n, columns)``."""
        return np.frombuffer(self._held, np.float64).reshape(-1, self._n)


def numbers(path: Path, line: int, cells: Sequence[str]) -> list[float]:
    """Return what cells hold; NaN for an empty one.

    Raises:
        DataError: One is no number.
    """
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return [_number(path, line, cell) for cell in cells]


def _number(path: Path, line: int, cell: str) -> float:
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError as error:
        raise DataError(
            f"{path}, line {line}: a cell is not a number",
            got=repr(cell),
            expected="a number with a decimal point, or an empty cell",
            do=AS_WRITTEN,
        ) from error


def seconds(where: str, cell: str) -> float:
    """Return a time or a length in seconds, as tables beside recordings have them.

    Args:
        where: File and line, for the message.
        cell: Its text.

    Raises:
        DataError: It is no number, not finite, or beyond what a clock gives (:data:`TIME_S`).
    """
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) <= TIME_S:
        raise DataError(f"{where}: not a time", got=repr(cell[:80]), expected="seconds", do=AS_WRITTEN)
    return value


def read_cells(path: Path, mark: str | None = None) -> list[tuple[int, list[str]]]:
    """Return the rows of a table that hold something, the header first, each with the number of its line.

    Args:
        path: Of a table in UTF-8.
        mark: What parts the cells, which then have no quotes; ``None``: tab, semicolon or comma.

    Raises:
        DataError: It cannot be read, or a row has another number of cells than the header.
    """
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8-sig")
        first = text.partition("\n")[0]
        # A cell may hold a comma where tabs part the cells, and the other way round.
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=mark or next((one for one in "\t;," if one in first), ","),
            quoting=csv.QUOTE_MINIMAL if mark is None else csv.QUOTE_NONE,
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, Malformed, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}", got=error, expected="a table, CSV or TSV, in UTF-8") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    for line, cells in rows:
        if len(cells) != len(rows[0][1]):
            raise DataError(
                f"{path}, line {line}: the row has another number of cells than the header",
                got=f"{len(cells)} cells",
                expected=len(rows[0][1]),
            )
    return rows

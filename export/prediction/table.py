"""The table of predictions: its columns and its files. What a column means: docs/formats/predictions.md."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, DependencyError, pip_install
from mimamba_edge.files import atomic_write
from mimamba_edge.outputs import Kind
from mimamba_edge.stream.decision import Decision

__all__ = [
    "METADATA",
    "PREDICTIONS",
    "SCHEMA",
    "Cells",
    "Column",
    "cells_of",
    "check_name",
    "columns_of",
    "write",
]

SCHEMA = "mimamba.predictions.1"
METADATA = "mimamba.predictions"
"""Key of a Parquet file's metadata; its value is a JSON object."""
RECORDING = "recording"
_REASONS = ("gap", "settling", "railed", "flat")
_FIGURES = (
    ("rms_uv", "real", "uV"),
    ("flat", "flag", ""),
    ("railed", "real", "1"),
    ("mains_ratio", "real", "1"),
)
_FOOTER = 1 << 20
"""No more of a file's end than this is looked at."""

Cells = tuple[NDArray[Any], ...]
"""A recording's rows, column by column."""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: In the header.
        kind: ``"int"`` (int64), ``"real"`` (float64, NaN: empty), ``"flag"`` (bool) or ``"text"`` (int8
            numbers into ``words``, -1: empty).
        unit: ``"s"``, ``"sample"``, ``"uV"``, ``"ms"``, ``"1"`` (a share); empty where it has none.
        words: All texts that can stand in it.
    """

    name: str
    kind: str
    unit: str = ""
    words: tuple[str, ...] = ()


def columns_of(contract: Contract) -> tuple[Column, ...]:
    """Return the columns of a model's predictions; before them stands the name of the recording."""
    return (
        Column("window_start", "int", "sample"),
        Column("window_stop", "int", "sample"),
        Column("t_s", "real", "s"),
        Column("label", "text", words=contract.class_names),
        *(Column(f"prob_{name}", "real", "1") for name in contract.class_names),
        Column("valid", "flag"),
        Column("reason", "text", words=_REASONS),
        *(
            Column(f"quality_{name}_{figure}", kind, unit)
            for name in contract.ch_names
            for figure, kind, unit in _FIGURES
        ),
        Column("algorithmic_delay_ms", "real", "ms"),
    )


def cells_of(decisions: Sequence[Decision], contract: Contract) -> Cells:
    """Return decisions as rows, in the order of :func:`columns_of`."""
    values: list[list[Any]] = [
        [one.window[0] for one in decisions],
        [one.window[1] for one in decisions],
        [one.t_s for one in decisions],
        [one.label for one in decisions],
        *([one.probs and one.probs[name] for one in decisions] for name in contract.class_names),
        [one.valid for one in decisions],
        [one.reason for one in decisions],
        *(
            [one.quality[name][figure] for one in decisions]
            for name in contract.ch_names
            for figure, _, _ in _FIGURES
        ),
        [one.algorithmic_delay_ms for one in decisions],
    ]
    return tuple(_cells(column, held) for column, held in zip(columns_of(contract), values, strict=True))


def _cells(column: Column, values: list[Any]) -> NDArray[Any]:
    if column.kind == "text":
        number: dict[str | None, int] = {word: i for i, word in enumerate(column.words)}
        number[None] = -1
        return np.array([number[value] for value in values], np.int16)
    # None becomes NaN where the type is a floating one.
    return np.array(values, {"int": np.int64, "real": np.float64, "flag": np.bool_}[column.kind])


def check_name(path: Path) -> None:
    """Check that a table can be written under this name.

    Raises:
        ConfigError: The end of the name is none of a table.
        DependencyError: pyarrow is needed and not installed.
    """
    if path.suffix not in _WRITERS:
        raise ConfigError(
            "not a name for a table", got=path.name, expected=" or ".join(f"NAME{end}" for end in _WRITERS)
        )
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise DependencyError(
            "a Parquet table needs a package that is not installed: pyarrow",
            do=f"{pip_install('predict')}, or write a .csv, which needs none",
        )


def write(
    path: Path, contract: Contract, parts: Iterable[tuple[str, Cells]], told: Mapping[str, Any]
) -> None:
    """Write a table, whole or not at all, for its owner only: what somebody felt is personal.

    Args:
        path: ``.parquet`` or ``.csv``.
        contract: Of the model.
        parts: Name and rows of each recording.
        told: What a Parquet file says of the whole; JSON-ready.

    Raises:
        OutputError: It cannot be written.
    """
    named = ((os.fsencode(name).decode("utf-8", "backslashreplace"), cells) for name, cells in parts)
    with atomic_write(path, private=True) as file:
        _WRITERS[path.suffix](file, columns_of(contract), named, {"schema": SCHEMA, **told})


def _write_csv(
    file: IO[bytes], columns: Sequence[Column], parts: Iterable[tuple[str, Cells]], told: Mapping[str, Any]
) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([RECORDING, *(column.name for column in columns)])
    for name, cells in parts:
        shown = [_texts(column, held) for column, held in zip(columns, cells, strict=True)]
        writer.writerows((name, *row) for row in zip(*shown, strict=True))
    text.detach()


def _texts(column: Column, cells: NDArray[Any]) -> list[str]:
    """Return cells as a CSV file holds them: numbers read back to the same bits; an empty one is empty."""
    if column.kind == "text":
        return [column.words[i] if i >= 0 else "" for i in cells.tolist()]
    if column.kind == "flag":
        return ["true" if value else "false" for value in cells.tolist()]
    return ["" if value != value else repr(value) for value in cells.tolist()]


def _write_parquet(
    file: IO[bytes], columns: Sequence[Column], parts: Iterable[tuple[str, Cells]], told: Mapping[str, Any]
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"int": pa.int64(), "real": pa.float64(), "flag": pa.bool_(), "text": pa.string()}
    fields = [pa.field(RECORDING, pa.string(), nullable=False)]
    fields += [
        pa.field(one.name, types[one.kind], metadata={"unit": one.unit} if one.unit else None)
        for one in columns
    ]
    schema = pa.schema(fields, metadata={METADATA: json.dumps(told, allow_nan=False)})
    with parquet.ParquetWriter(file, schema) as writer:
        for name, cells in parts:
            arrays = [pa.array([name] * len(cells[0]), pa.string())]
            for column, held in zip(columns, cells, strict=True):
                if column.kind == "text":
                    words = pa.array([*column.words], pa.string())
                    arrays.append(words.take(pa.array(held, mask=held < 0)))
                else:
                    arrays.append(pa.array(held, types[column.kind], from_pandas=True))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


_WRITERS: dict[str, Callable[..., None]] = {".parquet": _write_parquet, ".csv": _write_csv}


def _is_ours(path: Path) -> bool:
    start = f"{RECORDING},window_start,window_stop,t_s,label,".encode()
    try:
        with path.open("rb") as file:
            head = file.read(len(start))
            file.seek(max(0, path.stat().st_size - _FOOTER))
            return head == start or (head[:4] == b"PAR1" and METADATA.encode() in file.read(_FOOTER))
    except OSError:
        return False


PREDICTIONS = Kind("a table that `predict` wrote", _is_ours)

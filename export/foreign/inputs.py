"""What a model of tensors is shown: inputs of the user, or drawn ones."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, DataError, quoted
from mimamba_edge.parity.windows import find_windows
from mimamba_edge.signature import TYPES

__all__ = ["Inputs", "Shape", "find_eeg", "find_inputs", "parse_shape"]

_DRAWN = 16
_MOST_DRAWN = 1 << 22
"""Values in all drawn inputs together; at least two are drawn."""
_MOST_GIVEN = 64
_MOST_BYTES = 1 << 30
_SPEC = re.compile(r"(?P<sizes>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")


@dataclass(frozen=True)
class Shape:
    """The one input of a model: batch size, sizes behind it, element type."""

    batch: int
    sizes: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Inputs:
    """Inputs for a model, one a row.

    Attributes:
        shape: Of one batch.
        data: ``(n, ...)``, n at least two and a multiple of the batch size.
        source: For people.
        kind: ``"given"`` or ``"random"``; of windows as :class:`mimamba_edge.parity.windows.WindowSet`.
        hop: Samples between starts of windows; ``None`` for other inputs.
    """

    shape: Shape
    data: NDArray[Any]
    source: str
    kind: str
    hop: int | None = None


def parse_shape(text: str) -> Shape:
    """Read ``1x3x224x224`` or ``1x64:int64``; the first size is the batch.

    Raises:
        ConfigError: It is neither.
    """
    found = _SPEC.fullmatch(text.strip())
    sizes = [int(size) for size in found["sizes"].split("x")] if found else []
    dtype = (found and found["dtype"]) or "float32"
    if len(sizes) < 2 or min(sizes) < 1 or dtype not in TYPES or math.prod(sizes) > _MOST_BYTES // 8:
        raise ConfigError(
            "--input is not the shape of an input",
            got=quoted(text),
            expected="sizes with the batch first, 1x3x224x224, and a type if it is not float32, 1x64:int64",
        )
    return Shape(sizes[0], tuple(sizes[1:]), dtype)


def find_inputs(shape: Shape | None, given: Path | None, model: nn.Module) -> Inputs:
    """Return the inputs of a file, else random ones: normal numbers, or whole ones that an embedding takes.

    Raises:
        ConfigError: Neither a shape nor a file, or whole numbers of unknown range.
        DataError: The file cannot be read or does not fit the shape.
    """
    if given is not None:
        return _given(shape, given)
    if shape is None:
        raise ConfigError(
            "the shape of the input is not known", do="add --input 1x3x224x224, or --inputs FILE.npz"
        )
    count = max(2, min(_DRAWN, _MOST_DRAWN // math.prod(shape.sizes)))
    count = math.ceil(count / shape.batch) * shape.batch
    count = max(count, 2 * shape.batch)
    rng = np.random.default_rng(0)
    if shape.dtype == "float32":
        data: NDArray[Any] = rng.standard_normal((count, *shape.sizes)).astype(np.float32)
    elif shape.dtype == "bool":
        data = rng.random((count, *shape.sizes)) < 0.5
    else:
        tables = [part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding)]
        if not tables:
            raise ConfigError(
                "the range of the whole numbers that the model takes is not known: it has no nn.Embedding",
                do="add --inputs FILE.npz with examples",
            )
        data = rng.integers(0, min(tables), (count, *shape.sizes)).astype(shape.dtype)
    return Inputs(shape, data, "random values, seed 0", "random")


def find_eeg(contract: Contract, data: Path | None) -> Inputs:
    """Return windows for a network with a contract: of recordings, else of simulated EEG.

    Raises:
        DataError: The recordings cannot be used.
        SignalError: They lack a channel, or their rate does not fit.
    """
    found = find_windows(contract, data=data, limit=_MOST_GIVEN)
    shape = Shape(1, (contract.n_chans, contract.n_times))
    return Inputs(shape, found.data, found.source, found.kind, found.hop)


def _given(shape: Shape | None, path: Path) -> Inputs:
    array = _read(path)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    dtype = str(array.dtype)
    if dtype not in TYPES or array.ndim < 2 or not len(array):
        raise DataError(
            f"{path} holds no inputs",
            got=f"{dtype} {array.shape}",
            expected=f"(n, ...) of {', '.join(TYPES)}",
        )
    whole = shape or Shape(1, array.shape[1:], dtype)
    if array.shape[1:] != whole.sizes or dtype != whole.dtype:
        raise DataError(
            f"the inputs in {path} do not have the shape of --input",
            got=f"{dtype} {array.shape}",
            expected=f"{whole.dtype} (n, {', '.join(map(str, whole.sizes))})",
        )
    array = array[:_MOST_GIVEN]
    count = math.ceil(max(2, len(array)) / whole.batch) * whole.batch
    return Inputs(whole, np.ascontiguousarray(array[np.arange(count) % len(array)]), str(path), "given")


def _read(path: Path) -> NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > _MOST_BYTES:
                raise ValueError(f"{size:,} bytes when unpacked, at most {_MOST_BYTES:,} are read")
        with np.load(path, allow_pickle=False) as held:
            names = list(held.files)
            if len(names) != 1:
                raise ValueError(f"arrays {', '.join(names[:8])}; one is wanted")
            return np.asarray(held[names[0]])
    except Exception as error:  # whatever a damaged file sets off in zipfile, zlib, tokenize and NumPy
        raise DataError(
            f"{path} is not a file of inputs", got=error, expected="an .npz with one array (n, ...)"
        ) from error

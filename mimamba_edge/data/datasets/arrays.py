"""Trials in arrays: of a program, or of a file that NumPy wrote."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimamba_edge.console import printable
from mimamba_edge.data.arrays import microvolts
from mimamba_edge.data.bounds import check_regular, evenly_sampled
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import DataError
from mimamba_edge.files import sha256_bytes
from mimamba_edge.signal.montage import microvolts_per

__all__ = ["ArrayDataset", "open_spec"]

_WHO = ("subject", "session", "run")
_NEEDED = ("X", "y", "ch_names", "sfreq")
_MOST_BYTES = 8 << 30
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_LOOKED_AT = 100_000
"""Samples that tell the unit of an array."""


class ArrayDataset(Dataset):
    """Trials of an array, each a recording of its own: nothing is known of what came before one.

    So the windows of a trial's first seconds are left out while the filters settle, as those of any
    recording: give trials of 5 s or more, unfiltered, not windows. For windows that were cut and filtered
    elsewhere there is the scikit-learn classifier of docs/research.md.

    Args:
        X: Trials ``(n_trials, n_chans, n_times)``; NaN where a sample is missing.
        y: Label of each trial ``(n_trials,)``.
        ch_names: A name for each channel.
        sfreq: Rate in Hz.
        subject: Of each trial ``(n_trials,)``, or of all.
        session: The same.
        run: The same; by default each trial is a run.
        unit: Of ``X``: ``"uV"``, ``"mV"``, ``"nV"``, or ``"V"`` for arrays of MNE.

    Raises:
        DataError: Shapes that do not fit, or a spread that microvolts do not have.
        SignalError: The unit is not known.
    """

    licence = source = ""
    spec = name = "arrays"

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        ch_names: Sequence[str],
        sfreq: float,
        *,
        subject: ArrayLike = "s1",
        session: ArrayLike = "1",
        run: ArrayLike | None = None,
        unit: str = "uV",
    ) -> None:
        data, labels = np.asarray(X), np.asarray(y)
        names, n = tuple(map(str, ch_names)), len(data) if data.ndim else 0
        if data.ndim != 3 or labels.shape != (n,) or data.shape[1] != len(names) or 0 in data.shape:
            raise DataError(
                "the arrays do not fit each other",
                got=f"X {data.shape}, y {labels.shape}, {len(names)} names",
                expected="X (n_trials, n_chans, n_times), y (n_trials,), a name for each channel",
            )
        given = {"subject": subject, "session": session, "run": np.arange(1, n + 1) if run is None else run}
        subjects, sessions, runs = (_of_each(key, given[key], n) for key in _WHO)
        self._data, self._names, self._sfreq = data, names, float(sfreq)
        end_s = data.shape[2] / self._sfreq if self._sfreq > 0 else 0.0
        self.trials = tuple(
            Trial(f"trial-{k + 1}", 0.0, end_s, str(labels[k]), subjects[k], sessions[k], runs[k], "")
            for k in range(n)
        )
        # One trial may be odd; all of them are not.
        some = data[:: 1 + data[:, 0].size // (10 * _LOOKED_AT)]
        whole = some.transpose(0, 2, 1).reshape(-1, len(names))
        microvolts("the array", whole[:: 1 + len(whole) // _LOOKED_AT], names, unit)
        self._factor = microvolts_per(unit)
        # Trials are numbered, so that other arrays of the same labels have the same table.
        self.content = sha256_bytes("".join(sha256_bytes(trial.tobytes()) for trial in data).encode())

    def read(self, file: str) -> Recording:
        """Return a trial as a recording."""
        samples = self._data[int(file.removeprefix("trial-")) - 1].T.astype(np.float64) * self._factor
        return evenly_sampled(Path(file), self._names, self._sfreq, samples)


def _of_each(name: str, given: ArrayLike, n: int) -> list[str]:
    values = np.asarray(given)
    if values.shape not in ((), (n,)):
        raise DataError(f"{name} does not fit the trials", got=values.shape, expected=f"one, or ({n},)")
    return [str(value) for value in np.broadcast_to(values, (n,))]


def open_spec(rest: str) -> ArrayDataset:
    """Open ``FILE?unit=V``: an ``.npz`` with ``X``, ``y``, ``ch_names``, ``sfreq``.

    ``subject``, ``session``, ``run`` and ``unit`` may stand in it too; they are those of
    :class:`ArrayDataset`.

    Raises:
        ConfigError: It has no such option.
        DataError: It is not such a file.
    """
    options = SpecOptions(rest, "npz")
    unit = options.text("unit")
    options.end()
    held = _load(options.path)
    absent = [name for name in _NEEDED if name not in held]
    if absent:
        raise DataError(
            f"{options.path} lacks the arrays: {', '.join(absent)}",
            got=printable(", ".join(held)),
            expected=f"{', '.join(_NEEDED)}, and where they are known {', '.join(_WHO)}, unit",
            do="np.savez(FILE, X=X, y=y, ch_names=names, sfreq=rate)",
        )
    try:
        sfreq, names = float(held["sfreq"]), [str(name) for name in np.atleast_1d(held["ch_names"])]
        unit = unit or (str(held["unit"]) if "unit" in held else "uV")
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot read {options.path}", got=str(error), expected="sfreq: a number") from error
    who: dict[str, Any] = {name: held[name] for name in _WHO if name in held}
    try:
        dataset = ArrayDataset(held["X"], held["y"], names, sfreq, unit=unit, **who)
    except DataError as error:
        do = f"npz:{options.path}?unit=V" if error.do and "unit=" in error.do else error.do
        raise DataError(
            f"{options.path}: {error.what}", got=error.got, expected=error.expected, do=do
        ) from error
    dataset.spec, dataset.name = f"npz:{options.path}", options.path.stem
    return dataset


def _load(path: Path) -> dict[str, NDArray[Any]]:
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > _MOST_BYTES:
            raise DataError(
                f"{path} is too large", got=f"{size >> 30} GiB", expected="at most 8 GiB unpacked"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return {name: _checked(held[name]) for name in held.files if name in (*_NEEDED, *_WHO, "unit")}
    except DataError:
        raise
    # Whatever a damaged file sets off in zipfile, zlib, tokenize and NumPy; one may claim any size.
    except Exception as error:
        raise DataError(
            f"cannot read {path}", got=str(error) or type(error).__name__, expected="a file of np.savez"
        ) from error


def _checked(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of numbers or texts; NumPy takes any four bytes of a file for a character."""
    if array.dtype.kind == "U":
        codes = (
            np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        )
        if ((codes > _LAST_CHARACTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))).any():
            raise ValueError("a text that is none")
    elif array.dtype.kind not in "Sbiuf":
        raise ValueError(f"an array of {array.dtype}")
    return array

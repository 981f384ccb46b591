"""Results of jobs on the disk, each by the hash of all that it depends on: what is done is not done again.

    MIMAMBA_CACHE/jobs/ (0700)
      KEY.result     16 bytes of format, SHA-256 of the rest, the result in MessagePack
      KEY.state      what an unfinished job goes on from, if it keeps anything; its own affair
      KEY.epochs     as many bytes as epochs an unfinished job has done, see :func:`tell_epochs`

A result is written under another name and renamed. They are removed by :meth:`Results.clear` once what they
are for is written; what an abandoned run left goes after :data:`_KEPT_DAYS`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from mimamba_edge.console import show_warning
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.files import atomic_write, cache_folder, sha256_bytes

__all__ = ["Results", "content_key", "jobs_folder", "tell_epochs"]

Result = TypeVar("Result")
_FORMAT = b"mimamba.result.1"
_KEPT_DAYS = 30
_KINDS = (".result", ".state", ".epochs")


def jobs_folder() -> Path | None:
    """Return the folder of what unfinished runs keep, made; ``None`` for a user without a home."""
    try:
        folder = cache_folder() / "jobs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (ConfigError, OSError):
        return None
    return folder


def content_key(*parts: Any) -> str:
    """Return the hash of plain values (those of JSON) that a result depends on."""
    return sha256_bytes(json.dumps(parts, sort_keys=True).encode())[:40]


def tell_epochs(state: Path, epochs: int) -> None:
    """Tell who waits for a job how many epochs it has done: by the size of a file, which takes no space.

    Args:
        state: The job's, see :meth:`Results.state`.
        epochs: Done until now.
    """
    with contextlib.suppress(OSError), state.with_suffix(".epochs").open("ab") as file:
        file.truncate(epochs)


class Results(Generic[Result]):
    """The results of a run's jobs.

    Args:
        kind: Their type: a dataclass of plain values, arrays and such dataclasses.
        keys: One a job, see :func:`content_key`.

    Attributes:
        folder: Where they are; ``None`` where nothing can be kept.
    """

    def __init__(self, kind: type[Result], keys: Sequence[str]) -> None:
        self._kind, self._keys = kind, tuple(keys)
        self.folder = jobs_folder()
        if self.folder is None:
            show_warning("no folder for results: a run that is ended starts again; MIMAMBA_CACHE names one")
        else:
            _remove_old(self.folder)

    def state(self, number: int) -> Path | None:
        """Return the path of what an unfinished job may keep to go on from."""
        return self.folder / f"{self._keys[number]}.state" if self.folder else None

    def epochs(self, number: int) -> int:
        """Return how many epochs an unfinished job has done, as far as it is known here."""
        state = self.state(number)
        with contextlib.suppress(OSError):
            return 0 if state is None else state.with_suffix(".epochs").stat().st_size
        return 0

    def load(self, number: int) -> Result | None:
        """Return a job's result, if it is there and whole."""
        if self.folder is not None:
            with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
                return _decode((self.folder / f"{self._keys[number]}.result").read_bytes(), self._kind)
        return None

    def save(self, number: int, result: Result) -> None:
        """Keep a result; where the disk does not take it, the run goes on without."""
        if self.folder is None:
            return
        try:
            with atomic_write(self.folder / f"{self._keys[number]}.result", private=True) as file:
                file.write(_encode(result))
        except OutputError as error:
            show_warning(f"results are not kept: {error.what}")
            self.folder = None
            return
        for kind in _KINDS[1:]:
            (self.folder / f"{self._keys[number]}{kind}").unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove them: what they were for is written."""
        for key in self._keys if self.folder else ():
            assert self.folder is not None
            for kind in _KINDS:
                (self.folder / f"{key}{kind}").unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    oldest = time.time() - _KEPT_DAYS * 86400
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.suffix in (*_KINDS, ".part") and path.stat().st_mtime < oldest:
                path.unlink()


def _encode(result: Any) -> bytes:
    content = msgspec.msgpack.encode(result, enc_hook=_array_bytes)
    return _FORMAT + hashlib.sha256(content).digest() + content


def _decode(data: bytes, kind: type[Result]) -> Result:
    """Return a result.

    Raises:
        ValueError: It is damaged.
        msgspec.MsgspecError: It is of another type.
    """
    head, digest, content = data[:16], data[16:48], data[48:]
    if head != _FORMAT or hashlib.sha256(content).digest() != digest:
        raise ValueError("damaged")
    return msgspec.msgpack.decode(content, type=kind, dec_hook=_array)


def _array_bytes(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"{type(value)} cannot be kept")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(value).reshape(value.shape), allow_pickle=False)
    return file.getvalue()


def _array(kind: Any, value: Any) -> Any:
    if not isinstance(value, bytes):
        raise ValueError("not an array")
    return np.lib.format.read_array(io.BytesIO(value), allow_pickle=False)

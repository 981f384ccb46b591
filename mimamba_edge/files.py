"""Files that are whole or not there: atomic writes, hashes, and the state of the checkout.

Nothing here needs a package: a record can be written by any Python.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mimamba_edge.errors import ConfigError, OutputError

__all__ = [
    "atomic_write",
    "cache_folder",
    "check_writable",
    "made_folder",
    "sha256_bytes",
    "sha256_file",
    "source_state",
    "user_folder",
    "write_bytes",
    "write_json",
]


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder of what can be made again (plugin libraries, engines, timing caches); not made here.

    ``MIMAMBA_CACHE``, else ``$XDG_CACHE_HOME/mimamba-edge``, else ``~/.cache/mimamba-edge``.

    Raises:
        ConfigError: This user has no home.
    """
    if named := os.environ.get("MIMAMBA_CACHE"):
        return Path(named).absolute()
    return user_folder("XDG_CACHE_HOME", ".cache", do="set MIMAMBA_CACHE to a folder that can be written")


def user_folder(variable: str, below_home: str, *, do: str) -> Path:
    """Return this program's folder in one of the user's (XDG Base Directory Specification 0.8).

    Relative paths there count as not set, as the specification asks; so does a relative or empty ``HOME``,
    in whose place the password database is asked.

    Raises:
        ConfigError: This user has no home.
    """
    named = os.environ.get(variable, "")
    if named.startswith("/"):
        return Path(named) / "mimamba-edge"
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            home = ""
    if not home.startswith("/"):
        raise ConfigError("this user has no home", got=f"HOME={os.environ.get('HOME', '')}", do=do)
    return Path(home) / below_home / "mimamba-edge"


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` for the block; what was made and is still empty at its end is removed again."""
    missing = list(itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()


@contextlib.contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well.

    On any exception (Ctrl-C too) the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file.
        private: Nobody else may read it (mode 0600), whatever the umask.

    Raises:
        OutputError: The folder cannot be created or written, or the disk is full.
    """
    path = Path(path)
    try:
        with made_folder(path.parent), _replacing(path, private) as file:
            yield file
    except OSError as error:
        raise _output_error(path, error) from error


@contextlib.contextmanager
def _replacing(path: Path, private: bool) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "not a regular file")  # a device would become a file
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary: Path | None = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; an artefact gets what the user's umask allows.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o600 if private else 0o666 & ~umask)
        Path(name).replace(path)
        temporary = None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"the disk is full: {path} was not written",
            got=error.strerror,
            do="free space or write elsewhere; nothing was overwritten",
        )
    do = "choose another output path"
    with contextlib.suppress(ConfigError):
        if cache_folder() in Path(path).absolute().parents:
            do = "set MIMAMBA_CACHE to a folder that can be written"
    return OutputError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a folder that this user may write to",
        do=do,
    )


def check_writable(path: Path) -> None:
    """Find out before long work whether ``path`` can be written later; nothing is made for that.

    Raises:
        OutputError: The folder cannot be created or written, or ``path`` is a folder.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"cannot write {path}", got="a folder", expected="a file name")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _output_error(path, error) from error


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` to ``path`` atomically (see :func:`atomic_write`)."""
    with atomic_write(path, private=private) as file:
        file.write(data)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode(), private=private)


def source_state() -> dict[str, Any]:
    """Return ``{"commit", "dirty"}`` of the checkout this package runs from; ``None`` values outside one."""
    here = Path(__file__).resolve().parent
    none: dict[str, Any] = {"commit": None, "dirty": None}
    if not (here.parent / ".git").exists():
        return none
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return none
    if commit.returncode or status.returncode:
        return none
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}

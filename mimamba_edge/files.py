"""Files and folders that are whole or not there, hashes, and the state of the checkout.

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
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mimamba_edge.errors import ConfigError, OutputError

__all__ = [
    "atomic_write",
    "begins_as_text",
    "cache_folder",
    "check_writable",
    "made_folder",
    "make_private_folder",
    "manifest_path",
    "sha256_bytes",
    "sha256_file",
    "source_state",
    "staging",
    "sync_folder",
    "user_folder",
    "whole_folder",
    "write_bytes",
    "write_json",
    "writing_failed",
]


def begins_as_text(path: Path) -> str | None:
    """Say how a file begins if that is plain text, which no model is; ``None`` otherwise."""
    try:
        with path.open("rb") as file:
            head = file.read(40)
    except OSError:
        return None
    plain = all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in head)
    return f"a text file that begins with {head.decode()!r}" if len(head) > 3 and plain else None


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
def atomic_write(path: Path, *, private: bool = False, temporary: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well.

    On any exception (Ctrl-C too) the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file.
        private: Nobody else may read it (mode 0600), whatever the umask.
        temporary: Its name until then, where what a killed process left must be known; else a new one.

    Raises:
        OutputError: The folder cannot be created or written, or the disk is full.
    """
    path = Path(path)
    with _told(path), made_folder(path.parent), _replacing(path, private, temporary) as file:
        yield file


@contextlib.contextmanager
def _replacing(path: Path, private: bool, temporary: Path | None) -> Iterator[IO[bytes]]:
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "not a regular file")  # a device would become a file
    if temporary is None:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
    else:
        temporary.unlink(missing_ok=True)
        handle = os.open(
            temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # It was made private; an artefact gets what the user's umask allows.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o600 if private else 0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staging(
    targets: Iterable[Path], *, manifests: bool = True, outdated: Iterable[Path] = ()
) -> Iterator[Path]:
    """Give a hidden folder for files; move them to their names, all together, when the block ends well.

    On any exception (Ctrl-C too) the folder is removed and the files that were there before stay.

    Args:
        targets: Final paths, the first one in a folder that holds all. The block writes each, by its path
            from there, in the folder that it is given; they are moved in this order, but the first one last.
        manifests: Each has its manifest beside it, which is moved too.
        outdated: Files of an earlier run that are removed with the move.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    targets = list(targets)
    moved = [*targets[1:], targets[0], *(map(manifest_path, targets) if manifests else ())]
    for path in moved:
        check_writable(path)
    folder = targets[0].parent
    with _told(targets[0]), made_folder(folder), _hidden(folder, targets[0]) as hidden:
        yield hidden
        with _deaf_to_ctrl_c():
            for path in moved:
                path.parent.mkdir(parents=True, exist_ok=True)
            for path in outdated:
                path.unlink(missing_ok=True)
            for path in moved:
                (hidden / path.relative_to(folder)).replace(path)


@contextlib.contextmanager
def whole_folder(folder: Path, *, outside: bool = False) -> Iterator[Path]:
    """Give a new folder to fill, which takes the place of ``folder`` when the block ends well.

    Args:
        folder: What to make; what is there, if anything, is removed at the end.
        outside: Fill it outside of ``folder``'s parent where that can be: a server may watch the parent.

    Raises:
        OutputError: It cannot be written, or the disk is full.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_told(folder))
        stack.enter_context(made_folder(folder.parent))
        hidden = stack.enter_context(_hidden(_above(folder) if outside else folder.parent, folder))
        fresh, old = hidden / "new", hidden / "old"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise


def _above(folder: Path) -> Path:
    """Return the folder above the parent where a rename works from there (writable, same disk)."""
    above = folder.parent.resolve().parent
    same = above.stat().st_dev == folder.parent.stat().st_dev
    return above if same and os.access(above, os.W_OK) else folder.parent


@contextlib.contextmanager
def _hidden(place: Path, target: Path) -> Iterator[Path]:
    """Give a hidden folder that is removed at the end; errors name the target's folder instead of it."""
    hidden: Path | None = None
    try:
        with _told(target):
            hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=place))
            yield hidden
    except OutputError as error:
        if hidden is None or str(hidden) not in error.what:
            raise
        what = error.what.replace(str(hidden), str(target.parent))
        raise OutputError(what, got=error.got, expected=error.expected, do=error.do) from error
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for the moment that the moves take, so that it does not leave half of them done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise writing_failed(path, error) from error


_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file has reached its size limit",
}


def writing_failed(
    path: Path | str, error: OSError, *, what: str = "was not written", kept: str = "nothing was overwritten"
) -> OutputError:
    """Return what a write's failure means to people.

    Args:
        path: What was written.
        error: The system's.
        what: What a full disk means for it.
        kept: What remains in any case.
    """
    if error.errno in _FULL:
        return OutputError(
            f"{_FULL[error.errno]}: {path} {what}",
            got=error.strerror,
            do=f"free some space or write elsewhere; {kept}",
        )
    do = "choose another output path"
    with contextlib.suppress(ConfigError):
        if cache_folder() in Path(path).absolute().parents:
            do = "set MIMAMBA_CACHE to a folder that can be written"
    return OutputError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a place that this user may write to",
        do=do,
    )


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, whatever the umask.

    Raises:
        FileExistsError: It is there.
    """
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)


def manifest_path(artifact: Path) -> Path:
    """Return the path of the manifest that belongs to an artefact: its name with ``.json`` appended."""
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + ".json")


def check_writable(path: Path) -> None:
    """Find out before long work whether ``path`` can be written later; nothing is made for that.

    Raises:
        OutputError: The folder cannot be created or written, or ``path`` is a folder.
    """
    path = Path(path)
    with _told(path):
        if path.is_dir():
            raise OutputError(f"cannot write {path}", got="a folder", expected="a file name")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass


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

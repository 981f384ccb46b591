"""The one guard of all that verbs write: no input, and nothing that this tool did not write, is replaced."""

from __future__ import annotations

import gzip
import io
import json
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import check_writable, manifest_path, write_bytes
from mimamba_edge.errors import OutputError

__all__ = [
    "ARTEFACT",
    "BUILD_LOG",
    "CARD",
    "CHECKPOINT",
    "PROFILE",
    "TABLE",
    "Kind",
    "check_outputs",
    "marked",
    "native_ops_beside",
    "page_of",
    "plugin_beside",
    "report_of",
    "tar_archive",
    "write_page",
    "write_report",
]

_MODELS = (".onnx", ".plan")
_BESIDE = (".trt.onnx", ".ref.npz")
_HEAD = 1 << 20
_PLAIN = re.compile(r"[\[{][^\[\]{}]*[\]}]")
"""No more of a file than this is looked at."""


@dataclass(frozen=True)
class Kind:
    """A kind of file that this tool writes.

    Attributes:
        name: For people.
        wrote: Whether a file was written by this tool as this kind. A cheap look, no proof: it keeps
            a slip of the hand from costing a file.
    """

    name: str
    wrote: Callable[[Path], bool]


def _head(path: Path, n: int = _HEAD) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(n)
    except OSError:
        return b""


def _is_checkpoint(path: Path) -> bool:
    keys = (b"format", b"config", b"state_dict", b"contract")
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                return False
            with archive.open(pickles[0]) as file:
                head = file.read(_HEAD)
            return all(key in head for key in keys)
    except zipfile.BadZipFile:
        return b'"mimamba.contract"' in _head(path)
    except (OSError, ValueError, NotImplementedError, RuntimeError):
        return False


def _is_artefact(path: Path) -> bool:
    """Return whether the manifest beside a file names it."""
    manifest = _head(manifest_path(path))
    return b'"manifest_format"' in manifest and f'"file": "{path.name}"'.encode() in manifest


CHECKPOINT = Kind("a checkpoint that `train` wrote", _is_checkpoint)
ARTEFACT = Kind("a file with its manifest beside it", _is_artefact)
PROFILE = Kind(
    "a profile that `calibrate` wrote", lambda path: b'"schema": "mimamba.profile' in _head(path, 64)
)
TABLE = Kind("nothing: a label table may have been written by hand", lambda path: False)
CARD = Kind("nothing: a model card is completed by hand", lambda path: False)
BUILD_LOG = Kind("a log of `plugin build`", lambda path: _head(path, 2) == b"$ ")


def plugin_beside(library: Path) -> Kind:
    """Return the kind of the libraries of plugins, whose manifest stands beside ``library``."""
    return Kind(
        "a library that `plugin build` wrote",
        lambda path: b'"tensorrt_headers"' in _head(manifest_path(library)),
    )


def native_ops_beside(library: Path) -> Kind:
    """Return the kind of the custom ops for ONNX Runtime, whose manifest stands beside ``library``."""
    return Kind(
        "a library that `plugin build --host onnxruntime` wrote",
        lambda path: b'"native_ops_format"' in _head(manifest_path(library)),
    )


def _made_by(verb: str) -> str:
    return f"mimamba-edge {verb}"


def report_of(verb: str) -> Kind:
    """Return the kind of a verb's JSON report, see :func:`write_report`."""
    mark = f'"made_by": "{_made_by(verb)}"'.encode()
    return Kind(f"a report that `{verb}` wrote", lambda path: mark in _head(path, 128))


def page_of(verb: str) -> Kind:
    """Return the kind of a verb's report page, see :func:`write_page`."""
    mark = _generator(verb).encode()
    return Kind(f"a page that `{verb}` wrote", lambda path: mark in _head(path, 256))


def _generator(verb: str) -> str:
    return f'<meta name="generator" content="{_made_by(verb)}">'


def marked(verb: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a verb's report with a first entry that says who made it."""
    return {"made_by": _made_by(verb), **value}


def write_report(path: Path, verb: str, value: dict[str, Any]) -> None:
    """Write a verb's report as JSON that says who made it.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps(marked(verb, value), indent=2, allow_nan=False)
    # What holds plain values alone takes one line: a table of a hundred thousand trials is half as large so.
    lines = _PLAIN.sub(lambda found: re.sub(r"\n *", "", re.sub(r",\n *", ", ", found[0])), text)
    write_bytes(path, f"{lines}\n".encode())


def write_page(path: Path, verb: str, html: str) -> None:
    """Write a verb's page, which says who made it.

    Raises:
        OutputError: It cannot be written.
    """
    head = '<meta charset="utf-8">'
    write_bytes(path, html.replace(head, head + "\n" + _generator(verb), 1).encode())


def tar_archive(folder: str, files: Mapping[str, bytes], *, compress: bool) -> bytes:
    """Return a tar archive of files in one folder; the same files give the same bytes.

    Args:
        folder: Its name in the archive.
        files: Contents by name.
        compress: By gzip.
    """
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(target.getvalue(), mtime=0) if compress else target.getvalue()


def check_outputs(outputs: Sequence[tuple[Path | None, Kind]], inputs: Iterable[Path | str] = ()) -> None:
    """Find out before long work whether all outputs can be written at no file's cost.

    An input is known by device and inode, whatever names lead to it; its manifest, its form for TensorRT and
    its reference windows belong to it. What else is there is replaced only if it is empty or this tool wrote
    it as this kind of file. A link is never written through nor replaced.

    Args:
        outputs: Where to, and what kind of file; ``None`` where nothing was asked for.
        inputs: What the command reads: paths, or texts of sources and models that may stand for one.

    Raises:
        OutputError: An output cannot be written, or would replace something.
    """
    taken: dict[Path | tuple[int, int], str] = {}
    for given in inputs:
        text = str(given).removeprefix("oracle:")
        for path in {Path(text), Path(text.partition("?")[0] or text)}:
            held = [path]
            if path.suffix in _MODELS:
                held += [path.with_suffix(suffix) for suffix in _BESIDE]
                held += [manifest_path(one) for one in held]
            for one in held:
                _take(taken, one, "an input of this command")
    for output, kind in outputs:
        if output is None:
            continue
        beside = [manifest_path(output)] if kind is ARTEFACT else []
        for path in (output, *beside):
            _check(path, taken)
        if _holds(output) and not kind.wrote(output):
            raise _refused(output, "a file that this command did not write", kind)
        for path in beside:
            if _holds(path) and b'"manifest_format"' not in _head(path):
                raise _refused(path, "a file that is no manifest", kind)
        for path in (output, *beside):
            _take(taken, path, "another output of this command")


def _check(path: Path, taken: dict[Path | tuple[int, int], str]) -> None:
    check_writable(path)
    for key in _keys(path):
        if key in taken:
            raise OutputError(
                f"{path} would be overwritten",
                got=taken[key],
                expected="a path of its own for each output",
                do="choose another output path",
            )
    if path.is_symlink():
        raise OutputError(
            f"{path} is a link",
            got=f"to {path.readlink()}",
            expected="a new file, or one of this command's own",
            do="name the file itself, or choose another output path",
        )
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a regular file", do="choose another output path")


def _refused(path: Path, got: str, kind: Kind) -> OutputError:
    return OutputError(
        f"{path} exists and would be overwritten",
        got=got,
        expected=f"a new or empty file, or {kind.name}",
        do="choose another output path, or remove the file",
    )


def _take(taken: dict[Path | tuple[int, int], str], path: Path, what: str) -> None:
    for key in _keys(path):
        taken.setdefault(key, what)


def _keys(path: Path) -> list[Path | tuple[int, int]]:
    """Return what a file goes by: its path, and its device and inode where it is a file."""
    keys: list[Path | tuple[int, int]] = []
    try:
        keys.append(path.resolve())
        facts = path.stat()
    except (OSError, ValueError, RuntimeError):
        return keys
    return [*keys, (facts.st_dev, facts.st_ino)] if stat.S_ISREG(facts.st_mode) else keys


def _holds(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0

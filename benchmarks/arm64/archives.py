"""What `plugin build --archive` made, against what JetPack ships; and what `plugin install` refuses there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arm64.system import SYSTEM, WORK, arm64, here
from benchmarks.arm64.walk import DESK, Row
from mimamba_edge.machine.elf import architecture, needed_versions
from mimamba_edge.naming import version_numbers

_VERB = "/opt/mimamba-edge/bin/mimamba-edge"
_INSTALLED = SYSTEM / "usr/local/lib/mimamba-edge"


@dataclass(frozen=True)
class JetPack:
    """What its Ubuntu has: the newest version of each kind of symbol, and the major version of its CUDA.

    Sources: packages libc6, libstdc++6 and libgcc-s1 of Ubuntu 22.04 (glibc 2.35, GCC 12.3's libstdc++
    6.0.30) and 24.04 (glibc 2.39, GCC 14's 6.0.33); GCC's manual, "ABI Policy and Guidelines".
    """

    name: str
    newest: dict[str, tuple[int, ...]]
    cuda: int


JETPACKS = (
    JetPack("6.2", {"GLIBC": (2, 35), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)}, 12),
    JetPack("7.2", {"GLIBC": (2, 39), "GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15), "GCC": (14, 0, 0)}, 13),
)
_OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1"}
"""All that a library may need: CUDA's runtime is inside, and TensorRT is the host that loads it."""
_ENTRIES = {
    "libmimamba_plugin.so": {"getCreators", "setLoggerFinder"},
    "libmimamba_plugin_autoreg.so": set(),
    "libmimamba_ort.so": {"RegisterCustomOps", "mimamba_ort_info"},
}


def check() -> Iterator[Row]:
    """Check each archive of the walk; give what was found."""
    for path in sorted(DESK.glob("mimamba-*.tar.gz")):
        with tarfile.open(path) as archive:
            held = {Path(one.name).name: one for one in archive}
            for name in sorted(set(held) & set(_ENTRIES)):
                library = WORK / name
                file = archive.extractfile(held[name])
                assert file is not None
                library.write_bytes(file.read())
                yield _elf(library, path)
        yield from _refusals(path)
    yield from _creators()


def _elf(library: Path, archive: Path) -> Row:
    wrong = []
    said = here("readelf", "-W", "-d", "--dyn-syms", library)
    needs = set(re.findall(r"\(NEEDED\).*\[(.+)\]", said))
    shown = set(re.findall(r"(?:GLOBAL|WEAK)\s+DEFAULT\s+\d+ (\S+)$", said, re.MULTILINE))
    foreign = re.findall(r"UND (\S*(?:nvinfer|cuda|PluginRegistry)\S*)", said)
    if architecture(library) != "aarch64":
        wrong.append(f"for {architecture(library)}")
    if needs - _OF_THE_SYSTEM:
        wrong.append(f"needs {sorted(needs - _OF_THE_SYSTEM)}")
    if shown != _ENTRIES[library.name]:
        wrong.append(f"shows {sorted(shown)}")
    if foreign:
        wrong.append(f"leaves to its host {foreign}")
    newest: dict[str, tuple[int, ...]] = {}
    for version in needed_versions(library):
        kind = version.partition("_")[0]
        newest[kind] = max(newest.get(kind, ()), version_numbers(version))
    built = re.search(r"_cuda(\d+)", archive.name)
    fits = [
        board.name
        for board in JETPACKS
        if all(numbers <= board.newest.get(kind, ()) for kind, numbers in newest.items())
        # A driver runs what an older CUDA made, and not what a newer one did.
        and (built is None or int(built[1]) <= board.cuda)
    ]
    asks = ", ".join(f"{kind} {'.'.join(map(str, n))}" for kind, n in sorted(newest.items()))
    found = "; ".join([f"asks for {asks}; of libraries {sorted(needs)}", *wrong])
    found += f"; fits JetPack {' and '.join(fits) or 'none'}"
    return f"{library.name} of {archive.name}", found, "passed" if fits and not wrong else "missed"


def _creators() -> Iterator[Row]:
    """Load the installed library inside as TensorRT would, with its headers alone, and list its creators."""
    found = sorted(_INSTALLED.glob("plugin/*/libmimamba_plugin.so"))
    if not found or not os.environ.get("TENSORRT_ROOT"):
        yield "creators of the library", "needs TENSORRT_ROOT", "not run"
        return
    # Its headers name CUDA's: a stand-in for those two types is all that a listing needs.
    headers = (Path(os.environ["TENSORRT_ROOT"]) / "include", "/usr/local/cuda/include")
    source, program = Path(__file__).with_name("creators.cpp"), SYSTEM / "tmp" / "creators"
    flags = ("-std=c++17", "-O1", "-w", *(f"-I{folder}" for folder in headers))
    here("aarch64-linux-gnu-g++", *flags, source, "-o", program, "-ldl")
    done = arm64("/tmp/creators", f"/{found[0].relative_to(SYSTEM)}")
    good = done.returncode == 0 and len(done.stdout.splitlines()) == 2
    yield (
        "creators of the installed library, loaded inside",
        done.stdout + done.stderr,
        "passed" if good else "missed",
    )


Files = dict[str, bytes]


def _digest(files: Files) -> None:
    """Let the manifest agree with a library that was changed."""
    (manifest,) = (name for name in files if name.endswith(".json"))
    (library,) = (name for name in files if manifest == f"{name}.json")
    info = json.loads(files[manifest])
    info["sha256"] = hashlib.sha256(files[library]).hexdigest()
    files[manifest] = json.dumps(info).encode()


def _library(change: Callable[[bytes], bytes], *, agree: bool) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        (name,) = (n.removesuffix(".json") for n in files if n.endswith(".json"))
        files[name] = change(files[name])
        if agree:
            _digest(files)

    return apply


def _gone(ending: str) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        for name in [name for name in files if name.endswith(ending)]:
            del files[name]

    return apply


_FAULTS: dict[str, tuple[Callable[[Files], None] | None, str]] = {
    "a changed byte": (_library(lambda b: b[:-1] + bytes([b[-1] ^ 1]), agree=False), "match"),
    "no manifest": (_gone(".json"), "lacks"),
    "no licence": (_gone("LICENSE"), "lacks"),
    "another CPU": (_library(lambda b: b[:18] + b"\x3e\0" + b[20:], agree=True), "another CPU"),
    "a newer C library": (
        _library(lambda b: re.sub(rb"\0GLIBC_2\.\d\d\0", b"\0GLIBC_2.99\0", b), agree=True),
        "newer system",
    ),
    "cut off": (None, "no"),
}
_MEMBERS = {
    "a path that leads out": ("../../escaped", tarfile.REGTYPE),
    "an absolute path": ("/etc/escaped", tarfile.REGTYPE),
    "a link": ("folder/link", tarfile.SYMTYPE),
    "a device": ("folder/device", tarfile.CHRTYPE),
}


def _refusals(archive: Path) -> Iterator[Row]:
    before = sorted(_INSTALLED.rglob("*"))
    with tarfile.open(archive) as held:
        folder = held.getnames()[0].partition("/")[0]
        files = {Path(one.name).name: file.read() for one in held if (file := held.extractfile(one))}
    for what, (change, word) in _FAULTS.items():
        changed = dict(files)
        if change:
            change(changed)
        data = _packed(folder, changed)
        yield _refused(f"{what}: {archive.name}", data if change else data[: len(data) // 2], word, before)
    for what, (name, kind) in _MEMBERS.items():
        data = _packed(folder, files, (name, kind))
        yield _refused(f"{what}: {archive.name}", data, "does not belong", before)


def _packed(folder: str, files: Files, more: tuple[str, bytes] | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
        if more:
            entry = tarfile.TarInfo(more[0])
            entry.type, entry.linkname = more[1], "/etc/passwd"
            made.addfile(entry, io.BytesIO())
    return gzip.compress(target.getvalue(), 1)


def _refused(what: str, data: bytes, word: str, before: list[Path]) -> Row:
    (SYSTEM / "tmp" / "bad.tar.gz").write_bytes(data)
    done = arm64(_VERB, "plugin", "install", "/tmp/bad.tar.gz")
    said = " ".join(done.stderr.split())
    good = done.returncode == 2 and word in said and "Traceback" not in said
    good &= sorted(_INSTALLED.rglob("*")) == before and not list(SYSTEM.glob("*/escaped"))
    return f"refused: {what}", said, "passed" if good else "missed"

"""What `plugin build --archive` made, against what JetPack ships; and what `plugin install` refuses there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arm64.system import FRESH, WHEELS, WORK, arm64, here, lay_out, platforms
from benchmarks.arm64.walk import DESK, Row
from mimamba_edge.contract import OPS
from mimamba_edge.machine.elf import architecture, needed_versions
from mimamba_edge.naming import version_numbers
from mimamba_edge.outputs import tar_archive
from mimamba_edge.plugins.cmake import nvcc
from tests.machine import boards

_INSTALLED = FRESH / "usr/local/lib/mimamba-edge"
_PLUGIN = "libmimamba_plugin.so"


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
_PAGE_BYTES = 64 << 10
"""The largest page that an Arm kernel may have: a library aligned to less does not load there."""
_OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1"}
"""All that a library may need: CUDA's runtime is inside, and TensorRT is the host that loads it."""
_ENTRIES = {
    "libmimamba_plugin.so": {"getCreators", "setLoggerFinder"},
    "libmimamba_plugin_autoreg.so": set(),
    "libmimamba_ort.so": {
        "RegisterCustomOps",
        "mimamba_ort_info",
        "mimamba_scan_gradients",
        "mimamba_train_scan",
    },
}


def check() -> Iterator[Row]:
    """Check each archive of the walk, and install it in a root where nothing was installed before."""
    found = sorted(DESK.glob("mimamba-*.tar.gz"))
    for path in found:
        with tarfile.open(path) as archive:
            for one in archive:
                if (library := WORK / Path(one.name).name).name in _ENTRIES and (
                    file := archive.extractfile(one)
                ):
                    library.write_bytes(file.read())
                    yield _elf(library, path)
    yield _fresh_root()
    yield from _refusals(found)
    for path in found:
        yield _installs(path)
    yield _creators()


def _fresh_root() -> Row:
    """Lay out an Orin Nano with the package and what every device needs, and nothing else."""
    lay_out(FRESH)
    board = boards.orin_nano(WORK / "board")
    for one in ("etc/nv_tegra_release", "var/lib/dpkg/status"):
        (FRESH / one).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(board / one, FRESH / one)
    (wheel,) = (DESK / "dist").glob("*.whl")
    site = FRESH / "usr" / "lib" / "python3" / "dist-packages"
    given = ("--no-index", f"--find-links={WHEELS}", "--no-compile", f"--target={site}", *platforms())
    here(sys.executable, "-m", "pip", "install", "-q", *given, wheel)
    programs = {path.name for path in FRESH.glob("usr/bin/*")}
    compilers = sorted(programs & {"cc", "gcc", "g++", "cmake", "make", "ld", "git", "pip"})
    held = ", ".join(sorted(path.name for path in site.glob("*.dist-info")))
    return "a fresh root", f"{held}; compilers: {compilers or 'none'}", "missed" if compilers else "passed"


def _installs(archive: Path) -> Row:
    shutil.copy(archive, FRESH / "tmp")
    words = ("plugin", "install", f"/tmp/{archive.name}", "--json")
    done = arm64("python3", "-m", "mimamba_edge", *words, root=FRESH)
    what = f"installed in the fresh root: {archive.name}"
    if done.returncode:
        return what, done.stdout + done.stderr, "missed"
    said = json.loads(done.stdout)
    with tarfile.open(archive) as held:
        wanted = {Path(one.name).name for one in held}
    folder = FRESH / said["path"].lstrip("/")
    lies = {path.name for path in folder.parent.iterdir()}
    good = said["problem"] is None and lies == wanted and folder.is_relative_to(_INSTALLED)
    return what, f"{said['path']}, loaded there; {sorted(lies)}", "passed" if good else "missed"


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
    if bad := re.findall(r"\((RPATH|RUNPATH|TEXTREL)\)", said):
        wrong.append(f"has {bad}")
    pages = re.findall(r"^ +LOAD .* (0x\w+)$", here("readelf", "-W", "-l", library), re.MULTILINE)
    if not pages or min(int(one, 16) for one in pages) < _PAGE_BYTES:
        wrong.append(f"is aligned to {pages}")
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


def _creators() -> Row:
    """Load the installed library inside as TensorRT would, with its headers alone, and list its creators."""
    what, found = (
        "creators of the installed library, loaded inside",
        sorted(_INSTALLED.glob(f"plugin/*/{_PLUGIN}")),
    )
    if not found or not os.environ.get("TENSORRT_ROOT"):
        return what, "needs TENSORRT_ROOT", "not run"
    # TensorRT's headers name CUDA's.
    headers = (Path(os.environ["TENSORRT_ROOT"]) / "include", Path(nvcc()).parents[1] / "include")
    source, program = Path(__file__).with_name("creators.cpp"), FRESH / "tmp" / "creators"
    flags = ("-std=c++17", "-O1", "-w", *(f"-I{folder}" for folder in headers))
    here("aarch64-linux-gnu-g++", *flags, source, "-o", program, "-ldl")
    done = arm64("/tmp/creators", f"/{found[0].relative_to(FRESH)}", root=FRESH)
    good = done.returncode == 0 and len(done.stdout.splitlines()) == len(OPS)
    return what, done.stdout + done.stderr, "passed" if good else "missed"


Files = dict[str, bytes]


def _manifest(files: Files, **facts: object) -> None:
    """Change facts in the manifest; the digest of its library is made to agree."""
    (name,) = (name for name in files if name.endswith(".json"))
    digest = hashlib.sha256(files[name.removesuffix(".json")]).hexdigest()
    files[name] = json.dumps(json.loads(files[name]) | {"sha256": digest} | facts).encode()


def _main(files: Files) -> str:
    (name,) = (name.removesuffix(".json") for name in files if name.endswith(".json"))
    return name


def _changed_byte(files: Files) -> None:
    library = files[_main(files)]
    files[_main(files)] = library[:-1] + bytes([library[-1] ^ 1])


def _x86(files: Files) -> None:
    library = files[_main(files)]
    files[_main(files)] = library[:18] + b"\x3e\0" + library[20:]  # e_machine: EM_X86_64
    _manifest(files)


def _newer_libc(files: Files) -> None:
    files[_main(files)] = re.sub(rb"\0GLIBC_2\.\d\d\0", b"\0GLIBC_2.99\0", files[_main(files)])
    _manifest(files)


def _thors(files: Files) -> None:
    _manifest(files, cuda="13.2")


_TRY = """
import json, pathlib, sys
from mimamba_edge.errors import PluginError
from mimamba_edge.plugins.install import install
for name in sys.argv[1:]:
    try:
        said = f"installed: {install(pathlib.Path(name)).path}"
    except PluginError as error:
        said = str(error)
    print(json.dumps(said))
"""
_FAULTS: dict[str, tuple[Callable[[Files], None], str]] = {
    "a changed byte": (_changed_byte, "match"),
    "another CPU": (_x86, "another CPU"),
    "a newer C library": (_newer_libc, "newer system"),
    "CUDA 13 on JetPack 6": (_thors, "newer CUDA"),
}
"""What is done to an archive, and a word of what is said of it."""


def _refusals(archives: Sequence[Path]) -> Iterator[Row]:
    """Try spoilt archives, all in one process: under emulation a start takes long."""
    tried: dict[str, str] = {}
    for archive in archives:
        with tarfile.open(archive) as held:
            folder = held.getnames()[0].partition("/")[0]
            files = {Path(one.name).name: file.read() for one in held if (file := held.extractfile(one))}
        for what, (change, word) in _FAULTS.items():
            # The driver matters to plugins alone.
            if change is not _thors or _main(files) == _PLUGIN:
                changed = dict(files)
                change(changed)
                name = f"{what}: {archive.name}"
                (FRESH / "tmp" / name).write_bytes(tar_archive(folder, changed, compress=True))
                tried[name] = word
        name = f"cut off: {archive.name}"
        (FRESH / "tmp" / name).write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        tried[name] = "no archive"
    done = arm64("python3", "-c", _TRY, *(f"/tmp/{name}" for name in tried), root=FRESH)
    said = done.stdout.splitlines()
    if done.returncode or len(said) != len(tried):
        yield "refusals", done.stdout + done.stderr, "missed"
        return
    for (name, word), one in zip(tried.items(), map(json.loads, said), strict=True):
        yield f"refused: {name}", " ".join(one.split()), "passed" if word in one else "missed"
    left = sorted(map(str, _INSTALLED.rglob("*")))
    yield "left by what was refused", f"{left or 'nothing'}", "missed" if left else "passed"

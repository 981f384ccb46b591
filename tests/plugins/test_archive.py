"""A plugin library packed on one machine and installed on another, without a compiler."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.artifact import manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ConfigError, OutputError, PluginError
from mimamba_edge.machine import gpu
from mimamba_edge.plugins.archive import archive_name, pack
from mimamba_edge.plugins.install import check_board, install
from mimamba_edge.runtime import native_ops
from mimamba_edge.trt import library as plugin_library
from mimamba_edge.trt.library import AUTOREG, LIBRARY, PluginInfo, autoreg_path, describe_library, find_plugin
from tests.cli.conftest import Result, run
from tests.machine import boards
from tests.onnxruntime_ops.conftest import native

__all__ = ["native", "run"]

MACHINES = {"x86_64": 62, "aarch64": 183}


def _elf(machine: str, body: bytes) -> bytes:
    """Return a library that dlopen takes: one segment, and tables of symbols and strings that are empty."""
    dynamic = 64 + 2 * 56
    empty = dynamic + 5 * 16
    size = empty + 24 + len(body)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, MACHINES[machine], 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    for kind, start, length, align in ((1, 0, size, 4096), (2, dynamic, 80, 8)):  # PT_LOAD, PT_DYNAMIC
        head += struct.pack("<IIQQQQQQ", kind, 6, start, start, start, length, length, align)
    for entry in ((5, empty), (6, empty), (10, 1), (11, 24), (0, 0)):  # DT_STRTAB, SYMTAB, STRSZ, SYMENT
        head += struct.pack("<QQ", *entry)
    return head + bytes(24) + body


def _library(folder: Path, machine: str = platform.machine(), **facts: Any) -> Path:
    folder.mkdir(parents=True)
    path = folder / LIBRARY
    path.write_bytes(_elf(machine, b"plugin"))
    autoreg_path(path).write_bytes(_elf(machine, b"registers itself"))
    info = PluginInfo(
        file=LIBRARY,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        autoreg_sha256=hashlib.sha256(autoreg_path(path).read_bytes()).hexdigest(),
        mimamba_edge="0.1.0",
        ops=OPS,
        tensorrt_headers="10.3.0",
        cuda="12.6",
        architectures=(87,),
        host_kernels=False,
        compiler="g++ 11.4",
    )
    manifest_path(path).write_text(json.dumps(info.to_dict() | facts), encoding="utf-8")
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without libraries; its folders are below the returned one."""
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIMAMBA_PLUGIN", raising=False)
    monkeypatch.setattr(plugin_library, "SYSTEM_FOLDER", tmp_path / "system" / "plugin")
    return tmp_path


@pytest.mark.parametrize(("user", "place"), [(0, "system/plugin"), (1000, "cache/plugin")])
def test_what_was_packed_is_found_after_it_was_installed(
    machine: Path, monkeypatch: pytest.MonkeyPatch, user: int, place: str
) -> None:
    built = describe_library(_library(machine / "built"))
    archive = pack(built, machine)
    assert archive.name == f"mimamba-plugin_0.1.0_tensorrt10.3.0_cuda12.6_sm87_{platform.machine()}.tar.gz"
    with pytest.raises(PluginError, match="no usable plugin"):
        find_plugin(sm=87)
    monkeypatch.setattr("os.geteuid", lambda: user)
    installed = install(archive)
    assert installed.path.parent.parent == machine / place
    assert find_plugin(sm=87) == installed
    assert (installed.sha256, installed.info) == (built.sha256, built.info)
    assert autoreg_path(installed.path).read_bytes() == autoreg_path(built.path).read_bytes()
    assert installed.path.parent.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in installed.path.parent.iterdir()} == {0o644}
    assert {path.name for path in installed.path.parent.iterdir()} >= {"LICENSE", "NOTICE"}
    assert install(archive).path == installed.path
    assert len(list((machine / place).iterdir())) == 1


def test_own_libraries_come_before_the_systems(machine: Path) -> None:
    own = _library(machine / "cache" / "plugin" / "own")
    theirs = machine / "system" / "plugin"
    install(pack(describe_library(own), machine), theirs)
    found = [library.path for library in plugin_library.list_plugins()]
    assert found[0] == own
    assert found[1].is_relative_to(theirs)
    assert len(found) == 2


def test_the_same_libraries_give_the_same_bytes(machine: Path) -> None:
    built = describe_library(_library(machine / "built"))
    first = pack(built, machine / "a.tar.gz").read_bytes()
    assert pack(built, machine / "b.tar.gz").read_bytes() == first


def _packed(entries: list[tuple[tarfile.TarInfo, bytes]], path: Path) -> Path:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for entry, data in entries:
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    path.write_bytes(gzip.compress(target.getvalue()))
    return path


def _changed(archive: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with tarfile.open(archive) as held:
        files: dict[str, Any] = {one.name: held.extractfile(one) for one in held}
        files = {name: file.read() for name, file in files.items()}
    change(files)
    return _packed([(tarfile.TarInfo(name), data) for name, data in files.items()], archive)


def _flip(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        (key,) = (key for key in files if Path(key).name == name)
        files[key] = files[key][:-1] + bytes([files[key][-1] ^ 1])

    return change


@pytest.mark.parametrize("name", [LIBRARY, AUTOREG])
def test_a_changed_byte_is_refused(machine: Path, name: str) -> None:
    archive = _changed(pack(describe_library(_library(machine / "built")), machine), _flip(name))
    with pytest.raises(PluginError, match="not match"):
        install(archive)
    assert not (machine / "system").exists()
    assert not (machine / "cache").exists()


def test_a_library_for_another_cpu_is_refused(machine: Path) -> None:
    other = next(name for name in MACHINES if name != platform.machine())
    archive = pack(describe_library(_library(machine / "built", other)), machine)
    assert archive.name.endswith(f"{other}.tar.gz")
    _library(machine / "cache" / "plugin" / "cross", other)
    with pytest.raises(PluginError, match="is for another CPU"):
        find_plugin(sm=87)
    with pytest.raises(PluginError, match="for another CPU") as refused:
        install(archive)
    assert (refused.value.got, refused.value.expected) == (other, platform.machine())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../../escaped", tarfile.REGTYPE),
        ("/tmp/absolute", tarfile.REGTYPE),
        (f"folder/deeper/{LIBRARY}", tarfile.REGTYPE),
        ("folder/more", tarfile.REGTYPE),
        ("folder", tarfile.DIRTYPE),
        ("folder/link", tarfile.SYMTYPE),
        ("folder/hard", tarfile.LNKTYPE),
        ("folder/device", tarfile.CHRTYPE),
        ("folder/pipe", tarfile.FIFOTYPE),
        (f"folder/{LIBRARY}", tarfile.SYMTYPE),
    ],
)
def test_a_member_that_does_not_belong_there_is_refused(machine: Path, name: str, kind: bytes) -> None:
    """A good archive with one more member; the last hides the library behind a link."""
    archive = pack(describe_library(_library(machine / "built")), machine)
    with tarfile.open(archive) as held:
        members = [(one, file.read()) for one in held if (file := held.extractfile(one))]
    added = tarfile.TarInfo(name)
    added.type, added.linkname = kind, "/etc/passwd"
    with pytest.raises(PluginError, match="no archive of a library"):
        install(_packed([*members, (added, b"")], archive))
    assert not (machine / "system").exists()
    assert not (machine / "cache").exists()
    assert not list(machine.rglob("escaped"))


@pytest.mark.parametrize("name", [LIBRARY, AUTOREG, f"{LIBRARY}.json", "LICENSE"])
def test_a_member_that_is_missing_is_named(machine: Path, name: str) -> None:
    def change(files: dict[str, bytes]) -> None:
        (key,) = (key for key in files if Path(key).name == name)
        del files[key]

    archive = _changed(pack(describe_library(_library(machine / "built")), machine), change)
    with pytest.raises(PluginError, match="no archive of a library") as refused:
        install(archive)
    assert name in str(refused.value.got) or name == LIBRARY


def test_a_library_that_this_system_does_not_load_is_refused(machine: Path) -> None:
    built = _library(machine / "built")
    built.write_bytes(
        built.read_bytes().replace(struct.pack("<QQ", 6, 256), bytes(16))
    )  # no table of symbols
    info = json.loads(manifest_path(built).read_text(encoding="utf-8"))
    info["sha256"] = hashlib.sha256(built.read_bytes()).hexdigest()
    manifest_path(built).write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(PluginError, match="does not load"):
        install(pack(describe_library(built), machine))
    assert not (machine / "system").exists()


def test_native_ops_in_the_same_form(
    machine: Path, native: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One `plugin install` for what TensorRT and what ONNX Runtime load."""
    monkeypatch.delenv("MIMAMBA_ORT_OPS")
    monkeypatch.setattr(native_ops, "SYSTEM_FOLDER", machine / "system" / "ops")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    built = machine / "built"
    built.mkdir()
    (built / native.name).write_bytes(native.read_bytes())
    info = native_ops.NativeInfo(native.name, sha256_file(native), "0.1.0", OPS, platform.machine(), "g++ 12")
    write_json(manifest_path(built / native.name), info.to_dict())
    archive = pack(native_ops.describe_native_ops(built / native.name), machine)
    assert archive.name == f"mimamba-ops_0.1.0_onnxruntime_cpu_{platform.machine()}.tar.gz"
    assert native_ops.find_native_ops() is None
    done = run("plugin", "install", archive)
    assert done.code == 0, done.err
    found = native_ops.find_native_ops()
    assert found is not None
    assert str(found.path) == done.out.strip()
    assert found.path.parent.parent == machine / "system" / "ops"
    assert {path.name for path in found.path.parent.iterdir()} == {
        native.name, f"{native.name}.json", "LICENSE", "NOTICE",
    }  # fmt: skip
    assert "CUDA" not in (found.path.parent / "NOTICE").read_text()
    with pytest.raises(PluginError, match="not match"):
        install(_changed(archive, _flip(native.name)))


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"no tar", mtime=0), None, "cut"],
    ids=["empty", "text", "gzip", "gone", "cut"],
)
def test_files_that_are_no_archive(machine: Path, content: bytes | str | None) -> None:
    path = machine / "x.tar.gz"
    if content == "cut":
        whole = pack(describe_library(_library(machine / "built")), machine).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(PluginError, match="not there" if content is None else "archive|not whole"):
        install(path)


def test_what_cannot_be_packed(machine: Path) -> None:
    library = _library(machine / "built")
    with pytest.raises(ConfigError, match="not a name"):
        pack(describe_library(library), machine / "x.zip")
    mine = machine / "mine.tar.gz"
    mine.write_bytes(b"mine")
    with pytest.raises(OutputError, match="did not write"):
        pack(describe_library(library), mine)
    autoreg_path(library).unlink()
    with pytest.raises(PluginError, match="registers itself"):
        pack(describe_library(library), machine)
    manifest_path(library).unlink()
    with pytest.raises(PluginError, match="no manifest"):
        archive_name(describe_library(library))


def test_the_command(machine: Path, run: Callable[..., Result]) -> None:
    archive = pack(describe_library(_library(machine / "built")), machine)
    done = run("plugin", "install", archive)
    assert done.code == 0, done.err
    assert Path(done.out.strip()) == find_plugin(sm=87).path
    assert run("plugin", "install", machine / "gone.tar.gz").code == 2
    for wrong in (
        ("--cuda", "12.6"),
        ("--machine", "aarch64", "--arch", "87"),
        ("--wheel", "w", "--archive", "a"),
    ):
        assert run("plugin", "build", "--host", "onnxruntime", *wrong).code == 2


def test_a_library_of_a_newer_system_is_refused(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu 22.04, which JetPack 6 is, has glibc 2.35."""
    archive = pack(describe_library(_library(machine / "built")), machine)
    monkeypatch.setattr("os.confstr", lambda name: "glibc 2.35")
    asked = {"GLIBC_2.17", "GLIBC_2.38", "GLIBCXX_3.4.99"}
    monkeypatch.setattr("mimamba_edge.plugins.install.needed_versions", lambda path: asked)
    with pytest.raises(PluginError, match="newer system") as refused:
        install(archive)
    assert refused.value.expected == "glibc 2.38 or newer"
    asked.discard("GLIBC_2.38")
    assert install(archive).problem is None


JETPACK_6_0 = "Package: libnvinfer8\nStatus: install ok installed\nVersion: 8.6.2.3-1+cuda12.2\n"


@pytest.mark.parametrize(
    ("board", "facts", "says"),
    [
        (boards.orin_nano, {"cuda": "12.4"}, None),
        (boards.orin_nano, {"cuda": "12.9"}, None),
        (boards.orin_nano, {"cuda": "13.0"}, ("CUDA 13.0", "CUDA 12.x", "JetPack 6.2", "--cuda 12.6 ")),
        (boards.orin_nano_7, {"cuda": "13.2"}, None),
        (boards.orin_nano_7, {"cuda": "12.6"}, None),
        (boards.thor, {"cuda": "13.0", "architectures": [110]}, None),
        (boards.thor, {"cuda": "14.0", "architectures": [110]}, ("CUDA 14.0", "JetPack 7.1", "--arch 110")),
        (boards.orin_nano, {"architectures": [110]}, ("no code for this GPU", "[110]", "--arch 87")),
        (boards.laptop, {"cuda": "13.0"}, None),
    ],
)  # fmt: skip
def test_what_a_board_cannot_run_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    board: Callable[[Path], Path],
    facts: dict[str, Any],
    says: tuple[str, ...] | None,
) -> None:
    """Recorded boards: JetPack 6 has CUDA 12 and TensorRT 10, JetPack 7 CUDA 13."""
    monkeypatch.setattr(gpu, "driver_cuda", lambda: None)
    monkeypatch.setattr(gpu, "gpus", list)
    library, root = describe_library(_library(tmp_path / "built", **facts)), board(tmp_path / "board")
    if says is None:
        check_board(library, root)
        return
    with pytest.raises(PluginError) as refused:
        check_board(library, root)
    assert all(word in str(refused.value) for word in says), str(refused.value)


def test_a_tensorrt_that_has_not_the_librarys_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "driver_cuda", lambda: "12.6")
    root = boards.orin_nano(tmp_path / "board")
    newer = describe_library(_library(tmp_path / "newer", tensorrt_headers="11.1.0"))
    check_board(newer, root)
    assert "registers itself in TensorRT 11 alone, and this machine has 10" in capsys.readouterr().err
    (root / "var/lib/dpkg/status").write_text(JETPACK_6_0)
    with pytest.raises(PluginError, match="another TensorRT") as refused:
        check_board(newer, root)
    assert "JetPack 6.1 or later" in str(refused.value)


def test_the_driver_is_asked_before_a_table(
    machine: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]
) -> None:
    monkeypatch.setattr(gpu, "driver_cuda", lambda: "12.2")
    archive = pack(describe_library(_library(machine / "built", cuda="13.0")), machine)
    done = run("plugin", "install", archive)
    assert done.code == 2
    assert f"{archive} is for a newer CUDA" in " ".join(done.err.split())
    assert not (machine / "system").exists()
    assert not (machine / "cache").exists()
    monkeypatch.setattr(gpu, "driver_cuda", lambda: "13.2")
    assert run("plugin", "install", archive).code == 0

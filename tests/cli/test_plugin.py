"""``plugin build|path|list`` with a stand-in for CMake: what is asked of it, what is made of its answers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from mimamba_edge.errors import ConfigError, DependencyError
from mimamba_edge.machine import gpu as machine_gpu
from mimamba_edge.machine.discrete import Gpu
from mimamba_edge.plugins import build as driver
from mimamba_edge.trt.library import AUTOREG, LIBRARY

_CMAKE = """
import os, pathlib, sys
args = sys.argv[1:]
here = pathlib.Path(__file__).parent
if "--build" not in args:
    settings = dict(a[2:].split("=", 1) for a in args if a.startswith("-D"))
    (here / "asked").write_text(repr(settings))
    print("-- configured")
else:
    for i in (1, 2, 3):
        share = f"{100 * i // 3:3}%" if (here / "make").exists() else f"{i}/3"
        print(f"[{share}] Building CXX object {i}", flush=True)
    if (here / "broken").exists():
        print("core.cpp:7:1: error: 'nonsense' does not name a type")
        print("ninja: build stopped: subcommand failed.")
        sys.exit(1)
    lib = pathlib.Path(eval((here / "asked").read_text())["CMAKE_LIBRARY_OUTPUT_DIRECTORY"])
    lib.mkdir(parents=True)
    for name in ("libmimamba_plugin.so", "libmimamba_plugin_autoreg.so"):
        (lib / name).write_bytes(name.encode() + b" for tests")
"""
_NVCC = """
import sys
if "--list-gpu-code" in sys.argv: print("sm_75\\nsm_87\\nsm_90")
else: print("Cuda compilation tools, release 12.6, V12.6.68")
"""


def _program(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\n{code}")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Path:
    """A folder of programs that is all of PATH, headers of 10.13.3, an empty cache, no GPU."""
    folder = tmp_path / "bin"
    folder.mkdir()
    _program(folder, "cmake", _CMAKE)
    _program(folder, "nvcc", _NVCC)
    _program(folder, "g++", "print('g++ 11.4.0')")
    include = tmp_path / "tensorrt" / "include"
    include.mkdir(parents=True)
    (include / "NvInfer.h").write_text("")
    lines = [
        f"#define TRT_{p}_ENTERPRISE {n}"
        for p, n in zip(("MAJOR", "MINOR", "PATCH"), (10, 13, 3), strict=True)
    ]
    (include / "NvInferVersion.h").write_text("\n".join(lines))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TENSORRT_ROOT", str(include.parent))
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    for name in ("MIMAMBA_PLUGIN", "CUDACXX", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine_gpu, "gpus", list)
    monkeypatch.setattr(machine_gpu, "compute_capability", lambda: None)
    return folder


def test_build_list_and_path(run, tools, tmp_path) -> None:
    assert "plugin build" in run("plugin", "list").out
    assert run("plugin", "path").code == 2
    done = run("plugin", "build", "--arch", "8.7,sm_90", "--json")
    assert done.code == 0, done.err
    made = json.loads(done.out)
    library = Path(made["path"])
    assert made["problem"] is None
    assert made["info"]["tensorrt_headers"] == "10.13.3"
    assert made["info"]["cuda"] == "12.6"
    assert made["info"]["architectures"] == [87, 90]
    assert json.loads(library.with_name(LIBRARY + ".json").read_text()) == made["info"]
    assert sorted(path.name for path in library.parent.iterdir()) == sorted(
        ["build.log", LIBRARY, LIBRARY + ".json", AUTOREG]
    )
    asked = eval((tools / "asked").read_text())
    assert asked["CMAKE_CUDA_ARCHITECTURES"] == "87;90"
    assert asked["TENSORRT_ROOT"] == os.environ["TENSORRT_ROOT"]
    assert run("plugin", "path").out.strip() == str(library)
    assert run("plugin", "path", "--autoreg").out.strip() == str(library.with_name(AUTOREG))
    table = run("plugin", "list").out
    assert all(word in table for word in (str(library), "SelectiveScan 1", "10.13.3", "12.6", "87, 90", "ok"))
    # Built of the same sources with the same tools: not again.
    (tools / "broken").touch()
    assert run("plugin", "build", "--arch", "87", "--arch", "90").out.strip() == str(library)
    library.write_bytes(b"another")
    assert "does not match its manifest" in run("plugin", "list").out
    assert "does not match its manifest" in run("plugin", "path").err
    library.with_name(AUTOREG).unlink()
    (tools / "broken").unlink()
    assert run("plugin", "build", "--arch", "87,90").code == 0
    assert json.loads(run("plugin", "list", "--json").out)[0]["problem"] is None


def test_a_failed_build_names_the_log_and_the_compilers_words_and_leaves_what_was_there(
    run,
    tools,
    tmp_path,
) -> None:
    folder = tmp_path / "out"
    assert run("plugin", "build", "--arch", "87", "-o", folder).code == 0
    before = (folder / LIBRARY).read_bytes()
    (tools / "broken").touch()
    done = run("plugin", "build", "--arch", "87", "-o", folder)
    assert done.code == 2
    assert "error: 'nonsense' does not name a type" in done.err
    assert str(folder / "build.log") in done.err
    assert "nonsense" in (folder / "build.log").read_text()
    assert (folder / LIBRARY).read_bytes() == before
    assert not list(folder.glob(".build-*"))


def test_the_architecture_comes_from_the_machine(tools, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="--arch 87"):
        driver.architectures()
    for word in ("orin", "8", "87x", "sm_"):
        with pytest.raises(ConfigError, match="not a GPU architecture"):
            driver.architectures([word])
    gpu = Gpu("H200", "580", 90, *[None] * 7, ())
    monkeypatch.setattr(machine_gpu, "gpus", lambda: [gpu, gpu])
    assert driver.architectures() == (90,)
    monkeypatch.setattr(machine_gpu, "compute_capability", lambda: 110)
    assert driver.architectures() == (110,)
    with pytest.raises(ConfigError, match=r"got: +\[110\]"):
        driver.build_plugin((110,))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("cmake", "apt install cmake"),
        ("g++", "apt install g"),
        ("nvcc", "CUDA toolkit, 12.6"),
        ("", "TENSORRT_ROOT"),
    ],
)
def test_what_is_missing_is_named_with_a_remedy(tools, tmp_path, monkeypatch, missing, words) -> None:
    if missing:
        (tools / missing).unlink()
        if missing == "nvcc":
            monkeypatch.setenv("CUDACXX", str(tools / "nvcc"))
    else:
        (tmp_path / "tensorrt" / "include" / "NvInferVersion.h").write_text("nothing")
    with pytest.raises(DependencyError, match=words):
        driver.find_tools()


def test_an_output_that_cannot_be_written(tools, tmp_path) -> None:
    from mimamba_edge.errors import OutputError

    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        driver.build_plugin((87,), tmp_path / "file")


@pytest.mark.parametrize("make", [True, False])
def test_progress_of_both_generators(tools, tmp_path, make) -> None:
    if make:
        (tools / "make").touch()
    told: list[tuple[float, str]] = []
    driver.build_plugin((87,), tmp_path / "out", progress=lambda *step: told.append(step))
    assert [what for _, what in told] == [f"Building CXX object {i}" for i in (1, 2, 3)]
    assert [share for share, _ in told] == pytest.approx([1 / 3, 2 / 3, 1.0], abs=0.01)


def test_the_cuda_toolkit_that_was_asked_for(tools, tmp_path) -> None:
    assert driver.find_tools(cuda="12.6").cuda == "12.6"
    with pytest.raises(DependencyError, match=r"nvcc of CUDA 13\.2") as missing:
        driver.find_tools(cuda="13.2")
    assert "CUDA 12.6" in str(missing.value)
    assert "cuda-toolkit-13-2" in str(missing.value)


def test_another_cpu_needs_its_compiler_and_cudas_libraries(tools, tmp_path) -> None:
    with pytest.raises(DependencyError, match=r"aarch64-linux-gnu-g\+\+"):
        driver.find_tools(machine="aarch64")
    _program(tools, "aarch64-linux-gnu-g++", "print('g++ 12.2.0')")
    with pytest.raises(DependencyError, match="no libraries for aarch64") as missing:
        driver.find_tools(machine="aarch64")
    assert "cuda-cross-aarch64-12-6" in str(missing.value)  # JetPack 6's, not those of Arm servers
    library = tmp_path / "targets" / "aarch64-linux" / "lib" / "libcudart_static.a"
    library.parent.mkdir(parents=True)
    library.touch()
    settings = driver.find_tools(machine="aarch64").settings
    assert settings["CUDA_cudart_static_LIBRARY"] == str(library)
    assert settings["CMAKE_CXX_COMPILER"] == str(tools / "aarch64-linux-gnu-g++")
    with pytest.raises(DependencyError, match="riscv64"):
        driver.find_tools(machine="riscv64")

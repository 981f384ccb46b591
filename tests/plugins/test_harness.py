"""The harness of the plugins: that it passes good libraries, and that it can fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.plugins import KERNELS
from tests.kept import cxx, plugin_build

PLUGINS = KERNELS.parent
CHECK_HEADERS, GPU_TEST = PLUGINS / "check_headers.sh", PLUGINS / "gpu_test.sh"
FAULTY = Path(__file__).with_name("faulty.cpp")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={**os.environ, **environment}
    )


class Built:
    """Harness and library for the headers in TENSORRT_ROOT, on the host."""

    def __init__(self, headers: Path, folder: Path) -> None:
        self.headers = headers
        self.harness = folder / "build" / "harness" / "mimamba_harness"
        self.kernels = folder / "build" / "harness" / "mimamba_harness_kernels"
        self.library = folder / "lib" / "libmimamba_plugin.so"


@pytest.fixture(scope="session")
def built() -> Built:
    root = os.environ.get("TENSORRT_ROOT", "")
    if not root or not Path(root, "include", "NvInfer.h").is_file():
        pytest.skip(
            "needs TensorRT's headers: set TENSORRT_ROOT to a folder that holds include/ of NVIDIA/TensorRT"
        )
    headers = Path(root).resolve()
    settings = {
        "MIMAMBA_HOST_KERNELS": "ON",
        "MIMAMBA_STRICT": "ON",
        "TENSORRT_ROOT": str(headers),
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O1",
    }
    targets = ("mimamba_plugin", "mimamba_harness", "mimamba_harness_kernels")
    return Built(headers, plugin_build("harness", targets, settings, cxx(), headers=headers))


def test_the_plugins_hold(built: Built) -> None:
    done = run(built.harness, built.library)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d{4,} checks passed, 0 failed$", done.stdout, re.M)
    assert not [line for line in done.stdout.splitlines() if line.startswith("FAILED")]


def test_a_seed_repeats_a_run_and_the_run_says_what_computes(built: Built) -> None:
    done = run(built.kernels, "--small", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 3 ")
    assert "no kernels in this build: the float64 reference computes in their place" in done.stdout
    assert run(built.kernels, "--small", "--seed", "3").stdout == done.stdout, "a seed repeats a run"


# One fault each, and a group of checks that must see it.
FAULTS = {
    "field-name": "creators",
    "field-type": "creators",
    "namespace": "creators",
    "silent": "attributes that are refused",
    "shape": "shapes of outputs",
    "misfit": "shapes that do not fit",
    "type": "types of outputs",
    "format": "every type and format",
    "plan": "what a plan keeps",
    "workspace": "workspace grows",
    "numbers": "scan numbers, float32",
    "nothing": "mstb numbers, float16",
    "outside": "scan numbers, float32",
    "parts": "scan, B, C and z as parts of wider rows",
}


@pytest.fixture(scope="session")
def faulty(built: Built, cuda_headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    includes = ("-isystem", built.headers / "include", "-isystem", cuda_headers)
    library = tmp_path_factory.mktemp("faulty") / "libfaulty.so"
    command = ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", f'-DREAL="{built.library}"', str(FAULTY)]
    done = run(*command, "-o", library, *includes, "-ldl")
    assert done.returncode == 0, done.stderr
    return library


def test_the_faulty_library_without_its_fault_holds(built: Built, faulty: Path) -> None:
    done = run(built.harness, faulty, "--small", FAULT="none")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found(built: Built, faulty: Path, fault: str) -> None:
    done = run(built.harness, faulty, "--small", FAULT=fault)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert [line for line in failed if FAULTS[fault] in line], done.stdout


def test_what_cannot_be_loaded_is_named(built: Built, tmp_path: Path) -> None:
    done = run(built.harness, tmp_path / "no.so")
    assert done.returncode == 2
    assert "cannot be loaded" in done.stderr
    assert "no.so" in done.stderr
    other = run(built.harness, "libm.so.6")
    assert other.returncode == 2
    assert "lacks an entry: getCreators" in other.stderr
    assert run(built.harness).returncode == 2
    assert "usage" in run(built.harness, built.library, "--seed", "x").stderr


@pytest.fixture
def bash() -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash: apt install bash")


@pytest.mark.usefixtures("bash")
def test_check_headers_names_what_is_missing(tmp_path: Path) -> None:
    def refused(*words: str | Path, **environment: str) -> str:
        done = run(CHECK_HEADERS, *words, **environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "\n  do: " in done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "no folder was named" in refused()
    assert f"there is no folder {tmp_path}/nowhere" in refused(tmp_path / "nowhere")
    assert f"{tmp_path} has no include/NvInfer.h" in refused(tmp_path)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "NvInfer.h").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "env", "dirname", "sed"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    assert "cmake was not found" in refused(tmp_path, PATH=str(tools), CXX="")
    (tools / "cmake").symlink_to("bash")
    assert "no C++ compiler was found" in refused(tmp_path, PATH=str(tools), CXX="")
    assert "CXX names nothing-like-it" in refused(tmp_path, CXX="nothing-like-it", PATH=str(tools))


@pytest.mark.parametrize(("version", "standard"), [((11, 4, 1), "17"), ((11, 5, 0), "20")])
def test_plugins_are_compiled_as_the_cplusplus_that_their_headers_want(
    built: Built, tmp_path: Path, version: tuple[int, int, int], standard: str
) -> None:
    shutil.copytree(built.headers / "include", tmp_path / "include")
    names = ("MAJOR", "MINOR", "PATCH")
    lines = [f"#define NV_TENSORRT_{part} {number}\n" for part, number in zip(names, version, strict=True)]
    (tmp_path / "include" / "NvInferVersion.h").write_text("".join(lines))
    options = ("-DMIMAMBA_HOST_KERNELS=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    done = run("cmake", "-S", PLUGINS, "-B", tmp_path / "b", f"-DTENSORRT_ROOT={tmp_path}", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = json.loads((tmp_path / "b" / "compile_commands.json").read_text())
    found = {Path(c["file"]).name: re.findall(r"-std=c\+\+(\w+)", c["command"]) for c in commands}
    for name in ("core.cpp", "creators.cpp", "main.cpp", "autoreg.cpp", "shape_checks.cpp"):
        assert found[name] == [standard], name


@pytest.mark.usefixtures("bash")
@pytest.mark.skipif(
    shutil.which("g++") is None or shutil.which("cmake") is None, reason="needs g++ and cmake"
)
def test_check_headers_fails_where_a_version_does_not_build(tmp_path: Path) -> None:
    for name in ("NvInfer.h", "NvInferRuntime.h"):
        (tmp_path / "include").mkdir(exist_ok=True)
        (tmp_path / "include" / name).write_text("#error no TensorRT at all\n")
    (tmp_path / "include" / "NvInferVersion.h").write_text(
        "".join(f"#define NV_TENSORRT_{part} {n}\n" for part, n in (("MAJOR", 7), ("MINOR", 2), ("PATCH", 3)))
    )
    done = run(CHECK_HEADERS, tmp_path, TMPDIR=str(tmp_path))
    if "CUDA's headers were not found" in done.stderr:
        pytest.skip("needs CUDA's headers: install the CUDA toolkit or set CUDA_HOME")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^7\.2\.3 +no .* FAILED, see (\S+)$", done.stdout, re.M)
    assert "7.2.3 is too old" in done.stderr
    log = re.search(r"see (\S+)$", done.stdout, re.M)
    assert log is not None
    assert Path(log[1]).is_file()


@pytest.mark.usefixtures("bash")
def test_gpu_test_names_what_is_missing(tmp_path: Path) -> None:
    done = run(GPU_TEST, "--quick")
    assert done.returncode == 2
    assert "takes no arguments, got: --quick" in done.stderr
    for tool in ("bash", "env", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = run(GPU_TEST, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "nvcc was not found" in done.stderr

"""doctor on machines that are not here: their files in a folder, TensorRT as modules on the path."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest

from mimamba_edge.bench import environment
from mimamba_edge.contract import OPS
from mimamba_edge.doctor import board as checks_board
from mimamba_edge.doctor import tensorrt as checks_tensorrt
from mimamba_edge.errors import DependencyError, EngineError
from mimamba_edge.machine import discrete
from mimamba_edge.trt import cuda as trt_cuda
from mimamba_edge.trt import library as plugin_library
from mimamba_edge.trt.library import LIBRARY, PluginInfo, PluginLibrary
from tests.machine import boards
from tests.machine.test_discrete import H200, HOT

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _board(root) -> dict:
    found = {finding.name: finding for finding in checks_board.jetson(root)}
    for finding in found.values():
        assert finding.state == "ok" or finding.remedy
    return found


@pytest.fixture
def no_tensorrt(monkeypatch):
    """No package of TensorRT can be found, whatever is installed here; nor is there a GPU."""
    find_spec = importlib.util.find_spec
    hidden = lambda name: None if name.startswith("tensorrt") else find_spec(name)  # noqa: E731
    monkeypatch.setattr(checks_tensorrt.importlib.util, "find_spec", hidden)
    monkeypatch.setattr(discrete, "gpus", lambda: [])


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that makes a package `tensorrt` in a folder and puts that on the path."""
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)

    def _install(version, folder="site-packages", library=b""):
        site = tmp_path / "python" / folder
        package = site / "tensorrt"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"__version__ = {version!r}\n")
        (package / "tensorrt.so").write_bytes(library)
        monkeypatch.syspath_prepend(str(site))

    yield _install
    sys.modules.pop("tensorrt", None)


def test_orin_nano_is_told_its_mode_and_clocks(tmp_path) -> None:
    found = _board(boards.orin_nano(tmp_path))
    assert found["Jetson"].value.endswith("Developer Kit Super, SM 87")
    assert (found["JetPack"].state, found["JetPack"].value) == ("ok", "6.2 (Jetson Linux 36.4.3)")
    assert found["power mode"].state == "warning"
    # The number of the mode differs between modules: 2 here, 0 on an AGX Orin.
    assert "sudo nvpmodel -m 2" in found["power mode"].remedy
    # Free clocks are how a product runs: a note, no warning.
    assert found["clocks"].state == "ok"
    assert "sudo jetson_clocks" in found["clocks"].remedy
    assert found["temperature"].state == found["power supply"].state == "ok"
    assert "VDD_IN 4.8 W" in found["power rails"].value
    assert "3.7 GiB in compressed memory, 0.0 GiB on disk" in found["swap"].value


def test_agx_orin_is_hot_and_its_supply_weak(tmp_path) -> None:
    found = _board(boards.agx_orin(tmp_path))
    assert found["JetPack"].value.startswith("6.1 ")
    assert found["power mode"].state == "ok"
    assert found["clocks"].value.endswith("locked")
    assert not found["clocks"].remedy
    assert found["temperature"].state == "warning"
    assert "throttled: cpu, gpu" in found["temperature"].value
    assert (
        found["power supply"].value == "since boot 2 x average over-current, 37 x instantaneous over-current"
    )


def test_thor(tmp_path) -> None:
    found = _board(boards.thor(tmp_path))
    assert found["Jetson"].value == "NVIDIA Jetson AGX Thor Developer Kit, SM 110"
    assert found["JetPack"].value == "7.1 (Jetson Linux 38.4.0)"
    assert "sudo nvpmodel -m 0" in found["power mode"].remedy
    assert "VIN 23.1 W" in found["power rails"].value


def test_other_machines_have_no_line_of_it(tmp_path) -> None:
    assert _board(boards.laptop(tmp_path)) == {}


@pytest.mark.parametrize(
    ("release", "state"),
    [("R35 (release), REVISION: 6.0", "wrong"), ("R36 (release), REVISION: 3.0", "wrong"), ("", "warning")],
)
def test_old_and_hidden_jetpacks(tmp_path, release, state) -> None:
    root = boards.orin_nano(tmp_path)
    (root / "var/lib/dpkg/status").unlink()
    (root / "etc/nv_tegra_release").write_text(f"# {release}, GCID: 1\n" if release else "")
    assert _board(root)["JetPack"].state == state


def test_a_container_that_sees_only_the_release(tmp_path) -> None:
    root = boards.write(tmp_path, {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n"})
    found = _board(root)
    assert found["Jetson"].state == found["power mode"].state == "warning"
    assert found["power rails"].value == "not measured"


def test_xavier_is_wrong(tmp_path) -> None:
    tree = {
        "model": "NVIDIA Jetson Xavier NX Developer Kit\0",
        "compatible": "nvidia,p3509\0nvidia,tegra194\0",
    }
    root = boards.write(tmp_path, {f"proc/device-tree/{name}": text for name, text in tree.items()})
    assert _board(root)["Jetson"].state == "wrong"


def test_discrete_gpus(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(discrete, "gpus", lambda: discrete.parse(H200 + HOT))
    cool, hot = checks_board.discrete(boards.laptop(tmp_path / "x86"))
    assert cool.value == "NVIDIA H200, SM 90, driver 570.124.06, 1980 of 1980 MHz, 35 C, 139.5 GiB free"
    assert hot.state == "warning"
    assert (
        "clocks limited by power cap, thermal slowdown (software), thermal slowdown (hardware)" in hot.value
    )
    assert list(checks_board.discrete(boards.thor(tmp_path / "thor"))) == []


@pytest.mark.usefixtures("no_tensorrt")
def test_absent_tensorrt(tmp_path) -> None:
    (finding,) = checks_tensorrt.tensorrt(boards.laptop(tmp_path / "x86"))
    assert (finding.state, finding.value) == ("ok", "not on this machine")


@pytest.mark.usefixtures("no_tensorrt")
def test_the_lean_runtime_alone_does_not_do(tmp_path, monkeypatch) -> None:
    lean = lambda name: object() if name == "tensorrt_lean" else None  # noqa: E731
    monkeypatch.setattr(checks_tensorrt.importlib.util, "find_spec", lean)
    (finding,) = checks_tensorrt.tensorrt(boards.laptop(tmp_path))
    assert finding.state == "warning"
    assert "only tensorrt_lean" in finding.value


@pytest.mark.parametrize(
    ("version", "state"),
    [("10.3.0", "ok"), ("11.4.0.106", "ok"), ("10.2.0", "wrong"), ("8.6.2", "wrong"), ("12.0", "warning")],
)
def test_versions(tmp_path, install, version, state) -> None:
    install(version)
    (finding,) = checks_tensorrt.tensorrt(boards.laptop(tmp_path / "x86"))
    assert finding.state == state
    assert finding.value.startswith(version)


def test_one_that_does_not_import_is_wrong(tmp_path, install) -> None:
    install("10.3.0")
    (tmp_path / "python/site-packages/tensorrt/__init__.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')\n"
    )
    (finding,) = checks_tensorrt.tensorrt(boards.laptop(tmp_path / "x86"))
    assert finding.state == "wrong"
    assert "libnvinfer.so.10" in finding.value


# The names that pybind11 before 2.12 and since look NumPy up by, as they stand in the wheels of
# TensorRT 10.3.0 and 11.4.0.
@pytest.mark.parametrize(
    ("numpy_version", "library", "state"),
    [
        ("1.26.4", b"..numpy.core.multiarray..", "ok"),
        ("2.4.6", b"..numpy.core.multiarray..", "warning"),
        ("2.4.6", b"..numpy.core..numpy._core..", "ok"),
    ],
)
def test_numpy_against_the_bindings(install, monkeypatch, numpy_version, library, state) -> None:
    install("10.3.0", library=library)
    monkeypatch.setattr(numpy, "__version__", numpy_version)
    (finding,) = checks_tensorrt.numpy_against_bindings()
    assert finding.state == state
    assert numpy_version in finding.value


@pytest.mark.usefixtures("no_tensorrt")
def test_without_tensorrt_numpy_has_nothing_to_fit() -> None:
    assert list(checks_tensorrt.numpy_against_bindings()) == []


def _cuda(monkeypatch, answer) -> None:
    def load():
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(device=lambda: answer)

    monkeypatch.setattr(trt_cuda, "load_cuda", load)


def test_cuda_that_fits(tmp_path, monkeypatch) -> None:
    held = trt_cuda.DeviceInfo("Orin", 87, 8, True, 8 << 30, "12.6", "12.6")
    _cuda(monkeypatch, held)
    (finding,) = checks_tensorrt.cuda(boards.orin_nano(tmp_path))
    assert (finding.state, finding.value) == ("ok", "CUDA 12.6, driver for 12.6, Orin, SM 87, 8 SMs")


def test_cuda_is_not_missed_without_a_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(discrete, "gpus", lambda: [])
    _cuda(monkeypatch, DependencyError("no cuda-bindings"))
    assert list(checks_tensorrt.cuda(boards.laptop(tmp_path))) == []
    _cuda(monkeypatch, EngineError("there is no NVIDIA driver"))
    monkeypatch.setattr(checks_tensorrt.importlib.metadata, "version", lambda name: "13.5.0")
    (finding,) = checks_tensorrt.cuda(boards.laptop(tmp_path))
    assert (finding.state, finding.value) == ("ok", "13.5.0, not usable without a GPU")


def _library(**changes) -> PluginLibrary:
    info = {
        "file": LIBRARY,
        "sha256": "a" * 64,
        "autoreg_sha256": None,
        "mimamba_edge": "0.1.0",
        "ops": OPS,
        "tensorrt_headers": "10.3.0",
        "cuda": "12.6",
        "architectures": (87,),
        "host_kernels": False,
        "compiler": "g++",
    }
    return PluginLibrary(Path(__file__), "a" * 64, PluginInfo(**{**info, **changes}))


@pytest.mark.parametrize(
    ("library", "state", "words"),
    [
        (_library(), "ok", "TensorRT 10.3.0, CUDA 12.6, SM 87"),
        (_library(host_kernels=True, architectures=()), "warning", "for tests only"),
        (replace(_library(), info=None), "warning", "no manifest: its version is unknown"),
    ],
)
def test_plugin_libraries(tmp_path, monkeypatch, library, state, words) -> None:
    monkeypatch.setattr(plugin_library, "list_plugins", lambda: [library])
    (finding,) = checks_tensorrt.plugins(boards.orin_nano(tmp_path))
    assert finding.state == state
    assert words in finding.value
    assert "sha256 aaaaaaaaaaaa" in finding.value
    assert finding.state == "ok" or finding.remedy


def test_no_plugin_library_is_missed_only_where_there_is_a_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(discrete, "gpus", lambda: [])
    monkeypatch.setattr(plugin_library, "list_plugins", lambda: [])
    assert list(checks_tensorrt.plugins(boards.laptop(tmp_path / "x86"))) == []
    (finding,) = checks_tensorrt.plugins(boards.thor(tmp_path / "thor"))
    assert (finding.state, "plugin build" in finding.remedy) == ("warning", True)
    monkeypatch.undo()
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(tmp_path / "nothing.so"))
    (finding,) = checks_tensorrt.plugins(boards.thor(tmp_path / "thor"))
    assert (finding.state, "nothing.so" in finding.value) == ("wrong", True)


def test_a_record_says_how_the_board_stood(tmp_path) -> None:
    held = environment.board(boards.agx_orin(tmp_path / "agx"))
    assert held["power_mode"] == "MAXN"
    assert held["clocks_locked"] is True
    assert held["gpu_clock_mhz"]["current_mhz"] == 1300.5
    assert held["temperature_c"]["tj"] == 99.5
    assert held["throttled"] == ["cpu", "gpu"]
    assert held["supply_alarms"]["average over-current"] == 2
    assert held["energy_rails"] == ["VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"]
    assert environment.board(boards.laptop(tmp_path / "x86")) is None
    assert {"board", "gpus"} <= set(environment.describe())

"""Faults on recorded boards: doctor marks each, names the command that mends it, and is quiet without it."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import itertools
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import typer

from mimamba_edge.bench import environment
from mimamba_edge.cli.app import app
from mimamba_edge.doctor import board, board_setup, checks, live, onnxruntime, plan, tensorrt, tensorrt_ops
from mimamba_edge.doctor.health_check import HealthCheck, with_own_pip
from mimamba_edge.machine import jetson
from mimamba_edge.runtime import ort, provider_probe
from mimamba_edge.runtime.probe_process import Answer
from mimamba_edge.stream.sources import boards as brainflow
from mimamba_edge.trt import plugin_probe
from tests.fakes.cudart import FakeCuda, make_module
from tests.fakes.tensorrt import Device, library_bytes
from tests.machine import boards
from tests.modelfiles import write_model, write_reference
from tests.trt.machine import make_machine, write_plan, write_plugin
from tests.trt.models import write_trt_model

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER = "3.8"
LOAD_DRIVER = brainflow.load_driver
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PACKAGE = f"usr/lib/python{HERE}/dist-packages/tensorrt"
ORIN = Device(driver=12060, runtime=12060)
ORIN_13 = Device(driver=13020, runtime=13020)
THOR = Device("Thor", 11, 0, 20, driver=13020, runtime=13020)


@dataclass(frozen=True)
class Board:
    """A recorded board, its GPU and TensorRT, and what doctor's words on it depend on."""

    make: Callable[[Path], Path]
    device: Device
    tensorrt: str
    sm: int
    jetpack: str
    cuda: str
    bindings: str
    made: str
    slow: str
    number: int
    fastest: int


_7 = {"jetpack": "7.2", "cuda": "13-2", "bindings": "13.0", "made": "2026-06-01", "tensorrt": "10.16.2"}
_6 = {"jetpack": "6.2", "cuda": "12-6", "bindings": "12.6", "made": "2025-01-08", "tensorrt": "10.3.0"}
BOARDS = {
    "Orin Nano, JetPack 6.2": Board(boards.orin_nano, ORIN, sm=87, slow="15W", number=0, fastest=2, **_6),
    "AGX Orin, JetPack 6.2": Board(
        boards.flashed(boards.agx_orin, "6.2"), ORIN, sm=87, slow="MODE_15W", number=1, fastest=0, **_6
    ),
    "Orin Nano, JetPack 7.2": Board(boards.orin_nano_7, ORIN_13, sm=87, slow="7W", number=1, fastest=0, **_7),
    "AGX Orin, JetPack 7.2": Board(
        boards.agx_orin_7, ORIN_13, sm=87, slow="MODE_30W", number=2, fastest=0, **_7
    ),
    "AGX Thor, JetPack 7.2": Board(boards.thor_7, THOR, sm=110, slow="120W", number=1, fastest=0, **_7),
}
NANO6, AGX6, NANO7, AGX7, THOR7 = EVERY = tuple(BOARDS)
ORINS, SIX = (NANO6, AGX6, NANO7, AGX7), (NANO6, AGX6)
TWO = (NANO6, THOR7)
"""For faults of what is the same on every board."""


class Machine:
    """A recorded board on which all is as docs/jetson.md says, with a model and its engine.

    Its files are those of the board; Python's packages are stand-ins of this process.
    """

    def __init__(self, name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.board = BOARDS[name]
        version = self.board.tensorrt
        self.patch, self.root, self.folder = patch, self.board.make(folder / "root"), folder
        self.today = datetime.date(2026, 11, 22)
        self.world = make_machine(patch, folder, device=self.board.device)
        self.plugin = folder / "libmimamba_plugin.so"
        self._files(version)
        self._packages(version)
        self.problems = {CPU: ""}
        self.answer = Answer({"tensorrt": version, "library": "x", "error": 1e-6}, "", "")
        patch.setattr(provider_probe, "probe", lambda provider: self.problems[provider])
        patch.setattr(plugin_probe, "probe", lambda ops: dict.fromkeys(ops, self.answer))
        # A user who followed the page: in all groups, in a virtual environment of the system's Python.
        patch.setenv("PATH", "/usr/bin")
        patch.setattr(os, "geteuid", lambda: 1000)
        patch.setattr(os, "getgroups", lambda: [44, 20, 117, 105])
        patch.setattr(sys, "base_prefix", "/usr")
        patch.setattr(sys, "prefix", str(folder / "venv"))

    def _files(self, version: str) -> None:
        for held in self.root.glob("usr/lib/python3*"):
            shutil.rmtree(held)
        bindings = "numpy.core" if version == "10.3.0" else "numpy.core numpy._core"
        calm = dict.fromkeys(self._found("sys/class/hwmon/*/oc*_event_cnt"), "0\n")
        cool = dict.fromkeys(self._found("sys/class/thermal/cooling_device*/cur_state"), "0\n")
        self.write(
            {
                f"{PACKAGE}/__init__.py": "",
                f"{PACKAGE}/tensorrt.so": bindings,
                "var/lib/nvpmodel/status": f"pmode:{self.board.fastest:04}\n",
                "proc/swaps": boards.SWAPS + "/dev/zram0 partition\t650248\t\t0\t\t5\n",
                **calm,
                **cool,
            }
        )
        boards.write(
            self.folder, {"venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n"}
        )
        self.model = self.folder / "tiny.onnx"

    def _found(self, pattern: str) -> list[str]:
        return [str(path.relative_to(self.root)) for path in self.root.glob(pattern)]

    def _packages(self, version: str) -> None:
        module = sys.modules["tensorrt"]
        self.patch.setattr(module, "__version__", version)
        self.patch.setattr(module, "__file__", str(self.root / PACKAGE / "__init__.py"), raising=False)
        self.patch.setattr(module.__spec__, "origin", f"/{PACKAGE}/__init__.py")
        self.patch.setattr(numpy, "__version__", "1.26.4")
        self.wheels = {"onnxruntime": "1.23.2"}
        self.patch.setattr(environment, "versions", lambda: self.wheels)
        self.patch.setattr(onnxruntime, "import_version", lambda name: (next(iter(self.wheels.values())), ""))
        providers = SimpleNamespace(get_available_providers=lambda: list(self.problems))
        self.patch.setattr(ort, "load_onnxruntime", lambda: providers)
        self.patch.setattr(importlib.metadata, "version", lambda name: "5.23.0")
        self.patch.setattr(brainflow, "load_driver", lambda: SimpleNamespace(version="5.23.0"))

    def write(self, files: dict[str, str]) -> None:
        boards.write(self.root, files)

    def remove(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def without_tensorrt(self) -> None:
        """The package cannot be found."""
        find_spec = importlib.util.find_spec
        self.patch.delitem(sys.modules, "tensorrt")
        hidden = lambda name: None if name.startswith("tensorrt") else find_spec(name)  # noqa: E731
        self.patch.setattr(importlib.util, "find_spec", hidden)

    def without(self, *packages: str) -> None:
        """Debian's packages are not installed."""
        stanzas = (self.root / "var/lib/dpkg/status").read_text().split("\n\n")
        held = [s for s in stanzas if not s.startswith(tuple(f"Package: {name}\n" for name in packages))]
        self.write({"var/lib/dpkg/status": "\n\n".join(held)})

    def pip_tensorrt(self) -> None:
        """TensorRT by pip, in front of the system's."""
        site = self.folder / "venv" / "lib" / "site-packages"
        for name in ("tensorrt_cu12", "tensorrt_cu12_bindings"):
            boards.write(
                site,
                {f"{name}-10.9.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"},
            )
        self.patch.syspath_prepend(str(site))
        self.patch.setattr(sys.modules["tensorrt"].__spec__, "origin", f"{site}/tensorrt/__init__.py")

    def gpu_wheel(self, problem: str) -> None:
        """onnxruntime-gpu, whose CUDA provider ends so."""
        self.wheels = {"onnxruntime-gpu": "1.29.0"}
        self.problems = {CUDA: problem, CPU: ""}

    def no_brainflow_library(self) -> None:
        def broken() -> None:
            raise OSError("libBoardController.so: wrong ELF class")

        shim = SimpleNamespace(BoardControllerDLL=SimpleNamespace(get_instance=broken))
        self.patch.setitem(sys.modules, "brainflow.board_shim", shim)
        self.patch.setattr(brainflow, "load_driver", LOAD_DRIVER)

    def elf_of_another_cpu(self) -> bytes:
        number = 62 if os.uname().machine == "aarch64" else 183
        return struct.pack("<6s12xH12xQ14xHH6x", b"\x7fELF\x02\x01", number, 64, 56, 0)

    def set(self, pattern: str, text: str, kind: str = "") -> None:
        """Write all files of a pattern, or those of them beside which a file ``type`` says this."""
        for path in self.root.glob(pattern):
            if not kind or (path.parent / "type").read_text() == f"{kind}\n":
                path.write_text(text)

    def flash(self, release: str, revision: str) -> None:
        self.without("nvidia-jetpack")
        first = f"# R{release} (release), REVISION: {revision}, GCID: 1, DATE: Fri Aug 7 05:54:22 UTC 2026\n"
        self.write({"etc/nv_tegra_release": first})

    def lines(self, *only: str) -> dict[str, HealthCheck]:
        """Return doctor's lines by name; of some checks only, which is quicker."""
        every: dict[str, Callable[[], Iterator[HealthCheck]]] = {
            "onnxruntime": lambda: onnxruntime.onnxruntime(self.root),
            "live": lambda: itertools.islice(live.live(), 1),
            "board": lambda: board.jetson(self.root),
            "setup": lambda: board_setup.setup(self.root, self.today),
            "cuda": lambda: tensorrt.cuda(self.root),
            "tensorrt": lambda: tensorrt.tensorrt(self.root),
            "numpy": lambda: tensorrt.numpy_against_bindings(),
            "plugins": lambda: tensorrt.plugins(self.root),
            "ops": lambda: tensorrt_ops.ops(self.root),
            "machine": lambda: checks.check_machine(self.root),
            "plan": lambda: plan.plan(self.model),
            "files": lambda: checks.files(self.model),
        }
        found = itertools.chain.from_iterable(every[name]() for name in only or every)
        lines: dict[str, HealthCheck] = {}
        for line in found:
            # Of lines with one name (model files) the worst.
            if line.name not in lines or line.state == "wrong":
                lines[line.name] = line
        return lines


CHECK_OF = {
    **dict.fromkeys(("onnxruntime", "CUDA provider"), "onnxruntime"),
    **dict.fromkeys(("Jetson", "JetPack", "power mode", "temperature", "power supply", "swap"), "board"),
    **dict.fromkeys(("GPU access", "compilers", "nvcc", "date", "headset access"), "setup"),
    **dict.fromkeys(("SelectiveScan", "MultiScaleTemporalBlock"), "ops"),
    **dict.fromkeys(("free memory", "free disk"), "machine"),
    **{"TensorRT": "tensorrt", "NumPy, TensorRT": "numpy", "cuda-bindings": "cuda"},
    **{"plugin library": "plugins", "engine": "plan", "model file": "files", "brainflow": "live"},
}
"""Which check tells a line."""


@dataclass(frozen=True)
class Fault:
    """Attributes: line of doctor, its mark, words in it, command in its remedy, what breaks, on which boards.

    Words and command may name fields of :class:`Board`. On the first board the fault is mended again.
    """

    line: str
    state: str
    says: str
    command: str
    breaks: Callable[[Machine], object]
    on: tuple[str, ...] = EVERY


BRAINFLOW = (
    "git clone --branch 5.22.2 https://github.com/brainflow-dev/brainflow && cd brainflow && "
    "python3 tools/build.py --ble"
)
NO_KERNEL = (
    "CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device"
)
FAULTS = {
    # TensorRT and the Python that is to see it
    "an environment without system packages": Fault(
        *("TensorRT", "wrong", "this environment does not see it"),
        "sed -i '/^include-system-site-packages/s/false/true/' ",
        lambda m: m.without_tensorrt(),
    ),
    "conda's Python": Fault(
        *("TensorRT", "wrong", "this one is of /opt/conda"),
        "/usr/bin/python3 -m venv --clear --system-site-packages /",
        lambda m: (m.without_tensorrt(), m.patch.setattr(sys, "base_prefix", "/opt/conda")),
        TWO,
    ),
    "another Python than TensorRT's": Fault(
        *("TensorRT", "wrong", f"installed for Python {OTHER}, and this is {HERE}"),
        f"/usr/bin/python{OTHER} -m venv --clear --system-site-packages /",
        lambda m: (
            m.without_tensorrt(),
            m.remove(PACKAGE),
            m.write({PACKAGE.replace(HERE, OTHER) + "/__init__.py": ""}),
        ),
        TWO,
    ),
    "no TensorRT": Fault(
        *("TensorRT", "warning", "not installed"),
        "sudo apt install nvidia-jetpack",
        lambda m: (m.without_tensorrt(), m.remove(PACKAGE), m.without("libnvinfer10")),
    ),
    "TensorRT without its Python package": Fault(
        *("TensorRT", "wrong", "its Python package is not"),
        "sudo apt install python3-libnvinfer",
        lambda m: (m.without_tensorrt(), m.remove(PACKAGE)),
    ),
    "TensorRT by pip": Fault(
        *("TensorRT", "wrong", "only JetPack's fits the board"),
        "pip uninstall -y tensorrt_cu12 tensorrt_cu12_bindings",
        lambda m: m.pip_tensorrt(),
        TWO,
    ),
    "TensorRT of another JetPack": Fault(
        *("TensorRT", "wrong", "libnvdla_compiler.so"),
        "sudo apt install --reinstall libnvinfer10",
        lambda m: m.patch.setattr(
            tensorrt, "import_version", lambda name: (None, "cannot be imported: libnvdla_compiler.so")
        ),
        TWO,
    ),
    "NumPy 2 against the bindings of JetPack 6": Fault(
        *("NumPy, TensorRT", "warning", "its bindings are for NumPy 1"),
        'pip install "numpy<2"',
        lambda m: m.patch.setattr(numpy, "__version__", "2.2.6"),
        SIX,
    ),
    # CUDA
    "no cuda-bindings": Fault(
        *("cuda-bindings", "warning", "cannot be imported"),
        'pip install "cuda-bindings~={bindings}"',
        lambda m: m.patch.setitem(sys.modules, "cuda.bindings.runtime", None),
    ),
    "cuda-bindings of CUDA 13 on JetPack 6": Fault(
        *("cuda-bindings", "wrong", "driver for CUDA 12.6"),
        'pip install "cuda-bindings==12.*"',
        lambda m: m.patch.setitem(
            sys.modules, "cuda.bindings.runtime", make_module(FakeCuda(Device(driver=12060, runtime=13000)))
        ),
        SIX,
    ),
    "no right to the GPU": Fault(
        *("GPU access", "wrong", "may not open /dev/nvmap, /dev/nv"),
        'sudo usermod -a -G video,render "$USER"',
        lambda m: m.patch.setattr(os, "access", lambda path, mode: False),
    ),
    "a container without the GPU": Fault(
        *("GPU access", "warning", "no device of the GPU's driver"),
        "docker run --runtime nvidia",
        lambda m: m.remove("dev"),
    ),
    # ONNX Runtime
    "both packages of ONNX Runtime": Fault(
        *("onnxruntime", "wrong", "overwrite each other's providers"),
        "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime",
        lambda m: m.wheels.update({"onnxruntime-gpu": "1.29.0"}),
        TWO,
    ),
    "no ONNX Runtime": Fault(
        *("onnxruntime", "warning", "not installed"),
        'pip install ".[cpu]"',
        lambda m: m.patch.setattr(onnxruntime, "import_version", lambda name: (None, "not installed")),
        TWO,
    ),
    "a wheel without kernels for this GPU": Fault(
        *("CUDA provider", "wrong", f"listed by onnxruntime-gpu 1.29.0, and fails: {NO_KERNEL}"),
        "pip uninstall -y onnxruntime-gpu, then pip install onnxruntime, or an onnxruntime-gpu built for "
        "JetPack {jetpack}",
        lambda m: m.gpu_wheel(NO_KERNEL),
    ),
    # Plugin library
    "no plugin library": Fault(
        *("plugin library", "warning", "none"),
        "mimamba-edge plugin build",
        lambda m: m.patch.delenv("MIMAMBA_PLUGIN"),
        TWO,
    ),
    "a plugin library for another GPU": Fault(
        *("plugin library", "warning", "not SM {sm}"),
        "mimamba-edge plugin build --arch {sm}",
        lambda m: write_plugin(m.plugin, architectures=[120]),
    ),
    "a plugin library for another CPU": Fault(
        *("plugin library", "warning", f"and this is {os.uname().machine}"),
        "mimamba-edge plugin build",
        lambda m: write_plugin(m.plugin, m.elf_of_another_cpu()),
        TWO,
    ),
    "a plugin library with a changed byte": Fault(
        *("plugin library", "wrong", "does not match its manifest"),
        "mimamba-edge plugin build",
        lambda m: m.plugin.write_bytes(m.plugin.read_bytes() + b"\0"),
        TWO,
    ),
    "a plugin library that lacks an op": Fault(
        *("plugin library", "wrong", "holds other versions of the ops"),
        "mimamba-edge plugin build",
        lambda m: write_plugin(m.plugin, library_bytes(ops={}), ops={"SelectiveScan": 1}),
        TWO,
    ),
    "a plugin that crashes": Fault(
        *("SelectiveScan", "wrong", "ended the process (exit -11, SIGSEGV)"),
        "mimamba-edge plugin build --arch {sm}",
        lambda m: setattr(m, "answer", Answer({}, "ended the process (exit -11, SIGSEGV): nothing said", "")),
        TWO,
    ),
    "a plugin with wrong numbers": Fault(
        *("MultiScaleTemporalBlock", "wrong", "off by 2.0e-01 of the largest value"),
        "mimamba-edge plugin build --arch {sm}",
        lambda m: setattr(m, "answer", Answer({"library": "x", "error": 0.2}, "", "")),
    ),
    # What compiles it
    "no nvcc": Fault(
        *("compilers", "warning", "no nvcc"),
        "sudo apt install cuda-toolkit-{cuda}",
        lambda m: (m.remove("usr/local/cuda/bin/nvcc"), m.patch.delenv("MIMAMBA_PLUGIN")),
    ),
    "no CMake and no C++ compiler": Fault(
        *("compilers", "warning", "no cmake, no g++"),
        "sudo apt install cmake g++",
        lambda m: (m.remove("usr/bin/cmake", "usr/bin/g++"), m.patch.delenv("MIMAMBA_PLUGIN")),
    ),
    "Ubuntu's nvcc": Fault(
        *("nvcc", "wrong", "Ubuntu's, of another CUDA"),
        "sudo apt remove nvidia-cuda-toolkit",
        lambda m: m.change("var/lib/dpkg/status", "Package: bluez\n", "Package: nvidia-cuda-toolkit\n"),
        TWO,
    ),
    # The board and its system
    "JetPack 5": Fault(
        *("JetPack", "wrong", "5.1.6 (Jetson Linux 35.6.4)"),
        "flash JetPack 6.1 or later (docs/jetson.md)",
        lambda m: m.flash("35", "6.4"),
        ORINS,
    ),
    "a newer JetPack": Fault(
        *("JetPack", "warning", "newer than 39.2.1 (JetPack 7.2.1)"),
        "git pull && pip install .",
        lambda m: m.flash("40", "1.0"),
    ),
    "an unknown JetPack": Fault(
        *("JetPack", "warning", "between 36.4.4 (JetPack 6.2.1) and 36.4.7 (JetPack 6.2.1)"),
        "git pull && pip install .",
        lambda m: m.flash("36", "4.5"),
        ORINS,
    ),
    "Xavier": Fault(
        *("Jetson", "wrong", "no TensorRT that the plugins work with"),
        "run .onnx files on the CPU there",
        lambda m: m.change("proc/device-tree/compatible", "tegra234", "tegra194"),
        (AGX6,),
    ),
    "a slow power mode": Fault(
        *("power mode", "warning", "{slow}"),
        "sudo nvpmodel -m {fastest}",
        lambda m: m.write({"var/lib/nvpmodel/status": f"pmode:{m.board.number:04}\n"}),
    ),
    "throttled by heat": Fault(
        *("temperature", "warning", "throttled: gpu"),
        "sudo jetson_clocks --fan",
        lambda m: m.set("sys/class/thermal/cooling_device*/cur_state", "1\n", "gpu-throttle-alert"),
    ),
    "a weak supply": Fault(
        *("power supply", "warning", "3 x under-voltage"),
        "a stronger supply, or a lower power mode: sudo nvpmodel -m ",
        lambda m: m.set("sys/class/hwmon/hwmon*/oc1_event_cnt", "3\n"),
    ),
    "no swap": Fault(
        *("swap", "warning", "with 7."),
        "sudo mkswap /swapfile && sudo swapon /swapfile",
        lambda m: m.write({"proc/swaps": boards.SWAPS}),
        (NANO6, NANO7),
    ),
    "little memory": Fault(
        *("free memory", "warning", "0.2 GiB"),
        "sudo systemctl isolate multi-user.target",
        lambda m: m.write({"proc/meminfo": boards.MEMINFO.format(total=7802996, free=200000)}),
        TWO,
    ),
    "a full disk": Fault(
        *("free disk", "warning", "0.1 GiB"),
        "sudo apt clean; mimamba-edge data cache --clear",
        lambda m: m.patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20)),
        TWO,
    ),
    "a clock of 1970": Fault(
        *("date", "wrong", "1970-01-01, before this Jetson Linux was made ({made})"),
        "sudo timedatectl set-ntp true",
        lambda m: setattr(m, "today", datetime.date(1970, 1, 1)),
    ),
    # Headsets
    "BrainFlow without a library for this machine": Fault(
        *("brainflow", "warning", "wrong ELF class"),
        BRAINFLOW,
        lambda m: m.no_brainflow_library(),
        TWO,
    ),
    "a user who is not in the group of Bluetooth": Fault(
        *("headset access", "warning", "not in bluetooth and dialout"),
        'sudo usermod -a -G bluetooth,dialout "$USER"',
        lambda m: m.patch.setattr(os, "getgroups", lambda: [44]),
    ),
    "no Bluetooth": Fault(
        *("headset access", "warning", "bluez is not installed"),
        "sudo apt install bluez libdbus-1-dev libbluetooth-dev",
        lambda m: m.without("bluez"),
    ),
    # The model
    "an engine of before the upgrade of JetPack": Fault(
        *("engine", "wrong", "JetPack 6.1; now JetPack {jetpack}"),
        "--rebuild-if-stale",
        lambda m: write_plan(m.folder, m.world, engine={"jetpack": "6.1"}),
    ),
    "a missing file of the model": Fault(
        *("model file", "wrong", "tiny.ref.npz is not there"),
        "mimamba-edge pack NAME.onnx -o NAME.tar",
        lambda m: (m.folder / "tiny.ref.npz").unlink(),
        TWO,
    ),
}


APPEAR = ("CUDA provider", "nvcc")
"""Lines that stand only where there is something to say."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files of a model."""
    folder = tmp_path_factory.mktemp("model")
    write_reference(folder / "tiny.ref.npz", write_model(folder / "tiny.onnx"), n=3)
    write_trt_model(folder / "tiny.trt.onnx")
    return folder


@pytest.fixture
def machine(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    def make(name: str, engine: bool = True) -> Machine:
        made = Machine(name, tmp_path, monkeypatch)
        if engine:
            monkeypatch.setattr(
                "mimamba_edge.trt.build_environment.jetpack", lambda _: jetson.jetpack(made.root)
            )
            for path in model.iterdir():
                shutil.copy(path, tmp_path)
            write_plan(tmp_path, made.world)
        return made

    return make


def _bytes(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_is_wrong_with_a_board_on_which_all_was_done(
    machine: Callable[..., Machine], name: str
) -> None:
    lines = machine(name).lines()
    assert {line: found for line, found in lines.items() if found.state != "ok"} == {}
    assert lines["clocks"].remedy in ("", "only before benchmarks: sudo jetson_clocks")
    assert lines["JetPack"].value.startswith(f"{BOARDS[name].jetpack} (Jetson Linux ")
    assert lines["Jetson"].value.endswith(f"SM {BOARDS[name].sm}")
    assert ("no mode MAXN_SUPER" in lines["power mode"].remedy) is (name == NANO7)
    assert {"engine", "SelectiveScan", "compilers", "GPU access", "headset access"} <= set(lines)


@pytest.mark.parametrize(("name", "on"), [(name, on) for name, fault in FAULTS.items() for on in fault.on])
def test_a_fault_is_marked_with_the_command_that_mends_it(
    machine: Callable[..., Machine], tmp_path: Path, name: str, on: str
) -> None:
    fault, words = FAULTS[name], vars(BOARDS[on])
    one = machine(on, engine=fault.line in ("engine", "model file"))
    first = on == fault.on[0]
    held, files = {**vars(one), "wheels": dict(one.wheels)}, _bytes(tmp_path) if first else {}
    with pytest.MonkeyPatch.context() as patch:
        one.patch = patch
        fault.breaks(one)
        line = one.lines(CHECK_OF[fault.line])[fault.line]
        assert line.state == fault.state, line
        assert fault.says.format(**words) in line.value, line
        assert fault.command.format(**words) in line.remedy, line
    if not first:
        return
    # Mended, nothing is told of it any more.
    vars(one).update(held)
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    mended = one.lines(CHECK_OF[fault.line]).get(fault.line)
    assert (fault.line in APPEAR) if mended is None else mended.state == "ok", mended


def test_there_are_faults_of_every_board_and_kind() -> None:
    assert len(FAULTS) >= 40
    for name in BOARDS:
        assert sum(name in fault.on for fault in FAULTS.values()) >= 20


def test_a_library_that_was_built_for_a_board_is_fine_on_a_workstation(
    machine: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine(NANO6)
    write_plugin(one.plugin, one.elf_of_another_cpu())
    monkeypatch.setattr("mimamba_edge.machine.gpu.gpus", lambda: [])
    (line,) = tensorrt.plugins(boards.laptop(tmp_path / "x86"))
    assert (line.state, line.remedy) == ("ok", "")


def test_our_own_commands_are_real() -> None:
    calls = {call for f in FAULTS.values() for call in re.findall(r"(?<=mimamba-edge )[a-z][^;]*", f.command)}
    assert len(calls) >= 4
    for call in (call.format(sm=87) for call in calls):
        group: Any = typer.main.get_command(app)
        context, rest = None, call.split()
        while hasattr(group, "commands"):
            group = group.commands[rest.pop(0)]
            context = group.make_context("x", list(rest), parent=context, resilient_parsing=False)


def test_the_command_for_an_environment_does_what_it_says(machine: Callable[..., Machine]) -> None:
    broken = machine(NANO6)
    settings = broken.folder / "venv" / "pyvenv.cfg"
    settings.write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.10.12\n")
    broken.without_tensorrt()
    command = broken.lines()["TensorRT"].remedy.removeprefix("sudo ")
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert settings.read_text() == "home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.10.12\n"


def test_pip_is_that_of_the_python_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boards.write(tmp_path, {"bin/pip": ""})
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    text = "pip uninstall -y a, then pip install b; docs/pip install"
    own = tmp_path / "bin" / "pip"
    assert with_own_pip(text) == f"{own} uninstall -y a, then {own} install b; docs/pip install"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert with_own_pip("pip install b") == f"sudo {own} install b"
    monkeypatch.setenv("PATH", str(own.parent))
    monkeypatch.setattr(shutil, "which", lambda name: str(own))
    assert with_own_pip(text) == text

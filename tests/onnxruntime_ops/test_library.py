"""The library as a runtime meets it: what it shows of itself and which kernel runs, in two runtimes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from mimamba_edge.contract import OPS  # noqa: E402
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB, SCAN  # noqa: E402
from mimamba_edge.numerics.mstb import multi_scale_temporal_block  # noqa: E402
from mimamba_edge.numerics.scan import selective_scan  # noqa: E402
from mimamba_edge.plugins import SOURCES  # noqa: E402
from mimamba_edge.runtime.native_ops import describe_native_ops  # noqa: E402
from tests.onnxruntime_ops.nodes import MSTB_FLAGS, SCAN_FLAGS, mstb_tensors, node_model, scan_tensors  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

# With a body in the file: which of the two ran is read from the runtime's own profile.
_RUN = """
import json, sys, tempfile
import numpy as np, onnxruntime as ort
report = {"version": ort.__version__, "worst": {}, "ran": {}}
library, *cases = sys.argv[1:]
for case in cases:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = tempfile.mkdtemp() + "/profile"
    if library != "none":
        options.register_custom_ops_library(library)
    session = ort.InferenceSession(case + ".onnx", options, providers=["CPUExecutionProvider"])
    held = np.load(case + ".npz")
    outputs = [o.name for o in session.get_outputs()]
    got = session.run(outputs, {i.name: held[i.name] for i in session.get_inputs()})
    errors = [float(abs(g - held[n]).max() / abs(held[n]).max()) for n, g in zip(outputs, got)]
    report["worst"][case] = max(errors)
    events = json.load(open(session.end_profiling()))
    report["ran"][case] = sorted({e["args"]["op_name"] for e in events if e.get("cat") == "Node"})
print(json.dumps(report))
"""


@cache
def _old_python() -> str | None:
    probe = "import numpy, onnxruntime as o, sys; sys.exit(o.__version__[:5] != '1.23.')"
    for python in (os.environ.get("MIMAMBA_PY310"), shutil.which("python3.10")):
        if python and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            return python
    return None


_MORE = [name for name in os.environ.get("MIMAMBA_PYTHONS", "").split(os.pathsep) if name]


@pytest.fixture(params=["newest", "1.23", *_MORE])
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter with ONNX Runtime and NumPy: this one, an old one, and those of MIMAMBA_PYTHONS."""
    if request.param in _MORE:
        return str(request.param)
    if request.param == "newest":
        return sys.executable
    if (found := _old_python()) is None:
        pytest.skip("needs a Python 3.10 with onnxruntime 1.23.2 and numpy: name it in MIMAMBA_PY310")
    return found


def test_a_registered_kernel_is_preferred_to_the_body(native: Path, python: str, tmp_path: Path) -> None:
    cases = []
    t, m = scan_tensors(2, 37, 33, 16), mstb_tensors(2, 65, 4)
    answers = dict(zip(("y", "last_state"), selective_scan(**t, delta_softplus=True), strict=True))
    block = {"y": multi_scale_temporal_block(**m, **MSTB_FLAGS)}
    for op, tensors, flags, wanted in ((SCAN, t, SCAN_FLAGS, answers), (MSTB, m, MSTB_FLAGS, block)):
        case = tmp_path / op
        onnx.save(node_model(op, tensors, flags, body=True), case.with_suffix(".onnx"))
        np.savez(case.with_suffix(".npz"), **tensors, **wanted)
        cases.append(str(case))
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = {}
    for library in (str(native), "none"):
        command = [python, "-c", _RUN, library, *cases]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert max(report["worst"].values()) <= 1e-5
        ran[library] = [report["ran"][case] for case in cases]
    assert ran[str(native)] == [[SCAN], [MSTB]]
    assert not {SCAN, MSTB} & {name for names in ran["none"] for name in names}


_PROBE = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.register_custom_ops_library(sys.argv[1])
session = ort.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
assert session.run(None, {"x": np.zeros(1, np.float32)})[0] == [42]
"""


def test_what_ops_for_cuda_ask_of_a_runtime_is_where_they_look_for_it(python: str, tmp_path: Path) -> None:
    """In the table of real runtimes, from an op for the CPU; no runtime here has a GPU."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    source, library = Path(__file__).with_name("probe.cpp"), tmp_path / "libprobe.so"
    folder = SOURCES / "onnxruntime"
    words = [compiler, "-std=c++17", "-shared", "-fPIC", f"-I{folder}", source, folder / "tensors.cpp"]
    subprocess.run([*map(str, words), "-static-libstdc++", "-o", str(library)], check=True)
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    node = onnx.helper.make_node("Probe", ["x"], ["y"], domain=DOMAIN)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in (("", 18), (DOMAIN, 1))]
    graph = onnx.helper.make_graph([node], "probe", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, tmp_path / "probe.onnx")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "-c", _PROBE, str(library), str(tmp_path / "probe.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_the_library_says_of_itself(native: Path) -> None:
    found = describe_native_ops(native)
    assert found.problem is None
    assert found.target in ("baseline", "avx2", "avx512")
    assert set(OPS) == {SCAN, MSTB}


def test_only_names_of_its_own_are_exported(native: Path) -> None:
    """And nothing is taken from the host process: onnxruntime brings a C++ library of its own age."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm: apt install binutils")
    names = subprocess.run([nm, "-D", str(native)], capture_output=True, text=True, check=True).stdout
    rows = [line.split()[-2:] for line in names.splitlines()]
    assert {name for kind, name in rows if kind in "TDBRVW"} == {
        *("RegisterCustomOps", "mimamba_ort_info"),
        *("mimamba_train_scan", "mimamba_scan_gradients"),
    }
    assert not [name for kind, name in rows if kind == "U" and name.startswith("_Z")]


def test_no_inline_function_of_the_library_is_compiled_for_an_instruction_set(native: Path) -> None:
    """The linker keeps one copy of an inline function: only those of a set's own namespace may be weak."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm: apt install binutils")
    objects = sorted(native.parents[1].rglob("target.cpp.o"))
    assert objects
    for path in objects:
        printed = subprocess.run([nm, "-C", str(path)], capture_output=True, text=True, check=True).stdout
        weak = [line for line in printed.splitlines() if " W " in line or " V " in line or " u " in line]
        target = path.parent.name.removeprefix("mimamba_ort_").removesuffix(".dir")
        assert not [line for line in weak if f"mimamba::{target}::" not in line], path


class _Info(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("scan_version", ctypes.c_int),
        ("mstb_version", ctypes.c_int),
        ("providers", ctypes.c_char_p),
    )


def test_versions_are_the_contracts(native: Path) -> None:
    info = _Info()
    ctypes.CDLL(str(native)).mimamba_ort_info(ctypes.byref(info))
    assert {SCAN: info.scan_version, MSTB: info.mstb_version} == OPS
    assert info.providers == b"cpu"

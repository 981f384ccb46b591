"""The files under ONNX Runtime 1.23 on Python 3.10: the last that JetPack 6's Python has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.onnx.opcases import MSTB_CASES, SCAN_CASES
from tests.onnx.test_choice import SETS, expected, together

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from mimamba_edge.export.onnx.functions import one_node_model  # noqa: E402
from mimamba_edge.export.onnx.inlined import inlined_form  # noqa: E402
from mimamba_edge.runtime.reference import reference_path  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]

_RUN = """
import json, sys
import numpy as np, onnxruntime as ort
worst = {}
for case in sys.argv[1:]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(case + ".onnx", options, providers=["CPUExecutionProvider"])
    held = np.load(case + ".npz")
    outputs = [o.name for o in session.get_outputs()]
    got = session.run(outputs, {i.name: held[i.name] for i in session.get_inputs()})
    worst[case] = max(float(abs(g - held[n]).max() / abs(held[n]).max()) for n, g in zip(outputs, got))
print(json.dumps({"version": ort.__version__, "worst": worst}))
"""


@cache
def _old_python() -> str | None:
    """Return a Python 3.10 that has ONNX Runtime 1.23."""
    probe = (
        "import sys, numpy, onnxruntime as o; "
        "sys.exit((sys.version_info[:2], o.__version__[:5]) != ((3, 10), '1.23.'))"
    )
    for python in (os.environ.get("MIMAMBA_PY310"), shutil.which("python3.10")):
        if python and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            return python
    return None


@pytest.fixture
def run_old():
    python = _old_python()
    if python is None:
        pytest.skip("needs a Python 3.10 with onnxruntime 1.23.2 and numpy: name it in MIMAMBA_PY310")

    def run(*cases: Path) -> dict[str, float]:
        # Without this process's settings: the other Python must not find this one's packages.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [python, "-c", _RUN, *map(str, cases)], capture_output=True, text=True, env=env, timeout=120
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["version"].startswith("1.23.")
        assert len(report["worst"]) == len(cases)
        return report["worst"]

    return run


def test_exported_files(run_old, exported, exported_both_ways, tmp_path):
    cases = []
    for path in (exported, exported_both_ways):
        case = tmp_path / path.stem
        shutil.copy(path, case.with_suffix(".onnx"))
        shutil.copy(reference_path(path), case.with_suffix(".npz"))
        cases.append(case)
        inlined = tmp_path / f"{path.stem} inlined"
        onnx.save(inlined_form(onnx.load(path)), inlined.with_name(f"{inlined.name}.onnx"))
        shutil.copy(reference_path(path), inlined.with_name(f"{inlined.name}.npz"))
        cases.append(inlined)
    assert max(run_old(*cases).values()) < 1e-5


def test_bodies(run_old, tmp_path):
    cases = []
    for name, make in {**SCAN_CASES, **MSTB_CASES}.items():
        case, path = make(), tmp_path / name
        model = one_node_model(case.op, case.shapes, case.attributes)
        onnx.save(model, path.with_name(f"{name}.onnx"))
        np.savez(path.with_name(f"{name}.npz"), **case.feeds, **case.expected)
        cases.append(path)
    worst = run_old(*cases)
    assert {name: error for name, error in worst.items() if error > 3e-6} == {}


def test_bodies_that_choose(run_old, tmp_path):
    paths = []
    for name, cases in SETS.items():
        path = tmp_path / name.replace(": ", "-")
        constant = ("B", "C") if name == "scan: sizes" else ()
        model, feeds = together(cases, batch=2, constant=constant)
        onnx.save(model, path.with_name(f"{path.name}.onnx"))
        np.savez(path.with_name(f"{path.name}.npz"), **feeds, **expected(cases))
        paths.append(path)
    assert max(run_old(*paths).values()) <= 3e-6

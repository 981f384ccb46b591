"""The ops for ONNX Runtime's CUDA provider: on the simulated device, under sanitizers, and in real runtimes.

No runtime here has a GPU: that the ops compute what they must is shown by a stand-in for ONNX Runtime
(``plugins/harness/onnxruntime/cuda_driver.cpp``), that real ones take them by a session on the CPU.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kept import cxx, plugin_build
from tests.plugins.test_harness_ptx import assert_clean, run

pytestmark = pytest.mark.slow

DRIVER = "mimamba_ort_cuda_driver"


def test_the_ops_hold_on_the_simulated_device(simulated: Path) -> None:
    driver = simulated / "build" / "onnxruntime" / DRIVER
    for seed in ("3", "4"):
        assert_clean(run(driver, "--small", "--seed", seed, PTXSIM_SEED=seed))


def test_addresses_and_undefined_behaviour(cuda_headers: Path) -> None:
    """With the float64 reference in the kernels' place."""
    settings = {
        "MIMAMBA_HOST_KERNELS": "ON",
        "MIMAMBA_KERNELS_ONLY": "ON",
        "MIMAMBA_SANITIZE": "ON",
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O0",
    }
    work = plugin_build("ort-cuda-addresses", (DRIVER,), settings, cxx())
    assert_clean(run(work / "build" / "onnxruntime" / DRIVER, "--small", "--seed", "5"))


_SESSION = """
import sys
import numpy as np
import onnxruntime as ort
from mimamba_edge.load import builtin_model
from mimamba_edge.runtime.reference import Reference
reference = Reference.beside(builtin_model())
answers = []
for library in (None, sys.argv[1]):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if library:
        options.register_custom_ops_library(library)
    session = ort.InferenceSession(str(builtin_model()), options, providers=["CPUExecutionProvider"])
    answers.append(session.run(["logits"], {"windows": reference.windows[:2]})[0])
bodies, native = answers
assert not np.array_equal(bodies, native), "the library's ops did not run"
np.testing.assert_allclose(native, bodies, atol=1e-5 * np.abs(bodies).max())
"""


@pytest.mark.ort
def test_a_runtime_takes_the_ops_and_runs_on_the_cpu_as_before(simulated: Path) -> None:
    """Two ops of each name and type, one a provider: a session on the CPU takes its own."""
    pytest.importorskip("onnxruntime")
    library = simulated / "lib" / "libmimamba_ort.so"
    # In a process of its own: a library that is loaded stays, and other tests load others of this name.
    done = subprocess.run([sys.executable, "-c", _SESSION, library], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_library_says_which_providers_it_has_ops_for(simulated: Path) -> None:
    from mimamba_edge.runtime.native_ops import describe_native_ops

    found = describe_native_ops(simulated / "lib" / "libmimamba_ort.so")
    assert found.problem is None
    assert found.providers == ("cpu", "cuda")

"""The benchmark of native ops: what it sets side by side computes the scan, its clock takes turns."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.native_ops import llama_cpp, roofs, scan, tables
from benchmarks.native_ops.problem import Problem, Sizes
from benchmarks.native_ops.timing import in_turn
from mimamba_edge.errors import DataError
from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION
from mimamba_edge.plugins import SOURCES

SMALL = Sizes(9, 7, 3)
GGML_H = """
#include <cstddef>
#include <cstdint>
struct ggml_tensor { int64_t ne[4]; size_t nb[4]; void *data; ggml_tensor *src[10]; int32_t op_params[16]; };
struct ggml_compute_params { int ith, nth; };
extern "C" int64_t ggml_nelements(const ggml_tensor *);
"""
OPS_CPP = """
#include "ggml.h"
#include <cmath>
static void other() { not_compiled(); }
static void ggml_compute_forward_ssm_scan_f32(
        const ggml_compute_params * params,
        ggml_tensor * dst) {
    const float *s0 = (float *)dst->src[0]->data, *x = (float *)dst->src[1]->data;
    const float *dt = (float *)dst->src[2]->data, *A = (float *)dst->src[3]->data;
    const int64_t n = dst->src[0]->ne[0], d = dst->src[1]->ne[1], l = dst->src[1]->ne[2];
    float *y = (float *)dst->data, *s = y + ggml_nelements(dst->src[1]);
    if (params->nth != 1 || dst->op_params[0] != 1 || *(int *)dst->src[6]->data) return;
    for (int64_t t = 0; t < l; ++t, s0 = s)
        for (int64_t c = 0; c < d; ++c) {
            const float *B = (float *)((char *)dst->src[4]->data + t * dst->src[4]->nb[2]);
            const float *C = (float *)((char *)dst->src[5]->data + t * dst->src[5]->nb[2]);
            const float step = std::log1p(std::exp(dt[t * d + c]));
            float sum = 0;
            for (int64_t i = 0; i < n; ++i) {
                s[c * n + i] = s0[c * n + i] * std::exp(step * A[c * n + i]) + B[i] * x[t * d + c] * step;
                sum += s[c * n + i] * C[i];
            }
            y[t * d + c] = sum;
        }
}
static void more() { not_compiled(); }
"""


@pytest.fixture
def compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    return found


@pytest.mark.parametrize("name", [scan.PLAIN, scan.FAST])
def test_the_plain_loop_computes_the_scan(compiler: str, tmp_path: Path, name: str) -> None:
    problem = Problem(SMALL)
    call, answer = scan.plain(problem, scan.compile_plain(tmp_path, compiler, name))
    call()
    assert problem.right(answer())


@pytest.mark.parametrize("place", ["ggml/src", "src"])
def test_the_loop_of_a_checkout_is_cut_out_and_computes_the_scan(
    compiler: str, tmp_path: Path, place: str
) -> None:
    source = tmp_path / place / "ggml-cpu" / "ops.cpp"
    source.parent.mkdir(parents=True)
    source.write_text(OPS_CPP)
    (source.parents[2] / "include").mkdir()
    (source.parents[2] / "include" / "ggml.h").write_text(GGML_H)
    problem = Problem(SMALL)
    call, answer = llama_cpp.loop(problem, llama_cpp.compile_loop(tmp_path, tmp_path, compiler))
    call()
    assert problem.right(answer())


def test_a_folder_without_the_loop_is_refused(compiler: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkout"):
        llama_cpp.compile_loop(tmp_path, tmp_path, compiler)
    source = tmp_path / "src" / "ggml-cpu" / "ops.cpp"
    source.parent.mkdir(parents=True)
    source.write_text(OPS_CPP)  # needs a header that is not there
    with pytest.raises(DataError, match=r"error.*ggml\.h"):
        llama_cpp.compile_loop(tmp_path, tmp_path, compiler)


@pytest.mark.parametrize("way", [scan.EAGER, scan.LOOP])
def test_pytorch_computes_the_scan(way: str) -> None:
    problem = Problem(SMALL)
    _, answer = scan.torch_call(problem, way)
    assert problem.right(answer())


def test_linear_attention_computes_the_scan() -> None:
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:3])) < (1, 25, 1):
        pytest.skip("needs ONNX Runtime 1.25.1: pip install -U onnxruntime")
    problem = Problem(SMALL)
    call, answer = scan.session_call(scan.scan_model(problem, LINEAR_ATTENTION), problem)
    call()
    assert problem.right(answer())


def test_a_wrong_answer_is_not_right() -> None:
    problem = Problem(SMALL)
    largest = np.abs(problem.wanted).max()
    assert problem.right(problem.wanted)
    assert problem.error(problem.wanted + 0.5 * largest) == pytest.approx(0.5)
    assert not problem.right(problem.wanted + 2e-5 * largest)
    assert not problem.right(np.full_like(problem.wanted, np.nan))


def test_the_roofs_are_those_of_the_sizes(compiler: str, tmp_path: Path) -> None:
    # 9 * 7 * (3 + 2) exponentials; u, delta, z, y of 63 numbers, B and C of 27, A and two states of 21.
    assert (SMALL.exponentials, SMALL.bytes_moved) == (315, 4 * (4 * 63 + 2 * 27 + 3 * 21 + 2 * 7))
    calls = roofs.roofs(SMALL, roofs.compile_roof(tmp_path, compiler, "baseline"))
    settled = calls[roofs.EXPONENTIALS]() / 24  # 6 chains of 4 lanes
    assert 2.0**-settled == pytest.approx(settled, abs=1e-5)
    calls[roofs.COPY]()


def test_the_roof_is_compiled_as_the_library() -> None:
    text = (SOURCES / "onnxruntime" / "CMakeLists.txt").read_text()
    found = {"baseline": ()} | {
        name: tuple(options.split()) for name, options in re.findall(r"set\(options_(\w+) ([^)]*)\)", text)
    }
    found["avx512"] = (*found["avx2"], *found["avx512"][1:])
    assert found == roofs.OPTIONS


def test_calls_take_turns_and_first_ones_do_not_count() -> None:
    order: list[str] = []
    found = in_turn({name: lambda name=name: order.append(name) for name in "ab"}, 2, near_s=0.0)
    assert "".join(order) == "aabb" * 5
    assert set(found) == {"a", "b"}
    assert all(one["clock_ms"] >= one["least_clock_ms"] >= 0 <= one["cpu_ms"] for one in found.values())
    assert set(in_turn({"a": lambda: None}, 1)["a"]) == set(found["a"])


def _row(ratio: float) -> dict[str, Any]:
    figures = dict.fromkeys(("cpu_ms", "low_ms", "high_ms", "clock_ms"), 2.0)
    return {**figures, "against_native": ratio}


RECORD = {
    "instruction_set": "avx2",
    "scans": [
        {
            "sizes": sizes,
            "rows": {
                "native": _row(1.0),
                "function body": _row(7.0),
                "llama.cpp's loop": {"why_not": "none was named"},
                "exponentials alone": _row(0.5),
                "copy alone": _row(0.1),
            },
        }
        for sizes in ("l 256", "l 64")
    ],
    "threads": {"one_ms": 2.0, "two_ms": 1.0, "faster": 2.0, "faster_at_best": 1.9, "busy": 1.25}
    | {"roof_faster": 1.97},
    "roofs": {"gexp_per_s": 16.0, "copy_gb_per_s": 47.0},
    "llama_cpp": None,
    "load_average": [0.1, 0.9],
    "network": {
        "windows": "5 windows",
        "rows": [
            {"runner": "onnxruntime-cpu-native", "p50_ms": 0.2, "p99_ms": 0.3, "floor_ratio": 0.75}
            | {"against_native": 1.0, "why_not": None},
            {"runner": "openvino", "p50_ms": None, "p99_ms": None, "floor_ratio": None, "why_not": "missing"},
        ],
        "floor": {"floor_ms": 0.25, "gmac": 0.013, "sgemm_gflops": 104.0},
        "paired": {"native_against_body": 0.5},
    },
}


def test_tables_show_what_was_found_and_why_not() -> None:
    values = {name: (here, bound) for name, here, bound in tables.targets(RECORD)}
    assert values["scan: function body / native"] == ("7.00", "at least 6")
    assert values["scan: llama.cpp's loop / native"] == ("not measured", "at least 4")
    assert values["scan: one thread / two, by the clock"] == ("2.00", "at least 1.8")
    assert values["network: native / function body"] == ("0.50", "at most 0.7")
    assert values["network: native / dense sgemm floor"] == ("0.75", "at most 0.8")
    assert values["scan: exponentials alone / native"] == ("0.50", "")
    assert [row[0] for row in tables.scans(RECORD)] == ["l 256"] * 5 + ["l 64"] * 4
    assert len(tables.first_scan(RECORD)) == 5
    assert tables.network(RECORD)[1] == ("openvino", "not timed", "", "", "")
    text = "\n".join(tables.notes(RECORD))
    for part in (
        "llama.cpp's loop: none was named",
        "openvino: missing",
        "25% of its time",
        "5 windows",
        "1.97",
    ):
        assert part in text
    for header, rows in ((tables.SCANS, tables.scans(RECORD)), (tables.NETWORK, tables.network(RECORD))):
        assert {len(row) for row in rows} == {len(header)}

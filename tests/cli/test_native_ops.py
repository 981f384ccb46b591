"""``plugin build|path|list --host onnxruntime``, and what ``inspect`` and ``doctor`` say of it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mimamba_edge.artifact import manifest_path
from mimamba_edge.load import builtin_model
from mimamba_edge.machine import gpu
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.runtime.native_ops import LIBRARY
from tests.kept import cxx

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]


def test_build_list_path_inspect_and_doctor(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tmp_path / "c++"
    quick.write_text(f'#!/bin/sh\nexec {shlex.quote(cxx())} "$@" -O0\n')
    quick.chmod(0o755)
    monkeypatch.setenv("CXX", str(quick))
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path))
    monkeypatch.delenv("MIMAMBA_ORT_OPS")
    monkeypatch.setattr(gpu, "gpus", list)
    host = ("--host", "onnxruntime")
    assert "plugin build --host onnxruntime" in run("plugin", "list", *host).out
    assert run("plugin", "path", *host).code == 2
    assert "function bodies" in run("inspect", builtin_model()).out
    assert "not a GPU architecture" in run("plugin", "build", *host, "--arch", "orin").err
    both = run("plugin", "build", *host, "--arch", "87", "--wheel", tmp_path / "wheels")
    assert "x86_64 or aarch64" in both.err
    made = json.loads(run("plugin", "build", *host, "--json").out)
    library = Path(made["path"])
    assert made["problem"] is None
    assert made["providers"] == ["cpu"]
    assert json.loads(manifest_path(library).read_text()) == made["info"]
    assert sorted(path.name for path in library.parent.iterdir()) == sorted(
        ["build.log", LIBRARY, LIBRARY + ".json"]
    )
    assert run("plugin", "path", *host).out.strip() == str(library)
    assert all(word in run("plugin", "list", *host).out for word in ("SelectiveScan 1", made["target"], "ok"))
    written = library.stat().st_mtime_ns
    assert build_native_ops().path.stat().st_mtime_ns == written, "built again without need"
    assert "native on the CPU" in (said := run("inspect", builtin_model()).out)
    assert "on CUDA function bodies" in said
    assert str(library.parent.name) in run("doctor", "--json").out
    changed = library.read_bytes() + b"x"
    library.unlink()  # this process has mapped the file: its bytes must not change
    library.write_bytes(changed)
    assert "do not match their manifest" in run("plugin", "list", *host).out
    assert "do not match" in run("doctor", "--json").out

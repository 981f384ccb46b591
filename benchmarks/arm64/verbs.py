"""What the verbs of a device say inside, beside what they say here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.arm64.system import SYSTEM, arm64, here
from benchmarks.arm64.walk import MUSE, Row

CLOSE = 1e-4
"""Largest difference of a probability."""
_VERB, _PYTHON = "/opt/mimamba-edge/bin/mimamba-edge", "/opt/mimamba-edge/bin/python"
_MODEL = "from mimamba_edge.load import builtin_model; print(builtin_model())"
_HEAVY = "import importlib.util as u; print([m for m in ('torch', 'onnx', 'mne') if u.find_spec(m)])"
_LSL = """
import glob, os
here = "/opt/mimamba-edge/lib/python3*/site-packages/mne_lsl/lsl/lib/liblsl.so*"
(os.environ["PYLSL_LIB"],) = glob.glob(here)
import pylsl
pylsl.StreamOutlet(pylsl.StreamInfo("check", "Markers", 1, 0, "string", "check"))
print(pylsl.library_version())
"""
_NATIVE = """
import statistics, sys, time
import numpy as np, onnxruntime as ort
from mimamba_edge.runtime.native_ops import find_native_ops
found = find_native_ops()
sessions = []
for library in (None, found.path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if library:
        options.register_custom_ops_library(str(library))
    sessions.append(ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"]))
given = sessions[0].get_inputs()[0]
rng = np.random.default_rng(0)
shape = [n if isinstance(n, int) else 1 for n in given.shape]
took, worst = ([], []), 0.0
for _ in range(30):
    windows = np.cumsum(rng.normal(size=shape), axis=-1).astype(np.float32)
    said = []
    for times, session in zip(took, sessions):
        start = time.thread_time()
        said.append(session.run(["logits"], {given.name: windows})[0])
        times.append(time.thread_time() - start)
    worst = max(worst, float(abs(said[0] - said[1]).max() / abs(said[0]).max()))
assert worst < 1e-4, worst
bodies, native = map(statistics.median, took)
print(f"{found.path.parent.parent}, {found.target}: logits within {worst:.1e} of the largest, 30 windows; "
      f"{bodies / native:.1f} times as fast, emulated")
"""


def compare(ours: list[dict[str, Any]], here: list[dict[str, Any]]) -> tuple[bool, str]:
    """Return whether decisions made there are those made here, and by how much they differ."""
    facts = ("window", "label", "valid", "reason")
    same = len(ours) == len(here) and all(
        a[key] == b[key] for a, b in zip(ours, here, strict=False) for key in facts
    )
    gaps = [
        abs(p - b["probs"][name])
        for a, b in zip(ours, here, strict=False)
        if a["probs"] and b["probs"]
        for name, p in a["probs"].items()
    ]
    largest = max(gaps, default=math.nan)
    decided = sum(line["valid"] for line in ours)
    said = f"{len(ours)} windows, {decided} decided; labels {'equal' if same else 'DIFFER'}; "
    return same and largest <= CLOSE, said + f"probabilities within {largest:.1e}"


def check() -> Iterator[Row]:
    """Run what the page does not: decisions as made here, native ops beside bodies, LSL."""
    version = arm64(_VERB, "--version")
    yield "--version", *_said(version)
    heavy = arm64(_PYTHON, "-c", _HEAVY)
    none = heavy.stdout.strip() == "[]"
    yield "left out", f"installed of torch, onnx and mne: {heavy.stdout}", "passed" if none else "missed"
    ours = here(sys.executable, "-c", _MODEL).strip()
    source = ("--source", str(SYSTEM / MUSE[1:]), "--speed", "max")
    there = here(sys.executable, "-m", "mimamba_edge", "stream", ours, *source)
    model = arm64(_PYTHON, "-c", _MODEL).stdout.strip()
    for what, ops in (("function bodies", "none"), ("native ops", "")):
        run = arm64(_VERB, "stream", model, "--source", MUSE, "--speed", "max", env={"MIMAMBA_ORT_OPS": ops})
        if run.returncode:
            yield f"stream, {what}", *_said(run)
            continue
        same, found = compare(_lines(run.stdout), _lines(there))
        yield f"stream, {what}, as decided here", found, "passed" if same else "missed"
    timed = arm64(_PYTHON, "-c", _NATIVE, model)
    yield "native ops beside function bodies", *_said(timed)
    pip = ("-m", "pip", "install", "--no-index", "--find-links=/wheels", "--no-deps", "mne-lsl")
    arm64(_PYTHON, *pip)
    yield "LSL outlet, with the liblsl of mne-lsl", *_said(arm64(_PYTHON, "-c", _LSL))


def _said(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    text = " ".join((done.stdout if done.returncode == 0 else done.stdout + done.stderr).split())
    return text[-300:], "missed" if done.returncode else "passed"


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]

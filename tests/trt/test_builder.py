"""The builder's process: every way it can end is explained, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.trt import build as build_module
from mimamba_edge.trt import child, worker
from mimamba_edge.trt.cuda import load_cuda
from mimamba_edge.trt.timings import read_timings, timings_path, write_timings
from tests.cli.conftest import Result, run
from tests.fakes.world import World
from tests.trt.builder import files, stand_in
from tests.trt.machine import H200, make_machine
from tests.trt.models import write_set

pytestmark = pytest.mark.torch

__all__ = ["run"]  # The fixture of tests/cli serves here too.

Run = Callable[..., Result]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return make_machine(monkeypatch, tmp_path)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return write_set(tmp_path / "m")


# The builder's process ends in other ways.


ENDS = {
    "killed": (
        "os.kill(os.getpid(), 9)",
        ["memory ran out", "swap", "smaller batch", "close other programs"],
    ),
    "crash": ("os.kill(os.getpid(), 11)", ["crashed (SIGSEGV)", "mimamba-edge plugin build"]),
    "said": (
        "sys.stderr.write('[ERROR] no tactic\\n[INFO] a\\n'); sys.stderr.flush(); os.kill(os.getpid(), 6)",
        ["its log: [ERROR] no tactic\n"],
    ),
    "abort": ("os.kill(os.getpid(), 6)", ["crashed (SIGABRT)"]),
    "raised": (
        "sys.exit('MemoryError: of the host')",
        ["without an engine", "exit 1", "MemoryError: of the host"],
    ),
    "silent": ("pass", ["without an engine", "exit 0"]),
    "cut": ("sys.stdout.write('{'); sys.stdout.flush(); os.kill(os.getpid(), 9)", ["signal 9"]),
    "late": ("say(result={}); os.kill(os.getpid(), 11)", ["crashed (SIGSEGV)"]),
    "plugin": (
        "say(error='PluginError', what='W', got='G', expected=None, do='D')",
        ["W", "G", "D; TensorRT's"],
    ),
    "disk": ("say(error='OutputError', what='disk full', got=None, expected=None, do=None)", ["disk full"]),
}


@pytest.mark.parametrize(("code", "words"), ENDS.values(), ids=ENDS)
def test_every_end_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, onnx: Path, code: str, words: list[str]
) -> None:
    stand_in(monkeypatch, code)
    before = files(onnx.parent)
    result = run("build", onnx)
    assert result.code == 2
    for word in words:
        assert word in result.err
    assert "build-" in result.err, "the log is named"
    assert files(onnx.parent) == before


def test_ctrl_c_ends_the_child_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    pid = tmp_path / "pid"
    half = f"open(r['plan'], 'w').write('half'); open({str(pid)!r}, 'w').write(str(os.getpid()))"
    stand_in(monkeypatch, f"{half}; time.sleep(60)")
    before = files(onnx.parent)

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()):
            if time.monotonic() > deadline:  # The command ended without a child; its code says so below.
                return
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = run("build", onnx)
    thread.join()
    assert result.code == 130
    assert files(onnx.parent) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_builder_stops_when_its_parent_is_gone() -> None:
    reading, writing = os.pipe()
    lines = worker.Lines(writing)
    assert lines.progress("a", 0.0)
    os.close(reading)
    time.sleep(2 * worker.EVERY_S)
    assert not lines.progress("b", 0.5)
    with pytest.raises(OSError):
        lines.close()


def test_progress_and_notes_reach_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, "say(phase='p', share=0.5); say(note='n'); say(result={'a': r['a']})")
    told: list[Any] = []
    result = child.run_builder(
        {"a": 7}, tmp_path / "l" / "log", on_progress=lambda *a: told.append(a), on_note=told.append
    )
    assert (result, told) == ({"a": 7}, [("p", 0.5), "n"])


@pytest.mark.parametrize("integrated", [True, False])
def test_workspace_leaves_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, integrated: bool) -> None:
    device = {} if integrated else {"device": H200}
    make_machine(monkeypatch, tmp_path, **device)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable:  4000000 kB\n")
    cuda = load_cuda()
    expected = 4000000 * 1024 // 4 if integrated else cuda.mem_get_info()[0] // 2
    assert worker.workspace_bytes(cuda, tmp_path) == expected
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (1 << 20, 1 << 33))
    assert worker.workspace_bytes(cuda, tmp_path / "none") == 32 << 20


def test_timings_are_kept_whole_or_not_used(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "t" / "x.cache"
    assert read_timings(path) == (b"", None)
    write_timings(path, b"FAKECACHE\nmore")
    assert read_timings(path) == (b"FAKECACHE\nmore", None)
    path.write_bytes(path.read_bytes()[:-1])
    data, note = read_timings(path)
    assert data == b""
    assert note is not None
    assert "damaged" in note
    environment = build_module.read_build_environment(build_module.load_tensorrt(), load_cuda())
    assert timings_path(environment).parent == tmp_path / "cache" / "timings"


def test_the_worker_notes_a_damaged_timing_cache_and_builds(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    (tmp_path / "t").write_bytes(b"garbage")
    plan = tmp_path / "out.plan"
    request = {
        "onnx": str(onnx),
        "plugin": str(tmp_path / "libmimamba_plugin.so"),
        "plan": str(plan),
        "timings": str(tmp_path / "t"),
        "shapes": {"windows": [[1, 3, 20]] * 3},
    }
    lines = worker.Lines(os.open(tmp_path / "lines", os.O_WRONLY | os.O_CREAT))
    result = worker.build_engine(request, lines)
    lines.close()
    told = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert result["plan_bytes"] == plan.stat().st_size
    assert ["damaged" in line["note"] for line in told if "note" in line] == [True]
    assert read_timings(tmp_path / "t")[0].startswith(b"FAKECACHE")

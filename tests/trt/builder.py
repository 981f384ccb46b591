"""Stand-ins for the builder's process, and what tests of `build` look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mimamba_edge.artifact import sha256_file
from mimamba_edge.trt import child
from tests.fakes.tensorrt import plan_bytes, plan_head
from tests.fakes.world import World


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the builder's process run this instead; ``r`` is the request, ``say`` sends a line."""
    head = "import json,os,sys,time; r=json.load(sys.stdin)\ndef say(**v): print(json.dumps(v), flush=True)\n"
    monkeypatch.setattr(child, "COMMAND", [sys.executable, "-I", "-S", "-c", head + code])


def quick_builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: World, batch: int = 1) -> None:
    """Let the builder's process write a plan that is ready, which spares starting NumPy and ONNX there."""
    ready = tmp_path / f"ready-{batch}.plan"
    ready.write_bytes(plan_bytes(plan_head(world.version, world.cuda.device, batch=(batch,) * 3)))
    code = f"open(r['plan'],'wb').write(open({str(ready)!r},'rb').read()); say(result={{}})"
    stand_in(monkeypatch, code)


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}

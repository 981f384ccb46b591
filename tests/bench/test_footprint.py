"""The measurements of an edge install, each against something known."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import arm64, footprint


def test_sizes_go_to_the_distribution_that_brought_the_files(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "a.py").write_bytes(b"x" * 300)
    (tmp_path / "pack" / "b.so").write_bytes(b"x" * 5000)
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "c.txt").write_bytes(b"x" * 40)
    info = tmp_path / "the_pack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: the-pack\nVersion: 1.0\n")
    (info / "RECORD").write_text("pack/a.py,,\npack/b.so,,\nthe_pack-1.0.dist-info/METADATA,,\n")
    (tmp_path / "link").symlink_to(tmp_path / "pack" / "b.so")
    sizes = footprint.installed_bytes(tmp_path)
    held = 5300 + sum(file.stat().st_size for file in info.iterdir() if file.name == "METADATA")
    record = (info / "RECORD").stat().st_size
    assert sizes == {"the-pack": held + record, "stray": 40}


def test_memory_of_a_process_grows_by_what_it_takes() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which Linux has")
    before = footprint.memory_bytes(os.getpid())
    taken = np.ones(100 << 17)  # 100 MiB, touched
    after = footprint.memory_bytes(os.getpid())
    assert after["resident_bytes"] - before["resident_bytes"] == pytest.approx(taken.nbytes, rel=0.1)
    assert after["peak_bytes"] >= after["resident_bytes"]


def test_only_a_valid_line_is_a_decision(tmp_path: Path) -> None:
    say = "print('{\"valid\": %s}', flush=True)"
    code = f"import time; {say % 'false'}; time.sleep(0.3); {say % 'true'}"
    took = footprint.first_decision([sys.executable, "-c", code], tmp_path)
    assert took["wall_s"] >= 0.3
    # Asleep is not at work.
    assert 0 < took["cpu_s"] < took["wall_s"]
    with pytest.raises(RuntimeError, match="no decision"):
        footprint.first_decision([sys.executable, "-c", say % "false"], tmp_path)


def test_processor_time_is_what_the_system_counts() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc, which Linux has")
    before = time.process_time()
    told = footprint.cpu_s(os.getpid())
    # The kernel counts in hundredths.
    assert before - 0.02 <= told <= time.process_time() + 0.02


def _line(label: str, p: float, start: int = 0) -> dict[str, object]:
    return {
        "window": [start, start + 4],
        "label": label,
        "valid": True,
        "reason": None,
        "probs": {"a": p, "b": 1 - p},
    }


def test_decisions_of_two_machines_are_the_same_or_not() -> None:
    ours = [_line("a", 0.7), _line("a", 0.51, 4)]
    assert arm64.compare(ours, [_line("a", 0.70009), _line("a", 0.51, 4)]) == (
        True,
        "2 windows, 2 decided; labels equal; probabilities within 9.0e-05",
    )
    assert not arm64.compare(ours, [_line("a", 0.7002), _line("a", 0.51, 4)])[0]
    assert not arm64.compare(ours, [_line("a", 0.7), _line("b", 0.51, 4)])[0]
    assert not arm64.compare(ours, [_line("a", 0.7), _line("a", 0.51, 8)])[0]
    assert not arm64.compare(ours, ours[:1])[0]
    assert not arm64.compare([], [])[0]

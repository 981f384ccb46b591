"""docs/tutorial.md is typed as it stands, in one empty folder, and prints what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, blocks, missing_lines, run_shell


def test_lines_are_told_apart() -> None:
    printed = "run p7bf296/2026-11-22/01   0.697\nmean 0.740: 0.619 to 0.839, 95 % of all\n"
    assert missing_lines("run p000000/2027-01-02/03 1\nmean 0.1: 0.2 to 0.3, …\n", printed) == []
    assert missing_lines("ran p7bf296/2026-11-22/01 0.697\nmean 0.740: 0.619\n", printed) == [
        "ran p7bf296/2026-11-22/01 0.697",
        "mean 0.740: 0.619",
    ]


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("brainflow", reason="needs brainflow: pip install 'mimamba-edge[live]'")
    pytest.importorskip("websockets", reason="needs websockets: pip install 'mimamba-edge[live]'")
    printed, outputs = "", []
    for block in blocks(DOCS / "tutorial.md"):
        if block.language == "sh":
            printed = run_shell(block.text, tmp_path)
            outputs.append(printed)
        else:
            assert missing_lines(block.text, printed) == [], printed
    everything = "\n".join(outputs)
    assert "missed" not in everything
    found = re.search(r"^mean (\S+): (\S+) to (\S+),", everything, re.MULTILINE)
    assert found is not None
    mean, low, high = map(float, found.groups())
    assert 0.5 < low < mean < high, "above chance, as the page says"
    assert 0.65 < mean < 0.85, "about three of four"
    decisions = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    assert sum(one["valid"] for one in decisions) > 40
    assert {one["label"] for one in decisions if one["valid"]} <= {"calm", "excited"}
    assert [path for path in (tmp_path / "sessions").iterdir() if path.is_dir()] == []

"""Commands of the how-to pages that need no device are typed as they stand, each page in one empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, blocks, missing_lines, run_shell


@pytest.mark.ort
@pytest.mark.parametrize("page", ["recordings", "several-streams", "triton"])
def test_a_page_does_what_it_says(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed, ran = "", 0
    for block in blocks(DOCS / f"{page}.md"):
        if block.language == "sh":
            printed, ran = run_shell(block.text, tmp_path), ran + 1
        elif block.language == "python":
            exec(block.text, {})
        else:
            assert missing_lines(block.text, printed) == [], printed
    assert ran > 1

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep windows of made-up data sets out of the user's cache."""
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "own-cache"))

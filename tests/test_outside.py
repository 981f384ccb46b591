"""No file here names a folder outside the repository: what lies there comes by an option or a variable."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_MAY = {Path(".ci/run")}
"""Sets ``MIMAMBA_DATA`` where recordings lie beside the checkout."""
_OUTSIDE = re.compile(
    r"\bROOT\.parent\b|(?<![\w.])(?:\.\./)+(?:shared|data)\b"
    r"|(?<![\w./-])/(?:data|media|mnt|root|scratch|srv|work|workspace|Users)/"
)
_PARENTS = re.compile(r"__file__\)(?:\.resolve\(\))?\.parents\[(\d+)\]")
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#]*)")


def _files() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("needs git and a checkout: git clone")
    # The two links to folders at the top are listed as files.
    return [
        path for name in found.stdout.split("\0") if name and (path := Path(name)) and (ROOT / path).is_file()
    ]


def test_no_file_names_a_folder_outside() -> None:
    here = Path(__file__).resolve().relative_to(ROOT)
    bad = []
    for path in _files():
        if path in _MAY or path == here:
            continue
        text = (ROOT / path).read_bytes().decode("utf-8", "replace")
        bad += [f"{path}: {found}" for found in _OUTSIDE.findall(text)]
        bad += [f"{path}: names {ROOT}"] * (f"{ROOT}/" in text)
        # parents[n] of a file n folders deep is the repository itself.
        bad += [f"{path}: parents[{n}]" for n in _PARENTS.findall(text) if int(n) >= len(path.parts)]
        if path.suffix == ".md":
            targets = [(ROOT / path.parent / link).resolve() for link in _LINK.findall(text)]
            bad += [f"{path}: links {target}" for target in targets if not target.is_relative_to(ROOT)]
    assert bad == []

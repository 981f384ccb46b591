"""What a library asks of others: as readelf prints it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.machine.elf import needed_versions
from mimamba_edge.plugins.ops_wheel import wheel_name


@pytest.fixture(scope="module")
def library() -> Path:
    found = sorted(Path(np.__file__).parent.rglob("_multiarray_umath*.so"))
    if not found:
        pytest.skip("needs NumPy as a wheel for Linux: pip install numpy")
    return found[0]


def test_versions_are_those_that_readelf_prints(library: Path) -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("needs readelf: apt install binutils")
    said = subprocess.run([readelf, "-V", library], capture_output=True, text=True, check=True).stdout
    needs = said[said.index("Version needs section") :]
    assert needed_versions(library) == set(re.findall(r"Name: (\S+)  Flags", needs))


def test_a_text_in_a_library_is_not_what_it_asks_for(library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.so"
    copy.write_bytes(library.read_bytes() + b"\0GLIBC_2.99\0")
    assert needed_versions(copy) == needed_versions(library)
    assert wheel_name(copy) == wheel_name(library)


@pytest.mark.parametrize("length", [0, 40, 64, 200])
def test_what_is_no_whole_library_is_refused(library: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.so").write_bytes(library.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cut\.so is no"):
        needed_versions(tmp_path / "cut.so")

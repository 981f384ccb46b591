from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.artifact import (
    Manifest,
    atomic_write,
    check_writable,
    manifest_path,
    sha256_file,
    write_bytes,
    write_json,
    write_manifest,
)
from mimamba_edge.errors import ArtifactError, ContractError, OutputError
from tests.test_contract import contract


def artefact(folder: Path) -> Path:
    path = folder / "m.onnx"
    write_bytes(path, b"weights")
    write_manifest(
        path,
        Manifest(
            file=path.name,
            kind="onnx",
            precision="fp32",
            sha256=sha256_file(path),
            source_sha256="0" * 64,
            contract=contract(),
        ),
    )
    return path


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_bytes(path, b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_an_interrupted_write_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "new" / "below" / "f"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_bytes(tmp_path / "new" / "f", b"x")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "new" / "below" / "f"):
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["f"]


def test_a_written_file_has_the_mode_the_user_asked_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "f", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_nan_never_reaches_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "f.json", {"x": float("nan")})
    assert [p.name for p in tmp_path.iterdir()] == []


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", Path("/proc/nowhere/f")):
        with pytest.raises(OutputError, match="cannot write"):
            check_writable(path)
        with pytest.raises(OutputError, match="cannot write"):
            write_bytes(path, b"x")
    with pytest.raises(OutputError, match="a folder"):
        check_writable(tmp_path)


def test_asking_whether_a_place_can_be_written_makes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "below" / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_may_not_even_be_looked_at_is_an_output_error(tmp_path: Path) -> None:
    # As of a folder of another user, which root cannot show.
    with pytest.raises(OutputError, match="cannot write"):
        check_writable(tmp_path / ("n" * 300) / "f")


def test_a_full_disk_is_named_and_keeps_the_old_file(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs (run as root)")
    try:
        write_bytes(tmp_path / "f", b"old")
        with pytest.raises(OutputError, match="the disk is full"):
            write_bytes(tmp_path / "f", b"x" * 200_000)
        assert (tmp_path / "f").read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["f"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_manifest_round_trip(tmp_path: Path) -> None:
    path = artefact(tmp_path)
    manifest = Manifest.load(path)
    assert manifest.contract == contract()
    assert manifest.sha256 == sha256_file(path)


def test_manifest_and_file_that_disagree_are_both_shown(tmp_path: Path) -> None:
    path = artefact(tmp_path)
    expected = sha256_file(path)
    path.write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="disagree") as caught:
        Manifest.load(path)
    assert expected in str(caught.value)
    assert sha256_file(path) in str(caught.value)


def test_missing_and_damaged_manifests(tmp_path: Path) -> None:
    path = artefact(tmp_path)
    text = manifest_path(path).read_text()
    manifest_path(path).write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match="damaged"):
        Manifest.load(path)
    raw = json.loads(text)
    for other in ({"manifest_format": 9}, {"manifest_format": 9, "a_field_of_tomorrow": 1}):
        manifest_path(path).write_text(json.dumps({**raw, **other}))
        with pytest.raises(ArtifactError, match="a format that this version cannot read"):
            Manifest.load(path)
    manifest_path(path).write_text(json.dumps({**raw, "contract": {"contract_version": 7}}))
    with pytest.raises(ContractError, match="version"):
        Manifest.load(path)
    manifest_path(path).unlink()
    with pytest.raises(ArtifactError, match="no manifest"):
        Manifest.load(path)
    path.unlink()
    with pytest.raises(ArtifactError, match="not there"):
        Manifest.load(path)


def test_an_artefact_of_a_terabyte_is_not_hashed(tmp_path: Path) -> None:
    path = artefact(tmp_path)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="is too large"):
        Manifest.load(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sha256": 7}, "sha256: Expected str, got int"),
        ({"ops": {"SelectiveScan": "1"}}, "ops.*Expected int, got str"),
        ({"versions": [1]}, "versions: Expected object, got array"),
        ({"precision": "x" * 10**6}, "precision: a text of 1,000,000 characters"),
        ({"later": 1}, "unknown fields: later"),
        ({"source": {"x": 10**30}}, "source.x: a whole number beyond 64 bits"),
    ],
)
def test_a_wrong_field_of_a_manifest_is_named(tmp_path: Path, change: dict[str, object], word: str) -> None:
    path = artefact(tmp_path)
    raw = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps({**raw, **change}))
    with pytest.raises(ArtifactError, match=word) as caught:
        Manifest.load(path)
    assert len(str(caught.value).encode()) < 4096

from __future__ import annotations

from pathlib import Path

import pytest

for _name in ("torch", "onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(_name)
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.errors import CheckpointError, OutputError  # noqa: E402
from mimamba_edge.export.onnx.export import files_of, output_beside  # noqa: E402


def test_what_an_export_is_called(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.b.pt"
    checkpoint.touch()
    assert output_beside(checkpoint) == tmp_path / "a.b.onnx"
    names = [path.name for path in files_of(tmp_path / "a.b.onnx")]
    assert names == ["a.b.onnx", "a.b.trt.onnx", "a.b.ref.npz"]


@pytest.mark.parametrize("path", [Path("/"), Path(), Path("none.pt")])
def test_no_name_can_be_made_of_what_is_no_checkpoint(path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not there"):
        output_beside(path)


def test_a_folder_is_no_output() -> None:
    with pytest.raises(OutputError, match="cannot write /"):
        files_of(Path("/"))

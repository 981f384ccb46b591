"""The sink and the runner of docs/extending.md: one module and one line each, tried as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mimamba_edge import Decoder, load_model
from mimamba_edge.cli.app import app
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.load import RUNNERS
from mimamba_edge.stream.sinks.spec import SINKS
from tests.stream.engines import CONTRACT, MUSE

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the modules of the page on the path and their lines into the tables."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for file, name, table, key in (
        ("mimamba_edge/stream/sinks/toy.py", "toy_sink", SINKS, "toy"),
        ("mimamba_edge/runtime/toy.py", "toy_runner", RUNNERS, ".toy"),
    ):
        (code,) = re.findall(rf"^```python\n# {file}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
        assert f'"{key}": "{file.removesuffix(".py").replace("/", ".")}",' in TEXT
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setitem(table, key, name)
    Path("model.toy").write_text(CONTRACT.to_json())


def test_a_runner_is_a_module_and_a_line() -> None:
    x = np.random.default_rng(0).normal(0, 15, (1500, 4))
    with load_model("model.toy") as model:
        decisions = Decoder(model, MUSE, 256.0).push(x)
    assert any(d.valid for d in decisions)


def test_a_sink_is_a_module_and_a_line() -> None:
    write_recording(Path("a.csv"), simulate_recording(["calm"])[0])
    stream = ["stream", "model.toy", "--source", "a.csv", "--speed", "max", "--sink"]
    done = CliRunner().invoke(app, [*stream, "toy:labels.txt"])
    assert done.exit_code == 0, done.output
    assert set(Path("labels.txt").read_text().split()) & set(CONTRACT.class_names)
    assert CliRunner().invoke(app, [*stream, "toy:"]).exit_code != 0

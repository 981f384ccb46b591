"""The schemas in docs/formats are those of the types, and what the product writes is as they say."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mimamba_edge.cli import main
from mimamba_edge.data.session_format import SessionInfo
from mimamba_edge.load import builtin_model
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.trt.library import PluginInfo
from tests.attack.seeds import CONTRACT, stdin_text, write_profile
from tests.modelfiles import write_model

FORMATS = Path(__file__).resolve().parents[1] / "docs" / "formats"


def check(name: str, value: Any) -> None:
    schema = json.loads((FORMATS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, schema, jsonschema.Draft202012Validator)


def test_the_schemas_are_up_to_date() -> None:
    made = dict(runpy.run_path(str(FORMATS / "generate.py"))["schemas"]())
    assert set(made) == set(FORMATS.glob("*.schema.json"))
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, "make schemas"
        assert f"({path.name})" in (FORMATS / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("formats") / "model.onnx"
    write_model(path, CONTRACT)
    return path


@pytest.mark.torch
def test_manifest_contract_and_profile(model: Path) -> None:
    manifest = json.loads(model.with_name("model.onnx.json").read_text())
    check("manifest", manifest)
    check("contract", manifest["contract"])
    write_profile(model.parent)
    check("profile", json.loads(model.with_name("profile.json").read_text()))
    with pytest.raises(jsonschema.ValidationError, match="more"):
        check("manifest", {**manifest, "more": 1})
    with pytest.raises(jsonschema.ValidationError, match="sfreq"):
        check("contract", {name: value for name, value in manifest["contract"].items() if name != "sfreq"})


def test_manifests_of_the_built_in_model() -> None:
    for path in builtin_model().parent.glob("*.json"):
        check("manifest", json.loads(path.read_text()))


def test_plugin_manifest() -> None:
    info = PluginInfo("a.so", "0" * 64, None, "0.1", {"S": 1}, "10.3.0", "12.6", (87,), False, "g++")
    check("plugin", info.to_dict())


def test_session(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, SessionInfo("p1", "1", "01", ("Fz",), 250.0, (-1.0, 1.0)))
    writer.close()
    check("session", json.loads((writer.folder / "session.json").read_text()))


@pytest.mark.ort
def test_decisions(tmp_path: Path) -> None:
    (tmp_path / "rec.csv").write_text(stdin_text(rows=1024))
    lines = tmp_path / "d.jsonl"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                "stream",
                str(builtin_model()),
                "--source",
                str(tmp_path / "rec.csv"),
                "--sink",
                f"jsonl:{lines}",
            ]
        )
    decisions = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {True, False} == {decision["valid"] for decision in decisions}
    for decision in decisions:
        check("decision", decision)

"""Writes the JSON schemas beside it from the types that read and write these files: ``make schemas``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mimamba_edge.artifact import Manifest
from mimamba_edge.bench.record_format import Record
from mimamba_edge.bench.run import FORMAT as bench_format
from mimamba_edge.contract import Contract
from mimamba_edge.data import session_format
from mimamba_edge.export.evaluation.report import SCHEMA as evaluation_schema
from mimamba_edge.export.evaluation.report import EvaluationReport
from mimamba_edge.profile import SCHEMA as profile_schema
from mimamba_edge.profile import Profile
from mimamba_edge.stream import decision
from mimamba_edge.trt import library

FOLDER = Path(__file__).resolve().parent
CLOSED = {"contract": Contract, "manifest": Manifest, "plugin": library.PluginInfo, "profile": Profile}
"""What is read back: fields that are not known are refused."""
OPEN = {
    "session": session_format.SessionInfo,
    "decision": decision.Decision,
    "evaluation": EvaluationReport,
    "record": Record,
}
FIXED = {
    "plugin": {"format": library.FORMAT},
    "profile": {"schema": profile_schema},
    "session": {"format": session_format.FORMAT, "unit": "uV"},
    "decision": {"schema": decision.SCHEMA},
    "evaluation": {"schema": evaluation_schema},
    "record": {"format": bench_format, "made_by": "mimamba-edge bench"},
}
"""Fields that have one value only."""
_TOLD = {
    "format": "Version of this format.",
    "schema": "Name and version of this format.",
    "unit": "Of the signal.",
}
"""What the fixed fields are."""


def schemas() -> Iterator[tuple[Path, str]]:
    """Yield path and text of each schema."""
    for name, kind in {**CLOSED, **OPEN}.items():
        schema = msgspec.json.schema(kind)
        for title, definition in schema["$defs"].items():
            _describe(definition, getattr(inspect.getmodule(kind), title, object).__mro__[1:-1])
            definition["additionalProperties"] = name in OPEN
        whole, fixed = schema["$defs"][kind.__name__], FIXED.get(name, {})
        for field, value in fixed.items():
            told = _TOLD.get(field) or whole["properties"][field]["description"]
            whole["properties"][field] = {"const": value, "description": told}
        whole["required"] = sorted({*whole["required"], *fixed})
        full = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        yield FOLDER / f"{name}.schema.json", json.dumps(full, indent=2, ensure_ascii=False) + "\n"


def _describe(definition: dict[str, Any], bases: Sequence[type]) -> None:
    """Move what the docstrings of a type and its bases say of each attribute to the attribute."""
    of_type = inspect.cleandoc(definition.pop("description", ""))
    texts = [text.partition("\n\nAttributes:\n") for text in (of_type, *map(inspect.getdoc, bases)) if text]
    definition["description"] = _plain(of_type.partition("\n\nAttributes:\n")[0])
    attributes = "\n".join(text for _, _, text in texts)
    for name, told in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        definition["properties"][name]["description"] = _plain(told)


def _plain(text: str) -> str:
    return re.sub(r":\w+:`", "`", " ".join(text.split()).replace("``None``", "null").replace("``", "`"))


if __name__ == "__main__":
    for path, text in schemas():
        path.write_text(text, encoding="utf-8")

"""Pages of the file formats, made from the JSON schemas: one table of fields a type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimamba_edge.load import builtin_model

from .markdown import cell, table

FORMATS = Path(__file__).resolve().parents[1] / "formats"
TITLES = {
    "contract": (
        "Contract of a model file",
        "stands in a checkpoint, in an ONNX file's metadata and in the manifest",
    ),
    "decision": ("Decision line", "one line of `--sink jsonl`"),
    "manifest": ("Manifest", "`FILE.json` beside an artefact `FILE`"),
    "session": ("Session folder", "`session.json` of a session folder"),
    "profile": ("Profile", "what `calibrate` writes of one person"),
    "evaluation": ("Evaluation", "what `evaluate --report` writes"),
    "record": ("Record of a measurement", "what `bench --record` writes"),
    "plugin": ("Manifest of a plugin library", "`libmimamba_plugin.so.json` beside the TensorRT plugins"),
}
_UNITS = {
    "hz": "Hz",
    "s": "s",
    "ms": "ms",
    "us": "µs",
    "uv": "µV",
    "db": "dB",
    "mhz": "MHz",
    "w": "W",
    "mw": "mW",
    "c": "°C",
    "bytes": "bytes",
    "mb": "MB",
    "mib": "MiB",
    "gib": "GiB",
    "sfreq": "Hz",
    "mj": "mJ",
    "unix": "s since 1970",
}
"""By the end of a field's name."""


def _type(held: dict[str, Any]) -> str:
    """Return in words what a field may hold."""
    if "$ref" in held:
        name = held["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "const" in held:
        return f"`{json.dumps(held['const'])}`"
    if "enum" in held:
        return " or ".join(f"`{json.dumps(value)}`" for value in held["enum"])
    if "anyOf" in held:
        return " or ".join(_type(one) for one in held["anyOf"])
    if "prefixItems" in held:
        return f"array of {len(held['prefixItems'])}: {', '.join(_type(one) for one in held['prefixItems'])}"
    kind = held.get("type")
    if kind == "array":
        inner = _type(held["items"]) if held.get("items") else "any"
        return f"array of {inner}"
    if kind == "object" and isinstance(held.get("additionalProperties"), dict):
        return f"object of {_type(held['additionalProperties'])}"
    return str(kind or "any")


def _unit(name: str, held: dict[str, Any]) -> str:
    numeric = "number" in json.dumps(held) or "integer" in json.dumps(held)
    return _UNITS.get(name.rsplit("_", 1)[-1], "") if numeric else ""


def _default(name: str, held: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    return f"`{json.dumps(held['default'])}`" if "default" in held else ""


def _definition(title: str, held: dict[str, Any], whole: bool) -> str:
    rows = [
        (
            f"`{name}`",
            cell(_type(field)),
            _unit(name, field),
            cell(field.get("description", "")),
            cell(_default(name, field, held.get("required", []))),
        )
        for name, field in held.get("properties", {}).items()
    ]
    more = "Other fields are refused." if held["additionalProperties"] is False else "More fields may follow."
    text = f"{held.get('description', '')} {more}\n\n" + table(
        ("field", "type", "unit", "meaning", "default"), rows
    )
    return text if whole else f"## {title}\n\n{text}"


def _example(name: str) -> str:
    """Return a real one, of the built-in model, where there is one."""
    manifest = json.loads(builtin_model().with_name("reference.onnx.json").read_text(encoding="utf-8"))
    held = {"manifest": manifest, "contract": manifest["contract"]}.get(name)
    if held is None:
        return ""
    text = json.dumps(held, indent=2)
    return f"\n## Example\n\nThat of the built-in model.\n\n```json\n{text}\n```\n"


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of each page."""
    for name, (title, where) in TITLES.items():
        schema = json.loads((FORMATS / f"{name}.schema.json").read_text(encoding="utf-8"))
        main = schema["$ref"].rsplit("/", 1)[1]
        parts = [f"# {title}\n", f"{where[0].upper()}{where[1:]}."]
        parts.append(f"JSON schema: [{name}.schema.json](../../formats/{name}.schema.json).\n")
        parts.append(_definition(main, schema["$defs"].pop(main), True))
        parts += [_definition(title, held, False) for title, held in schema["$defs"].items()]
        yield f"reference/formats/{name}.md", "\n".join(parts) + _example(name)

"""A refusal, kept beside where the file of lower precision would be: it is not made again to be refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mimamba_edge import __version__
from mimamba_edge.bench.environment import cpu_model
from mimamba_edge.export.quantize.evaluate import Evaluation
from mimamba_edge.export.quantize.pipeline import Request
from mimamba_edge.outputs import report_of, write_report
from mimamba_edge.parity.compare import missed
from mimamba_edge.strict_json import Malformed, read_json

__all__ = ["Refusal", "forget", "keep", "standing"]

_MADE_BY = "quantize"


@dataclass(frozen=True)
class Refusal:
    """Why a file was not written.

    Attributes:
        what: What was judged: model, recipe, recordings, versions, machine.
        reasons: The checks that it missed, in words.
        checks: All of them: name, value, bound, passed.
        accuracy: Trials right out of fold, where they were measured.
        made_by: What wrote it.
    """

    what: dict[str, str]
    reasons: str
    checks: list[dict[str, Any]]
    accuracy: dict[str, Any] | None = None
    made_by: str = field(default="", compare=False)


def keep(request: Request, fp32_sha256: str, evaluation: Evaluation) -> Path | None:
    """Write a refusal; where its place is taken by a file of somebody else, nothing is written."""
    path = _path(request)
    if path.exists() and not report_of(_MADE_BY).wrote(path):
        return None
    facts = {"what": _what(request, fp32_sha256), "reasons": missed(evaluation.checks, values=True)}
    checks = [vars(check) for check in evaluation.checks]
    write_report(path, _MADE_BY, {**facts, "checks": checks, "accuracy": evaluation.accuracy})
    return path


def forget(request: Request) -> None:
    """Remove a refusal, as what was refused is there now."""
    path = _path(request)
    if report_of(_MADE_BY).wrote(path):
        path.unlink(missing_ok=True)


def standing(request: Request, fp32_sha256: str) -> tuple[Path, Refusal] | None:
    """Return the refusal that still stands: of this model, recipe, recordings, versions and machine."""
    path = _path(request)
    try:
        found = read_json(path, Refusal)
    except (OSError, Malformed):
        return None
    return (path, found) if found.what == _what(request, fp32_sha256) else None


def _path(request: Request) -> Path:
    return request.out.with_name(request.out.name.removesuffix(".onnx") + ".refused.json")


def _what(request: Request, fp32_sha256: str) -> dict[str, str]:
    return {
        "fp32_sha256": fp32_sha256,
        "recipe": request.recipe.name,
        "method": request.method,
        "data": _digest(request.calib),
        "folds": _digest(request.folds),
        "mimamba-edge": __version__,
        "onnxruntime": version("onnxruntime"),
        "machine": cpu_model(),
    }


def _digest(path: Path | None) -> str:
    """Return what changes when recordings do: names, sizes and times, not their bytes, which may be many."""
    if path is None:
        return "none"
    digest = hashlib.sha256(str(path.resolve()).encode())
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_file():
            facts = one.stat()
            digest.update(f"{one.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()

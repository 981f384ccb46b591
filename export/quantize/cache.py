"""Calibrations that were computed before, in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from mimamba_edge import __version__
from mimamba_edge.artifact import cache_folder, sha256_bytes, write_json
from mimamba_edge.errors import OutputError

__all__ = ["cached"]


def cached(
    what: tuple[str, str],
    model: ModelProto,
    windows: NDArray[np.float32],
    compute: Callable[[], dict[str, Any]],
    *,
    code: Path | None = None,
) -> dict[str, Any]:
    """Return what was computed before from the same model and windows by the same code, or compute it.

    Args:
        what: Is computed, and how.
        model: Of which.
        windows: On which.
        compute: Gives it, in plain JSON types.
        code: Folder of further modules whose text counts as the code.
    """
    folders = [Path(__file__).parent, *([] if code is None else [code])]
    sources = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    parts = (
        *(part.encode() for part in (*what, __version__, text, str(windows.shape))),
        model.SerializeToString(deterministic=True),
        np.ascontiguousarray(windows).tobytes(),
    )
    key = sha256_bytes(b"".join(hashlib.sha256(part).digest() for part in parts))
    path = cache_folder() / "calibration" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        held = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(held, dict):
            return held
    found = compute()
    with contextlib.suppress(OutputError):  # a cache that cannot be written costs seconds, not the result
        write_json(path, found)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]

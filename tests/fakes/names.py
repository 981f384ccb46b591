"""Names and parameters of NVIDIA's real bindings, as snapshot.py wrote them down, and enums made of them."""

from __future__ import annotations

import enum
import json
from functools import cache
from pathlib import Path
from typing import Any

FILES = {"10.3": "names-10.3.json", "11": "names-11.4.json"}


@cache
def snapshot(flavour: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((Path(__file__).parent / FILES[flavour]).read_text(encoding="utf-8"))
    return held


class TrtEnum(enum.Enum):
    """As pybind11's ``enum_`` without arithmetic: ``int()`` works, ``1 << member`` does not."""

    def __int__(self) -> int:
        return int(self.value)


@cache
def make_enum(flavour: str, name: str) -> Any:
    """Return an enum with the very members of that version."""
    members = snapshot(flavour)["classes"][name]["members"]
    return TrtEnum(name.split(".")[-1], members)

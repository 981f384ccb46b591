"""The page of the programs in examples/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of the page."""
    parts = [
        "# Examples\n",
        "Programs of under 40 lines, run by the tests. They lie in `examples/` of a checkout.\n",
    ]
    for path in sorted(EXAMPLES.glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        module = ast.parse(text)
        first, _, more = (ast.get_docstring(module) or "").partition("\n\n")
        body = "\n".join(text.splitlines()[module.body[0].end_lineno or 0 :]).strip()
        parts += [f"## {first.rstrip('.')}\n", f"{more}\n", f"```python\n{body}\n```\n"]
    yield "reference/examples.md", "\n".join(parts)

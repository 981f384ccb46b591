"""What ``import mimamba_edge`` offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mimamba_edge
from mimamba_edge.errors import DependencyError, MimambaError

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ast.parse((ROOT / "mimamba_edge" / "__init__.py").read_text(encoding="utf-8"))


def promised() -> dict[str, str]:
    """Return the module of each public name, as type checkers see it."""
    (block,) = [node for node in SOURCE.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_public_name_comes_from_where_type_checkers_look_for_it() -> None:
    assert sorted(promised()) == mimamba_edge.__all__
    assert set(mimamba_edge.__all__) <= set(dir(mimamba_edge))
    for name, module in promised().items():
        try:
            found = getattr(mimamba_edge, name)
        except DependencyError:
            assert name in ("MSiMamba", "MSiMambaClassifier"), "only these need torch when they are named"
            continue
        assert found is getattr(sys.modules[module], name), name


def test_all_errors_are_public() -> None:
    kinds, found = [MimambaError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__ == "mimamba_edge.errors":
            found.add(kind.__name__)
    assert found <= set(mimamba_edge.__all__)


def test_a_name_whose_package_is_missing_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; import mimamba_edge\n"
        "try: mimamba_edge.MSiMambaClassifier\nexcept mimamba_edge.DependencyError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "[cpu,export,research]" in out.stdout, out.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Dekoder'"):
        mimamba_edge.Dekoder  # type: ignore[attr-defined]  # noqa: B018


def test_the_import_alone_loads_nothing_heavy() -> None:
    """It takes about 1 ms (``python -X importtime``); what would make that more is not loaded."""
    code = (
        "import sys; before = set(sys.modules); import mimamba_edge\n"
        "print(sorted(set(sys.modules) - before)); mimamba_edge.load_model; mimamba_edge.export_model\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["['mimamba_edge']", "[]"]


def test_the_source_tree_does_not_use_the_front_door() -> None:
    """Inside, names are imported from their own modules: else layers could not be seen."""
    inside = {"__version__", "NO_TELEMETRY"}
    for folder in ("mimamba_edge", "export", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "mimamba_edge":
                    public = {alias.name for alias in node.names} & set(mimamba_edge.__all__)
                    assert not public - inside, f"{path} imports {sorted(public)} by the front door"

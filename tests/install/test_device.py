"""Wheel and source distribution: what they hold; the wheel on a device, without torch and onnx."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from mimamba_edge import __version__

ROOT = Path(__file__).resolve().parents[2]
AT_THE_TOP = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")
ONLY_IN_THE_REPOSITORY = re.compile(r"mimamba_edge/plugins/(harness/.*|[a-z_]+\.sh)")
"""Tests of the plugins, and scripts that need a checkout."""
BUILD = "import sys, setuptools.build_meta as b; [getattr(b, f'build_{kind}')('..') for kind in sys.argv[1:]]"
pytestmark = pytest.mark.slow


def _run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Without PYTHONPATH the checkout cannot stand in for the wheel; starts share what Python compiles.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=env)


def _build(source: Path, *kinds: str) -> None:
    """Build in a process of its own; what is built lies beside the sources."""
    done = _run(sys.executable, "-c", BUILD, *kinds, cwd=source)
    if "No module named 'setuptools'" in done.stderr:
        pytest.skip("needs the package setuptools: pip install 'mimamba-edge[dev]'")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def sources() -> tuple[str, ...]:
    """What is in the repository, or will be, of what the wheel is made of."""
    wanted = (*AT_THE_TOP, "mimamba_edge", "export", "plugins")
    done = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", *wanted, cwd=ROOT)
    if done.returncode:
        pytest.skip(f"needs a clone and git: {done.stderr.strip()}")
    return tuple(name for name in done.stdout.splitlines() if os.path.lexists(ROOT / name))


@pytest.fixture(scope="module")
def built(sources: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of these files, beside what is no part of them."""
    folder = tmp_path_factory.mktemp("dist")
    for name in (*sources, "tests/install/test_device.py"):
        (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "clone" / name, follow_symlinks=False)
    for name in (
        "export/__pycache__/old.cpython-310.pyc",
        "mimamba_edge/models/.reference.onnx.part",
        "tests/a.py",
    ):
        (folder / "clone" / name).parent.mkdir(exist_ok=True)
        (folder / "clone" / name).touch()
    _build(folder / "clone", "sdist", "wheel")
    return folder


def _wheel(folder: Path) -> dict[str, bytes]:
    (path,) = folder.glob("*.whl")
    assert path.name == f"mimamba_edge-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    return _wheel(built)


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return email.message_from_bytes(wheel[f"mimamba_edge-{__version__}.dist-info/METADATA"])


def test_the_wheel_is_the_files_of_the_repository(
    sources: tuple[str, ...], built: Path, wheel: dict[str, bytes]
) -> None:
    files = [name for name in sources if "/" in name and not (ROOT / name).is_symlink()]
    named = {name if name.startswith("mimamba_edge/") else f"mimamba_edge/{name}": name for name in files}
    wanted = {name: at for name, at in named.items() if not ONLY_IN_THE_REPOSITORY.fullmatch(name)}
    held = {name for name in wheel if not name.startswith(f"mimamba_edge-{__version__}.dist-info/")}
    assert held == set(wanted)
    assert [name for name in held if wheel[name] != (ROOT / wanted[name]).read_bytes()] == []
    # Nothing tells where it was built, nor where the built-in model was.
    here = (str(ROOT).encode(), str(built).encode())
    assert [name for name in wheel if any(folder in wheel[name] for folder in here)] == []
    anywhere = re.compile(rb"/(home|root|tmp|work|Users)/")
    assert [name for name in held if "/models/" in name and anywhere.search(wheel[name])] == []


def test_the_source_distribution_gives_the_same_wheel(built: Path, wheel: dict[str, bytes]) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        archive.extractall(built / "unpacked", filter="data")
    assert not [member.name for member in members if member.issym() or member.islnk()]
    files = {member.name.partition("/")[2] for member in members if member.isfile()}
    rest = {name for name in files if not re.match(r"mimamba_edge(\.egg-info)?/", name)}
    assert rest == {*AT_THE_TOP, "PKG-INFO", "setup.cfg"}
    (source,) = (built / "unpacked").iterdir()
    _build(source, "wheel")
    assert _wheel(built / "unpacked") == wheel


def test_the_metadata_are_those_of_the_project(wheel: dict[str, bytes], metadata: Message) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^\[project\.optional-dependencies\]$(.*?)^\[project", project, re.M | re.S)
    (base,) = re.findall(r"^dependencies = \[$(.*?)^\]", project, re.M | re.S)
    assert metadata["Name"] == "mimamba-edge"
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    info = f"mimamba_edge-{__version__}.dist-info"
    assert wheel[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata.get_all("Provides-Extra") == re.findall(r"^([a-z]+) = \[", extras, re.M)
    always = [row for row in metadata.get_all("Requires-Dist") or () if "extra ==" not in row]
    assert always == re.findall(r'"(.*)"', base)
    assert wheel[f"{info}/entry_points.txt"].decode().split("\n")[1] == "mimamba-edge = mimamba_edge.cli:main"


def _link_requirements(metadata: Message, extra: str, site: Path) -> None:
    """Link what the wheel says that it needs, and nothing else, from what is installed here."""
    requirements = pytest.importorskip(
        "packaging.requirements", reason="needs packaging: pip install packaging"
    )
    left = [(row, extra) for row in metadata.get_all("Requires-Dist") or ()]
    for row, wanted in left:
        needed = requirements.Requirement(row)
        if needed.marker is not None and not needed.marker.evaluate({"extra": wanted}):
            continue
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:
            pytest.skip(f"needs {needed.name}: pip install 'mimamba-edge[{extra}]'")
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not os.path.lexists(site / name):
                (site / name).symlink_to(found.locate_file(name))
                # A name is followed once, when its files are linked.
                if name.endswith(".dist-info"):
                    left.extend((more, "") for more in found.requires or ())


@pytest.fixture(scope="module")
def device(built: Path, metadata: Message) -> Path:
    """A fresh environment with the wheel and onnxruntime, as README tells a device's owner."""
    venv.create(built / "env", with_pip=False)
    python = built / "env" / "bin" / "python"
    (path,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile")
    done = _run(*pip, "--no-deps", "--no-index", path)
    assert done.returncode == 0, done.stderr
    (site,) = (built / "env" / "lib").glob("python3*/site-packages")
    _link_requirements(metadata, "cpu", site)
    return built


@pytest.fixture(scope="module")
def command(device: Path) -> Path:
    return device / "env" / "bin" / "mimamba-edge"


def test_neither_torch_nor_onnx_came_along(device: Path) -> None:
    code = "import importlib.util as u; print([m for m in ('torch', 'onnx', 'onnxscript') if u.find_spec(m)])"
    out = _run(device / "env" / "bin" / "python", "-c", code)
    assert out.stdout.strip() == "[]"


def test_every_module_of_the_device_half_imports(device: Path) -> None:
    code = (
        "import pkgutil, importlib, mimamba_edge\n"
        "names = [m.name for m in pkgutil.walk_packages(mimamba_edge.__path__, 'mimamba_edge.',"
        " onerror=lambda n: None)]\n"
        "names = [n for n in names if not n.startswith('mimamba_edge.export') and '__main__' not in n]\n"
        "[importlib.import_module(n) for n in names]\n"
        "print(len(names))"
    )
    out = _run(device / "env" / "bin" / "python", "-c", code)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) > 30


def test_the_verbs_of_a_device(device: Path, command: Path) -> None:
    assert _run(command, "--version", cwd=device).stdout == f"mimamba-edge {__version__}\n"
    doctor = _run(command, "doctor", "--json", cwd=device)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert json.loads(doctor.stdout)
    simulated = _run(command, "simulate", "eeg", "--runs", "1", "--trials", "4", cwd=device)
    assert simulated.returncode == 0, simulated.stderr
    code = "from mimamba_edge.load import builtin_model; print(builtin_model())"
    model = _run(device / "env" / "bin" / "python", "-c", code).stdout.strip()
    for arguments in (
        ["inspect", model],
        ["parity", model, model, "--data", "eeg", "--report", "parity.json"],
        ["stream", model, "--source", "eeg/run-01.csv", "--speed", "max"],
        ["bench", "--threads", "1", "--report", "bench.json", "--html", "bench.html"],
    ):
        out = _run(command, *arguments, cwd=device)
        assert out.returncode == 0, f"{arguments}: {out.stdout}\n{out.stderr}"
        assert "Traceback" not in out.stderr
    assert json.loads((device / "parity.json").read_text())["passed"] is True
    rows = json.loads((device / "bench.json").read_text())["rows"]
    assert {row["runner"]: row["verified"] for row in rows} == {
        "torch-eager-parallel": False,
        "onnxruntime-cpu": True,
        "onnxruntime-cpu-linear-attention": False,
        "openvino": False,
    }


@pytest.mark.parametrize("arguments", [["train", "eeg"], ["export", "ckpt.pt"]])
def test_the_verbs_of_a_workstation_say_what_they_need(
    device: Path, command: Path, arguments: list[str]
) -> None:
    (device / "ckpt.pt").touch()
    out = _run(command, *arguments, cwd=device)
    assert out.returncode == 2
    assert "torch" in out.stderr
    assert "pip install" in out.stderr
    assert "Traceback" not in out.stderr

"""The wheel as a device gets it: no torch, no onnx; every verb but train and export works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def _run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Without PYTHONPATH the checkout cannot stand in for the wheel; starts share what Python compiles.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=env)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and onnxruntime, as README tells a device's owner."""
    folder = tmp_path_factory.mktemp("device")
    # The source distribution first, and the wheel from it: both are whole, or this one is not.
    missing = [name for name in ("build", "setuptools") if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the package {missing[0]}: pip install 'mimamba-edge[dev]'")
    built = _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile")
    installed = _run(*pip, "-c", ROOT / "constraints.txt", f"{wheel}[cpu]")
    if installed.returncode:
        pytest.skip(f"needs a package index: {installed.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module")
def command(device: Path) -> Path:
    return device / "env" / "bin" / "mimamba-edge"


def test_the_source_distribution_holds_files_in_place_of_links(device: Path) -> None:
    (archive,) = (device / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as members:
        names = {member.name.partition("/")[2]: member for member in members}
    assert not [name for name, member in names.items() if member.issym() or member.islnk()]
    for folder in ("export", "plugins"):
        wanted = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}
        assert wanted <= {name.removeprefix("mimamba_edge/") for name in names}, folder


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

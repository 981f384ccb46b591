import json
import os
import pwd
import re
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimamba_edge.bench import environment
from mimamba_edge.doctor import checks
from mimamba_edge.machine import memory


def _by_name(findings) -> dict:
    return {f.name: f for f in findings}


def test_every_line_has_a_state_and_every_bad_one_a_remedy(run) -> None:
    done = run("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == (0 if report["ok"] else 1)
    assert {
        "Python",
        "numpy",
        "scipy",
        "onnxruntime",
        "TensorRT",
        "CUDA device",
        "free memory",
        "free disk",
    } <= {check["name"] for check in report["checks"]}
    for check in report["checks"]:
        assert check["state"] in ("ok", "warning", "wrong")
        assert check["state"] == "ok" or check["remedy"]
    text = run("doctor").out
    assert all(check["name"] in text for check in report["checks"])


def test_something_wrong_is_exit_1(run, monkeypatch) -> None:
    wrong = checks.HealthCheck("thing", "wrong", "broken", "mend it")
    monkeypatch.setattr(checks, "CHECKS", (lambda: iter([wrong]),))
    done = run("doctor")
    assert done.code == 1
    assert "mend it" in done.out
    assert json.loads(run("doctor", "--json").out)["ok"] is False


def test_the_report_for_an_issue_tracker_names_nobody(run, tmp_path, monkeypatch) -> None:
    home = tmp_path / "Ada Lovelace"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "lovelace")
    monkeypatch.setattr(socket, "gethostname", lambda: "analytical-engine")
    texts = (
        f"1 GiB in {home}/P07, for lovelace on Analytical-Engine",
        "48:b0:2d:ac:00:01 and serial number 1421723012345",
    )
    found = [checks.HealthCheck("thing", "wrong", text, "sudo nvpmodel -m 2") for text in texts]
    monkeypatch.setattr(checks, "CHECKS", (lambda: iter(found),))
    done = run("doctor", "--report", "report.json")
    assert done.code == 1
    text = (home / "report.json").read_text()
    report = json.loads(text)
    assert (report["made_by"], report["ok"]) == ("mimamba-edge doctor", False)
    assert [check["value"] for check in report["checks"]] == [
        "1 GiB in ~/P07, for USER on HOST",
        "MAC and serial number SERIAL",
    ]
    assert report["checks"][0]["remedy"] == "sudo nvpmodel -m 2"
    assert report["environment"]["cores"] >= 1
    assert not re.search(r"(?i)lovelace|analytical|48:b0|14217", text)
    assert run("doctor", "--report", "report.json").code == 1  # its own report may be replaced
    (home / "mine.json").write_text("{}")
    assert run("doctor", "--report", "mine.json").code == 2


def test_the_whole_report_of_this_machine_names_nobody(run, tmp_path) -> None:
    path = tmp_path / "report.json"
    run("doctor", "--report", path)
    text = path.read_text()
    assert len(json.loads(text)["checks"]) > 10
    for name in (pwd.getpwuid(os.getuid()).pw_name, socket.gethostname()):
        assert name == "root" or not re.search(rf"(?i)\b{re.escape(name)}\b", text)
    assert str(Path.cwd()) not in text
    assert "/home/" not in text


def test_workstation_packages_and_compiler(monkeypatch) -> None:
    held = {"torch": "2.13", "onnx": "1.2", "onnxscript": "0.7", "safetensors": "0.8", "joblib": "1.6"}
    monkeypatch.setattr(environment, "versions", lambda: held)
    monkeypatch.setattr(environment, "cpp_compiler", lambda: None)
    found = _by_name(checks.check_workstation())
    assert found["train, export"].state == "ok"
    assert found["C++ compiler"].state == "warning"
    monkeypatch.setattr(environment, "versions", lambda: {**held, "safetensors": None})
    (finding,) = checks.check_workstation()
    assert finding.state == "ok"
    assert "safetensors" in finding.value
    assert "models are trained or exported" in finding.remedy


@pytest.mark.parametrize(
    ("code", "out", "state"), [(0, "H200, 570, 143771 MiB\n", "ok"), (9, "no driver\n", "warning")]
)
def test_nvidia_smi(monkeypatch, code, out, state) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    result = SimpleNamespace(returncode=code, stdout=out, stderr="")
    monkeypatch.setattr(checks.subprocess, "run", lambda *a, **k: result)
    (finding,) = checks.check_cuda()
    assert finding.state == state
    assert finding.value == out.strip()


def test_little_memory_and_disk_are_warned_about(monkeypatch) -> None:
    monkeypatch.setattr(memory, "meminfo_bytes", lambda key, root: 100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    found = _by_name(checks.check_machine())
    assert found["free memory"].state == found["free disk"].state == "warning"


def test_new_pythons_are_a_warning(monkeypatch) -> None:
    assert next(checks.check_python()).state == "ok" or sys.version_info >= (3, 14)
    monkeypatch.setattr(checks.sys, "version_info", (3, 14, 0))
    assert next(checks.check_python()).state == "warning"


def test_environment_is_json_and_names_this_machine() -> None:
    described = json.loads(json.dumps(environment.describe(), allow_nan=False))
    assert described["cores"] >= 1
    assert described["device"]
    assert described["versions"]["numpy"]
    assert {"commit", "dirty", "load", "time"} <= set(described)

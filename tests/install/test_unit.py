"""The systemd unit of the documentation: systemd takes it, and so does our command line."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from mimamba_edge import NO_TELEMETRY
from mimamba_edge.cli.app import app
from mimamba_edge.stream.sinks.spec import open_sink

UNIT = Path(__file__).resolve().parents[2] / "docs" / "mimamba-edge.service"


@pytest.fixture(scope="module")
def service() -> Any:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str
    parser.read(UNIT, encoding="utf-8")
    return parser["Service"]


def test_its_command_line_is_one_of_ours(service: Any, tmp_path: Path) -> None:
    program, *arguments = shlex.split(service["ExecStart"].replace("%S", str(tmp_path)))
    assert Path(program).is_absolute()
    assert Path(program).name == "mimamba-edge"
    group = typer.main.get_command(app)
    root = group.make_context("mimamba-edge", list(arguments))
    verb = group.commands[arguments[0]]
    # Options that are not known or lack a value are errors here.
    given = verb.make_context(arguments[0], arguments[1:], parent=root).params
    state = tmp_path / service["StateDirectory"]
    assert Path(given["model"]).parent == state
    assert given["source"] == ["lsl:type=EEG"]
    for spec in given["sink"]:
        assert open_sink(spec).name == f"jsonl:{state}/decisions.jsonl"


def test_an_option_that_is_not_ours_would_be_seen() -> None:
    group = typer.main.get_command(app)
    root = group.make_context("mimamba-edge", ["stream", "m.onnx"])
    with pytest.raises(Exception, match="No such option"):
        group.commands["stream"].make_context(
            "stream", ["m.onnx", "--source", "x", "--watchdog"], parent=root
        )


def test_it_holds_what_the_documentation_promises(service: Any) -> None:
    held = {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "StateDirectory": "mimamba-edge",
        "StateDirectoryMode": "0700",
        "UMask": "0077",
        "Restart": "on-failure",
        "Environment": " ".join(f"{name}={value}" for name, value in NO_TELEMETRY.items())
        + " MIMAMBA_CACHE=%C/mimamba-edge",
        "CacheDirectory": "mimamba-edge",
        "Type": "notify",
        "WatchdogSec": "60",
        "LimitCORE": "0",
    }
    assert {key: service.get(key) for key in held} == held


def test_systemd_takes_it(service: Any, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    program = shlex.split(service["ExecStart"])[0]
    text = UNIT.read_text(encoding="utf-8")
    # systemd also looks whether the program is there.
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(program, shutil.which("true") or "/bin/true"), encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text(encoding="utf-8").replace("Restart=", "Restrat="), encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "Restrat" in done.stderr


JETSON = "".join(
    re.findall(r"^```ini\n(.*?)^```", (UNIT.parent / "jetson.md").read_text("utf-8"), re.M | re.S)
)


@pytest.mark.parametrize("more", ["", JETSON], ids=["as it is", "with a GPU and Bluetooth"])
def test_its_exposure_is_under_two(tmp_path: Path, more: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    unit = tmp_path / UNIT.name

    def exposed(text: str) -> subprocess.CompletedProcess[str]:
        unit.write_text(text, encoding="utf-8")
        command = [analyze, "security", "--offline=true", "--threshold=19", str(unit)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    # What `systemctl edit` adds comes after the unit, as a second section of the same name.
    text = UNIT.read_text(encoding="utf-8") + more
    done = exposed(text)
    if "unrecognized option" in done.stderr:
        pytest.skip("needs systemd 250 or newer")
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    assert exposed(text.replace("CapabilityBoundingSet=\n", "")).returncode != 0

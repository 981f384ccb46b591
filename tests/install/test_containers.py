"""The images' files against the product: what they copy, install, run and name is as the pages say."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.containers import SUITES, default_base
from mimamba_edge import __version__
from mimamba_edge.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "containers"
INSTALL = FOLDER / "install.sh"
IMAGES = sorted(FOLDER.glob("Dockerfile.*"))
PAGE = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a Dockerfile, each as instruction and rest."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def column(jetpack: str) -> dict[str, str]:
    """Return the column of a JetPack in the table of docs/jetson.md, by the names of its rows."""
    (table,) = re.findall(r"^\| \|.*JetPack.*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    (at,) = [n for n, cell in enumerate(rows[0]) if cell.startswith(f"JetPack {jetpack}")]
    return {row[0]: row[at] for row in rows}


def test_every_image_is_there() -> None:
    assert [path.suffix for path in IMAGES] == [".cpu", ".cuda", ".jetpack6", ".jetpack7"]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.suffix[1:])
def test_an_image_is_small_and_not_root(path: Path) -> None:
    lines = instructions(path)
    last = max(n for n, (word, _) in enumerate(lines) if word == "FROM")
    assert [rest for word, rest in lines if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    assert default_base(path) in SUITES
    # Compilers, pip and sources stay in the first stage.
    steps = [
        step
        for word, rest in lines[last:]
        if word == "RUN"
        for step in re.findall(r"install\.sh (\w+)", rest)
    ]
    assert set(steps) <= {"system", "jetson"}
    assert all("--from=build" in rest for word, rest in lines[last:] if word == "COPY")
    (user,) = [rest for word, rest in lines if word == "USER"]
    assert user == "10001:10001"
    assert [word for word, _ in lines[-3:]] == ["USER", "ENTRYPOINT", "CMD"]
    text = path.read_text(encoding="utf-8")
    assert ":latest" not in text
    assert "ID=10001\n" in INSTALL.read_text(encoding="utf-8")
    # The extras are those of the package, and the steps are those of the script.
    (extras,) = re.findall(r"install\.sh environment /src (\S+)", text)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))


def test_what_the_images_copy_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    # What a build of the wheel reads, and the links to the two folders at the top.
    needed = {"pyproject.toml", "README.md", "LICENSE", "mimamba_edge", "export", "plugins"}
    assert needed | {"containers/install.sh", "containers/add"} == let_in
    mounted = {name for path in IMAGES for name in re.findall(r"type=bind,source=([^,]+),", path.read_text())}
    assert mounted == {"containers/install.sh"}


@pytest.mark.parametrize(("image", "jetpack"), [("jetpack6", "6.2"), ("jetpack7", "7.2")])
def test_a_jetson_s_image_has_the_versions_of_the_page(image: str, jetpack: str) -> None:
    path, wanted = FOLDER / f"Dockerfile.{image}", column(jetpack)
    arguments = dict(rest.split("=", 1) for word, rest in instructions(path) if word == "ARG")
    system, _, python = wanted["Ubuntu, Python"].partition(", ")
    assert arguments["BASE"] == f"ubuntu:{system}"
    assert python in {"3.10", "3.12"}
    assert wanted["Jetson Linux"].startswith(arguments["L4T"].removeprefix("r") + ".")
    tensorrt = re.match(r"\d+\.\d+", wanted["TensorRT"])
    assert tensorrt is not None
    assert arguments["TENSORRT"].startswith(f"{tensorrt[0]}.")
    assert f"JetPack {jetpack}" in path.read_text()


def test_the_script_refuses_another_step() -> None:
    said = subprocess.run(["sh", str(INSTALL), "everything"], capture_output=True, text=True)
    assert said.returncode == 2
    assert "environment, system or jetson" in said.stderr


def test_images_have_the_version_of_the_package() -> None:
    named = {
        version
        for path in (FOLDER / "compose.yaml", FOLDER / "README.md")
        for version in re.findall(r"mimamba-edge:([\d.]+)-", path.read_text(encoding="utf-8"))
    }
    assert named == {__version__}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"])


def test_a_service_may_do_little(services: dict[str, dict[str, Any]]) -> None:
    assert [f".{name}" for name in services] == [path.suffix for path in IMAGES]
    for name, service in services.items():
        assert service["profiles"] == [name]
        assert service["build"]["dockerfile"] == f"containers/Dockerfile.{name}"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10001:10001"
        assert service["restart"] == "unless-stopped"
        assert not {"privileged", "cap_add", "pid", "ipc"} & set(service)
        assert "./model}:/model:ro" in service["volumes"][0]
        # The command is one of ours, with the page where it is by itself: on loopback.
        verb, *arguments = service["command"]
        command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
        context = command.make_context(verb, list(arguments))
        assert context.params["page"] is True
        assert context.params["page_host"] == "127.0.0.1"


def test_a_headset_by_bluetooth_is_for_every_service(services: dict[str, dict[str, Any]]) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    more = yaml.safe_load((FOLDER / "compose.bluetooth.yaml").read_text(encoding="utf-8"))["services"]
    assert list(more) == list(services)
    for service in more.values():
        assert service["volumes"] == [":".join(["/run/dbus/system_bus_socket"] * 2)]


def test_without_a_decision_for_a_minute_the_stream_is_ended(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ +test: (\[.*\])$", (FOLDER / "compose.yaml").read_text(), re.MULTILINE)
    kind, command = json.loads(line)
    assert kind == "CMD-SHELL"
    # The signal is shown and not sent: outside a container it would reach every process of the user.
    command = command.replace("$$", "$").replace("kill -s KILL -1", "echo ended")
    decisions = tmp_path / "decisions.jsonl"

    def said() -> str:
        return subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True
        ).stdout.strip()

    assert said() == "ended"
    decisions.write_text("{}\n")
    assert said() == ""
    subprocess.run(["touch", "-d", "3 minutes ago", decisions], check=True)
    assert said() == "ended"


def test_the_package_for_jetson_containers_names_what_is_there() -> None:
    folder = FOLDER / "jetson-containers" / "mimamba-edge"
    header = (folder / "Dockerfile").read_text(encoding="utf-8").split("#---\n")[1]
    held = dict(line.removeprefix("# ").split(": ", 1) for line in header.splitlines())
    assert held["name"] == folder.name
    assert {held["config"], held["test"], "Dockerfile"} == {path.name for path in folder.iterdir()}
    package: dict[str, Any] = {}
    exec((folder / held["config"]).read_text(encoding="utf-8"), {"package": package})
    assert set(package["build_args"]) == {
        rest for word, rest in instructions(folder / "Dockerfile") if word == "ARG"
    } - {"BASE_IMAGE"}

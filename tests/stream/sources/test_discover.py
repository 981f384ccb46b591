"""What ``mimamba-edge sources`` finds: streams of this process, a folder tree for a machine."""

from __future__ import annotations

import json
import shlex
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mimamba_edge.cli.app import app
from mimamba_edge.errors import DependencyError
from mimamba_edge.stream.sources import discover, lsl_network
from mimamba_edge.stream.sources.discover import look
from mimamba_edge.stream.sources.spec import open_source, read_pairs
from tests.stream.sources.lsl_world import Outlet, make_info

pytest.importorskip("brainflow", reason="needs brainflow: pip install 'mimamba-edge[live]'")


def _machine(root: Path, *ports: str, radio: bool = True) -> Path:
    folder = root / "dev" / "serial" / "by-id"
    folder.mkdir(parents=True)
    for port in ports:
        (folder / port).touch()
    if radio:
        (root / "sys" / "class" / "bluetooth" / "hci0").mkdir(parents=True)
    return root


def test_streams_ports_and_radios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsl_network, "OTHERS_S", 0.1)
    name = f"Müse {uuid.uuid4().hex[:8]} & 50%?\x1b[2J"
    root = _machine(tmp_path, "usb-FTDI_FT231X_D-if00-port0", "usb-Bluegiga_1-if00", "usb-Other-if00")
    with Outlet(name, source_id="amp"):
        found = look(1.0, root=root)["sources"]
        ours = [one for one in found if "Müse" in one["what"]]
        assert len(ours) == 1
        assert ours[0]["kind"] == "LSL"
        assert ours[0]["there"]
        assert "\x1b" not in ours[0]["what"] + ours[0]["source"]
        assert open_source(ours[0]["source"]).device["stream"] == name
    rest = [(one["kind"], one["source"], one["there"]) for one in found if one["kind"] != "LSL"]
    ports = "/dev/serial/by-id"
    assert rest == [
        ("board", "brainflow:synthetic", True),
        ("serial port", f"brainflow:ganglion?serial_port={ports}/usb-Bluegiga_1-if00", False),
        ("serial port", f"brainflow:cyton?serial_port={ports}/usb-FTDI_FT231X_D-if00-port0", False),
        ("serial port", f"brainflow:cyton?serial_port={ports}/usb-Other-if00", False),
        ("Bluetooth", "brainflow:muse_2", False),
        ("simulated", "simulated:", True),
    ]


def _answer(monkeypatch: pytest.MonkeyPatch, *infos: object) -> None:
    monkeypatch.setattr(discover, "visible", lambda seconds: list(infos))


def test_streams_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _answer(monkeypatch, *(make_info("same", source_id=one) for one in ("a=1", "b")), make_info("other"))
    found = look(0.1, root=tmp_path)["sources"]
    texts = [one["source"] for one in found if one["kind"] == "LSL"]
    assert texts == ["lsl:name=same&source_id=a=1", "lsl:name=same&source_id=b", "lsl:name=other"]


@pytest.mark.parametrize("text", ["a b", "50%", "x&y=z", "what?", "\x00\x1b\n", "Ωµ+", "%41", "\u2028\u202e"])
def test_quoted_texts_are_read_back(text: str) -> None:
    quoted = discover.quoted_spec(text)
    assert read_pairs(f"name={quoted}") == {"name": text}
    assert quoted.isprintable()


def test_packages_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(*_: object) -> None:
        raise DependencyError("it is not here", do="pip install it")

    monkeypatch.setattr(discover, "visible", missing)
    monkeypatch.setattr(discover, "load_driver", missing)
    found = look(0.1, root=_machine(tmp_path, "usb-FTDI_FT231X"))
    # What needs no package is there all the same.
    assert [one["source"] for one in found["sources"]] == ["simulated:"]
    assert [found["packages"][name]["works"] for name in ("pylsl", "brainflow")] == [False, False]
    shown = CliRunner().invoke(app, ["sources", "--seconds", "0.1"])
    assert shown.exit_code == 0
    assert "pip install it" in shown.output
    assert "no LSL stream" in shown.output
    assert "--source simulated:\n" in shown.output


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _answer(monkeypatch, make_info("it's"), make_info("keys", ("m",), kind="Markers", sfreq=0.0))
    path = tmp_path / "found.json"
    shown = CliRunner().invoke(app, ["sources", "--report", str(path)])
    assert shown.exit_code == 0, shown.output
    # What is shown is what a shell turns into the text.
    lines = [shlex.split(line) for line in shown.output.splitlines() if "--source" in line]
    assert lines[:2] == [["--source", "lsl:name=it's"], ["--source", "lsl:name=keys"]]
    assert "no LSL stream" not in shown.output
    found = json.loads(path.read_text())["sources"]
    assert [one["there"] for one in found[:2]] == [True, False]
    assert "brainflow:synthetic" in [one["source"] for one in found]

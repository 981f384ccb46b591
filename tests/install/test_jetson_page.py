"""docs/jetson.md and docs/nvidia-pc.md against the program: commands, extras, files, versions, doctor."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mimamba_edge import __version__
from mimamba_edge.cli.app import app
from mimamba_edge.contract import OPS
from mimamba_edge.machine.jetson import JETPACK_OF_L4T
from mimamba_edge.stream.sources.boards import load_driver
from tests.machine import boards

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "jetson.md"
TEXT = PAGE.read_text(encoding="utf-8")
CARD = (ROOT / "docs" / "nvidia-pc.md").read_text(encoding="utf-8")


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(sh|ini)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _lines(text: str) -> Iterator[str]:
    for _, block in _blocks(text):
        yield from block.splitlines()
    # Commands within a sentence; a single word is a name and no command.
    yield from re.findall(r"`((?:pip|mimamba-edge) [^`]+)`", text)


def _ours(line: str) -> list[list[str]]:
    """Return the arguments of each call of our program in a line of a shell or of a unit."""
    words = shlex.split(line.removeprefix("ExecStart=").replace("%S", "STATE"), comments=True)
    found: list[list[str]] = []
    call: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            call.append(word)
            continue
        while call and (call[0] == "sudo" or re.match(r"\w+=", call[0])):
            del call[0]
        if call and Path(call[0]).name == "mimamba-edge":
            found.append(call[1:])
        call = []
    return found


def _parse(arguments: list[str]) -> None:
    """Parse a command line as the program would; options that are unknown or lack a value are errors."""
    group = typer.main.get_command(app)
    context = group.make_context("mimamba-edge", list(arguments))
    rest = list(arguments)
    while hasattr(group, "commands"):
        group = group.commands[rest[0]]
        context = group.make_context(rest[0], rest[1:], parent=context)
        rest = rest[1:]


@pytest.fixture(scope="module")
def project() -> Any:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11: tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


COMMANDS = [arguments for line in _lines(TEXT) for arguments in _ours(line)]


def test_every_command_line_of_ours_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    on_a_pc = [arguments for line in _lines(CARD) for arguments in _ours(line)]
    assert len(COMMANDS) > 20
    assert len(on_a_pc) >= 9
    for arguments in (*COMMANDS, *on_a_pc):
        _parse(arguments)


def test_a_command_line_that_is_not_ours_would_be_seen() -> None:
    for line in ("sudo mimamba-edge plugin unpack a.tar.gz", "mimamba-edge build a.trt.onnx --fast  # why"):
        (arguments,) = _ours(line)
        with pytest.raises((KeyError, Exception), match=r"unpack|No such option"):
            _parse(arguments)


def test_the_whole_way_is_there_in_order() -> None:
    wanted = ["export", "pack", "doctor", "plugin", "build", "bench", "check-signal", "stream"]
    verbs = [arguments[0] for arguments in COMMANDS]
    at = 0
    for verb in wanted:
        at = verbs.index(verb, at)
    assert verbs.count("plugin") >= 4


def test_every_extra_is_one_of_the_package(project: Any) -> None:
    known = set(project["optional-dependencies"])
    named = re.findall(r"(?:mimamba[-_]edge(?:-[\w.-]+\.whl)?|\"\.)\[([\w,]+)\]", TEXT + CARD)
    named += re.findall(r"`\[(\w+)\]`", TEXT + CARD)
    assert named
    assert {name for names in named for name in names.split(",")} <= known
    # The file that is copied has the version of this package.
    assert set(re.findall(r"mimamba_edge-([\d.]+)-py3-none-any\.whl", TEXT)) == {__version__}


def test_the_extras_for_a_card_stay_out_of_the_development_environment(project: Any) -> None:
    optional = project["optional-dependencies"]
    heavy = ("onnxruntime-gpu", "tensorrt-cu")
    assert {name for name, needs in optional.items() if any(n.startswith(heavy) for n in needs)} == {
        "gpu",
        "tensorrt",
    }


def test_every_line_of_doctor_is_explained() -> None:
    folder = ROOT / "mimamba_edge" / "doctor"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    names = set(re.findall(r'HealthCheck\(\s*"([^"]+)",\s*"(?:warning|wrong)"', text)) | {
        "numpy",
        "scipy",
        *OPS,
    }
    # Those of a workstation, and of the package itself.
    names -= {"train, export", "C++ compiler", "CUDA device", "GPU", "built-in model", "native ops, CUDA"}
    table = TEXT[TEXT.index("## When it fails") :]
    explained = "".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))
    assert len(names) > 20
    assert {name for name in names if name not in explained} == set()


def test_every_file_and_heading_that_is_linked_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT + CARD) if not link.startswith("https://")]
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    for link in links:
        path, _, heading = link.partition("#")
        assert (PAGE.parent / path).exists(), link
        assert path not in ("", PAGE.name) or not heading or heading in headings, link
    for name in re.findall(r"(?<!/)\bdocs/([\w.-]+)|(mimamba-edge\.(?:service|logrotate))", TEXT):
        assert (PAGE.parent / next(filter(None, name))).is_file(), name
    # Each source that the text cites is listed, and each that is listed is cited or says what it is of.
    for page in (TEXT, CARD):
        cited = set(re.findall(r"\[(\d+)\](?!\()", page))
        assert cited <= set(re.findall(r"^(\d+)\. ", page, re.MULTILINE))


def test_versions_are_those_that_doctor_knows(tmp_path: Path) -> None:
    for release, jetpack in (("36.4.3", "6.2"), ("39.2.0", "7.2")):
        assert JETPACK_OF_L4T[release] == jetpack
        assert release in TEXT
    # The modes of the recorded board: the number that the page tells is MAXN_SUPER's.
    modes = boards.orin_nano(tmp_path) / "etc/nvpmodel.conf"
    number = re.search(r"ID=(\d) NAME=MAXN_SUPER", modes.read_text())
    assert number is not None
    assert f"sudo nvpmodel -m {number[1]} " in TEXT
    assert f"`-m {number[1]}`, MAXN_SUPER" in TEXT


def test_the_headsets_are_as_brainflow_describes_them() -> None:
    pytest.importorskip("brainflow", reason="needs brainflow: pip install 'mimamba-edge[live]'")
    driver = load_driver()
    table = re.findall(r"^\| [^|]+ \| ([^|]+) \| (\d+) \|[^|]*\| ([^|]+) \|", TEXT, re.MULTILINE)
    seen = 0
    for channels, rate, sources in table:
        for source in re.findall(r"`(?:brainflow:)?([a-z_0-9]+)(?:\?[^`]*)?`", sources):
            board = driver.board(source, {})
            assert board.sfreq == float(rate), source
            count = len([name for name in board.ch_names if "AUX" not in name])
            assert count == (int(channels) if channels.isdigit() else len(channels.split(", "))), source
            assert channels.isdigit() or list(board.ch_names[:count]) == channels.split(", "), source
            seen += 1
    assert seen >= 9

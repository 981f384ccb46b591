"""Goes through docs/jetson.md, command by command, and says what became of each."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.arm64 import system
from benchmarks.arm64.journal import Entry, Journal
from benchmarks.arm64.page import PAGE, Command, Fate, How, commands, fate, unit
from benchmarks.arm64.system import HOME, ROOT, SYSTEM, WORK, Missing, arm64, here
from mimamba_edge.artifact import sha256_bytes
from mimamba_edge.console import progress
from mimamba_edge.errors import MimambaError
from mimamba_edge.plugins.cmake import cross_settings, cuda_version, nvcc
from tests.machine import boards

DESK = WORK / "workstation"
"""Where the commands of the workstation are typed."""
MUSE, SYNTHETIC = "/recordings/muse.csv", "/recordings/synthetic.csv"
_LIMIT_S = 1200
_BOARD = ("nvpmodel", "jetson_clocks", "reboot", "usermod")
_RECORD = '#!/bin/sh\necho "$(basename "$0") $*" >> /fakes/called\n'
_SYSTEMCTL = (
    _RECORD
    + """\
case "$*" in
"edit mimamba-edge")
    mkdir -p /etc/systemd/system/mimamba-edge.service.d
    cp /fakes/override.conf /etc/systemd/system/mimamba-edge.service.d/ ;;
"enable --now mimamba-edge") sh /fakes/start ;;
esac
"""
)
_WRONG = re.compile(r"^ (\S.*?) +wrong ", re.MULTILINE)
"""A line of `doctor`'s table."""
Row = tuple[str, str, str]


def cross_cuda() -> str | None:
    """Return the version of an nvcc that builds for Arm with the headers that ``TENSORRT_ROOT`` names."""
    if not os.environ.get("TENSORRT_ROOT"):
        return None
    try:
        version = cuda_version(nvcc())
        cross_settings("aarch64", "aarch64-linux-gnu-g++", nvcc())
    except MimambaError:
        return None
    return version


def made_of(cuda: str | None) -> str:
    """Return a hash of what decides what the page's commands do: the product, and what lays out the root."""
    programs = (f"benchmarks/arm64/{name}.py" for name in ("system", "walk", "fake_tensorrt"))
    folders = ("mimamba_edge", "export", "plugins", "tests/fakes", *programs)
    trees = here("git", "rev-parse", *(f"HEAD:{one}" for one in folders))
    changed = here("git", "diff", "HEAD", "--", *folders, "pyproject.toml", "constraints.txt")
    return sha256_bytes(f"{trees}{changed}{cuda}".encode())


def prepare() -> None:
    """Make what the page takes for granted: a checkpoint, a board, a headset's recording.

    Raises:
        Missing: Something cannot be made.
    """
    shutil.rmtree(DESK, ignore_errors=True)
    DESK.mkdir(parents=True)
    ours = (sys.executable, "-m", "mimamba_edge")
    here(*ours, "simulate", DESK / "eeg", "--runs", "3", "--trials", "4")
    few = ("--epochs", "1", "--jobs", "1", "-o", DESK / "ckpt.pt")
    here(*ours, "train", DESK / "eeg", "--window", "1", "--sfreq", "128", *few)
    recordings = SYSTEM / "recordings"
    recordings.mkdir()
    text = (DESK / "eeg" / "run-01.csv").read_text(encoding="utf-8")
    (SYSTEM / MUSE[1:]).write_text(text, encoding="utf-8")
    head, _, rest = text.partition("\n")
    for ours_, theirs in (("TP9", "Fz"), ("AF7", "C3"), ("AF8", "Cz"), ("TP10", "C4")):
        head = head.replace(ours_, theirs)
    (SYSTEM / SYNTHETIC[1:]).write_text(f"{head}\n{rest}", encoding="utf-8")
    boards.orin_nano(SYSTEM)
    (SYSTEM / "etc" / "systemd" / "system").mkdir(parents=True, exist_ok=True)
    (SYSTEM / "etc" / "logrotate.d").mkdir(exist_ok=True)
    tools = SYSTEM / "fakes" / "bin"
    tools.mkdir(parents=True)
    scripts = dict.fromkeys(_BOARD, _RECORD)
    for name, text in {**scripts, "systemctl": _SYSTEMCTL, "sudo": '#!/bin/sh\nexec "$@"\n'}.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    (SYSTEM / "fakes" / "override.conf").write_text(unit(), encoding="utf-8")
    starts = [line.partition("=")[2] for line in unit().splitlines() if line.startswith("ExecStart=/")]
    start = starts[-1].replace("%S", "/var/lib").replace("brainflow:muse_2", MUSE)
    (SYSTEM / "fakes" / "start").write_text(f"exec {start}\n", encoding="utf-8")


def fake_jetpack() -> None:
    """Put the tests' TensorRT and CUDA device where JetPack puts its own.

    Raises:
        Missing: The fake parser's package cannot be fetched.
    """
    site = SYSTEM / "usr" / "lib" / "python3" / "dist-packages"
    site.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("fake_tensorrt.py"), site)
    (site / "fake_tensorrt.pth").write_text("import fake_tensorrt\n", encoding="utf-8")
    held = SYSTEM / "fakes" / "tests" / "fakes"
    shutil.copytree(ROOT / "tests" / "fakes", held, dirs_exist_ok=True)
    shutil.copy(ROOT / "tests" / "__init__.py", SYSTEM / "fakes" / "tests")
    target = ("--target", SYSTEM / "fakes" / "onnx")
    here(sys.executable, "-m", "pip", "install", "-q", *target, *system.platforms(), "onnx")


class Walk:
    """The page's two terminals, and what was typed in them.

    Args:
        journal: What has passed before; that is not typed again.
        cuda: What :func:`cross_cuda` says.
    """

    def __init__(self, journal: Journal, cuda: str | None) -> None:
        self._journal, self._cuda = journal, cuda
        self._folder = "/root"

    def rows(self) -> Iterator[Row]:
        """Type all commands of the page; give of each what became of it.

        Raises:
            Missing: This machine lacks something.
            KeyError: The table lacks a command.
        """
        for command in commands(PAGE.read_text(encoding="utf-8")):
            found = fate(command)
            typed = self._typed(command, found)
            if kept := self._journal.next(typed):
                self._folder = kept.folder
                yield kept.row
                continue
            with progress(f"arm64: {command.text[:60]}"):
                row = self._row(command, found, typed)
            self._journal.add(Entry(typed, self._folder, row), passed=row[2] != "missed")
            yield row

    def _typed(self, command: Command, found: Fate) -> str:
        facts = {"checkout": ROOT, "board": HOME, "cuda": self._cuda, "muse": MUSE, "synthetic": SYNTHETIC}
        return found.given.format(**facts) if found.given else command.text

    def _row(self, command: Command, found: Fate, typed: str) -> Row:
        if found.how is How.NOT:
            return command.text, f"not run: {found.why}", "not run"
        if found.needs and self._cuda is None:
            return command.text, f"not run: needs {found.needs}", "not run"
        if found.how is How.PACKAGES:
            names = shlex.split(command.text)[3:]
            count = system.packages(*names) if names else 0
            return command.text, f"{count} packages laid out; {found.why}", "passed"
        if command.text == "sudo apt install nvidia-jetpack":
            fake_jetpack()
            return command.text, found.why, "fake"
        done = self._here(typed) if found.how is How.HERE else self._inside(typed, found.limit_s)
        said = " ".join((done.stdout + done.stderr).split())
        good = done.returncode in found.codes and "Traceback" not in said
        good &= set(_WRONG.findall(done.stdout)) <= set(found.wrong)
        why = f"{found.why}; " if found.why else ""
        if good and command.text == "python3 -m pip wheel --no-deps -w dist .":
            (wheel,) = (DESK / "dist").glob("*.whl")
            system.fetch_wheels(wheel, "cpu,jetson,live")
        if not good:
            return command.text, f"{why}ended with {done.returncode}: {said[-700:]}", "missed"
        code = f"ended with {done.returncode}; " if done.returncode else ""
        return command.text, f"{why}{code}{said[-150:]}", "fake" if found.how is How.FAKE else "passed"

    @staticmethod
    def _here(typed: str) -> subprocess.CompletedProcess[str]:
        tools = str(Path(sys.executable).parent)
        env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        env["MIMAMBA_CACHE"] = str(WORK / "cache")
        return subprocess.run(
            ["bash", "-c", typed], cwd=DESK, env=env, capture_output=True, text=True, errors="replace"
        )

    def _inside(self, typed: str, limit_s: int | None) -> subprocess.CompletedProcess[str]:
        """Type a line in the board's terminal, which keeps its folder."""
        env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_NO_COMPILE": "no"}
        script = f"cd {self._folder}\n{typed}\ncode=$?; pwd > /tmp/folder; exit $code"
        held = SYSTEM / "tmp" / "folder"
        held.unlink(missing_ok=True)
        done = arm64("sh", "-c", script, env=env, limit_s=limit_s or _LIMIT_S)
        if held.is_file():
            self._folder = held.read_text(encoding="utf-8").strip()
        return done


__all__ = ["DESK", "MUSE", "Missing", "Row", "Walk", "cross_cuda", "made_of", "prepare"]

"""Nothing is sent and no identifier is kept: seen from outside, by strace and by what lies in the home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge import NO_TELEMETRY
from mimamba_edge.doctor import privacy as checks_privacy
from mimamba_edge.load import builtin_model

pytestmark = [pytest.mark.ort, pytest.mark.slow]

_QUIET_ANYWAY = (
    "CI",
    "GITHUB_ACTIONS",
    "TF_BUILD",
    "ORT_RUNNING_UNIT_TESTS",
    "XDG_CACHE_HOME",
    *NO_TELEMETRY,
)
"""Variables under which ONNX Runtime is quiet by itself, or keeps its files elsewhere: none may help."""

_CALL = re.compile(r"\b(?:connect|sendto|sendmsg|sendmmsg|bind)\(")


def _environment(home: Path, **more: str) -> dict[str, str]:
    held = {name: value for name, value in os.environ.items() if name not in _QUIET_ANYWAY}
    return {**held, "HOME": str(home), **more}


def _kept(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def _traced(command: list[str], tmp_path: Path, **more: str) -> tuple[list[str], list[str]]:
    """Return a command's network calls, but those to the local name cache, and what it left at home."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace: apt install strace")
    home, log = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    head = [strace, "-f", "-e", "trace=network", "-o", str(log)]
    if subprocess.run([*head, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a system that lets strace trace: in a container --cap-add SYS_PTRACE")
    run = subprocess.run(
        [*head, *command], capture_output=True, text=True, env=_environment(home, **more), cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    calls = [line for line in log.read_text().splitlines() if _CALL.search(line)]
    return [line for line in calls if "/var/run/nscd/socket" not in line], _kept(home)


_VERBS = {
    "inspect": ("inspect", "{model}"),
    "bench": ("bench", "{model}"),
    "parity": ("parity", "{model}", "{model}"),
    "stream": ("stream", "{model}", "--source", "{recording}", "--speed", "max"),
    "doctor": ("doctor",),
}


@pytest.mark.parametrize("verb", _VERBS)
def test_a_verb_asks_nobody_and_keeps_nothing(verb: str, tmp_path: Path) -> None:
    words = {"model": str(builtin_model()), "recording": str(tmp_path / "eeg" / "run-01.csv")}
    if verb == "stream":
        from mimamba_edge.data.simulate import write_dataset

        write_dataset(tmp_path / "eeg", runs=1, trials=2, seed=1)
    arguments = [part.format(**words) for part in _VERBS[verb]]
    calls, kept = _traced(
        [sys.executable, "-m", "mimamba_edge", *arguments],
        tmp_path,
        # Somebody who wants it on does not get it.
        ORT_DISABLE_TELEMETRY="0",
    )
    assert (calls, kept) == ([], [])


def test_what_is_forbidden_would_have_been_seen(tmp_path: Path) -> None:
    """Without us the same ONNX Runtime leaves its identifier, so the test above can fail."""
    import onnxruntime

    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 29):
        pytest.skip(
            f"onnxruntime {onnxruntime.__version__} has no telemetry: pip install 'onnxruntime>=1.29'"
        )
    home = tmp_path / "home"
    home.mkdir()
    for code, kept in (("import onnxruntime", True), ("import mimamba_edge, onnxruntime", False)):
        subprocess.run([sys.executable, "-c", code], env=_environment(home), cwd=tmp_path, check=True)
        assert bool(_kept(home)) is kept
        shutil.rmtree(home / ".cache", ignore_errors=True)


def test_doctor_looks_into_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "onnxruntime" / "capi" / "libonnxruntime.so.1"
    library.parent.mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    (library.parent / "empty.so").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sender = b"https://mobile.events.data.microsoft.com/OneCollector/1.0/"
    for content, state, text in (
        (b"", "ok", "cannot send anything"),
        (sender + b"\0ORT_DISABLE_TELEMETRY", "ok", "ORT_DISABLE_TELEMETRY=1 is set"),
        (sender + b"\0ORT_TELEMETRY_DISABLED", "ok", "ORT_TELEMETRY_DISABLED=1 is set"),
        (sender + b"\0ORT_SOMETHING_ELSE", "wrong", "ignores"),
    ):
        library.write_bytes(b"\x7fELF" + content)
        (finding,) = checks_privacy.telemetry()
        assert (finding.state, text in finding.value) == (state, True)
    library.write_bytes(sender + b"\0ORT_DISABLE_TELEMETRY")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    (finding,) = checks_privacy.telemetry()
    assert finding.state == "wrong"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    left = tmp_path / "cache" / "Microsoft" / "DeveloperTools" / ".onnxruntime"
    left.mkdir(parents=True)
    (finding,) = checks_privacy.telemetry()
    assert (finding.state, str(left) in finding.remedy) == ("ok", True)

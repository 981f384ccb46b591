"""How the process behaves in poor surroundings: closed or full streams, no home, no memory, Ctrl-C."""

from __future__ import annotations

import importlib.machinery
import inspect
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimamba_edge.cli import main
from mimamba_edge.cli.entry import loads_compiled_module, memory_ended, raised_again
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.files import cache_folder, user_folder, write_bytes
from mimamba_edge.load import builtin_model

PROGRAM = f"{shlex.quote(sys.executable)} -m mimamba_edge"


def _shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which PROGRAM and MODEL stand for what they say; PYTHONUNBUFFERED would hide a case."""
    held = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    script = script.replace("PROGRAM", PROGRAM).replace("MODEL", shlex.quote(str(builtin_model())))
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=200, env={**held, **environment}
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("PROGRAM inspect MODEL --json >&-", 2, "cannot write to standard output"),
        ("PROGRAM inspect MODEL --json >/dev/full", 2, "cannot write to standard output"),
        ("PROGRAM --help >/dev/full", 2, "cannot write to standard output"),
        ("PROGRAM --version >&-", 2, "cannot write to standard output"),
        ("PROGRAM inspect nothing.onnx 2>&-", 2, ""),
        ("PROGRAM inspect nothing.onnx 2>/dev/full", 2, ""),
        ("PROGRAM inspect nothing.onnx <&- >&- 2>&-", 2, ""),
        ("PROGRAM inspect MODEL --json <&- 2>&-", 0, ""),
        ("PROGRAM stream MODEL --source 'stdin:?sfreq=256' <&-", 2, "standard input"),
    ],
)
def test_streams_that_are_closed_or_full(script: str, code: int, text: str, unbuffered: str) -> None:
    done = _shell(script, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [("inspect MODEL --json", 0), ("inspect MODEL --target tensorrt-10.3", 1)]
)
def test_a_reader_that_leaves_changes_no_exit_code(arguments: str, code: int) -> None:
    done = _shell(f"PROGRAM {arguments} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == code
    assert "pipe" not in done.stderr.lower()


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """A library that writes to descriptor 2 must not write into an output that got this number."""
    made = tmp_path / "eeg"
    done = _shell(f"PROGRAM simulate {made} --runs 1 --trials 2 >/dev/null <&- 2>&-")
    assert done.returncode == 0
    code = "import os, mimamba_edge.cli.entry as e; e.open_streams(); os.write(int(os.environ['N']), b'')"
    assert _shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- 2>&-", N="2").returncode == 0
    opened = "import os, sys, mimamba_edge.cli.entry as e; e.open_streams(); sys.exit(os.open('/', 0) < 3)"
    assert _shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(opened)} <&- >&- 2>&-").returncode == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
    ],
    ids=["PYTHONIOENCODING", "C without UTF-8", "POSIX"],
)
def test_an_encoding_without_our_characters(environment: dict[str, str]) -> None:
    done = _shell(
        "PROGRAM inspect MODEL && PROGRAM train --help && ! PROGRAM inspect 'nichts-ä-😀.onnx'", **environment
    )
    assert done.returncode == 0
    assert "nichts-" in done.stderr


@pytest.mark.parametrize("kib", [60_000, 120_000, 150_000])
def test_memory_that_ends_while_packages_are_loaded(kib: int) -> None:
    done = _shell(f"ulimit -v {kib}; PROGRAM inspect MODEL >/dev/null")
    if kib == 150_000 and done.returncode == 0:
        pytest.skip("needs a NumPy that takes more than 150 MB of addresses")
    assert (done.returncode, "out of memory" in done.stderr) == (2, True), done.stderr
    assert len(done.stderr) < 1000


def test_what_tells_that_memory_ended() -> None:
    assert memory_ended(MemoryError())
    assert memory_ended(ImportError("libtorch.so: failed to map segment from shared object"))
    outer = ImportError("numpy cannot be imported")
    outer.__cause__ = OSError(12, "Cannot allocate memory")
    assert memory_ended(outer)
    assert not memory_ended(ImportError("libfoo.so: cannot open shared object file"))
    assert not memory_ended(None)


@pytest.mark.torch
def test_libtorch_is_not_loaded_where_it_would_abort(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "a.pt").write_bytes(b"PK")
    done = _shell(f"ulimit -c 0; ulimit -v 600000; PROGRAM parity {tmp_path}/a.pt {tmp_path}/a.pt")
    assert (done.returncode, "a limit of 585 MiB" in done.stderr) == (2, True), done.stderr


_LONG = "x" * 9000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([_LONG], "No such command"),
        (["inspect", "--" + _LONG], "No such option"),
        (["check-signal", "--source", _LONG, "--seconds", "1"], ""),
        (["inspect", _LONG], ""),
        (["inspect", "\x1b[2J" * 3000], ""),
    ],
)
def test_a_message_is_short(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert text in said
    assert 0 < len(said.encode()) <= 4096
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["bench", ""], "argument 2 is empty"),
        (["session", "delete", "--yes", ""], "argument 4 is empty"),
        (["pack", "x.onnx", "--output="], "argument 3 is empty"),
        (["pack", "x.onnx", "-o", "a\udcff"], "argument 4 is no text"),
    ],
)
def test_what_no_argument_may_be(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert (end.value.code, text in capsys.readouterr().err) == (2, True)


def test_ctrl_c_in_a_finaliser_is_raised_after_it() -> None:
    class Finalised:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def wait() -> None:
        with raised_again():
            Finalised()
            for _ in range(1000):
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        wait()


def test_ctrl_c_while_the_interpreter_ends_is_quiet() -> None:
    code = (
        "import atexit, os, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGINT);"
        "from mimamba_edge.cli import main; sys.argv[1:] = ['--version']; main()"
    )
    done = _shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}")
    assert done.returncode == 130
    assert done.stderr == "mimamba-edge: interrupted\n"


def test_who_calls_the_command_line_keeps_its_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    for arguments in (["--version"], ["nothing"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_ctrl_c_at_any_moment_of_the_start() -> None:
    """From the first line of ours on: before it, Python itself answers."""
    waiting = (
        "import sys; sys.stdout.write('begun'); sys.stdout.flush();"
        "import time; time.sleep(float(sys.argv.pop(1)));"
        "import mimamba_edge.cli; sys.stdout.write('here'); sys.stdout.flush(); mimamba_edge.cli.main()"
    )
    for tenths in range(12):
        command = [sys.executable, "-c", waiting, "0", "inspect", str(builtin_model())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            while not (begun := os.read(run.stdout.fileno(), 100)).endswith(b"here"):
                assert begun
            time.sleep(0.002 + 0.02 * tenths)
            run.send_signal(signal.SIGINT)
            _, text = run.communicate(timeout=100)
        assert b"Traceback" not in text, text.decode()
        assert run.returncode in (0, 130), text.decode()
        assert run.returncode == 0 or b"interrupted" in text


def test_ctrl_c_waits_for_a_compiled_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnx and others abort the process at an exception while they are initialised."""
    seen: list[bool] = []

    class Loader(importlib.machinery.ExtensionFileLoader):
        def exec_module(self, module: object) -> None:
            seen.append(loads_compiled_module(inspect.currentframe()))

    Loader("name", "path").exec_module(None)
    seen.append(loads_compiled_module(inspect.currentframe()))
    assert seen == [True, False]


@pytest.mark.torch
def test_a_path_that_is_not_there_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "c.pt").touch()
    lines = ["train x", "train . --init x", "export x", "export c.pt --data x", "quantize x --to fp16"]
    lines += ["quantize c.pt --to fp16 --data x", "parity c.pt x", "bench x", "evaluate x .", "report x"]
    code = """import sys
from mimamba_edge.cli import main
for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as end:
        print(line, end.code, [name for name in ("torch", "onnx", "scipy") if name in sys.modules])"""
    command = [sys.executable, "-c", code, *lines]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{line} 2 []" for line in lines], done.stderr


def test_homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MIMAMBA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mimamba-edge"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "mimamba-edge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mimamba-edge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    import pwd
    from types import SimpleNamespace

    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir="/home/of/it"))
    for home in ("", "relative", None):
        if home is None:
            monkeypatch.delenv("HOME")
        else:
            monkeypatch.setenv("HOME", home)
        assert cache_folder() == Path("/home/of/it/.cache/mimamba-edge")
        assert user_folder("XDG_STATE_HOME", ".local/state", do="").parts[:3] == ("/", "home", "of")

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ConfigError, match="MIMAMBA_CACHE"):
        cache_folder()


def test_a_cache_that_cannot_be_written_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="set MIMAMBA_CACHE"):
        write_bytes(cache_folder() / "models" / "x", b"")
    with pytest.raises(OutputError, match="choose another output path"):
        write_bytes(tmp_path / "file" / "x", b"")

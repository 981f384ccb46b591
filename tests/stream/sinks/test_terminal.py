"""The live view: what it says, that it fits, and that names from outside do nothing to a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from typing import Any

import pytest
from rich.cells import cell_len

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks.large_type import enlarge
from mimamba_edge.stream.sinks.spec import open_sink
from mimamba_edge.stream.sinks.terminal_view import Shown, draw
from tests.stream.sinks.made import decision, stream_info

COUNTERS: dict[str, Any] = {
    "state": "running",
    "valid": 31,
    "no_decision": {"gap": 8, "settling": 4},
    "dropped": 3,
    "lost_samples": 12,
    "nan_samples": 2,
    "gaps": 1,
    "resets": 5,
    "clock_steps": 6,
    "latency_ms": {"p50": 0.8, "p99": 2.1, "max": 8.4},
    "algorithmic_delay_ms": 640.0,
}
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",
    "[bold red]markup[/]",
    "a\nb\rc",
    "\u202eright",
    "e" + "\u0301" * 255,
    "脳" * 99,
)


def _lines(shown: list[Shown], width: int = 80, height: int = 24, machine: Any = None) -> list[str]:
    lines = [line.plain for line in draw(shown, machine, width, height)]
    assert len(lines) <= height
    assert all(cell_len(line) <= max(30, width) for line in lines), lines
    return lines


def _one(label: str | None = "happy", **changes: Any) -> Shown:
    told = decision(label, class_names=changes.get("class_names", ("calm", "happy")))
    return Shown(stream_info(**changes), told, dict(COUNTERS))


def test_one_stream_says_everything_in_words() -> None:
    text = "\n".join(_lines([_one()], machine={"throttled": [], "hottest_c": 52.4}))
    assert re.search(r"› happy +█+[▉-▏]? +75 %", text)
    assert re.search(r"^  calm +█+[▉-▏]? +25 %", text, re.MULTILINE)
    for name, word in (("TP9", "good"), ("AF7", "railed"), ("AF8", "no signal")):
        assert re.search(rf"^{name} +{word} ", text, re.MULTILINE)
    assert "latency     0.9 ms, p50 0.8, p99 2.1, max 8.4; from newest sample to decision" in text
    assert "delay       640 ms algorithmic" in text
    assert "31 decided, 12 not, 3 dropped (8 gap, 4 settling)" in text
    assert "12 lost, 2 NaN, 1 gaps, 5 resets, 6 clock steps" in text
    assert "machine     52 °C, not throttled" in text
    held = "\n".join(_lines([_one()], machine={"throttled": ["cpu", "gpu\x1b[m"], "hottest_c": None}))
    assert "machine     throttled: cpu, gpu�[m" in held


def test_bars_are_as_long_as_probabilities() -> None:
    lines = [line for line in _lines([_one()]) if line.endswith("%")][:2]
    calm, happy = (line.count("█") for line in lines)
    assert happy / calm == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("silent", "the source is silent"),
        ("disconnected", "the device is disconnected"),
        ("odd\x1b[m", "odd�[m"),
    ],
)
def test_what_was_decided_before_a_silence_no_longer_stands(state: str, why: str) -> None:
    shown = _one()
    shown.counters["state"] = state
    text = "\n".join(_lines([shown]))
    assert "NO DECISION" in text
    assert f"because {why}" in text
    assert "›" not in text
    assert "75 %" not in text
    assert "none: " in "\n".join(_lines([shown, _one()]))


def test_no_decision_gives_its_reason() -> None:
    assert "because samples were lost" in "\n".join(_lines([_one(None)]))
    assert "because no window yet" in "\n".join(_lines([Shown(stream_info())]))


def test_nothing_moves_when_the_decision_changes() -> None:
    for classes in (("calm", "happy"), ("a", "a-much-longer-class"), ("脳", "x")):
        shapes = {
            next(
                i
                for i, line in enumerate(_lines([_one(label, class_names=classes)]))
                if line.startswith("TP9")
            )
            for label in (*classes, None)
        }
        assert len(shapes) == 1


@pytest.mark.parametrize("width", [30, 40, 79, 80, 200])
@pytest.mark.parametrize("height", [4, 12, 24, 60])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    many_channels = _one()
    quality = {
        f"channel-{i}": {"rms_uv": 1e6, "flat": False, "railed": i / 50, "mains_ratio": None}
        for i in range(32)
    }
    many_channels.decision = decision("happy", quality=quality)
    _lines([_one()], width, height, {"throttled": ["cpu"]})
    _lines([many_channels], width, height)
    _lines([_one(class_names=tuple(f"class {i}" for i in range(40)), label="class 39")], width, height)
    _lines([_one(name=f"stream {i}") for i in range(64)], width, height, {"throttled": ["cpu"]})


def test_bad_channels_are_told_first_where_not_all_fit() -> None:
    shown = _one()
    names = [f"C{i}" for i in range(40)]
    quality = {n: {"rms_uv": 9.0, "flat": n == "C37", "railed": 0.0, "mains_ratio": 0.0} for n in names}
    shown.decision = decision("happy", quality=quality)
    text = "\n".join(_lines([shown]))
    assert re.search(r"^C37 +no signal", text, re.MULTILINE)
    assert re.search(r"and \d+ more channels, none of them not good", text)


def test_many_streams_have_a_row_each_and_the_rest_is_counted() -> None:
    shown = [_one(name=f"stream {i}") for i in range(30)]
    shown[29].counters["state"] = "failed"
    lines = _lines(shown, 80, 12)
    assert re.search(r"^stream 0 +happy +75 % +2 not good +2\.1 +3$", lines[1])
    assert lines[-1].startswith("and 20 more streams, 1 of them not running")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_text(name: str) -> None:
    quality = {name: {"rms_uv": 1.0, "flat": False, "railed": 0.0, "mains_ratio": 0.0}}
    told = decision(name, quality=quality, class_names=(name, "b"))
    shown = Shown(
        stream_info(name, class_names=(name, "b"), model=name),
        told,
        {"state": name, "no_decision": {name: 1}},
    )
    for streams in ([shown], [shown, shown]):
        for state in (name, "running"):
            shown.counters["state"] = state
            text = "".join(_lines(streams, 60))
            assert not set(text) & set("\x1b\x07\r\n\u202e")
    if "bold" in name:
        assert "[bold red]" in "".join(_lines([shown]))


def test_large_letters() -> None:
    assert enlarge("calm", 80) == [
        "  ████    ██    ██      ██  ██",
        "██      ██  ██  ██      ██████",
        "██      ██████  ██      ██████",
        "██      ██  ██  ██      ██  ██",
        "  ████  ██  ██  ██████  ██  ██",
    ]
    assert enlarge("I", 3, 3) == ["▀█▀", " █ ", "▀▀▀"]
    assert enlarge("calm", 29) is None
    assert enlarge("脳", 80) is None
    assert enlarge("", 80) is None


PROGRAM = """
import sys
from mimamba_edge.stream.sinks.spec import open_sink
from mimamba_edge.stream.sources.base import Notice
from tests.stream.sinks.made import decision, stream_info
sink = open_sink("terminal:")
evil = "\\x1b]52;c;evil\\x07\\x1b[8m"
sink.begin([stream_info(evil, class_names=("calm", evil))])
sink.decision(decision(evil, class_names=("calm", evil)))
sink.notice(evil, Notice("marker", evil, n=3))
sys.stderr.write("a warning meanwhile\\n")
print("for a program")
sink.status({"streams": {evil: {"state": "running", "valid": 4242}}, "machine": None})
sink.close()
sys.stderr.write("the end\\n")
"""


def _on_a_terminal(columns: int = 80, lines: int = 24, **how: Any) -> tuple[bytes, subprocess.Popen[bytes]]:
    """Run :data:`PROGRAM` with a terminal on stderr; return what it was sent."""
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", **how.pop("env", {})}
    for name in ("COLUMNS", "LINES"):
        env.pop(name, None)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=its, stderr=its, env=env, **how)
    os.close(its)
    sent = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        sent += data
    os.close(ours)
    process.wait(60)
    return sent, process


def test_a_real_terminal_is_sent_only_what_draws() -> None:
    sent, process = _on_a_terminal(stdout=subprocess.PIPE)
    assert process.returncode == 0, sent
    assert process.stdout is not None
    with process.stdout as out:
        assert out.read() == b"for a program\n", "stdout is for programs"
    # Colours, cursor up, line start and end, and the cursor hidden and shown again: nothing else is sent.
    left = re.sub(rb"\x1b\[[0-9;]*[mAK]|\x1b\[\?25[lh]", b"", sent)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", left), left
    assert b"\x1b[8m" not in sent, "a name must not hide text"
    assert sent.count(b"\x1b[?25l") == sent.count(b"\x1b[?25h") == 1
    text = left.decode()
    assert "4242 decided" in text
    assert "marker �]52;c;evil��[8m (3 samples)" in text
    assert "a warning meanwhile" in text
    assert text.rstrip().endswith("the end")


def test_without_a_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert "ConfigError" in done.stderr
    assert "needs stderr to be a terminal" in done.stderr
    sent, _ = _on_a_terminal(env={"TERM": "dumb"}, stdout=subprocess.DEVNULL)
    assert b"TERM=dumb" in sent
    with pytest.raises(ConfigError, match="takes no parameters"):
        open_sink("terminal:x")

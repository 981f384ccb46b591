"""Environments in which programs fall over: closed streams, no home, small limits, early signals."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator

from tests.attack.plan import ALLOWED, Attack

__all__ = ["environment_attacks"]

_S = "{c}/seeds"
_MODEL, _REC, _CKPT, _DATA = f"{_S}/model.onnx", f"{_S}/rec.csv", f"{_S}/ckpt.pt", f"{_S}/data"
_STREAM = ("stream", _MODEL, "--source", _REC, "--speed", "max")
_FIT = ("check-signal", "--source", _REC, "--speed", "max")
_CALIBRATE = ("calibrate", _MODEL, "--source", _REC, "-o", "{w}/p.json", "--speed", "max")
_RECORD = ("record", "--source", _REC, "-o", "{w}/s", "--yes")
_TRAIN = ("train", _DATA, "-o", "{w}/x.pt")
_BENCH, _PARITY = ("bench", _MODEL), ("parity", _MODEL, _MODEL)
_VERBS: tuple[tuple[str, ...], ...] = (
    (),
    ("--help",),
    ("--version",),
    ("inspect", _MODEL),
    ("inspect", _MODEL, "--json"),
    ("inspect", f"{_S}/none.onnx"),
    ("data", "events", _REC),
    ("session", "list", f"{_S}/sessions"),
    ("doctor",),
    ("plugin", "list"),
    (*_STREAM, "--seconds", "2"),
    (*_FIT, "--seconds", "5"),
    (*_RECORD, "--seconds", "0.3"),
    ("record", "--source", _REC, "-o", "{w}/s", "--seconds", "0.3"),
    ("sources", "--seconds", "0.1"),
    ("simulate", "{w}/sim", "--runs", "1", "--trials", "2"),
    ("session", "export", f"{_S}/sessions/0123456789ab", "--bids", "{w}/bids"),
    ("predict", _MODEL, _REC, "--output", "{w}/t.csv"),
    ("demo", "--seconds", "0.5"),
)


def environment_attacks() -> Iterator[Attack]:
    """Yield environments: closed and full streams, no home, small memory, signals at early times."""
    homes: tuple[tuple[str, dict[str, str | None]], ...] = (
        ("no HOME", {"HOME": None}),
        ("empty HOME", {"HOME": ""}),
        ("relative HOME", {"HOME": "x/y"}),
        ("HOME is a file", {"HOME": _REC}),
        ("HOME is a device", {"HOME": "{null}"}),
        ("HOME cannot be written", {"HOME": "/proc"}),
        ("cache cannot be written", {"MIMAMBA_CACHE": "/proc/x", "XDG_STATE_HOME": "/proc/x"}),
        ("cache is a file", {"MIMAMBA_CACHE": _REC, "XDG_CACHE_HOME": _REC, "XDG_STATE_HOME": _REC}),
        (
            "ASCII",
            {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        ),
        ("UTF-16", {"PYTHONIOENCODING": "utf-16"}),
        ("no columns", {"COLUMNS": "0", "LINES": "0"}),
        ("odd terminal", {"TERM": "x" * 5000, "COLUMNS": "-5", "FORCE_COLOR": "1"}),
        ("no PATH", {"PATH": "", "TMPDIR": "/nothing", "LANG": "x" * 900}),
    )
    for name, env in homes:
        for verb in (_VERBS[2], _VERBS[3], *_VERBS[8:11], _VERBS[12], _VERBS[13], _VERBS[-1]):
            yield Attack(f"{name}: {verb[0]}", verb, env=env, real=True)
    yield Attack(
        "no HOME: bench of the built-in", ("bench", "--fp16", "--batch", "x"), env={"HOME": None}, real=True
    )
    yield Attack(
        "cache: quantised built-in", ("bench", "--fp16"), env={"MIMAMBA_CACHE": "/proc/x"}, real=True
    )
    for cache in ("/proc/x", "{full}", "x" * 5000, "{w}/x.pt"):
        yield Attack(f"cache {cache[:8]}: clear", ("data", "cache", "--clear"), env={"MIMAMBA_CACHE": cache})
    streams = (
        ("stdin closed", {"stdin": "closed"}),
        ("stdout closed", {"stdout": "closed"}),
        ("stderr closed", {"stderr": "closed"}),
        ("all closed", {"stdin": "closed", "stdout": "closed", "stderr": "closed"}),
        ("stdout full", {"stdout": "{full}"}),
        ("both full", {"stdout": "{full}", "stderr": "{full}"}),
    )
    for name, held in streams:
        for verb in _VERBS:
            yield Attack(f"{name}: {' '.join(verb[:2])[:20]}", verb, real=True, **held)  # type: ignore[arg-type]
    for verb in _VERBS:
        yield Attack(f"nobody reads: {' '.join(verb[:2])[:20]}", verb, stdout="broken", owner="process")
    early = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2)
    for number in (signal.SIGINT, signal.SIGTERM):
        for after in early:
            allowed = ALLOWED
            if number == signal.SIGTERM:
                # A verb that holds nothing open dies of it as programs do: a shell calls it 143.
                allowed = (*allowed, -signal.SIGTERM)
            for verb in (_VERBS[2], _STREAM, (*_RECORD, "--seconds", "5")):
                name = f"{number.name} after {after:g} s: {verb[0]}"
                yield Attack(name, verb, real=True, signals=((after, number),), allowed=allowed)
    for after in (0.0, 0.05, 0.2, 0.5, 1.0):
        for verb in (_TRAIN, ("export", _CKPT, "-o", "{w}/x.onnx"), _PARITY, _BENCH):
            name = f"Ctrl-C after {after:g} s: {verb[0]}"
            yield Attack(name, verb, signals=((after, signal.SIGINT),))
    for mib in (64, 128, 256, 512, 1024):
        for verb in (_VERBS[2], _VERBS[3], _STREAM, ("inspect", _CKPT)):
            limits = ((resource.RLIMIT_AS, mib << 20),)
            yield Attack(f"{mib} MiB: {verb[0]}", verb, real=True, limits=limits)
    for n in (8, 16, 32):
        limits = ((resource.RLIMIT_NOFILE, n),)
        for verb in (_VERBS[3], _STREAM, (*_RECORD, "--seconds", "0.3")):
            yield Attack(f"{n} open files: {verb[0]}", verb, limits=limits)
    for size in (0, 100, 5000):
        limits = ((resource.RLIMIT_FSIZE, size),)
        for verb in (
            (*_RECORD, "--seconds", "0.5"),
            ("simulate", "{w}/sim"),
            _CALIBRATE,
            (*_STREAM, "--sink", "jsonl:x"),
            ("session", "export", f"{_S}/sessions/0123456789ab", "--bids", "{w}/bids"),
            ("predict", _MODEL, _REC, "--output", "{w}/t.csv"),
        ):
            # Stopped by the size of files, also of what it says: only the end can be judged.
            yield Attack(f"files of {size} bytes: {verb[0]}", verb, "outputs", limits=limits)

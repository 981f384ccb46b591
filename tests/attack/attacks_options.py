"""Options out of their bounds, and sources that nothing can be."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attack.plan import Attack

__all__ = ["option_attacks"]

_S = "{c}/seeds"
_MODEL, _REC, _CKPT, _DATA = f"{_S}/model.onnx", f"{_S}/rec.csv", f"{_S}/ckpt.pt", f"{_S}/data"
_STREAM = ("stream", _MODEL, "--source", _REC, "--speed", "max")
_PREDICT = ("predict", _MODEL, _REC, "--output", "{w}/t.csv")
_FIT = ("check-signal", "--source", _REC, "--speed", "max")
_CALIBRATE = ("calibrate", _MODEL, "--source", _REC, "-o", "{w}/p.json", "--speed", "max")
_RECORD = ("record", "--source", _REC, "-o", "{w}/s", "--yes")
_TRAIN = ("train", _DATA, "-o", "{w}/x.pt")
_EVENTS = ("data", "events", _REC, "--event", "1=a", "-o", "{w}/labels.csv")
_BENCH, _PARITY = ("bench", _MODEL), ("parity", _MODEL, _MODEL)
_VALUES = ("inf", "-inf", "nan", "1e308", "-1", "0", "9" * 26, "x", "")
_WHOLE = ("9" * 26, "-1", "0", "1e9", "nan", "10000", "4294967296", "x")
_OPTIONS: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    ((*_STREAM, "--seconds", "2"), "--smooth", _VALUES),
    ((*_STREAM, "--seconds", "2"), "--hysteresis", _VALUES),
    ((*_STREAM, "--seconds", "2"), "--deadline", _VALUES),
    (_STREAM, "--seconds", _VALUES),
    ((*_STREAM, "--seconds", "2"), "--threads", _WHOLE),
    ((*_STREAM, "--seconds", "2"), "--mains", _WHOLE),
    ((*_STREAM, "--seconds", "2", "--page"), "--page-port", ("-1", "65536", "9" * 26, "x")),
    ((*_STREAM, "--seconds", "2", "--page"), "--page-host", ("", "x" * 5000, "999.1.1.1", "\x1b[2J", "a b")),
    ((*_STREAM, "--seconds", "2"), "--map", ("TP9", "=", "TP9=", "x" * 5000 + "=y", "TP9=A1", "TP9=\x1b[2J")),
    (
        (*_STREAM, "--seconds", "2"),
        "--sink",
        ("x", "jsonl:", "osc:", "osc:h:9999999", "osc:x:" + "9" * 26, "lsl:"),
    ),
    (
        (*_STREAM, "--seconds", "2"),
        "--sink",
        ("osc:" + "h" * 5000 + ":1", "y" * 9000, "jsonl:{full}", "jsonl:/"),
    ),
    ((*_STREAM, "--seconds", "2"), "--provider", ("x", "x" * 9000, "cuda", "tensorrt")),
    (_PREDICT, "--smooth", _VALUES),
    (_PREDICT, "--hysteresis", _VALUES),
    (_PREDICT, "--mains", _WHOLE),
    (_PREDICT, "--batch", _WHOLE),
    (_PREDICT, "--jobs", ("9" * 26, "-1", "0", "nan", "10001", "x")),
    (_PREDICT, "--engine", ("", "x", "x" * 9000)),
    (_PREDICT, "--provider", ("x", "x" * 9000, "cuda", "tensorrt")),
    (_PREDICT, "--map", ("TP9", "x" * 5000 + "=y", "TP9=A1", "TP9=\x1b[2J")),
    (("predict", _MODEL, _REC), "--output", ("x", "x.xlsx", "{w}", "/", "{full}.csv", "y" * 9000 + ".csv")),
    (_FIT, "--seconds", _VALUES),
    (_CALIBRATE, "--seconds", _VALUES),
    (_RECORD, "--seconds", ("inf", "nan", "-1", "0", "1e-300", "x")),
    ((*_RECORD, "--seconds", "0.3"), "--subject", ("", "../x", "x" * 9000, "\x1b[2J", "a b")),
    ((*_RECORD, "--seconds", "0.3"), "--run", ("", "9" * 26, "9" * 5001)),
    ((*_RECORD, "--seconds", "0.3", "--event", "1=a", "--tmax", "1"), "--tmin", _VALUES),
    ((*_RECORD, "--seconds", "0.3", "--event", "1=a"), "--tmax", _VALUES),
    ((*_RECORD, "--seconds", "0.3"), "--event", ("=", "a=", "x" * 9000, "a=\x1b[2J")),
    ((*_RECORD, "--seconds", "0.3"), "--key", ("ab=c", "=", "a=b")),
    ((*_EVENTS, "--tmax", "1"), "--tmin", _VALUES),
    (
        _EVENTS,
        "--intervals",
        ("", f"{_S}/none.csv", f"{_S}", f"{_S}/model.onnx", f"{_S}/rec.csv", f"{_S}/intervals.csv", "{zero}"),
    ),
    (_EVENTS, "--tmax", _VALUES),
    ((*_EVENTS, "--tmax", "1"), "--subject", ("", "x" * 9000, "/")),
    (_TRAIN, "--window", _VALUES),
    (_TRAIN, "--sfreq", _VALUES),
    ((*_TRAIN, "--window", "99999999"), "--epochs", _WHOLE),
    ((*_TRAIN, "--window", "99999999"), "--seeds", _WHOLE),
    ((*_TRAIN, "--window", "99999999"), "--jobs", _WHOLE),
    ((*_TRAIN, "--window", "99999999"), "--engine", ("", "x", "x" * 9000, "\x1b[2J", "ray")),
    (_TRAIN, "--channels", ("", ",", "x" * 9000, "TP9,TP9", "\x1b[2J")),
    (_TRAIN, "--protocol", ("", "x" * 9000)),
    (_TRAIN, "--freeze", ("x",)),
    (
        _BENCH,
        "--batch",
        ("9" * 26, "-1", "0", "nan", "1,,2", "1e9", "x" * 9000, "100000000", ",".join("1" * 3000)),
    ),
    (_BENCH, "--threads", _WHOLE),
    (_PARITY, "--hop", ("9" * 26, "-1", "0", "x")),
    (_PARITY, "--limit", ("9" * 26, "-1", "0", "x")),
    ((*_PARITY, "--data", _REC), "--hop", ("9" * 26, "4294967296")),
    ((*_PARITY, "--data", _REC), "--limit", ("9" * 26, "4294967296")),
    (("simulate", "{w}/sim"), "--seed", ("9" * 26, "-1", "x", "nan")),
    (("simulate", "{w}/sim"), "--runs", ("-1", "0", "x")),
    (("simulate", "{w}/sim"), "--subjects", ("-1", "0", "x")),
    (("evaluate", _CKPT, _DATA), "--against", ("", ":", "x" * 9000, "no.such:Net", "\x1b[2J")),
    (("evaluate", _CKPT, _DATA), "--model", ("", ":", "x" * 9000, "no.such:Net")),
    (("simulate", "{w}/sim"), "--trials", ("-1", "0", "x")),
    (("sources",), "--seconds", ("inf", "nan", "1e308", "-1", "9" * 26)),
    (("demo",), "--seconds", ("inf", "nan", "1e308", "-1", "0", "9" * 26, "1e-3")),
    (
        ("build", _MODEL, "-o", "{w}/x.plan"),
        "--batch",
        ("9" * 26, "-1", "0", "1,2", "3,2,1", ",,", "x" * 9000),
    ),
    (("pack", _MODEL, "-o", "{w}/repo", "--host", "triton"), "--instances", _WHOLE),
    (
        ("pack", _MODEL, "-o", "{w}/repo", "--host", "triton"),
        "--name",
        ("", "..", "../x", "a/b", "x" * 9000, "\x1b[2J", "a\nb"),
    ),
    (("pack", _MODEL, "-o", "{w}/repo", "--host", "triton"), "--host", ("x", "x" * 9000)),
    (("quantize", _MODEL, "-o", "{w}/q.onnx"), "--to", ("", "x" * 9000)),
    (("quantize", _MODEL, "-o", "{w}/q.onnx", "--to", "int8"), "--method", ("", "x" * 9000)),
    (("evaluate", _CKPT, _DATA), "--calibration-minutes", (*_VALUES[:5], "x" * 9000, "1,,2", "1," * 3000)),
    (("inspect", _MODEL), "--target", ("", "x" * 9000, "tensorrt-" + "9" * 26, "tensorrt-10.3")),
    (("plugin", "build"), "--archs", ("x", "9" * 26)),
)
_SOURCES = (
    "",
    ":",
    "x:y",
    "stdin:",
    "stdin:x",
    "stdin:?sfreq=inf",
    "stdin:?sfreq=nan",
    "stdin:?sfreq=1e300",
    "stdin:?sfreq=1e-300",
    "stdin:?sfreq=1e7",
    "stdin:?sfreq=" + "9" * 400,
    "stdin:?sfreq=256&sfreq=256",
    "stdin:?sfreq=256&unit=" + "u" * 9000,
    "stdin:?sfreq=256&rails=nan,nan",
    "stdin:?sfreq=256&rails=1e400,2",
    "stdin:?" + "x" * 9000,
    "stdin:?sfreq=%FF%00",
    "brainflow:",
    "brainflow:nothing",
    "brainflow:" + "b" * 9000,
    "brainflow:synthetic?x=1",
    "brainflow:synthetic?serial_port=" + "/" * 9000,
    "brainflow:playback_file?file={zero}",
    "brainflow:playback_file?file=/nothing&master_board=synthetic",
    "lsl:",
    "lsl:x",
    "lsl:name=",
    "lsl:name=" + "n" * 9000,
    "lsl:name=a'b\"c",
    "simulated:x",
    "simulated:?seed=" + "9" * 9000,
    "simulated:?seed=1&seed=2&x=\x1b[2J",
    "/",
    "{zero}",
    "{full}",
    "/proc/self/mem",
    "x" * 5000,
    "a/" * 3000 + "x.csv",
    "\x1b[2J.csv",
    "nul\udcff.csv",
)


def option_attacks() -> Iterator[Attack]:
    """Yield values that no option may take as they are."""
    for command, option, values in _OPTIONS:
        for value in values:
            yield Attack(f"{option}={value[:30]!r}", (*command, f"{option}={value}"), "process")
    for source in _SOURCES:
        yield Attack(
            f"source {source[:40]!r}", ("stream", _MODEL, "--source", source, "--seconds", "1"), "data"
        )
    for source in _SOURCES[::3]:
        yield Attack(
            f"source {source[:40]!r}", ("check-signal", "--source", source, "--seconds", "1"), "data"
        )
    many = [word for i in range(300) for word in ("--source", f"{_S}/short.csv")]
    yield Attack("300 sources", ("stream", _MODEL, *many, "--speed", "max"), "process")
    yield Attack("10,000 models", ("bench", *[_MODEL] * 10_000, "--batch", "x"), "process")
    yield Attack("100 kB of argument", ("inspect", "x" * 100_000), "process")
    for word in ("", "x" * 9000, "--" + "x" * 9000, "\x1b[2J", "-", "--"):
        yield Attack(f"verb {word[:20]!r}", (word,), "process")

"""Recordings, label tables, sessions, cue scripts and lines that must be refused in short words."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mimamba_edge.data.labels import COLUMNS
from tests.attack.devices import devices_can_be_made, make_device
from tests.attack.hostile_json import NUMBERS, OTHERS, broken_texts, spoilt
from tests.attack.seeds import NAMES, app_texts, edf_bytes, session_info, stdin_text, table, xdf_streams
from tests.data.xdf import write_xdf

__all__ = ["stdin_texts", "write_cues", "write_labels", "write_recordings", "write_sessions"]

HEADER = ",".join(["timestamps", *NAMES])


def _rows(times: np.ndarray, value: str = "1.5") -> str:
    return "".join(f"{t!r},{value},2,3,4\n" for t in times.tolist())


def stdin_texts() -> Iterator[tuple[str, bytes]]:
    """Yield what goes to standard input, or stands in a CSV file."""
    regular = np.arange(600) / 256
    good = stdin_text(rows=300).encode()
    yield "empty", b""
    yield "header-only", HEADER.encode() + b"\n"
    yield "header-torn", b"timest"
    yield "garbage", bytes(range(256)) * 64
    yield "nul", b"\0" * 10_000
    yield "utf16", stdin_text(rows=10).encode("utf-16")
    yield "latin", good.replace(b"TP9", "é".encode("latin-1"))
    yield "cut", good[: len(good) // 2]
    yield "header-twice", (HEADER + "\n").encode() * 3
    yield "line-2mb", HEADER.encode() + b"\n" + b"1" * 2_000_000
    yield "line-2mb-cell", HEADER.encode() + b"\n0,1,2,3," + b"9" * 2_000_000 + b"\n"
    yield "cell-140kb", HEADER.encode() + b'\n0,1,2,3,"' + b"9" * 140_000 + b'"\n1,1,1,1,1\n'
    yield "quote-open", HEADER.encode() + b'\n"0,1,2,3,4\n' + _rows(regular).encode()
    yield "columns-20k", ",".join(["timestamps", *(f"c{i}" for i in range(20_000))]).encode() + b"\n0,1\n"
    yield "column-60kb", ("timestamps,A" + "x" * 60_000).encode() + b"\n0,1\n1,x\n"
    yield "names-escape", "timestamps,\x1b[2J,\x9b0m,\u202eB,\r".encode() + b"\n0,1,2,3,4\n"
    yield "names-same", b"timestamps,A,A,A,A\n" + _rows(regular).encode()
    yield "names-none", b"timestamps,,,,\n" + _rows(regular).encode()
    yield "ragged", HEADER.encode() + b"\n0,1,2\n1,2,3,4,5,6,7\n"
    yield "text-cells", HEADER.encode() + b"\n" + b"a,b,c,d,e\n" * 300
    for name, value in {
        "1e300": "1e300",
        "-1e308": "-1e308",
        "inf": "inf",
        "nan": "nan",
        "tiny": "5e-324",
        "digits-5001": "9" * 5001,
        "zero": "0",
        "nothing": "",
    }.items():
        yield f"value-{name}", (HEADER + "\n" + _rows(regular, value)).encode()
    swing = "".join(f"{t!r},{'1e308' if i % 2 else '-1e308'},2,3,4\n" for i, t in enumerate(regular.tolist()))
    yield "value-swing", (HEADER + "\n" + swing).encode()
    for name, times in {
        "same": np.zeros(600),
        "back": -regular,
        "1e300": regular + 1e300,
        "1e18": regular + 1e18,
        "leap": np.where(regular > 1, regular + 1e12, regular),
        "leap-days": np.where(regular > 1, regular + 86400.0 * 30, regular),
        "leap-1e300": np.where(regular > 1, 1e300, regular),
        "swing-1e308": np.where(np.arange(600) % 2, 1e308, -1e308),
        "fast": regular * 1e-12,
        "slow": regular * 1e9,
        "tiny": regular * 5e-324,
        "random": np.random.default_rng(0).normal(size=600) * 1e6,
        "nan": np.where(regular > 1, math.nan, regular),
        "inf": np.where(regular > 1, math.inf, regular),
    }.items():
        yield f"times-{name}", (HEADER + "\n" + _rows(times)).encode()
    yield "two-rows", (HEADER + "\n" + _rows(regular[:2])).encode()
    yield (
        "marker-1e300",
        b"timestamps,A,B,C,D,Marker0\n" + b"".join(b"%r,1,2,3,4,1e300\n" % t for t in regular.tolist()),
    )


def write_recordings(folder: Path, seeds: Path) -> list[Path]:
    """Write hostile recordings of all formats; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {f"{name}.csv": data for name, data in stdin_texts()}
    _, samples = table()
    for width, kind in ((2, "edf"), (3, "bdf")):
        for name, fields in _EDF_FIELDS.items():
            files[f"{name}.{kind}"] = edf_bytes(samples, width=width, fields=fields)
        good = (seeds / f"rec.{kind}").read_bytes()
        files |= {f"cut.{kind}": good[:3000], f"head.{kind}": good[:100], f"empty.{kind}": b""}
        files[f"header-only.{kind}"] = good[:1280]
        files[f"nul-header.{kind}"] = good[:8] + bytes(1272) + good[1280:]
        files[f"high-bytes.{kind}"] = good[:8] + b"\xff" * 1272 + good[1280:]
        files[f"garbage.{kind}"] = bytes(range(256)) * 64
    files |= dict(_xdf_files(seeds))
    files |= dict(_app_files())
    fif = (seeds / "rec.fif").read_bytes()
    files |= {"cut.fif": fif[: len(fif) // 2], "empty.fif": b"", "garbage.fif": bytes(range(256)) * 64}
    files["tag-huge.fif"] = fif[:8] + struct.pack(">i", 2**31 - 1) + fif[12:]
    files["tag-negative.fif"] = fif[:8] + struct.pack(">i", -5) + fif[12:]
    files["tag-back.fif"] = fif[:12] + struct.pack(">i", 16) + fif[16:]
    files["rate-huge.fif"] = fif.replace(struct.pack(">f", 256.0), struct.pack(">f", 1e38))
    files["rate-nan.fif"] = fif.replace(struct.pack(">f", 256.0), struct.pack(">f", math.nan))
    files["rate-zero.fif"] = fif.replace(struct.pack(">f", 256.0), struct.pack(">f", 0.0))
    files["channels-huge.fif"] = fif.replace(
        struct.pack(">4i", 200, 3, 4, 0) + struct.pack(">i", 4),
        struct.pack(">4i", 200, 3, 4, 0) + struct.pack(">i", 2**31 - 1),
    )
    bomb = gzip.compress(bytes(16 << 20), 9, mtime=0) * 256
    files |= {"bomb.xdf.gz": gzip.compress(b"XDF:", mtime=0) + bomb, "bomb.fif.gz": bomb, "bomb.xdfz": bomb}
    files |= {
        "cut.xdf.gz": gzip.compress(files["good-again.xdf"], mtime=0)[:-200],
        "plain.xdf.gz": files["good-again.xdf"],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    made = [folder / name for name in files]
    for suffix in (".csv", ".edf", ".fif", ".xdf", ".xdf.gz"):
        fifo = folder / f"fifo{suffix}"
        os.mkfifo(fifo)
        if devices_can_be_made():
            make_device(folder / f"zero{suffix}", "zero")
            made.append(folder / f"zero{suffix}")
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        (folder / f"folder{suffix}").mkdir()
        made += [fifo, *(folder / f"{kind}{suffix}" for kind in ("loop", "folder"))]
    return made


def _app_files() -> Iterator[tuple[str, bytes]]:
    """Yield files of apps that claim what cannot be."""
    texts = app_texts()
    for name in ("mind-monitor.csv", "openbci.txt", "openbci-4.txt"):
        good, end = texts[name].encode(), Path(name).suffix
        stem = Path(name).stem
        yield f"{stem}-cut{end}", good[: len(good) // 2]
        yield f"{stem}-utf16{end}", texts[name].encode("utf-16")
        yield f"{stem}-commas{end}", good.replace(b".", b",")
        yield f"{stem}-semicolons{end}", good.replace(b",", b";")
        yield f"{stem}-header{end}", b"\n".join(good.split(b"\n")[:5]) + b"\n"
        yield f"{stem}-twice{end}", good * 3
        yield f"{stem}-line{end}", good + b"1," * 2_000_000
        yield f"{stem}-nul{end}", good + bytes(10_000)
    good = texts["openbci.txt"].encode()
    yield "openbci-numbers.txt", good.replace(b"\n1", b"\n1e300", 50)
    yield "openbci-channels.txt", good.replace(b"channels = 4", b"channels = 99999999")
    yield "openbci-rate.txt", good.replace(b"= 250 Hz", b"= 9e99 Hz").replace(b"= 250", b"= 0.0000001")
    yield "openbci-aux.txt", good.replace(b"Raw EXG", b"Raw Aux")
    yield "openbci-times.txt", good.replace(b"1.7", b"1.7e300")
    old = texts["openbci-4.txt"].encode()
    yield "openbci-4-channels.txt", old.replace(b"channels = 4", b"channels = " + b"9" * 5001)
    yield "openbci-4-digits.txt", old.replace(b"1700000000", b"9" * 5001)
    app = texts["mind-monitor.csv"].encode()
    yield "mind-monitor-year.csv", app.replace(b"2023-", b"9999-").replace(b"9999-11", b"0001-01", 100)
    yield "mind-monitor-slow.csv", b"\n".join(app.split(b"\n")[::99]) + b"\n"
    yield "mind-monitor-events.csv", app.replace(b"/Marker/1", b"\x1b[2J" + b"x" * 50_000)
    yield "labels-many.csv", b"timestamps,A,label\n" + b"".join(b"%d,1,%d\n" % (i, i) for i in range(2000))


_EDF_FIELDS: dict[str, dict[str, str]] = {
    "records-minus": {"n_records": "-1"},
    "records-huge": {"n_records": "99999999"},
    "records-text": {"n_records": "x"},
    "duration-zero": {"duration": "0"},
    "duration-tiny": {"duration": "1e-300"},
    "duration-long": {"duration": "999999"},
    "duration-nan": {"duration": "nan"},
    "signals-zero": {"n_signals": "0"},
    "signals-9999": {"n_signals": "9999"},
    "signals-minus": {"n_signals": "-1"},
    "bytes-minus": {"n_bytes": "-1"},
    "bytes-huge": {"n_bytes": "99999999"},
    "length-huge": {"length": "99999999"},
    "length-zero": {"length": "0"},
    "length-minus": {"length": "-256"},
    "physical-1e300": {"physical_max": "1e300"},
    "physical-1e308": {"physical_min": "-1e308", "physical_max": "1e308"},
    "physical-nan": {"physical_max": "nan"},
    "physical-same": {"physical_min": "5", "physical_max": "5"},
    "digital-same": {"digital_min": "5", "digital_max": "5"},
    "digital-1e300": {"digital_min": "-1e300", "digital_max": "1e300"},
    "digital-tiny": {"digital_min": "0", "digital_max": "5e-324"},
    "digital-turned": {"digital_min": "32767", "digital_max": "-32768"},
}


def _xdf_files(seeds: Path) -> Iterator[tuple[str, bytes]]:
    eeg, marks = xdf_streams()
    good = write_xdf([eeg, marks])
    yield "good-again.xdf", good
    yield "empty.xdf", b""
    yield "magic.xdf", b"XDF:"
    yield "cut.xdf", good[: len(good) // 2]
    yield "garbage.xdf", b"XDF:" + bytes(range(256)) * 64
    yield "chunk-huge.xdf", b"XDF:\x08" + struct.pack("<Q", 1 << 60) + good[4:]
    yield "chunk-zero.xdf", b"XDF:" + b"\x01\x00" * 10_000
    for rate in (0.0, -1.0, 1e-300, 1e7, 1e300, math.inf, math.nan):
        yield f"rate-{rate:g}.xdf", write_xdf([replace(eeg, rate=rate), marks])
    for name, kind in {"kind-escape": "\x1b[2J".replace("\x1b", "E"), "kind-1mb": "k" * 1_000_000}.items():
        yield f"{name}.xdf", write_xdf([replace(eeg, kind=kind), replace(eeg, kind=kind)])
    n, c = len(eeg.times), len(NAMES)
    for name, value in {"1e300": 1e300, "nan": math.nan, "inf": math.inf}.items():
        yield f"value-{name}.xdf", write_xdf([replace(eeg, values=[[value] * c] * n)])
        times = [t + (value if i > n // 2 else 0.0) for i, t in enumerate(eeg.times)]
        yield f"times-{name}.xdf", write_xdf([replace(eeg, times=times)])
    offsets = [(float(i), v) for i, v in enumerate((0.0, 1e300, math.nan, -1e300))]
    yield "offsets.xdf", write_xdf([replace(eeg, offsets=offsets), marks])
    wide = [[0.0] * 3000] * 50
    yield "channels-3000.xdf", write_xdf([replace(eeg, values=wide, times=eeg.times[:50], channels=())])
    label = [("L" * 500_000, "EEG", "microvolts")] * c
    yield "label-500kb.xdf", write_xdf([replace(eeg, channels=label)])
    unit = [(name, "EEG", "u" * 100_000) for name in NAMES]
    yield "unit-100kb.xdf", write_xdf([replace(eeg, channels=unit)])
    yield (
        "streams-500.xdf",
        write_xdf([replace(eeg, name=f"s{i}", values=[[0.0]], times=[0.0], channels=()) for i in range(500)]),
    )
    yield "one-sample.xdf", write_xdf([replace(eeg, values=eeg.values[:1], times=eeg.times[:1])])
    yield "strings.xdf", write_xdf([replace(marks, kind="EEG", rate=256.0)])
    bomb = (
        "<!ENTITY a '"
        + "x" * 1000
        + "'>"
        + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 20}'>" for i in range(8))
    )
    plain = b'<?xml version="1.0"?><info>'
    evil = f'<?xml version="1.0"?><!DOCTYPE i [{bomb}]><info><x>&i;</x>'.encode()
    laughs = write_xdf([replace(eeg, name="@" * (len(evil) - len(plain)))])
    at = laughs.find(plain, 100)
    padding = b"@" * (len(evil) - len(plain))
    yield "xml-laughs.xdf", laughs[:at] + laughs[at:].replace(plain, evil, 1).replace(padding, b"", 1)


def write_labels(folder: Path, seeds: Path) -> list[Path]:
    """Write data sets of a good recording with hostile tables; returns the folders."""
    head = ",".join(COLUMNS)
    row = "run.csv,{},{},calm,s1,1,1,x"
    good = (seeds / "data" / "labels.csv").read_bytes()
    tables: dict[str, bytes] = {
        "empty": b"",
        "nul": bytes(1000),
        "garbage": bytes(range(256)) * 64,
        "utf16": good.decode().encode("utf-16"),
        "cut": good[:-30],
        "quote": good + b'"run.csv,0,1',
        "cell-140kb": good + b'"' + b"x" * 140_000 + b'",0,1,calm,s1,1,1,x\n',
        "columns-10k": ",".join([*COLUMNS, *(f"c{i}" for i in range(10_000))]).encode() + b"\n",
        "column-1mb": b"x" * 1_000_000 + b"\n",
        "columns-twice": f"{head},{head}\n".encode(),
        "absent-10k": (head + "\n" + "".join(f"f{i}.csv,0,1,a,s,1,1,x\n" for i in range(10_000))).encode(),
        "absent-1mb": (head + "\n" + "f" * 120_000 + ".csv,0,1,a,s,1,1,x\n").encode(),
        "label-100kb": (head + "\nrun.csv,0,1," + "l" * 100_000 + ",s1,1,1,x\n" + row.format(2, 3)).encode(),
        "label-escape": (head + "\nrun.csv,0,1,\x1b[2J,s1,1,1,x\n" + row.format(2, 3) + "\n").encode(),
        "classes-20k": (
            head + "\n" + "".join(f"run.csv,{i},{i}.5,c{i},s1,1,{i % 2},x\n" for i in range(20_000))
        ).encode(),
        "up": (head + "\n../../../../etc/passwd,0,1,a,s,1,1,x\n").encode(),
        "device": (head + "\nzero,0,1,a,s,1,1,x\n").encode(),
        "itself": (head + "\nlabels.csv,0,1,a,s,1,1,x\nlabels.csv,2,3,b,s,1,2,x\n").encode(),
        "nul-name": (head + "\na\0b.csv,0,1,a,s,1,1,x\n").encode(),
    }
    for name, (start, stop) in {
        "1e300": ("0", "1e300"),
        "1e300-late": ("1e300", "1.1e300"),
        "nan": ("nan", "1"),
        "inf": ("0", "inf"),
        "minus": ("-5", "1"),
        "digits": ("0", "9" * 5001),
        "tiny": ("0", "5e-324"),
        "late": ("1e6", "1e7"),
    }.items():
        other = "run.csv,0,1,excited,s1,1,2,x\n" if name != "1e300" else ""
        tables[f"times-{name}"] = f"{head}\n{other}{row.format(start, stop)}\n".encode()
    made = []
    for name, data in tables.items():
        made.append(folder / name)
        made[-1].mkdir(parents=True, exist_ok=True)
        shutil.copyfile(seeds / "data" / "run.csv", made[-1] / "run.csv")
        (made[-1] / "labels.csv").write_bytes(data)
        if name == "device" and devices_can_be_made():
            make_device(made[-1] / "zero", "zero")
    return made


def write_sessions(folder: Path, seeds: Path) -> list[Path]:
    """Write session folders with hostile files, each in a folder of sessions with a good one."""
    good = session_info()
    source = seeds / "sessions" / "0123456789ab"
    spoilts: list[tuple[str, str, bytes]] = [(name, "session.json", data) for name, data in broken_texts()]
    values = {**NUMBERS, **OTHERS}
    for field in (
        "sfreq",
        "started_unix",
        "rails_uv",
        "ch_names",
        "device",
        "run",
        "subject",
        "format",
        "unit",
    ):
        spoilts += [
            (f"{field}-{n}", "session.json", spoilt(good, field, t).encode()) for n, t in values.items()
        ]
    for name, text in {
        "digits": f"[{'9' * 400}, 1]",
        "nan": "[NaN, 1]",
        "turned": "[5, -5]",
        "short": "[1]",
    }.items():
        spoilts.append((f"rails-{name}", "session.json", spoilt(good, "rails_uv", text).encode()))
    long = {"5mb": '"' + "n" * 5_000_000 + '"', "escape": '"\\u001b[2J"', "500kb": '"' + "n" * 500_000 + '"'}
    for name, text in long.items():
        spoilts += [
            (f"{f}-{name}", "session.json", spoilt(good, f, text).encode())
            for f in ("subject", "unit", "run")
        ]
    spoilts.append(
        (
            "names-20k",
            "session.json",
            spoilt(good, "ch_names", json.dumps([f"c{i}" for i in range(20_000)])).encode(),
        )
    )
    for name, text in {
        "deep": "[" * 100_000,
        "digits": '{"kind": "marker", "text": "a", "sample": ' + "9" * 400 + ', "t_s": 1}',
        "t-digits": '{"kind": "marker", "text": "a", "sample": 1, "t_s": ' + "9" * 400 + "}",
        "sample-inf": '{"kind": "marker", "text": "a", "sample": 1e400, "t_s": 1}',
        "sample-nan": '{"kind": "marker", "text": "a", "sample": NaN, "t_s": 1}',
        "text-laughs": '{"kind": "marker", "text": ' + "[" * 900 + "]" * 900 + ', "sample": 1, "t_s": 1}',
        "list": "[]",
        "text-5mb": json.dumps({"kind": "marker", "text": "t" * 5_000_000, "sample": 1, "t_s": 1.0}),
    }.items():
        spoilts.append((f"events-{name}", "events.jsonl", text.encode() + b"\n"))
    spoilts += [(f"signal-{name}", "signal.csv", data) for name, data in stdin_texts()]
    spoilts += [
        (f"labels-{n}", "labels.csv", d) for n, d in (("nul", bytes(99)), ("garbage", bytes(range(256)) * 9))
    ]
    made = []
    for name, file, data in spoilts:
        one = folder / name / "0123456789ab"
        shutil.copytree(source, one)
        (one / file).write_bytes(data)
        made.append(one)
    for name, file in (
        ("fifo-info", "session.json"),
        ("fifo-signal", "signal.csv"),
        ("fifo-events", "events.jsonl"),
    ):
        one = folder / name / "0123456789ab"
        shutil.copytree(source, one)
        (one / file).unlink()
        os.mkfifo(one / file)
        made.append(one)
    return made


def write_cues(folder: Path) -> list[Path]:
    """Write hostile cue scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, bytes] = {
        "empty": b"",
        "nul": bytes(1000),
        "garbage": bytes(range(256)) * 64,
        "header-only": b"label,seconds\n",
        "columns": b"x" * 1_000_000 + b"\n",
        "columns-10k": ",".join(f"c{i}" for i in range(10_000)).encode() + b"\n",
        "cell-140kb": b'label,seconds\n"' + b"x" * 140_000 + b'",1\n',
        "label-100kb": b"label,seconds\n" + b"x" * 100_000 + b",1\n",
        "label-escape": b"label,seconds\n\x1b[2J,1\n",
        "seconds-100kb": b"label,seconds\na," + b"x" * 100_000 + b"\n",
        "short-row": b"label,seconds\na\n",
        "long-row": b"label,seconds\na,1,x,y,z\n",
        "many": b"label,seconds\n" + b"a,0.001\n" * 100_000,
        "twice": b"label,label,seconds\na,b,1\n",
    }
    for value in ("nan", "inf", "-1", "0", "1e300", "1e308", "5e-324", "9" * 5001):
        texts[f"seconds-{value[:6]}"] = f"label,seconds\na,{value}\nb,1\n".encode()
    made = []
    for name, data in texts.items():
        made.append(folder / f"{name}.csv")
        made[-1].write_bytes(data)
    fifo = folder / "fifo.csv"
    os.mkfifo(fifo)
    return [*made, fifo]

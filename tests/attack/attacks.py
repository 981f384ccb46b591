"""Every attack: hostile files, options, paths and environments, over all verbs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from tests.attack.attacks_environment import environment_attacks
from tests.attack.attacks_options import option_attacks
from tests.attack.attacks_paths import path_attacks
from tests.attack.corpus import Corpus
from tests.attack.devices import devices_can_be_made
from tests.attack.plan import Attack

__all__ = ["all_attacks", "sampled"]

_S = "{c}/seeds"
_MODEL, _REC, _CKPT = f"{_S}/model.onnx", f"{_S}/rec.csv", f"{_S}/ckpt.pt"
_FAST = ("--speed", "max")


def all_attacks(corpus: Corpus) -> list[Attack]:
    """Return all attacks that this user can make, in an order that does not change."""
    found = [*_file_attacks(corpus), *option_attacks(), *path_attacks(), *environment_attacks()]
    return [attack for attack in found if devices_can_be_made() or not attack.devices]


def sampled(attacks: list[Attack], every: int) -> list[Attack]:
    """Return one of each ``every`` attacks in a row, always the same ones but at no fixed distance."""
    rng = random.Random(0)
    return [rng.choice(attacks[i : i + every]) for i in range(0, len(attacks), every)]


def _every(items: list[str], n: int, start: int = 0) -> Iterator[str]:
    return itertools.islice(items, start, None, n)


def _file_attacks(corpus: Corpus) -> Iterator[Attack]:
    """Yield each file with a verb that reads it, and some with the others."""
    named = {
        kind: ["{c}/" + str(path.relative_to(corpus.folder)) for path in paths]
        for kind, paths in corpus.files.items()
    }

    def attack(kind: str, file: str, *args: str, owner: str = "docs", stdin: str = "null") -> Attack:
        name = Path(file).name if kind not in ("session", "labels") else file.split("/")[2]
        return Attack(f"{kind} {name}", tuple(a.replace("@", file) for a in args), owner, stdin=stdin)

    files = named["checkpoint"]
    for file in files:
        yield attack("checkpoint", file, "inspect", "@")
    for file in _every(files, 6):
        yield attack("checkpoint", file, "export", "@", "-o", "{w}/x.onnx")
    for file in _every(files, 12, 1):
        yield attack("checkpoint", file, "train", f"{_S}/data", "--init", "@", "-o", "{w}/x.pt")
    for file in _every(files, 12, 2):
        yield attack("checkpoint", file, "parity", "@", _CKPT)
    for file in _every(files, 12, 5):
        yield attack("checkpoint", file, "evaluate", "@", f"{_S}/data")
    for file in _every(files, 12, 3):
        yield attack("checkpoint", file, "stream", "@", "--source", _REC, *_FAST)
    for file in _every(files, 12, 4):
        yield attack("checkpoint", file, "bench", "@")
    files = named["onnx"]
    for file in files:
        yield attack("onnx", file, "inspect", "@")
    for file in _every(files, 3):
        yield attack("onnx", file, "stream", "@", "--source", _REC, *_FAST, "--seconds", "3")
    for file in _every(files, 12, 1):
        yield attack("onnx", file, "calibrate", "@", "--source", _REC, *_FAST, "-o", "{w}/p.json")
    for file in _every(files, 12, 2):
        yield attack("onnx", file, "pack", "@", "-o", "{w}/repo", "--host", "triton")
    for file in _every(files, 12, 5):
        yield attack("onnx", file, "quantize", "@", "--to", "fp16", "-o", "{w}/q.onnx")
    for file in _every(files, 12, 8):
        yield attack("onnx", file, "parity", _MODEL, "@")
    for file in _every(files, 12, 11):
        yield attack("onnx", file, "predict", "@", _REC, "--output", "{w}/t.csv")
    for file in _every(files, 20, 9):
        yield attack("onnx", file, "inspect", "@", "--target", "tensorrt-10.3")
    for file in _every(files, 20, 10):
        yield attack("onnx", file, "check-signal", "--model", "@", "--source", _REC, *_FAST)
    for file in (
        f for f in files if any(w in f for w in ("functions", "loop", "constant-", "external", "if-"))
    ):
        yield attack("onnx", file, "stream", "@", "--source", _REC, *_FAST, "--seconds", "3")
        yield attack("onnx", file, "parity", _MODEL, "@", owner="ops")
        yield attack("onnx", file, "bench", "@")
    for file in named["manifest"]:
        yield attack("manifest", file, "inspect", "@.json" if hash_even(file) else "@")
    for file in _every(named["manifest"], 8):
        yield attack("manifest", file, "stream", "@", "--source", _REC, *_FAST, "--seconds", "3")
    for file in _every(named["manifest"], 16, 3):
        yield attack("manifest", file, "pack", "@", "-o", "{w}/repo", "--host", "triton")
    for file in named["plan"]:
        yield attack("plan", file, "inspect", "@")
        yield attack("plan", file, "stream", "@", "--source", _REC, *_FAST)
        yield attack("plan", file, "build", "@", "-o", "{w}/x.plan")
    for file in named["reference"]:
        yield attack("reference", file, "inspect", "@".replace(".onnx", ".ref.npz"))
        yield attack("reference", file.replace(".onnx", ".ref.npz"), "inspect", "@")
        yield attack("reference", file, "bench", "@")
        yield attack("reference", file, "parity", _MODEL, "@")
    for file in _every(named["profile"], 2):
        yield attack("profile", file, "stream", _MODEL, "--source", _REC, *_FAST, "--profile", "@")
    for file in _every(named["profile"], 4, 1):
        yield attack("profile", file, "report", "@", "--card", "{w}/c.md", "--html", "{w}/p.html")
    for file in _every(named["manifest"], 16, 5):
        yield attack("manifest", file, "report", "@.json", "--card", "{w}/c.md", "--bench", "@.json")
    yield from _signal_attacks(named, attack)


def hash_even(text: str) -> bool:
    """Return the same half of all names each time."""
    return sum(text.encode()) % 2 == 0


def _signal_attacks(named: dict[str, list[str]], attack: object) -> Iterator[Attack]:
    assert callable(attack)
    files = named["recording"]
    for file in files:
        yield attack("recording", file, "data", "events", "@", owner="data")
    for file in _every(files, 3):
        yield attack(
            "recording", file, "check-signal", "--source", "@", *_FAST, "--seconds", "5", owner="clock"
        )
    for file in _every(files, 3, 1):
        args = ("stream", _MODEL, "--source", "@", *_FAST, "--seconds", "5")
        yield attack("recording", file, *args, owner="clock")
    for file in _every(files, 6, 2):
        args = ("record", "--source", "@", "-o", "{w}/s", "--seconds", "1", "--yes")
        yield attack("recording", file, *args, owner="data")
    for file in _every(files, 12, 5):
        args = ("calibrate", _MODEL, "--source", "@", *_FAST, "-o", "{w}/p.json")
        yield attack("recording", file, *args, owner="clock")
    for file in _every(files, 12, 4):
        yield attack("recording", file, "bench", _MODEL, "--data", "@", owner="data")
    for file in _every(files, 6, 3):
        args = ("predict", _MODEL, "@", "--output", "{w}/t.csv", "--jobs", "1")
        yield attack("recording", file, *args, owner="clock")
    for file in named["labels"]:
        yield attack("labels", file, "train", "@", "--epochs", "1", "-o", "{w}/x.pt", owner="data")
    for file in _every(named["labels"], 4, 1):
        yield attack("labels", file, "evaluate", _CKPT, "@", owner="data")
    for file in _every(named["labels"], 3):
        yield attack("labels", file, "parity", _MODEL, _MODEL, "--data", "@", owner="data")
    for file in named["session"]:
        if "/signal-" in file or "/events-" in file or "/fifo-signal" in file or "/fifo-events" in file:
            yield attack("session", file, "data", "events", "@", owner="data")
        else:
            above = file.rpartition("/")[0]
            yield attack("session", file, "session", "list", above, owner="docs")
    for file in _every(named["session"], 12, 3):
        args = ("predict", _MODEL, file.rpartition("/")[0], "--output", "{w}/t.parquet", "--jobs", "1")
        yield attack("session", file, *args, owner="docs")
    for file in _every(named["session"], 6):
        yield attack("session", file, "stream", _MODEL, "--source", "@", *_FAST, owner="docs")
    for file in _every(named["session"], 8, 1):
        args = ("record", "--source", _REC, "-o", file.rpartition("/")[0].replace("{c}", "{w}"), "--yes")
        yield attack("session", file, "session", "list", file.rpartition("/")[0], "--json", owner="docs")
        yield attack("session", file, "session", "delete", file, owner="docs")
        yield attack("session", file, *args, "--seconds", "0.1", owner="data")
    for file in _every(named["session"], 4, 2):
        yield attack("session", file, "session", "export", "@", "--bids", "{w}/bids", owner="docs")
    for file in _every(named["session"], 10, 4):
        yield attack("session", file, "parity", _MODEL, _MODEL, "--data", "@", owner="docs")
    for file in named["cue"]:
        args = ("record", "--source", _REC, "-o", "{w}/s", "--cue", "@", "--seconds", "0.5", "--yes")
        yield attack("cue", file, *args, owner="data")
    for file in named["stdin"]:
        args = ("stream", _MODEL, "--source", "stdin:?sfreq=256")
        yield attack("stdin", file, *args, stdin=file, owner="clock")
    for file in _every(named["stdin"], 2):
        yield attack("stdin", file, "check-signal", "--source", "stdin:?sfreq=256", stdin=file, owner="clock")
    for file in _every(named["stdin"], 2, 1):
        args = ("record", "--source", "stdin:?sfreq=256", "-o", "{w}/s", "--yes")
        yield attack("stdin", file, *args, stdin=file, owner="data")

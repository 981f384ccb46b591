"""Paths that are not what they should be, and outputs onto inputs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attack.plan import Attack

__all__ = ["path_attacks"]

_S = "{c}/seeds"
_MODEL, _REC = f"{_S}/model.onnx", f"{_S}/rec.csv"


def path_attacks() -> Iterator[Attack]:
    """Yield paths that are not what they should be, and outputs onto inputs."""
    bad = {
        "absent": "{w}/none{x}",
        "folder": "{w}",
        "root": "/",
        "device": "{zero}",
        "null": "{null}",
        "full": "{full}",
        "below a file": f"{_REC}/x{{x}}",
        "long": "{w}/" + "n" * 300 + "{x}",
        "odd bytes": "{w}/a\udcff\udcfe{x}",
        "escape": "{w}/\x1b[2J\n{x}",
        "empty name": "",
    }
    reads = {
        ".onnx": (("inspect",), ("stream",), ("pack", "-o", "{w}/r.tar"), ("quantize", "--to", "fp16")),
        ".pt": (("inspect",), ("export",), ("bench",)),
        ".csv": (("data", "events"),),
        ".json": (("report",),),
        "": (
            ("train",),
            ("session", "list"),
            ("session", "delete", "--yes"),
            ("session", "export", "--bids", "{w}/bids"),
            ("predict", _MODEL, "--output", "{w}/t.csv", "--jobs", "1"),
        ),
    }
    for (name, path), (suffix, commands) in ((b, r) for b in bad.items() for r in reads.items()):
        for command in commands:
            more = ("--source", _REC, "--speed", "max") if command[0] == "stream" else ()
            where = path.replace("{x}", suffix)
            # A folder of the attack's own, never one that others work in, is what is asked to be deleted.
            if name == "root" and (command[:2] == ("session", "delete") or command[0] == "predict"):
                continue  # all recordings of a machine are more than there is time for
            yield Attack(f"{name} for {' '.join(command)}", (*command, where, *more), "docs")
    writes = (
        ("calibrate", _MODEL, "--source", _REC, "--speed", "max", "--seconds", "3", "-o", "@.json"),
        ("parity", _MODEL, _MODEL, "--report", "@.json"),
        ("bench", _MODEL, "--report", "@.json"),
        ("bench", _MODEL, "--record", "@.json"),
        ("doctor", "--report", "@.json"),
        ("data", "events", _REC, "--event", "1=a", "--tmax", "0.1", "-o", "@.csv"),
        ("record", "--source", _REC, "--seconds", "0.2", "--yes", "-o", "@"),
        ("stream", _MODEL, "--source", _REC, "--speed", "max", "--seconds", "3", "--sink", "jsonl:@.jsonl"),
        ("simulate", "@"),
        ("pack", _MODEL, "-o", "@", "--host", "triton"),
        ("sources", "--seconds", "0.1", "--report", "@.json"),
        ("session", "export", f"{_S}/sessions/0123456789ab", "--bids", "@"),
        ("predict", _MODEL, _REC, "--output", "@.csv"),
    )
    for name, path in bad.items():
        if name in ("absent", "folder"):
            continue
        for command in writes:
            if name == "root" and command[0] in ("record", "simulate", "pack"):
                continue  # a folder may be written to
            words = tuple(
                w if "@" not in w else w.partition("@")[0] + path.replace("{x}", w.partition("@")[2])
                for w in command
            )
            yield Attack(f"{name} as output", words, "outputs")
    yield from _onto_inputs()


def _onto_inputs() -> Iterator[Attack]:
    """Yield outputs that are inputs: by name, through links and in folders that are read."""
    files = ("seeds/model.onnx", "seeds/model.onnx.json", "seeds/model.ref.npz", "seeds/model.ref.npz.json")
    rec, ckpt = "seeds/rec.csv", "seeds/ckpt.pt"
    stream = ("stream", "model.onnx", "--source", "rec.csv", "--speed", "max", "--seconds", "3")
    fit = ("--source", "rec.csv", "--speed", "max", "--seconds", "3")
    onto: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("profile over the model", (*files, rec), ("calibrate", "model.onnx", *fit, "-o", "model.onnx")),
        (
            "profile over the manifest",
            (*files, rec),
            ("calibrate", "model.onnx", *fit, "-o", "model.onnx.json"),
        ),
        ("profile over the recording", (*files, rec), ("calibrate", "model.onnx", *fit, "-o", "rec.csv")),
        (
            "profile over a checkpoint",
            (*files, rec, ckpt),
            ("calibrate", "model.onnx", *fit, "-o", "ckpt.pt"),
        ),
        (
            "profile over labels",
            (*files, rec, "seeds/data"),
            ("calibrate", "model.onnx", *fit, "-o", "data/labels.csv"),
        ),
        (
            "parity over data",
            (*files, "seeds/data"),
            ("parity", "model.onnx", "model.onnx", "--data", "data", "--report", "data/run.csv"),
        ),
        (
            "parity over labels",
            (*files, "seeds/data"),
            ("parity", "model.onnx", "model.onnx", "--data", "data", "--report", "data/labels.csv"),
        ),
        (
            "parity over a recording",
            (*files, rec),
            ("parity", "model.onnx", "model.onnx", "--data", "rec.csv", "--report", "rec.csv"),
        ),
        ("bench over the model", files, ("bench", "model.onnx", "--report", "model.onnx")),
        ("record over the model", files, ("bench", "model.onnx", "--record", "model.onnx")),
        ("report over the model", files, ("doctor", "model.onnx", "--report", "model.onnx.json")),
        ("bench over the reference", files, ("bench", "model.onnx", "--html", "model.ref.npz")),
        ("bench over its manifest", files, ("bench", "model.onnx", "--html", "model.onnx.json")),
        (
            "page over its report",
            ("seeds/profile.json",),
            ("report", "profile.json", "--html", "profile.json"),
        ),
        (
            "card over its report",
            ("seeds/profile.json",),
            ("report", "profile.json", "--card", "profile.json"),
        ),
        ("export over the checkpoint", (ckpt,), ("export", "ckpt.pt", "-o", "ckpt.pt")),
        ("train over a recording", ("seeds/data",), ("train", "data", "-o", "data/run.csv")),
        ("train over --init", (ckpt, "seeds/data"), ("train", "data", "--init", "ckpt.pt", "-o", "ckpt.pt")),
        (
            "scores over labels",
            ("seeds/data",),
            ("train", "data", "-o", "x.pt", "--report", "data/labels.csv"),
        ),
        (
            "labels over a recording",
            (rec,),
            ("data", "events", "rec.csv", "--event", "1=a", "--tmax", "1", "-o", "rec.csv"),
        ),
        ("decisions over the model", (*files, rec), (*stream, "--sink", "jsonl:model.onnx")),
        (
            "labels over intervals",
            (rec, "seeds/intervals.csv"),
            (
                "data",
                "events",
                "rec.csv",
                "--intervals",
                "intervals.csv",
                "--event",
                "calm=a",
                "-o",
                "intervals.csv",
            ),
        ),
        ("decisions over the source", (*files, rec), (*stream, "--sink", "jsonl:rec.csv")),
        (
            "decisions over the profile",
            (*files, rec, "seeds/profile.json"),
            (*stream, "--profile", "profile.json", "--sink", "jsonl:profile.json"),
        ),
        (
            "predictions over the recording",
            (*files, rec),
            ("predict", "model.onnx", "rec.csv", "--output", "rec.csv"),
        ),
        (
            "predictions over labels",
            (*files, "seeds/data"),
            ("predict", "model.onnx", "data", "--output", "data/labels.csv"),
        ),
        (
            "a data set in its own session",
            ("seeds/sessions",),
            ("session", "export", "sessions/0123456789ab", "--bids", "sessions/0123456789ab"),
        ),
        ("quantize over the model", files, ("quantize", "model.onnx", "--to", "fp16", "-o", "model.onnx")),
        ("simulate over data", ("seeds/data",), ("simulate", "data")),
        (
            "record into its own session",
            ("seeds/sessions",),
            (
                "record",
                "--source",
                "sessions/0123456789ab",
                "-o",
                "sessions/0123456789ab",
                "--seconds",
                "0.2",
                "--yes",
            ),
        ),
        (
            "package into the model's folder",
            files,
            ("pack", "model.onnx", "-o", ".", "--host", "triton", "--name", "model.onnx"),
        ),
    )
    for name, copies, command in onto:
        yield Attack(name, command, "outputs", copies=copies)
    links: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]], ...] = (
        (
            "profile through a link to the model",
            (*files, rec),
            (("l.json", "model.onnx"),),
            ("calibrate", "model.onnx", *fit, "-o", "l.json"),
        ),
        (
            "parity through a link to data",
            (*files, "seeds/data"),
            (("l.json", "data/labels.csv"),),
            ("parity", "model.onnx", "model.onnx", "--data", "data", "--report", "l.json"),
        ),
        (
            "labels through a dangling link",
            (rec,),
            (("labels.csv", "gone/x.csv"),),
            ("data", "events", "rec.csv", "--event", "1=a", "--tmax", "1"),
        ),
        (
            "decisions through a link",
            (*files, rec),
            (("l.jsonl", "rec.csv"),),
            (*stream, "--sink", "jsonl:l.jsonl"),
        ),
        (
            "a link to itself",
            (*files, rec),
            (("l.json", "l.json"),),
            ("calibrate", "model.onnx", *fit, "-o", "l.json"),
        ),
        (
            "sessions through a link",
            ("seeds/sessions",),
            (("l", "sessions/0123456789ab"),),
            ("session", "delete", "l", "--yes"),
        ),
        ("all sessions through a link", ("seeds/sessions",), (("l", "sessions"),), ("session", "list", "l")),
        ("a dangling model", (rec,), (("m.onnx", "gone.onnx"),), ("inspect", "m.onnx")),
    )
    for name, copies, made, command in links:
        yield Attack(name, command, "outputs", copies=copies, links=made)

"""Good files of every kind that the tool reads, small and always the same: where attacks start from."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.labels import COLUMNS
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.profile import Profile, contract_sha256
from tests.data.apps import bursts, mind_monitor, openbci_gui, openbci_hub
from tests.data.xdf import Stream, write_xdf
from tests.modelfiles import write_model, write_reference

NAMES = ("TP9", "AF7", "AF8", "TP10")
CONTRACT = Contract(
    ch_names=NAMES,
    sfreq=64.0,
    n_times=64,
    hop=32,
    class_names=("calm", "excited"),
    scaling=Scaling("robust", (0.0,) * 4, (20.0,) * 4),
)
SIZES = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}


def write_seeds(folder: Path) -> None:
    """Write one good file of each kind into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_checkpoints(folder)
    write_model(folder / "model.onnx", CONTRACT)
    write_reference(folder / "model.ref.npz", CONTRACT)
    write_recordings(folder)
    _write_session(folder / "sessions" / "0123456789ab")
    (folder / "cues.csv").write_text("label,seconds,text\ncalm,0.2,sit\n,0.1,\nexcited,0.2,think\n")
    (folder / "short.csv").write_text(stdin_text(rows=256))
    write_profile(folder)


def _write_checkpoints(folder: Path) -> None:
    import torch

    from mimamba_edge.export.checkpoint import save_checkpoint
    from mimamba_edge.export.families.msimamba.network import MSiMamba

    torch.manual_seed(0)
    model = MSiMamba(CONTRACT.n_chans, CONTRACT.n_times, CONTRACT.n_outputs, CONTRACT.sfreq, **SIZES)
    for name in ("ckpt.pt", "ckpt.safetensors"):
        save_checkpoint(folder / name, model, CONTRACT)


def write_profile(folder: Path) -> None:
    """Write the profile that goes with ``model.onnx``."""
    model = folder / "model.onnx"
    belongs = {
        "file": model.name,
        "sha256": sha256_file(model),
        "contract_sha256": contract_sha256(CONTRACT),
    }
    figures = {name: {"rms_uv": 9.0, "mains_ratio": 1.0, "noise_uv_rthz": 0.5} for name in NAMES}
    profile = Profile("p1", belongs, NAMES, Scaling("robust", (1.0,) * 4, (15.0,) * 4), 50.0, figures)
    profile.save(folder / "profile.json")


def table(seconds: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Return times ``(n,)`` in seconds and microvolts ``(n, 4)`` of a simulated headset at 256 Hz."""
    recording, _ = simulate_recording(["calm", "excited"])
    n = round(seconds * 256)
    return recording.timestamps[:n], recording.samples[:n]


def stdin_text(rows: int = 512) -> str:
    """Return what goes to ``stdin:?sfreq=256``, and into a CSV file."""
    times, samples = table()
    lines = [
        ",".join([f"{t:.6f}", *(f"{v:.3f}" for v in row), "1" if i % 100 == 50 else "0"])
        for i, (t, row) in enumerate(zip(times[:rows], samples[:rows], strict=True))
    ]
    return "\n".join([",".join(["timestamps", *NAMES, "Marker0"]), *lines]) + "\n"


def write_recordings(folder: Path) -> None:
    """Write a recording in each format, and a data set of it."""
    times, samples = table()
    data = folder / "data"
    data.mkdir(exist_ok=True)
    text = stdin_text(rows=len(times))
    (folder / "rec.csv").write_text(text)
    (data / "run.csv").write_text(text)
    rows = [f"run.csv,{i}.0,{i}.9,{('calm', 'excited')[i % 2]},s1,1,{i % 2},x" for i in range(5)]
    (data / "labels.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    (folder / "rec.edf").write_bytes(edf_bytes(samples))
    (folder / "rec.bdf").write_bytes(edf_bytes(samples, width=3))
    (folder / "rec.xdf").write_bytes(write_xdf(xdf_streams()))
    (folder / "rec.fif").write_bytes(fif_bytes(samples))
    for name, text in app_texts().items():
        (folder / name).write_text(text)
    trials = np.stack([samples[:1280].T, samples[100:1380].T])
    np.savez(folder / "trials.npz", X=trials, y=["calm", "excited"], ch_names=list(NAMES), sfreq=256.0)


def app_texts() -> dict[str, str]:
    """Return short text files of apps, and tables that go with ``rec.csv``."""
    _, samples = table()
    raw, n = np.column_stack([samples[:300], samples[:300, :1]]) + 800, np.arange(300)
    start = 1_700_000_000.0
    marks = [(start + 0.5, "/Marker/1"), (start + 1, "/muse/elements/blink")]
    rows = [f"{i / 256:.6f},{i % 7},{('calm', 'excited')[i // 150]}" for i in n.tolist()]
    return {
        "mind-monitor.csv": mind_monitor(bursts(300, start), raw, marks),
        "openbci.txt": openbci_gui(start + n / 250, samples[:300], n % 256, markers={50: 1.0}),
        "openbci-4.txt": openbci_hub(start + n / 250, samples[:300], n % 256),
        "label.csv": "\n".join(["timestamps,Cz,label", *rows]) + "\n",
        "intervals.csv": "onset,duration,label\n0.2,0.3,calm\n1,0.4,excited\n",
    }


def xdf_streams() -> list[Stream]:
    """Return an EEG stream and one of markers."""
    times, samples = table(3.0)
    channels = [(name, "EEG", "microvolts") for name in NAMES]
    marks = Stream("marks", "Markers", ["calm", "excited"], times[[100, 400]], rate=0.0, form="string")
    return [Stream("Muse", "EEG", samples.tolist(), times.tolist(), channels=channels), marks]


def edf_bytes(samples: np.ndarray, *, width: int = 2, fields: dict[str, str] | None = None) -> bytes:
    """Return an EDF (2 bytes a sample) or BDF file of 1 s records, written from the specification alone.

    Args:
        samples: Microvolts ``(n, c)`` at 256 Hz.
        width: Bytes of a sample.
        fields: Header fields to spoil: ``n_bytes``, ``n_records``, ``duration``, ``n_signals`` and, for all
            signals, ``physical_min``, ``physical_max``, ``digital_min``, ``digital_max``, ``length``.
    """
    most = 32767 if width == 2 else 8388607
    n_records, n_signals = len(samples) // 256, samples.shape[1]
    said = {
        "n_bytes": str(256 * (1 + n_signals)),
        "n_records": str(n_records),
        "duration": "1",
        "n_signals": str(n_signals),
        "physical_min": "-1000",
        "physical_max": "1000",
        "digital_min": str(-most - 1),
        "digital_max": str(most),
        "length": "256",
        **(fields or {}),
    }
    magic = b"0       " if width == 2 else b"\xffBIOSEMI"
    head = ["X" * 80, "Startdate 01-JAN-2020", "01.01.20", "00.00.00", said["n_bytes"], ""]
    sizes = (80, 80, 8, 8, 8, 44, 8, 8, 4)
    head += [said["n_records"], said["duration"], said["n_signals"]]
    head[0] = "X X X X"
    text = "".join(part.ljust(size)[:size] for part, size in zip(head, sizes, strict=True))
    columns = [
        (16, list(NAMES)),
        (80, [""] * 4),
        (8, ["uV"] * 4),
        *((8, [said[k]] * 4) for k in ("physical_min", "physical_max", "digital_min", "digital_max")),
        (80, [""] * 4),
        (8, [said["length"]] * 4),
        (32, [""] * 4),
    ]
    text += "".join(cell.ljust(size)[:size] for size, cells in columns for cell in cells)
    digital = np.clip(np.round(samples[: n_records * 256] / 1000 * most), -most, most).astype("<i4")
    blocks = digital.reshape(n_records, 256, n_signals).transpose(0, 2, 1)
    raw = np.ascontiguousarray(blocks).view(np.uint8).reshape(*blocks.shape, 4)[..., :width]
    return magic + text.encode("latin-1") + raw.tobytes()


def fif_bytes(samples: np.ndarray) -> bytes:
    """Return a raw FIF file with its tags, from the specification alone (kinds and types of fiff.hpp).

    It holds one measurement block with its information and one buffer of floats.
    """

    def tag(kind: int, form: int, data: bytes, after: int = 0) -> bytes:
        return struct.pack(">4i", kind, form, len(data), after) + data

    def number(kind: int, value: int) -> bytes:
        return tag(kind, 3, struct.pack(">i", value))

    def real(kind: int, value: float) -> bytes:
        return tag(kind, 4, struct.pack(">f", value))

    def block(kind: int, *parts: bytes) -> bytes:
        return number(104, kind) + b"".join(parts) + number(105, kind)

    def channel(i: int, name: str) -> bytes:
        # scanno, logno, kind (2: EEG), range, cal, coil type (1: EEG), loc[12], unit (107: V), unit_mul, name
        place = [0.01 * i, 0.0, 0.1] + [0.0] * 9
        head = struct.pack(">3i2fi12f2i", i + 1, i + 1, 2, 1.0, 1.0, 1, *place, 107, 0)
        return tag(203, 30, head + name.encode().ljust(16, b"\0"))

    identity = tag(100, 31, struct.pack(">5i", 1 << 16, 0, 0, 0, 0))
    facts = [number(200, len(NAMES)), real(201, 256.0), real(219, 100.0), real(223, 0.1)]
    info = block(101, *facts, *(channel(i, name) for i, name in enumerate(NAMES)))
    data = block(102, number(208, 0), tag(300, 4, np.asarray(samples * 1e-6, ">f4").tobytes()))
    return identity + number(101, -1) + block(100, identity, info, data) + tag(108, 0, b"", -1)


def session_info() -> dict[str, object]:
    """Return a good ``session.json``."""
    return {
        "format": "mimamba.session.1",
        "id": "0123456789ab",
        "subject": "p1",
        "session": "1",
        "run": "01",
        "ch_names": list(NAMES),
        "sfreq": 256.0,
        "rails_uv": [-1000.0, 999.5],
        "device": {"packet_counter": False},
        "source": "recording",
        "started_unix": 1700000000.0,
        "unit": "uV",
    }


def _write_session(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    times, samples = table(3.0)
    (folder / "session.json").write_text(json.dumps(session_info()))
    rows = [",".join(map(repr, [float(t), *map(float, row)])) for t, row in zip(times, samples, strict=True)]
    (folder / "signal.csv").write_text("\n".join([",".join(["timestamps", *NAMES]), *rows]) + "\n")
    events = [
        {"kind": "marker", "text": text, "sample": sample, "t_s": sample / 256}
        for text, sample in (("calm", 100), ("excited", 400))
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    rows = ["signal.csv,0.5,1.0,calm,p1,1,01,x", "signal.csv,1.5,2.0,excited,p1,1,01,x"]
    (folder / "labels.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")

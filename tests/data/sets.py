"""Files of the layouts of published data sets, made up: their forms are theirs, their content is noise."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import io

SEED_LABELS = (1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1)


def noise(shape: tuple[int, ...], seed: int, scale: float = 10.0) -> NDArray[np.float64]:
    return scale * np.random.default_rng(seed).standard_normal(shape)


def wave(n: int, sfreq: float, hz: float, uv: float = 30.0) -> NDArray[np.float64]:
    """Return what a planted class looks like."""
    return uv * np.sin(2 * np.pi * hz * np.arange(n) / sfreq)


def python2_pickle(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return what cPickle of Python 2 writes for a dictionary of arrays, as DEAP's files are."""

    def name(module: str, what: str) -> bytes:
        return f"c{module}\n{what}\n".encode()

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def whole(value: int) -> bytes:
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)

    out = b"\x80\x02}("
    for key, array in arrays.items():
        kind = name("numpy", "dtype") + text(array.dtype.str[1:].encode()) + whole(0) + whole(1) + b"\x87R"
        kind += b"(" + whole(3) + text(b"<") + b"NNN" + 2 * whole(-1) + whole(0) + b"tb"
        out += text(key.encode()) + name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray")
        out += whole(0) + b"\x85" + text(b"b") + b"\x87R("
        out += whole(1) + b"(" + b"".join(map(whole, array.shape)) + b"t" + kind + b"\x89"
        out += b"T" + struct.pack("<i", array.nbytes) + array.tobytes() + b"tb"
    return out + b"u."


def deap_arrays(subject: int, trials: int = 4) -> dict[str, NDArray[Any]]:
    """Return DEAP's arrays: a trial of high valence holds 10 Hz, one of low valence 20 Hz."""
    rng = np.random.default_rng(subject)
    data = noise((trials, 40, 8064), seed=subject).astype("<f4")
    labels = rng.uniform(1, 9, (trials, 4))
    labels[:, 0] = np.where(np.arange(trials) % 2, 7.5, 2.5)
    for k in range(trials):
        data[k] += wave(8064, 128, 10.0 if k % 2 else 20.0).astype("<f4")
    return {"labels": labels, "data": data}


def write_deap(folder: Path, subjects: int = 2, trials: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for subject in range(1, subjects + 1):
        (folder / f"s{subject:02}.dat").write_bytes(python2_pickle(deap_arrays(subject, trials)))
    return folder


def dreamer_arrays(subject: int, clip: int) -> NDArray[np.float64]:
    """Return a clip of 65 to 70 s: one of high valence holds 10 Hz, one of low valence 20 Hz."""
    n = 128 * (65 + clip % 6)
    samples = 4200 + noise((n, 14), seed=100 * subject + clip)
    return samples + wave(n, 128, 10.0 if clip % 2 else 20.0)[:, None]


def cell(values: list[Any], shape: tuple[int, int]) -> NDArray[Any]:
    cell = np.empty(len(values), dtype=object)
    for k, value in enumerate(values):
        cell[k] = value
    return cell.reshape(shape)


def write_dreamer(path: Path, subjects: int = 2, clips: int = 4, *, packed: bool = True) -> Path:
    people = []
    for s in range(1, subjects + 1):
        signals = [dreamer_arrays(s, t) for t in range(1, clips + 1)]
        still = [noise((61 * 128, 14), seed=t) for t in range(clips)]
        heart = [noise((256 * 5, 2), seed=t) for t in range(clips)]
        score = np.array([[4 if t % 2 else 2] for t in range(1, clips + 1)], dtype=np.uint8)
        other = np.array([[1 + t % 5] for t in range(clips)], dtype=np.uint8)
        people.append(
            {
                "Age": "22",
                "Gender": "male",
                "EEG": {"baseline": cell(still, (clips, 1)), "stimuli": cell(signals, (clips, 1))},
                "ECG": {"baseline": cell(heart, (clips, 1)), "stimuli": cell(heart, (clips, 1))},
                "ScoreValence": score,
                "ScoreArousal": other,
                "ScoreDominance": other[::-1].copy(),
            }
        )
    held = {
        "Data": cell(people, (1, subjects)),
        "EEG_SamplingRate": 128.0,
        "noOfSubjects": float(subjects),
        "Disclaimer": "made up",
    }
    io.savemat(path, {"DREAMER": held}, do_compression=packed)
    return path


def seed_clip(subject: int, session: int, clip: int, seconds: int = 12) -> NDArray[np.float64]:
    """Return a clip ``(62, n)``: the three classes hold 6, 12 and 20 Hz."""
    n = 200 * seconds + 37 * clip
    hz = {-1: 6.0, 0: 12.0, 1: 20.0}[SEED_LABELS[clip - 1]]
    return noise((62, n), seed=1000 * subject + 100 * session + clip) + wave(n, 200, hz)


def write_seed(
    folder: Path, subjects: int = 2, sessions: int = 3, clips: int = 15, seconds: int = 12
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    io.savemat(folder / "label.mat", {"label": np.array([SEED_LABELS], dtype=np.int16)})
    for s in range(1, subjects + 1):
        for n, day in enumerate(("20140404", "20131027", "20140513")[:sessions]):
            held = {f"abc_eeg{k}": seed_clip(s, n, k, seconds) for k in range(1, clips + 1)}
            io.savemat(folder / f"{s}_{day}.mat", held, do_compression=False)
    return folder


def write_brainvision(path: Path, samples: NDArray[np.float64], names: Sequence[str], sfreq: float) -> None:
    """Write the three files as BrainVision Recorder does: 16 bits, channel after channel in each sample."""
    stem, step = path.stem, 0.1
    (path.parent / f"{stem}.eeg").write_bytes(np.round(samples / step).astype("<i2").tobytes())
    channels = "\n".join(f"Ch{k}={name},,{step},µV" for k, name in enumerate(names, 1))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / sfreq:g}\n"
        "[Binary Infos]\nBinaryFormat=INT_16\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    (path.parent / f"{stem}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem}.eeg\n[Marker Infos]\nMk1=Stimulus,S  3,513,1,0\n",
        encoding="utf-8",
    )


def write_eeglab(path: Path, samples: NDArray[np.float64], names: Sequence[str], sfreq: float) -> None:
    labels = np.array([(name, "EEG") for name in names], dtype=[("labels", object), ("type", object)])
    held: dict[str, Any] = {
        "data": samples.T,
        "srate": sfreq,
        "nbchan": len(names),
        "pnts": len(samples),
        "trials": 1,
    }
    held |= {"xmin": 0.0, "xmax": len(samples) / sfreq, "chanlocs": labels, "event": [], "epoch": []}
    io.savemat(path, {"EEG": held})

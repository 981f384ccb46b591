"""Checkpoints that must be refused in short words, at once and without memory."""

from __future__ import annotations

import copy
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.attack.hostile_json import DEEP, DIGITS_400, DIGITS_5001, contracts

__all__ = ["write_checkpoints", "zeros_member"]

_HUGE = 10**399


class _Touch:
    """What runs code where a pickle is believed; nothing here may ever be called."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("__import__('os').abort()",))


def write_checkpoints(folder: Path, seeds: Path) -> list[Path]:
    """Write every hostile checkpoint; returns the files."""
    import torch

    good = torch.load(seeds / "ckpt.pt", weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, content in _contents(good):
        path = folder / f"{name}.pt"
        try:
            torch.save(content, path)
        except RecursionError:
            path.write_bytes(_archive(pickle.dumps(1)))
        made.append(path)
    for name, data in _bytes((seeds / "ckpt.pt").read_bytes()):
        path = folder / f"{name}.pt"
        path.write_bytes(data)
        made.append(path)
    for name, data in _safetensors(seeds / "ckpt.safetensors"):
        path = folder / f"{name}.safetensors"
        path.write_bytes(data)
        made.append(path)
    return made


def _contents(good: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield objects that torch saves, each a good checkpoint with something wrong in it."""
    import torch

    def spoil(part: str, key: str, value: Any) -> dict[str, Any]:
        new: dict[str, Any] = copy.deepcopy(good)
        new[part][key] = value
        return new

    sizes = {
        "million-layers": ("n_layers", 10**6),
        "layers-2e9": ("n_layers", 2 * 10**9),
        "wide": ("d_model", 10**9),
        "expand-digits": ("expand", _HUGE),
        "conv-2e62": ("d_conv", 2**62),
        "rank-huge": ("dt_rank", 10**12),
        "outputs-1e9": ("n_outputs", 10**9),
        "ff-1e9": ("d_ff", 10**9),
        "bin-digits": ("min_bin", _HUGE),
        "sfreq-nan": ("sfreq", float("nan")),
        "sfreq-digits": ("sfreq", _HUGE),
        "sfreq-1e300": ("sfreq", 1e300),
        "scale-digits": ("amplitude_scale", _HUGE),
        "dropout-digits": ("dropout", _HUGE),
        "sfreq-tensor": ("sfreq", torch.tensor(128.0)),
        "layers-tensor": ("n_layers", torch.tensor([1, 2])),
        "dropout-tensor": ("dropout", torch.tensor([0.1, 0.2])),
        "weighting-tensor": ("weighting", torch.zeros(3)),
        "weighting-10mb": ("weighting", "w" * 10_000_000),
        "bidirectional-list": ("bidirectional", [[]]),
    }
    for name, (key, value) in sizes.items():
        yield f"config-{name}", spoil("config", key, value)
    both = copy.deepcopy(good)
    both["config"]["n_outputs"] = both["contract"]["model"]["n_outputs"] = 50_000
    both["contract"]["class_names"] = [f"c{i}" for i in range(50_000)]
    yield "many-classes", both
    yield "config-tuple-keys", {**good, "config": {("a", 1): 2, **good["config"]}}
    yield "config-keys-100k", {**good, "config": {**good["config"], **{f"k{i}": i for i in range(100_000)}}}
    yield "contract-tuple-keys", {**good, "contract": {("a", 1): 2, **good["contract"]}}
    yield "contract-key-10mb", {**good, "contract": {"k" * 10_000_000: 1, **good["contract"]}}
    for name, value in {
        "nan": float("nan"),
        "digits": _HUGE,
        "tensor": torch.zeros(3),
        "bytes": b"\xff" * 100,
        "text": "x",
        "none": None,
        "list": [1],
    }.items():
        for key in ("sfreq", "ch_names", "training", "scaling", "filters", "temperature", "hop"):
            yield f"contract-{key}-{name}", spoil("contract", key, value)
    loop: dict[Any, Any] = {"a": 1}
    loop["self"] = loop
    yield "training-itself", spoil("contract", "training", loop)
    yield "training-tuple-keys", spoil("contract", "training", {(1, 2): 3})
    yield "training-nan", spoil("contract", "training", {"loss": float("nan"), "inf": float("inf")})
    yield "training-digits", spoil("contract", "training", {"epochs": _HUGE, "more": 10**5000})
    yield "training-tensor", spoil("contract", "training", {"loss": torch.zeros(2)})
    laughs: list[Any] = ["ha" * 10]
    for _ in range(30):
        laughs = [laughs, laughs, laughs]
    yield "training-laughs", spoil("contract", "training", {"a": laughs})
    yield "format-laughs", {**good, "format": laughs}
    yield "format-10mb", {**good, "format": "f" * 10_000_000}
    yield "format-digits", {**good, "format": 10**5000}
    yield "format-tensor", {**good, "format": torch.ones(1)}
    yield "not-a-dict", laughs
    yield "a-tensor", torch.zeros(3)
    yield "keys-10mb", {"k" * 10_000_000: 1}
    first = next(iter(good["state_dict"]))
    shape = good["state_dict"][first].shape
    tensors = {
        "meta": torch.empty(shape, device="meta"),
        "sparse": torch.zeros(shape).to_sparse(),
        "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "complex": torch.zeros(shape, dtype=torch.complex64),
        "expanded": torch.zeros(1).expand(10**10),
        "float8": torch.zeros(shape).to(torch.float8_e4m3fn),
        "nan": torch.full(shape, float("nan")),
        "double-1e300": torch.full(shape, 1e300, dtype=torch.float64),
        "number": 1.0,
        "empty": torch.zeros(0),
        "bool": torch.zeros(shape, dtype=torch.bool),
    }
    for name, tensor in tensors.items():
        yield f"weight-{name}", {**good, "state_dict": {**good["state_dict"], first: tensor}}
    yield "weights-list", {**good, "state_dict": [1, 2]}
    yield "weights-none", {**good, "state_dict": {}}
    yield "weights-tuple-keys", {**good, "state_dict": {("a", 1): torch.zeros(1), **good["state_dict"]}}
    more = {f"extra{i}": torch.zeros(1) for i in range(3000)}
    yield "weights-3000-more", {**good, "state_dict": {**good["state_dict"], **more}}
    name_10mb = {"n" * 10_000_000: torch.zeros(1)}
    yield "weight-name-10mb", {**good, "state_dict": {**good["state_dict"], **name_10mb}}


def _archive(pickled: bytes, name: str = "data.pkl") -> bytes:
    """Return a torch archive around any pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in (
            (name, pickled),
            ("byteorder", b"little"),
            ("version", b"3\n"),
            (".data/serialization_id", b"0" * 40),
        ):
            archive.writestr(zipfile.ZipInfo(f"archive/{entry}"), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def zeros_member(name: str, mib: int) -> bytes:
    """Return a zip file with one member of ``mib`` MiB of zeros, made without holding them."""
    block = bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.flush()
    crc = 0
    for _ in range(mib):
        crc = zlib.crc32(block, crc)
    data, size = first * mib + end, mib << 20
    raw = name.encode()
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(data), size, len(raw), 0)
    local = b"PK\x03\x04" + common + raw + data
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + raw
    end_record = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\x05\x06" + end_record


def _bytes(good: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "cut", good[: len(good) // 2]
    yield "cut-end", good[:-1]
    yield "twice", good + good
    yield "garbage", bytes(range(256)) * 64
    yield "text", b"hello\n" * 1000
    yield "zeros", bytes(100_000)
    yield "code", _archive(pickle.dumps(_Touch(), 2))
    yield "code-bare", pickle.dumps(_Touch(), 2)
    yield "global-10mb", _archive(b"\x80\x02c" + b"m" * 10_000_000 + b"\nf\n.")
    yield (
        "pickle-digits",
        _archive(b"\x80\x02\x8b" + struct.pack("<i", 10_000_000) + b"\x7f" * 10_000_000 + b"."),
    )
    yield "pickle-digits-text", _archive(b"I" + b"9" * 1_000_000 + b"\n.")
    yield "pickle-negative-length", _archive(b"\x80\x02\x8b\xff\xff\xff\xff.")
    yield "pickle-claims", _archive(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.")
    yield "pickle-deep", _archive(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    yield "pickle-marks", _archive(b"\x80\x02" + b"(" * 2_000_000 + b".")
    yield "pickle-put-huge", _archive(b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b".")
    yield "pickle-lists", _archive(b"\x80\x02" + b"]0" * 3_000_000 + b"].")
    lines = b"\x80\x02(" + b"X\x04\x00\x00\x00ha\n\n" * 200_000 + b"l."
    yield "pickle-lines", _archive(lines)
    doubling = b"\x80\x02]q\x00" + b"".join(
        b"](h%sh%se" % (bytes([i]), bytes([i])) + b"q" + bytes([i + 1]) for i in range(60)
    )
    yield "pickle-doubling", _archive(doubling + b".")
    yield "zip-bomb-pickle", zeros_member("archive/data.pkl", 2048)
    yield "zip-other", _archive(pickle.dumps(1), name="other.pkl")
    yield "pickle-empty-code", _archive(b"")


def _safetensors(good: Path) -> Iterator[tuple[str, bytes]]:
    import json

    data = good.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + n]), data[8 + n :]

    def packed(text: str) -> bytes:
        raw = text.encode("utf-8", "surrogatepass")
        return struct.pack("<Q", len(raw)) + raw + body

    def with_metadata(name: str, text: str) -> bytes:
        new = copy.deepcopy(header)
        new["__metadata__"][f"mimamba.{name}"] = text
        return packed(json.dumps(new))

    yield "empty", b""
    yield "cut", data[: len(data) // 2]
    yield "length-huge", struct.pack("<Q", 2**63) + data[8:]
    yield "length-1tb", struct.pack("<Q", 1 << 40) + data[8:]
    yield "header-deep", packed(DEEP)
    yield "header-list", packed("[]")
    yield "header-no-metadata", packed(json.dumps({k: v for k, v in header.items() if k != "__metadata__"}))
    for part in ("format", "config", "contract"):
        for name, text in {
            "deep": DEEP,
            "deep-maps": '{"a":' * 100_000 + "1" + "}" * 100_000,
            "digits": DIGITS_5001,
            "digits-400": DIGITS_400,
            "nan": "NaN",
            "nothing": "",
            "5mb": json.dumps("x" * 5_000_000),
        }.items():
            yield f"{part}-{name}", with_metadata(part, text)
    contract = json.loads(header["__metadata__"]["mimamba.contract"])
    for number, (name, text) in enumerate(contracts(contract)):
        if number % 6 == 0:
            yield f"contract-{name}", with_metadata("contract", text)
    first = next(k for k in header if k != "__metadata__")
    for name, entry in {
        "shape-huge": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]},
        "shape-negative": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        "shape-zeros": {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]},
        "offsets": {"dtype": "F32", "shape": [1], "data_offsets": [2**62, 2**62 + 4]},
        "dtype": {"dtype": "X" * 10_000, "shape": [1], "data_offsets": [0, 4]},
    }.items():
        yield f"tensor-{name}", packed(json.dumps({**header, first: entry}))
    many = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_000)}
    yield "tensors-50k", packed(json.dumps({**many, **header}))

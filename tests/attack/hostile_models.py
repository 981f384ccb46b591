"""ONNX files, manifests, profiles and references that must be refused in short words."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import LOGITS, METADATA_KEY, WINDOWS
from tests.attack.devices import devices_can_be_made, make_device
from tests.attack.hostile_checkpoints import zeros_member
from tests.attack.hostile_json import NUMBERS, OTHERS, broken_texts, contracts, spoilt

__all__ = ["write_manifests", "write_onnx", "write_plans", "write_profiles", "write_references"]


def _with_manifest(path: Path, seeds: Path, **changes: Any) -> Path:
    """Write the manifest that agrees with the bytes of ``path``."""
    held = json.loads((seeds / "model.onnx.json").read_text())
    held.update(file=path.name, sha256=sha256_file(path), **changes)
    path.with_name(path.name + ".json").write_text(json.dumps(held))
    return path


def write_onnx(folder: Path, seeds: Path) -> list[Path]:
    """Write hostile ONNX files, each with a manifest that names its bytes rightly; returns the models."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    if devices_can_be_made():
        make_device(folder / "zero", "zero")
    good = (seeds / "model.onnx").read_bytes()
    model = onnx.load_from_string(good)
    contract = json.loads(next(p.value for p in model.metadata_props if p.key == METADATA_KEY))
    made = []

    def put(name: str, data: bytes) -> None:
        path = folder / f"{name}.onnx"
        path.write_bytes(data)
        made.append(_with_manifest(path, seeds))

    for name, text in (*contracts(contract), *((n, d.decode("latin-1")) for n, d in broken_texts())):
        new = onnx.load_from_string(good)
        new.metadata_props[0].value = text.encode("utf-8", "replace").decode()
        put(f"contract-{name}", new.SerializeToString())
    for name, new in _graphs(good):
        put(name, new.SerializeToString())
    for name, data in {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "garbage": bytes(range(256)) * 64,
        "zeros": bytes(10_000),
        # Field 7 (graph), length-delimited, once in the other: the parser's own limit of depth.
        "deep": _nested(10_000),
        "length-huge": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    }.items():
        put(name, data)
    return made


def _nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        size, data = len(data), data
        varint = b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        data = b"\x3a" + varint + bytes([size]) + data
    return data


def _graphs(good: bytes) -> Iterator[tuple[str, Any]]:
    """Yield models with the right contract and a wrong graph."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def fresh(*nodes: Any, **initial: Any) -> Any:
        new = onnx.load_from_string(good)
        if nodes:
            del new.graph.node[:]
            new.graph.node.extend(nodes)
        for name, value in initial.items():
            new.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return new

    node = helper.make_node
    flat, head = node("Flatten", [WINDOWS], ["flat"]), node("MatMul", ["flat", "w"], [LOGITS])
    forever = helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("Add", ["x", "one"], ["y"])],
        "forever",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    loop = node("Loop", ["", "yes", "first"], [LOGITS], body=forever)
    yield (
        "loop-without-end",
        fresh(flat, node("MatMul", ["flat", "w"], ["first"]), loop, yes=True, one=np.float32(0.0)),
    )
    trips = node("Loop", ["n", "", "first"], [LOGITS], body=forever)
    yield (
        "loop-2e62",
        fresh(flat, node("MatMul", ["flat", "w"], ["first"]), trips, n=np.int64(2**62), one=np.float32(0.0)),
    )
    yield "functions-2e30", _exponential(fresh(), 30)
    yield "functions-itself", _exponential(fresh(), 1, itself=True)
    chain = [node("Identity", ["flat" if i == 0 else f"i{i}"], [f"i{i + 1}"]) for i in range(20_000)]
    yield "nodes-20k", fresh(flat, *chain, node("MatMul", ["i20000", "w"], [LOGITS]))
    big = fresh(
        flat,
        node("ConstantOfShape", ["shape"], ["big"]),
        node("ReduceSum", ["big"], ["sum"], keepdims=0),
        node("MatMul", ["flat", "w"], ["first"]),
        node("Add", ["first", "sum"], [LOGITS]),
        shape=np.array([1 << 18, 1 << 18], np.int64),
    )
    yield "constant-256gb", big
    claims = fresh()
    claims.graph.initializer[0].dims[:] = [2**40, 2**20]
    yield "weight-claims", claims
    negative = fresh()
    negative.graph.initializer[0].dims[:] = [-5, 2]
    yield "weight-negative", negative
    for name, where in {
        "external-passwd": "/etc/passwd",
        "external-up": "../../../../../etc/passwd",
        **({"external-zero": "zero"} if devices_can_be_made() else {}),
        "external-gone": "gone.bin",
    }.items():
        new = fresh()
        weight = new.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", where
        yield name, new
    for name, value in {"nan": np.nan, "inf": np.inf}.items():
        new = fresh()
        old = numpy_helper.to_array(new.graph.initializer[0])
        new.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full_like(old, value), "w"))
        yield f"weights-{name}", new
    yield "cycle", fresh(node("Add", ["flat", LOGITS], ["a"]), node("MatMul", ["a", "w"], [LOGITS]))
    yield "no-nodes", fresh(node("Identity", [WINDOWS], [LOGITS]))
    yield "unknown-op", fresh(node("Bogus" * 2000, [WINDOWS], [LOGITS]))
    yield "unknown-domain", fresh(node("X", [WINDOWS], [LOGITS], domain="\x1b[2J" * 100), head)
    yield "custom", fresh(node("SelectiveScan", [WINDOWS], [LOGITS], domain="mimamba"))
    for name, change in {"ir": {"ir_version": 10**9}, "producer": {"producer_name": "p" * 1_000_000}}.items():
        new = fresh()
        for key, value in change.items():
            setattr(new, key, value)
        yield f"{name}-huge", new
    new = fresh()
    new.opset_import[0].version = 10**12
    yield "opset-huge", new
    new = fresh()
    del new.opset_import[:]
    yield "opset-none", new
    for name, shape in {"scalar": [], "zero": [0, 0, 0], "other": ["b", 7, 64], "huge": [2**40] * 3}.items():
        new = fresh()
        new.graph.input[0].CopyFrom(helper.make_tensor_value_info(WINDOWS, TensorProto.FLOAT, shape))
        yield f"input-{name}", new
    new = fresh()
    new.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    yield "input-string", new
    new = fresh()
    new.graph.input.extend(
        helper.make_tensor_value_info(f"more{i}", TensorProto.FLOAT, [1]) for i in range(1000)
    )
    yield "inputs-1000", new
    new = fresh()
    new.graph.node[0].name = "n" * 2_000_000
    yield "name-2mb", new
    new = fresh()
    new.metadata_props[0].key = "other"
    yield "no-contract", new
    new = fresh()
    twice = new.metadata_props.add()
    twice.key, twice.value = METADATA_KEY, "{}"
    yield "contract-twice", new
    body = helper.make_graph(
        [node("Identity", ["flat"], ["o"])], "g", [], [helper.make_empty_tensor_value_info("o")]
    )
    for _ in range(60):
        nested = node("If", ["yes"], ["o"], then_branch=body, else_branch=body)
        body = helper.make_graph([nested], "g", [], [helper.make_empty_tensor_value_info("o")])
        if body.ByteSize() > 1_000_000:
            break
    yield (
        "if-nested",
        fresh(flat, node("If", ["yes"], [LOGITS], then_branch=body, else_branch=body), yes=True),
    )


def _exponential(model: Any, depth: int, *, itself: bool = False) -> Any:
    """Return a model whose functions each call the one below twice: ``2 ** depth`` nodes when inlined."""
    from onnx import helper

    node, opsets = helper.make_node, [helper.make_opsetid("", 18), helper.make_opsetid("bomb", 1)]
    for i in range(depth):
        below = f"F{i}" if itself else f"F{i - 1}"
        inner = (
            [node("Neg", ["x"], ["y"])]
            if i == 0 and not itself
            else [node(below, ["x"], ["m"], domain="bomb"), node(below, ["m"], ["y"], domain="bomb")]
        )
        model.functions.append(helper.make_function("bomb", f"F{i}", ["x"], ["y"], inner, opsets))
    model.opset_import.append(helper.make_opsetid("bomb", 1))
    del model.graph.node[:]
    model.graph.node.extend(
        [
            node("Flatten", [WINDOWS], ["flat"]),
            node(f"F{depth - 1}", ["flat"], ["z"], domain="bomb"),
            node("MatMul", ["z", "w"], [LOGITS]),
        ]
    )
    return model


def write_manifests(folder: Path, seeds: Path) -> list[Path]:
    """Write good models with hostile manifests; returns the models."""
    good = json.loads((seeds / "model.onnx.json").read_text())
    texts = [(name, data) for name, data in broken_texts()]
    for field in (
        "manifest_format",
        "sha256",
        "file",
        "kind",
        "source_sha256",
        "ops",
        "versions",
        "precision",
    ):
        texts += [(f"{field}-{n}", spoilt(good, field, t).encode()) for n, t in {**NUMBERS, **OTHERS}.items()]
    for number, (name, text) in enumerate(contracts(good["contract"])):
        if number % 5 == 0:
            texts.append(
                (f"contract-{name}", json.dumps({**good, "contract": "@"}).replace('"@"', text).encode())
            )
    escape = {**good, "file": "\x1b[2J", "kind": "k" * 5_000_000}
    texts += [
        ("kind-5mb", json.dumps(escape).encode()),
        ("sha-5mb", json.dumps({**good, "sha256": "a" * 5_000_000}).encode()),
        ("field-unknown", json.dumps({**good, "u" * 100_000: 1}).encode()),
        ("verification-deep", spoilt(good, "verification", '{"a":' * 900 + "1" + "}" * 900).encode()),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in texts:
        path = folder / f"{name}.onnx"
        shutil.copyfile(seeds / "model.onnx", path)
        path.with_name(path.name + ".json").write_bytes(data)
        made.append(path)
    return made


def write_plans(folder: Path, seeds: Path) -> list[Path]:
    """Write files that call themselves engines."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in {
        "empty": b"",
        "garbage": bytes(range(256)) * 64,
        "magic": b"ftrt" + b"\xff" * 100,
    }.items():
        path = folder / f"{name}.plan"
        path.write_bytes(data)
        made.append(_with_manifest(path, seeds, kind="plan", engine={"device": "d" * 100_000, "sm": 10**300}))
    return made


def write_references(folder: Path, seeds: Path) -> list[Path]:
    """Write good models beside hostile ``.ref.npz`` files, which `bench` reads; returns the models."""
    folder.mkdir(parents=True, exist_ok=True)
    head = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4, 64), }\n"
    objects = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    deep = b"{'descr': " + b"(" * 50_000 + b"\n"
    files = {
        "empty": b"",
        "garbage": bytes(range(256)) * 64,
        "bomb": zeros_member("windows.npy", 2048),
        "claims": _npz(head + struct.pack("<H", len(text)) + text),
        "objects": _npz(head + struct.pack("<H", len(objects)) + objects + b"cos\nabort\n(tR."),
        "deep": _npz(head + struct.pack("<H", len(deep)) + deep),
    }
    made = []
    for name, data in files.items():
        model = folder / f"{name}.onnx"
        shutil.copyfile(seeds / "model.onnx", model)
        _with_manifest(model, seeds)
        reference = folder / f"{name}.ref.npz"
        reference.write_bytes(data)
        _with_manifest(reference, seeds, kind="ref.npz")
        made.append(model)
    return made


def _npz(windows: bytes) -> bytes:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("windows", "logits", "periods"):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), windows)
    return out.getvalue()


def write_profiles(folder: Path, seeds: Path) -> list[Path]:
    """Write hostile personal profiles."""
    good = json.loads((seeds / "profile.json").read_text())
    texts = list(broken_texts())
    for field in ("schema", "name", "model", "ch_names", "scaling", "mains_hz", "channels", "baseline"):
        texts += [(f"{field}-{n}", spoilt(good, field, t).encode()) for n, t in {**NUMBERS, **OTHERS}.items()]
    for where in ("model.sha256", "model.file", "scaling.kind", "scaling.center", "scaling.scale"):
        texts += [(f"{where}-{n}", spoilt(good, where, t).encode()) for n, t in OTHERS.items()]
    for name, text in {
        "digits": f"[{'9' * 400},1,1,1]",
        "nan": "[NaN,1,1,1]",
        "tiny": "[5e-324,1,1,1]",
    }.items():
        texts.append((f"scale-{name}", spoilt(good, "scaling.scale", text).encode()))
    texts.append(("name-5mb", json.dumps({**good, "name": "n" * 5_000_000}).encode()))
    texts.append(("made-digits", spoilt(good, "made_unix", "9" * 400).encode()))
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, data in texts:
        made.append(folder / f"{name}.json")
        made[-1].write_bytes(data)
    return made

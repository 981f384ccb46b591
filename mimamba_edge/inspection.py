"""What `inspect` finds in a file, in plain JSON types."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mimamba_edge.errors import (
    ArtifactError,
    ConfigError,
    DependencyError,
    MimambaError,
    PluginError,
    pip_install,
)
from mimamba_edge.load import advice_for

__all__ = ["check_target", "describe"]


def describe(path: Path) -> dict[str, Any]:
    """Describe an exported model, an engine, a checkpoint, reference windows or a manifest.

    ``problems`` lists what is wrong with it, in words. An ``.onnx`` without a contract and without a manifest
    is another tool's: it needs neither, and it may hold ops of domains that ONNX Runtime does not know.

    Raises:
        MimambaError: The file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        what = "not a file" if path.exists() else "not there"
        raise ArtifactError(f"{path} is {what}", do="check the path" if path.exists() else advice_for(path))
    kinds = {
        ".onnx": _onnx,
        ".plan": _plan,
        ".pt": _checkpoint,
        ".safetensors": _checkpoint,
        ".ref.npz": _reference,
        ".json": _manifest,
    }
    for suffix, look in kinds.items():
        if path.name.endswith(suffix):
            head = {"file": str(path), "size_bytes": path.stat().st_size, "problems": []}
            return {**head, **look(path)}
    raise ConfigError(f"{path} is not a kind of file that can be inspected", expected=", ".join(kinds))


def _beside(path: Path, *, plan: bool = False) -> dict[str, Any]:
    """Return the manifest beside a file, and what is wrong with it."""
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.trt.plan import PlanManifest

    try:
        held = (PlanManifest if plan else Manifest).load(path)
    except MimambaError as error:
        return {"manifest": None, "contract": None, "signature": None, "problems": [str(error)]}
    plain = held.to_dict()
    promised = {name: plain.pop(name, None) for name in ("contract", "signature")}
    return {"manifest": plain, **promised, "problems": []}


def _onnx(path: Path) -> dict[str, Any]:
    from mimamba_edge.artifact import INLINED, manifest_path
    from mimamba_edge.contract import METADATA_KEY
    from mimamba_edge.runtime.expansion import read_model
    from mimamba_edge.runtime.ort import metadata_of, open_session
    from mimamba_edge.signature import SIGNATURE_KEY

    out: dict[str, Any] = {"kind": "onnx", **_beside(path)}
    model = read_model(path) if importlib.util.find_spec("onnx") is not None else None
    inside = {} if model is None else {p.key: p.value for p in model.metadata_props}
    foreign = (
        model is not None
        and not inside.keys() & {METADATA_KEY, SIGNATURE_KEY}
        and not manifest_path(path).exists()
    )
    if foreign:
        out["problems"] = []
        out["origin"] = (
            "another tool: stream, bench and parity need a contract and a manifest, and it has none"
        )
    if (out["manifest"] or {}).get("kind") == INLINED:
        out["kind"] = INLINED
        out["form"] = "standard ops only, no functions, no Scan that reads values from around it"
        if model is not None:
            out["problems"] += _inlined_faults(model)
    if path.name.endswith(".trt.onnx"):
        out.update(
            kind="trt.onnx", onnxruntime="this file is not for it: its custom ops have no function bodies"
        )
    elif importlib.util.find_spec("onnxruntime") is None:
        out["onnxruntime"] = f"not installed: {pip_install('cpu')}"
    else:
        start = time.perf_counter()
        try:
            session = open_session(path, name=str(path))
        except ArtifactError as error:
            if not foreign:
                raise
            out["onnxruntime"] = f"does not load it: {error.got or error.what}"
            if not _has_unknown_ops(model):
                out["problems"].append(out["onnxruntime"])
        else:
            out.update(onnxruntime="loads", load_ms=(time.perf_counter() - start) * 1e3)
            out["custom_ops"] = _custom_ops(out["manifest"] or {}, model)
            for name, tensors in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
                out[name] = {t.name: {"type": t.type, "shape": list(t.shape)} for t in tensors}
            inside = metadata_of(session, str(path))
        out["problems"] += _promises(out, inside, foreign)
    out["graph"] = None if model is None else _graph(model)
    checker = (out["graph"] or {}).get("checker", "passes")
    if checker != "passes":
        out["problems"].append(f"onnx.checker: {checker}")
    return out


def _promises(out: dict[str, Any], inside: dict[str, str], foreign: bool) -> list[str]:
    """Put the contract, or the signature, that a file carries into what was found; return what is wrong."""
    from mimamba_edge.contract import METADATA_KEY, Contract
    from mimamba_edge.signature import SIGNATURE_KEY, Signature

    kinds: dict[str, tuple[str, type[Contract] | type[Signature]]] = {
        "contract": (METADATA_KEY, Contract),
        "signature": (SIGNATURE_KEY, Signature),
    }
    wrong = []
    for name, (key, kind) in kinds.items():
        if key in inside:
            held = kind.from_json(inside[key]).to_dict()
            if out[name] not in (None, held):
                wrong.append(f"the {name} in the file differs from that of its manifest")
            out[name] = held
    if not foreign and not any(key in inside for key, _ in kinds.values()):
        wrong.append("the file carries neither contract nor signature")
    return wrong


def _inlined_faults(model: Any) -> list[str]:
    from mimamba_edge.export.onnx.inlined import inlined_faults

    return [f"it is no inlined form: {fault}" for fault in inlined_faults(model)]


def _custom_ops(manifest: dict[str, Any], model: Any) -> str:
    """Return in words what runs custom ops in ONNX Runtime on this machine."""
    from mimamba_edge.artifact import INLINED
    from mimamba_edge.contract import OPS
    from mimamba_edge.runtime.native_ops import BUILD, CUDA, PRECISIONS, find_native_ops

    if manifest.get("kind") == INLINED:
        return "none: their bodies are written out, for runtimes that know no functions"
    if model is not None and not any(node.op_type in OPS for node in model.graph.node):
        return "none"
    precision = manifest.get("precision", "fp32")
    if precision not in PRECISIONS:
        return f"function bodies, which hold what makes this file {precision}"
    try:
        found = find_native_ops()
    except PluginError as error:
        return f"function bodies; {error.what}"
    if found is None:
        return f"function bodies; faster: {BUILD}"
    held = f"native on the CPU, {found.target} ({found.path})"
    try:
        cuda = find_native_ops(CUDA)
    except PluginError as error:
        return f"{held}; on CUDA function bodies: {error.what}"
    if cuda is None:
        return f"{held}; on CUDA function bodies"
    return f"{held}; on CUDA, for {', '.join(f'sm_{sm}' for sm in cuda.architectures)} ({cuda.path})"


def _has_unknown_ops(model: Any) -> bool:
    """Return whether nodes are of a domain that ONNX Runtime does not know, without a body: a plugin's."""
    bodies = {(f.domain, f.name) for f in model.functions}
    known = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
    return any(n.domain not in known and (n.domain, n.op_type) not in bodies for n in model.graph.node)


def _plan(path: Path) -> dict[str, Any]:
    """Describe an engine by its manifest; where TensorRT and its device are here, by its tensors as well."""
    from mimamba_edge.errors import DependencyError, EngineError, PluginError, StaleEngineError
    from mimamba_edge.trt.api import load_tensorrt
    from mimamba_edge.trt.cuda import load_cuda
    from mimamba_edge.trt.runner import describe_engine

    out: dict[str, Any] = {"kind": "plan", **_beside(path, plan=True)}
    if out["manifest"] is None:
        return out
    try:
        load_tensorrt(), load_cuda()
    except (DependencyError, EngineError) as error:
        out["tensorrt"] = f"not loaded: {error.what}"
        return out
    start = time.perf_counter()
    try:
        tensors = describe_engine(path)
    except (StaleEngineError, PluginError) as error:
        out["tensorrt"] = f"not loaded: {error.what}"
    except MimambaError as error:
        out["problems"].append(str(error))
    else:
        out.update(tensorrt="loads", load_ms=(time.perf_counter() - start) * 1e3)
        for name, mode in (("inputs", "INPUT"), ("outputs", "OUTPUT")):
            out[name] = {
                tensor: {"type": held["type"], "shape": held["shape"]}
                for tensor, held in tensors.items()
                if held["mode"] == mode
            }
    return out


def _graph(model: Any) -> dict[str, Any]:
    """Return what the onnx package sees."""
    import onnx

    names = [_op_name(node.domain, node.op_type) for node in model.graph.node]
    custom = [
        {
            "op": _op_name(node.domain, node.op_type),
            "name": node.name,
            "attributes": {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute},
            "inputs": list(node.input),
            "outputs": list(node.output),
        }
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx")
    ]
    functions = [
        {"op": _op_name(f.domain, f.name), "overload": f.overload, "nodes": len(f.node)}
        for f in model.functions
    ]
    return {
        "ir_version": model.ir_version,
        "opsets": {o.domain or "ai.onnx": o.version for o in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "nodes": dict(sorted(Counter(names).items())),
        "custom_nodes": custom,
        "functions": functions,
        "loops_outside_functions": sum(name in ("Loop", "Scan", "If") for name in names),
        "parameters": sum(_count(t.dims) for t in model.graph.initializer),
        "checker": _check(model),
    }


def check_target(path: Path, target: str) -> tuple[list[dict[str, Any]], str]:
    """Say what keeps a TensorRT from taking an ``.onnx`` file: our rules, and its own parser if it is here.

    Returns:
        Findings in plain JSON types, none if it fits, and whether the parser was asked, in words.

    Raises:
        MimambaError: The file is missing, damaged or no ``.onnx``, the target unknown, onnx not installed.
    """
    if not path.name.endswith(".onnx"):
        raise ConfigError("only .onnx files can be checked for a target", got=path, expected="FILE.onnx")
    if not path.is_file():
        raise ArtifactError(
            f"{path} is {'not a file' if path.exists() else 'not there'}", do="check the path"
        )
    if importlib.util.find_spec("onnx") is None:
        raise DependencyError(
            "checking a file for a target needs the onnx package",
            do=f"on a workstation: {pip_install('cpu', 'export')}",
        )
    from mimamba_edge.export.onnx.targets import check_target, target_named
    from mimamba_edge.runtime.expansion import read_model

    named, model = target_named(target), read_model(path)
    if not model.graph.node:
        raise ArtifactError(f"{path} contains no graph", got=f"{path.stat().st_size} bytes")
    refused, asked = _ask_parser(path, model, target)
    return [vars(finding) for finding in check_target(model, named)] + refused, asked


def _ask_parser(path: Path, model: Any, target: str) -> tuple[list[dict[str, Any]], str]:
    """Return what the installed TensorRT's parser refuses if it is the target's, and whether it was asked."""
    from mimamba_edge.contract import OPS
    from mimamba_edge.trt.api import load_tensorrt
    from mimamba_edge.trt.library import find_plugin
    from mimamba_edge.trt.plugin import load_plugin

    try:
        api = load_tensorrt()
        if not f"tensorrt-{api.version_text}".startswith(f"{target}."):
            return [], f"not asked: TensorRT {api.version_text} is installed"
        if any(node.op_type in OPS for node in model.graph.node):
            load_plugin(api.trt, find_plugin(), logger=api.logger)
        refused = api.refusals(path.read_bytes())
    except MimambaError as error:
        return [], f"not asked: {error.what}"
    source = f"parser of TensorRT {api.version_text}"
    findings = [
        {"node": one.node or path.name, "op": one.op or "graph", "reason": one.reason} for one in refused
    ]
    return [{**finding, "source": source, "judged": False} for finding in findings], "asked"


def _op_name(domain: str, op: str) -> str:
    return op if domain in ("", "ai.onnx") else f"{domain}.{op}"


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _count(dims: Any) -> int:
    count = 1
    for size in dims:
        count *= int(size)
    return count


def _check(model: Any) -> str:
    import onnx

    from mimamba_edge.export.onnx import schema

    schema.register()
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        return str(error).strip().splitlines()[0]
    return "passes"


def _checkpoint(path: Path) -> dict[str, Any]:
    from mimamba_edge.optional_packages import need_export

    need_export(f"inspecting {path.name}")
    from mimamba_edge.artifact import sha256_file
    from mimamba_edge.export.checkpoint import load_checkpoint

    held = load_checkpoint(path)
    tensors = {name: list(value.shape) for name, value in held.state_dict.items()}
    return {
        "kind": "checkpoint",
        "sha256": sha256_file(path),
        "config": held.config.to_dict(),
        "contract": held.contract.to_dict(),
        "parameters": sum(_count(shape) for shape in tensors.values()),
        "tensors": tensors,
    }


def _reference(path: Path) -> dict[str, Any]:
    from mimamba_edge.runtime.base import Arrays
    from mimamba_edge.runtime.reference import Reference

    held = Reference.load(path)
    arrays: Arrays = {"windows": held.windows, **held.outputs}
    shapes = {name: f"{a.dtype} {a.shape}" for name, a in arrays.items()}
    return {"kind": "ref.npz", **_beside(path), "arrays": shapes}


def _manifest(path: Path) -> dict[str, Any]:
    from mimamba_edge.strict_json import Malformed, read_json

    artifact = path.with_name(path.name.removesuffix(".json"))
    try:
        held = read_json(path, dict[str, Any])
    except (OSError, Malformed) as error:
        raise ArtifactError(f"{path} is not a manifest", got=error, expected="JSON") from error
    if "manifest_format" not in held:
        raise ArtifactError(
            f"{path} is not a manifest",
            got=f"keys {', '.join(list(held)[:5])}",
            expected="manifest_format among its keys",
        )
    return {"kind": "manifest", "of": str(artifact), **_beside(artifact)}

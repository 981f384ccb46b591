"""Runs a TensorRT plan: the Runner of the device."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.artifact import sha256_bytes
from mimamba_edge.console import show_warning
from mimamba_edge.errors import ArtifactError, EngineError, RunnerError
from mimamba_edge.runtime.base import Arrays, Runner, check_ops, check_windows, signature_of
from mimamba_edge.runtime.options import RunnerOptions
from mimamba_edge.trt.api import Api, load_tensorrt
from mimamba_edge.trt.batch_context import BatchContext
from mimamba_edge.trt.build_environment import read_build_environment
from mimamba_edge.trt.cuda import Cuda, load_cuda, quietly
from mimamba_edge.trt.library import find_plugin
from mimamba_edge.trt.plan import PlanManifest, check_plan, rebuild_command
from mimamba_edge.trt.plugin import load_plugin

__all__ = ["TensorRtRunner", "describe_engine", "open_runner"]

_TYPES = {"float32": "FLOAT", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}
"""Element types by NumPy's name, and TensorRT's names of them."""
_MOST_CONTEXTS = 8
"""Batch sizes that are held ready at a time; each has a context and buffers on the device."""


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner of a plan, not yet activated."""
    return TensorRtRunner(path, graph=options.graph)


class TensorRtRunner(Runner):
    """Runs ``NAME.plan``, which ``mimamba-edge build`` made on this machine.

    Manifest, machine and plugin library are checked before TensorRT sees a byte of the plan. One stream; a
    CUDA graph for each batch size in use; buffers made when a batch size is first used (those of the
    engine's smallest and best size while loading) and none afterwards. For one thread at a time.

    Args:
        plan: The file, its manifest beside it.
        graph: Run by CUDA graphs. Where one cannot be captured a warning says so on stderr, and the engine
            runs without.

    Attributes:
        report: Filled by :meth:`activate`: ``load_ms``, ``warm_up_ms``, ``buffers`` (``"mapped"`` or
            ``"pinned"``), ``graph`` (``"yes"``, ``"off"`` or ``"no"``), ``graph_error``, ``batches`` in use.

    Raises:
        ArtifactError: Plan or manifest is missing or damaged, or they disagree.
        ContractError: The contract or the op versions do not fit this build.
    """

    def __init__(self, plan: Path | str, *, graph: bool = True) -> None:
        self._path = Path(plan)
        self.artifact = str(plan)
        self.manifest = PlanManifest.load(self._path)
        self.promise = self.manifest.promise
        self.precision = self.manifest.precision
        self.kind = "tensorrt" if graph else "tensorrt-no-graph"
        check_ops(self.promise)
        self._batch = self.manifest.batch
        self.least_batch = self._batch.least
        # An engine for one window takes more of them one after the other.
        self.most_batch = None if self._batch.most == 1 else self._batch.most
        self._graph = graph
        self._contexts: OrderedDict[int, BatchContext] = OrderedDict()
        self._closing = contextlib.ExitStack()
        self._new_context: Any = None
        self.report: dict[str, Any] = {}

    def activate(self) -> None:
        """Check and load plan and plugin library, and warm up.

        Raises:
            DependencyError: TensorRT or cuda-bindings is not installed.
            StaleEngineError: The plan is of another machine, plugin or TensorRT.
            PluginError: The plugin library is missing or cannot be loaded.
            EngineError: TensorRT did not accept the engine, its tensors are not the model's, or CUDA failed.
        """
        start = time.perf_counter()
        api, cuda = load_tensorrt(), load_cuda()
        engine = _open_engine(self._path, api, cuda)
        _check_tensors(engine, api, self.manifest)
        shared = cuda.device().integrated
        with contextlib.ExitStack() as stack:
            stream = cuda.stream()
            stack.callback(quietly, cuda.destroy_stream, stream)
            stack.callback(self._drop_contexts)

            def new_context(batch: int) -> BatchContext:
                return BatchContext(
                    api, cuda, engine, stream, self.signature, batch, shared=shared, graph=self._graph
                )

            self._new_context = new_context
            self.report = {
                "load_ms": (time.perf_counter() - start) * 1e3,
                "warm_up_ms": 0.0,
                "buffers": "mapped" if shared else "pinned",
                "plan_sha256": self.manifest.sha256,
                "plugin_sha256": (self.manifest.engine or {}).get("plugin_sha256"),
                "graph": "yes" if self._graph else "off",
                "graph_error": None,
                "batches": [],
            }
            for batch in sorted({self._batch.least, self._batch.best}):
                self.report["warm_up_ms"] += self._context_of(batch).warm_up_ms
            self._closing = stack.pop_all()

    def _context_of(self, batch: int) -> BatchContext:
        """Return what runs that many windows; made at the first call with this number."""
        context = self._contexts.get(batch)
        if context is None:
            while len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.popitem(last=False)[1].close()
            context = self._contexts[batch] = self._new_context(batch)
            self.report["batches"] = sorted(self._contexts)
            if context.graph_error is not None and self.report["graph_error"] is None:
                self.report.update(graph="no", graph_error=context.graph_error)
                show_warning(f"{self.artifact} runs without a CUDA graph, slower: {context.graph_error}")
        self._contexts.move_to_end(batch)
        return context

    def infer(self, feeds: Arrays) -> Arrays:
        """Run the engine.

        Raises:
            RunnerError: Not active, the windows do not fit, or the engine takes no batch of this size.
            EngineError: TensorRT or CUDA failed.
        """
        windows = check_windows(feeds, self.promise)
        if self._new_context is None:
            raise RunnerError(f"{self.artifact} was run before it was activated", do="use it in a with block")
        n = windows.shape[0]
        if self._batch.least <= n <= self._batch.most:
            return self._context_of(n).run(windows)
        if self._batch.most == 1:
            context = self._context_of(1)
            parts = [context.run(windows[i : i + 1]) for i in range(n)]
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        low, high = self._batch.least, self._batch.most
        raise RunnerError(
            f"{self.artifact} does not take a batch of {n}",
            got=f"{n} windows",
            expected=f"exactly {low}" if self._batch.static else f"{low} to {high}",
            do="use that many, or build an engine with --batch LEAST,BEST,MOST that covers it",
        )

    def deactivate(self) -> None:
        """Release everything on the device. The plugin library stays loaded; others may use it."""
        self._closing.close()

    def _drop_contexts(self) -> None:
        while self._contexts:
            self._contexts.popitem()[1].close()
        self._new_context = None  # it holds the engine


def _open_engine(path: Path, api: Api, cuda: Cuda) -> Any:
    """Check a plan against this machine, load its plugin library and deserialise it."""
    environment = read_build_environment(api, cuda)
    plugin = find_plugin(sm=environment.sm)
    manifest = check_plan(path, environment, plugin)
    load_plugin(api.trt, plugin, logger=api.logger)
    data = path.read_bytes()
    # The file may have changed since the check; what is deserialised is code.
    if sha256_bytes(data) != manifest.sha256:
        raise ArtifactError(f"{path} changed while it was loaded", do="load it again")
    return api.deserialize(data)


def describe_engine(path: Path) -> dict[str, Any]:
    """Return the tensors of a plan by name, as TensorRT sees them: ``mode, type, shape``.

    Raises:
        MimambaError: As :meth:`TensorRtRunner.activate`.
    """
    api, cuda = load_tensorrt(), load_cuda()
    return {
        name: {"mode": mode, "type": kind, "shape": list(shape)}
        for name, (mode, kind, shape) in _tensors(_open_engine(path, api, cuda)).items()
    }


def _tensors(engine: Any) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Return mode, type and shape of an engine's tensors by name."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return {
        name: (
            str(engine.get_tensor_mode(name).name),
            str(engine.get_tensor_dtype(name).name),
            tuple(engine.get_tensor_shape(name)),
        )
        for name in names
    }


def _check_tensors(engine: Any, api: Api, manifest: PlanManifest) -> None:
    """Check that the engine takes and gives what its manifest says.

    Raises:
        EngineError: It does not.
    """
    signature, batch = signature_of(manifest.promise), manifest.batch
    b = batch.best if batch.static else -1
    expected: dict[str, Any] = {
        tensor.name: (mode, _TYPES[tensor.dtype], (b, *tensor.shape))
        for mode, tensors in (("INPUT", (signature.input,)), ("OUTPUT", signature.outputs))
        for tensor in tensors
    }
    got: dict[str, Any] = dict(_tensors(engine))
    if got == expected:
        low, _, high = engine.get_tensor_profile_shape(signature.input.name, 0)
        got["batch"], expected["batch"] = (low[0], high[0]), (batch.least, batch.most)
    if got != expected:
        raise EngineError(
            "the engine's tensors do not match its manifest",
            got=got,
            expected=expected,
            do=f"build it again: {rebuild_command(Path(manifest.file))}",
        )

"""The fake network and its ONNX parser.

Sources, NVIDIA/TensorRT at tags release/10.3 and release/11.1: pyGraph.cpp and pyOnnx.cpp in python/src/,
NvInfer.h and NvOnnxParser.h in include/; onnx/onnx-tensorrt at release/10.3-GA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fakes.trt_plugins import get_plugin_registry
from tests.fakes.world import Bound, Dims, member, world

# ONNX element types (onnx.proto, TensorProto.DataType) that tests feed, by the names of trt.DataType.
ELEMENT_TYPES = {1: "FLOAT", 10: "HALF", 6: "INT32", 7: "INT64"}


class ITensor(Bound):
    """A tensor of a network."""

    name = ""

    def __init__(self, name: str, dtype: str, shape: list[int]) -> None:
        super().__init__()
        self.name, self._dtype, self._shape = name, dtype, shape

    dtype = property(lambda self: world().enum("DataType")[self._dtype])

    @property
    def shape(self) -> Dims:
        return Dims(self._shape)

    @shape.setter
    def shape(self, value: Any) -> None:
        """NvInfer.h, ITensor::setDimensions: of inputs; what depends on them is computed anew."""
        self._shape[:] = [int(n) for n in value]


class INetworkDefinition(Bound):
    """What the parser fills."""

    name = "Unnamed Network 0"

    def __init__(self, flags: int) -> None:
        super().__init__()
        self._flags = flags
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._plugins: list[str] = []
        self._layers = 0

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    num_layers = property(lambda self: self._layers)
    flags = property(lambda self: self._flags)

    def get_flag(self, flag: Any) -> bool:
        """In 11 a network is strongly typed whatever the flag (NvInfer.h: "retained ... but is ignored")."""
        if flag.name == "STRONGLY_TYPED" and world().flavour == "11":
            return True
        return bool(self._flags & (1 << int(flag)))

    def get_input(self, index: int) -> Any:
        return self._inputs[index] if index < len(self._inputs) else None

    def get_output(self, index: int) -> Any:
        return self._outputs[index] if index < len(self._outputs) else None


class ParserError(Bound):
    """Why the parser gave up."""

    def __init__(self, desc: str, code: str, node: int = -1, name: str = "", operator: str = "") -> None:
        super().__init__()
        self._desc, self._code, self._node, self._name, self._operator = desc, code, node, name, operator

    def desc(self) -> str:
        return self._desc

    def code(self) -> Any:
        return world().enum("ErrorCode")[self._code]

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def file(self) -> str:
        return "onnxOpCheckers.cpp"

    def line(self) -> int:
        return 6000

    def func(self) -> str:
        return "checkFallbackPluginImporter"


class OnnxParser(Bound):
    """Reads ONNX into a network. ``False``, never an exception; the reasons by ``get_error``."""

    def __init__(self, network: Any, logger: Any) -> None:
        super().__init__()
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []
        self._parser_flags: set[str] = {"NATIVE_INSTANCENORM"}  # NvOnnxParser.h: on by default since 10.0

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> Any:
        return self._errors[index] if index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors.clear()

    def set_flag(self, flag: Any) -> None:
        self._parser_flags.add(member(flag, "OnnxParserFlag"))

    def clear_flag(self, flag: Any) -> None:
        self._parser_flags.discard(member(flag, "OnnxParserFlag"))

    def get_flag(self, flag: Any) -> bool:
        return member(flag, "OnnxParserFlag") in self._parser_flags

    def parse_from_file(self, model: str) -> bool:
        if not isinstance(model, str):
            raise TypeError("parse_from_file(): incompatible function arguments")
        path = Path(model)
        if not path.is_file():
            return self._refuse("Failed to open file", "MODEL_DESERIALIZE_FAILED")
        return self.parse(path.read_bytes(), model)

    def parse(self, model: Any, path: Any = None) -> bool:
        """Take inputs, outputs and custom nodes; each custom node needs a creator, or a function body.

        10.3 takes a body before a plugin; a plugin's node needs a creator of its name, version and namespace
        (onnx/onnx-tensorrt, release/10.3-GA, ModelImporter.cpp and onnxOpCheckers.cpp).
        """
        if path is not None and not isinstance(path, str):
            raise TypeError("parse(): incompatible function arguments")
        import onnx

        try:
            held = onnx.load_model_from_string(bytes(memoryview(model)))
        except Exception:
            return self._refuse("Failed to parse ONNX model from stream", "MODEL_DESERIALIZE_FAILED")
        if not held.graph.output:
            return self._refuse("ONNX model has no graph", "MODEL_DESERIALIZE_FAILED")
        bodies = {(f.domain, f.name) for f in held.functions}
        network = self._network
        for index, node in enumerate(held.graph.node):
            network._layers += 1
            if node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in bodies:
                continue
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            version, space = (given.get(k, b"").decode() for k in ("plugin_version", "plugin_namespace"))
            if get_plugin_registry().get_creator(node.op_type, version or "1", space) is None:
                return self._refuse(
                    'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
                    "INVALID_NODE",
                    index,
                    node.name,
                    node.op_type,
                )
            if node.op_type not in network._plugins:
                network._plugins.append(node.op_type)
        for values, into in ((held.graph.input, network._inputs), (held.graph.output, network._outputs)):
            for value in values:
                kind = value.type.tensor_type
                dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
                into.append(ITensor(value.name, ELEMENT_TYPES.get(kind.elem_type, "FLOAT"), dims))
        return True

    def _refuse(self, desc: str, code: str, node: int = -1, name: str = "", operator: str = "") -> bool:
        self._errors.append(ParserError(desc, code, node, name, operator))
        world().say(
            self._logger, "ERROR", f"In node {node} with name: {name} and operator: {operator}: {desc}"
        )
        return False

"""Which nodes of a model a version of TensorRT cannot take, found without TensorRT.

What the parser's documents and sources say is a finding; what they leave open and this module answers for
itself, on the safe side, is a finding that says ``judged``. The IR version is no ground for one: the parsers
print it and compare it with nothing (``ModelImporter.cpp``, 8.6-GA and 10.1-GA).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from mimamba_edge.contract import OPS
from mimamba_edge.errors import ArtifactError, ConfigError
from mimamba_edge.export.onnx.node_rules import Finding, Value, builtin_findings
from mimamba_edge.export.onnx.operators import TARGETS, Target, types_of
from mimamba_edge.export.onnx.schema import DOMAIN, register

__all__ = ["TARGETS", "Finding", "check_target", "target_named"]

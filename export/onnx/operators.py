"""What the ONNX parsers of TensorRT 8.6 to 11 take, from their own tables.

Sources, all of github.com/onnx/onnx-tensorrt:

- 8.6: ``docs/operators.md`` of branch 8.6-GA (ee0b139).
- 10.3: ``docs/operators.md`` of branch 10.1-GA (3cee2f8), with ``docs/Changelog.md`` up to 10.3.
- 10.13: ``docs/operators.md`` of 10.14 (c727277), without what ``docs/Changelog.md`` dates to 10.14.
- 10.16 and 11: ``docs/operators.md`` of 10.16 (6bde659) and of 11.1 (7c51a63).
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

__all__ = ["TARGETS", "Target", "types_of"]

_T = TensorProto
_TYPES_8 = frozenset({_T.FLOAT, _T.FLOAT16, _T.DOUBLE, _T.INT8, _T.UINT8, _T.INT32, _T.INT64, _T.BOOL})
_TYPES_10 = _TYPES_8 | {_T.BFLOAT16, _T.FLOAT8E4M3FN, _T.INT4}
_FP4 = 23
"""``TensorProto.FLOAT4E2M1``, which onnx before 1.18 does not name."""


@dataclass(frozen=True)
class Target:
    """One TensorRT whose parser is judged.

    Attributes:
        name: As given to ``--target``.
        version: Of TensorRT.
        opsets: First and last version of the default domain.
        types: Element types of tensors.
        operators: Where its operators are listed.
    """

    name: str
    version: tuple[int, int]
    opsets: tuple[int, int]
    types: frozenset[int]
    operators: str


_DOC = "onnx-tensorrt docs/operators.md"
TARGETS = {
    target.name: target
    for target in (
        Target("tensorrt-8.6", (8, 6), (7, 17), _TYPES_8, f"{_DOC} of 8.6-GA"),
        Target("tensorrt-10.3", (10, 3), (9, 20), _TYPES_10, f"{_DOC} of 10.1-GA and docs/Changelog.md"),
        # ONNX 1.18 came with 10.11; whether its opset 23 did, no document at hand says.
        Target(
            "tensorrt-10.13", (10, 13), (9, 22), _TYPES_10 | {_FP4}, f"{_DOC} of 10.14 and docs/Changelog.md"
        ),
        Target("tensorrt-10.16", (10, 16), (9, 24), _TYPES_10 | {_FP4}, f"{_DOC} of 10.16"),
        Target("tensorrt-11", (11, 0), (9, 24), _TYPES_10 | {_FP4}, f"{_DOC} of 11.1"),
    )
}
"""By name."""

_FLOAT = """
    Acos Acosh Asin Asinh Atan Atanh BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh
    CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    GridSample GroupNormalization HardSigmoid HardSwish ImageScaler InstanceNormalization IsInf LRN LSTM
    LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MaxPool
    MeanVarianceNormalization NonMaxSuppression NonZero PRelu ParametricSoftplus QuantizeLinear RNN
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize RoiAlign Round
    ScaledTanh Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu
    Upsample"""
_NUMBERS = """
    Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean
    Min Mod Mul Neg Pad Range Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK"""
_ANY = """
    Cast Concat Constant Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot
    Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where"""
_REDUCE = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu"""

_F, _I, _B = "float", "integer", "bool"
# From which version on (until the next line of the same op), what types of data, which ops.
_LINES: tuple[tuple[tuple[int, int], tuple[str, ...], str], ...] = (
    ((8, 6), (_F,), _FLOAT + _REDUCE + " Pow ConstantOfShape"),
    ((8, 6), (_F, _I), _NUMBERS + " AveragePool"),
    ((8, 6), (_F, _I, _B), _ANY),
    ((8, 6), (_B,), "And Not Or Xor"),
    ((8, 6), (_I,), "DequantizeLinear"),
    ((10, 0), (_F,), "AveragePool DeformConv Hardmax Mish"),
    ((10, 0), (_F, _I), _REDUCE + " Gelu"),
    ((10, 0), (_F, _I, _B), "ConstantOfShape CastLike"),
    ((10, 4), (_I,), "BlackmanWindow HammingWindow HannWindow"),
    ((10, 5), (_F,), "STFT"),
    ((10, 12), (_F, _I), "Pow"),
    ((10, 14), (_F,), "Attention"),
    ((10, 15), (_F,), "RMSNormalization RotaryEmbedding"),
    ((10, 15), (_F, _I), "TensorScatter"),
    ((11, 0), (_F,), "Swish"),
)


def types_of(op: str, target: Target) -> tuple[str, ...] | None:
    """Return which data an op takes (``float``, ``integer``, ``bool``), ``None`` if it is not supported."""
    found = None
    for since, types, names in _LINES:
        if since <= target.version and op in names.split():
            found = types
    return found

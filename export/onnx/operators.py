"""What the ONNX parsers of TensorRT 10.3 to 11 take, from their own tables.

Sources, all of github.com/onnx/onnx-tensorrt:

- 10.3: ``docs/operators.md`` of branch 10.1-GA (3cee2f8), with ``docs/Changelog.md`` up to 10.3.
- 10.13: ``docs/operators.md`` of 10.14 (c727277), without what ``docs/Changelog.md`` dates to 10.14.
- 10.16 and 11: ``docs/operators.md`` of 10.16 (6bde659) and of 11.1 (7c51a63).
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

__all__ = ["TARGETS", "Target", "is_supported"]

_T = TensorProto
_TYPES = frozenset(
    {_T.FLOAT, _T.FLOAT16, _T.BFLOAT16, _T.DOUBLE, _T.FLOAT8E4M3FN, _T.INT4, _T.INT8, _T.UINT8}
)
_TYPES |= {_T.INT32, _T.INT64, _T.BOOL}
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
        Target("tensorrt-10.3", (10, 3), (9, 20), _TYPES, f"{_DOC} of 10.1-GA and docs/Changelog.md"),
        # ONNX 1.18 came with 10.11; whether its opset 23 did, no document at hand says.
        Target(
            "tensorrt-10.13", (10, 13), (9, 22), _TYPES | {_FP4}, f"{_DOC} of 10.14 and docs/Changelog.md"
        ),
        Target("tensorrt-10.16", (10, 16), (9, 24), _TYPES | {_FP4}, f"{_DOC} of 10.16"),
        Target("tensorrt-11", (11, 0), (9, 24), _TYPES | {_FP4}, f"{_DOC} of 11.1"),
    )
}
"""By name."""

_OPS = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
    CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
    Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity If
    ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
    Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
    Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow
    QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round ScaledTanh Scan Scatter
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor"""
_LATER = (
    ((10, 4), "BlackmanWindow HammingWindow HannWindow"),
    ((10, 5), "STFT"),
    ((10, 14), "Attention"),
    ((10, 15), "RMSNormalization RotaryEmbedding TensorScatter"),
    ((11, 0), "Swish"),
)
"""From which version on, which ops besides."""


def is_supported(op: str, target: Target) -> bool:
    """Return whether a parser knows an op."""
    known = _OPS.split() + [one for since, ops in _LATER if since <= target.version for one in ops.split()]
    return op in known

"""What ONNX Runtime says of a file that it cannot load, in words that help."""

from __future__ import annotations

from mimamba_edge.errors import ArtifactError

__all__ = ["load_error"]


def load_error(name: str, error: Exception, version: str) -> ArtifactError:
    """Return the error to raise.

    Args:
        name: What to call the model.
        error: What ONNX Runtime raised.
        version: Of ONNX Runtime.
    """
    text = str(error).replace("[ONNXRuntimeError] : ", "").splitlines()[0]
    if "com.microsoft:LinearAttention" in text:
        return ArtifactError(
            f"{name} is of the form linear-attention, which ONNX Runtime {version} cannot run",
            expected="ONNX Runtime 1.25.1 or later",
            do="install a newer onnxruntime, or export without --form",
        )
    if "is not a registered function/op" in text or "No opset import for domain" in text:
        return ArtifactError(
            f"{name} contains an op that ONNX Runtime {version} does not know",
            got=text,
            do="use the portable NAME.onnx of `mimamba-edge export`; NAME.trt.onnx is for TensorRT",
        )
    if type(error).__name__ == "InvalidProtobuf" or "No graph was found" in text:
        return ArtifactError(
            f"{name} is not an ONNX file, or it is cut off", got=text, do="copy it again, or export again"
        )
    return ArtifactError(
        f"ONNX Runtime {version} cannot load {name}",
        got=text,
        do="export again with this version of mimamba-edge",
    )

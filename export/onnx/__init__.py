"""From the reference model to verified ONNX artefacts."""

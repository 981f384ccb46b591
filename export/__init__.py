"""The workstation half: the reference model, training and ONNX export. Needs torch and onnx."""

"""Make a file of lower precision, and see why it was written or not.

    python examples/04_quantise.py [MODEL.onnx] [RECORDINGS]

Without arguments: the model that comes with the package and simulated EEG. A file is written only if it is
faster and as accurate on the recordings. Needs pip install ".[cpu,export]".
"""

import sys
from pathlib import Path

from mimamba_edge import GateError, builtin_model, quantize_model
from mimamba_edge.data.simulate import write_dataset

model = Path(sys.argv[1]) if len(sys.argv) > 1 else builtin_model()
recordings = Path(sys.argv[2] if len(sys.argv) > 2 else "eeg")
if len(sys.argv) < 3:
    write_dataset(recordings, runs=2, trials=8, seed=2)

try:
    result = quantize_model(model, "int8", target="cpu", data=recordings, output=Path("model.int8-cpu.onnx"))
except GateError as error:
    print(error)
else:
    for check in result.evaluation.checks:
        print(f"{check.name}: {check.value} (bound {check.bound})")
    print("wrote", *result.files)

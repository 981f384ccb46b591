"""Export a checkpoint to ONNX and look at how well the files agree with it.

    python examples/03_export_and_check.py [CHECKPOINT.pt]

Without arguments a small model is trained on simulated EEG first.
Needs pip install ".[cpu,export]".
"""

import sys
from pathlib import Path

from mimamba_edge import export_model, load_model, train_model
from mimamba_edge.data.simulate import write_dataset


def trained() -> Path:
    write_dataset(Path("eeg"), runs=3, trials=4, seed=1)
    train_model("eeg", "ckpt.pt", epochs=1)
    return Path("ckpt.pt")


# Training starts processes, which import this file: only the first one may come in here.
if __name__ == "__main__":
    checkpoint = Path(sys.argv[1]) if len(sys.argv) > 1 else trained()
    result = export_model(checkpoint, "model.onnx")
    for check in result.parity.checks:
        print(f"{check.name}: {check.value} (bound {check.bound})")
    # The same windows through both, by hand.
    windows = result.windows.data[:16]
    with load_model(checkpoint) as torch_model, load_model(result.files[0]) as onnx_model:
        difference = abs(torch_model.logits(windows) - onnx_model.logits(windows)).max()
    print(f"{[file.name for file in result.files]}: largest difference of a logit {difference:.2g}")

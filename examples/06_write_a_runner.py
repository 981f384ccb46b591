"""Write a runner: what runs a kind of file. This one runs a linear model whose weights are in a .npz file.

    python examples/06_write_a_runner.py

A runner is a class and open_runner(path, options) in a module, and that module's name in the table RUNNERS.
"""

from pathlib import Path

import numpy as np

from mimamba_edge import Decoder, Runner, builtin_model, load_model
from mimamba_edge.data.simulate import CH_NAMES
from mimamba_edge.load import RUNNERS
from mimamba_edge.runtime.base import Arrays


class LinearRunner(Runner):  # logits are a window's samples times weights
    kind, precision = "linear", "fp32"

    def __init__(self, path: Path) -> None:
        self.artifact, self.contract = str(path), load_model(builtin_model()).contract

    def activate(self) -> None:
        self._weights = np.load(self.artifact)["weights"]

    def infer(self, feeds: Arrays) -> Arrays:
        return {"logits": feeds["windows"].reshape(len(feeds["windows"]), -1) @ self._weights}


def open_runner(path: Path, options: object) -> Runner:
    return LinearRunner(path)


RUNNERS[".npz"] = __name__
np.savez("linear.npz", weights=np.eye(4 * 128, 2, dtype=np.float32))
with load_model("linear.npz") as model:
    print(Decoder(model, CH_NAMES, 256.0).push(np.random.default_rng(0).normal(0, 10, (2560, 4)))[-1])

"""The built-in model is whole, right, and made by this very export."""

from __future__ import annotations

import numpy as np
import pytest

from mimamba_edge.artifact import Manifest
from mimamba_edge.contract import LOGITS, OPS, WINDOWS
from mimamba_edge.load import builtin_model
from mimamba_edge.numerics.metrics import sqnr_db
from mimamba_edge.runtime.ort import OrtRunner
from mimamba_edge.runtime.reference import reference_path


def test_both_files_are_those_of_their_manifests() -> None:
    model = Manifest.load(builtin_model())
    reference = Manifest.load(reference_path(builtin_model()))
    assert model.contract == reference.contract
    assert model.contract.ops == OPS
    assert model.source_sha256 == reference.source_sha256
    assert model.contract.training["balanced_accuracy"]["interval"][0] > 0.5


@pytest.mark.ort
def test_it_answers_as_its_checkpoint_did() -> None:
    with np.load(reference_path(builtin_model())) as held, OrtRunner(builtin_model(), threads=1) as runner:
        assert sqnr_db(held[LOGITS], runner.logits(held[WINDOWS])) > 100


@pytest.mark.torch
def test_its_function_bodies_are_those_that_export_writes_now() -> None:
    onnx = pytest.importorskip("onnx")
    from mimamba_edge.export.onnx.functions import attach_functions, without_functions

    shipped = onnx.load(builtin_model())
    now = without_functions(shipped)
    attach_functions(now)

    def bodies(model: onnx.ModelProto) -> list[bytes]:
        return sorted(f.SerializeToString(deterministic=True) for f in model.functions)

    assert bodies(now) == bodies(shipped), "run `make reference-model`"

"""The examples of docs/explanation print what the pages say, and the product computes the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.contract import Contract
from mimamba_edge.numerics.mstb import choose_periods, period_gap, spectrum
from mimamba_edge.parity.gates import GATES
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.signal.signal_format import SignalFormat
from mimamba_edge.stream.smoothing import Smoother
from tests.docs.blocks import DOCS, run_python

PAGES = sorted((DOCS / "explanation").glob("*.md"))
WITH_EXAMPLES = [page for page in PAGES if page.name != "index.md"]


def names_of(page: str) -> dict[str, Any]:
    return run_python(DOCS / "explanation" / page)[0]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_examples_print_what_the_page_says(page: Path) -> None:
    _, ran = run_python(page)
    assert any(expected for _, expected in ran)
    for printed, expected in ran:
        assert printed == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) < 120


def test_periods_are_those_of_the_oracle() -> None:
    names = names_of("periods.md")
    windows = names["x"][None, :, None]
    periods, bins = choose_periods(spectrum(windows), 128, 3)
    for ours, shown in zip((bins[0], periods[0]), names["periods"](names["x"])[:2], strict=True):
        np.testing.assert_array_equal(ours, shown)


def test_near_tie_is_one_by_the_limits() -> None:
    names = names_of("near-ties.md")
    assert period_gap(spectrum(names["x"][None, :, None]), 3)[0] < GATES["fp32"].tie_gap == 1e-5
    assert GATES["fp16"].tie_gap == GATES["int8"].tie_gap == 1e-3


def test_delay_is_that_of_the_stream() -> None:
    names = names_of("delay.md")
    contract = default_contract()
    path = Preprocessor(contract, SignalFormat(contract.ch_names, 256.0))
    assert path.algorithmic_delay_ms() == pytest.approx(names["plain"], abs=0.1)
    assert 1e3 * Smoother(2, 0.125, 0.5).delay_s == pytest.approx(names["smoothing"])
    assert path.settling_s == pytest.approx(1.96, abs=0.005)


def test_floor_counts_what_bench_counts() -> None:
    pytest.importorskip("torch")
    from mimamba_edge.export.families.msimamba.cost import dense_macs

    names = names_of("floor.md")
    tone = np.random.default_rng(0).standard_normal((1, 4, 128)).astype(np.float32)
    contract = default_contract()
    macs = dense_macs(contract, tone)
    assert macs["rest"] == names["rest"]
    periods, _ = choose_periods(spectrum(tone.transpose(0, 2, 1)), 128, 3)
    assert macs["mstb"] == names["temporal_block"](periods[0].tolist())


def default_contract() -> Contract:
    """Return the contract of the built-in model, with the default hop of 125 ms."""
    from mimamba_edge import builtin_model, load_model

    with load_model(builtin_model()) as model:
        assert model.contract.hop / model.contract.sfreq == 0.125
        return model.contract

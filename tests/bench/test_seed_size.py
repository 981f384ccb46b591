"""The measurement at SEED's size, on three short files: its set is readable, and an ended run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import seed_size
from benchmarks.process_tree import Peak
from mimamba_edge.data.dataset import open_dataset


def test_an_ended_run_goes_on_after_its_last_whole_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, float]] = []

    def watch(command: Sequence[str], *, limit_s: float) -> Peak:
        ran.append((" ".join(command[2:5]), limit_s))
        if len(ran) == 2:
            raise KeyboardInterrupt
        return Peak(pss_bytes=2_000_000, processes=3, status=0)

    def measure() -> dict[str, dict[str, object]]:
        return seed_size.measure(tmp_path, 300.0, subjects=1, seconds=(1,) * 15)

    monkeypatch.setattr(seed_size, "watch", watch)
    with pytest.raises(KeyboardInterrupt):
        measure()
    steps = measure()
    assert [name.split()[0] for name, _ in ran][1:3] == ["benchmarks.seed_folds"] * 2
    assert len(steps) == 4
    assert len(ran) == 5, "a step that was measured is not measured again"
    assert {limit for name, limit in ran if " train " in name} == {120.0}
    assert [row[1] for row in seed_size.to_rows({"steps": steps})] == ["2"] * 4
    monkeypatch.setattr(seed_size, "source_state", lambda: {"commit": "another", "dirty": False})
    measure()
    assert len(ran) == 9, "figures of another commit are measured again"
    dataset = open_dataset(f"seed:{tmp_path / 'Preprocessed_EEG'}")
    assert len(dataset.trials) == 45
    assert dataset.read(dataset.files[14]).samples.shape == (200 + 37 * 15, 62)

"""The compatibility table: rows that stay, a record of all of them, and the tables made of it."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compat, record
from benchmarks.compat import table
from benchmarks.compat.catalogue import ENTRIES
from benchmarks.compat.entry import checkout, commit_of, imported
from benchmarks.compat.families import ENTRIES as FAMILIES
from benchmarks.render import render
from mimamba_edge.errors import ConfigError, DependencyError

COMMIT = {"commit": "c" * 40, "dirty": False}
ROW = {
    **{"parameters": 12_000, "weight_bytes": 48_000, "file_bytes": 50_400, "scans": 4, "nodes": 99},
    **{
        "export_s": 6.5,
        "sqnr_db": 120.0,
        "against": "own code",
        "any_batch": True,
        "ort_ms": 2.5,
        "eager_ms": 20.0,
    },
    "others": {
        "torch": {"failed": "no end within 60 s"},
        "transformers": {
            "export_s": 40.0,
            "file_bytes": 90_000,
            "nodes": 2472,
            "sqnr_db": 119.0,
            "ort_ms": 15.0,
        },
    },
    **{"missed": [], "sources": {"mambapy": "1.2.0", "Vim": "d" * 40}},
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What each row gives, and which were measured."""
    held: dict[str, Any] = {"rows": {}, "names": [], "source": COMMIT, "folder": tmp_path}
    for name in ("RESULTS", "BUILD"):
        monkeypatch.setattr(record, name, tmp_path / name.lower())
    monkeypatch.setattr(compat, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(compat, "KEPT", tmp_path / "build" / "compat")
    monkeypatch.setattr(compat, "source_state", lambda: held["source"])

    def measured(name: str) -> dict[str, Any]:
        held["names"].append(name)
        return {**held["rows"].get(name, ROW), "measured": {"time": "now", "load": 0.5, **held["source"]}}

    monkeypatch.setattr(compat, "measured", measured)
    return held


def run(only: str | None = None, *, resume: bool = False) -> int:
    env = {"device": "A Chip", "cores": 2, "time": "2026-01-02T03:04:05+00:00", **COMMIT}
    env["versions"] = {"torch": "2", "onnxruntime": "1"}
    return compat.run(
        Namespace(benchmark="compat", command="c", environment=env, only=only, resume=resume, output=None)
    )


def records(ran: dict[str, Any], folder: str = "results") -> list[dict[str, Any]]:
    paths = sorted((ran["folder"] / folder).glob("a-*/*.json"), key=lambda path: (len(path.name), path.name))
    return [json.loads(path.read_text()) for path in paths]


def test_a_run_of_one_row_keeps_the_others(ran: dict[str, Any]) -> None:
    assert run("vim,mambapy") == 0
    ran["rows"]["vim"] = {"failed": "no parity", "sources": {}}
    assert run("vim") == 1
    first, second = records(ran)
    assert (first["verified"], second["verified"]) == (True, False)
    rows = {row["name"]: row for row in second["rows"]}
    assert list(rows) == ["vim", "mambapy"]
    assert rows["vim"]["failed"] == "no parity"
    assert rows["mambapy"]["nodes"] == 99
    assert second["sources"] == {"Vim": "d" * 40, "mambapy": "1.2.0"}
    for file in (ran["folder"] / "build" / "compat").iterdir():
        file.unlink()
    ran["rows"].clear()
    assert run("vim") == 0  # nothing is kept in build any more: the last record's rows are
    assert [row["name"] for row in records(ran)[2]["rows"]] == ["vim", "mambapy"]
    assert records(ran)[2]["sources"] == second["sources"]


def test_it_goes_on_with_what_is_missing_at_this_commit(ran: dict[str, Any]) -> None:
    ran["rows"]["vim"] = {"missing": "no checkout"}
    run("vim,mambapy")
    ran["names"].clear()
    run("vim,mambapy", resume=False)
    assert ran["names"] == ["vim", "mambapy"]
    ran["names"].clear()
    assert run(resume=True) == 0
    assert ran["names"] == [name for name in ENTRIES if name != "mambapy"]
    assert len(json.dumps(records(ran)[-1], indent=2)) < record.LIMIT_BYTES


def test_rows_of_a_changed_checkout_are_no_record(ran: dict[str, Any]) -> None:
    ran["source"] = {**COMMIT, "dirty": True}
    run("mambapy")
    ran["source"] = COMMIT
    run("vim")
    assert not records(ran)
    assert len(records(ran, "build")) == 2


def test_pages_show_both_tables(ran: dict[str, Any]) -> None:
    ran["rows"]["vim"] = {"missing": "no checkout of Vim"}
    run("vim,mambapy")
    page = "<!-- table:compat -->\n<!-- /table -->\n<!-- table:compat-others -->\n<!-- /table -->"
    text = render(page, ran["folder"] / "results")
    assert (
        "| Mamba, 4 layers | mambapy | 12,000 | 4 | 99 | 6.5 | 0.05 | 1.05 | 120.0 | own code | 2.50 |"
        in text
    )
    assert "| hustvl/Vim: not run: no checkout of Vim |" in text
    assert "Vim dddddddddd, mambapy 1.2.0; load average 0.5 to 0.5" in text
    assert "| Mamba, 4 layers | torch.onnx.export: no end within 60 s |" in text
    assert "| transformers' own | 2,472 | 0.09 | 40.0 | 119.0 | 15.00 | 2.50 |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {len(table.HEADER) + 1, len(table.OTHERS) + 1}


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIMAMBA_CHECKOUTS", str(tmp_path))
    with pytest.raises(DependencyError, match="no checkout of Vim"):
        checkout("Vim")
    with pytest.raises(DependencyError, match="none_such is not installed"):
        imported("none_such")
    (tmp_path / "mamba" / "mamba_ssm").mkdir(parents=True)
    (tmp_path / "mamba" / "mamba_ssm" / "__init__.py").write_text('__version__ = "2.3.2"\n')
    assert commit_of("mamba") == "2.3.2"
    with pytest.raises(ConfigError, match="no such rows"):
        run("vimm")


def test_entries_are_light_and_whole() -> None:
    """Making one imports what it needs; the others show in the table without it."""
    for name, entry in ENTRIES.items():
        assert entry.title, name
        assert entry.packages or entry.checkouts, f"{name} names nothing whose version stands in the record"
    assert all(FAMILIES[name].scans > 0 for name in FAMILIES)

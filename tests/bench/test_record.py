"""The one writer of records, and the records that are kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.record import LIMIT_BYTES, RESULTS, free_path, renamed, without_series, write_record
from benchmarks.render import PAGES

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted(RESULTS.rglob("*.json"))


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RESULTS", "BUILD"):
        monkeypatch.setattr(record, name, tmp_path / name.lower())
    return tmp_path


def write(figures: dict[str, Any], *, dirty: bool | None = False, **more: Any) -> Path:
    env = {"device": "A (R) Chip", "cores": 2, "time": "2026-01-02T03:04:05+00:00", "dirty": dirty}
    given = Namespace(benchmark="speed", command="c", environment=env, output=more.pop("output", None))
    return write_record(given, figures, verified=True, **more)


def test_a_record_is_never_overwritten(folders: Path) -> None:
    paths = [write({"n": n}) for n in range(3)]
    names = ["2026-01-02-speed.json", "2026-01-02-speed-2.json", "2026-01-02-speed-3.json"]
    assert paths == [folders / "results" / "a-r-chip-2-cores" / name for name in names]
    assert [json.loads(path.read_text())["n"] for path in paths] == [0, 1, 2]
    held = json.loads(paths[0].read_text())
    assert (held["benchmark"], held["command"], held["verified"]) == ("speed", "c", True)
    assert not (folders / "build").exists()
    assert free_path(folders, "x") == folders / "x.json"


def test_raw_series_leave_the_record(folders: Path) -> None:
    figures = {"rows": [{"p50": 1.0, "ms": [0.5] * 1000}], "few": [1, 2], "many": [{"a": 1}] * 50}
    path = write(figures)
    held = json.loads(path.read_text())
    assert held["rows"] == [{"p50": 1.0}]
    assert held["few"] == [1, 2]
    assert len(held["many"]) == 50
    raw = folders / "build" / "a-r-chip-2-cores" / "2026-01-02-speed-raw.json"
    assert json.loads(raw.read_text()) == figures
    assert held["raw_sha256"] == record.sha256_file(raw)
    assert without_series([[1] * 99]) == [[1] * 99]


def test_local_changes_or_size_keep_a_record_from_the_pages(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = write({"n": 1}, dirty=True)
    assert changed.parent == folders / "build" / "a-r-chip-2-cores"
    assert "local changes" in capsys.readouterr().err
    large = write({"rows": [{"n": n} for n in range(LIMIT_BYTES // 10)]})
    assert large.parent == changed.parent
    assert "larger than" in capsys.readouterr().err
    assert not (folders / "results").exists()
    named = write({"n": 1}, dirty=True, output=folders / "mine.json", raw={"all": 1})
    assert named == folders / "mine.json"
    assert json.loads((folders / "mine-raw.json").read_text()) == {"all": 1}


def test_paths_of_this_machine_are_renamed() -> None:
    held = renamed({"a": ["/tmp/x/model.onnx", 1], "b": {"c": "/tmp/x"}}, {"/tmp/x/": "", "/tmp/x": "x"})
    assert held == {"a": ["model.onnx", 1], "b": {"c": "x"}}


def test_what_is_kept_is_small_clean_and_linked_from_a_page() -> None:
    linked = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)]*benchmarks/results/[^)]*\.json)\)", page.read_text("utf-8"))
    }
    assert linked == set(KEPT)
    assert sum(path.stat().st_size for path in RESULTS.rglob("*")) < 200_000
    for path in KEPT:
        held = json.loads(path.read_text("utf-8"))
        assert path.stat().st_size <= LIMIT_BYTES, path
        assert '"dirty": true' not in path.read_text("utf-8"), path
        assert held["benchmark"] in BENCHMARKS or held["benchmark"] == "gpu-test"
        assert path.name.startswith(f"{held['environment']['time'][:10]}-{held['benchmark']}")
        assert held["verified"] is True


def test_list_names_every_benchmark_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(BENCHMARKS)
    assert all(len(line.split()) > 4 for line in lines)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from benchmarks.__main__ import main; main(['list'])\n"
        "print([m for m in ('numpy', 'rich', 'torch', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name in ("personal", "ssvep-baseline"):
        pytest.importorskip("torch")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks {name}" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["suite"])
    assert ended.value.code == 2
    assert "latency" in capsys.readouterr().err


def test_no_benchmark_imports_the_command_line() -> None:
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        assert "mimamba_edge.cli" not in path.read_text("utf-8"), path


def test_a_python_without_packages_writes_a_record(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from argparse import Namespace; from pathlib import Path\n"
        "from benchmarks.record import write_record; from mimamba_edge.bench.environment import describe\n"
        "given = Namespace(benchmark='b', command='c', environment=describe())\n"
        f"given.output = Path({str(tmp_path)!r}, 'r')\n"
        "write_record(given, {'n': 1}, verified=True)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r").read_text())["n"] == 1

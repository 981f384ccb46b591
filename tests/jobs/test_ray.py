"""The same jobs on Ray: equal to the bit, on the loopback only, and nothing left behind."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.errors import DataError, DependencyError, WorkerError  # noqa: E402
from mimamba_edge.export.jobs.run import Engine, run_jobs  # noqa: E402
from tests.jobs.cohort import N_FITS, bits, kept, train  # noqa: E402

HERE = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HERE, reason="needs Ray: pip install '.[ray]'")
ROOT = Path(__file__).resolve().parents[2]
TWO = Engine("ray", 2)
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.syspath_prepend(str(ROOT))
    return tmp_path / "cache" / "jobs"


def listening() -> set[tuple[str, str]]:
    """Return address and port of all TCP sockets of this machine that wait for others."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {tuple(row[1].split(":")) for row in rows if row[3] == "0A"}  # type: ignore[misc]


def look(shared: None, job: int) -> set[tuple[str, str]]:
    """Return what is listened at while Ray runs."""
    if job < 0:
        raise DataError("this job cannot be done", got=job)
    return listening()


@needs_ray
def test_fits_on_ray_have_the_same_bits_and_leave_nothing(cache: Path) -> None:
    left = set(Path(tempfile.gettempdir()).glob("*ray*"))
    here = train()
    here.kept.clear()
    there = train(TWO)
    assert bits(there) == bits(here)
    assert all(value.flags.writeable for value in there.results[0].fit.fitted.state_dict.values())
    assert len(kept(cache)) == N_FITS
    assert {path.suffix for path in cache.iterdir()} == {".result"}
    assert set(Path(tempfile.gettempdir()).glob("*ray*")) == left


@needs_ray
def test_it_listens_on_the_loopback_only_and_errors_keep_their_type() -> None:
    # In a process of its own: how Ray binds is read when it is imported.
    code = (
        "from tests.jobs.test_ray import *\n"
        "before = listening()\n"
        "during = set.union(*run_jobs(look, None, [1, 2], engine=TWO)) - before\n"
        "print(len(during), [a for a, port in during if a not in LOOPBACK or port == '2049'])\n"
        "try: run_jobs(look, None, [1, -1], engine=TWO)\n"
        "except DataError as error: print(error.got)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, *rest = found.stdout.splitlines()[0].split(maxsplit=1)
    assert int(count) > 2
    assert rest == ["[]"], "neither another address nor the dashboard's port"
    assert found.stdout.splitlines()[1] == "-1"


@needs_ray
def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(WorkerError, match=r"(?s)127.0.0.1:1, which RAY_ADDRESS names.*ray start"):
        run_jobs(look, None, [1, 2], engine=TWO)


@pytest.mark.skipif(HERE, reason="Ray is installed: what is said without it cannot be seen")
def test_without_ray_the_error_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DependencyError, match=r'pip install ".\[ray\]"'):
        TWO.check()
    write_dataset(tmp_path / "eeg", runs=1, trials=2)
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(tmp_path / "eeg"), "--engine", "ray"])
    assert ".[ray]" in capsys.readouterr().err

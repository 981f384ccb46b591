"""``predict``: its rows are a stream's decisions, whatever the files hold and however many jobs there are."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.artifact import sha256_file
from mimamba_edge.cli import main
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.errors import ConfigError, DataError, GateError
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.prediction import predict as predict_module
from mimamba_edge.export.prediction.predict import Task, predict
from mimamba_edge.export.prediction.recordings import Recordings
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.profile import contract_sha256
from mimamba_edge.runtime.reference import Reference
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sources.recording import FileSource
from tests.attack.seeds import SIZES
from tests.data.sets import write_deap
from tests.modelfiles import answers, write_manifest_for, write_model
from tests.stream.engines import Kept
from tests.trt.machine import make_machine, write_plan

pytestmark = [pytest.mark.ort, pytest.mark.torch]  # onnx writes the small model
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'mimamba-edge[predict]'")

CONTRACT = Contract(
    ch_names=("TP9", "AF7", "AF8", "TP10"),
    sfreq=128.0,
    n_times=64,
    hop=16,
    class_names=("calm", "excited"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("robust", (0.0,) * 4, (200.0,) * 4),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predict") / "model.onnx"
    write_model(path, CONTRACT)
    return path


def write_recordings(folder: Path) -> None:
    """Write recordings that trouble a stream: jitter, losses, NaN, samples that came twice or late."""
    folder.mkdir()
    for seed, name in enumerate(("a.csv", "b.csv")):
        recording, _ = simulate_recording(["calm", "excited"], seed=seed)
        recording.samples[700:760, 1] = np.nan
        write_recording(folder / name, recording)
    header, *rows = (folder / "b.csv").read_text().splitlines()
    rows[600:600] = rows[580:600]  # twice
    rows[900:912], rows[912:924] = rows[912:924], rows[900:912]  # late
    del rows[1300:1372]  # lost
    (folder / "b.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "set"
    write_recordings(folder)
    return folder


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return int(end.value.code or 0)


def row_of(decision: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a table that a decision line should be."""
    row = {"window_start": decision["window"][0], "window_stop": decision["window"][1]}
    row |= {f"prob_{name}": (decision["probs"] or {}).get(name) for name in CONTRACT.class_names}
    for channel, figures in decision["quality"].items():
        row |= {f"quality_{channel}_{name}": value for name, value in figures.items()}
    same = ("t_s", "label", "valid", "reason", "algorithmic_delay_ms")
    return row | {name: decision[name] for name in same}


def streamed(model: Path, recording: Path, lines: Path, *options: str) -> list[dict[str, Any]]:
    """Return what ``stream`` says, as rows of a table."""
    sink = f"jsonl:{lines}"
    assert run("stream", model, "--source", recording, "--speed", "max", "--sink", sink, *options) == 0
    return [row_of(json.loads(line)) for line in lines.read_text().splitlines()]


def compare(table: Path, streams: dict[str, list[dict[str, Any]]]) -> None:
    """Check that a table holds these streams' decisions, value by value, and nothing else."""
    rows = parquet.read_table(table).to_pylist()
    assert [row["recording"] for row in rows] == [name for name, of in streams.items() for _ in of]
    for got, want in zip(rows, (row for of in streams.values() for row in of), strict=True):
        assert {key: value for key, value in got.items() if key != "recording"} == want


@pytest.mark.data
@pytest.mark.slow
def test_real_recordings_give_the_streams_decisions(tmp_path: Path) -> None:
    data = Path(os.environ["MIMAMBA_DATA"]) / "muse-ssvep"
    streams: dict[str, list[dict[str, Any]]] = {}
    with load_model(builtin_model(), threads=1) as runner:
        for path in sorted(data.glob("run-*.csv")):
            kept = Kept()
            StreamEngine(runner, [FileSource(path, speed="max", chunk=256)], sinks=[kept]).run()
            streams[path.name] = [row_of(json.loads(one.to_json())) for one in kept.decisions]
    assert len(streams) == 6
    assert run("predict", builtin_model(), data, "--output", tmp_path / "t.parquet", "--jobs", 1) == 0
    compare(tmp_path / "t.parquet", streams)


def test_recordings_with_faults_give_the_streams_decisions(
    model: Path, recordings: Path, tmp_path: Path
) -> None:
    streams = {name: streamed(model, recordings / name, tmp_path / f"{name}l") for name in ("a.csv", "b.csv")}
    assert {row["reason"] for row in streams["b.csv"]} == {None, "settling", "gap"}
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert run("predict", model, recordings, "--output", one, "--jobs", 1) == 0
    compare(one, streams)
    assert run("predict", model, recordings, "--output", two, "--jobs", 2) == 0
    assert two.read_bytes() == one.read_bytes()


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'mimamba-edge[ray]'"
)
def test_ray_writes_the_same_table(
    model: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    tables = {name: tmp_path / f"{name}.csv" for name in ("ray", "local")}
    for engine, out in tables.items():
        assert run("predict", model, recordings, "--output", out, "--engine", engine, "--jobs", 2) == 0
    assert tables["ray"].read_bytes() == tables["local"].read_bytes()


def test_options_are_those_of_the_stream(model: Path, recordings: Path, tmp_path: Path) -> None:
    options = (
        "--smooth",
        "1.5",
        "--hysteresis",
        "0.1",
        "--mains",
        "60",
        "--map",
        "TP9=AF7",
        "--map",
        "AF7=TP9",
    )
    streams = {"b.csv": streamed(model, recordings / "b.csv", tmp_path / "b.jsonl", *options)}
    one, batched = tmp_path / "one.parquet", tmp_path / "batched.parquet"
    assert run("predict", model, recordings / "b.csv", "--output", one, *options) == 0
    compare(one, streams)
    # Batches that windows without a decision stand between: each answer goes to its own window.
    assert run("predict", model, recordings / "b.csv", "--output", batched, "--batch", 7, *options) == 0
    columns = [parquet.read_table(path)["prob_calm"].to_numpy() for path in (one, batched)]
    np.testing.assert_allclose(columns[1], columns[0], atol=1e-5)


def test_a_plan_is_scored_as_it_streams(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_machine(monkeypatch, tmp_path, run=lambda windows: answers(CONTRACT, windows))
    plan = write_plan(tmp_path, world, "1,2,4", contract=CONTRACT)
    streams = {"b.csv": streamed(plan, recordings / "b.csv", tmp_path / "b.jsonl")}
    for batch in (1, 3):
        out = tmp_path / f"{batch}.parquet"
        assert run("predict", plan, recordings / "b.csv", "--output", out, "--batch", batch) == 0
        compare(out, streams)
    world.cuda.assert_clean()


@pytest.mark.parametrize("name", ["fp16", "int8-cpu"])
def test_a_lower_precision_is_scored_as_it_streams(name: str, recordings: Path, tmp_path: Path) -> None:
    import onnx

    from mimamba_edge.export.quantize.recipes import RECIPES

    windows = Reference.beside(builtin_model()).windows[:2]
    lower = tmp_path / "lower.onnx"
    onnx.save(RECIPES[name].make(onnx.load(builtin_model()), windows), lower)
    write_manifest_for(lower, load_model(builtin_model()).contract, "onnx")
    scored, exact = tmp_path / "lower.parquet", tmp_path / "exact.parquet"
    assert run("predict", lower, recordings / "a.csv", "--output", scored, "--jobs", 1) == 0
    lines = streamed(lower, recordings / "a.csv", tmp_path / "a.jsonl")
    first = next(key for key in lines[0] if key.startswith("prob_"))
    compare(scored, {"a.csv": lines})
    assert run("predict", builtin_model(), recordings / "a.csv", "--output", exact, "--jobs", 1) == 0
    probs = [parquet.read_table(path)[first].to_numpy() for path in (scored, exact)]
    assert 0 < np.nanmax(np.abs(probs[0] - probs[1])) < 0.1


def test_a_checkpoint_is_scored_as_it_streams(recordings: Path, tmp_path: Path) -> None:
    import torch

    from mimamba_edge.export.checkpoint import save_checkpoint
    from mimamba_edge.export.families.msimamba.network import MSiMamba

    torch.manual_seed(0)
    network = MSiMamba(CONTRACT.n_chans, CONTRACT.n_times, CONTRACT.n_outputs, CONTRACT.sfreq, **SIZES)
    save_checkpoint(tmp_path / "ckpt.pt", network, CONTRACT)
    streams = {"a.csv": streamed(tmp_path / "ckpt.pt", recordings / "a.csv", tmp_path / "a.jsonl")}
    assert run("predict", tmp_path / "ckpt.pt", recordings / "a.csv", "--output", tmp_path / "t.parquet") == 0
    compare(tmp_path / "t.parquet", streams)


def test_both_formats_hold_the_same(model: Path, recordings: Path, tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet"):
        predict(Task(str(model), str(recordings)), tmp_path / name, ["b.csv"], Engine(jobs=1))
    table = parquet.read_table(tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == table.column_names

    def text(value: object) -> str:
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    assert [{k: text(v) for k, v in row.items()} for row in table.to_pylist()] == rows
    told = json.loads(table.schema.metadata[b"mimamba.predictions"])
    assert told["schema"] == "mimamba.predictions.1"
    assert told["model_sha256"] == sha256_file(model)
    assert told["contract_sha256"] == contract_sha256(CONTRACT)
    assert table.schema.field("t_s").metadata == {b"unit": b"s"}
    assert table.schema.field("quality_TP9_rms_uv").metadata == {b"unit": b"uV"}
    assert (tmp_path / "t.csv").stat().st_mode & 0o777 == 0o600


def test_a_recording_that_cannot_be_scored_is_named_and_the_others_are_scored(
    model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "set", tmp_path / "t.csv"
    folder.mkdir()
    (folder / "a.csv").symlink_to(recordings / "a.csv")
    (folder / "copy").mkdir()
    (folder / "copy" / "a.csv").symlink_to(recordings / "a.csv")
    (folder / "broken.edf").write_bytes(b"0       ")
    lines = (recordings / "a.csv").read_text().splitlines()
    (folder / "short.csv").write_text("\n".join(lines[:40]) + "\n")
    (folder / "others.csv").write_text("\n".join(lines).replace("AF7", "Fz") + "\n")
    assert run("predict", model, folder, "--output", out, "--jobs", 1) == GateError.exit_code
    told = capsys.readouterr()
    assert "2 recordings, " in told.out
    assert "3 of 5 recordings could not be scored" in told.err
    for word in ("broken.edf: ", "short.csv: ", "shorter than one window", "others.csv: ", "lacks", "--map"):
        assert word in told.err
    held = [line.partition(",") for line in out.read_text().splitlines()[1:]]
    of = {name: [rest for found, _, rest in held if found == name] for name, _, _ in held}
    assert list(of) == ["a.csv", "copy/a.csv"]
    assert of["a.csv"] == of["copy/a.csv"]
    # What failed is looked at again; nothing is written where nothing could be scored.
    (folder / "a.csv").unlink()
    (folder / "copy" / "a.csv").unlink()
    assert run("predict", model, folder, "--output", tmp_path / "none.csv", "--jobs", 1) == 2
    assert "none of the 3 recordings" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_an_ended_run_goes_on_where_it_was(
    model: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    scored: list[str] = []
    original = predict_module.score_recording

    def counted(runner: Any, recording: Any, *rest: Any) -> Any:
        scored.append(recording.path.name)
        return original(runner, recording, *rest)

    def ended() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_module, "score_recording", counted)
    task, names, one = Task(str(model), str(recordings)), ["a.csv", "b.csv"], Engine(jobs=1)
    with pytest.raises(KeyboardInterrupt):
        predict(task, tmp_path / "t.csv", names, one, done=ended)
    assert scored == ["a.csv"]
    predict(task, tmp_path / "t.csv", names, one)
    assert scored == ["a.csv", "b.csv"]
    whole = (tmp_path / "t.csv").read_bytes()
    predict(task, tmp_path / "t.csv", names, one)
    assert scored == ["a.csv", "b.csv"] * 2
    assert (tmp_path / "t.csv").read_bytes() == whole


def test_which_recordings_a_name_stands_for(model: Path, recordings: Path, tmp_path: Path) -> None:
    root = tmp_path / "all"
    for name in ("s1/a.csv", "s1/labels.csv", "s2/deep/b.edf", ".hidden/c.csv", "s2/notes.txt", "s2/.d.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    session = root / "s3" / "0123456789ab"
    session.mkdir(parents=True)
    for name in ("session.json", "signal.csv", "labels.csv"):
        (session / name).write_text("x")
    predict(Task(str(model), str(recordings)), root / "earlier.csv", ["a.csv"], Engine(jobs=1))
    (root / "round").symlink_to(root)
    assert Recordings(str(root)).names() == ("s1/a.csv", "s2/deep/b.edf", "s3/0123456789ab")
    assert Recordings(str(session)).names() == ("0123456789ab",)
    assert Recordings(str(root / "s1" / "a.csv")).names() == ("a.csv",)
    with pytest.raises(DataError, match="no recordings"):
        Recordings(str(tmp_path / "nothing")).names()
    deap = Recordings(f"deap:{write_deap(tmp_path / 'deap')}?cache=none")
    assert deap.names()[0] == "s01/01"
    assert deap.read("s01/01").sfreq == 128.0
    assert deap.sha256("s01/01") != deap.sha256("s01/02")


def test_outputs_that_are_refused(model: Path, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("written,by,hand\n")
    for out in (tmp_path / "mine.csv", recordings / "a.csv", tmp_path / "t.xlsx"):
        assert run("predict", model, recordings, "--output", out) == ConfigError.exit_code
    assert (tmp_path / "mine.csv").read_text() == "written,by,hand\n"


def test_neither_torch_nor_onnx_is_needed(model: Path, recordings: Path, tmp_path: Path) -> None:
    code = (
        "import sys, mimamba_edge.cli\n"
        "try: mimamba_edge.cli.main(sys.argv[1:])\n"
        "finally: print([name for name in ('torch', 'onnx', 'pyarrow', 'joblib') if name in sys.modules])"
    )
    args = ["predict", model, recordings / "a.csv", "--output", tmp_path / "t.csv", "--jobs", 1]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "[]")

"""Records of benchmarks that can be sent: what is in them, and each way to be refused."""

import copy
import json
import math
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.submitted import FOLDER, refused, run, table
from mimamba_edge.bench.energy import measure_energy
from mimamba_edge.bench.measure import Budget
from mimamba_edge.bench.page import render_page
from mimamba_edge.bench.run import Entry, Expected, run_bench
from mimamba_edge.bench.submission import make_submission, problems
from mimamba_edge.contract import LOGITS
from mimamba_edge.errors import GateError
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.function import FunctionRunner
from tests.machine import boards
from tests.modelfiles import answers, noise, tiny_contract

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "formats" / "record.schema.json"
CONTRACT = tiny_contract()
DATA = noise(CONTRACT, 70)
QUICK = Budget(runs=120, least_s=0.0, most_s=1, block_s=0.005, warm_s=0.0, paced_runs=120, energy_s=0.01)
RIGHT = {LOGITS: answers(CONTRACT, DATA)}


class Fake(FunctionRunner):
    """A plan: what TensorRT's runner says of it."""

    def activate(self) -> None:
        super().activate()
        self.report = {"plan_sha256": "a" * 64, "plugin_sha256": "b" * 64, "graph": "yes"}


def measured(root: Path, board: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what `bench` measures on a recorded board; its processor is this machine's."""
    monkeypatch.setattr("mimamba_edge.bench.run.paced", lambda runner, feeds, period, runs: [2.0] * runs)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("mimamba_edge.bench.environment.available_cores", lambda: 6)
    # The checkout that runs this may have local changes.
    monkeypatch.setattr(
        "mimamba_edge.bench.environment.source_state", lambda: {"commit": None, "dirty": None}
    )
    model = root / "home" / "ada" / "m.plan"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"plan")
    entries = [
        Entry(
            Fake(lambda x: answers(CONTRACT, x), CONTRACT, artifact=str(model), kind="tensorrt"),
            lambda: Expected(DATA, RIGHT, "m.ref.npz", "fp32"),
            "tensorrt",
            str(model),
        ),
        Entry(None, None, "openvino", str(model), why_not="not installed"),
    ]
    windows = WindowSet(DATA, str(model.with_suffix(".ref.npz")), "reference", None)
    return run_bench(entries, windows, budget=QUICK, root=board(root))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        whole = measured(tmp_path_factory.mktemp("nano"), boards.orin_nano, patch)
    sent = make_submission(whole)
    return json.loads(json.dumps(sent, allow_nan=False))


def test_a_record_holds_what_others_need_and_nothing_of_its_maker(record: dict[str, Any]) -> None:
    assert problems(record) == []
    jsonschema.validate(record, json.loads(SCHEMA.read_text("utf-8")), jsonschema.Draft202012Validator)
    board, (row,) = record["environment"]["board"], record["rows"]
    assert (board["jetpack"], board["power_mode"], board["clocks_locked"]) == ("6.2", "15W", False)
    assert board["gpu_clock_mhz"]["high_mhz"] == 612
    assert board["temperature_c"]["gpu"] == pytest.approx(48.656)
    assert (row["artifact"], row["plan_sha256"], row["plugin_sha256"]) == ("m.plan", "a" * 64, "b" * 64)
    assert len(row["sha256"]) == 64
    assert row["paced_p50_ms"] == row["paced_p99_ms"] == 2
    assert row["verification"]["sqnr_db"] > 100
    # 5.008 V x 0.960 A on all readings: power times the time of a run.
    rail, energy = row["energy"]["rails"]["VDD_IN"], row["energy"]
    assert rail["mean_mw"] == rail["idle_mw"] == 4807
    assert rail["mj_per_run"] == pytest.approx(4807 * energy["seconds"] / energy["runs"])
    text = json.dumps(record)
    assert "ada" not in text
    assert "latencies_ms" not in text
    assert len(text) < 20_000


def test_what_would_be_refused_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(tmp_path, boards.orin_nano, monkeypatch)
    whole["rows"][0]["verified"] = False
    with pytest.raises(GateError, match=r"rows\[0\]\.verified"):
        make_submission(whole)


def test_the_folder_of_recordings_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(tmp_path, boards.orin_nano, monkeypatch)
    whole["windows"] |= {"kind": "recordings", "source": "study/P07"}
    assert "P07" not in json.dumps(make_submission(whole))


def test_other_boards_give_records_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(tmp_path, boards.agx_orin, monkeypatch)
    assert "VIN_SYS_5V0" in render_page(whole)
    sent = make_submission(whole)
    assert problems(sent) == []


def test_no_energy_is_made_up_where_no_rail_can_be_read(tmp_path: Path) -> None:
    assert measure_energy(lambda _: pytest.fail("ran"), 0.001, boards.laptop(tmp_path)) is None


def _set(path: str, value: Any = None) -> Callable[[dict[str, Any]], None]:
    """Return what sets a field by its path; ``None`` takes it out."""

    def change(record: dict[str, Any]) -> None:
        *outer, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w[\w-]*", path)]
        held: Any = record
        for part in outer:
            held = held[part]
        if value is None:
            del held[last]
        else:
            held[last] = value

    return change


FIELDS = [
    "format",
    "environment.device",
    "environment.time",
    "environment.versions",
    "environment.board.jetpack",
    "environment.board.power_mode",
    "environment.board.clocks_locked",
    "environment.board.gpu_clock_mhz.current_mhz",
    "environment.board.temperature_c",
    "environment.board_after",
    *(f"rows[0].{name}" for name in ("sha256", "plan_sha256", "plugin_sha256", "machine", "energy")),
    *(f"rows[0].{name}" for name in ("p50_ms", "p90_ms", "p99_ms", "max_ms", "n_runs", "paced_p99_ms")),
    *(f"rows[0].{name}" for name in ("verified", "verification", "verification.sqnr_db", "precision")),
]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(record: dict[str, Any], field: str) -> None:
    changed = copy.deepcopy(record)
    _set(field)(changed)
    (problem,) = problems(changed)
    assert problem.startswith(f"{field}: missing")


WRONG = {
    "rows[0].verified": False,
    "rows[0].verification.sqnr_db": 99.0,
    "rows[0].verification.gate.sqnr_db": 10.0,
    "rows[0].verification.gate.precision": "int8",
    "environment.board.gpu_clock_mhz.current_mhz": 900.0,
    "environment.board_after.gpu_clock_mhz.current_mhz": 100.0,
    "environment.board.gpu_clock_mhz.low_mhz": 700.0,
    "environment.board.gpu_clock_mhz.high_mhz": 2000.0,
    "environment.board.cpu_clock_mhz[0].current_mhz": 9000.0,
    "environment.board.clocks_locked": True,
    "environment.board.temperature_c.gpu": 48656.0,
    "environment.board_after.module": "NVIDIA Jetson AGX Orin Developer Kit",
    "environment.board_after.power_mode": "MAXN_SUPER",
    "environment.architecture": "x86_64",
    "environment.device": "AMD EPYC",
    "environment.dirty": True,
    "rows[0].machine": "0" * 16,
    "rows[0].p90_ms": 0.0,
    "rows[0].min_ms": -1.0,
    "rows[0].n_runs": 3,
    "rows[0].paced_runs": 10,
    "rows[0].plan_sha256": "x",
    "rows[0].energy.rails.VDD_IN.mj_per_run": 0.001,
    "rows[0].verification.n_windows": 0,
    "rows[0].artifact": "/home/ada/m.plan",
    "environment.system": "host 48:b0:2d:ac:00:01",
    "format": 2,
    "made_by": "me",
}


@pytest.mark.parametrize("field", WRONG)
def test_what_is_not_verified_mixed_or_impossible_is_named(record: dict[str, Any], field: str) -> None:
    changed = copy.deepcopy(record)
    _set(field, WRONG[field])(changed)
    assert any(problem.startswith(f"{field}: ") for problem in problems(changed)), problems(changed)


def _clocks(current: float, low: float, high: float) -> dict[str, float]:
    return {"current_mhz": current, "low_mhz": low, "high_mhz": high}


# The field that is spoilt, how, and the one that the refusal names.
SPOILT: list[tuple[str, Any, str]] = [
    # An AGX Orin's clocks on an Orin Nano, whose highest are 1020 and 1728 MHz.
    ("environment.board.gpu_clock_mhz", _clocks(1300, 306, 1300.5), ".high_mhz"),
    ("environment.board.cpu_clock_mhz", [_clocks(2201.6, 729.6, 2201.6)], "[0].high_mhz"),
    ("environment.board.sm", 110, ""),
    ("environment.board_after.sm", 12, ""),
    ("environment.board_after.l4t", "38.4.0", ""),
    ("environment.board_after.power_mode", " ", ""),
    ("environment.cores", 64, ""),
    ("environment.memory_bytes", 64 << 30, ""),
    ("environment.time", "2026-13-45T00:00:00+00:00", ""),
    ("environment.time", "2099-01-01T00:00:00+00:00", ""),
    ("environment.time", "2019-01-01T00:00:00+00:00", ""),
    ("environment.time", "2026-11-01T00:00:00", ""),
    ("environment.python", " ", ""),
    ("input", [3, 0], ""),
    ("rows[0].runner", "Tensorrt", ""),
    ("rows[0].batch", 0, ""),
    ("rows[0].threads", -1, ""),
    ("rows[0].min_ms", 1e-4, ""),
    ("rows[0].max_ms", 1e300, ""),
    ("rows[0].n_runs", 10**9, ""),
    ("rows[0].paced_period_ms", -125.0, ""),
    ("rows[0].energy.runs", 0, ""),
    ("rows[0].energy.runs", 10**9, ""),
    ("rows[0].energy.seconds", -1.0, ""),
    ("rows[0].energy.rails.VDD_IN.mean_mw", -4807.0, ""),
    ("rows[0].energy.rails.VDD_IN.idle_mw", 1e9, ""),
]


@pytest.mark.parametrize(("field", "value", "named"), SPOILT)
def test_what_cannot_be_is_named(record: dict[str, Any], field: str, value: Any, named: str) -> None:
    changed = copy.deepcopy(record)
    _set(field, value)(changed)
    found = problems(changed)
    assert any(problem.startswith(f"{field}{named}: ") for problem in found), found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rows[0].p50_ms", "0.5"),
        ("rows[0].p50_ms", math.nan),
        ("rows[0].p99_ms", math.inf),
        ("rows[0].n_runs", True),
        ("rows[0].n_runs", 2**70),
        ("rows[0].verified", "yes"),
        ("rows[0].energy", []),
        ("environment.board.temperature_c", {"cpu": "hot"}),
        ("environment.board.clocks_locked", 0),
        ("environment.versions", ["numpy"]),
        ("rows", {"0": 1}),
    ],
)
def test_a_field_of_another_type_is_named(record: dict[str, Any], field: str, value: Any) -> None:
    changed = copy.deepcopy(record)
    _set(field, value)(changed)
    (problem,) = problems(changed)
    assert problem.startswith(field)


def test_a_folder_as_a_name_is_refused(record: dict[str, Any]) -> None:
    changed = copy.deepcopy(record)
    changed["environment"]["board"]["temperature_c"]["/home/ada/tj"] = 50.0
    assert any(one.startswith("environment.board.temperature_c: a name in it") for one in problems(changed))


def test_one_row_twice_is_refused(record: dict[str, Any]) -> None:
    (row,) = record["rows"]
    faster = {**row, "min_ms": row["min_ms"] / 2}
    assert problems({**record, "rows": [row, faster]}) == [
        "rows[1]: the same model, runner and batch as rows[0]"
    ]


def test_a_gpu_runner_without_a_gpu_is_refused(record: dict[str, Any]) -> None:
    # The fingerprint is made anew, as somebody would who makes a record up.
    changed = copy.deepcopy(record)
    env = changed["environment"]
    env.update(board=None, board_after=None, device="CPU", architecture="x86_64")
    changed["rows"][0]["energy"] = None
    found = {problem.split(":")[0] for problem in problems(changed)}
    assert found == {"rows[0].machine", "rows[0].runner"}


def test_energy_of_other_rails_is_refused(record: dict[str, Any]) -> None:
    changed = copy.deepcopy(record)
    energy = changed["rows"][0]["energy"]
    energy["rails"]["VDD_MADE_UP"] = energy["rails"].pop("VDD_IN")
    found = [problem.split(":")[0] for problem in problems(changed)]
    assert found == ["rows[0].energy.rails.VDD_MADE_UP"]


def test_hostile_files_are_refused_by_name(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    texts = {
        "deep.json": "[" * 50_000,
        "nan.json": '{"format": NaN}',
        "list.json": "[]",
        "empty.json": "",
        "twice.json": '{"rows": [], "rows": [1]}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.json").mkdir()
    for name in ("large.json", *texts, "folder.json", "missing.json"):
        (problem,) = refused(tmp_path / name)
        assert problem.startswith(f"{name}: ") or name in problem
        assert len(problem) < 500


def test_rows_of_two_machines_in_one_record_are_refused(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_submission(measured(tmp_path, boards.thor, monkeypatch))
    mixed = {**record, "rows": [*record["rows"], *json.loads(json.dumps(other))["rows"]]}
    assert "rows[1].machine" in {problem.split(":")[0] for problem in problems(mixed)}


def test_a_record_without_rows_or_without_batch_1_is_refused(record: dict[str, Any]) -> None:
    assert problems({**record, "rows": []}) == ["rows: none was timed"]
    (row,) = record["rows"]
    assert problems({**record, "rows": [{**row, "batch": 64}]})[0].startswith("rows: none of batch 1")


def test_the_command_checks_files_and_the_table_shows_the_right_ones(
    record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, folder = tmp_path / "results", tmp_path / "submissions"
    folder.mkdir()
    assert table(results) == "No record was sent yet."
    good, bad, odd = folder / "nano-1.json", folder / "nano-2.json", folder / "Nano 3.json"
    good.write_text(json.dumps(record))
    changed = copy.deepcopy(record)
    changed["rows"][0]["verified"] = False
    bad.write_text(json.dumps(changed))
    odd.write_text("{" + " " * 70_000)
    assert run(Namespace(files=[good])) == 0
    assert run(Namespace(files=[good, bad])) == 1
    assert "nano-2.json: rows[0].verified: false" in capsys.readouterr().out
    assert [line.split(":")[1] for line in refused(odd)] == [" its name", " more than 64,000 bytes"]
    lines = table(results).splitlines()
    assert len(lines) == 3
    assert "JetPack 6.2" in lines[2]
    assert "15W, not locked, GPU 612 MHz" in lines[2]
    assert "VDD_IN" in lines[2]
    assert lines[2].endswith("| [nano-1](benchmarks/submissions/nano-1.json) |")


def test_texts_of_strangers_are_no_markup(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "submissions").mkdir()
    changed = copy.deepcopy(record)
    changed["rows"][0]["artifact"] = "a|b](x)<script>\n`m"
    (tmp_path / "submissions" / "a.json").write_text(json.dumps(changed))
    *_, line = table(tmp_path / "results").splitlines()
    assert line.count("|") == table(tmp_path / "results").splitlines()[0].count("|")
    assert not set("<`") & set(line)


def test_every_record_that_was_sent_is_right() -> None:
    assert [problem for path in sorted(FOLDER.glob("*.json")) for problem in refused(path)] == []
    assert {path.suffix for path in FOLDER.iterdir()} <= {".json", ".md"}

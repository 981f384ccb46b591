"""``--json``: every verb that has a result takes it; standard output is then one JSON value, nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mimamba_edge.cli.app import app
from mimamba_edge.load import builtin_model

_LIVE = {"demo", "stream"}
"""They show decisions as they come: `stream` prints a JSON line each without being asked."""


def _leaves(command: Any, name: str = "") -> dict[str, Any]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return {name: command}
    return {k: v for one, sub in inner.items() for k, v in _leaves(sub, f"{name} {one}".strip()).items()}


VERBS = _leaves(typer.main.get_command(app))


@pytest.mark.parametrize("verb", sorted(set(VERBS) - _LIVE))
def test_every_verb_with_a_result_takes_it(verb: str) -> None:
    options = {name: one for one in VERBS[verb].params for name in one.opts}
    assert options["--json"].is_flag
    # A file is written by another option, never by this one.
    assert "--report" not in options or not options["--report"].is_flag


@pytest.mark.ort
def test_standard_output_is_json_alone(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    model = builtin_model()
    (tmp_path / "cues.csv").write_text("label,seconds\ncalm,3\nexcited,3\n")

    def facts(line: str, code: int = 0) -> Any:
        done = run(*line.split(), "--json")
        assert done.code == code, (line, done.err)
        return json.loads(done.out)

    made = facts("simulate eeg --runs 2 --trials 2")
    assert made["made_by"] == "mimamba-edge simulate"
    assert facts("data check eeg")["trials"] == {"calm": 2, "excited": 2}
    assert facts("data events eeg/run-01.csv")["events"] == {"eeg/run-01.csv": {"1": 1, "2": 1}}
    events = facts("data events eeg/run-01.csv --event 1=calm --event 2=excited --tmax 3 -o eeg/more.csv")
    assert (events["trials"], events["labels"]) == (2, "eeg/more.csv")
    Path("eeg/run-02.csv").write_text("spoiled")
    assert [fault["kind"] for fault in facts("data check eeg", code=1)["faults"]] == ["damaged"]
    assert facts("data cache") == {"made_by": "mimamba-edge data cache", "removed": [], "kept": []}
    one = facts("record --source simulated:?speed=max -o s --cue cues.csv --yes")
    assert (one["trials"], one["lost"]) == (2, 0)
    assert [found["folder"] for found in facts("session list s")] == [one["session"]]
    assert facts("check-signal --source simulated:?speed=max")["good"]
    made = facts(f"calibrate {model} --source simulated:?speed=max -o me.json --seconds 25")
    assert json.loads(Path("me.json").read_text()).items() <= made.items()
    assert facts(f"inspect {model}")
    assert facts(f"predict {model} eeg/run-01.csv -o t.csv")["table"] == "t.csv"
    assert facts(f"parity {model} {model} --limit 8")
    assert facts("sources --seconds 0.1")["sources"]
    assert facts("plugin list") == []
    if importlib.util.find_spec("edfio"):
        (exported,) = facts(f"session export {one['session']} --bids bids")["exported"]
        assert exported["trials"] == 2
    gone = facts(f"session delete {one['session']} --yes")
    assert (gone["deleted"], gone["files_kept"]) == ([one["session"]], {})
    # What could not run has no result.
    for line in ("plugin path", "pack nothing.onnx -o a.tar", "report nothing.json", "inspect nothing"):
        done = run(*line.split(), "--json")
        assert (done.code, done.out) == (2, ""), line
        assert done.err

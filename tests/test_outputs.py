"""The guard of outputs: no input and no foreign file is replaced, whatever name leads to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mimamba_edge.artifact import manifest_path, write_bytes
from mimamba_edge.cli.app import app
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.errors import MimambaError, OutputError
from mimamba_edge.outputs import (
    ARTEFACT,
    CHECKPOINT,
    PROFILE,
    TABLE,
    check_outputs,
    page_of,
    report_of,
    write_page,
    write_report,
)
from mimamba_edge.signal.filters import default_filters
from tests.modelfiles import tiny_contract, write_model
from tests.test_artifact import artefact

HTML = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n<title>x</title>'


def test_what_is_read_is_never_written_whatever_its_name(tmp_path: Path) -> None:
    path = artefact(tmp_path)
    (tmp_path / "m.ref.npz").write_bytes(b"reference")
    os.link(path, tmp_path / "hard.onnx")
    os.link(manifest_path(path), tmp_path / "hard.onnx.json")
    (tmp_path / "link.onnx").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    for output in ("m.onnx", "hard.onnx", "link.onnx", "folder/m.onnx", "m.onnx.json", "m.ref.npz"):
        for given in (path, str(path), f"{path}?stream=A", f"oracle:{path}", tmp_path / "folder" / "m.onnx"):
            with pytest.raises(OutputError, match="would be overwritten") as told:
                check_outputs([(tmp_path / output, ARTEFACT)], [given])
            assert "an input" in str(told.value)
    # Its own checkpoint beside it is another file, and texts of live sources are none.
    for text in ("lsl:name=x", "stdin:?sfreq=256", "x" * 5000, "", ".", "/"):
        check_outputs([(tmp_path / "new.onnx", ARTEFACT)], [path, text])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    one = report_of("bench")
    with pytest.raises(OutputError, match="another output"):
        check_outputs([(tmp_path / "a", one), (tmp_path / "." / "a", one)])
    with pytest.raises(OutputError, match="another output"):
        check_outputs([(tmp_path / "m.onnx", ARTEFACT), (tmp_path / "m.onnx.json", one)])
    check_outputs([(tmp_path / "a", one), (None, one), (tmp_path / "b", one)])


def test_only_what_this_tool_wrote_as_this_kind_is_replaced(tmp_path: Path) -> None:
    model = artefact(tmp_path)
    write_report(tmp_path / "bench.json", "bench", {"schema": 1})
    write_page(tmp_path / "bench.html", "bench", HTML)
    (tmp_path / "p.json").write_text('{\n  "schema": "mimamba.profile.1"\n}\n')
    (tmp_path / "labels.csv").write_text("file,start_s,stop_s,label,subject,session,run,stimulus\n")
    (tmp_path / "foreign.json").write_text('{"mine": 1}\n')
    (tmp_path / "foreign.onnx").write_bytes(b"model")
    (tmp_path / "foreign.pt").write_bytes(b"PK\x03\x04 no archive")
    bench, page = report_of("bench"), page_of("bench")
    own = {"m.onnx": ARTEFACT, "bench.json": bench, "bench.html": page, "p.json": PROFILE}
    others = [CHECKPOINT, TABLE, report_of("parity"), page_of("quantize"), *own.values()]
    files = [path for path in tmp_path.iterdir() if path != manifest_path(model)]
    assert len(files) == 8
    for path in files:
        for kind in others:
            if own.get(path.name) is kind:
                check_outputs([(path, kind)])
            else:
                with pytest.raises(OutputError, match="exists and would be overwritten"):
                    check_outputs([(path, kind)])
    # What holds nothing costs nothing; a manifest without its file may be anybody's.
    (tmp_path / "empty").touch()
    check_outputs([(tmp_path / "empty", TABLE)])
    (tmp_path / "n.onnx.json").write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=r"n\.onnx\.json exists"):
        check_outputs([(tmp_path / "n.onnx", ARTEFACT)])


def test_links_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is a link"):
        check_outputs([(tmp_path / "dangling", TABLE)])
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OutputError):
            check_outputs([(path, report_of("bench"))])
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("outputs")
    write_dataset(folder / "data", runs=1, trials=2)
    contract = tiny_contract(
        sfreq=128.0, n_times=64, hop=16, filters=default_filters(128.0, 60.0), mains_hz=60.0
    )
    write_model(folder / "m.onnx", contract)
    os.link(folder / "m.onnx", folder / "hard.onnx")
    os.link(folder / "data" / "run-01.csv", folder / "hard.csv")
    (folder / "dangling.csv").symlink_to(folder / "nowhere.csv")
    return folder


@pytest.mark.ort
@pytest.mark.torch
@pytest.mark.parametrize(
    "command",
    [
        "calibrate m.onnx --source data/run-01.csv -o m.onnx",
        "calibrate m.onnx --source data/run-01.csv -o hard.onnx",
        "calibrate m.onnx --source data/run-01.csv -o data/labels.csv",
        "calibrate m.onnx --source data/run-01.csv -o hard.csv",
        "parity m.onnx m.onnx --report data/labels.csv",
        "parity m.onnx m.onnx --data data --report hard.csv",
        "parity m.onnx m.onnx --report hard.onnx",
        "bench m.onnx --report data/labels.csv",
        "bench m.onnx --html hard.csv",
        "bench m.onnx --html /dev/null",
        "quantize m.onnx --to fp16 -o hard.onnx",
        "quantize m.onnx --to fp16 --report data/labels.csv",
        "data events data/run-01.csv --event 1=a --tmax 1 -o dangling.csv",
        "data events data/run-01.csv --event 1=a --tmax 1 -o data/labels.csv",
        "data events data/run-01.csv --event 1=a --tmax 1 -o hard.csv",
        "train data -o data/x.pt --report data/labels.csv",
        "train data -o mine.pt",
        "export mine.pt -o hard.onnx",
        "export mine.pt -o m.onnx.json.onnx --data data/run-01.csv",
        "sources --seconds 0.1 --report data/labels.csv",
        "stream m.onnx --source data/run-01.csv --speed max --sink jsonl:hard.csv",
        "stream m.onnx --source data/run-01.csv --speed max --sink jsonl:m.onnx",
    ],
)
def test_no_verb_writes_over_what_it_did_not_write(
    world: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    (world / "mine.pt").write_bytes(b"somebody's")
    (world / "m.onnx.json.onnx").write_bytes(b"somebody's")

    def snapshot() -> dict[str, Any]:
        return {
            str(path): path.readlink() if path.is_symlink() else path.read_bytes()
            for path in sorted(world.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    before = snapshot()
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, MimambaError), (done.output, done.exception)
    assert done.exception.exit_code == 2
    assert isinstance(done.exception, OutputError), done.exception
    assert snapshot() == before
    assert Path("/dev/null").is_char_device()


@pytest.mark.ort
@pytest.mark.torch
def test_a_report_is_replaced_by_the_next_one(world: Path, tmp_path: Path) -> None:
    for _ in range(2):
        arguments = [
            "parity",
            str(world / "m.onnx"),
            str(world / "m.onnx"),
            "--report",
            str(tmp_path / "p.json"),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads((tmp_path / "p.json").read_text())["made_by"] == "mimamba-edge parity"

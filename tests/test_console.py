"""What is shown of texts that come from outside."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge.console import printable, show_note, show_table, show_warning


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "�[2J�[31mred"),
        ("a\r\nb\x00\x7f", "a��b��"),
        ("\x9b31m", "�31m"),
        ("left\u202eright\u200b", "left�right�"),
        ("line\u2028end\u2029", "line�end�"),
        ("\ud800", "�"),
        ("[bold]kept[/bold] :smile: Ωµ 脳", "[bold]kept[/bold] :smile: Ωµ 脳"),
    ],
)
def test_nothing_that_a_terminal_would_obey_is_left(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_a_long_name_is_cut() -> None:
    assert printable("e\u0301" * 5000, limit=10) == "e\u0301" * 4 + "e…"


def test_tables_notes_and_warnings_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x9b31m[red]" + "x" * 300
    show_table("", ("", "found"), [(evil, "two\nlines")])
    show_note(evil)
    show_warning(evil)
    told = capsys.readouterr()
    for text in told:
        assert not set(text) & set("\x1b\x9b")
        assert "[red]" in text
    assert "x" * 300 in told.err


def test_errors_do_not_hand_on_what_a_file_says_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "evil.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["\x1b]0;title\x07", "b"], ["1", "2"]])
    command = [sys.executable, "-m", "mimamba_edge", "inspect", str(path)]
    named = tmp_path / "\x1b[31mred.onnx"
    for arguments in (command, [*command[:-1], str(named)]):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "\x1b" not in done.stderr + done.stdout
    assert "\ufffd[31mred.onnx" in done.stderr


def test_a_table_in_a_pipe_has_no_blanks_at_the_ends_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("title", ("", ""), [("short", "x"), ("long", "y" * 300)], left=(0, 1))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert any(line.endswith("y" * 300) for line in lines)


def test_a_table_on_a_narrow_terminal_cuts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = f"/opt/a/cache/{'a' * 60}/end.so", f"/opt/a/cache/{'b' * 50}"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    rows = [
        ("library", "ok", f"avx2, {path}", ""),
        ("telemetry", "ok", "several words " * 10, f"rm -r {other}"),
    ]
    show_table("", ("", "state", "found", "do this"), rows, left=range(4))
    text = "".join(capsys.readouterr().out.split())
    assert "…" not in text
    assert "b" * 50 in text


@pytest.mark.torch
@pytest.mark.parametrize("name", ["a.onnx", "a.pt"])
def test_a_text_file_in_a_models_place_is_called_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("<!DOCTYPE html>\n<p>not found")
    command = [sys.executable, "-m", "mimamba_edge", "inspect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "a text file that begins with '<!DOCTYPE html>" in done.stderr


@pytest.mark.torch
def test_an_exported_model_is_no_checkpoint(tmp_path: Path) -> None:
    from mimamba_edge.errors import CheckpointError
    from mimamba_edge.export.onnx.export import output_beside

    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x0a")
    with pytest.raises(CheckpointError, match="an exported model"):
        output_beside(path)

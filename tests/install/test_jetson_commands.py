"""Each command of docs/jetson.md is known to what types them in an emulated root: benchmarks/arm64."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.arm64.journal import Entry, Journal
from benchmarks.arm64.page import FATES, PAGE, Command, How, commands, fate, unit

COMMANDS = commands(PAGE.read_text(encoding="utf-8"))


def test_each_command_of_the_page_has_a_fate() -> None:
    assert len(COMMANDS) > 50
    lacking = []
    for command in COMMANDS:
        try:
            known = fate(command)
        except KeyError:
            lacking.append(command)
            continue
        # What is not run, or not as it stands, says why.
        assert known.why or (known.how not in (How.NOT, How.FAKE) and not known.given), command
        assert known.codes == (0,) or known.why, command
    assert not lacking, "add it to FATES in benchmarks/arm64/page.py"


def test_the_table_holds_no_command_that_the_page_lacks() -> None:
    assert set(FATES) <= {command.text for command in COMMANDS}


def test_most_of_the_boards_commands_are_run() -> None:
    """Not run on the board: what only a compiler under emulation or GitHub could do."""
    board = [fate(c).how for c in COMMANDS if c.section[:1].isdigit() and not c.section.startswith("1.")]
    assert board.count(How.NOT) <= 5
    assert len(board) > 40


def test_a_new_command_would_be_seen(tmp_path: Path) -> None:
    text = "## 3. System packages\n\n```sh\nsudo apt install nano   # an editor\n# nothing\n```\n"
    (command,) = commands(text)
    assert command == Command("3. System packages", "sudo apt install nano")
    with pytest.raises(KeyError):
        fate(command)


def test_the_unit_of_the_page_starts_the_plan() -> None:
    (start,) = (line for line in unit().splitlines() if line.startswith("ExecStart=/"))
    assert "%S/mimamba-edge/model.plan" in start


def _entry(typed: str) -> Entry:
    return Entry(typed, "/", (typed, "", "passed"))


def test_a_run_goes_on_after_what_has_passed(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    first = Journal(path, "product")
    assert not first.begun
    first.begin()
    for typed, passed in (("a", True), ("b", True), ("c", False), ("d", True)):
        assert first.next(typed) is None
        first.add(_entry(typed), passed=passed)
    again = Journal(path, "product")
    assert again.begun
    assert [again.next(typed) for typed in "abcd"] == [_entry("a"), _entry("b"), None, None]
    # A command that was changed runs, and all that follow it.
    changed = Journal(path, "product")
    assert [changed.next(typed) for typed in ("a", "B", "b")] == [_entry("a"), None, None]
    assert not Journal(path, "another product").begun

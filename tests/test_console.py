"""What is shown of texts that come from outside."""

from __future__ import annotations

import pytest

from mimamba_edge.console import printable


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

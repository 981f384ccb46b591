"""The text that everybody who records reads once."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.sessions import consent
from mimamba_edge.sessions.consent import TEXT, confirm_recording, remembered_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> Terminal:
    shown = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", shown)
    return shown


def test_the_text_says_what_it_must() -> None:
    for words in ("stays on this device", "0600", "pseudonym", "session delete", "not a medical device"):
        assert words in TEXT
    for article in ("5(1)(f)", "50(3)"):
        assert article in TEXT


def test_it_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _terminal(monkeypatch, "yes\n")
    confirm_recording()
    assert TEXT in shown.getvalue()
    assert stat.S_IMODE(remembered_path().stat().st_mode) == 0o600
    again = _terminal(monkeypatch, "")
    confirm_recording()
    assert again.getvalue() == ""
    monkeypatch.setattr(consent, "TEXT", TEXT + "and more\n")
    changed = _terminal(monkeypatch, "y\n")
    confirm_recording()
    assert "and more" in changed.getvalue()


@pytest.mark.parametrize("answer", ["", "no\n", "\n"])
def test_who_does_not_confirm_does_not_record(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    _terminal(monkeypatch, answer)
    with pytest.raises(ConfigError, match="not confirmed"):
        confirm_recording()
    assert not remembered_path().exists()


def test_scripts_say_yes_and_the_text_is_in_their_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    with pytest.raises(ConfigError, match="no terminal"):
        confirm_recording()
    log.truncate(0)
    confirm_recording(yes=True)
    assert TEXT in log.getvalue()
    # Said by a script, not by the person who will sit at the terminal.
    assert not remembered_path().exists()


def test_an_answer_that_cannot_be_kept_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    shown = _terminal(monkeypatch, "yes\n")
    confirm_recording()
    assert "could not be saved" in shown.getvalue()
